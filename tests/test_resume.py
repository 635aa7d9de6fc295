"""A run that is saved, ended, and resumed by another process goes on bit for bit, as if nothing had happened."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn, training
from minigrad.data import DataLoader, TensorDataset
from tests.test_saving import same

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "Lookahead": lambda p: optim.Lookahead(optim.Adam(p, lr=0.01), k=4),
}
EPOCH = 6  # batches in an epoch
STEPS = 3 * EPOCH + 2
# fmt: off
MOMENTS = {
    "before the first step":  0,
    "within an epoch":        EPOCH + 2,
    "at the end of an epoch": 2 * EPOCH,
}
# fmt: on


class Run:
    """A small training run with all that is random in one: initial weights, shuffling, dropout."""

    def __init__(self, optimizer, seed):
        numbers = np.random.default_rng(0)
        x = numbers.normal(size=(8 * EPOCH - 3, 5)).astype(np.float32)
        y = (x.sum(axis=1) > 0).astype(np.int64)
        mg.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 2, bias=False)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=5),
            "loader": DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True),
        }
        self.losses = []

    def train(self, steps):
        """Go on until so many steps were done in all."""
        while len(self.losses) < steps:
            for batch in self.parts["loader"]:
                self.losses.append(self.optimizer.step(partial(self.loss, *batch)).item())
                if len(self.losses) == steps:
                    return self
            self.parts["schedule"].step()
        return self

    def loss(self, x, y):
        return nn.functional.cross_entropy(self.model(x), y)

    def state(self):
        """All that the run consists of; written out here once by hand, as `training.save_checkpoint` does it."""
        states = {name: part.state_dict() for name, part in self.parts.items()}
        return {**states, "losses": self.losses, "random": mg.get_rng_state()}

    def resume(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.losses = state["losses"]
        mg.set_rng_state(state["random"])
        return self


def resume_all(folder):
    """What the second process does: to every file of a run that was cut short, add one of its end."""
    for path in sorted(Path(folder).glob("*.npz")):
        run = Run(path.stem.split(",")[0], seed=2).resume(mg.load(path)).train(STEPS)
        mg.save(run.state(), path.with_suffix(".end"))


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """The ends of all runs, by optimizer and the moment when they were cut short."""
    folder = tmp_path_factory.mktemp("runs")
    for optimizer in OPTIMIZERS:
        for moment, steps in MOMENTS.items():
            mg.save(Run(optimizer, seed=1).train(steps).state(), folder / f"{optimizer},{moment}.npz")
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", "import sys, tests.test_resume as t; t.resume_all(sys.argv[1])", str(folder)]
    subprocess.run(command, check=True, cwd=root, env={**os.environ, "PYTHONPATH": root})
    return {(o, m): mg.load(folder / f"{o},{m}.end") for o in OPTIMIZERS for m in MOMENTS}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_resumed_in_a_fresh_process_ends_in_the_same_bits(ends, optimizer, moment):
    whole = Run(optimizer, seed=1).train(STEPS).state()
    resumed = ends[optimizer, moment]
    assert resumed["losses"] == whole["losses"]
    for part in whole:
        assert same(resumed[part], whole[part]), part


@pytest.mark.parametrize("forgotten", ["model", "optimizer", "schedule", "loader", "random"])
def test_a_run_resumed_without_one_of_its_parts_ends_elsewhere(forgotten):
    whole = Run("Adam", seed=1).train(STEPS).state()
    saved = Run("Adam", seed=1).train(EPOCH + 2).state()
    run = Run("Adam", seed=2)
    run.resume({**saved, forgotten: run.state()[forgotten]})
    assert run.train(STEPS).losses != whole["losses"]


def a_checkpoint(path, change=None):
    """A file of `training.save_checkpoint`, with a change to what it holds; its digest is right."""
    training.save_checkpoint(path, **Run("Adam", seed=1).train(EPOCH + 2).parts)
    if change is not None:
        state = mg.load(path)
        change(state["parts"], state)
        mg.save(state, path)


def test_save_checkpoint_and_load_checkpoint_are_those_lines(tmp_path):
    a_checkpoint(tmp_path / "run.npz")
    whole = Run("Adam", seed=1).train(STEPS).state()
    run = Run("Adam", seed=2)
    training.load_checkpoint(tmp_path / "run.npz", **run.parts)
    assert run.train(STEPS - EPOCH - 2).losses == whole["losses"][EPOCH + 2 :]
    assert same(run.state()["model"], whole["model"])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda parts, state: parts["model"].update({"0.weight": mg.zeros((16, 4))}), "model: .*'0.weight' has shape"),
        (lambda parts, state: parts["model"].update({"0.weight": np.zeros((16, 5))}), "model: .*'0.weight' is float64"),
        (lambda parts, state: parts["model"].update({"0.weight": "w"}), "model: .*'0.weight'"),
        (lambda parts, state: parts["model"].pop("1.running_mean"), "model: .*1.running_mean"),
        (lambda parts, state: parts["optimizer"]["state"][0].update(m=np.zeros(3)), "optimizer: .*parameter 0: m "),
        (lambda parts, state: parts["optimizer"]["state"][0].update(t=-1), "optimizer: .*parameter 0: t .*-1"),
        (lambda parts, state: parts["optimizer"]["param_groups"][0].update(lr=-1.0), "optimizer: .*lr = -1"),
        (lambda parts, state: parts["optimizer"]["state"].update({9: {"t": 1}}), "optimizer: .*parameter 9"),
        (lambda parts, state: parts["loader"].update(order=np.arange(3)), "loader: .*3 items"),
        (lambda parts, state: parts.pop("loader"), "loader"),
        (lambda parts, state: state.update(random={}), "set_rng_state"),
        (lambda parts, state: state.pop("random"), "random"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing(tmp_path, change, words):
    a_checkpoint(tmp_path / "run.npz", change)
    run = Run("Adam", seed=2).train(EPOCH + 1)
    before = run.state()
    with pytest.raises(mg.CheckpointError, match=f"run.npz: .*{words}"):
        training.load_checkpoint(tmp_path / "run.npz", **run.parts)
    assert same(run.state(), before)
