"""How long do the parts of a cut network wait for each other?

    python examples/pipeline.py                               (starts four processes, where there is an MPI)
    mpiexec -n 4 python -m mpi4py examples/pipeline.py

A network of four blocks learns scikit-learn's digits on four processes, a block on each. A batch of 64 goes through
them in m micro-batches, all forward, then all backward. Four devices are more than a laptop has; so each block waits as
long as it would compute on a slow device of its own: 2 ms for an example, and 4 ms on the way back. That nobody can
start before the first has handed something on leaves a bubble of idle time, in theory (p - 1) / (m + p - 1) of all for
p stages. What is measured comes close, until micro-batches are so small that what each costs by itself is seen. The
parameters in the end are those of one process, up to rounding. The picture is examples/output/pipeline.png.
"""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from optim import distributed
from optim.trajectory.drawing import COLOURS

OUTPUT = Path(__file__).parent / "output"
STAGES, BATCH, STEPS = 4, 64, 3
SECONDS = 2e-3  # of an example in a block, forward
MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
SHOWN = (1, 4, 16)
LOOK = {"forward": COLOURS[0], "loss": COLOURS[6], "backward": COLOURS[1]}


def _wait(x, seconds):
    """x, after some time; its gradient takes twice as long."""
    time.sleep(seconds)
    return x


wait = mg.op(_wait, x=lambda g, seconds: _wait(g, 2 * seconds))


class Device(nn.Module):
    """As if what comes before were computed on a slow device."""

    def __init__(self, seconds):
        self.seconds = seconds

    def forward(self, x):
        return wait(x, self.seconds * len(x))


def network(seconds):
    """Four blocks alike, the last of which gives scores of ten digits."""
    mg.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.Tanh(), Device(seconds)) for _ in range(STAGES - 1)]
    return nn.Sequential(*blocks, nn.Sequential(nn.Linear(64, 10), Device(seconds))).to(np.float64)


def batches():
    """All that is trained with, the same on every rank."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        chosen = rng.integers(len(images), size=BATCH)
        yield mg.tensor(images[chosen] / 16), mg.tensor(labels[chosen])


def learn(comm, m):
    """The timelines of each step with m micro-batches, and the whole network's state afterwards."""
    pipe = distributed.Pipeline(network(SECONDS), comm, micro_batches=m, costs=[1] * STAGES)
    optimizer = optim.SGD(pipe.parameters(), lr=0.1, momentum=0.9)
    timelines = []
    for x, y in batches():
        optimizer.zero_grad()
        pipe.backward(nn.CrossEntropyLoss(), x, y)
        optimizer.step()
        timelines.append(pipe.timelines())
    return timelines, pipe.state_dict()


def alone():
    """The state after the same steps in one process, with whole batches."""
    model = network(seconds=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches():
        optimizer.step(lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
    return model.state_dict()


def middle(steps):
    """The timelines of the step whose bubble is the median."""
    return sorted(steps, key=distributed.bubble)[len(steps) // 2]


def length(timelines):
    """Seconds from the first start to the last end."""
    return max(work.end for timeline in timelines for work in timeline)


def draw(found, stages):
    """Timelines for some m, and the bubble over all."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 6), layout="constrained")
    grid = figure.add_gridspec(len(SHOWN), 2, width_ratios=(2, 1))
    top, rows = None, []
    for row, m in enumerate(SHOWN):
        top = axes = figure.add_subplot(grid[row, 0], sharex=top)
        rows.append(axes)
        timelines = middle(found[m])
        for rank, timeline in enumerate(timelines):
            for work in timeline:
                start, width = 1e3 * work.start, 1e3 * (work.end - work.start)
                axes.barh(rank, width, left=start, height=0.8, color=LOOK[work.kind], edgecolor="white", linewidth=0.5)
                if m <= 4 and work.kind != "loss":
                    number = {"color": "white", "ha": "center", "va": "center", "fontsize": "small"}
                    axes.text(start + width / 2, rank, str(work.micro_batch), **number)
        idle = distributed.bubble(timelines)
        axes.set(yticks=range(stages), ylabel="stage", title=f"m = {m}: {idle:.0%} of the time idle (white)")
        axes.invert_yaxis()
    axes.set_xlabel("time of one step in ms; numbers are micro-batches")
    rows[1].legend([plt.Rectangle((0, 0), 1, 1, color=LOOK[kind]) for kind in LOOK], [*LOOK], loc="center right")
    axes = figure.add_subplot(grid[:, 1])
    many = np.geomspace(min(found), max(found), 100)
    theory = [100 * distributed.ideal_bubble(stages, m) for m in many]
    axes.plot(many, theory, color=COLOURS[6], label="(p - 1) / (m + p - 1)")
    for m, steps in found.items():
        idle = [100 * distributed.bubble(timelines) for timelines in steps]
        axes.plot([m] * len(idle), idle, "o", color=COLOURS[0], alpha=0.7, label="measured, each step" * (m == 1))
    axes.set_xscale("log", base=2)
    axes.set_xticks([*found], [*map(str, found)])
    axes.set(xlabel="micro-batches m", ylabel="idle in % of the time", ylim=(0, 100), title=f"the bubble, p = {stages}")
    axes.grid(alpha=0.3)
    axes.legend()
    OUTPUT.mkdir(exist_ok=True)
    figure.savefig(OUTPUT / "pipeline.png", dpi=110)
    plt.close(figure)


def main(comm):
    found, wanted = {}, alone()
    for m in MICRO_BATCHES:
        found[m], state = learn(comm, m)
        step = middle(found[m])
        apart = max(abs(state[name].data - t.data).max() / abs(t.data).max() for name, t in wanted.items())
        if comm.rank == 0:
            print(
                f"m = {m:2}: a step takes {1e3 * length(step):4.0f} ms, {distributed.bubble(step):5.1%} of it idle, in "
                f"theory {distributed.ideal_bubble(comm.size, m):5.1%}; parameters differ by {apart:.0e}",
                flush=True,
            )
    if comm.rank == 0:
        draw(found, comm.size)


if __name__ == "__main__":
    comm = distributed.world()
    if not isinstance(comm, distributed.Serial):
        main(comm)
    elif distributed.mpiexec() and importlib.util.find_spec("mpi4py"):
        sys.exit(distributed.start(STAGES, __file__))
    else:
        print("There is no MPI here, so one process has all stages: pip install 'minigrad-course[mpi]' brings one.")
        main(comm)
    if comm.rank == 0:
        print("picture: examples/output/pipeline.png")
