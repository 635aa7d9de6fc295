"""Losses as modules; the functions, with their formulas, are in `functional`.

Public: `CrossEntropyLoss`, `MSELoss`.
"""

from __future__ import annotations

from typing import Any

from .. import functional
from .module import Module


class Loss(Module):
    """Base of the losses: `reduction` is "mean", "sum" or "none"."""

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction is 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction


class CrossEntropyLoss(Loss):
    """-log softmax(scores)[class]; see `functional.cross_entropy`."""

    def forward(self, x: Any, target: Any) -> Any:
        return functional.cross_entropy(x, target, self.reduction)


class MSELoss(Loss):
    """(x - target)²; see `functional.mse_loss`."""

    def forward(self, x: Any, target: Any) -> Any:
        return functional.mse_loss(x, target, self.reduction)
