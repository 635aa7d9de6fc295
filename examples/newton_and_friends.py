"""What does curvature buy, and what does it cost?

Five methods go from the same starts to the minima of ill-conditioned bowls, ½ Σ κᵢ xᵢ² in ten dimensions, and of
Rosenbrock's valley: gradient descent (with the best constant rate: on a bowl 2 / (1 + κ)), Newton's method, BFGS and
L-BFGS with a strong Wolfe line search, and the natural gradient, for which the losses are read as half the sum of
squares of the outputs of a small model. For each, how many steps, gradients and Hessians take the loss below 1e-10, and
how long that takes.

    python examples/newton_and_friends.py

Pictures go to examples/output/. newton_and_friends.png shows the loss against the gradients that were taken, and the
ways down the valley. On a bowl, whatever its κ, Newton's method and the natural gradient take one step; quasi-Newton
methods some dozens, as they learn its shape; gradient descent about 7κ. newton_cost.png shows why no one trains
networks with the Hessian: as a small network grows, a gradient stays cheap, the Hessian takes as many passes as there
are parameters, and solving with it grows with their cube.
"""

import time
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np

import minigrad as mg
import optim
from minigrad import nn
from minigrad.functional import mse_loss
from optim.landscape.surfaces import rosenbrock

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
ENOUGH, MOST = 1e-10, 5_000
COLOURS = {
    "gradient descent": "#999999",
    "Newton": "#d55e00",
    "BFGS": "#0072b2",
    "L-BFGS": "#56b4e9",
    "natural gradient": "#009e73",
}


class SumOfSquares(nn.Module):
    """A point p, and residuals r(p) as the outputs of a model without inputs: the loss is ½ ‖r‖²."""

    def __init__(self, start, residuals, rate):
        self.p = nn.Parameter(np.array(start, float))
        self.residuals, self.rate = residuals, rate

    def forward(self):
        return self.residuals(self.p).reshape(1, -1)

    def loss(self):
        return 0.5 * (self() ** 2).sum()


def bowl(kappa):
    roots = np.sqrt(np.geomspace(1, kappa, 10))
    return SumOfSquares(np.ones(10), lambda p: roots * p, rate=2 / (1 + kappa))


def valley():
    return SumOfSquares(
        rosenbrock.starts[0],
        lambda p: mg.stack([2**0.5 * (1 - p[0]), 200**0.5 * (p[1] - p[0] ** 2)]),
        rate=1.5e-3,  # the longest that does not leave the valley
    )


PROBLEMS = {"bowl, κ = 100": partial(bowl, 1e2), "bowl, κ = 10⁴": partial(bowl, 1e4), "Rosenbrock": valley}


def methods(model):
    params = [*model.parameters()]
    return {
        "gradient descent": optim.SGD(params, lr=model.rate),
        "Newton": optim.Newton(params, line_search_fn="strong_wolfe"),
        "BFGS": optim.BFGS(params, max_iter=1, max_eval=20, tolerance_change=0.0),
        "L-BFGS": optim.LBFGS(params, max_iter=1, max_eval=20, tolerance_change=0.0, line_search_fn="strong_wolfe"),
        "natural gradient": optim.NaturalGradient(model, damping=1e-9, likelihood="gaussian"),
    }


def go(method, problem):
    """After each step: the gradients taken so far, the loss, and the point; and the seconds that it all took."""
    model = PROBLEMS[problem]()
    opt = methods(model)[method]
    looked_at, seconds = set(), 0.0
    gradients, losses, path = [0], [model.loss().item()], [model.p.data.copy()]

    def closure():
        looked_at.add(model.p.data.tobytes())  # points, as a step begins where the last one has looked already
        return model.loss()

    while losses[-1] >= ENOUGH and len(path) <= MOST:
        start = time.perf_counter()
        opt.step(closure)
        seconds += time.perf_counter() - start
        gradients.append(len(looked_at))
        losses.append(model.loss().item())
        path.append(model.p.data.copy())
    return gradients, losses, np.array(path), seconds


