"""The table, indexing: reading elements, and its mirror image, adding into them.

The gradient of `x[key]` is 0 except at key, where it is g: `scatter`. The gradient of `scatter` is to read again. A key
is anything NumPy takes: integers, slices, None, ..., integer or boolean arrays or Tensors, and tuples of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import add_at
from ..engine import Tensor, op
from .reductions import argsort
from .shapes import moveaxis, reshape


def plain_key(key: Any) -> Any:
    """A key with arrays in the place of Tensors, whose gradient is nobody's business."""
    if isinstance(key, tuple):
        return tuple(map(plain_key, key))
    return key.data if isinstance(key, Tensor) else key


def may_repeat(key: Any) -> bool:
    """Can the key name an element twice? Only if it holds an array, list or tuple of integers."""
    keys = key if isinstance(key, tuple) else (key,)
    return any(isinstance(k, (list, tuple)) or (getattr(k, "ndim", 0) > 0 and k.dtype.kind in "iu") for k in keys)


def _getitem(x: Any, key: Any) -> Any:
    """x[key], with every form of key that NumPy has."""
    return x[key]


def _scatter(y: Any, key: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with y added at key; an element named twice gets the sum."""
    z = np.zeros(shape, y.dtype, like=y)
    if may_repeat(key):
        add_at(z, key, y)
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
    add_at(z, key, y)
    return z


scatter: Callable[..., Any]  # read and scatter need each other
put: Callable[..., Any]
# fmt: off
read      = op(_getitem,   x=lambda g, x_shape, key: scatter(g, key, x_shape))
scatter   = op(_scatter,   y=lambda g, key: read(g, key))
put       = op(_index_put, x=lambda g, key: put(g, key, 0), y=lambda g, key: read(g, key))
added     = op(_index_add, x=lambda g: g,                   y=lambda g, key: read(g, key))
triu      = op(np.triu,    m=lambda g, k: np.triu(g, k))
tril      = op(np.tril,    m=lambda g, k: np.tril(g, k))
# fmt: on

read.row.view = True  # type: ignore[attr-defined]


def getitem(x: Any, key: Any) -> Any:
    """x[key], with every form of key that NumPy has; integers and booleans may be Tensors."""
    return read(x, plain_key(key))


def index_put(x: Any, key: Any, y: Any) -> Any:
    """What ``x[key] = y`` means, as a function: a copy of x in which the elements at key are y.

    Raises ValueError where the key names an element twice: one of two values would be lost. Where the key holds an
    array of integers, looking for that waits for a GPU once.

    >>> import minigrad as mg
    >>> mg.index_put(mg.zeros(3), 1, 5.0)
    tensor([0., 5., 0.], dtype=float32, device='cpu')
    """
    key = plain_key(key)
    if may_repeat(key) and (_scatter(np.ones_like(plain_key(x)[key]), key, x.shape) > 1).any():
        raise ValueError("index_put: the key names an element twice; use index_add to add, or keep one of each")
    return put(x, key, y)


def index_add(x: Any, key: Any, y: Any) -> Any:
    """What ``x[key] += y`` is meant to be, as a function: an element named twice gets both.

    >>> import minigrad as mg
    >>> mg.index_add(mg.zeros(3), [1, 1], 5.0)
    tensor([ 0., 10.,  0.], dtype=float32, device='cpu')
    """
    return added(x, plain_key(key), y)


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """For each position the element whose index along `axis` is in `indices`, as `numpy.take_along_axis`.

    Raises ValueError where the two have not as many axes.

    >>> import minigrad as mg
    >>> mg.take_along_axis(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([[1], [0]]), axis=1)
    tensor([[2.],
            [3.]], dtype=float32, device='cpu')
    """
    if axis is None:
        arr, axis = reshape(arr, -1), 0
    if np.ndim(indices) != arr.ndim:
        raise ValueError(f"take_along_axis: indices {np.shape(indices)} want as many axes as the array, {arr.shape}")
    key = [np.arange(n, like=plain_key(arr)).reshape((-1, *(1,) * (arr.ndim - 1 - k))) for k, n in enumerate(arr.shape)]
    key[axis] = indices
    return getitem(arr, tuple(key))


def take(a: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements, or with an axis the slices, of these numbers, as `numpy.take`.

    >>> import minigrad as mg
    >>> mg.take(mg.tensor([1.0, 2.0, 3.0]), [2, 2, 0])
    tensor([3., 3., 1.], dtype=float32, device='cpu')
    """
    if axis is None:
        a, axis = reshape(a, -1), 0
    return getitem(a, (*(slice(None),) * (axis % a.ndim), indices))


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element `repeats` times in a row, or each its own number of times, as `numpy.repeat`; flat without an axis.

    >>> import minigrad as mg
    >>> mg.repeat(mg.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.], dtype=float32, device='cpu')
    """
    if axis is None:
        a, axis = reshape(a, -1), 0
    return take(a, np.repeat(np.arange(a.shape[axis], like=plain_key(a)), repeats), axis)


def sort(a: Any, axis: int | None = -1) -> Any:
    """Ascending along an axis, or flat for None, as `numpy.sort`. The gradient goes back to where each came from.

    >>> import minigrad as mg
    >>> mg.sort(mg.tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.], dtype=float32, device='cpu')
    """
    if axis is None:
        a, axis = reshape(a, -1), 0
    return take_along_axis(a, argsort(a, axis), axis)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements whose index along axis2 is that along axis1 plus `offset`, as a last axis; `numpy.diagonal`.

    >>> import minigrad as mg
    >>> mg.diagonal(mg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.], dtype=float32, device='cpu')
    """
    a = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = on_diagonal(a.shape[-2], a.shape[-1], offset, plain_key(a))
    return getitem(a, (..., rows, columns))


def on_diagonal(n: int, m: int, k: int, like: Any) -> tuple[Any, Any]:
    """Row and column of every element on the k-th diagonal of an (n, m) matrix."""
    i = np.arange(max(0, min(n + min(k, 0), m - max(k, 0))), like=like)
    return i - min(k, 0), i + max(k, 0)


def diag(v: Any, k: int = 0) -> Any:
    """A matrix with the vector v on its k-th diagonal; or the k-th diagonal of a matrix, as `numpy.diag`.

    >>> import minigrad as mg
    >>> mg.diag(mg.tensor([1.0, 2.0]))
    tensor([[1., 0.],
            [0., 2.]], dtype=float32, device='cpu')
    """
    if v.ndim != 1:
        return diagonal(v, k)
    n = v.shape[0] + abs(k)
    return scatter(v, on_diagonal(n, n, k, plain_key(v)), (n, n))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal, as `numpy.trace`."""
    return diagonal(a, offset, axis1, axis2).sum(axis=-1)
