"""How does a network bend a straight line round two moons?

Data: scikit-learn's two interleaved half circles with noise, 300 points to learn from and 300 that it never sees. No
straight line parts them; a network of two hidden layers of 16 tanh units can. Its decision boundary, where it gives
both moons probability 1/2, is drawn as it moves. After a few steps it is nearly a line, as logistic regression would
find it; then it bends; and in the end it bends round single points, which serves the points it learns from and harms
the others.

    python examples/moons.py

Pictures go to examples/output/: moons.png, six moments of the training; moons.gif, all of it.
"""

from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import make_moons

import minigrad as mg
import optim
from minigrad import nn

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation

OUTPUT = Path(__file__).parent / "output"
STEPS = 500
MOMENTS = (0, 5, 20, 50, 100, STEPS)  # that are drawn; the animation takes every tenth step


def moons(seed):
    """Points (300, 2) and which moon each is on, 0 or 1, (300, 1)."""
    points, moon = make_moons(300, noise=0.2, random_state=seed)
    return mg.tensor(points.astype(np.float32)), mg.tensor(moon.astype(np.float32)[:, None])


def window(points):
    """A grid over the plane: its coordinates, and its points as a batch."""
    low, high = points.numpy().min(axis=0) - 0.4, points.numpy().max(axis=0) + 0.4
    x, y = np.meshgrid(np.linspace(low[0], high[0], 80), np.linspace(low[1], high[1], 60))
    return x, y, mg.tensor(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))


def accuracy(model, points, moon):
    """The share of points that are put on the right moon: those of moon 1 have positive scores."""
    with mg.no_grad():
        return float(((model(points) > 0) == (moon > 0.5)).mean())


def learn(model, points, moon, grid):
    """Train on all points at once; returns what the model thought of the grid before every step."""
    unseen = moons(seed=1)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    loss_fn = nn.BCEWithLogitsLoss()
    seen = []
    for step in range(STEPS + 1):
        with mg.no_grad():
            seen.append(mg.sigmoid(model(grid)).numpy().ravel())
        right, right_unseen = accuracy(model, points, moon), accuracy(model, *unseen)
        loss = optimizer.step(lambda: loss_fn(model(points), moon))
        if step in MOMENTS:
            print(f"step {step:3}: loss {loss:.4f}, accuracy {right:.1%}, on unseen points {right_unseen:.1%}")
    return seen


def draw(axes, x, y, probability, points, moon, title):
    """The plane coloured by probability, the boundary as a line, and the points."""
    z = probability.reshape(x.shape)
    axes.clear()
    axes.contourf(x, y, z, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
    axes.contour(x, y, z, levels=[0.5], colors="black")
    axes.scatter(*points.numpy().T, c=moon.numpy(), cmap="RdBu_r", s=16, edgecolors="white", linewidths=0.4)
    axes.set(title=title, xticks=[], yticks=[])


def main():
    OUTPUT.mkdir(exist_ok=True)
    mg.manual_seed(0)
    points, moon = moons(seed=0)
    x, y, grid = window(points)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    seen = learn(model, points, moon, grid)

    figure, panels = plt.subplots(2, 3, figsize=(9, 5.4), layout="constrained")
    for axes, step in zip(panels.ravel(), MOMENTS):
        draw(axes, x, y, seen[step], points, moon, f"step {step}")
    figure.savefig(OUTPUT / "moons.png", dpi=120)

    figure, axes = plt.subplots(figsize=(4.5, 3.5), layout="constrained")
    moving = FuncAnimation(
        figure,
        lambda step: draw(axes, x, y, seen[step], points, moon, f"step {step}"),
        frames=range(0, 301, 10),
    )
    moving.save(OUTPUT / "moons.gif", writer="pillow", fps=8, dpi=80)
    print("pictures: examples/output/moons.png, moons.gif")


if __name__ == "__main__":
    main()
