"""Functions that networks are made of: activations, losses, convolution, pooling.

Most are a few lines over the table of derivatives. Where one op instead of many pays (softmax, cross-entropy), it is a row of
its own with its derivative beside it, and the tests hold the plain composition against it.

Public: `relu`, `sigmoid`, `tanh`, `softmax`, `log_softmax`, `cross_entropy`, `linear`, `conv2d`, `max_pool2d`, `mse_loss`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import is_array
from .engine import Tensor, op
from .ops import linear, max_pool, relu, sigmoid, tanh, unfold
from .ops.indexing import plain_key
from .ops.windows import output_size

__all__ = [
    "conv2d", "cross_entropy", "linear", "log_softmax", "max_pool2d", "mse_loss", "relu", "sigmoid", "softmax", "tanh",
]  # fmt: skip


def _shifted(x: Any, axis: int) -> Any:
    """x less its maximum along an axis, so that exp never overflows; rows that are -inf throughout stay as they are."""
    top = x.max(axis=axis, keepdims=True)
    return x - np.where(np.isfinite(top), top, np.zeros_like(top))


def _softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / Σ exp(x) along an axis. An element at -inf gets 0, and so does every element of a row of -inf alone."""
    e = np.exp(_shifted(x, axis))
    total = e.sum(axis=axis, keepdims=True)
    return e / (total + (total == 0))


def _log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log Σ exp(x) along an axis, without overflow."""
    x = _shifted(x, axis)
    total = np.exp(x).sum(axis=axis, keepdims=True)
    return x - np.log(total + (total == 0))


def _log_loss(x: Any, p: Any) -> Any:
    """-Σ p log softmax(x) over the last axis, in one op; p is a constant, and rows of it may sum to anything."""
    x = _shifted(x, -1)
    chosen = np.where(p == 0, np.zeros_like(x), x)  # a class at -inf that is not asked for costs nothing
    return p.sum(axis=-1) * np.log(np.exp(x).sum(axis=-1)) - (p * chosen).sum(axis=-1)


# fmt: off
softmax     = op(_softmax,     x=lambda g, z, axis: z * (g - (g * z).sum(axis=axis, keepdims=True)))
log_softmax = op(_log_softmax, x=lambda g, z, axis: g - np.exp(z) * g.sum(axis=axis, keepdims=True))
log_loss    = op(_log_loss,    x=lambda g, x, p: g[..., None] * (softmax(x) * p.sum(axis=-1, keepdims=True) - p))
# fmt: on


def reduce(losses: Any, reduction: str, name: str) -> Any:
    """The mean, the sum, or all of a batch's losses."""
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction is 'mean', 'sum' or 'none', got {reduction!r}")
    return losses.mean() if reduction == "mean" else losses.sum()


def cross_entropy(x: Any, target: Any, reduction: str = "mean") -> Any:
    """-log softmax(x)[target]: how surprised a classifier with scores x is by the right classes.

    Parameters
    ----------
    x
        Scores (logits), ``(N, C)``, or ``(C,)`` for one example.
    target
        Classes 0 … C - 1, integers ``(N,)``, or ``()`` for one.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.

    Raises
    ------
    TypeError
        For targets that are not integers.
    ValueError
        For shapes that do not fit, a class outside 0 … C - 1, an unknown reduction.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import functional as F
    >>> F.cross_entropy(mg.zeros((1, 10)), mg.tensor([3])).item()
    2.3025851249694824
    """
    target = np.asarray(target) if isinstance(target, (int, list, tuple)) else plain_key(target)
    if not is_array(target) or target.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets are class numbers, integers; got {getattr(target, 'dtype', target)!r}")
    if x.ndim not in (1, 2) or target.shape != x.shape[:-1]:
        raise ValueError(f"cross_entropy: scores {x.shape} want targets of shape {x.shape[:-1]}, got {target.shape}")
    classes = x.shape[-1]
    if target.size and (target.min() < 0 or target.max() >= classes):
        raise ValueError(f"cross_entropy: classes are 0 … {classes - 1}; targets hold {target.min()} … {target.max()}")
    values = x.data if isinstance(x, Tensor) else x
    one_hot = (target[..., None] == np.arange(classes, like=values)).astype(values.dtype)
    return reduce(log_loss(x, one_hot), reduction, "cross_entropy")


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """(x - target)², averaged over all elements. Raises ValueError where the shapes differ."""
    if np.shape(x) != np.shape(target):
        raise ValueError(f"mse_loss: input {np.shape(x)} and target {np.shape(target)} differ in shape")
    return reduce(np.square(x - target), reduction, "mse_loss")


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """(n, n) of n. Raises ValueError for anything but one or two integers that are large enough."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) != 2 or not all(isinstance(v, int) and v >= least for v in values):
        raise ValueError(f"{name}: wanted an integer >= {least} or a pair of them, got {value!r}")
    return values


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Cross-correlation of images with kernels: ``(N, C, H, W), (O, C/groups, kh, kw), (O,) -> (N, O, oh, ow)``.

    Every window becomes a column (`unfold`), so that the whole convolution is one matrix product. The result is stored
    channels first, behind an (N, O, oh, ow) view: what comes next finds it as it likes it.

    Raises ValueError for shapes that do not fit.
    """
    n, c, _, _ = x.shape if x.ndim == 4 else (0, -1, 0, 0)
    out_channels, per_group, *kernel = weight.shape
    if c != per_group * groups or out_channels % groups:
        raise ValueError(
            f"conv2d: images {x.shape} and kernels {weight.shape} do not fit: wanted (N, C, H, W) and "
            f"(O, C / {groups}, kh, kw), O a multiple of groups={groups}"
        )
    stride, padding = pair(stride, "conv2d: stride", 1), pair(padding, "conv2d: padding", 0)
    dilation = pair(dilation, "conv2d: dilation", 1)
    size = output_size(x.shape, tuple(kernel), stride, padding, dilation)
    columns = unfold(x, tuple(kernel), stride, padding, dilation)
    if groups == 1:
        z = weight.reshape(out_channels, -1) @ columns.reshape(c * kernel[0] * kernel[1], -1)
    else:
        z = weight.reshape(groups, out_channels // groups, -1) @ columns.reshape(groups, -1, n * size[0] * size[1])
    z = z.reshape((out_channels, n, *size))
    if bias is not None:
        z = z + bias.reshape(-1, 1, 1, 1)
    return z.swapaxes(0, 1)


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest element of each window: ``(N, C, H, W) -> (N, C, oh, ow)``; of equal ones the first gets the gradient.

    Raises ValueError for shapes that do not fit, and for a padding of more than half the window.
    """
    kernel = pair(kernel_size, "max_pool2d: kernel_size", 1)
    stride = kernel if stride is None else pair(stride, "max_pool2d: stride", 1)
    padding = pair(padding, "max_pool2d: padding", 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"max_pool2d: padding {padding} is more than half of the window {kernel}")
    return max_pool(x, kernel, stride, padding)
