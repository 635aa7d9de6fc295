"""The table of derivatives, room by room, and the one place where its rows become methods and operators of Tensor.

Public: every row, under NumPy's name. To add one, write it into the file it belongs to, import it here, and give it a
case in `tests/ops/cases.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import BUILT_IN, TABLE, Tensor
from . import linalg
from .elementwise import (
    absolute,
    add,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    astype,
    bitwise_and,
    bitwise_or,
    cbrt,
    ceil,
    clip,
    cos,
    cosh,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    greater,
    greater_equal,
    hypot,
    invert,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    ones_like,
    positive,
    power,
    reciprocal,
    relu,
    round,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    where,
    zeros_like,
)
from .indexing import (
    diag,
    diagonal,
    getitem,
    index_add,
    index_put,
    repeat,
    sort,
    take,
    take_along_axis,
    trace,
    tril,
    triu,
)
from .products import dot, einsum, inner, kron, linear, matmul, outer, tensordot
from .reductions import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    count_nonzero,
    cumprod,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from .shapes import (
    broadcast_to,
    concatenate,
    copy,
    expand_dims,
    flip,
    moveaxis,
    pad,
    ravel,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    to,
    transpose,
)
from .windows import fold, max_pool, unfold

# NumPy's functions that a row answers to without being made of them: np.where(mask, tensor, 0).
TABLE.update(
    {
        np.power: power,
        np.clip: clip,
        np.where: where,
        np.zeros_like: zeros_like,
        np.ones_like: ones_like,
        np.reshape: reshape,
        np.swapaxes: swapaxes,
        np.concatenate: concatenate,
        np.stack: stack,
        np.pad: pad,
        np.take_along_axis: take_along_axis,
        np.round: round,
        np.split: split,
        np.repeat: repeat,
        np.tile: tile,
        np.take: take,
        np.sort: sort,
        np.argsort: argsort,
        np.count_nonzero: count_nonzero,
        np.diagonal: diagonal,
        np.diag: diag,
        np.trace: trace,
        np.einsum: einsum,
        np.tensordot: tensordot,
        np.dot: dot,
        np.inner: inner,
        np.outer: outer,
        np.kron: kron,
        np.linalg.norm: linalg.norm,
        np.linalg.inv: linalg.inv,
        np.linalg.det: linalg.det,
        np.linalg.solve: linalg.solve,
        np.linalg.slogdet: linalg.slogdet,
        np.linalg.cholesky: linalg.cholesky,
        np.linalg.eigh: linalg.eigh,
    }
)


def _about_values(function: Any) -> Any:
    """A NumPy function that asks about values and gives no Tensor: np.shape, np.allclose."""
    return lambda *args, **kwargs: function(*(x.data if isinstance(x, Tensor) else x for x in args), **kwargs)


TABLE.update(
    {f: _about_values(f) for f in (np.shape, np.ndim, np.size, np.result_type, np.allclose, np.array_equal, np.isclose)}
)


def _reversed_operands(function: Any) -> Any:
    """`2 - x`: Python asks x to do it, with the operands the other way round."""
    return lambda self, other: function(other, self)


def _reshape_method(self: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape: x.reshape(2, 3) or x.reshape((2, 3)); one length may be -1."""
    return reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose_method(self: Tensor, *axes: Any) -> Tensor:
    """The axes reversed, or in the order given: x.transpose(), x.transpose(1, 0) or x.transpose((1, 0))."""
    return transpose(self, (axes[0] if len(axes) == 1 else axes) or None)


def _clip_method(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x held between min and max, None being no bound."""
    return clip(self, min, max)


METHODS = {
    "__add__": add,
    "__radd__": _reversed_operands(add),
    "__sub__": subtract,
    "__rsub__": _reversed_operands(subtract),
    "__mul__": multiply,
    "__rmul__": _reversed_operands(multiply),
    "__truediv__": divide,
    "__rtruediv__": _reversed_operands(divide),
    "__pow__": power,
    "__rpow__": _reversed_operands(power),
    "__matmul__": matmul,
    "__rmatmul__": _reversed_operands(matmul),
    "__neg__": negative,
    "__pos__": positive,
    "__abs__": absolute,
    "__invert__": invert,
    "__and__": bitwise_and,
    "__or__": bitwise_or,
    "__eq__": equal,
    "__ne__": not_equal,
    "__lt__": less,
    "__le__": less_equal,
    "__gt__": greater,
    "__ge__": greater_equal,
    "__getitem__": getitem,
    "T": property(transpose, doc="The axes reversed."),
    "all": all,
    "any": any,
    "argmax": argmax,
    "argmin": argmin,
    "argsort": argsort,
    "astype": astype,
    "clip": _clip_method,
    "copy": copy,
    "cumprod": cumprod,
    "cumsum": cumsum,
    "diagonal": diagonal,
    "dot": dot,
    "flatten": ravel,
    "max": max,
    "mean": mean,
    "min": min,
    "prod": prod,
    "ravel": ravel,
    "repeat": repeat,
    "reshape": _reshape_method,
    "round": round,
    "squeeze": squeeze,
    "std": std,
    "sum": sum,
    "swapaxes": swapaxes,
    "take": take,
    "to": to,
    "trace": trace,
    "transpose": _transpose_method,
    "var": var,
}

for attribute in METHODS:
    setattr(Tensor, attribute, METHODS[attribute])

BUILT_IN.update(TABLE)

# What `from minigrad.ops import *` gives: the functions of the rooms, and NumPy's room linalg.
__all__ = [
    "linalg",
    *(name for name, f in globals().items() if getattr(f, "__module__", "").startswith(f"{__name__}.")),
]
