"""The table, reductions: sums, products, means, extremes, spreads along axes, and sums and products on the way.

A reduction's gradient first takes the shape of what was reduced: `spread`. `axis` is None, an integer or a tuple.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import op
from .elementwise import ratio


def keep_axes(z: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """The result of a reduction, with the reduced axes back at length 1."""
    if axis is None:
        return z.reshape((1,) * len(shape))
    axes = [k % len(shape) for k in (axis if isinstance(axis, tuple) else (axis,))]
    return z.reshape(tuple(1 if k in axes else n for k, n in enumerate(shape)))


def spread(z: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """The result of a reduction (or its gradient), repeated to the shape of what was reduced. A view, no copy."""
    return np.broadcast_to(keep_axes(z, shape, axis), shape)


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many elements are reduced to one."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod(shape[k] for k in axes)


def _extreme(g: Any, a: Any, z: Any, axis: Any) -> Any:
    """The gradient of max and min: to the elements that equal it, in equal shares."""
    winners = (a == keep_axes(z, a.shape, axis)).astype(g.dtype)
    return keep_axes(g, a.shape, axis) * winners / winners.sum(axis=axis, keepdims=True)


def deviation(a: Any, axis: Any) -> Any:
    """How far each element is from the mean."""
    return a - a.mean(axis=axis, keepdims=True)


def _var(g: Any, a: Any, axis: Any, ddof: Any) -> Any:
    return keep_axes(2 * g / (count(a.shape, axis) - ddof), a.shape, axis) * deviation(a, axis)


def _std(g: Any, a: Any, z: Any, axis: Any, ddof: Any) -> Any:
    g, z = keep_axes(g / (count(a.shape, axis) - ddof), a.shape, axis), keep_axes(z, a.shape, axis)
    return g * ratio(deviation(a, axis), z)


def finite(z: Any) -> Any:
    """z, with 0 in the place of infinities and NaN."""
    return np.where(np.isfinite(z), z, np.zeros_like(z))


def _logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log Σ exp(a), without overflow; -inf where a is -inf throughout, with gradients of 0."""
    top = finite(a.max(axis=axis, keepdims=True))
    with np.errstate(divide="ignore"):
        z = np.log(np.exp(a - top).sum(axis=axis, keepdims=True)) + top
    return z if keepdims else z.squeeze(axis=axis) if axis is not None else z.reshape(())


def _logsumexp_a(g: Any, a: Any, z: Any, axis: Any) -> Any:
    return keep_axes(g, a.shape, axis) * np.exp(a - finite(keep_axes(z, a.shape, axis)))


# Products. Nothing is divided by an element, which may be 0: all is made of products of others, and so is right at
# every order. The gradient of prod costs two cumprods, that of cumprod as many passes as log₂ of its length.


def later(x: Any, n: int) -> Any:
    """For each element the one n places after it along the last axis, and 0 where there is none."""
    return np.concatenate((x[..., n:], np.zeros_like(x[..., :n])), -1)


def products_before(x: Any) -> Any:
    """For each element the product of those before it, along the last axis."""
    return np.cumprod(np.concatenate((np.ones_like(x[..., :1]), x[..., :-1]), -1), -1)


def _prod(g: Any, a: Any, axis: Any) -> Any:
    """g times the product of the other elements: of those before, and of those after."""
    axes = range(a.ndim) if axis is None else [k % a.ndim for k in (axis if isinstance(axis, tuple) else (axis,))]
    order = [*(k for k in range(a.ndim) if k not in axes), *axes]
    moved = a.transpose(order)
    x = moved.reshape((*moved.shape[: a.ndim - len(axes)], count(a.shape, axis)))
    others = products_before(x) * np.flip(products_before(np.flip(x, -1)), -1)
    others = others.reshape(moved.shape).transpose([order.index(k) for k in range(a.ndim)])
    return keep_axes(g, a.shape, axis) * others


def _cumsum(g: Any, a_shape: tuple[int, ...], axis: int | None) -> Any:
    """An element enters its own sum and all later ones: the sums of g from the end."""
    k = 0 if axis is None else axis
    return np.flip(np.cumsum(np.flip(g, k), k), k).reshape(a_shape)


def _cumprod(g: Any, a: Any, axis: int | None) -> Any:
    """The product of those before element i, times g[i] + a[i+1] g[i+1] + a[i+1] a[i+2] g[i+2] + ...

    Two sums of n terms make one of 2n, so that log₂ of the length steps do.
    """
    x = a.reshape(-1) if axis is None else a.swapaxes(axis, -1)
    terms = g if axis is None else g.swapaxes(axis, -1)
    factors, n = later(x, 1), 1
    while n < x.shape[-1]:
        terms = terms + factors * later(terms, n)
        factors = factors * later(factors, n)
        n *= 2
    result = products_before(x) * terms
    return result.reshape(a.shape) if axis is None else result.swapaxes(axis, -1)


def _argsort(a: Any, axis: int | None = -1) -> Any:
    """The indices that would sort along an axis, as `numpy.argsort`."""
    return np.argsort(a, axis)


def _count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements are not 0, as `numpy.count_nonzero`."""
    return (a != 0).sum(axis=axis, keepdims=keepdims)


# fmt: off
sum       = op(np.sum,     a=lambda g, a_shape, axis: spread(g, a_shape, axis))
mean      = op(np.mean,    a=lambda g, a_shape, axis: spread(g / count(a_shape, axis), a_shape, axis))
var       = op(np.var,     a=_var)
std       = op(np.std,     a=_std)  # 0 where all elements are equal
max       = op(np.max,     a=_extreme)
min       = op(np.min,     a=_extreme)
logsumexp = op(_logsumexp, a=_logsumexp_a)
prod      = op(np.prod,    a=_prod)
cumsum    = op(np.cumsum,  a=_cumsum)
cumprod   = op(np.cumprod, a=_cumprod)

# constants
argmax, argmin, argsort = op(np.argmax), op(np.argmin), op(_argsort)
any, all                = op(np.any), op(np.all)
count_nonzero           = op(_count_nonzero)
# fmt: on
