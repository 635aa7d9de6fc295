"""The table, linear algebra: matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import op


def _matmul_x(g: Any, x_shape: tuple[int, ...], y: Any) -> Any:
    """For ``z = x @ y`` of matrices the gradient of x is g yᵀ. A vector is a matrix with one row (x) or column (y)."""
    if y.ndim == 1:
        y, g = y.reshape(-1, 1), g.reshape((*g.shape, 1))
    if len(x_shape) == 1:
        return (g.reshape((*g.shape[:-1], 1, g.shape[-1])) @ y.swapaxes(-1, -2))[..., 0, :]
    return g @ y.swapaxes(-1, -2)


def _matmul_y(g: Any, x: Any, y_shape: tuple[int, ...]) -> Any:
    """The gradient of y is xᵀ g."""
    if len(y_shape) == 1:
        g = g.reshape((*g.shape, 1))
    if x.ndim == 1:
        x, g = x.reshape(1, -1), g.reshape((*g.shape[:-1], 1, g.shape[-1]))
    z = x.swapaxes(-1, -2) @ g
    return z[..., 0] if len(y_shape) == 1 else z


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b: ``(..., in), (out, in), (out,) -> (..., out)``. One op for two, the most used pair of all."""
    z = (
        (x.reshape(-1, x.shape[-1]) @ weight.T).reshape((*x.shape[:-1], weight.shape[0]))
        if x.ndim > 2
        else x @ weight.T
    )
    if bias is None:
        return z
    if bias.dtype != z.dtype:
        return z + bias
    z += bias
    return z


def _linear_weight(g: Any, x: Any, weight_shape: tuple[int, int]) -> Any:
    rows, columns = weight_shape
    return g.reshape(-1, rows).swapaxes(0, 1) @ x.reshape(-1, columns)


# fmt: off
matmul = op(np.matmul, x=_matmul_x, y=_matmul_y)
linear = op(_linear,   x=lambda g, weight: g @ weight, weight=_linear_weight, bias=lambda g: g)
# fmt: on
