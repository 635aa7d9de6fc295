"""What processes do together, as ops of the table: sums over all ranks that can be differentiated.

The derivative of a sum depends on whose the loss is. Where it is a sum of parts, one on each rank, there is `total`.
Where all ranks compute one and the same loss, there is a pair, each of which is the other's derivative:

    op               forward                    backward
    replicate        x                          sum_over_ranks
    sum_over_ranks   the sum of everybody's x   replicate

Public: `total`, `replicate`, `sum_over_ranks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad as mg
from minigrad.backend import as_array

from .communicator import Communicator


def _total(x: Any, comm: Communicator) -> Any:
    """The sum of everybody's x, on every rank.

    Where the loss is a sum of parts, one on each rank, x here moves all of them through that sum: its gradient is the
    sum of everybody's gradients. All ranks have to differentiate it, as they all have to compute it.
    """
    z = as_array(x).copy()
    comm.all_reduce(z)
    return z


total: Callable[..., Any] = mg.op(_total, x=lambda g, comm: total(g, comm))


def _replicate(x: Any, comm: Communicator) -> Any:
    """x, which is the same on all ranks, to be used by each in its own way: its gradient is the sum of theirs."""
    return x


def _sum_over_ranks(x: Any, comm: Communicator) -> Any:
    """The sum of everybody's x, to be used by all in the same way: everybody's x has the sum's gradient."""
    return _total(x, comm)


# fmt: off
replicate:      Callable[..., Any] = mg.op(_replicate,      x=lambda g, comm: sum_over_ranks(g, comm))
sum_over_ranks: Callable[..., Any] = mg.op(_sum_over_ranks, x=lambda g, comm: replicate(g, comm))
# fmt: on
replicate.row.view = True  # type: ignore[attr-defined]  # the output is x itself
