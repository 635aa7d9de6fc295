"""A training run that may be killed: it writes a checkpoint now and then, and goes on from the last that it finds.

    mpiexec -n 3 python -m mpi4py -m tests.optim.distributed.long_run FOLDER STEPS PAUSE [recover]

It says when each rank is up, and each step that rank 0 has done. After a step it pauses so many seconds, so that there
is time to kill it.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset
from minigrad.nn import functional as F
from minigrad.training import load_checkpoint, save_checkpoint
from optim import distributed

EVERY = 5  # steps from one checkpoint to the next


class Counter:
    """How many steps were done."""

    def __init__(self):
        self.steps = 0

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict["steps"]


def setting():
    """Model, optimizer and batches: the same for all."""
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3)).to(np.float64)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.standard_normal((100, 6)), rng.integers(0, 3, 100))
    return model, optimizer, DataLoader(data, batch_size=24, shuffle=True, generator=0)


def weights(model):
    return np.concatenate([p.data for p in model.parameters()], axis=None)


def main(folder, steps, pause, recover=""):
    """Train for so many steps in all."""
    comm, count = distributed.world(), Counter()
    model, optimizer, loader = setting()
    optimizer = distributed.DataParallel(model, optimizer, comm, recover=bool(recover))
    checkpoint = Path(folder) / "run.npz"
    parts = {"model": model, "optimizer": optimizer, "loader": loader, "count": count}
    if checkpoint.exists():
        load_checkpoint(checkpoint, **parts)
    print(f"up {os.getpid()} at {count.steps}", flush=True)
    comm.barrier()
    while count.steps < int(steps):
        for x, y in loader:
            x, y = optimizer.shard(x, y)
            optimizer.step(lambda x=x, y=y: F.cross_entropy(model(x), y))
            count.steps += 1
            if optimizer.comm.rank == 0:
                if count.steps % EVERY == 0:
                    save_checkpoint(checkpoint, **parts)
                print(f"step {count.steps} of {optimizer.comm.size}", flush=True)
            time.sleep(float(pause))
            if count.steps == int(steps):
                break
    if optimizer.comm.rank == 0:
        mg.save(weights(model), Path(folder) / "end.npz")


if __name__ == "__main__":
    main(*sys.argv[1:])
