"""Losses: how wrong an output is, as one number.

Every loss takes ``reduction``: ``"mean"`` over the batch, ``"sum"``, or ``"none"`` for all of them.

Public: `cross_entropy`, `nll_loss`, `mse_loss`, `l1_loss`, `huber_loss`, `binary_cross_entropy`,
`binary_cross_entropy_with_logits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import device_of, is_array, to_device
from ..engine import Tensor, op
from ..ops import moveaxis, take_along_axis
from ..ops.indexing import plain_key
from .activations import shifted, softmax, softplus


def reduce(losses: Any, reduction: str, name: str, total: Any = None) -> Any:
    """The mean, the sum, or all of a batch's losses. `total` is the sum of their weights, if they have any."""
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction is 'mean', 'sum' or 'none', got {reduction!r}")
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if total is None else losses.sum() / (total + (total == 0))


# ------------------------------------------------------------------------------------------------------------- classes


def _log_loss(x: Any, p: Any) -> Any:
    """-Σ p log softmax(x) over the last axis, in one op; p is a constant, and rows of it may sum to anything."""
    x = shifted(x, -1)
    total = np.exp(x).sum(axis=-1)
    wanted = np.where(p == 0, np.zeros_like(x), x)  # a class at -inf that nobody wants costs nothing
    return p.sum(axis=-1) * np.log(total + (total == 0)) - (p * wanted).sum(axis=-1)


log_loss = op(_log_loss, x=lambda g, x, p: g[..., None] * (softmax(x) * p.sum(axis=-1, keepdims=True) - p))


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(x)[target]: how surprised a classifier with scores x is by the right classes.

    Parameters
    ----------
    x
        Scores (logits), ``(N, C)``, or ``(C,)`` for one example, or ``(N, C, d1, ...)``.
    target
        Classes 0 … C - 1, integers ``(N,)``, or ``()`` for one, or ``(N, d1, ...)``.
    weight
        Of each class, ``(C,)``, a constant. The mean is then Σ w loss / Σ w.
    ignore_index
        Examples with this target do not count.
    label_smoothing
        ε of the target is spread evenly over all classes (Szegedy et al. 2016).

    Raises
    ------
    TypeError
        For targets that are not integers.
    ValueError
        For shapes that do not fit, an unknown reduction, a smoothing outside [0, 1]; on the CPU for a class outside
        0 … C - 1. On a GPU, which would have to be waited for, such a class is nobody's: its example costs nothing.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import functional as F
    >>> F.cross_entropy(mg.zeros((1, 10)), mg.tensor([3])).item()
    2.3025851249694824
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is in [0, 1], got {label_smoothing}")
    x, target, kept = classes_last("cross_entropy", x, target, ignore_index)
    values, classes = x.data if isinstance(x, Tensor) else x, x.shape[-1]
    p = (target[..., None] == np.arange(classes, like=values)).astype(values.dtype)
    total = None
    if kept is not None or weight is not None:
        w = class_weights("cross_entropy", weight, values) * (True if kept is None else kept[..., None])
        p = p * w
        total = p.sum()
    if label_smoothing:
        p = (1 - label_smoothing) * p + label_smoothing / classes * (1 if total is None else w)
    return reduce(log_loss(x, p), reduction, "cross_entropy", total)


def nll_loss(x: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-x[target], where x are log-probabilities, as `log_softmax` gives them. Arguments as for `cross_entropy`."""
    x, target, kept = classes_last("nll_loss", x, target, ignore_index)
    losses, total = -take_along_axis(x, target[..., None], axis=-1)[..., 0], None
    if kept is not None or weight is not None:
        w = class_weights("nll_loss", weight, x.data if isinstance(x, Tensor) else x)[target]
        if kept is not None:
            w, losses = w * kept, np.where(kept, losses, np.zeros_like(losses))
        losses, total = losses * w, w.sum()
    return reduce(losses, reduction, "nll_loss", total)


def classes_last(name: str, x: Any, target: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Scores with the classes as last axis, the targets' array, and which of them count: None if all do.

    A target that does not count is made class 0. Raises as `cross_entropy`. On a GPU nothing here depends on the values
    of targets, so that it need not be waited for.
    """
    values = x.data if isinstance(x, Tensor) else x
    if isinstance(target, (int, list, tuple)):
        target = to_device(np.asarray(target), device_of(values))
    target = plain_key(target)
    if not is_array(target) or target.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: targets are class numbers, integers, got {getattr(target, 'dtype', target)!r}; use "
            "y.astype(int), or of rows with a 1 for the class y.argmax(axis=1)"
        )
    check_together(name, "target", target, values)
    if x.ndim > 2:
        x = moveaxis(x, 1, -1)
    if x.ndim == 0 or target.shape != x.shape[:-1]:
        raise ValueError(f"{name}: scores {x.shape} want targets of shape {x.shape[:-1]}, got {target.shape}")
    kept = target != ignore_index
    on_host, classes = device_of(target) == "cpu", x.shape[-1]
    if on_host and kept.all():
        kept = None
    else:
        target = target * kept
    if on_host and target.size and (target.min() < 0 or target.max() >= classes):
        raise ValueError(f"{name}: classes are 0 … {classes - 1}; targets hold {target.min()} … {target.max()}")
    return x, target, kept


