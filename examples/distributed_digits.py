"""Do several processes learn what one does?

A convolutional network with batch norm reads scikit-learn's handwritten digits. Every process has a replica, and takes
its own part of each batch; gradients, and batch norm's statistics, are summed over all. So the losses are those of one
process with the whole batch, up to rounding: the first rank repeats the run alone, and compares.

    python examples/distributed_digits.py                                   (a world of one)
    mpiexec -n 4 python -m mpi4py examples/distributed_digits.py
    mpiexec -n 4 python -m mpi4py examples/distributed_digits.py --checkpoint run.npz
    mpiexec -n 4 --with-ft ulfm python -m mpi4py examples/distributed_digits.py --recover

With a checkpoint a run that was killed goes on where its last epoch ended, with as many processes as it gets then; with
--recover those that are left go on at once. The picture goes to examples/output/.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.training import History, accuracy, fit, load_checkpoint, save_checkpoint
from optim import distributed

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
BATCH = 64
EPOCHS = 6


def setting():
    """Network, optimizer, batches and test digits: the same in every process."""
    mg.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    train, test = random_split(TensorDataset(images, labels), [0.8, 0.2])
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    batches = DataLoader(train, BATCH, shuffle=True, drop_last=True, generator=0)
    return model, optimizer, batches, DataLoader(test, len(test))


def learn(comm, checkpoint=None, recover=False):
    """Train together; what each process saw."""
    model, optimizer, batches, test = setting()
    parallel = distributed.DataParallel(model, optimizer, comm, recover=recover)
    parts = {"model": model, "optimizer": parallel, "batches": batches, "history": History()}
    if checkpoint is not None and checkpoint.exists():
        load_checkpoint(checkpoint, **parts)

    def tell(history):
        if parallel.comm.rank == 0:
            print(f"epoch {len(history.epoch_end)}, ranks: {parallel.comm.size}, {history.last()}", flush=True)
            if checkpoint is not None:
                save_checkpoint(checkpoint, **parts)

    fit(
        model, nn.CrossEntropyLoss(), parallel, parallel.shards(batches), EPOCHS, validation=test, metric=accuracy,
        callbacks=[tell], history=parts["history"], progress=comm.rank == 0,
    )  # fmt: skip
    parallel.check_drift()
    return parts["history"], parallel.comm


def alone():
    """The same run, written as for one process."""
    model, optimizer, batches, _ = setting()
    return fit(model, nn.CrossEntropyLoss(), optimizer, batches, EPOCHS)


def draw(together, one, size):
    """The losses of both runs, and how far they are apart."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    steps = np.arange(1, len(one) + 1)
    left.semilogy(steps, one, color="tab:orange", linewidth=4, alpha=0.5, label="one process")
    left.semilogy(steps, together, color="tab:blue", linewidth=1, label=f"{size} together")
    left.set(xlabel="step", ylabel="loss of the batch", title="What they learn")
    left.legend()
    right.semilogy(steps, abs(together - one) + 1e-9, ".", color="tab:blue", markersize=3)
    right.set(xlabel="step", ylabel="difference of the losses (+ 1e-9)", title="How far rounding takes them apart")
    OUTPUT.mkdir(exist_ok=True)
    figure.savefig(OUTPUT / "distributed_digits.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description="Learn handwritten digits on several processes.")
    parser.add_argument("--checkpoint", type=Path, help="a file to go on from, and to write after each epoch")
    parser.add_argument("--recover", action="store_true", help="go on without processes that die (needs ULFM)")
    options = parser.parse_args()
    history, comm = learn(distributed.world(), options.checkpoint, options.recover)
    if comm.rank == 0:
        together, one = np.array(history.loss), np.array(alone().loss)
        print(f"test accuracy {history.validation_metric[-1]:.1%}")
        print(f"loss of the first step {together[0]:.6f}, of one process {one[0]:.6f}")
        print(f"largest difference of a loss {abs(together - one).max():.1e}, of {one.max():.2f} at most")
        draw(together, one, comm.size)
        print("picture: examples/output/distributed_digits.png")


if __name__ == "__main__":
    main()
