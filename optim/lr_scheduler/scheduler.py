"""What all schedules share: a clock, the rates ε₀ that they start from, the setting of the groups' rates.

Public: `LRScheduler`.
"""

from __future__ import annotations

from typing import Any

from ..checks import as_count, check_keys, is_finite
from ..optimizer import Optimizer


class LRScheduler:
    """Sets the rate of an optimizer's groups. A subclass gives `rate`, the formula; its attributes are its settings.

    Attributes
    ----------
    t
        How often it was stepped.
    base_lrs
        ε₀ of each group: its rate before any scheduler changed it.

    Raises
    ------
    TypeError
        Where `optimizer` is none.
    RuntimeError
        By `step`: before the optimizer's first step, and on a scheduler that is part of another one.
    """

    not_saved: tuple[str, ...] = ("optimizer", "owner")  # attributes that are no settings

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: optimizer is a {type(optimizer).__name__}, wanted an optimizer")
        self.optimizer = optimizer
        self.owner: LRScheduler | None = None
        self.t = 0
        self.base_lrs: list[float] = []
        self._set()

    def rate(self, t: int, lr: float) -> float:
        """The rate at step t of a group whose ε₀ is `lr`."""
        raise NotImplementedError(f"{type(self).__name__}: a schedule defines rate(t, lr)")

    def rates(self, t: int, lrs: list[float]) -> list[float]:
        """The rate at step t of every group, given their ε₀."""
        return [self.rate(t, lr) for lr in lrs]

    def step(self) -> None:
        """Go to the next t and set its rates."""
        if self.owner is not None:
            raise RuntimeError(
                f"{type(self).__name__}.step: it is part of a {type(self.owner).__name__}; step that one instead"
            )
        if not self.optimizer.stepped:
            raise RuntimeError(
                f"{type(self).__name__}.step: the optimizer has not been stepped, so the first rate would be skipped; "
                "call optimizer.step() before scheduler.step()"
            )
        self.t += 1
        self._set()

    def _set(self) -> None:
        """Set the rates of t. A group that was added meanwhile starts in the middle of the schedule."""
        groups = self.optimizer.param_groups
        for group in groups[len(self.base_lrs) :]:
            if group.initial_lr is None:
                group.initial_lr = group["lr"]
            self.base_lrs.append(group.initial_lr)
        for group, lr in zip(groups, self.rates(self.t, self.base_lrs)):
            group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """The rate that each group has now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    # -------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Any]:
        """A copy of all but the optimizer and functions: t, the rates ε₀, the settings."""
        saved = {name: value for name, value in vars(self).items() if name not in self.not_saved}
        return {name: list(value) if isinstance(value, list) else value for name, value in saved.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, with its settings. Raises ValueError for one of another kind."""
        for scheduler, attributes in self._read(state_dict):
            vars(scheduler).update(attributes)
        self._set()

    def _read(self, state_dict: dict[str, Any]) -> list[tuple[LRScheduler, dict[str, Any]]]:
        """What to set in which scheduler; this one and its parts."""
        where = f"{type(self).__name__}.load_state_dict"
        check_keys(where, state_dict, set(self.state_dict()))
        lrs = list(state_dict["base_lrs"])
        if len(lrs) > len(self.optimizer.param_groups) or not all(map(is_finite, lrs)):
            raise ValueError(f"{where}: base_lrs = {lrs}; wanted a rate for each group of the optimizer")
        return [(self, {**state_dict, "t": as_count(f"{where}: t", state_dict["t"]), "base_lrs": lrs})]
