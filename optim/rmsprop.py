"""RMSprop: Adagrad with a memory that fades.

Public: `RMSprop`.
"""

from __future__ import annotations

import numpy as np

from .checks import below_one
from .optimizer import Optimizer, descent


class RMSprop(Optimizer):
    r"""Each parameter's step is divided by the root of the moving average of its squared gradients.

        r ← ρr + (1 - ρ)g²          p ← p - lr · g / (√r + ε)

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr
        The rate.
    alpha
        ρ: how much of r stays from step to step.
    eps
        ε, against division by zero.
    weight_decay
        λ of a penalty ½ λ ‖p‖²: adds λp to g.
    momentum
        α of a running sum of the divided gradients: b ← αb + g / (√r + ε), p ← p - lr · b.
    centered
        Divide by the root of the variance r - m² instead, m being the moving average of g (Graves 2013).
    maximize
        Climb instead.
    eps_inside_root
        Divide by √(r + ε) instead of √r + ε, as many texts write.

    References
    ----------
    Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, 2012. Graves, Generating sequences with
    recurrent neural networks, 2013, equations 38 to 45.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0, -100.0], requires_grad=True)
    >>> opt = optim.RMSprop([p], lr=0.05)
    >>> loss = opt.step(lambda: (p * p).sum())  # r starts at zero: the first step is 1/√(1 - ρ) = 10 times lr
    >>> p.detach()
    tensor([  0.5, -99.5], dtype=float32, device='cpu')
    """

    optional = {"m": "centered", "b": "momentum"}
    rules = {**Optimizer.rules, "alpha": below_one()}

    def update(
        self, p, g, r, m, b, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False,
        maximize=False, eps_inside_root=False,
    ):  # fmt: skip
        g = descent(p, g, weight_decay, maximize)
        r *= alpha
        r += (1 - alpha) * (g * g)
        square = r
        if centered:
            m *= alpha
            m += (1 - alpha) * g
            square = np.maximum(r - m * m, 0)  # a variance; rounding may leave it a little below zero
        step = g / (np.sqrt(square + eps) if eps_inside_root else np.sqrt(square) + eps)
        if momentum:
            b *= momentum
            b += step
            step = b
        p -= lr * step
