"""Data sets, and batches of them in a random order that can be repeated and resumed.

    train, test = random_split(TensorDataset(images, labels), [0.8, 0.2])
    for x, y in DataLoader(train, batch_size=64, shuffle=True):
        ...

A data set is anything with `len` and `[i]`; a batch is made of its items by stacking. The data sets here make a batch
with one indexing of whole arrays instead.

Public: `TensorDataset`, `Subset`, `DataLoader`, `random_split`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import backend, ops
from .tensor import Tensor, tensor


class TensorDataset:
    """Tensors whose first axis counts examples: item i is the tuple of their i-th elements.

    Arrays are taken as they are, without a copy. Raises ValueError where lengths differ, TypeError for other things.

    >>> import minigrad as mg
    >>> from minigrad.data import TensorDataset
    >>> pairs = TensorDataset(mg.arange(4), mg.arange(4) * 10)
    >>> len(pairs), [t.item() for t in pairs[3]]
    (4, [3, 30])
    """

    def __init__(self, *tensors: Any) -> None:
        for k, t in enumerate(tensors):
            if not isinstance(t, Tensor) and not backend.is_array(t):
                raise TypeError(f"TensorDataset: argument {k} is {type(t).__name__}; wanted a Tensor or an array")
        lengths = [t.shape[0] if t.shape else None for t in tensors]
        if not tensors or None in lengths or len(set(lengths)) > 1:
            raise ValueError(f"TensorDataset: wanted tensors of one length, got shapes {[t.shape for t in tensors]}")
        self.tensors = tuple(t if isinstance(t, Tensor) else Tensor(t) for t in tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """The examples at an index: an integer, a slice, or an array of integers or booleans."""
        return tuple(t[index] for t in self.tensors)


class Subset:
    """Some items of a data set, by their indices."""

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset, self.indices = dataset, np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """A data set cut at random into subsets that share no item.

    Parameters
    ----------
    lengths
        How many items each gets, or which fractions of them, with sum 1; what rounding down leaves over goes to the
        first ones, one each.
    generator
        A NumPy generator or a seed; else `mg.manual_seed`'s stream.

    Raises
    ------
    ValueError
        Where the lengths do not add up to all items.

    Examples
    --------
    >>> from minigrad.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25], generator=0)]
    [8, 2]
    """
    n = len(dataset)
    sizes = [*lengths]
    if any(isinstance(size, float) for size in sizes):
        if any(size < 0 for size in sizes) or not math.isclose(sum(sizes), 1):
            raise ValueError(f"random_split: fractions add up to 1, got {sizes}")
        sizes = [math.floor(n * size + 1e-9) for size in sizes]  # 10 * 0.7 is 7, though its float may be below
        for k in range(n - int(sum(sizes))):
            sizes[k % len(sizes)] += 1
    if sum(sizes) != n or any(size < 0 for size in sizes):
        raise ValueError(f"random_split: {n} items cannot be split into {[*lengths]}; wanted lengths with sum {n}")
    order = as_generator("random_split", generator).permutation(n)
    ends = np.cumsum(sizes, dtype=int)
    return [Subset(dataset, order[end - int(size) : end]) for end, size in zip(ends, sizes)]


class DataLoader:
    """A data set in batches: iterate over it once per epoch.

    Parameters
    ----------
    batch_size
        1 for stochastic gradients, `len(dataset)` for the whole set at once, or anything between.
    shuffle
        Take the items in a new random order in every epoch.
    drop_last
        Leave out a last batch that would be smaller than the others.
    generator
        Where the order comes from: a NumPy generator, or a seed for one of its own; else `mg.manual_seed`'s stream.
    device
        Move every batch there: ``"cuda"`` for a GPU that has no room for all of the data.

    Raises
    ------
    ValueError, TypeError
        For a batch size that is no integer >= 1, a data set without length, a generator that is none, an unknown
        device.
    ImportError, RuntimeError
        For a GPU, where CuPy is missing or finds none.

    Examples
    --------
    >>> from minigrad.data import DataLoader
    >>> [batch.data.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        generator: np.random.Generator | int | None = None,
        device: str | None = None,
    ) -> None:
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"DataLoader: batch_size={batch_size!r}, wanted an integer >= 1")
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: a data set has len() and [i]; {type(dataset).__name__} has not")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, int(batch_size), shuffle, drop_last
        self.generator = None if generator is None else as_generator("DataLoader", generator)
        if device is not None:
            backend.check_device(device)
        self.device = device
        self._order: Any = None  # of the epoch that is under way
        self._position = 0  # how many of its batches were handed out
        self._resume = False  # was that epoch loaded, to be continued by the next iteration?

    def __len__(self) -> int:
        """Batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if self._resume:
            order, start = self._order, self._position
        else:
            n = len(self.dataset)
            order = as_generator("DataLoader", self.generator).permutation(n) if self.shuffle else np.arange(n)
            start = 0
        self._resume = False
        for k in range(start, len(self)):
            self._order, self._position = order, k + 1
            batch = take(self.dataset, order[k * self.batch_size : (k + 1) * self.batch_size])
            yield batch if self.device is None else moved(batch, self.device)
        self._order, self._position, self._resume = None, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: the order of the epoch under way, the batches handed out, its own random state."""
        own = None if self.generator is None else self.generator.bit_generator.state
        return {"order": self._order, "position": self._position, "generator": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand where another loader of the same data stood: the next iteration goes on with its epoch's next batch.

        Raises ValueError where the state is of other data or batches, or one has a generator and the other has not.
        """
        if not isinstance(state_dict, dict) or {*state_dict} != {"order", "position", "generator"}:
            raise ValueError(f"DataLoader.load_state_dict: got {state_dict!r}, wanted what state_dict() returns")
        order, position, own = (state_dict[name] for name in ("order", "position", "generator"))
        n = len(self.dataset)
        if order is not None and not np.array_equal(np.sort(order), np.arange(n)):
            raise ValueError(f"DataLoader.load_state_dict: the order is of {len(order)} items, this loader has {n}")
        if not isinstance(position, int) or not 0 <= position <= len(self):
            raise ValueError(f"DataLoader.load_state_dict: position {position!r}, but an epoch has {len(self)} batches")
        if (own is None) != (self.generator is None):
            raise ValueError("DataLoader.load_state_dict: one loader has a generator of its own, the other has not")
        if self.generator is not None:
            self.generator.bit_generator.state = own
        self._order, self._position, self._resume = order, position, order is not None


def as_generator(name: str, generator: Any) -> np.random.Generator:
    """A NumPy generator: the one given, one of that seed, or the stream of `mg.manual_seed`."""
    if generator is None:
        return backend.generator()
    if isinstance(generator, (int, np.integer)):
        return np.random.default_rng(int(generator))
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"{name}: generator is a NumPy Generator or a seed, got {type(generator).__name__}")
    return generator


def take(dataset: Any, indices: np.ndarray) -> Any:
    """A batch: the items at these indices, by one indexing where the data set can, else stacked."""
    while isinstance(dataset, Subset):
        dataset, indices = dataset.dataset, dataset.indices[indices]
    if isinstance(dataset, TensorDataset):
        return dataset[indices]
    return collate([dataset[int(i)] for i in indices])


def moved(batch: Any, device: str) -> Any:
    """A batch on a device: a Tensor, or a tuple or list of such."""
    return type(batch)(moved(part, device) for part in batch) if isinstance(batch, (tuple, list)) else batch.to(device)


def collate(items: list[Any]) -> Any:
    """Items as a batch: tuples column by column, Tensors and arrays stacked, numbers as a Tensor."""
    first = items[0]
    if isinstance(first, (tuple, list)):
        return tuple(collate([*column]) for column in zip(*items, strict=True))
    if isinstance(first, Tensor):
        return ops.stack(items)
    return tensor(np.stack(items) if backend.is_array(first) else items)
