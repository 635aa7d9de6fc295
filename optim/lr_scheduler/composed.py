"""Schedules made of schedules.

Public: `SequentialLR`, `LinearWarmup`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from ..checks import every, integer, require
from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler


class Composed(LRScheduler):
    """What `SequentialLR` and `LinearWarmup` share: they ask other schedulers of the same optimizer, and own them."""

    not_saved = (*LRScheduler.not_saved, "parts")

    def __init__(self, optimizer: Optimizer, parts: list[LRScheduler]) -> None:
        name = type(self).__name__
        for part in parts:
            if not isinstance(part, LRScheduler) or isinstance(part, ReduceLROnPlateau):
                raise TypeError(
                    f"{name}: got a {type(part).__name__}; wanted a scheduler whose rate depends on t alone"
                )
            if part.optimizer is not optimizer:
                raise ValueError(f"{name}: its {type(part).__name__} was made for another optimizer")
            if part.owner is not None or part.t > 0 or parts.count(part) > 1:
                raise ValueError(f"{name}: its {type(part).__name__} is in use already; make a new one")
        self.parts = parts
        super().__init__(optimizer)
        for part in parts:
            part.owner = self

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler.state_dict`, and that of the parts."""
        return {**super().state_dict(), "parts": [part.state_dict() for part in self.parts]}

    def _read(self, state_dict: dict[str, Any]) -> list[tuple[LRScheduler, dict[str, Any]]]:
        ((_, mine),) = super()._read(state_dict)
        saved = mine.pop("parts")
        if len(saved) != len(self.parts):
            raise ValueError(f"{type(self).__name__}.load_state_dict: {len(saved)} parts, wanted {len(self.parts)}")
        return [(self, mine), *(pair for part, one in zip(self.parts, saved) for pair in part._read(one))]


class SequentialLR(Composed):
    """One schedule after the other, each from its own t = 0.

    Parameters
    ----------
    schedulers
        Schedulers of the same optimizer, whose rate depends on t alone.
    milestones
        The steps at which the second, the third, … takes over: one fewer, rising.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> from optim.lr_scheduler import ExponentialLR, LambdaLR, SequentialLR
    >>> opt = optim.SGD([mg.zeros(1)], lr=1.0)
    >>> parts = [LambdaLR(opt, lambda t: 0.25), ExponentialLR(opt, gamma=0.5)]
    >>> scheduler = SequentialLR(opt, parts, milestones=[2])
    >>> [scheduler.rates(t, [1.0])[0] for t in range(5)]
    [0.25, 0.25, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        require("SequentialLR: milestones", milestones, every(integer(1)))
        if len(milestones) != len(schedulers) - 1 or sorted(set(milestones)) != list(milestones):
            raise ValueError(f"SequentialLR: milestones = {milestones!r}; wanted {len(schedulers) - 1} rising integers")
        self.milestones = list(milestones)
        super().__init__(optimizer, list(schedulers))

    def rates(self, t: int, lrs: list[float]) -> list[float]:
        """Those of the part whose turn it is, at the time since its turn began."""
        turn = bisect.bisect_right(self.milestones, t)
        return self.parts[turn].rates(t - [0, *self.milestones][turn], lrs)


class LinearWarmup(Composed):
    """ε₀ t / n for the first n steps, from 0 at t = 0; then ε₀, or what another schedule says for the same t.

    At first the weights are far from anything sensible and an adaptive method has seen few gradients: small steps.

    Parameters
    ----------
    warmup_steps
        n.
    after
        A scheduler of the same optimizer, whose rate depends on t alone. Its t, too, counts from the start of warm-up.

    References
    ----------
    Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017, section 2.2.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> from optim.lr_scheduler import LinearWarmup, StepLR
    >>> opt = optim.SGD([mg.zeros(1)], lr=1.0)
    >>> scheduler = LinearWarmup(opt, 4, after=StepLR(opt, step_size=5, gamma=0.5))
    >>> [scheduler.rates(t, [1.0])[0] for t in range(7)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.5]
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int, after: LRScheduler | None = None) -> None:
        require("LinearWarmup: warmup_steps", warmup_steps, integer(1))
        self.warmup_steps = warmup_steps
        super().__init__(optimizer, [] if after is None else [after])

    def rates(self, t: int, lrs: list[float]) -> list[float]:
        """ε₀ t / n, and later what comes after."""
        if t < self.warmup_steps:
            return [lr * t / self.warmup_steps for lr in lrs]
        return self.parts[0].rates(t, lrs) if self.parts else lrs
