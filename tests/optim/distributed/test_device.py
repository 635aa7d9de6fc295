"""Arrays of a GPU between processes, on the double of CuPy: through the host, or handed to MPI as they are."""

import contextlib
from unittest import mock

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.nn import functional as F
from optim.distributed import MPI, DataParallel
from tests.cupy import double
from tests.optim.distributed.launch import launch


@contextlib.contextmanager
def readable_by_mpi():
    """The double's arrays as an MPI that knows CUDA sees CuPy's: memory that it can read and write."""
    with mock.patch.multiple(
        double.Array,
        __dlpack__=lambda self, **how: self._a.__dlpack__(**how),
        __dlpack_device__=lambda self: self._a.__dlpack_device__(),
        create=True,
    ):
        yield


def train(comm, device, statistics="synchronised"):
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 600), nn.BatchNorm1d(600), nn.Tanh(), nn.Linear(600, 600), nn.Linear(600, 3))
    model.to(device)
    optimizer = DataParallel(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), comm, statistics)
    rng = np.random.default_rng(0)
    x, y = mg.tensor(rng.standard_normal((9, 5)).astype(np.float32)), mg.tensor(rng.integers(0, 3, 9))
    x, y = (part.to(device) for part in optimizer.shard(x, y))
    for _ in range(3):
        with double.counted() as counts:
            loss = optimizer.step(lambda: F.cross_entropy(model(x), y))
    weights = [np.asarray(p.to("cpu").data) for p in model.parameters()]
    buckets = optimizer.buckets.buckets
    return {"weights": weights, "loss": loss.item(), "counts": vars(counts), "buckets": len(buckets), "at": loss.device}


def everywhere(comm):
    seen = {"cpu": train(comm, "cpu")}
    with double.pretended():
        seen["staged"] = train(comm, "cuda", "local")
        seen["staged, synchronised"] = train(comm, "cuda")
        with readable_by_mpi():
            seen["direct"] = train(MPI(comm.comm, direct=True), "cuda")
    return seen


@pytest.fixture(scope="module")
def ranks():
    return launch(2, everywhere)


@pytest.mark.parametrize("way", ["staged, synchronised", "direct"])
def test_the_path_is_the_cpus(ranks, way):
    for seen in ranks:
        assert seen[way]["at"] == "cuda:0"
        np.testing.assert_allclose(seen[way]["loss"], seen["cpu"]["loss"], rtol=1e-5)
        for found, wanted in zip(seen[way]["weights"], seen["cpu"]["weights"], strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_step_copies_its_buckets_there_and_back_and_nothing_else(ranks):
    """And at the end the running statistics, two vectors together, and the count of batches."""
    for seen in ranks:
        counts, buckets = seen["staged"]["counts"], seen["staged"]["buckets"]
        assert buckets > 1
        assert counts["to_host"] == buckets + 2
        assert counts["to_device"] == buckets + 2


def test_directly_nothing_is_copied(ranks):
    for seen in ranks:
        counts = seen["direct"]["counts"]
        assert (counts["to_host"], counts["to_device"]) == (0, 0)
        assert counts["waits"] >= seen["direct"]["buckets"]  # for each: MPI may only read what is done
