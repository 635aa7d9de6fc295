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

Who comes first differs from run to run, and so do the numbers. Where one worker is slow for good, a bound makes all as
slow as that one in the end, as waiting for all does; without one the others make the pushes, and the slow one's are old
when they come. Where each stumbles now and then, a bound lets the others run on meanwhile. Old gradients cost nothing
that can be seen here: few are very old, and the rate is well below the one at which age makes the loss swing. The
picture, examples/output/parameter_server.png, shows the loss by pushes, and how stale each worker's pushes were.
"""

import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from minigrad.functional import cross_entropy
from optim import distributed
from optim.trajectory.drawing import style

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


def report(scene, found):
    """Print how each way went."""
    print(f"{scene}, {len(found['synchronous'][0].workers)} at work:")
    for name, (server, seconds, loss) in found.items():
        stale, most = np.array(server.staleness), "" if server.bound is None else f" of {server.bound}"
        print(
            f"  {name:20} {len(stale)} pushes in {seconds:4.1f} s; staleness {stale.mean():.1f} on average, at most "
            f"{stale.max()}{most}; loss {np.mean([*loss.values()][-6:]):.2f}"
        )


def draw(results):
    figure = Figure(figsize=(14, 8), layout="constrained")
    for axes, (scene, found) in zip(figure.subplots(2, 3), results.items()):
        for k, (name, (server, seconds, loss)) in enumerate(found.items()):
            axes[0].semilogy([*loss], [*loss.values()], label=f"{name}: {seconds:.1f} s", **style(k + 3))
            if not server.synchronous:
                server.draw(axes[k])
                axes[k].set_title(f"{scene}: {name}")
        axes[0].set(xlabel="pushes", ylabel="loss over all digits", title=scene)
        axes[0].legend()
    OUTPUT.mkdir(exist_ok=True)
    figure.savefig(OUTPUT / "parameter_server.png", dpi=110)


def main():
    comm, results = distributed.world(), {}
    for scene, sleep in SCENES.items():
        results[scene] = found = {name: learn(comm, sleep, **way) for name, way in WAYS.items()}
        teller = found["synchronous"][0].workers[0]  # one of those who have seen the parameters on the way
        if comm.rank == teller:
            report(scene, found)
    if comm.rank == teller:
        draw(results)
        print("picture: examples/output/parameter_server.png")


if __name__ == "__main__":
    if distributed.world().size == 1 and distributed.mpiexec():
        sys.exit(distributed.start(4, __file__))
    main()
