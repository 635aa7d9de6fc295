"""SAM: sharpness-aware minimization, for minima whose whole neighbourhood is low.

Public: `SAM`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import Tensor, nn

from .checks import at_least
from .optimizer import Optimizer, shifted
from .wrapper import Wrapper


class SAM(Wrapper):
    r"""The base optimizer, fed with the gradient at the worst point near p.

    Of the points at distance ρ from p the loss is highest, to first order, at p + e, and the base steps from p by the
    gradient there:

        e = ρ g / ‖g‖₂          g ← ∇L(p + e)

    With `adaptive` (ASAM) the neighbourhood is measured in units of the weights, T = |p| + η, so that rescaling layers
    against each other changes nothing:  e = ρ T²g / ‖Tg‖₂.  The norms are over all parameters together.

    Each step runs the closure twice. The second run leaves batch norm's running statistics alone, and draws dropout
    anew. The norm stays an array of the gradients' world, so that a GPU is not waited for.

    Parameters
    ----------
    base
        Any optimizer.
    rho
        ρ; the papers' values are 0.05, and for ASAM 0.5 to 1.
    adaptive
        ASAM.
    eta
        η, with `adaptive`; the paper's is 0.01.

    Raises
    ------
    TypeError
        By `step` without a closure.

    References
    ----------
    Foret, Kleiner, Mobahi, Neyshabur, Sharpness-aware minimization for efficiently improving generalization, 2021,
    algorithm 1. Kwon, Kim, Park, Choi, ASAM, 2021, algorithm 1.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor(1.0, requires_grad=True)
    >>> opt = optim.SAM(optim.SGD([p], lr=0.25), rho=0.5)
    >>> opt.step(lambda: p * p).item()  # the loss at p
    1.0
    >>> p.item()  # 1 - 0.25 · 2 · (1 + 0.5)
    0.25
    """

    needs_closure = True
    rules = {"rho": at_least(0), "eta": at_least(0)}
    rho: float
    adaptive: bool
    eta: float

    def __init__(self, base: Optimizer, rho: float = 0.05, adaptive: bool = False, eta: float = 0.0) -> None:
        super().__init__(base, rho=rho, adaptive=adaptive, eta=eta)

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raise ValueError for an `eta` without `adaptive`."""
        if settings["eta"] and not settings["adaptive"]:
            raise ValueError("SAM: eta belongs to adaptive=True")

    def gradients(self, closure: Callable[[], Tensor]) -> Tensor:
        """Set every `.grad` to the gradient at p + e, and return the loss at p."""
        loss = self.base.gradients(closure)
        g = {p: p.grad.data for p in self.parameters() if p.grad is not None}
        T = {p: abs(p.data) + self.eta if self.adaptive else 1.0 for p in g}
        norm = np.sqrt(sum(((T[p] * g[p]) ** 2).sum() for p in g))
        norm = norm + (norm == 0)  # no gradient, no perturbation
        with shifted({p: self.rho * T[p] * T[p] * g[p] / norm for p in g}), nn.freeze_statistics():
            self.base.gradients(closure)
        return loss
