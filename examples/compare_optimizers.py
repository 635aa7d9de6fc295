"""Which optimizer learns a real data set fastest, and does it matter in the end?

Thirteen first-order methods train one network, 64-64-10, on scikit-learn's 1,797 handwritten digits. Each gets the rate
that suits it: of a grid, the one with the highest validation accuracy, averaged over the epochs, on one split that is
used for nothing else. Then each trains from five seeds, which decide the initial weights, the order of the batches, and
what is training and what is validation; the test set is the same for all, and is looked at once.

    python examples/compare_optimizers.py

It prints a table: the rate, the epochs and seconds until 93 % of the validation digits are read, and the test accuracy.
The picture examples/output/compare_optimizers.png has the learning curves: mean and range over the seeds.
"""

import math
import time
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.training import accuracy, evaluate, fit

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"

# fmt: off
ONE_RATE = {
    "SGD":        optim.SGD,
    "momentum":   partial(optim.SGD, momentum=0.9),
    "Nesterov":   partial(optim.SGD, momentum=0.9, nesterov=True),
    "NAG":        optim.NAG,
    "Averaged":   lambda params, lr: optim.Averaged(optim.SGD(params, lr=lr), lambda: optim.averages.SMA(5)),
    "Lookahead":  lambda params, lr: optim.Lookahead(optim.SGD(params, lr=lr, momentum=0.9)),
    "SAM":        lambda params, lr: optim.SAM(optim.SGD(params, lr=lr, momentum=0.9)),
}
OWN_RATES = {
    "Adagrad":    optim.Adagrad,
    "RMSprop":    optim.RMSprop,
    "Adam":       optim.Adam,
    "AdamW":      optim.AdamW,
    "RAdam":      optim.RAdam,
    "LAMB":       optim.LAMB,
}
# fmt: on
METHODS = ONE_RATE | OWN_RATES
RATES = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
TARGET = 0.93


def digits():
    """The digits in [0, 1], (N, 64), and their labels: a test set of a fifth, and the rest."""
    images, labels = load_digits(return_X_y=True)
    return random_split(TensorDataset((images / 16).astype(np.float32), labels), [0.8, 0.2], generator=0)


def train(make, lr, data, seed, epochs):
    """One run. Returns its history, the seconds by the end of each epoch, and the network."""
    mg.manual_seed(seed)
    training, validation = random_split(data, [0.75, 0.25])
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    seconds, start = [], time.perf_counter()
    with np.errstate(all="ignore"):  # a rate that is too large overflows, and loses
        history = fit(
            model,
            nn.CrossEntropyLoss(),
            make(model.parameters(), lr=lr),
            DataLoader(training, batch_size=64, shuffle=True),
            epochs,
            validation=DataLoader(validation, batch_size=len(validation)),
            metric=accuracy,
            callbacks=[lambda history: seconds.append(time.perf_counter() - start)],
            progress=False,
        )
    return history, seconds, model


def best_rate(make, data, epochs):
    """The rate with the highest validation accuracy, averaged over the epochs of a run of its own."""
    return max(RATES, key=lambda lr: np.mean(train(make, lr, data, 100, epochs)[0].validation_metric))


def until_target(history):
    """Epochs until the target was reached; inf if it never was."""
    reached = np.array(history.validation_metric) >= TARGET
    return 1 + int(reached.argmax()) if reached.any() else math.inf


def compare(seeds, epochs):
    """Every method's rate, and for each seed its history, seconds and test accuracy."""
    data, test = digits()
    results = {}
    for name, make in tqdm(METHODS.items(), unit="method", disable=None):
        lr, runs = best_rate(make, data, epochs), []
        for seed in seeds:
            history, seconds, model = train(make, lr, data, seed, epochs)
            metric = evaluate(model, nn.CrossEntropyLoss(), DataLoader(test, batch_size=len(test)), accuracy)[1]
            runs.append((history, seconds, metric))
        results[name] = lr, runs
    return results


