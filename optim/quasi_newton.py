"""Quasi-Newton methods: the Hessian, learned from how the gradient changes.

After a step s the gradient has changed by y = g₊ - g, and for a quadratic y = Hs. So every step tells one thing about
H, and what is kept of all these is good enough to divide by. No second derivative is ever taken.

Public: `BFGS`, `LBFGS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import Rule, at_least, integer
from .line_search import LINE_SEARCH, require_downhill, searcher
from .second_order import Objective, SecondOrder

MAX_EVAL: Rule = (lambda n: n is None or integer(1)[0](n), "None or an integer >= 1")


class QuasiNewton(SecondOrder):
    """What BFGS and LBFGS share: all but how H⁻¹ is kept. A subclass writes `learn` and `solve`.

    The last step waits in `memory`, as s and the gradient g where it began: y = g₊ - g is known only with the next
    gradient, which the next call of `step` may take from other data.
    """

    rules = {
        "lr": at_least(0),
        "max_iter": integer(1),
        "max_eval": MAX_EVAL,
        "tolerance_grad": at_least(0),
        "tolerance_change": at_least(0),
        "history_size": integer(1),
        "line_search_fn": LINE_SEARCH,
    }

    def make_room(self, history_size: int) -> None:
        """Before a step waits in memory: forget what it will take the place of."""

    def learn(self, s: Any, y: Any) -> None:
        """Remember that H s = y, for a pair with sᵀy > 0."""
        raise NotImplementedError

    def solve(self, g: Any) -> Any:
        """H⁻¹ g, as far as H is known."""
        raise NotImplementedError

    def iterate(
        self, f: Objective, x: Any, *, lr: float, max_iter: int, max_eval: int | None, tolerance_grad: float,
        tolerance_change: float, line_search_fn: Any, history_size: int = 0,
    ) -> Any:  # fmt: skip
        """Up to `max_iter` quasi-Newton steps from x; where they lead."""
        memory, search = self.memory, searcher(line_search_fn)
        most = max_iter * 5 // 4 if max_eval is None else max_eval
        loss, g = f(x)
        for k in range(1, max_iter + 1):
            if abs(g).max() <= tolerance_grad:
                break
            if "s" in memory:
                s, y = memory.pop("s"), g - memory.pop("g")
                if y @ s > 1e-10:
                    self.learn(s, y)
            d = -self.solve(g)
            slope = float(g @ d)
            if abs(slope) < tolerance_change:
                break
            require_downhill(f"{self._name}.step", slope)
            t = lr if memory["t"] else lr * min(1.0, 1.0 / float(abs(g).sum()))  # nothing is known of H at first
            memory["t"] += 1
            self.make_room(history_size)
            memory["g"], before = g, loss
            if search is not None:
                t, loss, g = search(f, x, d, t, loss, g, most - f.evaluations)
            elif k < max_iter:
                loss, g = f(x + t * d)
                if not np.isfinite(loss):
                    raise ValueError(
                        f"{self._name}.step: after a step of lr = {t:g} the loss is {loss}; nothing was changed. Try "
                        "line_search_fn='strong_wolfe', or a smaller lr"
                    )
            memory["s"] = float(t) * d
            x = x + memory["s"]
            if (
                f.evaluations >= most
                or abs(memory["s"]).max() <= tolerance_change
                or abs(loss - before) < tolerance_change
            ):
                break
        return x


class BFGS(QuasiNewton):
    r"""Quasi-Newton steps with a dense approximation B of H⁻¹: p ← p - t·B g, t by line search.

    With s the last step, y the change of the gradient over it and ρ = 1/yᵀs,

        B ← (I - ρ s yᵀ) B (I - ρ y sᵀ) + ρ s sᵀ

    is the matrix closest to the last B that is symmetric and fulfils By = s. B starts as I, and becomes (yᵀs/yᵀy) I
    before it first learns, so that its size is right. A step costs O(n²), in time and memory.

    Parameters
    ----------
    params
        Tensors: one group.
    lr
        The first t tried in each iteration, but for the very first, which is at most lr/‖g‖₁.
    max_iter
        Iterations per `step`.
    max_eval
        Evaluations of the closure after which a `step` ends; None: 1.25 `max_iter`.
    tolerance_grad
        A `step` ends where no element of the gradient is larger.
    tolerance_change
        A `step` ends where the loss, or every parameter, has changed by less, or the slope along the direction is less.
    line_search_fn
        ``"strong_wolfe"``; None, to go t = lr without looking; or a function of ``f, x, d, t, loss, g`` and the most
        evaluations it may take, that returns t, and the loss and the gradient at x + td.

    Raises
    ------
    MemoryError
        Where B would not fit.
    ValueError
        For several parameter groups, for a loss that is not finite, for a direction that does not lead downhill, as
        a state that was edited may give; nothing has been changed then.

    References
    ----------
    Broyden, Fletcher, Goldfarb and Shanno, each on their own, 1970; Nocedal, Wright, Numerical optimization, 2006,
    algorithm 6.1 and equation 6.20.

    Examples
    --------
    >>> import numpy as np, minigrad as mg, optim
    >>> p = mg.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    >>> opt = optim.BFGS([p], max_iter=100)
    >>> opt.step(lambda: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2).item().__round__(6)
    24.2
    >>> p.data.round(4)
    array([1., 1.])
    """

    remembers = {"B": 2, "s": 1, "g": 1}

    def update(
        self, f, x, *, lr=1.0, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    ):  # fmt: skip
        self.refuse_matrix(x.size, x.dtype)
        return self.iterate(
            f, x, lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change, line_search_fn=line_search_fn,
        )  # fmt: skip

    def learn(self, s: Any, y: Any) -> None:
        B, rho = self.memory.get("B"), 1 / (y @ s)
        if B is None:
            B = (y @ s) / (y @ y) * np.identity(s.size, s.dtype, like=s)
        By = B @ y
        cross = np.outer(s, By)
        self.memory["B"] = B - rho * (cross + cross.T) + rho * (1 + rho * (y @ By)) * np.outer(s, s)

    def solve(self, g: Any) -> Any:
        return self.memory["B"] @ g if "B" in self.memory else g


class LBFGS(QuasiNewton):
    r"""Quasi-Newton steps that remember the last m pairs (s, y) instead of a matrix: 2mn numbers.

    What BFGS would make of a multiple γ of I and these pairs, times g, takes two loops, from the last pair to the first
    and back (ρᵢ = 1/yᵢᵀsᵢ, γ = sᵀy/yᵀy of the last pair):

        αᵢ = ρᵢ sᵢᵀq,   q ← q - αᵢ yᵢ          r = γq          βᵢ = ρᵢ yᵢᵀr,   r ← r + (αᵢ - βᵢ) sᵢ

    Arguments, defaults and path are PyTorch's; the closure, as everywhere here, only returns the loss. While a new pair
    waits for its y, s and g take the place of the oldest pair, so that 2mn numbers are all that is kept. Only where
    that y is of no use, as yᵀs <= 1e-10, is the next direction made of m - 1 pairs, and PyTorch's of m. The pairs that
    a `step` replaces live to its end, to be put back if it fails.

    Parameters
    ----------
    params
        Tensors: one group.
    lr
        The first t tried in each iteration, but for the very first, which is at most lr/‖g‖₁.
    max_iter
        Iterations per `step`.
    max_eval
        Evaluations of the closure after which a `step` ends; None: 1.25 `max_iter`.
    tolerance_grad
        A `step` ends where no element of the gradient is larger.
    tolerance_change
        A `step` ends where the loss, or every parameter, has changed by less, or the slope along the direction is less.
    history_size
        m.
    line_search_fn
        None, to go t = lr without looking; ``"strong_wolfe"``; or a function, as of `BFGS`.

    Raises
    ------
    ValueError
        For several parameter groups, for a loss that is not finite, for a direction that does not lead downhill, as
        a state that was edited may give; nothing has been changed then.

    References
    ----------
    Nocedal, Updating quasi-Newton matrices with limited storage, 1980; Nocedal, Wright, Numerical optimization, 2006,
    algorithm 7.4.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([3.0, 4.0], requires_grad=True)
    >>> opt = optim.LBFGS([p])
    >>> opt.step(lambda: (p * p).sum()).item()
    25.0
    >>> abs(p.detach()).max().item() < 1e-6
    True
    """

    remembers = {"steps": 1, "changes": 1, "s": 1, "g": 1}

    def update(
        self, f, x, *, lr=1.0, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
        history_size=100, line_search_fn=None,
    ):  # fmt: skip
        return self.iterate(
            f, x, lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change, line_search_fn=line_search_fn, history_size=history_size,
        )  # fmt: skip

    def make_room(self, history_size: int) -> None:
        for name in ("steps", "changes"):
            kept = self.memory.get(name, [])
            self.memory[name] = kept[max(0, len(kept) - (history_size - 1)) :]

    def learn(self, s: Any, y: Any) -> None:
        for name, new in (("steps", s), ("changes", y)):
            self.memory[name] = [*self.memory.get(name, []), new]

    def solve(self, g: Any) -> Any:
        pairs = [*zip(self.memory.get("steps", []), self.memory.get("changes", []))]
        if not pairs:
            return g
        q, alphas = g, []
        for s, y in reversed(pairs):
            alphas.append((s @ q) / (y @ s))
            q = q - alphas[-1] * y
        s, y = pairs[-1]
        r = (y @ s) / (y @ y) * q
        for (s, y), alpha in zip(pairs, reversed(alphas)):
            r = r + (alpha - (y @ r) / (y @ s)) * s
        return r
