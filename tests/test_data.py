"""Data sets, splits and loaders: every item once, in an order that can be repeated and resumed."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import DataLoader, Subset, TensorDataset, random_split


class Squares:
    """A data set of one's own: anything with len and [i]."""

    def __len__(self):
        return 7

    def __getitem__(self, i):
        if not 0 <= i < 7:
            raise IndexError(i)
        return np.full(2, i, np.float32), float(i * i), i


def drawn(loader):
    """The items of an epoch in their order, batch by batch."""
    return [batch.data.tolist() for batch in loader]


def test_a_tensor_data_set_pairs_elements_and_shares_its_arrays():
    x, y = np.arange(6.0).reshape(3, 2), mg.tensor([7, 8, 9])
    pairs = TensorDataset(x, y)
    assert len(pairs) == 3 and pairs.tensors[0].data is x and pairs.tensors[1] is y
    assert [t.data.tolist() for t in pairs[1]] == [[2, 3], 8]
    assert [t.data.tolist() for t in pairs[np.array([2, 0])]] == [[[4, 5], [0, 1]], [9, 7]]
    assert [t.shape for t in pairs[:2]] == [(2, 2), (2,)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("drop_last", [False, True])
def test_every_item_comes_once_in_an_epoch_but_those_of_a_last_smaller_batch_that_is_dropped(batch_size, drop_last):
    for shuffle in (False, True):
        loader = DataLoader(range(7), batch_size, shuffle, drop_last=drop_last, generator=0)
        batches = drawn(loader)
        items = [i for batch in batches for i in batch]
        whole = 7 - 7 % batch_size if drop_last else 7
        assert len(batches) == len(loader) and len(items) == whole == len({*items}) and {*items} <= {*range(7)}
        assert shuffle or items == [*range(whole)]
        assert all(len(batch) == batch_size for batch in batches[: 7 // batch_size])


def test_each_epoch_has_another_order_and_the_same_seed_the_same_orders():
    def epochs():
        loader = DataLoader(range(50), 5, shuffle=True)
        mg.manual_seed(1)
        return [drawn(loader) for _ in range(3)]

    first = epochs()
    assert first[0] != first[1] != first[2] and first == epochs()


def test_a_generator_of_its_own_leaves_the_common_stream_alone():
    stream = mg.get_rng_state()
    orders = [drawn(DataLoader(range(20), 5, True, generator=g)) for g in (4, np.int64(4), np.random.default_rng(4))]
    assert orders[0] == orders[1] == orders[2] and mg.get_rng_state() == stream
    parts = [[p.indices.tolist() for p in random_split(range(9), [4, 5], generator=g)] for g in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2] and mg.get_rng_state() == stream


def test_looking_at_one_batch_does_not_disturb_the_next_epoch():
    loader = DataLoader(range(6), 2)
    next(iter(loader))
    assert drawn(loader) == [[0, 1], [2, 3], [4, 5]]


def test_two_walks_at_once_are_independent():
    loader = DataLoader(range(4), 2)
    assert [(a.data[0], b.data[0]) for a, b in zip(loader, loader)] == [(0, 0), (2, 2)]


def test_items_of_any_data_set_are_stacked_into_batches():
    arrays, numbers, integers = next(iter(DataLoader(Squares(), 3)))
    assert arrays.data.tolist() == [[0, 0], [1, 1], [2, 2]] and arrays.dtype == np.float32
    assert numbers.data.tolist() == [0, 1, 4] and numbers.dtype == np.float32
    assert integers.data.tolist() == [0, 1, 2] and integers.dtype.kind == "i"
    tensors = next(iter(DataLoader([mg.ones(2), mg.zeros(2)], 2)))
    assert tensors.data.tolist() == [[1, 1], [0, 0]]


def test_a_subset_of_a_subset_finds_the_right_items():
    inner = Subset(TensorDataset(np.arange(10) * 10), [9, 7, 5, 3])
    outer = Subset(inner, [3, 0])
    assert len(outer) == 2 and [t.item() for t in outer[1]] == [90]
    assert drawn(batch[0] for batch in DataLoader(outer, 2)) == [[30, 90]]
    assert drawn(DataLoader(Subset(Subset(range(5), [4, 3, 2]), [2, 1]), 2)) == [[2, 3]]


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [
        ([3, 7], [3, 7]),
        ([0.5, 0.5], [5, 5]),
        ([0.7, 0.3], [7, 3]),
        ([0.75, 0.25], [8, 2]),
        ([1 / 3, 1 / 3, 1 / 3], [4, 3, 3]),
        ([10, 0], [10, 0]),
        ([1.0], [10]),
    ],
)
def test_a_split_by_lengths_or_fractions_shares_no_item_and_loses_none(lengths, sizes):
    parts = random_split(range(10), lengths, generator=0)
    assert [len(part) for part in parts] == sizes
    assert sorted(i for part in parts for i in part.indices) == [*range(10)]


def test_a_fraction_that_floats_make_a_little_smaller_is_not_rounded_down():
    assert 100 * 0.29 < 29
    assert [len(part) for part in random_split(range(100), [0.5, 0.29, 0.21])] == [50, 29, 21]


@pytest.mark.parametrize("own", [None, 3])
@pytest.mark.parametrize("stop", [0, 1, 3, 4, 6])
def test_a_loader_put_where_another_stood_goes_on_with_the_same_batches(own, stop):
    """Four batches an epoch: the stops are before the first, within, and at the end of one, and in the second."""

    def stream(loader):
        while True:
            for batch in loader:
                yield batch.data.tolist()

    mg.manual_seed(8)
    loader = DataLoader(range(11), 3, shuffle=True, generator=own)
    batches = stream(loader)
    for _ in range(stop):
        next(batches)
    state, random = loader.state_dict(), mg.get_rng_state()
    wanted = [next(batches) for _ in range(9)]

    mg.manual_seed(99)
    other = DataLoader(range(11), 3, shuffle=True, generator=None if own is None else 77)
    other.load_state_dict(state)
    mg.set_rng_state(random)
    assert other.state_dict()["position"] == state["position"]
    resumed = stream(other)
    assert [next(resumed) for _ in range(9)] == wanted


def test_after_an_epoch_a_loader_stands_before_the_next():
    loader = DataLoader(range(4), 2, generator=0)
    drawn(loader)
    state = loader.state_dict()
    assert state["order"] is None and state["position"] == 0


def test_a_resumed_epoch_at_its_end_is_only_ended():
    loader = DataLoader(range(4), 2, generator=0)
    walk = iter(loader)
    next(walk), next(walk)
    other = DataLoader(range(4), 2, generator=1)
    other.load_state_dict(loader.state_dict())
    assert drawn(other) == [] and drawn(other) == [[0, 1], [2, 3]]


def state(**changes):
    return {"order": np.arange(4), "position": 1, "generator": None} | changes


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"order": None}, "wanted what state_dict"),
        ([1], "wanted what state_dict"),
        (state(order=np.arange(5)), "5 items, this loader has 4"),
        (state(order=np.array([0, 0, 1, 2])), "items"),
        (state(position=3), "position 3, but an epoch has 2 batches"),
        (state(position="1"), "position '1'"),
        (state(generator=np.random.default_rng(0).bit_generator.state), "generator of its own"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_has_changed(bad, words):
    loader = DataLoader(range(4), 2)
    before = loader.state_dict()
    with pytest.raises(ValueError, match=words):
        loader.load_state_dict(bad)
    assert loader.state_dict() == before and drawn(loader) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: TensorDataset(), ValueError, "got shapes"),
        (lambda: TensorDataset(mg.ones(2), mg.ones(3)), ValueError, r"\(2,\), \(3,\)"),
        (lambda: TensorDataset(mg.tensor(1.0)), ValueError, r"\(\)"),
        (lambda: TensorDataset([1, 2]), TypeError, "argument 0 is list"),
        (lambda: DataLoader(range(4), 0), ValueError, "batch_size=0"),
        (lambda: DataLoader(range(4), 1.5), ValueError, "batch_size=1.5"),
        (lambda: DataLoader(iter([1])), TypeError, "list_iterator"),
        (lambda: DataLoader(range(4), num_workers=2), TypeError, "num_workers"),
        (lambda: DataLoader(range(4), generator="0"), TypeError, "DataLoader: generator.*str"),
        (lambda: random_split(range(4), [1, 2]), ValueError, r"4 items.*\[1, 2\]"),
        (lambda: random_split(range(4), [5, -1]), ValueError, r"\[5, -1\]"),
        (lambda: random_split(range(4), [0.5, 0.6]), ValueError, r"add up to 1, got \[0.5, 0.6\]"),
        (lambda: random_split(range(4), [1.5, -0.5]), ValueError, r"add up to 1"),
    ],
)
def test_bad_calls_are_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
