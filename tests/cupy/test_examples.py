"""The networks of the examples take their training steps on the double, with nothing copied and nothing waited for."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.nn import functional as F
from tests.cupy.device import free

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def digits(part):
    return lambda names: (names[part](), mg.rand(4, 1, 8, 8), 10)


def deep(layer):
    return lambda names: (nn.Sequential(names[layer](), names[layer]()), mg.rand(4, names["WIDTH"]), names["WIDTH"])


def words(part):
    return lambda names: (names[part](), np.arange(12).reshape(3, 4), None)


STEPS = {
    "digits.py, perceptron": digits("perceptron"),
    "digits.py, convolutional": digits("convolutional"),
    "deep_plain_vs_residual.py, plain": deep("plain_layer"),
    "char_lm.py, recurrent": words("RecurrentNet"),
    "char_lm.py, transformer": words("Transformer"),
    "kfac_digits.py": lambda names: (names["network"](), mg.rand(4, 64), 10),
    "sharp_and_flat.py": lambda names: (names["network"](2), mg.rand(4, 64), 10),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_an_example_stays_on_the_device(double, name):
    mg.manual_seed(0)
    model, x, classes = STEPS[name](runpy.run_path(str(EXAMPLES / name.partition(",")[0])))
    model.to("cuda")
    x = mg.tensor(x, device="cuda")
    shape = model(x).shape
    y = mg.tensor(np.random.default_rng(0).integers(0, classes or shape[-1], shape[:-1]), device="cuda")
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)

    def loss():
        z = model(x)
        return F.cross_entropy(z.reshape(-1, z.shape[-1]), y.reshape(-1))

    before = loss().item()
    with free():
        for _ in range(3):
            optimizer.step(loss)
    assert loss().item() < before
