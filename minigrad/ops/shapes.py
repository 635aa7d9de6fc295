"""The table, shapes: the same elements in another arrangement.

Their gradients are the arrangement undone. Most outputs are views: they share memory with the input, which the engine
must know to notice a parameter that changed under a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .. import backend
from ..engine import Tensor, op


def _reshape(a: Any, shape: Any) -> Any:
    """The same elements, in row-major order, in another shape; one length may be -1."""
    return a.reshape(shape)


def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    return a.swapaxes(axis1, axis2)


def _undo_transpose(g: Any, axes: Any) -> Any:
    if axes is None:
        return g.transpose()
    axes = [k % g.ndim for k in axes]
    return g.transpose([axes.index(k) for k in range(g.ndim)])


def _concatenate(*xs: Any, axis: int, bounds: Any) -> Any:
    """Arrays joined along an axis, array i between bounds i and i + 1: known here, or each gradient would count."""
    return np.concatenate(xs, axis=axis)


def _part(g: Any, i: int, axis: int, bounds: Any) -> Any:
    return g[(slice(None),) * (axis % g.ndim) + (slice(bounds[i], bounds[i + 1]),)]


def _pad(a: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """a with `constant_values` around it; `pad_width` as in `numpy.pad`. Other modes raise ValueError."""
    if mode != "constant":
        raise ValueError(f"mode {mode!r}; only 'constant' is differentiable here")
    return np.pad(a, pad_width, constant_values=constant_values)


def _unpad(g: Any, a_shape: tuple[int, ...], pad_width: Any) -> Any:
    before = np.broadcast_to(np.asarray(pad_width), (len(a_shape), 2))[:, 0].tolist()
    return g[tuple(slice(start, start + n) for start, n in zip(before, a_shape, strict=True))]


def _unroll(g: Any, shift: Any, axis: Any) -> Any:
    return np.roll(g, tuple(-n for n in shift) if isinstance(shift, tuple) else -shift, axis)


def _moved(x: Any, device: str, back: str) -> Any:
    """x on a device; `back` is where its gradient belongs."""
    return backend.to_device(x, device)


moved: Callable[..., Any]  # its rule names it
# fmt: off
reshape      = op(_reshape,        a=lambda g, a_shape: g.reshape(a_shape))
ravel        = op(np.ravel,        a=lambda g, a_shape: g.reshape(a_shape))
squeeze      = op(np.squeeze,      a=lambda g, a_shape: g.reshape(a_shape))
expand_dims  = op(np.expand_dims,  a=lambda g, a_shape: g.reshape(a_shape))
transpose    = op(np.transpose,    a=_undo_transpose)
swapaxes     = op(_swapaxes,       a=lambda g, axis1, axis2: g.swapaxes(axis1, axis2))
moveaxis     = op(np.moveaxis,     a=lambda g, source, destination: np.moveaxis(g, destination, source))
broadcast_to = op(np.broadcast_to, array=lambda g: g)  # the engine sums it back
flip         = op(np.flip,         m=lambda g, axis: np.flip(g, axis))
roll         = op(np.roll,         a=_unroll)
copy         = op(np.copy,         a=lambda g: g)
pad          = op(_pad,            a=_unpad)
joined       = op(_concatenate,    xs=_part)
moved        = op(_moved,          x=lambda g, device, back: moved(g, back, device))
# fmt: on

for function in (reshape, ravel, squeeze, expand_dims, transpose, swapaxes, moveaxis, broadcast_to, flip):
    function.row.view = True  # type: ignore[attr-defined]


def to(x: Any, device: str) -> Any:
    """The same values on ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; itself where it is there. Gradients come back to x's.

    Raises ValueError for a name that is no device's; ImportError or RuntimeError where CuPy is missing or finds no GPU.

    >>> import minigrad as mg
    >>> mg.ones(2).to("cpu").device
    'cpu'
    """
    array = x.data if isinstance(x, Tensor) else x
    return x if backend.is_there(array, device) else moved(x, device, backend.device_of(array))


def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    """Tensors or arrays joined along an existing axis; None joins them flat.

    >>> import minigrad as mg
    >>> mg.concatenate([mg.zeros(2), mg.ones(1)])
    tensor([0., 0., 1.], dtype=float32, device='cpu')
    """
    arrays, axis = ([reshape(x, -1) for x in arrays], 0) if axis is None else ([*arrays], axis)
    lengths = [sum(np.shape(x)[axis:][:1]) for x in arrays]  # 0 where there is no such axis, which NumPy then refuses
    return joined(*arrays, axis=axis, bounds=[*accumulate(lengths, initial=0)])


def stack(arrays: Any, axis: int = 0) -> Any:
    """Tensors or arrays of one shape, joined along a new axis.

    >>> import minigrad as mg
    >>> mg.stack([mg.zeros(2), mg.ones(2)]).shape
    (2, 2)
    """
    xs = [expand_dims(x, axis) for x in arrays]
    return joined(*xs, axis=axis, bounds=range(len(xs) + 1))


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis, views: so many equal ones, or those between the places given, as `numpy.split`.

    Raises ValueError where the axis cannot be cut into so many equal parts.

    >>> import minigrad as mg
    >>> [part.shape for part in mg.split(mg.zeros((6, 2)), [1, 3])]
    [(1, 2), (2, 2), (3, 2)]
    """
    n = ary.shape[axis]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(f"split: axis {axis} of {ary.shape} cannot be cut into {indices_or_sections} equal parts")
        indices_or_sections = range(n // indices_or_sections, n, n // indices_or_sections)
    places = [0, *indices_or_sections, n]
    before = (slice(None),) * (axis % ary.ndim)
    return [ary[(*before, slice(start, stop))] for start, stop in pairwise(places)]


def tile(A: Any, reps: Any) -> Any:
    """A laid out `reps` times along each axis, as `numpy.tile`.

    >>> import minigrad as mg
    >>> mg.tile(mg.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]], dtype=float32, device='cpu')
    """
    reps = (reps,) if isinstance(reps, int) else tuple(reps)
    ndim = max(len(reps), A.ndim)
    reps, shape = (1,) * (ndim - len(reps)) + reps, (1,) * (ndim - A.ndim) + A.shape
    tiles = broadcast_to(
        reshape(A, [k for n in shape for k in (1, n)]), [k for r, n in zip(reps, shape) for k in (r, n)]
    )
    return reshape(tiles, [r * n for r, n in zip(reps, shape)])
