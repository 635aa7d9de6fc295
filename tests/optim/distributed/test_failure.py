"""What happens when a process fails: nothing hangs, nothing is torn, and the run goes on. Only own processes are killed."""

import functools
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.nn import functional as F
from optim.distributed import DataParallel, Serial, mpiexec
from optim.distributed.sharding import part_of
from tests.optim.distributed.launch import Job, launch
from tests.optim.distributed.long_run import EVERY, setting, weights

STEPS = 60
PROGRAM = ("-m", "tests.optim.distributed.long_run")


def alone(lost=None):
    """The weights after each step of one process; ``lost = step, rank, size``: that step is taken without a part."""
    model, optimizer, loader = setting()
    points = []
    while len(points) < STEPS:
        for x, y in loader:
            if lost is not None and len(points) == lost[0]:
                kept = np.delete(np.arange(len(x)), part_of(len(x), *lost[1:]))
                x, y = x[kept], y[kept]
            optimizer.step(lambda x=x, y=y: F.cross_entropy(model(x), y))
            points.append(weights(model))
    return points[:STEPS]


@functools.cache
def uninterrupted():
    return alone()


class Watched(Job):
    """A long run that is looked at while it runs."""

    def __init__(self, folder, n, pause, *more, options=()):
        super().__init__(n, *PROGRAM, folder, STEPS, pause, *more, options=options)
        self.ranks, self.begun, self.said = [], 0, []

    def until(self, step):
        """Read on until rank 0 has done a step (or all is over); notes the ranks' numbers as they come up."""
        for line in self.process.stdout:
            self.said.append(line)
            if up := re.match(r"up (\d+) at (\d+)", line):
                self.ranks.append(int(up[1]))
                self.begun = int(up[2])
            elif line.startswith(f"step {step} "):
                return True
        return False


def kill(folder, n, rng):
    """Start a run, kill one of its ranks at a random moment, and see that all of it ends. The last step it had done."""
    job = Watched(folder, n, 0.01)
    try:
        checkpoint = folder / "run.npz"
        begun = mg.load(checkpoint)["parts"]["count"]["steps"] if checkpoint.exists() else 0
        moment = begun + int(rng.integers(1, 15))
        assert job.until(moment), "".join(job.said)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(job.ranks[rng.integers(n)], signal.SIGKILL)
        status, output = job.finish(timeout=30)
    finally:
        job.end()
    assert status != 0
    assert not job.members()
    done = [int(k) for k in re.findall(r"^step (\d+) ", output, re.MULTILINE)]
    return max([moment, *done])


def killed_and_restarted(folder, kills, seed):
    """Runs with changing numbers of ranks, each killed, the last brought to its end."""
    rng = np.random.default_rng(seed)
    for _ in range(kills):
        done = kill(folder, int(rng.integers(2, 5)), rng)
        if (folder / "run.npz").exists():
            saved = mg.load(folder / "run.npz")["parts"]["count"]["steps"]  # raises for a torn file
            assert done - saved <= EVERY
        else:
            assert done <= EVERY
        if done >= STEPS - 15:
            (folder / "run.npz").unlink()  # begin again, there is little left to kill
    status, output = Job(int(rng.integers(2, 5)), *PROGRAM, folder, STEPS, 0).finish()
    assert status == 0, output
    wanted = uninterrupted()[-1]
    assert abs(mg.load(folder / "end.npz") - wanted).max() < 1e-12 * abs(wanted).max()


def test_three_kills_lose_no_more_than_the_steps_since_the_last_checkpoint(tmp_path):
    killed_and_restarted(tmp_path, 3, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_twenty_kills_lose_no_more_than_the_steps_since_the_last_checkpoint(tmp_path, seed):
    killed_and_restarted(tmp_path, 5, seed)


def one_raises(comm):
    """An error in the middle of backward on one rank; the others wait for its gradients."""
    model, optimizer, loader = setting()
    optimizer = DataParallel(model, optimizer, comm)
    if comm.rank == 1:

        def fail(g):
            raise ZeroDivisionError("on purpose")

        model[0].register_forward_hook(lambda module, args, output: output.register_hook(fail) and None)
    for x, y in loader:
        x, y = optimizer.shard(x, y)
        optimizer.step(lambda x=x, y=y: F.cross_entropy(model(x), y))
    return {}


def test_an_error_on_one_rank_ends_all_with_its_traceback():
    with pytest.raises(AssertionError, match=r"(?s)Traceback.*ZeroDivisionError: on purpose"):
        launch(3, one_raises, timeout=30)


def one_raises_while_another_is_busy(comm):
    """A large gradient is under way when one rank fails, and another does not send its part for a long time."""
    x = mg.ones((1, 600))
    model = nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600))
    optimizer = DataParallel(model, optim.SGD(model.parameters(), lr=0.1), comm)

    def fail(g):
        if comm.rank:
            raise ZeroDivisionError("on purpose")
        time.sleep(100)

    def loss():
        hidden = model[0](x)
        hidden.register_hook(fail)
        return model[1](hidden).sum()

    optimizer.step(loss)
    return {}


def test_an_error_ends_all_while_sums_are_under_way_and_another_rank_is_busy():
    with pytest.raises(AssertionError, match=r"(?s)Traceback.*ZeroDivisionError: on purpose"):
        launch(2, one_raises_while_another_is_busy, timeout=60)


def test_when_all_examples_of_a_batch_died_no_part_has_a_weight():
    model, optimizer, _ = setting()
    optimizer = DataParallel(model, optimizer, Serial())
    optimizer.examples = 0
    assert optimizer.reweighted(lambda: optimizer.share) == 0
    before = weights(model)
    assert optimizer.step(lambda: F.cross_entropy(model(mg.ones((1, 6), np.float64)), mg.zeros(1, int))).item() == 0
    np.testing.assert_array_equal(weights(model), before)


def survivable():
    """Can this MPI go on without a process?"""
    program = shutil.which("ompi_info", path=str(Path(mpiexec() or "").parent))
    return (
        program is not None
        and "FT MPI support: yes" in subprocess.run([program], capture_output=True, text=True).stdout
    )


@pytest.mark.skipif(not survivable(), reason="needs an MPI that goes on without a process (ULFM)")
@pytest.mark.parametrize("victim", [0, 1])
def test_where_mpi_can_the_others_go_on_without_the_dead(tmp_path, victim):
    n = 3
    job = Watched(tmp_path, n, 0.05, "recover", options=("--with-ft", "ulfm"))
    try:
        assert job.until(20), "".join(job.said)
        os.kill(sorted(job.ranks)[victim], signal.SIGKILL)
        _, output = job.finish(timeout=60)
    finally:
        job.end()
    assert (tmp_path / "end.npz").exists(), output
    steps = {int(k): int(size) for k, size in re.findall(r"^step (\d+) of (\d)", output, re.MULTILINE)}
    fewer = min(k for k, size in steps.items() if size == n - 1)
    end = mg.load(tmp_path / "end.npz")
    # The step that the victim died in went without its part; which rank it was, its number does not say.
    candidates = [alone((fewer - 1, rank, n))[-1] for rank in range(n)] + [uninterrupted()[-1]]
    assert min(abs(end - wanted).max() / abs(wanted).max() for wanted in candidates) < 1e-12
