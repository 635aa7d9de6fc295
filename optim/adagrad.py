"""Adagrad: a rate for every parameter, falling with the squares of the gradients it has seen.

Public: `Adagrad`.
"""

from __future__ import annotations

import numpy as np

from .checks import at_least
from .optimizer import Optimizer, descent


class Adagrad(Optimizer):
    r"""Each parameter's step is divided by the root of the sum of all its squared gradients.

        G ← G + g²          p ← p - lr · g / (√G + ε)

    Steep directions slow down, flat ones do not; for sparse gradients, which seldom come, the rate stays high. G only
    grows, so that in the end nothing moves: `RMSprop` forgets.

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr
        The rate.
    lr_decay
        Divides the rate by 1 + (t - 1) · lr_decay.
    weight_decay
        λ of a penalty ½ λ ‖p‖²: adds λp to g.
    initial_accumulator_value
        What G starts as.
    eps
        ε, against division by zero.
    maximize
        Climb instead.
    eps_inside_root
        Divide by √(G + ε) instead of √G + ε, as many texts write.

    References
    ----------
    Duchi, Hazan, Singer, Adaptive subgradient methods for online learning and stochastic optimization, 2011.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0, -100.0], requires_grad=True)
    >>> opt = optim.Adagrad([p], lr=0.5)
    >>> loss = opt.step(lambda: (p * p).sum())
    >>> p.detach()
    tensor([  0.5, -99.5], dtype=float32, device='cpu')
    """

    initial = {"G": "initial_accumulator_value"}
    rules = {**Optimizer.rules, "lr_decay": at_least(0), "initial_accumulator_value": at_least(0)}

    def update(
        self, p, g, G, *, t, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10,
        maximize=False, eps_inside_root=False,
    ):  # fmt: skip
        g = descent(p, g, weight_decay, maximize)
        G += g * g
        root = np.sqrt(G + eps) if eps_inside_root else np.sqrt(G) + eps
        p -= lr / (1 + (t - 1) * lr_decay) * g / root
