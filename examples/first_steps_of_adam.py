"""What happens in Adam's first steps if its averages are not corrected for starting at zero?

Adam divides m, an average of gradients, by √v, v an average of their squares. Both start at zero and after t steps of a
constant gradient hold only 1 - β₁ᵗ and 1 - β₂ᵗ of what they should. With β₁ = 0.9 and β₂ = 0.999 v lags far behind m,
the quotient is too large, and Adam without its correction takes steps (1 - β₁ᵗ) / √(1 - β₂ᵗ) times too long.

    python examples/first_steps_of_adam.py

First the length of every step under a constant gradient is held against that formula. Then both forms walk down
Rosenbrock's valley. Then both train a network on scikit-learn's digits, at three rates from five seeds: does it matter?
Pictures go to examples/output/first_steps_of_adam*.png.
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
from minigrad.training import accuracy, fit
from optim.landscape.surfaces import rosenbrock
from optim.trajectory import Trajectory, animate, draw, record
from optim.trajectory.drawing import COLOURS

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"

FORMS = {
    "corrected": optim.Adam,
    "not corrected": partial(optim.Adam, bias_correction=False),
}
RATES = (1e-3, 1e-2, 5e-2)


def step_lengths(make, steps):
    """How long each step is under a constant gradient of 1, in units of the rate."""
    p = mg.tensor(np.zeros(1), requires_grad=True)
    path = Trajectory(make([p], lr=1.0))
    for _ in range(steps):
        path.step(lambda: p.sum())
    return -np.diff(path.points[:, 0])


def train(make, lr, seed, epochs):
    """Train a 64-64-10 network on digits. Returns what `fit` saw."""
    images, labels = load_digits(return_X_y=True)
    mg.manual_seed(seed)
    train, test = random_split(TensorDataset((images / 16).astype(np.float32), labels), [0.8, 0.2])
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return fit(
        model,
        nn.CrossEntropyLoss(),
        make(model.parameters(), lr=lr),
        DataLoader(train, batch_size=64, shuffle=True),
        epochs,
        validation=DataLoader(test, batch_size=len(test)),
        metric=accuracy,
        progress=False,
    )


def spread(values, digits=2):
    """Mean ± standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def table(results):
    """For each rate and form: the highest of the first 50 losses, the last epoch's, and the accuracy on test digits."""
    lines = [f"{'rate':6} {'form':14} {'highest early loss':>20} {'final loss':>17} {'test, %':>13}"]
    for (lr, form), histories in results.items():
        early = spread([max(history.loss[:50]) for history in histories])
        final = spread([history.epoch_loss() for history in histories], 4)
        test = spread([100 * history.validation_metric[-1] for history in histories], 1)
        lines.append(f"{lr:<6g} {form:14} {early:>20} {final:>17} {test:>13}")
    return "\n".join(lines)


def lessons(results):
    """What the table says of each rate."""
    for lr in RATES:
        tests = [np.array([100 * history.validation_metric[-1] for history in results[lr, form]]) for form in FORMS]
        (corrected, not_corrected), noise = np.mean(tests, axis=1), np.sqrt(np.var(tests, axis=1).mean())
        gain = not_corrected - corrected
        verdict = "no clear effect" if abs(gain) < 2 * noise else "long first steps " + ("help" if gain > 0 else "hurt")
        yield f"at rate {lr:g}, {not_corrected:.1f} % without the correction and {corrected:.1f} % with it: {verdict}"


def show(lengths, results):
    """Step lengths beside the formula, and the training loss of the first steps at each rate."""
    figure, panels = plt.subplots(1, 1 + len(RATES), figsize=(16, 4), layout="constrained")
    t = np.arange(1, len(lengths["corrected"]) + 1)
    for k, (form, values) in enumerate(lengths.items()):
        panels[0].semilogx(t, values, color=COLOURS[k], label=form)
    panels[0].semilogx(t, (1 - 0.9**t) / np.sqrt(1 - 0.999**t), "k:", label="(1 - β₁ᵗ) / √(1 - β₂ᵗ)")
    panels[0].set(title="a constant gradient", xlabel="step", ylabel="length of the step / rate", ylim=(0, 10))
    panels[0].legend()
    for axes, lr in zip(panels[1:], RATES):
        for k, form in enumerate(FORMS):
            losses = np.array([history.loss[:100] for history in results[lr, form]])
            steps = np.arange(1, losses.shape[1] + 1)
            axes.semilogy(steps, losses.mean(axis=0), color=COLOURS[k], label=form)
            axes.fill_between(steps, losses.min(axis=0), losses.max(axis=0), color=COLOURS[k], alpha=0.2)
        axes.set(title=f"digits, rate {lr:g}", xlabel="step", ylabel="training loss")
        axes.legend()
    figure.savefig(OUTPUT / "first_steps_of_adam.png", dpi=110)
    plt.close(figure)


def main(seeds=range(5), epochs=20):
    OUTPUT.mkdir(exist_ok=True)
    lengths = {form: step_lengths(make, 2000) for form, make in FORMS.items()}
    lengths["RAdam"] = step_lengths(optim.RAdam, 2000)
    longest = lengths["not corrected"].argmax()
    print(f"step 1 is {lengths['not corrected'][0]:.2f} times the rate without the correction, and 1 with it;")
    print(
        f"step {longest + 1} is the longest, {lengths['not corrected'][longest]:.2f} times; step 1000 is still", end=" "
    )
    print(f"{lengths['not corrected'][999]:.2f} times.")
    print(f"RAdam takes its step 6, the first that it adapts, only {lengths['RAdam'][5]:.3f} times the rate.\n")

    paths = [record(rosenbrock, partial(make, lr=0.1), steps=60, name=form) for form, make in FORMS.items()]
    draw(paths, every=5).savefig(OUTPUT / "first_steps_of_adam_rosenbrock.png", dpi=110)
    animate(paths, OUTPUT / "first_steps_of_adam_rosenbrock.gif")

    runs = [(lr, form) for lr in RATES for form in FORMS]
    results = {}
    for lr, form in tqdm(runs, unit="setting", disable=None):
        results[lr, form] = [train(FORMS[form], lr, seed, epochs) for seed in seeds]
    print(f"digits, {len(seeds)} seeds, mean ± standard deviation:\n{table(results)}\n")
    print(*lessons(results), sep="\n")
    show(lengths, results)
    return lengths, results


if __name__ == "__main__":
    main()
    print("pictures: examples/output/first_steps_of_adam*")
