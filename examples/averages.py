"""How much noise does a moving average take out of gradients, and how far behind does it fall?

The gradient of a small batch is the true one plus noise. An average over time takes noise out, but what it averages was
taken elsewhere: it lags. Both follow from the weights w_a that it gives to a value of age a, Σ w_a = 1: of the noise's
variance Σ w_a² remains, and the lag is Σ a w_a steps.

    python examples/averages.py

First both are measured, for plain (SMA), weighted (WMA) and exponentially weighted (EWMA) averages: the noise on real
gradients of a network at rest, the lag on a ramp. Then the network learns (scikit-learn's digits, batches of 8), and at
each step the averages are held against the gradient of the whole training set, from five seeds; one WMA has the weights
that fitted best on another run. Last, the averages take the gradient's place in training: does it help?
The picture is examples/output/averages.png.
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
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.training import accuracy, evaluate
from optim.averages import EWMA, SMA, WMA
from optim.trajectory.drawing import COLOURS

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"

AVERAGES = {
    "SMA(5)": partial(SMA, 5),
    "SMA(20)": partial(SMA, 20),
    "WMA(10 ... 1)": partial(WMA, range(10, 0, -1)),
    "EWMA(0.5)": partial(EWMA, 0.5),
    "EWMA(0.9)": partial(EWMA, 0.9),
}
STARTS = {
    "first value": partial(EWMA, 0.9),
    "zero": partial(EWMA, 0.9, start="zero"),
    "zero, corrected": partial(EWMA, 0.9, start="zero", bias_correction=True),
}


def averaged(make, series):
    """The average after each value of a series."""
    average = make()
    return np.array([average.update(x) for x in series])


def weights(make, ages=400):
    """The weight of a value of age 0, 1, 2, ...: how the average remembers a single 1, long after its start."""
    return averaged(make, [0.0] * ages + [1.0] + [0.0] * ages)[ages:]


class Digits:
    """A network 64-32-10, freshly made, and the gradients of its loss."""

    def __init__(self, seed, batch_size=8):
        images, labels = load_digits(return_X_y=True)
        mg.manual_seed(seed)
        data = TensorDataset((images / 16).astype(np.float32), labels)
        self.train, self.test = random_split(data, [0.8, 0.2])
        self.model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.loader = DataLoader(self.train, batch_size=batch_size, shuffle=True, drop_last=True)

    def batches(self):
        """Batch after batch, epoch after epoch."""
        while True:
            yield from self.loader

    def loss(self, batch):
        images, labels = batch
        return nn.functional.cross_entropy(self.model(images), labels)

    def gradient(self, batch):
        """The gradient in all parameters, flat."""
        gradients = mg.grad(self.loss(batch), [*self.model.parameters()])
        return np.concatenate([g.numpy() for g in gradients], axis=None)

    def whole(self):
        """The training set as one batch."""
        return self.train[np.arange(len(self.train))]


def at_rest(seed, steps):
    """Gradients of single batches, the network staying where it is, seen along the true gradient there."""
    digits = Digits(seed)
    direction = digits.gradient(digits.whole())
    direction /= np.linalg.norm(direction)
    return np.array([digits.gradient(batch) @ direction for _, batch in zip(range(steps), digits.batches())])


def learning(seed, steps):
    """Noisy and true gradients while the network learns, both seen along the first true one."""
    digits = Digits(seed)
    opt = optim.SGD(digits.model.parameters(), lr=0.05)
    direction = digits.gradient(digits.whole())
    direction /= np.linalg.norm(direction)
    noisy, true = [], []
    for _, batch in zip(range(steps), digits.batches()):
        noisy.append(digits.gradient(batch) @ direction)
        true.append(digits.gradient(digits.whole()) @ direction)
        opt.step(partial(digits.loss, batch))
    return np.array(noisy), np.array(true)


def train(make, lr, seed, epochs):
    """The accuracy on test digits after training by averaged gradients; by the gradients themselves if make is None."""
    digits = Digits(seed)
    opt = optim.SGD(digits.model.parameters(), lr=lr)
    opt = opt if make is None else optim.Averaged(opt, make)
    for _, batch in zip(range(epochs * len(digits.loader)), digits.batches()):
        opt.step(partial(digits.loss, batch))
    test = DataLoader(digits.test, batch_size=len(digits.test))
    return 100 * evaluate(digits.model, nn.CrossEntropyLoss(), test, accuracy)[1]


def spread(values, digits=2):
    """Mean ± standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def noise_and_lag(steps):
    """For each average: what is left of the noise's variance, and the lag, as its weights say and as measured."""
    noise, ramp = at_rest(0, steps), np.arange(500.0)
    found = {}
    for name, make in AVERAGES.items():
        w = weights(make)
        left = averaged(make, noise)[50:].var() / noise.var()
        found[name] = (w**2).sum(), left, np.arange(len(w)) @ w, ramp[-1] - averaged(make, ramp)[-1]
    return found


