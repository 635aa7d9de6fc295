"""Which functions are convex, and how would one know?

A function is convex where every chord lies above it; equivalently, where every tangent lies below it; equivalently,
where it bends down in no direction. Each of these can be tried on random points. A single failure, a witness, proves
that a function is not convex. No failure proves nothing: it is evidence.

    python examples/convexity.py

It asks all three about functions, and about what one makes of them. Sums, maxima and non-negative multiples of convex
functions are convex. Products are not: (x - 1)² and (x + 1)² are, and their product has two minima with a hill between.
Nor are minima, nor a convex function of a convex one, unless the outer one is increasing. The second derivative misses
kinks: of -|x| and of the minimum it finds no witness. Of losses, logistic regression's is convex in the weights; a
network's with a hidden layer is not, as its units can be swapped: between a minimum and its mirror image lies a hill.
The picture, examples/output/convexity.png, shows a chord that fails, a tangent that fails, and the hill.
"""

from pathlib import Path

import matplotlib
import numpy as np

import minigrad as mg
import optim
from minigrad.functional import binary_cross_entropy_with_logits as logistic
from optim.landscape import convexity, slice_1d
from optim.trajectory.drawing import COLOURS

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
SAMPLES = 400
CONDITIONS = ("definition", "first-order", "second-order")

rng = np.random.default_rng(0)
X = rng.standard_normal((50, 2))
Y = (X @ [1.0, -2.0] + 0.5 * rng.standard_normal(50) > 0).astype(float)


def bowl(p):
    return (p - 1) @ (p - 1)


def other(p):
    return (p + 1) @ (p + 1)


def network(p):
    """A network 2-2-1 of nine weights, on the same data: tanh units, which can be swapped and mirrored."""
    hidden = mg.tanh(X @ p[:4].reshape(2, 2) + p[4:6])
    return logistic(hidden @ p[6:8] + p[8], Y)


LINE, PLANE = [(-2, 2)], [(-2, 2), (-2, 2)]
# fmt: off
FUNCTIONS = {
    "(x - 1)²":                         (bowl, LINE),
    "sum: (x - 1)² + (x + 1)²":         (lambda p: bowl(p) + other(p), LINE),
    "maximum of the two":               (lambda p: mg.maximum(bowl(p), other(p)), LINE),
    "3 (x - 1)²":                       (lambda p: 3 * bowl(p), LINE),
    "-3 (x - 1)²":                      (lambda p: -3 * bowl(p), LINE),
    "product: (x - 1)² (x + 1)²":       (lambda p: bowl(p) * other(p), LINE),
    "minimum of the two":               (lambda p: mg.minimum(bowl(p), other(p)), LINE),
    "exp(x²)":                          (lambda p: mg.exp((p * p).sum()), LINE),
    "(x² - 1)², of x² - 1":             (lambda p: ((p * p - 1) ** 2).sum(), LINE),
    "-|x|":                             (lambda p: -mg.abs(p).sum(), LINE),
    "logistic regression":              (lambda w: logistic(X @ w, Y), PLANE),
    "with weight decay":                (lambda w: logistic(X @ w, Y) + 0.1 * (w @ w), PLANE),
    "a network 2-2-1":                  (network, [(-2, 2)] * 9),
}
# fmt: on


def ask():
    """Every function by every condition."""
    print(f"{'convex?':30}" + "".join(f"{condition:>16}" for condition in CONDITIONS))
    for name, (fn, domain) in FUNCTIONS.items():
        answers = ["no witness" if convexity(fn, domain, c, SAMPLES) else "no" for c in CONDITIONS]
        print(f"{name:30}" + "".join(f"{answer:>16}" for answer in answers))
    for name in ("sum", "product"):
        (fn,) = (fn for key, (fn, _) in FUNCTIONS.items() if key.startswith(name))
        print(f"\nthe {name}: {convexity(fn, LINE, samples=SAMPLES)}")


def mirrored(p):
    """The weights of the network with its two hidden units swapped: another point, the same function."""
    return p[[1, 0, 3, 2, 5, 4, 7, 6, 8]]


def hill():
    """The network's loss on the straight line from a minimum to its mirror image."""
    p = mg.tensor(np.random.default_rng(1).standard_normal(9), requires_grad=True)
    optim.LBFGS([p], max_iter=200, line_search_fn="strong_wolfe").step(lambda: network(p) + 1e-3 * (p @ p))
    cut = slice_1d(network, p.detach(), mirrored(p.data) - p.data, span=(0, 1), points=101)
    ends, top = cut.loss[[0, -1]], cut.loss.max()
    print(f"\nthe network at a minimum: {ends[0]:.3f}; with its units swapped: {ends[1]:.3f}; between: up to {top:.3f}")
    return cut


def draw(cut):
    fn, _ = FUNCTIONS["product: (x - 1)² (x + 1)²"]
    x = np.linspace(-1.6, 1.6, 201)
    height = np.array([fn(np.array([each])) for each in x])
    figure, (chord, tangent, between) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for axes in (chord, tangent):
        axes.plot(x, height, color=COLOURS[0], label="(x - 1)² (x + 1)²")
        axes.set(xlabel="x", ylabel="f(x)", ylim=(-0.8, 3.4))
    chord.plot([-1, 1], [0, 0], "o-", color=COLOURS[1], label="a chord that is not above")
    chord.set_title("definition fails")
    at, f, slope = 1.3, 0.69**2, 4 * 1.3 * 0.69  # f = (x² - 1)², f' = 4x (x² - 1)
    tangent.plot(x, f + slope * (x - at), "--", color=COLOURS[1], label="a tangent that is below here ...")
    at, f, slope = -0.3, 0.91**2, 4 * 0.3 * 0.91
    tangent.plot(x, f + slope * (x - at), "-.", color=COLOURS[2], label="... and one that is not")
    tangent.set_title("first-order condition fails")
    between.plot(cut.axes[0], cut.loss, color=COLOURS[0], label="the network's loss")
    between.plot([0, 1], cut.loss[[0, -1]], "o-", color=COLOURS[1], label="the chord")
    between.set(title="a hill between mirror images", xlabel="from a minimum to its mirror image", ylabel="loss")
    for axes in (chord, tangent, between):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper center" if axes is not between else "best")
    figure.get_layout_engine().set(w_pad=0.12)
    figure.savefig(OUTPUT / "convexity.png", dpi=110)
    plt.close(figure)


def main():
    OUTPUT.mkdir(exist_ok=True)
    ask()
    draw(hill())


if __name__ == "__main__":
    main()
    print("picture: examples/output/convexity.png")
