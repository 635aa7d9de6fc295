"""How good is the gradient of a small batch, and what does a larger one buy?

The gradient ĝ of m random examples is that of all data plus noise of variance tr Σ / m, where Σ is the covariance of
single examples' gradients: twice the batch halves the variance, for twice the work. The noise scale B = tr Σ / ‖g‖² is
the batch size at which noise and gradient are equally long (McCandlish et al. 2018): well below it a larger batch
points better, well above it nothing is left to gain.

    python examples/gradient_noise.py

A network, 64-32-10, learns scikit-learn's digits. Before training, after ten epochs and after forty, the variance is
measured on random batches of 1 to 512 and compared with tr Σ / m. The gradient shrinks more than the noise, so B grows:
late in training small batches mostly stir. What that does to SGD is seen where the minimum is known, in softmax
regression with weight decay. At a constant rate the loss falls fast, then stays where noise and slope balance, the
lower the smaller the rate. With a rate that falls as 1/t its error falls as 1/t. Gradient descent on all data is
linear. The picture is examples/output/gradient_noise.png.
"""

from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset
from minigrad.functional import cross_entropy
from minigrad.training import fit
from optim.landscape import convergence_rate, gradient_noise
from optim.trajectory.drawing import style

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
DRAWS = 150
STEPS, EVERY = 5000, 50
DECAY = 0.02


def digits():
    """The digits in [0, 1], (N, 64), and their labels."""
    images, labels = load_digits(return_X_y=True)
    return TensorDataset((images / 16).astype(np.float32), labels)


def noise_in_training(data):
    """The noise of the gradient before training, after ten epochs and after forty."""
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    opt, history, found = optim.Adam(model.parameters(), lr=1e-3), None, {}
    for epochs in (0, 10, 40):
        if epochs:
            loader = DataLoader(data, batch_size=64, shuffle=True)
            history = fit(model, nn.CrossEntropyLoss(), opt, loader, epochs, history=history, progress=False)
        noise = found[epochs] = gradient_noise(model, cross_entropy, data, SIZES, DRAWS)
        print(
            f"after {epochs:2} epochs: variance falls as m^{noise.exponent:.2f}; ‖g‖² = {noise.gradient_norm**2:.2e}, "
            f"tr Σ = {noise.trace:.2e}, noise scale B = {noise.noise_scale:,.0f}"
        )
    return found


def regression(data):
    """Softmax regression with weight decay: the weights, the loss of a batch of indices, and the lowest loss."""
    x, y = (t.numpy() for t in data[:])
    x = np.c_[x, np.ones(len(x))].astype(np.float64)
    w = mg.zeros((65, 10), dtype=np.float64, requires_grad=True)

    def loss(indices=slice(None)):
        return cross_entropy(x[indices] @ w, y[indices]) + DECAY / 2 * (w * w).sum()

    opt = optim.LBFGS([w], max_iter=500, tolerance_grad=1e-10, tolerance_change=0.0, line_search_fn="strong_wolfe")
    opt.step(loss)
    return w, loss, loss().item()


RATES = {
    "all data, rate 0.5": lambda t: 0.5,
    "batches of 8, rate 0.5": lambda t: 0.5,
    "batches of 8, rate 0.05": lambda t: 0.05,
    "batches of 8, rate 1 / (λ (t + 100))": lambda t: 1 / (DECAY * (t + 100)),
}


def descend(data, name):
    """The loss above the lowest every so many steps on the way from 0, of random batches the mean of four runs."""
    w, loss, lowest = regression(data)
    rng, runs = np.random.default_rng(0), 1 if name.startswith("all") else 4
    errors = np.zeros((runs, STEPS // EVERY))
    for run in range(runs):
        w.data[...] = 0
        w.mark_changed()
        opt = optim.SGD([w], lr=1.0)
        for t in range(STEPS):
            if t % EVERY == 0:
                errors[run, t // EVERY] = loss().item() - lowest
            opt.param_groups[0]["lr"] = RATES[name](t)
            batch = slice(None) if name.startswith("all") else rng.integers(len(data), size=8)
            opt.step(lambda batch=batch: loss(batch))
    return errors.mean(axis=0)


def law(values):
    """In words, how errors fall in the second half, above rounding."""
    rate = convergence_rate(values[: np.argmax(values < 1e-12) or None])
    if rate.kind == "linear" and rate.value < 0.9:
        return f"falls as {rate.value ** (1 / EVERY):.3f}^t"
    return f"falls as {rate}" if rate.kind == "sublinear" and rate.value > 0.5 else "falls no more"


def draw(found, errors):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    for k, (epochs, noise) in enumerate(found.items()):
        colour = style(k)["color"]
        left.loglog(SIZES, noise.variance, "o^s"[k], color=colour, label=f"after {epochs} epochs, measured")
        left.loglog(SIZES, noise.trace / np.array(SIZES), color=colour, label="    tr Σ / m")
        left.axhline(noise.gradient_norm**2, color=colour, linestyle=":", label="    ‖g‖²")
    left.set(xlabel="batch size m", ylabel="variance of the gradient, ‖ĝ - g‖²", title="noise of a network's gradient")
    for k, (name, values) in enumerate(errors.items()):
        right.loglog(EVERY * np.arange(len(values)) + 1, np.maximum(values, 1e-12), label=name, **style(k))
    right.set(xlabel="step", ylabel="loss above the lowest", title="softmax regression")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(OUTPUT / "gradient_noise.png", dpi=110)
    plt.close(figure)


def main():
    OUTPUT.mkdir(exist_ok=True)
    data = digits()
    found = noise_in_training(data)
    errors = {name: descend(data, name) for name in tqdm(RATES, unit="run", disable=None)}
    for name, values in errors.items():
        print(f"{name:37}: after {STEPS} steps {max(values[-1], 0):.1e} above the lowest loss; {law(values)}")
    draw(found, errors)


if __name__ == "__main__":
    main()
    print("picture: examples/output/gradient_noise.png")
