"""What does it cost to wait for a slow worker, and what not to wait?

Data: scikit-learn's handwritten digits, 1,437 of 8×8 pixels to learn from. One process serves the parameters of a
network 64-32-10; three work, each with a third of the digits, in batches of 32, until 600 gradients have been pushed.
That a machine is slow is played by sleeping at a gradient: in one scene the last worker always sleeps for 20 ms, in the
other each of them sleeps for 100 ms at one gradient in fifteen. Three ways to deal with it:

    synchronous           an update waits for a gradient of each worker, and takes their mean, at three times the rate
    asynchronous, s = 4   each gradient is an update; who is more than four ahead of the slowest waits for it
    asynchronous          each gradient is an update, however old the parameters were that it was computed from

    mpiexec -n 4 python -m mpi4py examples/parameter_server.py
    python examples/parameter_server.py                         starts itself so, where there is an MPI
"""

import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from minigrad.functional import cross_entropy
from optim import distributed
from optim.trajectory.drawing import style

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
PUSHES, BATCH, LR = 600, 32, 0.15
SCENES = {  # seconds that a worker sleeps at a gradient
    "one worker is slow": lambda worker, rng: 0.02 * (worker.number == worker.count - 1),
    "each is slow now and then": lambda worker, rng: 0.1 * (rng.random() < 1 / 15),
}
WAYS = {
    "synchronous": {},
    "asynchronous, s = 4": {"synchronous": False, "max_staleness": 4},
    "asynchronous": {"synchronous": False},
}

images, labels = load_digits(return_X_y=True)
chosen = np.random.default_rng(0).permutation(len(images))[:1437]
IMAGES, LABELS = mg.tensor((images[chosen] / 16).astype(np.float32)), mg.tensor(labels[chosen])


def learn(comm, sleep, synchronous=True, max_staleness=None):
    """The server afterwards, the seconds that it took, and the loss over all digits after so many pushes."""
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    pushes = max(comm.size - 1, 1) if synchronous else 1  # that make one update
    server = distributed.ParameterServer(
        model,
        lambda params: optim.SGD(params, lr=pushes * LR),
        comm,
        synchronous=synchronous,
        max_staleness=max_staleness,
    )
    pulled = {}

    def work(worker):
        x, y = worker.shard(IMAGES, LABELS)
        rng = np.random.default_rng(worker.number)

        def loss():
            batch = rng.integers(len(y), size=BATCH)
            time.sleep(sleep(worker, rng))
            return cross_entropy(model(x[batch]), y[batch])

        while worker.version < PUSHES // pushes:
            worker.step(loss)
            pulled[pushes * worker.version] = [p.data.copy() for p in model.parameters()]

    start = time.perf_counter()
    server.run(work)
    return server, time.perf_counter() - start, losses(model, pulled)


def losses(model, pulled):
    """The loss over all digits, with the parameters that were pulled after so many pushes; some sixty of them."""
    found = {}
    for pushes in [*pulled][:: max(len(pulled) // 60, 1)]:
        for p, value in zip(model.parameters(), pulled[pushes]):
            p.data[...] = value
        with mg.no_grad():
            found[pushes] = cross_entropy(model(IMAGES), LABELS).item()
    return found


def report(name, server, seconds, loss):
    stale = np.array(server.staleness)
    most = "" if server.bound is None else f" of {server.bound}"
    print(
        f"  {name:20} {len(stale)} pushes in {seconds:4.1f} s; staleness {stale.mean():.1f}, at most {stale.max()}{most}; "
        f"loss {np.mean([*loss.values()][-6:]):.2f}"
    )


def main():
    comm = distributed.world()
    figure, axes = plt.subplots(2, 3, figsize=(14, 8), layout="constrained")
    for row, (scene, sleep) in zip(axes, SCENES.items()):
        found = {name: learn(comm, sleep, **way) for name, way in WAYS.items()}
        server = found["synchronous"][0]
        if comm.rank != server.workers[0]:  # one of those that have seen the parameters on the way tells
            continue
        print(f"{scene}, {len(server.workers)} at work:")
        for k, (name, (server, seconds, loss)) in enumerate(found.items()):
            report(name, server, seconds, loss)
            row[0].semilogy([*loss], [*loss.values()], label=f"{name}: {seconds:.1f} s", **style(k + 3))
            if k:
                server.draw(row[k])
                row[k].set_title(name)
        row[0].set(xlabel="pushes", ylabel="loss over all digits", title=scene)
        row[0].legend()
    if comm.rank == server.workers[0]:
        OUTPUT.mkdir(exist_ok=True)
        figure.savefig(OUTPUT / "parameter_server.png", dpi=110)
        print("picture: examples/output/parameter_server.png")


if __name__ == "__main__":
    if distributed.world().size == 1 and distributed.mpiexec():
        sys.exit(distributed.start(4, __file__))
    main()
