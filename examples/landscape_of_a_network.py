"""What does the loss of a network look like round its minimum, and is it sharper where large batches lead?

A network, 64-32-10, learns 400 of scikit-learn's digits by plain SGD until their loss is 0.01, from each of five seeds
twice: by small batches of 8, and by all 400 at once, at the same rate. Batches of 8 get there in 50 times fewer epochs.
At the two minima, which are equally deep, the loss of those 400 digits is looked at: the curvature in the sharpest
direction, which is the largest eigenvalue of the Hessian, and sharpness, how far the loss rises within a distance ρ.

    python examples/landscape_of_a_network.py

Small batches end in flatter minima, as Keskar et al. (2017) saw: in the sharpest direction by a third, while the
sharpness within ρ differs by little more than its spread. Unseen digits are read alike: at this scale there is no gap
to close. Two pictures go to examples/output/. landscape_of_a_network.png has slices through the minima, along a random
filter-normalised direction (Li et al. 2018), along the sharpest one, from one minimum to the other, and in two
dimensions. landscape_spectrum.png has the spectrum: of 2,410 eigenvalues nearly all are near 0, and a few stand out.
"""

import time
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.functional import cross_entropy
from minigrad.training import accuracy, evaluate, fit
from optim.landscape import hessian_spectrum, sharpness, slice_1d, slice_2d
from optim.trajectory.drawing import style

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
SEEDS, DEEP, RHO, LR = 5, 0.01, 0.1, 0.2
BATCHES = {"batches of 8": 8, "batches of 400": 400}


def digits():
    """400 digits in [0, 1] to learn, (400, 64), and the other 1,397 for the test."""
    images, labels = load_digits(return_X_y=True)
    return random_split(TensorDataset((images / 16).astype(np.float32), labels), [400, len(labels) - 400], generator=0)


def loss_on(model, data):
    """The network's loss on all of the data."""
    images, labels = data[np.arange(len(data))]
    return lambda: cross_entropy(model(images), labels)


def learned(seed, size, train):
    """A network that has learned until the loss is low, and the epochs that it took."""
    mg.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    loss, opt = loss_on(model, train), optim.SGD(model.parameters(), lr=LR)
    loader = DataLoader(train, batch_size=size, shuffle=True)
    deep = [lambda history: loss().item() < DEEP]
    history = fit(model, nn.CrossEntropyLoss(), opt, loader, epochs=10_000, callbacks=deep, progress=False)
    return model, len(history.epoch_end)


def look(model, train, test):
    """The largest eigenvalue, sharpness, and test accuracy in percent."""
    loss = loss_on(model, train)
    (highest,) = hessian_spectrum(loss, model, "lanczos", top=1, bottom=0).eigenvalues
    right = evaluate(model, nn.CrossEntropyLoss(), DataLoader(test, batch_size=len(test)), accuracy)[1]
    return highest, sharpness(loss, model, RHO), 100 * right


def compare(train, test):
    """For both sizes of batches the networks, one for each seed; what is seen of them is printed."""
    models = {}
    print(f"{'':15}{'epochs':>13}{'largest eigenvalue':>21}{f'sharpness, ρ = {RHO}':>22}{'test accuracy, %':>19}")
    for name, size in BATCHES.items():
        runs = [learned(seed, size, train) for seed in tqdm(range(SEEDS), desc=name, disable=None)]
        models[name] = [model for model, _ in runs]
        seen = np.array([(epochs, *look(model, train, test)) for model, epochs in runs])
        mean, spread = seen.mean(axis=0), seen.std(axis=0)
        columns = [f"{m:.{d}f} ± {s:.{d}f}" for m, s, d in zip(mean, spread, (0, 2, 4, 1))]
        print(f"{name:15}" + "".join(f"{column:>{width}}" for column, width in zip(columns, (13, 21, 22, 19))))
    return models


def draw(small, large, train):
    """Slices through one minimum of each kind."""
    figure, grid = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for k, (name, model) in enumerate(zip(BATCHES, (small, large))):
        loss = loss_on(model, train)
        top = hessian_spectrum(loss, model, "lanczos", top=1, bottom=0).vectors[0]
        for axes, cut in zip(grid[0], (slice_1d(loss, model), slice_1d(loss, model, top))):
            axes.plot(cut.axes[0], cut.loss, label=name, **style(k))
            axes.set(xlabel=cut.names[0], ylabel="loss", yscale="log", xticks=np.linspace(-1, 1, 5))
    grid[0, 0].set_title("a random direction")
    grid[0, 1].set(title="the sharpest direction", xlabel="α, along the eigenvector of the largest eigenvalue")
    way = tuple(q.data - p.data for p, q in zip(small.parameters(), large.parameters()))
    between = slice_1d(loss_on(small, train), small, way, span=(-0.5, 1.5), points=81)
    grid[1, 0].plot(between.axes[0], between.loss, color="black", label="loss")
    for k, (at, name) in enumerate(zip((0, 1), BATCHES)):
        grid[1, 0].axvline(at, **style(k), label=name)
    grid[1, 0].set(title="from one minimum to the other", xlabel="share of the way", ylabel="loss")
    grid[1, 0].set(yscale="log", xticks=np.linspace(-0.5, 1.5, 5))
    for axes in (*grid[0], grid[1, 0]):
        axes.grid(alpha=0.3)
        axes.legend()
    slice_2d(loss_on(small, train), small).draw(grid[1, 1])
    grid[1, 1].set_title("two random directions, batches of 8")
    figure.savefig(OUTPUT / "landscape_of_a_network.png", dpi=110)
    plt.close(figure)


def cost(model, data):
    """Products that the ten largest eigenvalues and the lowest take, to a thousandth; and gradients in that time."""
    loss, params = loss_on(model, data), [*model.parameters()]

    def seconds(compute):
        times = []
        for _ in range(7):
            start = time.perf_counter()
            compute()
            times.append(time.perf_counter() - start)
        return np.median(times)

    gradients = 10  # one alone is too short to measure
    for_one = seconds(lambda: [mg.grad(loss(), params) for _ in range(gradients)]) / gradients
    for_all = seconds(lambda: hessian_spectrum(loss, model))
    return hessian_spectrum(loss, model).products, for_all / for_one


def main():
    OUTPUT.mkdir(exist_ok=True)
    train, test = digits()
    (small, *_), (large, *_) = compare(train, test).values()
    draw(small, large, train)
    spectrum = hessian_spectrum(loss_on(small, train), small, probes=4)
    print(f"\nbatches of 8, by {spectrum.products} products: the ten largest of {spectrum.n:,} eigenvalues are")
    print(*(f"{value:.3f}" for value in spectrum.eigenvalues[:0:-1]))
    small_ones = abs(spectrum.nodes) < 0.01 * spectrum.eigenvalues[-1]
    print(f"and {spectrum.weights[small_ones].sum():.0%} of all are below 1 % of the largest")
    print("the same without the density: {} products, in the time of {:.0f} gradients".format(*cost(small, train)))
    spectrum.draw().savefig(OUTPUT / "landscape_spectrum.png", dpi=110)


if __name__ == "__main__":
    main()
    print("pictures: examples/output/landscape_of_a_network.png, landscape_spectrum.png")
