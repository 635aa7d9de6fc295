"""What averaging gradients over processes costs, beside MPI's bare all-reduce of the same bytes.

    python tests/benchmarks/communication.py [--ranks N] [--rounds N]

It starts itself with mpiexec, and prints a table, and what all-reduces of several sizes take. Per network and round all
take turns, each between two barriers; the table has medians over the rounds, and of the ratios. Wall time, as processes
wait for each other: run it on a machine that does nothing else, with a core for each rank.
"""

import os
import sys
from pathlib import Path

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR")})
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

import minigrad as mg
import optim
from minigrad import nn
from minigrad.nn import functional as F
from optim import distributed
from tests.optim.distributed.launch import Job

NETWORKS = {"1M parameters": (1000, 1), "20M parameters": (2000, 5)}  # features, layers
BATCH = 64  # on each rank


def ways(comm: distributed.MPI, features: int, layers: int) -> dict[str, Callable[[], object]]:
    """What takes turns: MPI's all-reduce, ours without and with a step around it, and that step without it."""
    mg.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(features, features) for _ in range(layers)))
    x, y = mg.randn(BATCH, features), mg.randn(BATCH, features)

    def loss() -> mg.Tensor:
        return F.mse_loss(model(x), y)

    plain = optim.SGD(model.parameters(), lr=0.0)
    parallel = distributed.DataParallel(model, optim.SGD(model.parameters(), lr=0.0), comm)
    bare = np.zeros(sum(p.size for p in model.parameters()), np.float32)

    def average() -> None:
        parallel.buckets.open()
        parallel.buckets.close(0.0)

    return {
        "all-reduce": lambda: comm.all_reduce(bare),
        "averaging": average,
        "step": lambda: parallel.step(loss),
        "step alone": lambda: plain.step(loss),
    }


def measure(comm: distributed.MPI, rounds: int) -> None:
    """Print the table, on rank 0."""
    rows = []
    for name, sizes in NETWORKS.items():
        turns = ways(comm, *sizes)
        seconds: dict[str, list[float]] = {way: [] for way in turns}
        for _ in range(rounds + 1):
            for way, call in turns.items():
                comm.barrier()
                start = time.perf_counter()
                call()
                comm.barrier()
                seconds[way].append(time.perf_counter() - start)
        times = {way: each[1:] for way, each in seconds.items()}  # the first round is to warm up
        overhead = [ours / bare for ours, bare in zip(times["averaging"], times["all-reduce"])]
        share = [1 - without / step for without, step in zip(times["step alone"], times["step"])]
        rows.append(
            [
                name,
                *(f"{1e3 * median(t):.2f} ms" for t in times.values()),
                f"{median(overhead):.2f}",
                f"{median(share):.0%}",
            ]
        )
    if comm.rank == 0:
        print(f"{comm.size} ranks, {BATCH} examples on each; medians of {rounds} rounds")
        headings = ["network", *times, "averaging ÷ all-reduce", "share of a step"]
        for row in (headings, ["---"] * len(headings), *rows):
            print("|", " | ".join(row), "|")


def transfers(comm: distributed.MPI, rounds: int) -> None:
    """Print what an all-reduce of so many bytes takes, on rank 0: of which latency and bandwidth can be read."""
    for nbytes in (4, 10_000, 100_000, 1_000_000, 10_000_000):
        array, times = np.zeros(nbytes // 4, np.float32), []
        for _ in range(rounds + 1):
            comm.barrier()
            start = time.perf_counter()
            comm.all_reduce(array)
            times.append(time.perf_counter() - start)
        if comm.rank == 0:
            print(f"all-reduce of {nbytes:10,} bytes {1e6 * median(times[1:]):8.1f} µs")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    settings = parser.parse_args()
    comm = distributed.world()
    if isinstance(comm, distributed.MPI):
        measure(comm, settings.rounds)
        transfers(comm, settings.rounds)
        return 0
    status, output = Job(settings.ranks, __file__, "--rounds", settings.rounds).finish(timeout=600)
    print(output, end="")
    return status


if __name__ == "__main__":
    sys.exit(main())