def spread(values, digits=1):
    """Mean ± standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def table(results):
    """One line for each method, the fastest first."""
    lines = {}
    for name, (lr, runs) in results.items():
        epochs = [until_target(history) for history, _, _ in runs]
        seconds = [seconds[n - 1] for n, (_, seconds, _) in zip(epochs, runs) if n < math.inf]
        if len(seconds) == len(runs):
            reached = f"{spread(epochs):>12} {spread(seconds, 2):>13}"
        else:
            reached = f"{len(seconds)} of {len(runs)} runs".center(26)
        loss = spread([history.epoch_loss() for history, _, _ in runs], 3)
        test = spread([100 * metric for _, _, metric in runs])
        lines[f"{name:10} {lr:<6g} {reached} {loss:>15} {test:>13}"] = np.mean(epochs)
    head = f"{'method':10} {'rate':6} {'epochs':>12} {'seconds':>13} {'training loss':>15} {'test, %':>13}"
    return "\n".join([head, *sorted(lines, key=lines.get)])


def show(results):
    """Training loss and validation accuracy over the epochs, mean and range over the seeds, for each family."""
    figure, grid = plt.subplots(2, 2, figsize=(11, 8), sharex=True, layout="constrained")
    for (losses, metrics), family in zip(grid, (ONE_RATE, OWN_RATES)):
        for k, name in enumerate(family):
            histories = [history for history, _, _ in results[name][1]]
            epochs = np.arange(1, len(histories[0].epoch_end) + 1)
            curves = [[history.epoch_loss(e - 1) for e in epochs] for history in histories]
            for axes, values in ((losses, curves), (metrics, [history.validation_metric for history in histories])):
                style = optim.trajectory.drawing.style(k)
                axes.plot(epochs, np.mean(values, axis=0), label=name, **style)
                axes.fill_between(epochs, np.min(values, 0), np.max(values, 0), color=style["color"], alpha=0.1)
        losses.set(yscale="log", ylabel="training loss", ylim=(None, 3))
        metrics.set(ylabel="validation accuracy", ylim=(0.8, 1))
        metrics.axhline(TARGET, color="black", linewidth=0.5)
        metrics.legend(loc="lower right")
    grid[0, 0].set_title("one rate for all parameters")
    grid[1, 0].set_title("a rate for each parameter")
    for axes in grid[1]:
        axes.set_xlabel("epoch")
    figure.savefig(OUTPUT / "compare_optimizers.png", dpi=110)
    plt.close(figure)


def lessons(results):
    """What the table says."""
    epochs = {name: np.mean([until_target(run[0]) for run in runs]) for name, (_, runs) in results.items()}
    tests = {name: [100 * metric for _, _, metric in runs] for name, (_, runs) in results.items()}
    means = {name: np.mean(values) for name, values in tests.items()}
    noise = np.mean([np.std(values) for values in tests.values()])
    rates = [lr for lr, _ in results.values()]
    (first, *_, last), (worst, *_, best) = sorted(epochs, key=epochs.get), sorted(means, key=means.get)
    return [
        f"The best rates lie between {min(rates):g} and {max(rates):g}: at one rate, one would compare rates.",
        f"To the target, {first} needs {epochs[first]:.1f} epochs and {last} {epochs[last]:.1f}.",
        f"In the end {worst} reads {means[worst]:.1f} % of the test digits and {best} {means[best]:.1f} %,",
        f"    while from seed to seed a method's own accuracy varies by {noise:.1f} points (standard deviation).",
    ]


def main(seeds=range(5), epochs=30):
    OUTPUT.mkdir(exist_ok=True)
    results = compare(seeds, epochs)
    print(f"until {TARGET:.0%} of the validation digits are read; mean ± standard deviation of {len(seeds)} seeds:")
    print(table(results))
    print("", *lessons(results), sep="\n")
    show(results)
    return results


if __name__ == "__main__":
    main()
    print("picture: examples/output/compare_optimizers.png")
