"""Averaged: an optimizer fed with a moving average of its gradients.

Public: `Averaged`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad as mg
from minigrad import Tensor
from minigrad.backend import is_array, to_device

from .optimizer import Optimizer
from .wrapper import Wrapper


class Averaged(Wrapper):
    """The base optimizer, with every parameter's gradient replaced by the average of its last ones.

    A larger batch takes noise out of a gradient by averaging over examples; this averages over time, at no cost but
    memory, and with a lag: old gradients were taken elsewhere. ``Averaged(SGD(params), lambda: EWMA(0.9, "zero"))`` is
    `SGD` with ``momentum_form="ewma"``.

    Parameters
    ----------
    base
        Any optimizer.
    make_average
        A function that makes one average, called once per parameter: ``lambda: averages.SMA(5)``.

    References
    ----------
    The averages themselves are in `optim.averages`.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor(0.0, requires_grad=True)
    >>> opt = optim.Averaged(optim.SGD([p], lr=1.0), lambda: optim.averages.SMA(2))
    >>> losses = [opt.step(lambda: p * slope) for slope in (1.0, 3.0, -3.0)]  # averages 1, 2, 0
    >>> p.item()
    -3.0
    """

    def __init__(self, base: Optimizer, make_average: Callable[[], Any]) -> None:
        super().__init__(base)
        if not callable(make_average):
            raise TypeError(f"Averaged: make_average is {make_average!r}; wanted a function that makes an average")
        self.make_average = make_average
        self.averages: dict[Tensor, Any] = {}

    def apply(self) -> None:
        """The base's, on the averages; every `.grad` is afterwards what it was."""
        before = {p: p.grad for p in self.parameters() if p.grad is not None}
        for p, g in before.items():
            if p not in self.averages:
                self.averages[p] = self.make_average()
            p.grad = mg.tensor(self.averages[p].update(g.data), p.dtype)
        self.base.apply()
        for p, g in before.items():
            p.grad = g

    def memory(self) -> dict[str, Any]:
        """What each average remembers."""
        known = [(k, p) for k, p in enumerate(self.parameters()) if p in self.averages]
        return {"averages": {k: self.averages[p].state_dict() for k, p in known}}

    def remembered(self, memory: dict[str, Any], params: dict[int, Tensor]) -> dict[str, Any]:
        """As `Wrapper.remembered`."""
        averages = {}
        for k, saved in memory["averages"].items():
            if k not in params:
                raise ValueError(f"Averaged.load_state_dict: an average of parameter {k!r}; there are {len(params)}")
            averages[params[k]] = self.make_average()
            averages[params[k]].load_state_dict(moved(saved, params[k].device))
        return {"averages": averages}


def moved(saved: Any, device: str) -> Any:
    """What an average saved, with its arrays on a device."""
    if isinstance(saved, dict):
        return {name: moved(value, device) for name, value in saved.items()}
    if isinstance(saved, list):
        return [moved(value, device) for value in saved]
    return to_device(saved, device) if is_array(saved) else saved
