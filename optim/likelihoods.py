"""What a network's output z says of its target y: the distributions under which a loss is -log p(y | z).

    categorical    p(y = c) = softmax(z)_c      cross-entropy
    bernoulli      p(yₖ = 1) = sigmoid(zₖ)      binary cross-entropy with logits
    gaussian       y ~ N(z, I)                  half the sum of squares, ½ ‖z - y‖²

The gradient of -log p(y | z) in z, for one y drawn from p, is a *score*. Its mean is 0; its covariance B is the Fisher
information of z, and the Hessian of the loss in z. Here are, for a batch z of shape ``(N, K)``, products B u for each
example, one score drawn at random, and a few vectors whose outer products sum to B exactly.

Public: `Likelihood` and `LIKELIHOODS`, the three by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad import backend
from minigrad import functional as F


class Likelihood:
    """For outputs z and vectors u in the same shape, ``(N, K)``."""

    def product(self, z: Any, u: Any) -> Any:
        """B u, for each example."""
        raise NotImplementedError

    def draw(self, z: Any) -> Any:
        """The score of a y drawn from p(y | z), for each example, from the stream of `mg.manual_seed`."""
        raise NotImplementedError

    def roots(self, z: Any) -> Iterator[Any]:
        """K vectors e for each example with Σ e eᵀ = B."""
        raise NotImplementedError


class Categorical(Likelihood):
    """B = diag(p) - p pᵀ."""

    def product(self, z: Any, u: Any) -> Any:
        p = F.softmax(z)
        return p * u - p * (p * u).sum(axis=-1, keepdims=True)

    def draw(self, z: Any) -> Any:
        p = F.softmax(z)
        y = (p.cumsum(axis=-1) < uniform(z)[..., :1]).sum(axis=-1, keepdims=True)
        y = np.minimum(y, p.shape[-1] - 1)  # p may sum to less than 1, by rounding
        return p - (y == np.arange(p.shape[-1], like=z))

    def roots(self, z: Any) -> Iterator[Any]:
        p = F.softmax(z)
        for c in range(p.shape[-1]):  # the score of y = c, which comes with probability p_c
            yield np.sqrt(p[..., c : c + 1]) * (p - (np.arange(p.shape[-1], like=z) == c))


class Bernoulli(Likelihood):
    """B = diag(p (1 - p))."""

    def product(self, z: Any, u: Any) -> Any:
        p = F.sigmoid(z)
        return p * (1 - p) * u

    def draw(self, z: Any) -> Any:
        p = F.sigmoid(z)
        return p - (uniform(z) < p)

    def roots(self, z: Any) -> Iterator[Any]:
        p = F.sigmoid(z)
        for k in range(z.shape[-1]):
            yield np.sqrt(p * (1 - p)) * (np.arange(z.shape[-1], like=z) == k)


class Gaussian(Likelihood):
    """B = I."""

    def product(self, z: Any, u: Any) -> Any:
        return u

    def draw(self, z: Any) -> Any:
        noise = backend.generator().standard_normal(z.shape).astype(z.dtype)
        return backend.to_device(noise, backend.device_of(z))

    def roots(self, z: Any) -> Iterator[Any]:
        for k in range(z.shape[-1]):
            yield np.zeros_like(z) + (np.arange(z.shape[-1], like=z) == k)


def uniform(z: Any) -> Any:
    """Numbers in [0, 1), in the shape and dtype of z."""
    return backend.to_device(backend.generator().random(z.shape).astype(z.dtype), backend.device_of(z))


LIKELIHOODS: dict[str, Likelihood] = {
    "categorical": Categorical(),
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
}
