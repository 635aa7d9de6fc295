"""How a step is fast in NumPy: large parameters in blocks that fit the processor's cache, small ones together.

A formula of arrays passes over its operands many times. On a whole large array each pass fetches everything from memory
again; on a block the second pass finds it in the cache. On a small array a pass costs a microsecond, whatever its size;
so small parameters are gathered, updated as one, and written back. An elementwise formula cannot tell the difference.

Public: `Plan`, and its `Alone` and `Together`.
"""

from __future__ import annotations

import itertools
import operator
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import Tensor

if TYPE_CHECKING:
    from .optimizer import Optimizer

# Elements that `update` gets at once. Adam on 20 parameters of (500, 500) float32, one thread: 15 ms in blocks of 4k,
# 9.6 in blocks of 16k, 8.3 of 32k, 8.4 of 64k; on four of a million elements 53 ms whole, 11 ms in blocks.
# A GPU has no such cache, and every call of a kernel costs the same: there all goes at once.
BLOCK = 2**15
# Parameters up to this size are gathered, because a call of `update` costs more than the copies: Adam on 40 parameters
# of 8k elements takes 0.53 ms together and 0.70 alone, of 1k elements 0.10 and 0.40; of 16k it takes 1.1 either way.
SMALL = 2**13


def block_of(p: Tensor) -> int:
    """How many of a parameter's elements go at once."""
    return BLOCK if p.device == "cpu" else sys.maxsize


class Plan:
    """Which parameters of a group are updated by which calls. Made at the first step, kept while it fits.

    It holds only parameters that have a gradient.
    """

    def __init__(
        self, optimizer: Optimizer, ready: list[Tensor], names: list[str | None], start: dict[str, float]
    ) -> None:
        self.ready, self.names = ready, names
        self.arrays = [p.data for p in ready]
        self.states = [optimizer.state.setdefault(p, {"t": 0}) for p in ready]
        self.bunches: list[Alone | Together] = []
        packs: dict[Any, list[Tensor]] = {}
        filled: Counter[Any] = Counter()
        for p, state in zip(ready, self.states):
            for name in filter(None, names):
                if name not in state:
                    state[name] = np.full_like(p.data, start.get(name, 0.0), order="C")
                elif (state[name].shape, state[name].dtype) != (p.shape, p.dtype):
                    raise RuntimeError(
                        f"{optimizer._name}: a parameter is {p.dtype}{list(p.shape)} now, but its {name} is "
                        f"{state[name].dtype}{list(state[name].shape)}; make the optimizer after changing the model"
                    )
            if optimizer.elementwise and p.size <= SMALL and p.data.flags.c_contiguous:
                # Only those of one dtype, device and count of steps can share a call; and a pack is full at one block.
                key = (p.dtype, p.device, state["t"])
                packs.setdefault((*key, filled[key] // block_of(p)), []).append(p)
                filled[key] += p.size
            else:
                self.bunches.append(Alone(p, state, names, whole=not optimizer.elementwise))
        rooms: dict[Any, Any] = {}  # where p is gathered: one room for all packs of a kind, as large as the largest
        for (dtype, device, _, _), pack in sorted(packs.items(), key=lambda item: -sum(p.size for p in item[1])):
            size = sum(p.size for p in pack)
            room = rooms.setdefault((dtype, device), np.empty(size, dtype, like=pack[0].data))
            self.bunches.append(Together(pack, [optimizer.state[p] for p in pack], names, room[:size]))

    def fits(self, ready: list[Tensor], names: list[str | None]) -> bool:
        """Are the same parameters stepped, with the same state, in the arrays that were planned with?"""
        return (
            names == self.names
            and len(ready) == len(self.ready)
            and all(map(operator.is_, ready, self.ready))
            and all(map(operator.is_, [p.data for p in ready], self.arrays))
        )


class Alone:
    """One parameter, updated where it lies, block after block."""

    def __init__(self, p: Tensor, state: dict[str, Any], names: list[str | None], whole: bool) -> None:
        self.param, self.state = p, state
        self.whole = whole or not p.data.flags.c_contiguous  # flattened, it would be a copy
        self.block = block_of(p)
        arrays = [p.data, *(None if name is None else state[name] for name in names)]
        self.p, *self.states = map(self.cut, arrays)

    def cut(self, array: Any) -> Any:
        """The blocks of an array, as views; of no array, as many None as are asked for."""
        if array is None:
            return itertools.repeat(None)
        if self.whole:
            return [array]
        flat = array.reshape(-1)
        return [flat[i : i + self.block] for i in range(0, flat.size, self.block)]

    def run(self, kernel: Callable[..., None]) -> None:
        """Call the kernel on each block."""
        for p, g, *state in zip(self.p, self.cut(self.param.grad.data), *self.states):  # type: ignore[union-attr]
            kernel(p, g, *state)


class Together:
    """Small parameters: gathered, updated as one, written back. Their state lies side by side and stays there."""

    def __init__(self, params: list[Tensor], states: list[dict[str, Any]], names: list[str | None], room: Any) -> None:
        self.params, self.state = params, states[0]
        self.arrays = [p.data.reshape(-1) for p in params]  # views, as all are below: of flat arrays a copy costs less
        self.p, self.views = room, [view.reshape(-1) for view in self.share(room)]
        self.states: list[Any] = [None] * len(names)
        for k, name in enumerate(names):
            if name is not None:
                self.states[k] = np.concatenate([state[name] for state in states], axis=None)
                for state, view in zip(states, self.share(self.states[k])):
                    state[name] = view

    def share(self, flat: Any) -> list[Any]:
        """Each parameter's part of a flat array, in the parameter's shape."""
        ends = itertools.accumulate(p.size for p in self.params)
        return [flat[end - p.size : end].reshape(p.shape) for p, end in zip(self.params, ends)]

    def run(self, kernel: Callable[..., None]) -> None:
        """Call the kernel once, on copies of all parameters, and write them back."""
        np.concatenate(self.arrays, out=self.p)
        g = np.concatenate([p.grad.data.ravel() for p in self.params])  # type: ignore[union-attr]
        kernel(self.p, g, *self.states)
        for array, new in zip(self.arrays, self.views):
            array[...] = new
