"""What is a schedule of the learning rate good for: warm-up, decay, large batches?

Four experiments on scikit-learn's digits, each from five seeds:

1. decay: momentum at one large rate ε₀, held constant or lowered by five schedules;
2. linear scaling: batches k times as large take a k-th of the steps. Does k times the rate make good for it (Goyal et
   al. 2017), and how far? With warm-up and without;
3. warm-up: Adam with a large batch, at rates that its first steps cannot bear;
4. LAMB against Adam: a deeper network, a large batch and large rates, cosine decay, with warm-up and without.

    python examples/schedules.py

The picture examples/output/schedules.png shows the schedules, and of each other experiment mean and range.
"""

import itertools
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
from minigrad.training import accuracy, fit
from optim import lr_scheduler
from optim.lr_scheduler import CosineAnnealingLR, LinearWarmup, linear_scaling
from optim.trajectory.drawing import COLOURS

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"

SMALL, MIDDLE, DEEP = (64, 64, 10), (64, 128, 128, 10), (64, 128, 128, 128, 128, 128, 10)
momentum = partial(optim.SGD, momentum=0.9)

# A schedule for n steps.
SCHEDULES = {
    "constant": lambda opt, n: lr_scheduler.LambdaLR(opt, lambda t: 1.0),
    "steps": lambda opt, n: lr_scheduler.StepLR(opt, step_size=n // 3, gamma=0.1),
    "exponential": lambda opt, n: lr_scheduler.ExponentialLR(opt, rate=5 / n),
    "cosine": lambda opt, n: CosineAnnealingLR(opt, T_max=n),
    "warm restarts": lambda opt, n: lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=n // 7, T_mult=2),
    "warm-up, cosine": lambda opt, n: LinearWarmup(opt, n // 10, after=CosineAnnealingLR(opt, T_max=n)),
}


# With warm-up: a fifth of all steps.
constant, cosine = SCHEDULES["constant"], SCHEDULES["cosine"]
warmed = lambda opt, n: LinearWarmup(opt, max(1, n // 5))
warmed_cosine = lambda opt, n: LinearWarmup(opt, max(1, n // 5), after=cosine(opt, n))


def train(sizes, make, lr, batch_size, schedule, epochs, seed):
    """The training loss in the last epoch, and the accuracy on test digits in percent."""
    images, labels = load_digits(return_X_y=True)
    mg.manual_seed(seed)
    train, test = random_split(TensorDataset((images / 16).astype(np.float32), labels), [0.8, 0.2])
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    loader = DataLoader(train, batch_size=batch_size, shuffle=True)
    opt = make(model.parameters(), lr=lr)
    with np.errstate(all="ignore"):  # a rate that is too large overflows, and loses
        history = fit(
            model,
            nn.CrossEntropyLoss(),
            opt,
            loader,
            epochs,
            validation=DataLoader(test, batch_size=len(test)),
            metric=accuracy,
            scheduler=schedule(opt, epochs * len(loader)),
            scheduler_each="step",
            progress=False,
        )
    return history.epoch_loss(), 100 * history.validation_metric[-1]


def spread(values, digits=1):
    """Mean ± standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def repeat(seeds, *settings):
    """Losses and accuracies of all seeds, an array each."""
    return np.array([train(*settings, seed) for seed in seeds]).T


def decay(seeds, epochs=30, lr=0.5):
    """1. Loss and accuracy for each schedule."""
    runs = tqdm(SCHEDULES.items(), desc="decay", disable=None)
    return {name: repeat(seeds, SMALL, momentum, lr, 64, schedule, epochs) for name, schedule in runs}


def scaling(seeds, epochs=10, batch_sizes=(16, 32, 64, 128, 256, 512), lr=0.02):
    """2. Loss and accuracy for each rule and batch size."""
    found = {}
    for batch_size in tqdm(batch_sizes, desc="linear scaling", disable=None):
        scaled = linear_scaling(lr, batch_size, batch_sizes[0])
        for rule, rate, schedule in [
            ("the same rate", lr, constant),
            ("k times the rate", scaled, constant),
            ("k times, with warm-up", scaled, warmed),
        ]:
            found[rule, batch_size] = repeat(seeds, SMALL, momentum, rate, batch_size, schedule, epochs)
    return found


def warm_up(seeds, epochs=30, rates=(0.03, 0.1, 0.2)):
    """3. Loss and accuracy for each rate, with warm-up and without."""
    runs = [(name, lr) for name in ("without", "with") for lr in rates]
    schedules = {"without": constant, "with": warmed}
    runs = tqdm(runs, desc="warm-up", disable=None)
    return {(name, lr): repeat(seeds, MIDDLE, optim.Adam, lr, 512, schedules[name], epochs) for name, lr in runs}


def large_batch(seeds, epochs=30, rates=(0.035, 0.07, 0.1)):
    """4. Loss and accuracy for each method and rate."""
    methods = {
        "Adam": (optim.Adam, cosine),
        "LAMB": (optim.LAMB, cosine),
        "Adam, warm-up": (optim.Adam, warmed_cosine),
        "LAMB, warm-up": (optim.LAMB, warmed_cosine),
    }
    runs = tqdm([(name, lr) for name in methods for lr in rates], desc="large batch", disable=None)
    found = {}
    for name, lr in runs:
        make, schedule = methods[name]
        found[name, lr] = repeat(seeds, DEEP, make, lr, 512, schedule, epochs)
    return found


def report(title, found):
    """A line for each setting."""
    print(f"\n{title}\n{'':34} {'training loss':>16} {'test, %':>13}")
    for setting, (losses, tests) in found.items():
        name = setting if isinstance(setting, str) else ", ".join(map(str, setting))
        print(f"  {name:32} {spread(losses, 3):>16} {spread(tests):>13}")


def lessons(decayed, scaled, warm, large):
    """What the tables say."""
    test = {setting: np.mean(tests) for setting, (_, tests) in (decayed | warm | large).items()}
    loss = {setting: np.mean(losses) for setting, (losses, _) in (decayed | scaled).items()}
    best = min(decayed, key=lambda name: loss[name])
    batch_sizes = sorted({size for _, size in scaled})
    first = loss["k times the rate", batch_sizes[0]]
    held = [size for size in batch_sizes if loss["k times the rate", size] < 1.2 * first]
    warmer = np.mean([loss["k times, with warm-up", size] - loss["k times the rate", size] for size in batch_sizes])
    (*_, high), (*_, rate, _) = ([lr for _, lr in found] for found in (warm, large))
    return f"""
1. A rate that falls ends lower: loss {loss[best]:.4f} ({best}) against {loss["constant"]:.4f}; on test digits
   that makes {test[best] - test["constant"]:+.1f} points.
2. With k times the rate the loss stays what it was up to a batch of {held[-1]}; with the same rate it grows from
   {first:.2f} to {loss["the same rate", batch_sizes[-1]]:.2f}. Warm-up does not help here (losses {warmer:+.3f}).
3. At the rate {high:g} Adam reads {test["without", high]:.0f} % without warm-up and {test["with", high]:.0f} % with it.
4. At the rate {rate:g} Adam reads {test["Adam", rate]:.0f} %, with warm-up {test["Adam, warm-up", rate]:.0f} %;
   LAMB reads {test["LAMB", rate]:.0f} %, with warm-up {test["LAMB, warm-up", rate]:.0f} %."""


def curves(axes, found, which):
    """A line for each first half of the settings over their second: mean and range of losses (0) or accuracies (1)."""
    xs = sorted({x for _, x in found})
    for k, name in enumerate(dict.fromkeys(name for name, _ in found)):
        values = np.array([found[name, x][which] for x in xs])
        axes.plot(xs, values.mean(axis=1), "o-", color=COLOURS[k], label=name)
        axes.fill_between(xs, values.min(axis=1), values.max(axis=1), color=COLOURS[k], alpha=0.15)
    axes.set(xscale="log")
    axes.set_xticks(xs, map(str, xs))
    axes.minorticks_off()
    axes.legend()


def show(scaled, warm, large):
    """The schedules, and the three experiments that have an axis."""
    figure, ((forms, losses), (early, layers)) = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for name, schedule in SCHEDULES.items():
        opt = optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        lr_scheduler.draw(schedule(opt, 700), 700, ax=forms, label=name)
    for k, line in enumerate(forms.lines):
        line.set_color(COLOURS[k])
    forms.set(title="schedules", xlabel="step", ylabel="rate / ε₀", xlim=(None, 1100))
    forms.legend()
    losses.set(title="linear scaling, momentum", xlabel="batch size", ylabel="training loss", yscale="log")
    curves(losses, scaled, 0)
    early.set(title="Adam, batch 512: warm-up", xlabel="rate", ylabel="test accuracy, %")
    curves(early, warm, 1)
    layers.set(title="batch 512, deeper network, cosine", xlabel="rate", ylabel="test accuracy, %")
    curves(layers, large, 1)
    figure.savefig(OUTPUT / "schedules.png", dpi=110)
    plt.close(figure)


def main(seeds=range(5)):
    OUTPUT.mkdir(exist_ok=True)
    print(f"digits; mean ± standard deviation of {len(seeds)} seeds")
    report("1. momentum, batch 64, ε₀ = 0.5, 30 epochs", decayed := decay(seeds))
    report("2. momentum, batch size by batch size, 10 epochs", scaled := scaling(seeds))
    report("3. Adam, batch 512, rate by rate, 30 epochs: without and with warm-up", warm := warm_up(seeds))
    report("4. batch 512, six layers, cosine, rate by rate, 30 epochs", large := large_batch(seeds))
    print(lessons(decayed, scaled, warm, large))
    show(scaled, warm, large)
    return decayed, scaled, warm, large


if __name__ == "__main__":
    main()
    print("picture: examples/output/schedules.png")