def compare():
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for problem, plot in zip(PROBLEMS, axes.flat):
        print(f"{problem}, until the loss is below {ENOUGH:g}:")
        for method, colour in COLOURS.items():
            gradients, losses, path, seconds = go(method, problem)
            steps = f"{len(path) - 1}" if len(path) <= MOST else f"> {MOST}"
            hessians = len(path) - 1 if method == "Newton" else 0
            print(
                f"  {method:17} {steps:>7} steps  {gradients[-1]:5} gradients  {hessians:2} Hessians  "
                f"{1000 * seconds:7.1f} ms"
            )
            dashes = (0, (4, 2)) if method == "natural gradient" else "-"
            plot.plot(gradients, np.maximum(losses, ENOUGH / 10), linestyle=dashes, color=colour, label=method)
            if problem == "Rosenbrock":
                axes[1, 1].plot(*path.T, ".-", color=colour, ms=4, lw=1, label=f"{method}: {steps}")
        plot.set_xscale("symlog", linthresh=1)
        plot.set(
            title=problem, xlabel="gradients taken", ylabel="loss", yscale="log", ylim=(ENOUGH, None), xlim=(0, None)
        )
    axes[0, 1].legend(loc="lower right")
    x, y, height = rosenbrock.grid(200)
    axes[1, 1].contour(x, y, np.log10(height + 1e-3), levels=15, colors="lightgrey", linewidths=0.7)
    axes[1, 1].plot(*rosenbrock.minima[0], "k*", markersize=12)
    axes[1, 1].set(title="ways down the valley", xlabel="x", ylabel="y", xlim=(-2, 2), ylim=(-1, 3))
    axes[1, 1].legend(title="steps", fontsize="small", loc="upper center")
    figure.savefig(OUTPUT / "newton_and_friends.png", dpi=120)
    plt.close(figure)


def best_time(compute, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return min(times)


def cost():
    """Seconds for a gradient, a Hessian and the solution with it, for networks of more and more parameters."""
    x = mg.tensor(np.random.default_rng(0).standard_normal((256, 14)))
    y = mg.sin(x.sum(axis=1, keepdims=True))
    rows = []
    for width in (4, 8, 16, 32, 64):
        mg.manual_seed(0)
        model = nn.Sequential(nn.Linear(14, width), nn.Tanh(), nn.Linear(width, 1)).to(np.float64)
        params = tuple(model.parameters())

        def loss(*_, model=model):
            return mse_loss(model(x), y)

        n = sum(p.size for p in params)
        matrix = np.eye(n) + np.ones((n, n))
        rows.append(
            (
                n,
                best_time(lambda params=params, loss=loss: mg.grad(loss(), params), 10),
                best_time(lambda params=params, loss=loss: mg.autograd.hessian(loss, params), 2),
                best_time(lambda matrix=matrix: np.linalg.eigh(matrix), 2),
            )
        )
        print("n = {:4}: gradient {:.1e} s, Hessian {:.1e} s, solving {:.1e} s".format(*rows[-1]))
    n, gradient, hessian, solve = np.array(rows).T
    figure, axes = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
    axes.loglog(n, gradient, "o-", color="#999999", label="gradient")
    axes.loglog(n, hessian, "s-", color="#d55e00", label="Hessian, n passes")
    axes.loglog(n, solve, "^-", color="#0072b2", label="solving with it")
    axes.loglog(n, hessian[-1] * (n / n[-1]) ** 2, ":", color="#d55e00", label="n²")
    axes.loglog(n, solve[-1] * (n / n[-1]) ** 3, ":", color="#0072b2", label="n³")
    axes.set(title="what one step costs", xlabel="parameters n", ylabel="seconds")
    axes.legend()
    figure.savefig(OUTPUT / "newton_cost.png", dpi=120)
    plt.close(figure)
    steep = np.polyfit(np.log(n[1:]), np.log(np.array([gradient, hessian, solve])[:, 1:].T), 1)[0]
    print("from n = {:.0f} on they grow as n to the {:.1f}, {:.1f}, {:.1f}".format(n[1], *steep))


def main():
    OUTPUT.mkdir(exist_ok=True)
    compare()
    cost()
    print("pictures: examples/output/newton_and_friends.png, newton_cost.png")


if __name__ == "__main__":
    main()
