"""Why did very deep networks not learn, and what cured them?

Data: scikit-learn's 1,797 handwritten digits. Two layers of 64 ReLUs learn them easily; twenty do not learn at all, if
their initial weights are what is usual for a shallow network (PyTorch's default for Linear, variance 1 / (3 fan_in)).
Each such layer makes the gradient that passes back through it about √6 times smaller, so that what reaches the first
layers is nothing: the gradient has vanished. Three cures are tried, each alone:

    Kaiming      initial weights with variance 2 / fan_in, with which ReLU layers keep the size of signal and gradient
    batch norm   every layer's output is scaled to variance 1 again, whatever its weights did to it
    residual     a layer computes x + f(x): the gradient has a way back on which nothing is multiplied

    python examples/deep_plain_vs_residual.py

The picture, examples/output/deep_plain_vs_residual.png, shows the size of the gradient in each layer before the first
step, and the loss as each network learns. All three cures bring the gradient back and let the network learn. With batch
norm it grows towards the first layers, which limits the depth that batch norm alone can carry; with residual
connections twenty layers learn faster than two.
"""

from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.training import accuracy, fit

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
DEPTH, WIDTH, EPOCHS = 20, 64, 10


def plain_layer():
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())


def kaiming_layer():
    layer = plain_layer()
    nn.init.kaiming_normal_(layer[0].weight, nonlinearity="relu")
    nn.init.zeros_(layer[0].bias)
    return layer


def batch_norm_layer():
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())


def residual_layer():
    return nn.Residual(nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, WIDTH)))


NETWORKS = {
    "2 plain layers": (plain_layer, 2),
    "plain": (plain_layer, DEPTH),
    "Kaiming": (kaiming_layer, DEPTH),
    "batch norm": (batch_norm_layer, DEPTH),
    "residual": (residual_layer, DEPTH),
}


def digits():
    """Images (N, 64) with mean 0 and variance 1, and labels, in a training and a test set."""
    images, labels = load_digits(return_X_y=True)
    images = ((images - images.mean()) / images.std()).astype(np.float32)
    return random_split(TensorDataset(images, labels), [0.8, 0.2])


def gradient_by_layer(model, batch):
    """The norm of the gradient of the loss in each layer's weights, from the first to the last."""
    images, labels = batch
    loss = nn.functional.cross_entropy(model(images), labels)
    weights = [p for name, p in model.named_parameters() if p.ndim == 2]
    return [float(mg.sqrt((g * g).sum())) for g in mg.grad(loss, weights)]


def main():
    OUTPUT.mkdir(exist_ok=True)
    mg.manual_seed(0)
    train, test = digits()
    figure, (gradients, losses) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, (layer, depth) in NETWORKS.items():
        model = nn.Sequential(*(layer() for _ in range(depth)), nn.Linear(WIDTH, 10))
        norms = gradient_by_layer(model, train[np.arange(128)])
        history = fit(
            model,
            nn.CrossEntropyLoss(),
            optim.SGD(model.parameters(), lr=0.005, momentum=0.9),
            DataLoader(train, batch_size=64, shuffle=True),
            EPOCHS,
            validation=DataLoader(test, batch_size=len(test)),
            metric=accuracy,
        )
        print(
            f"{name:14}  gradient in layer 1: {norms[0]:.0e}, in layer {depth}: {norms[-2]:.0e};  "
            f"after {EPOCHS} epochs test accuracy {history.validation_metric[-1]:.1%}"
        )
        gradients.semilogy(range(1, depth + 2), norms, marker=".", label=name)
        losses.plot(range(1, EPOCHS + 1), [history.epoch_loss(k) for k in range(EPOCHS)], marker=".", label=name)
    gradients.set(title="gradient of each layer's weights, before the first step", xlabel="layer", ylabel="norm")
    gradients.set_xticks(range(1, DEPTH + 2, 4))
    gradients.legend(loc="lower right")
    losses.set(title="training loss", xlabel="epoch", ylim=(0, None))
    figure.savefig(OUTPUT / "deep_plain_vs_residual.png", dpi=120)
    print("picture: examples/output/deep_plain_vs_residual.png")


if __name__ == "__main__":
    main()
