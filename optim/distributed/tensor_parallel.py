"""Tensor parallelism: one linear layer on several ranks, each with a part of its weight.

    up = distributed.ColumnParallelLinear(nn.Linear(64, 256), comm, gather_output=False)
    down = distributed.RowParallelLinear(nn.Linear(256, 64), comm, input_is_split=True)
    mlp = nn.Sequential(up, nn.GELU(), down)                # one all-reduce forward, one backward

All ranks compute with the same x. There are two ways to cut y = x Wᵀ + b (Shoeybi et al., Megatron-LM: Training
Multi-Billion Parameter Language Models Using Model Parallelism, 2019): by outputs, so that each rank has some columns
of y, or by inputs, so that each takes some columns of x and y is a sum over ranks. What is elementwise between the two
needs no word from the others.

Between the ranks there is nothing but the pair `replicate` and `sum_over_ranks` of `collectives.py` (Megatron's f and
g). Each is the other's derivative, so derivatives of every order are right. The loss has to be the same on all ranks.

Public: `ColumnParallelLinear`, `RowParallelLinear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.functional import linear
from minigrad.nn.parameter import check_input

from .collectives import replicate, sum_over_ranks
from .communicator import Communicator
from .sharding import part_of


def gather(x: Any, axis: int, n: int, comm: Communicator) -> Any:
    """All ranks' parts, `part_of` n, one after the other along an axis: padded with zeros, they add up to that."""
    mine = part_of(n, comm.rank, comm.size)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (mine.start, n - mine.stop)
    return sum_over_ranks(np.pad(x, widths), comm)


class ParallelLinear(nn.Module):
    """What the two have in common: a part of a plain layer's weight, cut along `axis`."""

    axis: int
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, plain: nn.Linear, comm: Communicator) -> None:
        name = type(self).__name__
        if not isinstance(plain, nn.Linear):
            raise TypeError(f"{name}: got {type(plain).__name__} {plain!r}; wanted the nn.Linear that is to be divided")
        self.comm, self.in_features, self.out_features = comm, plain.in_features, plain.out_features
        self.divided = plain.weight.shape[self.axis]
        if self.divided < comm.size:
            raise ValueError(f"{name}: {self.divided} features for {comm.size} ranks; each needs one at least")
        self.mine = part_of(self.divided, comm.rank, comm.size)

    def agreed(self, tensor: mg.Tensor, *key: slice) -> nn.Parameter:
        """A part of a Tensor as it is on rank 0."""
        whole = tensor.data.copy()
        self.comm.broadcast(whole)
        return nn.Parameter(whole[key])

    def to_linear(self) -> nn.Linear:
        """The plain layer, its weight gathered. All ranks call it together."""
        plain = nn.Linear.__new__(nn.Linear)  # its constructor would draw initial values
        plain.in_features, plain.out_features = self.in_features, self.out_features
        plain.weight = nn.Parameter(gather(self.weight.data, self.axis, self.divided, self.comm))
        plain.bias = None if self.bias is None else nn.Parameter(self.whole_bias(self.bias.data))
        return plain

    def whole_bias(self, bias: Any) -> Any:
        """The plain layer's bias."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"{self.mine.start} to {self.mine.stop - 1} on rank {self.comm.rank} of {self.comm.size}"
        )


class ColumnParallelLinear(ParallelLinear):
    """A plain Linear divided by outputs: each rank has some rows of the weight, that is, some columns of the result.

    Parameters
    ----------
    plain
        The layer whose weight and bias, as they are on rank 0, are divided. It is not changed.
    comm
        The world. All ranks make and call the layer together, with the same input.
    gather_output
        Give every rank the whole output, ``(..., out_features)``, by one all-reduce; otherwise its own columns.

    Raises TypeError for no Linear, ValueError for fewer outputs than ranks.

    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> from optim import distributed
    >>> plain, x = nn.Linear(3, 5), mg.randn(2, 3)
    >>> layer = distributed.ColumnParallelLinear(plain, distributed.world())
    >>> bool((layer(x) == plain(x)).all())
    True
    """

    axis = 0

    def __init__(self, plain: nn.Linear, comm: Communicator, gather_output: bool = True) -> None:
        super().__init__(plain, comm)
        self.gather_output = gather_output
        self.weight = self.agreed(plain.weight, self.mine)
        self.bias = None if plain.bias is None else self.agreed(plain.bias, self.mine)

    def forward(self, x: Any) -> Any:
        check_input("ColumnParallelLinear", x, self.weight, self.in_features)
        z = linear(replicate(x, self.comm), self.weight, self.bias)
        return gather(z, -1, self.out_features, self.comm) if self.gather_output else z

    def whole_bias(self, bias: Any) -> Any:
        return gather(bias, 0, self.out_features, self.comm)


class RowParallelLinear(ParallelLinear):
    """A plain Linear divided by inputs: each rank has some columns of the weight, and the result is a sum over ranks.

    Parameters
    ----------
    plain
        The layer whose weight and bias, as they are on rank 0, are divided. It is not changed. The bias is on all
        ranks, and stays the same on all, for so is its gradient.
    comm
        The world. All ranks make and call the layer together.
    input_is_split
        Does each rank get its own columns of the input, as `ColumnParallelLinear` gives them with
        ``gather_output=False``? Otherwise all get the whole, ``(..., in_features)``.

    Raises TypeError for no Linear, ValueError for fewer inputs than ranks.
    """

    axis = 1

    def __init__(self, plain: nn.Linear, comm: Communicator, input_is_split: bool = False) -> None:
        super().__init__(plain, comm)
        self.input_is_split = input_is_split
        self.weight = self.agreed(plain.weight, slice(None), self.mine)
        self.bias = None if plain.bias is None else self.agreed(plain.bias)

    def forward(self, x: Any) -> Any:
        features = self.weight.shape[1] if self.input_is_split else self.in_features
        check_input("RowParallelLinear", x, self.weight, features)
        if not self.input_is_split:
            x = replicate(x, self.comm)[..., self.mine]
        z = sum_over_ranks(linear(x, self.weight), self.comm)
        return z if self.bias is None else z + self.bias

    def whole_bias(self, bias: Any) -> Any:
        return bias.copy()
