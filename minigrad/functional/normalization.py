"""Normalization: activations moved to mean 0 and variance 1, over the features or over the batch.

Both norms are one op, `standardize`, over different axes, and then a learned scale and shift. Its rule recomputes what
it needs from x: a mean and variance saved on the side would be constants to a second derivative, which would be wrong.

Public: `layer_norm`, `batch_norm`, `moments`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import op


def _standardize(x: Any, axis: tuple[int, ...], eps: float) -> Any:
    """(x - mean) / √(var + eps), mean and (biased) variance being over the given axes."""
    d = x - x.mean(axis=axis, keepdims=True)
    d /= np.sqrt((d * d).mean(axis=axis, keepdims=True) + eps)
    return d


def _standardize_x(g: Any, x: Any, z: Any, axis: tuple[int, ...], eps: float) -> Any:
    # With σ² = var + eps: (g - mean(g) - z mean(g z)) / σ. The second term is the mean's share, the third σ's.
    d = x - x.mean(axis=axis, keepdims=True)
    sigma = np.sqrt((d * d).mean(axis=axis, keepdims=True) + eps)
    return (g - g.mean(axis=axis, keepdims=True) - z * (g * z).mean(axis=axis, keepdims=True)) / sigma


standardize = op(_standardize, x=_standardize_x)


def scaled(z: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    """weight z + bias, both in a shape that broadcasts; None is no weight, no bias."""
    if weight is not None:
        z = z * weight.reshape(shape)
    return z if bias is None else z + bias.reshape(shape)


def moments(x: Any, total: Any) -> tuple[Any, Any, Any]:
    """Mean and (biased) variance of each channel of x, and of how many values, in all processes that share a batch.

    `total` sums an array over these processes: on arrays, and on Tensors as a function that can be differentiated.
    """
    axes, channels = (0, *range(2, x.ndim)), x.shape[1]
    here = np.zeros(1, x.dtype, like=x) + x.size // channels
    sums = total(np.concatenate([x.sum(axis=axes), here]))
    n = sums[-1]
    mean = sums[:-1] / n
    d = x - mean.reshape(1, channels, *[1] * (x.ndim - 2))
    return mean, total((d * d).sum(axis=axes)) / n, n


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - mean) / √(var + eps) · weight + bias, each example by its own mean and variance (Ba et al. 2016).

    `normalized_shape` are the last axes of x, over which they are taken, and the shape of weight and bias.
    Raises ValueError where x ends otherwise.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: wanted an input of shape (..., {', '.join(map(str, shape))}), got {x.shape}")
    return scaled(standardize(x, tuple(range(-len(shape), 0)), eps), weight, bias, shape)


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / √(var + eps) · weight + bias, each channel by its own: ``(N, C)`` or ``(N, C, ...)``.

    In training, mean and (biased) variance are the batch's (Ioffe & Szegedy 2015), else the running ones. These are
    only read here; the layers of `nn` update them. Raises ValueError for one value per channel in training.
    """
    shape = (1, x.shape[1], *[1] * (x.ndim - 2))
    if training:
        if x.size == x.shape[1]:
            raise ValueError(f"batch_norm: one value per channel, {x.shape}, has no variance; wanted a larger batch")
        return scaled(standardize(x, (0, *range(2, x.ndim)), eps), weight, bias, shape)
    z = (x - running_mean.reshape(shape)) / np.sqrt(running_var.reshape(shape) + eps)
    return scaled(z, weight, bias, shape)
