"""The table, shapes: the same elements in another arrangement.

Their gradients are the arrangement undone. Most outputs are views: they share memory with the input, which the engine
must know to notice a parameter that changed under a graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import op


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


def _concatenate(*xs: Any, axis: int = 0) -> Any:
    """Arrays joined along an axis."""
    return np.concatenate(xs, axis=axis)


def _part(g: Any, xs_shape: list[tuple[int, ...]], i: int, axis: int) -> Any:
    axis %= g.ndim
    ends = np.cumsum([shape[axis] for shape in xs_shape]).tolist()
    return g[(slice(None),) * axis + (slice(ends[i] - xs_shape[i][axis], ends[i]),)]


def _pad(a: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """a with `constant_values` around it; `pad_width` as in `numpy.pad`. Other modes raise ValueError."""
    if mode != "constant":
        raise ValueError(f"mode {mode!r}; only 'constant' is differentiable here")
    return np.pad(a, pad_width, constant_values=constant_values)


def _unpad(g: Any, a_shape: tuple[int, ...], pad_width: Any) -> Any:
    before = np.broadcast_to(np.asarray(pad_width), (len(a_shape), 2))[:, 0].tolist()
    return g[tuple(slice(start, start + n) for start, n in zip(before, a_shape, strict=True))]


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
copy         = op(np.copy,         a=lambda g: g)
pad          = op(_pad,            a=_unpad)
joined       = op(_concatenate,    xs=_part)
# fmt: on

for function in (reshape, ravel, squeeze, expand_dims, transpose, swapaxes, moveaxis, broadcast_to, flip):
    function.row.view = True  # type: ignore[attr-defined]


def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    """Tensors or arrays joined along an existing axis; None joins them flat.

    >>> import minigrad as mg
    >>> mg.concatenate([mg.zeros(2), mg.ones(1)])
    tensor([0., 0., 1.], dtype=float32, device='cpu')
    """
    if axis is None:
        return joined(*[reshape(x, -1) for x in arrays])
    return joined(*arrays, axis=axis)


def stack(arrays: Any, axis: int = 0) -> Any:
    """Tensors or arrays of one shape, joined along a new axis.

    >>> import minigrad as mg
    >>> mg.stack([mg.zeros(2), mg.ones(2)]).shape
    (2, 2)
    """
    return joined(*[expand_dims(x, axis) for x in arrays], axis=axis)
