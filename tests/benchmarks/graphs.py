"""What the engine itself costs: many small operations, a long chain, a wide sum, a few large arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.workload import Step, Workload, leaves, normal


class Ops(Workload):
    """h ← tanh(h a + b) / c, twenty times: four operations, of which each has a gradient to give."""

    title = "forward + backward per op, 8-element arrays"
    hold = 0.8
    rounds = 20
    work = 4 * rounds + 1

    def __init__(self) -> None:
        self.leaves = normal(8), normal(8, seed=1), normal(8, seed=2), 2 + normal(8, scale=0.1)

    def framework(self, lib: Any, optim: Any) -> Step:
        h0, a, b, c = params = leaves(lib, self.leaves)

        def step() -> Any:
            h = h0
            for _ in range(self.rounds):
                h = lib.tanh(h * a + b) / c
            loss = h.sum()
            for p in params:
                p.grad = None
            loss.backward()
            return loss, [p.grad for p in params]

        return step

    def numpy(self) -> Step:
        h0, a, b, c = self.leaves

        def step() -> Any:
            h, kept = h0, []
            for _ in range(self.rounds):
                t = np.tanh(h * a + b)
                kept.append((h, t))
                h = t / c
            loss = h.sum()
            g = np.ones_like(h)
            ga, gb, gc = np.zeros_like(a), np.zeros_like(b), np.zeros_like(c)
            for h, t in reversed(kept):
                g = g / c
                gc -= g * t / c
                g = g - g * t * t
                gb += g
                ga += g * h
                g = g * a
            return loss, [g, ga, gb, gc]

        return step


class Chain(Workload):
    """y ← y a, a hundred thousand times; nothing may recurse, and every node is kept until backward comes."""

    title = "100,000-op chain"
    hold, hold_memory = 0.7, ("PyTorch", 0.7)

    def __init__(self, length: int = 100_000) -> None:
        self.length = length
        self.a = np.float32(1 + 1e-6)

    def framework(self, lib: Any, optim: Any) -> Step:
        x = lib.tensor(2.0, requires_grad=True)
        a = float(self.a)

        def step() -> Any:
            y = x
            for _ in range(self.length):
                y = y * a
            x.grad = None
            y.backward()
            return y, x.grad

        return step

    def numpy(self) -> Step:
        x, a = np.array(2.0, np.float32), float(self.a)

        def step() -> Any:
            y = x
            for _ in range(self.length):
                y = y * a
            g = np.ones_like(y)
            for _ in range(self.length):
                g = g * a
            return y, g

        return step


class ChainCollected(Chain):
    """Python's collector looks at every node again and again, and finds no cycle; PyTorch's nodes it does not see."""

    title = "the same, garbage collector on"
    hold = hold_memory = None
    collector = True


class Fan(Workload):
    """Σ sin(x cᵢ) over many constants: a graph that is as wide as the chain is deep."""

    title = "wide graph"

    def __init__(self, width: int) -> None:
        self.x, self.c = normal(8), normal(width).tolist()

    def framework(self, lib: Any, optim: Any) -> Step:
        (x,) = leaves(lib, [self.x])

        def step() -> Any:
            y = lib.stack([lib.sin(x * c) for c in self.c]).sum()
            x.grad = None
            y.backward()
            return y, x.grad

        return step

    def numpy(self) -> Step:
        x = self.x

        def step() -> Any:
            angles = [x * c for c in self.c]
            y = np.stack([np.sin(angle) for angle in angles]).sum()
            g = np.zeros_like(x)
            for c, angle in zip(self.c, angles):
                g += np.cos(angle) * c
            return y, g

        return step


class Elementwise(Workload):
    """Large arrays: what counts is how often memory is passed over, and how many arrays are alive at once."""

    title = "sum(tanh(a*b+c)), 4M elements"
    hold = 0.6
    hold_memory = ("the inputs", 2.2)
    input_bytes = 3 * 4 * 2**22
    tolerance = 1e-3  # a sum of 4M float32, in any order

    def __init__(self, size: int = 2**22) -> None:
        self.inputs = normal(size), normal(size, seed=1), normal(size, seed=2)

    def framework(self, lib: Any, optim: Any) -> Step:
        a, b, c = params = leaves(lib, self.inputs)

        def step() -> Any:
            for p in params:
                p.grad = None
            loss = lib.tanh(a * b + c).sum()
            loss.backward()
            return loss, [p.grad for p in params]

        return step

    def numpy(self) -> Step:
        a, b, c = self.inputs

        def step() -> Any:
            z = a * b
            z += c
            np.tanh(z, out=z)
            loss = z.sum()
            z *= z
            g = np.subtract(1, z, out=z)
            return loss, [g * b, g * a, g]

        return step
