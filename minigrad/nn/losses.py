"""Losses as modules; the functions, with their formulas, are in `functional/losses.py`.

Public: `CrossEntropyLoss`, `NLLLoss`, `MSELoss`, `L1Loss`, `HuberLoss`, `BCELoss`, `BCEWithLogitsLoss`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module


class Loss(Module):
    """Base of the losses: `reduction` is "mean", "sum" or "none"."""

    def __init__(self, *, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction is 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction


class NLLLoss(Loss):
    """-x[target], x being log-probabilities; see `functional.nll_loss`. `weight` is of each class."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, x: Any, target: Any) -> Any:
        return F.nll_loss(x, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(NLLLoss):
    """-log softmax(x)[target], x being scores; see `functional.cross_entropy`. `weight` is of each class."""

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)
        self.label_smoothing = label_smoothing

    def forward(self, x: Any, target: Any) -> Any:
        return F.cross_entropy(
            x,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class MSELoss(Loss):
    """(x - target)²."""

    def forward(self, x: Any, target: Any) -> Any:
        return F.mse_loss(x, target, reduction=self.reduction)


class L1Loss(Loss):
    """|x - target|."""

    def forward(self, x: Any, target: Any) -> Any:
        return F.l1_loss(x, target, reduction=self.reduction)


class HuberLoss(Loss):
    """½ (x - target)² where the difference is at most `delta`, beyond it linear; see `functional.huber_loss`."""

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Any:
        return F.huber_loss(x, target, reduction=self.reduction, delta=self.delta)


class BCELoss(Loss):
    """-(t log x + (1 - t) log(1 - x)), x being probabilities; see `functional.binary_cross_entropy`."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)

    def forward(self, x: Any, target: Any) -> Any:
        return F.binary_cross_entropy(x, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """`BCELoss` of sigmoid(x), without overflow; `pos_weight` multiplies the loss of positive targets."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, x: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(
            x, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
