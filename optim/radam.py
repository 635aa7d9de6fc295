"""RAdam: Adam that waits until it has seen enough gradients to divide by their size.

Public: `RAdam`.
"""

from __future__ import annotations

import math

import numpy as np

from .checks import at_least
from .optimizer import Optimizer, descent


class RAdam(Optimizer):
    r"""Adam with the variance of its rate rectified.

    v averages the squares of few gradients at first, so that 1/√v̂ varies wildly: the reason for warm-up. Over how many
    it averages is, as the length of a plain average with the same centre of mass,

        ρ∞ = 2 / (1 - β₂) - 1          ρ = ρ∞ - 2tβ₂ᵗ / (1 - β₂ᵗ)

    and with m̂, v as in `Adam`, once ρ exceeds a threshold,

        p ← p - lr · R · m̂ √(1 - β₂ᵗ) / (√v + ε)          R² = (ρ - 4)(ρ - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρ)

    and until then p ← p - lr · m̂: a step that is not adapted at all.

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr, betas, eps, weight_decay, maximize
        As in `Adam`.
    decoupled_weight_decay
        Let p shrink by itself, p ← p - lr·λ·p, and leave g alone, as `AdamW` does.
    rho_threshold
        From which ρ on to adapt: 5, as PyTorch, or 4, as the paper has it; R is not real below 4.

    References
    ----------
    Liu, Jiang, He, Chen, Liu, Gao, Han, On the variance of the adaptive learning rate and beyond, 2020, algorithm 2.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0, -100.0], requires_grad=True)
    >>> opt = optim.RAdam([p], lr=0.25)
    >>> loss = opt.step(lambda: (p * p).sum())  # the gradient is [2, -200], and the first step is all of it
    >>> p.detach()
    tensor([  0.5, -50. ], dtype=float32, device='cpu')
    """

    rules = {**Optimizer.rules, "rho_threshold": at_least(4)}

    def update(
        self, p, g, m, v, *, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False,
        maximize=False, rho_threshold=5.0,
    ):  # fmt: skip
        beta1, beta2 = betas
        g = descent(p, g, 0 if decoupled_weight_decay else weight_decay, maximize)
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        m_hat = m / (1 - beta1**t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if rho > rho_threshold:
            R = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            p -= lr * R * math.sqrt(1 - beta2**t) * m_hat / (np.sqrt(v) + eps)
        else:
            p -= lr * m_hat
