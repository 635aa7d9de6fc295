"""LAMB: Adam's direction, with a step length per layer that goes by the size of the layer's weights.

Public: `LAMB`.
"""

from __future__ import annotations

import math

import numpy as np

from .optimizer import Optimizer, descent


class LAMB(Optimizer):
    r"""Adam's direction, scaled for each parameter Tensor to the length of the parameter itself.

        u = m̂ / (√v̂ + ε) + λp          p ← p - lr · φ(‖p‖) / ‖u‖ · u

    with m̂, v̂ as in `Adam` and ‖·‖ the 2-norm of the whole Tensor: every layer moves by the same fraction, lr, of its
    size, which keeps the large rates of large batches from tearing a layer apart. Where φ or ‖u‖ is 0 the factor is 1.

    Parameters
    ----------
    params
        Tensors, or parameter groups.
    lr
        The rate: the length of a step, relative to the weights.
    betas, eps, maximize, bias_correction
        As in `Adam`; the paper's ε is 1e-6.
    weight_decay
        λ, decoupled: it is not divided by √v̂. The paper trains BERT with 0.01.
    norm_bounds
        φ(‖p‖) is ‖p‖, but at least the first and at most the second of these.

    References
    ----------
    You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer, Hsieh, Large batch optimization for deep learning:
    training BERT in 76 minutes, 2020, algorithm 2.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([3.0, 4.0], requires_grad=True)
    >>> opt = optim.LAMB([p], lr=0.1)
    >>> loss = opt.step(lambda: p[1])  # u is [0, 1], ‖p‖ is 5: a step of 0.5
    >>> p.detach()
    tensor([3. , 3.5], dtype=float32, device='cpu')
    """

    elementwise = False
    rules = {
        **Optimizer.rules,
        "norm_bounds": (lambda bounds: 0 <= bounds[0] <= bounds[1], "0 <= lowest <= highest"),
    }

    def update(
        self, p, g, m, v, *, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0, maximize=False,
        bias_correction=True, norm_bounds=(0.0, math.inf),
    ):  # fmt: skip
        beta1, beta2 = betas
        g = descent(p, g, 0, maximize)
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        m_hat = m / (1 - beta1**t) if bias_correction else m
        v_hat = v / (1 - beta2**t) if bias_correction else v
        u = m_hat / (np.sqrt(v_hat) + eps)
        if weight_decay:
            u += weight_decay * p
        p -= lr * trust_ratio(p, u, *norm_bounds) * u


def trust_ratio(p, u, lowest, highest):
    """φ(‖p‖) / ‖u‖, and 1 where either is 0. It stays an array of p's kind, so that a GPU is not waited for."""
    phi, length = np.clip(np.linalg.norm(p), lowest, highest), np.linalg.norm(u)
    usable = (phi > 0) & (length > 0)
    return (np.where(usable, phi, 1) / np.where(usable, length, 1)).astype(p.dtype)
