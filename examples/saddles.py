"""Where does an optimizer go when the ground is level, but not the bottom?

At a saddle the gradient is 0 and some directions lead down. Three grounds: x² - y², from its ridge y = 0 and from a
hair beside it; the monkey saddle, where the Hessian is 0 as well; and a network, whose loss has a saddle where all
weights are 0. Gradient descent, momentum and Adam set out with the same rate, and Newton's method with 1.

    python examples/saddles.py

It prints what each critical point is, by the eigenvalues of its Hessian, and how many steps each method takes to leave.
On the ridge nothing that follows the gradient ever leaves: along y it is exactly 0. A hair beside it, 10⁻⁶, a step of
gradient descent multiplies the distance by 1 + lr |λ|, which takes log(10⁶) / log(1 + lr |λ|) steps to be felt, and
momentum about a third of that. Adam's steps have the same length however small the gradient. Newton's method divides by
|λ|: each step doubles the distance, whatever the curvature. At the monkey saddle the gradient shrinks with the square
of the distance, and the first two take millions of steps. In practice rounding and the noise of batches push everyone
off the ridge: saddles cost time, they do not catch. The picture, examples/output/saddles.png, has the loss by step.
"""

from functools import partial
from pathlib import Path

import matplotlib
import numpy as np

import minigrad as mg
import optim
from minigrad import nn
from minigrad.functional import mse_loss
from optim.landscape import critical_point
from optim.landscape.surfaces import monkey_saddle, saddle
from optim.trajectory.drawing import style

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
LR, HAIR, STEPS = 0.05, 1e-6, 400
WIDTHS = (4, 2.75, 1.75, 1)  # of lines: where two lie on each other, both can be seen

METHODS = {
    "gradient descent": partial(optim.SGD, lr=LR),
    "momentum 0.9": partial(optim.SGD, lr=LR, momentum=0.9),
    "Adam": partial(optim.Adam, lr=LR),
    "Newton": optim.Newton,
}


def beside(surface, start):
    """A point on a surface to set out from, and its loss."""
    p = mg.tensor(np.array(start), requires_grad=True)
    return [p], lambda: surface(p)


def network(scale=HAIR):
    """Two layers, 3-4-3, that shall turn x into -x, their weights near 0."""
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)).to(np.float64)
    params = [*model.parameters()]
    for p in params:
        p.data *= scale
    x = mg.tensor(np.random.default_rng(0).standard_normal((30, 3)))
    return params, lambda *_: mse_loss(model(x), -x)


GROUNDS = {
    "x² - y², from the ridge y = 0": partial(beside, saddle, (1.0, 0.0)),
    "x² - y², from a hair beside it": partial(beside, saddle, (1.0, HAIR)),
    "monkey saddle, from a hair beside it": partial(beside, monkey_saddle, (-HAIR, 0.0)),
    "a network, from weights near 0": network,
}


def name_points():
    """What each critical point is."""
    params, loss = network(scale=0.0)
    for name, fn, x in (
        ("x² - y², at 0", saddle, [0.0, 0.0]),
        ("monkey saddle, at 0", monkey_saddle, [0.0, 0.0]),
        ("the network, at 0", loss, tuple(params)),
    ):
        found = critical_point(fn, x)
        print(f"{name}: {found.kind}; eigenvalues from {found.lowest:.3g} to {found.highest:.3g}")


def walk(method, ground):
    """The loss before each step and after the last, until it is well below the saddle's."""
    params, loss = GROUNDS[ground]()
    opt, losses = METHODS[method](params), [loss().item()]
    left = {network: 0.9 * losses[0]}.get(GROUNDS[ground], -0.1)
    while losses[-1] > left and len(losses) <= STEPS:
        opt.step(loss)
        losses.append(loss().item())
    return losses, losses[-1] <= left


def main():
    OUTPUT.mkdir(exist_ok=True)
    name_points()
    figure, grid = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for axes, ground in zip(grid.flat, GROUNDS):
        print(f"{ground}:")
        for k, method in enumerate(METHODS):
            losses, left = walk(method, ground)
            print(f"  {method:17} {f'{len(losses) - 1:4} steps' if left else f'still there after {STEPS}'}")
            axes.plot(losses, label=method, **style(k), linewidth=WIDTHS[k])
        axes.set(title=ground, xlabel="step", ylabel="loss", xlim=(0, None))
        axes.grid(alpha=0.3)
    grid[0, 0].legend()
    figure.savefig(OUTPUT / "saddles.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
    print("picture: examples/output/saddles.png")
