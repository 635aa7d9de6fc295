"""Schedules that are one formula of t.

Public: `StepLR`, `MultiStepLR`, `ExponentialLR`, `CosineAnnealingLR`, `CosineAnnealingWarmRestarts`, `LambdaLR`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from ..checks import at_least, every, integer, is_finite, require
from ..optimizer import Optimizer
from .scheduler import LRScheduler


class StepLR(LRScheduler):
    """ε₀ γ^⌊t/s⌋: the rate falls by a factor every s steps.

    Parameters
    ----------
    step_size
        s.
    gamma
        γ.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> opt = optim.SGD([mg.zeros(1)], lr=0.5)
    >>> optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5).rates(5, [0.5])
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        require("StepLR: step_size", step_size, integer(1))
        require("StepLR: gamma", gamma, at_least(0))
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, t: int, lr: float) -> float:
        """ε₀ γ^⌊t/s⌋."""
        return lr * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """ε₀ γⁿ, n being the number of milestones passed, those at t included.

    Parameters
    ----------
    milestones
        Steps at which the rate falls; one that is named twice counts twice.
    gamma
        γ.
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        require("MultiStepLR: milestones", milestones, every(integer(0)))
        require("MultiStepLR: gamma", gamma, at_least(0))
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, t: int, lr: float) -> float:
        """ε₀ γⁿ."""
        return lr * self.gamma ** bisect.bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """ε₀ γᵗ, also written ε₀ e^(-λt).

    Parameters
    ----------
    gamma, rate
        γ, or λ instead; just one of them. γ is e^(-λ).
    """

    def __init__(self, optimizer: Optimizer, gamma: float | None = None, rate: float | None = None) -> None:
        if (gamma is None) == (rate is None):
            raise ValueError(f"ExponentialLR: gamma = {gamma!r}, rate = {rate!r}; wanted just one of them")
        if gamma is None:
            require("ExponentialLR: rate", rate, (is_finite, "a finite number"))
            gamma = math.exp(-float(rate or 0))
        require("ExponentialLR: gamma", gamma, at_least(0))
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, t: int, lr: float) -> float:
        """ε₀ γᵗ."""
        return lr * self.gamma**t


class CosineAnnealingLR(LRScheduler):
    """ε_min + (ε₀ - ε_min)(1 + cos(πt/T))/2: half a wave down in T steps; after that up again, and so on.

    Parameters
    ----------
    T_max
        T.
    eta_min
        ε_min.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, equation 5.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        require("CosineAnnealingLR: T_max", T_max, integer(1))
        require("CosineAnnealingLR: eta_min", eta_min, at_least(0))
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, t: int, lr: float) -> float:
        """ε_min + (ε₀ - ε_min)(1 + cos(πt/T))/2."""
        return self.eta_min + (lr - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """SGDR: half a cosine wave down in T₀ steps, back up at once, and again with a wave that is T_mult times as long.

    Parameters
    ----------
    T_0
        Steps of the first wave.
    T_mult
        How many times as long each wave is as the one before, an integer.
    eta_min
        ε_min, the bottom of every wave.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        require("CosineAnnealingWarmRestarts: T_0", T_0, integer(1))
        require("CosineAnnealingWarmRestarts: T_mult", T_mult, integer(1))
        require("CosineAnnealingWarmRestarts: eta_min", eta_min, at_least(0))
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer)

    def rate(self, t: int, lr: float) -> float:
        """As `CosineAnnealingLR`, with t and T those of the current wave."""
        T = self.T_0
        if self.T_mult == 1:
            t %= T
        while t >= T:
            t, T = t - T, T * self.T_mult
        return self.eta_min + (lr - self.eta_min) * (1 + math.cos(math.pi * t / T)) / 2


class LambdaLR(LRScheduler):
    """ε₀ λ(t), for any function λ.

    Parameters
    ----------
    lr_lambda
        A function of t, or a list of them, one for each group.
    """

    not_saved = (*LRScheduler.not_saved, "lr_lambda")

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None:
        functions = [lr_lambda] if callable(lr_lambda) else list(lr_lambda)
        require("LambdaLR: lr_lambda", functions, every((callable, "a function of t")))
        self.lr_lambda = functions[0] if callable(lr_lambda) else functions
        super().__init__(optimizer)

    def rates(self, t: int, lrs: list[float]) -> list[float]:
        """ε₀ λ(t)."""
        functions = [self.lr_lambda] * len(lrs) if callable(self.lr_lambda) else self.lr_lambda
        if len(functions) != len(lrs):
            raise ValueError(f"LambdaLR: {len(functions)} functions for {len(lrs)} parameter groups")
        return [lr * function(t) for lr, function in zip(lrs, functions)]
