"""Do flat minima generalise better than sharp ones, and what leads to them: small batches, SAM, ghost batches?

1. Two wells of equal depth, one 50 times as curved as the other. Twenty runs start inside the sharp one; SAM asks for
   the gradient a distance ρ uphill. Which well does each end in?
2. Networks learn 400 of scikit-learn's digits, with right labels, and with a fifth of the labels drawn by lot: by
   batches of 16 and of all 400, without and with SAM; the same with batch normalization, and with ghost batches of 20
   inside the batch of 400. Each run takes 400 steps; all from five seeds.
3. The loss on the straight line from a minimum that small batches found to one that the large batch found.

    python examples/sharp_and_flat.py

Sharpness is how much the training loss rises, at most, within a distance of 0.5 in the weights, as projected ascent
finds it in five steps. The gap is training accuracy less test accuracy. Batch normalization makes the loss
blind to the size of the weights, so that sharpness with it and without it cannot be compared.
Pictures: examples/output/sharp_and_flat*.
"""

from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import minigrad as mg
import optim
from minigrad import nn
from minigrad.autograd import hessian
from minigrad.data import DataLoader, TensorDataset
from minigrad.training import accuracy, evaluate
from optim.landscape import sharpness, slice_1d
from optim.landscape.surfaces import double_well
from optim.lr_scheduler import CosineAnnealingLR
from optim.trajectory import animate, draw, record
from optim.trajectory.drawing import COLOURS, style

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
LEARNED = 400

# fmt: off
# name: batch size, ρ of SAM, batch norm or the size of its ghost batches
SETTINGS = {
    "batch 16":                   (16,  0.0, None),
    "batch 400":                  (400, 0.0, None),
    "batch 16, SAM 0.2":          (16,  0.2, None),
    "batch 400, SAM 0.2":         (400, 0.2, None),
    "batch 400, SAM 0.5":         (400, 0.5, None),
    "norm, batch 16":             (16,  0.0, "batch"),
    "norm, batch 400":            (400, 0.0, "batch"),
    "norm, batch 400, ghosts 20": (400, 0.0, 20),
}
# fmt: on


# -------------------------------------------------------------------------------------------------------- the two wells


def sam_or_base(params, rho):
    base = optim.SGD(params, lr=0.01, momentum=0.9)
    return optim.SAM(base, rho=rho) if rho else base


def wells(radii=(0.0, 0.05, 0.1, 0.2), runs=20, steps=400):
    """For each ρ: how many runs end in the sharp well, how many in the flat one, and the mean curvature at the end."""
    rng = np.random.default_rng(0)
    r, angle = rng.uniform(0.05, 0.3, runs), rng.uniform(0, 2 * np.pi, runs)
    starts = np.stack([1 + r * np.cos(angle), r * np.sin(angle)], axis=1)
    found = {}
    for rho in tqdm(radii, desc="wells", disable=None):
        ends = [record(double_well, partial(sam_or_base, rho=rho), steps, start=p).points[-1] for p in starts]
        curvatures = [np.linalg.eigvalsh(hessian(double_well, mg.tensor(p)).numpy()).max() for p in ends]
        sharp, flat = (sum(np.linalg.norm(p - [x, 0]) < 0.3 for p in ends) for x in (1, -1))
        found[rho] = sharp, flat, np.mean(curvatures)
    return found


# --------------------------------------------------------------------------------------------------------- the networks


def digits(seed, wrong):
    """400 digits to learn, a share of their labels drawn by lot; the other 1,397 for the test."""
    images, labels = load_digits(return_X_y=True)
    images, rng = (images / 16).astype(np.float32), np.random.default_rng(seed)
    order, labels = rng.permutation(len(labels)), labels.copy()
    learned, tested = order[:LEARNED], order[LEARNED:]
    drawn = learned[rng.random(LEARNED) < wrong]
    labels[drawn] = rng.integers(0, 10, len(drawn))
    return TensorDataset(images[learned], labels[learned]), TensorDataset(images[tested], labels[tested])


def network(norm):
    """64-64-64-10, with batch norm or ghost batch norm behind the first two layers, or without."""

    def layer(n):
        if norm is None:
            return [nn.Linear(n, 64), nn.ReLU()]
        normed = nn.BatchNorm1d(64) if norm == "batch" else nn.GhostBatchNorm1d(64, norm)
        return [nn.Linear(n, 64), normed, nn.ReLU()]

    return nn.Sequential(*layer(64), *layer(64), nn.Linear(64, 10))


def train(setting, data, seed, steps):
    """The trained network, in evaluation mode."""
    batch_size, rho, norm = SETTINGS[setting]
    mg.manual_seed(seed)
    model, loader = network(norm), DataLoader(data, batch_size, shuffle=True)
    base = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    opt, schedule = optim.SAM(base, rho=rho) if rho else base, CosineAnnealingLR(base, T_max=steps)
    while schedule.t < steps:
        for images, labels in loader:
            if schedule.t < steps:
                opt.step(lambda: nn.functional.cross_entropy(model(images), labels))  # noqa: B023
                schedule.step()
    return model.eval()


def loss_of(model, data):
    """The loss on the whole of some data, as a function of nothing."""
    images, labels = data[np.arange(len(data))]
    return lambda: nn.functional.cross_entropy(model(images), labels)


