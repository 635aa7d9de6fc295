"""What processes do together, as ops of the table: sums over all ranks that can be differentiated.

Public: `total`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad as mg

from .communicator import Communicator


def _total(x: Any, comm: Communicator) -> Any:
    """The sum of everybody's x, on every rank.

    Where the loss is a sum of parts, one on each rank, x here moves all of them through that sum: its gradient is the
    sum of everybody's gradients. All ranks have to differentiate it, as they all have to compute it.
    """
    z = x.copy()
    comm.all_reduce(z)
    return z


total: Callable[..., Any] = mg.op(_total, x=lambda g, comm: total(g, comm))
