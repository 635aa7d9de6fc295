"""What a workload is: the same computation written for minigrad, in NumPy by hand, and for PyTorch.

Each of the three methods prepares its own state from the same numbers and returns a function `step`. A call of it does
the work once and returns what was computed (loss, gradients or new parameters), by which `check` compares them; only
calls of `step` are timed. Networks and optimizers have the same names and arguments in minigrad and in PyTorch, so there
one text, the method `framework`, serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
import optim

try:
    import torch
except ImportError:
    torch = None

Step = Callable[[], Any]


class Workload:
    """One row of the table, or several that time and weigh the same work."""

    title: str
    hold: float | None = None  # the most that minigrad's time may be, over PyTorch's
    hold_memory: tuple[str, float] | None = None  # over what ("NumPy", "PyTorch", "the inputs"), and the most it may be
    input_bytes: int = 0
    tolerance: float = 1e-5  # of the checks, relative to the largest element
    work: int = 1  # operations per call, where the table gives the time of one
    collector: bool = False  # is the garbage collector on while it is timed?

    def minigrad(self) -> Step:
        return self.framework(mg, optim)

    def numpy(self) -> Step:
        raise NotImplementedError

    def torch(self) -> Step:
        return self.framework(torch, torch.optim)

    def framework(self, lib: Any, optim: Any) -> Step:
        """`lib` is minigrad or torch, `optim` their optimizers."""
        raise NotImplementedError


def implementations(workload: Workload) -> dict[str, Step]:
    """The steps of those that are installed, by name."""
    names = ["minigrad", "numpy"] + ["torch"] * (torch is not None)
    return {name: getattr(workload, name)() for name in names}


def check(title: str, steps: dict[str, Step], tolerance: float) -> None:
    """Raise AssertionError unless two calls of each step give the same numbers."""
    for call in (1, 2):
        wanted, *others = [(name, [*map(as_array, flat(step()))]) for name, step in steps.items()]
        for name, results in others:
            for k, (mine, theirs) in enumerate(zip(wanted[1], results, strict=True)):
                bound = tolerance * np.abs(theirs).max(initial=0.0)
                np.testing.assert_allclose(
                    mine, theirs, rtol=0, atol=bound, err_msg=f"{title}: {wanted[0]}, {name}, call {call}, result {k}"
                )


def flat(results: Any) -> list[Any]:
    """Results in one list, whatever tuples and lists they came in."""
    return [x for part in results for x in flat(part)] if isinstance(results, (tuple, list)) else [results]


def as_array(x: Any) -> Any:
    """The numbers of a Tensor of either framework, of an array, or a number."""
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> Any:
    """Float32 numbers, normally distributed; the same for the same shape and seed."""
    return (scale * np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(np.float32)


def leaves(lib: Any, arrays: Any) -> list[Any]:
    """Tensors of either framework that require gradients, with copies of the arrays."""
    return [lib.tensor(array.copy(), requires_grad=True) for array in arrays]


def set_parameters(network: Any, arrays: Any) -> list[Any]:
    """The parameters of a network of either framework, filled with the arrays' numbers."""
    parameters = [*network.parameters()]
    for p, array in zip(parameters, arrays, strict=True):
        p.detach().numpy()[...] = array
    return parameters