def check_together(name: str, argument: str, array: Any, x: Any) -> None:
    """Refuse an argument's array that lies on another device than the scores x."""
    here, there = device_of(x), device_of(array)
    if there != here:
        raise ValueError(
            f"{name}: x is on {here}, {argument} is on {there}; bring them together first, as with "
            f"{argument}.to({here!r})"
        )


def class_weights(name: str, weight: Any, x: Any) -> Any:
    """The weight of each class, as an array like the scores x: ones, unless said."""
    if weight is None:
        return np.zeros(x.shape[-1], x.dtype, like=x) + 1
    weight = weight.data if isinstance(weight, Tensor) else weight
    if np.shape(weight) != x.shape[-1:] or getattr(weight, "dtype", None) != x.dtype:
        raise ValueError(f"{name}: weight is a Tensor of {x.dtype} with shape {x.shape[-1:]}, got {weight!r}")
    check_together(name, "weight", weight, x)
    return weight


# ------------------------------------------------------------------------------------------------------------- numbers


def check_same(name: str, x: Any, target: Any) -> None:
    """Refuse a target of another shape, which would broadcast, or another dtype, which would make all of it float64."""
    shape = getattr(target, "shape", target)
    if x.shape != shape:
        raise ValueError(f"{name}: the input has shape {x.shape}, the target {shape}; they must be equal")
    if x.dtype != target.dtype:
        raise TypeError(f"{name}: the input is {x.dtype}, the target {target.dtype}; use target.astype(np.{x.dtype})")


def _mean_square(x: Any, target: Any) -> Any:
    """The mean of (x - target)². One op for three: the whole step of a small network takes a sixth less time."""
    d = x - target
    return (d * d).sum() / d.size  # the method `mean` takes 2 µs more


# fmt: off
mean_square = op(_mean_square, x=lambda g, x, target: 2 * g / x.size * (x - target),
                               target=lambda g, x, target: 2 * g / x.size * (target - x))
# fmt: on


def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """(x - target)², averaged over all elements. Raises ValueError or TypeError where shapes or dtypes differ."""
    check_same("mse_loss", x, target)
    if reduction == "mean":
        return mean_square(x, target)
    return reduce(np.square(x - target), reduction, "mse_loss")


def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """|x - target|, with derivative 0 where they are equal. Raises as `mse_loss`."""
    check_same("l1_loss", x, target)
    return reduce(np.absolute(x - target), reduction, "l1_loss")


def huber_loss(x: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0) -> Any:
    """½ d² where |d| <= delta, else delta (|d| - ½ delta), with d = x - target (Huber 1964). Raises as `mse_loss`."""
    check_same("huber_loss", x, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta = {delta}, wanted a number > 0")
    d = x - target
    q = np.clip(d, -delta, delta)
    return reduce(q * (d - 0.5 * q), reduction, "huber_loss")  # both pieces in one: q is d, then ±delta


def _clamped_log(x: Any) -> Any:
    """log x, but never below -100, so that 0 log 0 is 0."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(x), -100)


clamped_log = op(_clamped_log, x=lambda g, x: g / np.maximum(x, 1e-12))


def binary_cross_entropy(x: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """-(t log x + (1 - t) log(1 - x)) for probabilities x in [0, 1] and targets t, 0 or 1 or between.

    A logarithm is never below -100, so that a loss at 0 and 1 is finite. `weight` is of each element, and the mean is
    over all of them, as PyTorch's. Raises as `mse_loss`.
    """
    check_same("binary_cross_entropy", x, target)
    losses = -(target * clamped_log(x) + (1 - target) * clamped_log(1 - x))
    return reduce(losses if weight is None else losses * weight, reduction, "binary_cross_entropy")


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """`binary_cross_entropy` of sigmoid(x), without overflow at any x.

    -log sigmoid(x) is softplus(-x), and -log(1 - sigmoid(x)) is x + softplus(-x). `pos_weight` multiplies the first.
    Raises as `mse_loss`.
    """
    check_same("binary_cross_entropy_with_logits", x, target)
    certain = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    losses = (1 - target) * x + certain * softplus(-x)
    return reduce(losses if weight is None else losses * weight, reduction, "binary_cross_entropy_with_logits")
