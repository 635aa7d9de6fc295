"""An optimizer's step alone, the gradients being there: many large parameters, many small ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.benchmarks.workload import Step, Workload, leaves, normal


class Adam(Workload):
    shape: tuple[int, ...]
    count: int
    lr = 0.1  # large beside the tolerance: a step is about ± lr

    def __init__(self) -> None:
        self.params = [normal(*self.shape, seed=k) for k in range(self.count)]
        self.grads = [normal(*self.shape, scale=0.1, seed=-k - 1 & 0xFFFF) for k in range(self.count)]

    def framework(self, lib: Any, optim: Any) -> Step:
        params = leaves(lib, self.params)
        for p, g in zip(params, self.grads):
            p.grad = lib.tensor(g)
        opt = optim.Adam(params, lr=self.lr)

        def step() -> Any:
            opt.step()
            return params[0], params[-1]

        return step

    def numpy(self) -> Step:
        """Parameter by parameter, with every intermediate in one of two arrays: the fewest passes and no allocation."""
        params = [p.copy() for p in self.params]
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
        lr, t, a, b = self.lr, 0, np.empty_like(params[0]), np.empty_like(params[0])

        def step() -> Any:
            nonlocal t, a, b
            t += 1
            for p, g, (m, v) in zip(params, self.grads, moments):
                m *= 0.9
                np.multiply(g, 0.1, out=a)
                m += a
                v *= 0.999
                np.multiply(g, g, out=a)
                a *= 1 - 0.999
                v += a
                np.sqrt(v, out=a)
                a *= 1 / math.sqrt(1 - 0.999**t)
                a += 1e-8
                np.multiply(m, lr / (1 - 0.9**t), out=b)
                b /= a
                p -= b
            return params[0], params[-1]

        return step


class AdamLarge(Adam):
    title = "Adam step, 20 × (500, 500)"
    hold = 1.6
    shape, count = (500, 500), 20


class AdamSmall(Adam):
    title = "Adam step, 500 × (64,)"
    hold = 0.1
    shape, count = (64,), 500
