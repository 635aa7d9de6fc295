"""The table, indexing: reading elements, and its mirror image, adding into them.

The gradient of `x[key]` is 0 except at key, where it is g: `scatter`. The gradient of `scatter` is to read again. A key
is anything NumPy takes: integers, slices, None, ..., integer or boolean arrays or Tensors, and tuples of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Tensor, op


def plain_key(key: Any) -> Any:
    """A key with arrays in the place of Tensors, whose gradient is nobody's business."""
    if isinstance(key, tuple):
        return tuple(map(plain_key, key))
    return key.data if isinstance(key, Tensor) else key


def may_repeat(key: Any) -> bool:
    """Can the key name an element twice? Only if it holds an array, or list, of integers."""
    keys = key if isinstance(key, tuple) else (key,)
    return any(isinstance(k, list) or (getattr(k, "ndim", 0) > 0 and k.dtype.kind in "iu") for k in keys)


def _getitem(x: Any, key: Any) -> Any:
    """x[key], with every form of key that NumPy has."""
    return x[key]


def _scatter(y: Any, key: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with y added at key; an element named twice gets the sum."""
    z = np.zeros(shape, y.dtype, like=y)
    if may_repeat(key):
        np.add.at(z, key, y)
    else:
        z[key] = y
    return z


def _index_put(x: Any, key: Any, y: Any) -> Any:
    """A copy of x in which the elements at key are y: what ``x[key] = y`` means, as a function. No element twice."""
    z = x.copy()
    z[key] = y
    return z


def _index_add(x: Any, key: Any, y: Any) -> Any:
    """A copy of x in which y is added to the elements at key; one that is named twice gets both."""
    z = x.copy()
    np.add.at(z, key, y)
    return z


scatter: Callable[..., Any]  # read and scatter need each other
put: Callable[..., Any]
# fmt: off
read      = op(_getitem,   x=lambda g, x_shape, key: scatter(g, key, x_shape))
scatter   = op(_scatter,   y=lambda g, key: read(g, key))
put       = op(_index_put, x=lambda g, key: put(g, key, 0), y=lambda g, key: read(g, key))
added     = op(_index_add, x=lambda g: g,                   y=lambda g, key: read(g, key))
# fmt: on

read.row.view = True  # type: ignore[attr-defined]


def getitem(x: Any, key: Any) -> Any:
    """x[key], with every form of key that NumPy has; integers and booleans may be Tensors."""
    return read(x, plain_key(key))


def index_put(x: Any, key: Any, y: Any) -> Any:
    """What ``x[key] = y`` means, as a function: a copy of x in which the elements at key are y. No element twice.

    >>> import minigrad as mg
    >>> mg.index_put(mg.zeros(3), 1, 5.0)
    tensor([0., 5., 0.], dtype=float32, device='cpu')
    """
    return put(x, plain_key(key), y)


def index_add(x: Any, key: Any, y: Any) -> Any:
    """What ``x[key] += y`` is meant to be, as a function: an element named twice gets both.

    >>> import minigrad as mg
    >>> mg.index_add(mg.zeros(3), [1, 1], 5.0)
    tensor([ 0., 10.,  0.], dtype=float32, device='cpu')
    """
    return added(x, plain_key(key), y)


def take_along_axis(arr: Any, indices: Any, axis: int = -1) -> Any:
    """For each position the element whose index along `axis` is in `indices`, as `numpy.take_along_axis`.

    >>> import minigrad as mg
    >>> mg.take_along_axis(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([[1], [0]]), axis=1)
    tensor([[2.],
            [3.]], dtype=float32, device='cpu')
    """
    indices = plain_key(indices)
    key = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    key[axis] = indices
    return getitem(arr, tuple(key))
