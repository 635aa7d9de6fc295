"""What processes say to each other, by MPI and in a world of one."""

import sys

import numpy as np
import pytest

import minigrad as mg
from optim.distributed import Serial, mpi, world
from tests.optim.distributed.launch import launch


def conversation(comm):
    """Everything that a communicator does, once."""
    mine = np.arange(3.0) + 10 * comm.rank
    seen = {"size": comm.size, "rank": comm.rank, "repr": repr(comm)}
    for op in ("sum", "min", "max"):
        x = mine.copy()
        comm.all_reduce(x, op)
        seen[op] = x
    x = mine.astype(np.float32)
    request = comm.start_all_reduce(x)
    while not request.poll():
        pass
    request.wait()
    seen["started"] = x
    every_second = np.zeros(6)
    every_second[::2] = mine
    comm.all_reduce(every_second[::2])
    seen["not contiguous"] = every_second
    x = mine.copy()
    comm.broadcast(x, root=comm.size - 1)
    seen["broadcast"] = x
    x = np.zeros(3)
    if comm.rank == 0:
        seen["from"] = [comm.receive(x, tag=7) for _ in range(1, comm.size)]
    else:
        comm.send(mine, to=0, tag=7)
    comm.barrier()
    half = comm.split(comm.rank % 2)
    x = mine.copy()
    half.all_reduce(x)
    seen["half"] = [half.rank, half.size, x]
    seen["agree"] = [comm.agree(True), comm.agree(comm.rank > 0)]
    seen["survives"] = comm.survives
    return seen


@pytest.mark.parametrize("n", [2, 4])
def test_each_rank_hears_what_it_should(n):
    base, ten = np.arange(3.0), 10 * sum(range(n))
    for rank, seen in enumerate(launch(n, conversation)):
        assert (seen["rank"], seen["size"], seen["repr"]) == (rank, n, f"MPI(rank {rank} of {n})")
        np.testing.assert_array_equal(seen["sum"], n * base + ten)
        np.testing.assert_array_equal(seen["min"], base)
        np.testing.assert_array_equal(seen["max"], base + 10 * (n - 1))
        np.testing.assert_array_equal(seen["started"], (n * base + ten).astype(np.float32), strict=True)
        np.testing.assert_array_equal(seen["not contiguous"], [ten, 0, n + ten, 0, 2 * n + ten, 0])
        np.testing.assert_array_equal(seen["broadcast"], base + 10 * (n - 1))
        fellows = [r for r in range(n) if r % 2 == rank % 2]
        half_rank, half_size, half = seen["half"]
        assert (half_rank, half_size) == (rank // 2, len(fellows))
        np.testing.assert_array_equal(half, len(fellows) * base + 10 * sum(fellows))
        assert seen["agree"] == [True, False]
        assert not seen["survives"]
        if rank == 0:
            assert sorted(seen["from"]) == [*range(1, n)]


def test_alone_every_collective_leaves_the_array_as_it_is():
    comm, x = Serial(), np.array([1.0, 2.0])
    comm.all_reduce(x)
    comm.broadcast(x)
    comm.start_all_reduce(x, "max").wait()
    comm.barrier()
    np.testing.assert_array_equal(x, [1.0, 2.0])
    assert (comm.rank, comm.size, comm.split(3).size, comm.agree(False)) == (0, 1, 1, False)


def test_a_program_that_was_started_alone_gets_a_world_of_one(monkeypatch):
    for name in mpi.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    assert isinstance(world(), Serial)


def test_the_absence_of_mpi4py_is_one_sentence_that_names_the_extras(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"minigrad-course\[mpi\].*minigrad-course\[distributed\]"):
        world()


@pytest.mark.parametrize("x", [mg.ones(2), 1.0, [1.0]], ids=["Tensor", "number", "list"])
def test_what_is_no_array_cannot_become_a_sum(x):
    with pytest.raises(
        TypeError, match=f"all_reduce: wanted an array, which is changed in place, got {type(x).__name__}"
    ):
        Serial().all_reduce(x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda comm: comm.all_reduce(np.ones(1), "mean"), "all_reduce: op = 'mean'; wanted one of sum, min, max"),
        (lambda comm: comm.broadcast(np.ones(1), root=1), r"broadcast: root = 1; wanted a rank, 0 to 0"),
        (lambda comm: comm.send(np.ones(1), to=1), "send: to = 1; a world of one process has nobody to send to"),
        (lambda comm: comm.receive(np.ones(1)), "receive: source = None; a world of one process has nobody"),
    ],
)
def test_what_cannot_be_said_alone_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(Serial())
