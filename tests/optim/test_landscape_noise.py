"""Noise falls as 1/m, with the constant that the covariance of single examples' gradients gives it."""

import io

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.data import Subset, TensorDataset
from minigrad.functional import cross_entropy, mse_loss
from optim.landscape import gradient_noise


@pytest.fixture
def regression():
    """A line with slope w to fit, and what its gradients are by hand: 2 (wᵀx - y) x."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 1))
    model = nn.Linear(3, 1, bias=False).to(np.float64)
    gradients = 2 * (x @ model.weight.data.T - y) * x
    return model, TensorDataset(x, y), gradients


def test_trace_and_norm_are_those_of_gradients_by_hand(regression):
    model, data, gradients = regression
    noise = gradient_noise(model, mse_loss, data, [1], draws=1)
    np.testing.assert_allclose(noise.trace, np.trace(np.cov(gradients.T, bias=True)), rtol=1e-12)
    np.testing.assert_allclose(noise.gradient_norm, np.linalg.norm(gradients.mean(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(noise.noise_scale, noise.trace / noise.gradient_norm**2)


def test_the_variance_is_the_trace_over_the_batch_size(regression):
    model, data, _ = regression
    noise = gradient_noise(model, mse_loss, data, [1, 4, 16, 64, 256], draws=1000)
    np.testing.assert_allclose(noise.variance * noise.batch_sizes, noise.trace, rtol=0.15)
    np.testing.assert_allclose(noise.exponent, -1, atol=0.05)


def test_a_part_of_the_data_has_the_noise_of_that_part(regression):
    model, data, gradients = regression
    noise = gradient_noise(model, mse_loss, Subset(data, np.arange(5, 12)), [1], draws=1)
    np.testing.assert_allclose(noise.trace, np.trace(np.cov(gradients[5:12].T, bias=True)), rtol=1e-12)


def test_data_without_differences_have_no_noise(regression):
    model, _, _ = regression
    noise = gradient_noise(model, mse_loss, TensorDataset(np.ones((5, 3)), np.ones((5, 1))), [1, 2], draws=3)
    np.testing.assert_allclose([noise.trace, *noise.variance], 0, atol=1e-25)


def test_dropout_is_off_and_batch_norm_does_not_mix_examples():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.standard_normal((20, 4)).astype(np.float32), rng.integers(3, size=20))
    before = mg.get_rng_state(), {k: v.data.copy() for k, v in model.state_dict().items()}
    noise = gradient_noise(model, cross_entropy, data, [1, 16], draws=200)
    np.testing.assert_allclose(noise.variance * [1, 16], noise.trace, rtol=0.3)
    assert mg.get_rng_state() == before[0]
    for k, v in model.state_dict().items():
        np.testing.assert_array_equal(v.data, before[1][k])
    assert all(module.training for module in model.modules())


def test_the_picture_has_the_theory_and_the_noise_scale(regression):
    model, data, _ = regression
    figure = gradient_noise(model, mse_loss, data, [1, 10, 100, 1000], draws=5).draw()
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:3] == ["tr Σ / m", "measured, ‖ĝ - g‖²", "‖g‖²"]
    assert labels[3].startswith("noise scale B = ")
    assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("batch size m", "log", "log")
    figure.savefig(io.BytesIO())


def test_bad_settings_are_named(regression):
    model, data, _ = regression
    for settings, words in (
        ({"batch_sizes": []}, "batch_sizes"),
        ({"batch_sizes": [0]}, "batch_sizes"),
        ({"draws": 0}, "draws = 0"),
    ):
        with pytest.raises(ValueError, match=f"gradient_noise: {words}"):
            gradient_noise(model, mse_loss, data, **settings)
    with pytest.raises(ValueError, match="1 examples; wanted two"):
        gradient_noise(model, mse_loss, Subset(data, [0]))
    with pytest.raises(TypeError, match=r"model is an nn\.Module"):
        gradient_noise(lambda x: x, mse_loss, data)
