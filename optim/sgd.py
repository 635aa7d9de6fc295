"""Gradient descent, with momentum in the three forms that textbooks give it.

Public: `SGD`, `NAG`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad import Tensor

from .checks import at_least, one_of
from .optimizer import Optimizer, descent, shifted


class SGD(Optimizer):
    r"""Gradient descent on the gradient of a batch: p ← p - lr·g; with momentum, on a running sum or mean of gradients.

    With v₀ = 0, α the momentum and ε the rate, `momentum_form` is one of

    ============== ============================ ============= ==================================
    "accumulate"   v ← αv + g                   p ← p - εv    PyTorch; Sutskever et al. without ε
    "velocity"     v ← αv - εg                  p ← p + v     Polyak (1964); Sutskever et al. (2013)
    "ewma"         v ← αv + (1 - α)g            p ← p - εv    a moving average of the gradients
    ============== ============================ ============= ==================================

    While ε is constant the first two walk the same path, and the third walks theirs with ε(1 - α) in the place of ε.
    When ε changes they differ: a velocity keeps the old steps, a sum the old gradients.

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr
        The rate ε.
    momentum
        How much of v stays from step to step; 0 is plain gradient descent.
    dampening
        With "accumulate", v ← αv + (1 - dampening)g from the second step on.
    weight_decay
        λ of a penalty ½ λ ‖p‖²: adds λp to g.
    nesterov
        Use the gradient one step ahead along v, rearranged so that it needs no second gradient: p takes the step that
        v, updated once more with the same g, would take (Sutskever et al. 2013, section 2). `NAG` is the literal form.
    maximize
        Climb instead.
    momentum_form
        As above.

    Raises
    ------
    TypeError, ValueError
        For bad settings; `nesterov` wants momentum and no dampening, `dampening` the form "accumulate".

    References
    ----------
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964. Sutskever, Martens, Dahl, Hinton, On
    the importance of initialization and momentum in deep learning, 2013.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0, -2.0], requires_grad=True)
    >>> opt = optim.SGD([p], lr=0.25)
    >>> opt.step(lambda: (p * p).sum()).item()
    5.0
    >>> p.detach()
    tensor([ 0.5, -1. ], dtype=float32, device='cpu')
    """

    optional = {"v": "momentum"}
    rules = {**Optimizer.rules, "momentum_form": one_of("accumulate", "velocity", "ewma"), "dampening": at_least(0)}

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        if settings["nesterov"] and not (settings["momentum"] and not settings["dampening"]):
            raise ValueError("SGD: nesterov=True wants momentum > 0 and dampening = 0")
        if settings["dampening"] and settings["momentum_form"] != "accumulate":
            raise ValueError(f"SGD: dampening belongs to the form 'accumulate', not to {settings['momentum_form']!r}")

    def update(
        self, p, g, v, *, t, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False,
        momentum_form="accumulate",
    ):  # fmt: skip
        g = descent(p, g, weight_decay, maximize)
        if momentum == 0:
            p -= lr * g
        elif momentum_form == "accumulate":
            v *= momentum
            v += g if t == 1 else (1 - dampening) * g
            p -= lr * (g + momentum * v if nesterov else v)
        elif momentum_form == "velocity":
            v *= momentum
            v -= lr * g
            p += momentum * v - lr * g if nesterov else v
        else:
            v *= momentum
            v += (1 - momentum) * g
            p -= lr * ((1 - momentum) * g + momentum * v if nesterov else v)


class NAG(Optimizer):
    r"""Nesterov's accelerated gradient, literally: the gradient is taken where the velocity is about to carry p.

        v ← αv - lr · ∇J(p + αv)          p ← p + v

    `SGD` with `nesterov=True` walks the path of the look-ahead points p + αv, and needs one ordinary gradient a step.

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr
        The rate.
    momentum
        α: how much of v stays from step to step.
    weight_decay
        λ of a penalty ½ λ ‖p‖²: adds λ(p + αv), its gradient at the same point.
    maximize
        Climb instead.

    Raises
    ------
    TypeError
        By `step` without a closure. The loss that `step` returns is the one at the look-ahead point.

    References
    ----------
    Nesterov, A method for solving the convex programming problem with convergence rate O(1/k²), 1983, as written by
    Sutskever, Martens, Dahl, Hinton 2013, equations 3 and 4.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor(1.0, requires_grad=True)
    >>> opt = optim.NAG([p], lr=0.25, momentum=0.5)
    >>> [opt.step(lambda: p * p).item() for _ in range(3)]  # at p, at p + αv: 1, (0.5 - 0.25)², ...
    [1.0, 0.0625, 0.00390625]
    """

    needs_closure = True

    def update(self, p, g, v, *, lr=1e-3, momentum=0.9, weight_decay=0.0, maximize=False):
        g = descent(p + momentum * v, g, weight_decay, maximize)
        v *= momentum
        v -= lr * g
        p += v

    def gradients(self, closure: Callable[[], Tensor]) -> Tensor:
        """As `Optimizer.gradients`, but at the look-ahead point."""
        ahead = {
            p: group["momentum"] * self.state[p]["v"]
            for group in self.param_groups
            for p in group["params"]
            if p in self.state
        }
        with shifted(ahead):
            return super().gradients(closure)