def measured(model, data, test):
    """Accuracy on what was learned and on the test, their difference, all in percent; and the sharpness."""
    learned, tested = (
        100 * evaluate(model, nn.CrossEntropyLoss(), DataLoader(d, len(d)), accuracy)[1] for d in (data, test)
    )
    return learned, tested, learned - tested, sharpness(loss_of(model, data), model, rho=0.5, steps=5)


def networks(seeds, steps=400, shares=(0.0, 0.2)):
    """What is measured, for each share of wrong labels and each setting: an array (seeds, 4)."""
    runs = [(wrong, setting) for wrong in shares for setting in SETTINGS]
    found = {}
    for wrong, setting in tqdm(runs, desc="networks", disable=None):
        rows = []
        for seed in seeds:
            data, test = digits(seed, wrong)
            rows.append(measured(train(setting, data, seed, steps), data, test))
        found[wrong, setting] = np.array(rows)
    return found


def between(seed, steps=400, wrong=0.2):
    """Training and test loss along the line from the minimum of the batches of 16 to that of the batch of 400."""
    data, test = digits(seed, wrong)
    start, end = (train(setting, data, seed, steps) for setting in ("batch 16", "batch 400"))
    way = tuple(q.numpy() - p.numpy() for p, q in zip(start.parameters(), end.parameters()))
    return [slice_1d(loss_of(start, d), start, way, span=(-0.5, 1.5), points=41) for d in (data, test)]


# -------------------------------------------------------------------------------------------------- telling and showing


def table(found):
    """A line for each setting: mean ± standard deviation of what was measured."""
    lines = [f"{'wrong labels, setting':33} {'learned, %':>13} {'test, %':>13} {'gap':>12} {'sharpness':>14}"]
    for (wrong, setting), rows in found.items():
        (learned, test, gap, sharp), spread = rows.mean(axis=0), rows.std(axis=0)
        lines.append(
            f"{wrong:4.0%}  {setting:27} {learned:6.1f} ± {spread[0]:4.1f} {test:6.1f} ± {spread[1]:4.1f} "
            f"{gap:5.1f} ± {spread[2]:4.1f} {sharp:7.2f} ± {spread[3]:4.2f}"
        )
    return "\n".join(lines)


def lessons(found):
    """What the table says: each remedy against the batch of 400, and whether it is more than twice the spread."""
    for wrong in dict.fromkeys(wrong for wrong, _ in found):
        yield f"With {wrong:.0%} of the labels drawn by lot, against the batch of 400:"
        for setting in SETTINGS:
            plain = "norm, batch 400" if "norm" in setting else "batch 400"
            if setting == plain:
                continue
            rows, others = found[wrong, setting], found[wrong, plain]
            gain, factor = (rows - others)[:, 1].mean(), rows[:, 3].mean() / others[:, 3].mean()
            noise = np.sqrt((rows[:, 1].var() + others[:, 1].var()) / 2)
            clear = "clearly" if abs(gain) > 2 * noise else "no clear effect"
            yield f"    {setting:27} sharpness × {factor:<5.2f} test {gain:+5.1f} points, {clear}"
    yield "Where less than all was learned, it is the wrong labels that were not learned by heart in 400 steps."


def show(found, line):
    """Test accuracy against sharpness, a dot for each run; and the loss between two minima."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(16, 5), layout="constrained")
    for axes, wrong in ((left, 0.0), (middle, 0.2)):
        for k, setting in enumerate(SETTINGS):
            _, test, _, sharp = found[wrong, setting].T
            marker = "s" if "norm" in setting else "o"
            axes.semilogx(sharp, test, marker, color=COLOURS[k % len(COLOURS)], label=setting)
        axes.set(title=f"{wrong:.0%} wrong labels", xlabel="sharpness", ylabel="test accuracy, %")
    figure.legend(handles=left.lines, loc="outside lower center", ncols=len(SETTINGS), fontsize="small")
    for k, (name, cut) in enumerate(zip(("training loss", "test loss"), line)):
        right.semilogy(*cut.axes, cut.loss, **style(k), label=name)
    for a, name in ((0, "batch 16"), (1, "batch 400")):
        right.axvline(a, color="0.7", zorder=0)
        right.text(a, 0.97, f" {name}", va="top", transform=right.get_xaxis_transform())
    right.set(title="between two minima, 20% wrong labels", xlabel="share of the way")
    right.legend()
    figure.savefig(OUTPUT / "sharp_and_flat.png", dpi=100)
    plt.close(figure)


def main(seeds=range(5)):
    OUTPUT.mkdir(exist_ok=True)
    valley = wells()
    print("twenty runs from inside the sharp well: SAM's ρ, in the sharp well, in the flat one, mean curvature there")
    for rho, (sharp, flat, curvature) in valley.items():
        print(f"    {rho:<5g} {sharp:3} {flat:3} {curvature:7.1f}")
    paths = [record(double_well, partial(sam_or_base, rho=rho), 250, name=f"ρ = {rho:g}") for rho in valley]
    draw(paths).savefig(OUTPUT / "sharp_and_flat_wells.png", dpi=110)
    animate(paths, OUTPUT / "sharp_and_flat_wells.gif")

    found = networks(seeds)
    print(f"\nnetworks, mean ± standard deviation of {len(seeds)} seeds:\n{table(found)}\n")
    print(*lessons(found), sep="\n")
    show(found, between(seeds[0]))
    return valley, found


if __name__ == "__main__":
    main()
    print("pictures: examples/output/sharp_and_flat*")
