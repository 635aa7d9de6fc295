"""Lookahead: k steps forward, one step back.

Public: `Lookahead`.
"""

from __future__ import annotations

from typing import Any

from minigrad import Tensor

from .checks import as_count, as_saved, at_least
from .optimizer import Optimizer
from .wrapper import Wrapper


class Lookahead(Wrapper):
    r"""Slow weights φ that follow the fast ones, which the base optimizer walks with.

    After every k steps of the base,

        φ ← φ + α(p - φ)          p ← φ

    so that what the fast weights oscillate around is kept, and the oscillation is not. The base keeps its state. A GPU
    is not waited for.

    Parameters
    ----------
    base
        Any optimizer.
    k
        Steps of the base between two of the slow weights.
    alpha
        α: how far the slow weights go towards the fast ones.

    References
    ----------
    Zhang, Lucas, Hinton, Ba, Lookahead optimizer: k steps forward, 1 step back, 2019, algorithm 1.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor(8.0, requires_grad=True)
    >>> opt = optim.Lookahead(optim.SGD([p], lr=0.25), k=2, alpha=0.5)
    >>> losses = [opt.step(lambda: p * p) for _ in range(2)]  # fast: 8, 4, 2
    >>> p.item()
    5.0
    """

    rules = {"k": at_least(1), "alpha": (lambda a: 0 < a <= 1, "0 < alpha <= 1")}
    k: int
    alpha: float

    def __init__(self, base: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        super().__init__(base, k=k, alpha=alpha)
        self.t = 0
        self.slow: dict[Tensor, Any] = {}  # each parameter's φ, from the first step that found the parameter here

    def apply(self) -> None:
        """The base's, and after every k-th the slow weights' step."""
        for p in self.parameters():
            if p not in self.slow:
                self.slow[p] = p.data.copy()
        self.base.apply()
        self.t += 1
        if self.t % self.k == 0:
            for p, slow in self.slow.items():
                slow += self.alpha * (p.data - slow)
                p.data[...] = slow
                p.mark_changed()

    def memory(self) -> dict[str, Any]:
        """The count of steps, and the slow weights."""
        return {
            "t": self.t,
            "slow": {k: self.slow[p].copy() for k, p in enumerate(self.parameters()) if p in self.slow},
        }

    def remembered(self, memory: dict[str, Any], params: dict[int, Tensor]) -> dict[str, Any]:
        """As `Wrapper.remembered`."""
        where = "Lookahead.load_state_dict: slow weights of parameter"
        if not set(memory["slow"]) <= set(params):
            raise ValueError(f"{where}s {[*memory['slow']]}; there are {len(params)} parameters")
        slow = {params[k]: as_saved(f"{where} {k}", value, params[k]) for k, value in memory["slow"].items()}
        return {"t": as_count("Lookahead.load_state_dict: t", memory["t"]), "slow": slow}
