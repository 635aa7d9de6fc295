"""The schedule that watches a metric.

Public: `ReduceLROnPlateau`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..checks import at_least, below_one, every, integer, one_of, require
from ..optimizer import Optimizer
from .scheduler import LRScheduler


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by a factor whenever a metric has not improved for a while: ``scheduler.step(metric)``.

    Parameters
    ----------
    mode
        ``"min"`` for a metric that should fall, ``"max"`` for one that should rise.
    factor
        What the rate is multiplied by, below 1.
    patience
        How many steps without improvement are borne.
    threshold, threshold_mode
        What counts as better than the best so far: ``"rel"``, by this fraction of it; ``"abs"``, by this much.
    cooldown
        How many steps to wait after a reduction before counting again.
    min_lr
        No rate goes below this; one number, or one for each group.
    eps
        Changes of the rate that are no larger are not made.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0], requires_grad=True)
    >>> opt = optim.SGD([p], lr=0.5)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1)
    >>> loss = opt.step(lambda: p.sum())
    >>> for metric in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(metric)
    >>> scheduler.get_last_lr()
    [0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau:"
        require(f"{name} mode", mode, one_of("min", "max"))
        require(f"{name} factor", factor, below_one())
        require(f"{name} patience", patience, integer(0))
        require(f"{name} threshold", threshold, at_least(0))
        require(f"{name} threshold_mode", threshold_mode, one_of("rel", "abs"))
        require(f"{name} cooldown", cooldown, integer(0))
        require(f"{name} eps", eps, at_least(0))
        lowest = list(min_lr) if isinstance(min_lr, Sequence) else min_lr
        require(f"{name} min_lr", lowest, every(at_least(0)) if isinstance(lowest, list) else at_least(0))
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lr, self.eps = lowest, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_steps = 0  # without improvement, since the last one or the last reduction
        self.resting = 0  # steps of the cooldown that are left
        super().__init__(optimizer)

    def rates(self, t: int, lrs: list[float]) -> list[float]:
        """Only the metric says: the rates of now."""
        return self.get_last_lr()

    def step(self, metrics: Any) -> None:  # type: ignore[override]  # what it goes by
        """Look at the metric, a number or a Tensor of one element, and reduce the rates if it is time."""
        metric = float(metrics)
        self.t += 1
        if self._better(metric):
            self.best, self.bad_steps = metric, 0
        else:
            self.bad_steps += 1
        if self.resting:
            self.resting, self.bad_steps = self.resting - 1, 0
        if self.bad_steps > self.patience:
            self.resting, self.bad_steps = self.cooldown, 0
            groups = self.optimizer.param_groups
            lowest = self.min_lr if isinstance(self.min_lr, list) else [self.min_lr] * len(groups)
            if len(lowest) != len(groups):
                raise ValueError(f"ReduceLROnPlateau: {len(lowest)} min_lr for {len(groups)} parameter groups")
            for group, low in zip(groups, lowest):
                lr = max(group["lr"] * self.factor, low)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr

    def _better(self, metric: float) -> bool:
        margin = self.threshold if self.threshold_mode == "abs" else self.threshold * self.best
        if math.isinf(self.best):
            margin = 0.0
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin
