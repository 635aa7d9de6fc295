"""Adam: a step per parameter, measured in the recent size of its own gradient; and AdamW.

Public: `Adam`, `AdamW`.
"""

from __future__ import annotations

import numpy as np

from .optimizer import Optimizer, descent


class Adam(Optimizer):
    r"""Moving averages of the gradient and of its square; the step is the one over the root of the other.

        m ← β₁m + (1 - β₁)g          m̂ = m / (1 - β₁ᵗ)
        v ← β₂v + (1 - β₂)g²         v̂ = v / (1 - β₂ᵗ)         p ← p - lr · m̂ / (√v̂ + ε)

    m and v start at zero; after t steps of a constant gradient they hold 1 - βᵗ of it, which m̂ and v̂ make good.

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr
        The rate; also, about, the size of every step.
    betas
        β₁ and β₂: how much of m and of v stays from step to step.
    eps
        ε, against division by zero.
    weight_decay
        λ of a penalty ½ λ ‖p‖²: adds λp to g.
    amsgrad
        Divide by the largest v so far, so that no rate ever grows (Reddi et al. 2018).
    maximize
        Climb instead.
    decoupled_weight_decay
        Let p shrink by itself, p ← p - lr·λ·p, and leave g alone: what `AdamW` does.
    eps_inside_root
        Divide by √(v̂ + ε) instead, as some texts write.
    bias_correction
        False: m and v as they are. The first step is then (1 - β₁) / √(1 - β₂) times too long, with the default betas
        3.2 times.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, algorithm 1. Reddi, Kale, Kumar, On the convergence
    of Adam and beyond, 2018.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0, -100.0], requires_grad=True)
    >>> opt = optim.Adam([p], lr=0.5)
    >>> loss = opt.step(lambda: (p * p).sum())
    >>> p.detach()
    tensor([  0.5, -99.5], dtype=float32, device='cpu')
    """

    optional = {"v_max": "amsgrad"}

    def update(
        self, p, g, m, v, v_max, *, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False,
        maximize=False, decoupled_weight_decay=False, eps_inside_root=False, bias_correction=True,
    ):  # fmt: skip
        beta1, beta2 = betas
        g = descent(p, g, 0 if decoupled_weight_decay else weight_decay, maximize)
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        if amsgrad:
            v_max[...] = v = np.maximum(v_max, v)
        # lr · m̂ is rate · m: dividing the number instead of the array spares a tenth of the step.
        rate = lr / (1 - beta1**t) if bias_correction else lr
        v_hat = v / (1 - beta2**t) if bias_correction else v
        p -= rate * m / (np.sqrt(v_hat + eps) if eps_inside_root else np.sqrt(v_hat) + eps)


class AdamW(Adam):
    r"""Adam whose weights decay by themselves: p ← p - lr · ( m̂ / (√v̂ + ε) + λp ).

    A penalty's gradient λp that went through m and v, as in `Adam`, would be divided by √v̂ like every other gradient,
    and weights with large gradients would hardly decay. Here all decay alike.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize, eps_inside_root, bias_correction
        As in `Adam`.
    weight_decay
        λ, the decay per step in units of the rate.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019, algorithm 2.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([1.0], requires_grad=True)
    >>> opt = optim.AdamW([p], lr=0.5, weight_decay=0.1)
    >>> loss = opt.step(lambda: (p * p).sum())  # by 0.05 for the decay, by 0.5 for the gradient
    >>> p.detach()
    tensor([0.45], dtype=float32, device='cpu')
    """

    def update(  # type: ignore[override]  # the one setting of Adam's that is settled here is not taken
        self, p, g, m, v, v_max, *, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False,
        maximize=False, eps_inside_root=False, bias_correction=True,
    ):  # fmt: skip
        super().update(
            p, g, m, v, v_max, t=t, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
            maximize=maximize, decoupled_weight_decay=True, eps_inside_root=eps_inside_root,
            bias_correction=bias_correction,
        )  # fmt: skip