def errors(series):
    """For each average, and the raw gradient: the root mean square of what it differs from the true gradient."""
    (noisy, true), *others = series  # the first is only to fit weights on
    fitted = WMA.fitted(noisy, true, 10)
    makes = {"no average": partial(SMA, 1), **AVERAGES, "WMA, fitted": lambda: WMA(fitted.weights)}
    return {
        name: [np.sqrt(np.mean((averaged(make, noisy) - true)[10:] ** 2)) for noisy, true in others]
        for name, make in makes.items()
    }


def lessons(missed, tests, rates):
    """What the tables say."""
    miss = {name: np.mean(values) for name, values in missed.items()}
    nearest = min(miss, key=miss.get)
    yield "At equal lag an SMA and an EWMA leave the same noise, 1 / (1 + 2 lag); weights that fall and end do better."
    yield "    (Long averages leave less than that: the batches of an epoch share no image, and their noise cancels.)"
    far = miss["no average"] / miss[nearest]
    yield f"While the network learns, one batch's gradient is {far:.1f} times as far from the true one as {nearest}."
    for k, lr in enumerate(rates):
        means = {name: np.mean(values[k]) for name, values in tests.items()}
        noise = np.sqrt(np.mean([np.var(values[k]) for values in tests.values()]))
        *_, best = sorted(means, key=means.get)
        plain, clear = (
            means["no average"],
            "clearly" if means[best] - means["no average"] > 2 * noise else "not clearly",
        )
        yield f"At rate {lr:g}, {best} reads {means[best]:.1f} %, {clear} more than without, {plain:.1f} %."


def show(series, found):
    """The averages over a learning network's gradients; their weights; noise against lag; the starts of an EWMA."""
    figure, ((top, memory), (trade, starts)) = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    noisy, true = series
    top.plot(noisy, ".", color="0.7", markersize=3, label="of a batch")
    top.plot(true, "k", label="true")
    for k, (name, make) in enumerate(AVERAGES.items()):
        if name in ("SMA(5)", "SMA(20)", "EWMA(0.9)"):
            top.plot(averaged(make, noisy), color=COLOURS[k], label=name)
        memory.plot(weights(make)[:30], "o-", markersize=3, color=COLOURS[k], label=name)
        expected, left, lag, _ = found[name]
        trade.plot(lag, left, "o", color=COLOURS[k], label=name)
        trade.plot(lag, expected, "_", color="black", markersize=14)
    lag = np.linspace(0, 15, 100)  # of SMA(k) (k - 1)/2, and 1/k is left; of EWMA(α) α/(1 - α), and (1 - α)/(1 + α)
    trade.plot(lag, 1 / (1 + 2 * lag), color="0.7", label="any SMA, any EWMA", zorder=0)
    for k, (name, make) in enumerate(STARTS.items()):
        starts.plot(averaged(make, noisy[:60]), color=COLOURS[k], label=f"start: {name}")
    starts.plot(true[:60], "k", label="true")
    top.set(title="gradient of a learning network, along its first direction", xlabel="step")
    memory.set(title="weight of a value by its age", xlabel="age in steps")
    trade.set(title="noise against lag (bars: as the weights say)", xlabel="lag in steps", ylabel="variance left")
    trade.set(yscale="log")
    starts.set(title="EWMA(0.9) at its start", xlabel="step")
    for axes in (top, memory, trade, starts):
        axes.legend(fontsize="small")
    figure.savefig(OUTPUT / "averages.png", dpi=110)
    plt.close(figure)


def main(seeds=range(5), steps=300, epochs=10, rates=(0.1, 1.0)):
    OUTPUT.mkdir(exist_ok=True)
    found = noise_and_lag(steps=10 * steps)
    print(f"{'':14} {'variance left':>22} {'lag in steps':>20}\n{'':14} {'weights':>11} {'measured':>10}", end="")
    print(f" {'weights':>10} {'measured':>9}")
    for name, (expected, left, lag, measured) in found.items():
        print(f"{name:14} {expected:11.3f} {left:10.3f} {lag:10.2f} {measured:9.2f}")

    series = [learning(seed, steps) for seed in tqdm([100, *seeds], unit="run", disable=None)]
    print("\ndistance from the true gradient while learning (root mean square; mean ± standard deviation of seeds):")
    missed = errors(series)
    for name, values in missed.items():
        print(f"{name:14} {spread(values, 4)}")

    print("\ntest accuracy, %, when the average takes the gradient's place, by rate:")
    print(f"{'':14} " + " ".join(f"{lr:>13g}" for lr in rates))
    tests = {}
    for name, make in tqdm({"no average": None, **AVERAGES}.items(), unit="average", disable=None):
        tests[name] = [[train(make, lr, seed, epochs) for seed in seeds] for lr in rates]
        print(f"{name:14} " + " ".join(f"{spread(values, 1):>13}" for values in tests[name]))
    show(series[1], found)
    print("", *lessons(missed, tests, rates), sep="\n")
    return found, missed, tests


if __name__ == "__main__":
    main()
    print("picture: examples/output/averages.png")
