"""Replicas that are to be the same on all ranks: where they are not, and how statistics of parts become one.

Public: `averaged`, `compare`, `refuse_unlike`.
"""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np

from minigrad import Tensor

from .communicator import Communicator


def averaged(buffers: list[Tensor], share: float, comm: Communicator) -> list[Any]:
    """New arrays for buffers of a rank's own part: means weighted by `share`, of counts (integers) the largest."""
    arrays = {}
    for kind, op, weight in (("f", "sum", share), ("i", "max", 1)):
        some = [b for b in buffers if b.dtype.kind == kind]
        if some:
            flat = np.concatenate([b.data for b in some], axis=None) * weight
            comm.all_reduce(flat, op)
            for b, end in zip(some, itertools.accumulate(b.size for b in some)):
                arrays[b] = flat[end - b.size : end].reshape(b.shape)
    return [arrays[b] for b in buffers]


def compare(who: str, arrays: dict[str, Any], comm: Communicator) -> None:
    """Raise RuntimeError, on all ranks, where an array is not the same on all of them, to the bit."""
    for name, array in arrays.items():
        bits = array.reshape(-1).view(np.uint8)
        low, high = bits.copy(), bits.copy()
        comm.all_reduce(low, "min")
        comm.all_reduce(high, "max")
        if (low != high).any():
            first = array.copy()
            comm.broadcast(first)
            apart = np.absolute(array.astype(np.float64) - first.astype(np.float64))
            distance = np.nan_to_num(apart, nan=np.inf).max().reshape(1)
            comm.all_reduce(distance, "max")
            raise RuntimeError(
                f"{who}: {name!r} differs between ranks, by up to {float(distance[0]):g}; all have to take the same "
                "steps, and to change nothing else"
            )


def refuse_unlike(who: str, description: Any, comm: Communicator) -> None:
    """Raise ValueError, on all ranks, where they do not all describe their model, and what goes with it, the same."""
    digest = zlib.crc32(repr(description).encode())
    extremes = np.array([digest, -digest])
    comm.all_reduce(extremes, "max")
    if extremes[0] != -extremes[1]:
        raise ValueError(f"{who}: the ranks have different models or settings; rank {comm.rank} has {description}")
