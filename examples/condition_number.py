"""How much does a long, narrow valley cost, and what does momentum save?

Let the Hessian of a bowl ½ Σ λᵢ xᵢ² have eigenvalues from 1 to κ, its condition number. One rate serves all directions:
above 2 / κ the steepest overshoots further each time, so of the flattest a step leaves all but about 2 / κ.

                      rate               momentum                      of the error a step leaves, in the long run
    gradient descent  2 / (1 + κ)        0                             (κ - 1) / (κ + 1)
    momentum          4 / (1 + √κ)²      ((√κ - 1) / (√κ + 1))²        (√κ - 1) / (√κ + 1)

These are the best constants (Polyak 1964). To a millionth of the error it is about 7 κ steps, or 7 √κ.

    python examples/condition_number.py

It runs both on bowls in ten dimensions, κ from 1 to 10⁴, and compares the steps with the theory; momentum takes some
more than its long run promises, as its error grows at first. Then a real valley, the Hessian of a linear model of 442
patients (scikit-learn's diabetes data): most of its κ is the units in which things were measured, and is gone when the
columns are centred and brought to one scale. The picture is examples/output/condition_number.png.
"""

from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_diabetes

import minigrad as mg
import optim
from optim.landscape import condition_number, convergence_rate
from optim.trajectory.drawing import style

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
KAPPAS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
ENOUGH, MOST = 1e-6, 100_000


def theory(method, kappa):
    """The share of the error that a step leaves in the long run."""
    root = kappa if method == "gradient descent" else kappa**0.5
    return (root - 1) / (root + 1)


def settings(method, kappa):
    """The best constants, for eigenvalues from 1 to κ."""
    if method == "gradient descent":
        return {"lr": 2 / (1 + kappa)}
    return {"lr": 4 / (1 + kappa**0.5) ** 2, "momentum": theory(method, kappa) ** 2}


def descend(loss, n, **settings):
    """From (1, ..., 1) to the minimum at 0: the distance, relative to the first, at the start and after each step."""
    p = mg.tensor(np.ones(n), requires_grad=True)
    opt, distances = optim.SGD([p], **settings), [1.0]
    while distances[-1] > ENOUGH and len(distances) <= MOST:
        opt.step(lambda: loss(p))
        distances.append(float(np.linalg.norm(p.data) / n**0.5))
    return distances


def bowls():
    """For each method the steps that it takes, by κ."""
    counts = {"gradient descent": [], "momentum": []}
    for kappa in KAPPAS:
        eigenvalues = np.geomspace(1, kappa, 10)

        def bowl(p, eigenvalues=eigenvalues):
            return 0.5 * (eigenvalues * p * p).sum()

        measured = condition_number(bowl, np.ones(10))
        for method, steps in counts.items():
            distances = descend(bowl, 10, **settings(method, measured))
            steps.append(len(distances) - 1)
            if len(distances) > 10:
                rate = convergence_rate(distances).value
                print(
                    f"κ = {measured:5.0f}, {method:16}: {steps[-1]:6} steps; "
                    f"a step leaves {rate:.4f} of the error, in theory {theory(method, kappa):.4f}"
                )
    return counts


def patients():
    """κ of a linear model's Hessian, the columns as they were measured, centred, and brought to one scale."""
    raw = load_diabetes(scaled=False).data
    centred = raw - raw.mean(axis=0)
    columns = {"as measured": raw, "centred": centred, "centred, one scale": centred / centred.std(axis=0)}
    for name, x in columns.items():
        kappa = condition_number(lambda w, x=x: 0.5 * ((x @ w) ** 2).mean(), np.zeros(10))
        print(f"diabetes data, columns {name:18}: κ = {kappa:9,.0f}")


def draw(counts):
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    kappas = np.array(KAPPAS[1:])
    for k, (method, steps) in enumerate(counts.items()):
        colour = style(k)["color"]
        expected = np.log(ENOUGH) / np.log(theory(method, kappas))
        axes.loglog(kappas, expected, color=colour, label=f"{method}, theory")
        axes.loglog(kappas, steps[1:], "os"[k], color=colour, label=f"{method}, measured")
    axes.axhline(1, color="black", linestyle=":", label="Newton: 1 step")
    axes.set(xlabel="condition number κ", ylabel="steps to a millionth of the error", title="bowls in ten dimensions")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(OUTPUT / "condition_number.png", dpi=110)
    plt.close(figure)


def main():
    OUTPUT.mkdir(exist_ok=True)
    draw(bowls())
    patients()


if __name__ == "__main__":
    main()
    print("picture: examples/output/condition_number.png")
