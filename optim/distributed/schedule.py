"""A pipeline's plan and its time: where the layers are cut, what a rank did when, and how long it had nothing to do.

Public: `cut`, `Work`, `bubble`, `ideal_bubble`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

KINDS = ("forward", "loss", "backward")


class Work(NamedTuple):
    """What a rank did, with which micro-batch (the loss is of all: -1), from when until when, in seconds."""

    kind: str
    micro_batch: int
    start: float
    end: float


# ---------------------------------------------------------------------------------------------------- cutting


def cut(costs: Sequence[float], stages: int) -> list[int]:
    """Bounds of contiguous stages, none empty, whose largest cost is as small as can be.

    The best cut of the first j layers into k stages ends with layers i to j - 1, after the best cut of the first i into
    k - 1: all i are tried (dynamic programming, stages · layers² steps). Of equally good ones the largest i wins, so
    that an activation, which costs nothing, stays with the layer before it.

    Raises ValueError for fewer layers than stages, and for costs that are negative or not finite.

    >>> cut([1, 2, 3, 4, 5, 6], stages=3)
    [0, 3, 5, 6]
    """
    n = len(costs)
    if not 1 <= stages <= n:
        raise ValueError(f"cut: {stages} stages of {n} layers; each needs one at least: start fewer processes")
    if not all(0 <= cost < np.inf for cost in costs):
        raise ValueError(f"cut: costs = {[*costs]}; wanted finite numbers >= 0")
    total = [0.0, *itertools.accumulate(costs)]
    best = {j: (total[j], [0, j]) for j in range(1, n + 1)}  # of the first j layers: the largest cost, and the bounds
    for k in range(2, stages + 1):
        best = {
            j: min(
                ((max(best[i][0], total[j] - total[i]), [*best[i][1], j]) for i in reversed(range(k - 1, j))),
                key=itemgetter(0),
            )
            for j in range(k, n + 1)
        }
    return best[n][1]


# ---------------------------------------------------------------------------------------------------- the bubble


def bubble(timelines: Sequence[Sequence[Work]]) -> float:
    """The share of the ranks' time, from the first start to the last end, in which they had nothing to do.

    >>> bubble([[Work("forward", 0, 0.0, 1.0)], [Work("forward", 0, 1.0, 2.0)]])
    0.5
    """
    works = [work for timeline in timelines for work in timeline]
    if not works:
        raise ValueError("bubble: the timelines are empty; call pipe.backward before pipe.timelines")
    span = max(work.end for work in works) - min(work.start for work in works)
    return 1 - sum(work.end - work.start for work in works) / (len(timelines) * span)


def ideal_bubble(stages: int, micro_batches: int) -> float:
    """(p - 1) / (m + p - 1): what `bubble` is for p stages that cost the same, m micro-batches, and no communication.

    >>> ideal_bubble(4, 1), ideal_bubble(4, 12)
    (0.75, 0.2)
    """
    return (stages - 1) / (micro_batches + stages - 1)
