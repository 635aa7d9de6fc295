"""Second derivatives: a product with the Hessian of a network's loss, and a whole Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.nn import functional as F
from tests.benchmarks.networks import linear_weights
from tests.benchmarks.workload import Step, Workload, leaves, normal, torch


class HessianVector(Workload):
    """H v of the cross-entropy of a tanh network, in all its parameters at once."""

    title = "Hessian-vector product, 784-64-10, batch 64"
    hold = 1.0
    tolerance = 1e-4

    def __init__(self) -> None:
        self.x, self.y = normal(64, 784), np.arange(64) % 10
        self.weights = linear_weights(784, 64, 10)
        self.v = [normal(*w.shape, scale=0.1, seed=1) for w in self.weights]

    def minigrad(self) -> Step:
        params, v = tuple(leaves(mg, self.weights)), tuple(map(mg.tensor, self.v))
        x, y = mg.tensor(self.x), mg.tensor(self.y)

        def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
            return F.cross_entropy(F.linear(F.tanh(F.linear(x, W1, b1)), W2, b2), y)

        return lambda: mg.autograd.hvp(loss, params, v)

    def torch(self) -> Step:
        W1, b1, W2, b2 = params = leaves(torch, self.weights)
        x, y, v = torch.tensor(self.x), torch.tensor(self.y), [*map(torch.tensor, self.v)]
        F = torch.nn.functional

        def step() -> Any:
            loss = F.cross_entropy(F.linear(torch.tanh(F.linear(x, W1, b1)), W2, b2), y)
            return torch.autograd.grad(torch.autograd.grad(loss, params, create_graph=True), params, v)

        return step

    def numpy(self) -> Step:
        """Pearlmutter's R-operator (1994): r_q is the derivative of q as the parameters move along v."""
        x, y, (W1, _, W2, _), (r_W1, r_b1, r_W2, r_b2) = self.x, self.y, self.weights, self.v
        _, b1, _, b2 = self.weights
        rows = np.arange(len(x))

        def step() -> Any:
            h = np.tanh(x @ W1.T + b1)
            slope = 1 - h * h
            r_h = slope * (x @ r_W1.T + r_b1)
            scores = h @ W2.T + b2
            r_scores = r_h @ W2.T + h @ r_W2.T + r_b2
            scores -= scores.max(axis=1, keepdims=True)
            p = np.exp(scores)
            p /= p.sum(axis=1, keepdims=True)
            r_g = p * (r_scores - (p * r_scores).sum(axis=1, keepdims=True))
            g = p
            g[rows, y] -= 1
            g *= 1 / len(x)
            r_g *= 1 / len(x)

            back = g @ W2
            r_back = (r_g @ W2 + g @ r_W2) * slope - 2 * back * h * r_h
            return r_back.T @ x, r_back.sum(axis=0), r_g.T @ h + g.T @ r_h, r_g.sum(axis=0)

        return step


class RosenbrockHessian(Workload):
    """All second derivatives of Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²."""

    title = "Hessian of a 30-dimensional Rosenbrock"
    hold = 0.5

    def __init__(self) -> None:
        self.x = normal(30).astype(np.float64)

    @staticmethod
    def f(x: Any) -> Any:
        a, b = x[:-1], x[1:]
        return (100 * (b - a**2) ** 2 + (1 - a) ** 2).sum()

    def minigrad(self) -> Step:
        x = mg.tensor(self.x)
        return lambda: mg.autograd.hessian(self.f, x)

    def torch(self) -> Step:
        x = torch.tensor(self.x)
        return lambda: torch.autograd.functional.hessian(self.f, x)

    def numpy(self) -> Step:
        x = self.x

        def step() -> Any:
            a, b = x[:-1], x[1:]
            diagonal = np.zeros_like(x)
            diagonal[:-1] = 1200 * a * a - 400 * b + 2
            diagonal[1:] += 200
            return np.diag(diagonal) + np.diag(-400 * a, 1) + np.diag(-400 * a, -1)

        return step
