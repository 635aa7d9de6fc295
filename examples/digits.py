"""Can a network built on a few hundred lines of NumPy read handwriting?

Data: scikit-learn's 1,797 handwritten digits of 8×8 pixels, which come with the package (Alpaydin and Kaynak, 1998). A
fifth of them is kept aside for the test. First the gradient of the very loss that is trained is checked against
difference quotients; then a multi-layer perceptron learns the digits, then a small convolutional network.

    make train                      (or: python examples/digits.py; on a GPU: python examples/digits.py --device cuda)

Pictures go to examples/output/: the graph of a loss, learning curves, a confusion matrix, and every mistake.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from minigrad.autograd import gradcheck
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.training import accuracy, fit

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"


def digits():
    """Images (N, 1, 8, 8) with values in [0, 1], and their labels, in a training and a test set."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return random_split(TensorDataset(images, labels), [0.8, 0.2])


def perceptron():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),  # 32 × 8 × 8
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),  # 64 × 8 × 8
        nn.ReLU(),
        nn.MaxPool2d(2),  # 64 × 4 × 4
        nn.Flatten(),
        nn.Linear(1024, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def check_gradient(model, batch):
    """Does the gradient of the loss, in every parameter of the network, agree with difference quotients?"""
    images, labels = batch
    images, model = images.astype(np.float64), model.to(np.float64)
    return gradcheck(
        lambda *_: nn.functional.cross_entropy(model(images), labels), tuple(model.parameters()), fast=True
    )


def learn(name, model, train, test, epochs, lr):
    """Train, and tell how it goes."""

    def tell(history):
        epoch = len(history.epoch_end)
        if epoch % 5 == 0:
            print(f"{name}, epoch {epoch:2}: {history.last()}")

    device = next(model.parameters()).device
    print(f"{name}, on {device}: {sum(p.size for p in model.parameters()):,} parameters")
    draw_graph(name, model, train[np.arange(32)])
    history = fit(
        model,
        nn.CrossEntropyLoss(),
        optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1),
        DataLoader(train, batch_size=32, shuffle=True, device=device),
        epochs,
        validation=DataLoader(test, batch_size=len(test), device=device),
        metric=accuracy,
        callbacks=[tell],
    )
    history.plot().savefig(OUTPUT / f"digits_{name}_learning.png", dpi=120)
    print(f"{name}: test accuracy {history.validation_metric[-1]:.1%}")


def draw_graph(name, model, batch):
    """Draw what a batch's loss is computed of; without Graphviz's program `dot`, in words that it would read."""
    images, labels = (part.to(next(model.parameters()).device) for part in batch)
    picture = mg.graph.draw(lambda: nn.functional.cross_entropy(model(images), labels), model)
    picture.write(OUTPUT / f"digits_{name}_graph.svg")


def show_mistakes(name, model, test):
    """Draw the confusion matrix, and each digit that was misread with what it is and what it was taken for."""
    images, labels = test[np.arange(len(test))]
    with mg.no_grad():
        guesses = model(images.to(next(model.parameters()).device)).argmax(axis=1).numpy()
    labels = labels.numpy()
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, guesses), 1)
    wrong = np.flatnonzero(guesses != labels)

    figure = plt.figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    axes.imshow(confusion, cmap="Blues", norm="symlog")
    for (i, j), count in np.ndenumerate(confusion):
        if count:
            axes.text(j, i, count, ha="center", va="center", color="white" if count > 10 else "black")
    axes.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="is", title=f"{name}: test digits")
    columns = max(1, int(np.ceil(np.sqrt(len(wrong)))))
    grid = right.subplots(max(1, -(-len(wrong) // columns)), columns, squeeze=False).ravel()
    for cell in grid:
        cell.axis("off")
    for cell, k in zip(grid, wrong):
        cell.imshow(images.numpy()[k, 0], cmap="gray_r")
        cell.set_title(f"{labels[k]} read as {guesses[k]}", fontsize="small")
    figure.savefig(OUTPUT / f"digits_{name}_mistakes.png", dpi=120)
    plt.close(figure)
    print(f"{name}: {len(wrong)} mistakes in {len(labels)} test digits")


def main():
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, or cuda:1 for the second of several GPUs")
    device = parser.parse_args().device
    OUTPUT.mkdir(exist_ok=True)
    mg.manual_seed(0)
    train, test = digits()
    print(f"{len(train)} digits to learn from, {len(test)} to be tested with")
    if check_gradient(perceptron(), train[np.arange(8)]):
        print("the gradient of the loss agrees with difference quotients")
    for name, model, epochs, lr in [
        ("perceptron", perceptron(), 40, 2e-3),
        ("convolutional", convolutional(), 25, 1e-3),
    ]:
        model.to(device)
        learn(name, model, train, test, epochs, lr)
        show_mistakes(name, model, test)
    print("pictures: examples/output/digits_*")


if __name__ == "__main__":
    main()
