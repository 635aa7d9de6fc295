"""The table, reductions: sums, means, extremes along axes.

A reduction's gradient first takes the shape of what was reduced: `spread`. `axis` is None, an integer or a tuple.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import op


def keep_axes(z: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """The result of a reduction, with the reduced axes back at length 1."""
    if axis is None:
        return z.reshape((1,) * len(shape))
    axes = [k % len(shape) for k in (axis if isinstance(axis, tuple) else (axis,))]
    return z.reshape(tuple(1 if k in axes else n for k, n in enumerate(shape)))


def spread(z: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """The result of a reduction (or its gradient), repeated to the shape of what was reduced. A view, no copy."""
    return np.broadcast_to(keep_axes(z, shape, axis), shape)


def _mean(g: Any, a_shape: tuple[int, ...], axis: Any) -> Any:
    count = 1
    for k in range(len(a_shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,):
        count *= a_shape[k]
    return spread(g / count, a_shape, axis)


def _extreme(g: Any, a: Any, z: Any, axis: Any) -> Any:
    """The gradient of max and min: to the elements that equal it, in equal shares."""
    winners = (a == keep_axes(z, a.shape, axis)).astype(g.dtype)
    return keep_axes(g, a.shape, axis) * winners / winners.sum(axis=axis, keepdims=True)


# fmt: off
sum      = op(np.sum,  a=lambda g, a_shape, axis: spread(g, a_shape, axis))
mean     = op(np.mean, a=_mean)
max      = op(np.max,  a=_extreme)
min      = op(np.min,  a=_extreme)

# constants
argmax, argmin, argsort = op(np.argmax), op(np.argmin), op(np.argsort)
any, all                = op(np.any), op(np.all)
count_nonzero           = op(np.count_nonzero)
# fmt: on
