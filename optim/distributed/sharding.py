"""Which part of a batch is whose: consecutive examples, disjoint, as many for each as can be.

Public: `part_of`, `shard`, `Shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def part_of(n: int, rank: int, size: int) -> slice:
    """Which of n things are a rank's: as many as everybody's, one more for the first ones where that does not go up.

    >>> [list(range(7))[part_of(7, rank, 3)] for rank in range(3)]
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    each, more = divmod(n, size)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


def shard(who: str, batch: tuple[Any, ...], rank: int, size: int) -> tuple[Any, int, int]:
    """A rank's part of a batch of Tensors or arrays (of one alone not in a tuple), its length, and the batch's.

    Raises ValueError, which begins with `who`, for nothing, or things of several lengths.
    """
    lengths = {len(x) for x in batch}
    if len(lengths) != 1:
        raise ValueError(f"{who}: wanted arrays of one length, got {[x.shape for x in batch]}")
    n = lengths.pop()
    mine = part_of(n, rank, size)
    parts = tuple(x[mine] for x in batch)
    return parts if len(parts) > 1 else parts[0], mine.stop - mine.start, n


class Shards:
    """A part of every batch that a loader gives, always as a tuple; `shard` takes the part."""

    def __init__(self, loader: Any, shard: Callable[..., Any]) -> None:
        self.loader, self.shard = loader, shard

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self.loader:
            parts = self.shard(*batch)
            yield parts if isinstance(parts, tuple) else (parts,)
