"""Initial values: each distribution against its own mean, variance and bounds, and those that layers start with."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

INF = math.inf
# A drawing of (200, 300) numbers: fan_in 300, fan_out 200. Name: (how, mean, standard deviation, bound).
# fmt: off
DRAWN = {
    "uniform":         (lambda t: nn.init.uniform_(t, -1, 3),                          1.0, 4 / math.sqrt(12),       3),
    "normal":          (lambda t: nn.init.normal_(t, 2, 3),                            2.0, 3.0,                     INF),
    "xavier_uniform":  (lambda t: nn.init.xavier_uniform_(t, gain=2),                  0.0, 2 * math.sqrt(2 / 500),  2 * math.sqrt(6 / 500)),
    "xavier_normal":   (lambda t: nn.init.xavier_normal_(t),                           0.0, math.sqrt(2 / 500),      INF),
    "kaiming_uniform": (lambda t: nn.init.kaiming_uniform_(t, nonlinearity="relu"),    0.0, math.sqrt(2 / 300),      math.sqrt(6 / 300)),
    "kaiming_slope":   (lambda t: nn.init.kaiming_uniform_(t, a=math.sqrt(5)),         0.0, math.sqrt(1 / 900),      math.sqrt(1 / 300)),
    "kaiming_normal":  (lambda t: nn.init.kaiming_normal_(t, mode="fan_out"),          0.0, math.sqrt(2 / 200),      INF),
    "linear":          (lambda t: nn.Linear(300, 200).weight,                          0.0, math.sqrt(1 / 900),      math.sqrt(1 / 300)),
    "conv":            (lambda t: nn.Conv2d(60, 200, (1, 5)).weight,                   0.0, math.sqrt(1 / 900),      math.sqrt(1 / 300)),
    "conv_groups":     (lambda t: nn.Conv2d(120, 200, (1, 5), groups=2).weight,        0.0, math.sqrt(1 / 900),      math.sqrt(1 / 300)),
    "linear_bias":     (lambda t: nn.Linear(4, 60000).bias,                            0.0, math.sqrt(1 / 12),       0.5),
    "conv_bias":       (lambda t: nn.Conv2d(1, 60000, 2).bias,                         0.0, math.sqrt(1 / 12),       0.5),
    "embedding":       (lambda t: nn.Embedding(200, 300).weight,                       0.0, 1.0,                     INF),
    "recurrent":       (lambda t: nn.LSTM(3, 100).weight_hh_l0,                        0.0, math.sqrt(1 / 300),      0.1),
    "recurrent_bias":  (lambda t: nn.LSTM(3, 100).bias_hh_l0,                          0.0, math.sqrt(1 / 300),      0.1),
    "attention":       (lambda t: nn.MultiheadAttention(150, 5).in_proj_weight,        0.0, math.sqrt(2 / 600),      math.sqrt(6 / 600)),
}
# fmt: on


@pytest.mark.parametrize("name", DRAWN)
def test_values_are_drawn_from_the_distribution_that_the_name_says(name):
    draw, mean, std, bound = DRAWN[name]
    mg.manual_seed(0)
    values = draw(mg.zeros((200, 300))).data.astype(np.float64)
    n = values.size
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(values.std() / std - 1) < 5 / math.sqrt(n)
    assert np.abs(values - mean if name == "uniform" else values).max() <= bound * (1 + 1e-6)
    assert bound == INF or np.abs(values - (mean if name == "uniform" else 0)).max() > 0.6 * bound


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 2)])
def test_orthogonal_rows_or_columns_have_length_gain_and_right_angles(shape):
    mg.manual_seed(0)
    w = nn.init.orthogonal_(mg.zeros(shape, np.float64), gain=3).data.reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 9 * np.eye(len(gram)), atol=1e-12)


def test_orthogonal_matrices_favour_no_sign():
    """Without the signs of R's diagonal, LAPACK's Q of the same entry is nearly always negative."""
    mg.manual_seed(0)
    first = [nn.init.orthogonal_(mg.zeros((2, 2))).data[0, 0] for _ in range(200)]
    assert 70 < sum(x > 0 for x in first) < 130


def test_constants():
    t = mg.zeros((2, 2))
    assert (nn.init.constant_(t, 2.5).data == 2.5).all() and (nn.init.ones_(t).data == 1).all()
    assert nn.init.zeros_(t) is t and (t.data == 0).all()
    mha, norm = nn.MultiheadAttention(6, 2), nn.LayerNorm(3)
    assert (mha.in_proj_bias.data == 0).all() and (mha.out_proj.bias.data == 0).all()
    assert (norm.weight.data == 1).all() and (norm.bias.data == 0).all()


def test_gains_are_those_of_the_activations():
    gains = {"linear": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    for name, gain in gains.items():
        assert nn.init.calculate_gain(name) == pytest.approx(gain)
    assert nn.init.calculate_gain("leaky_relu", 0.5) == pytest.approx(math.sqrt(1.6))
    assert nn.init.calculate_gain("leaky_relu") == pytest.approx(math.sqrt(2 / 1.0001))


def test_the_same_seed_gives_the_same_network_and_dtype_and_array_are_kept():
    mg.manual_seed(5)
    first = nn.Linear(3, 4)
    mg.manual_seed(5)
    second = nn.Linear(3, 4)
    np.testing.assert_array_equal(first.weight.data, second.weight.data)
    data = first.to(np.float64).weight.data
    nn.init.normal_(first.weight)
    assert first.weight.data is data and data.dtype == np.float64


def test_new_values_between_forward_and_backward_are_noticed():
    layer = nn.Linear(2, 2)
    loss = (layer(mg.ones((1, 2))) @ layer.weight).sum()
    nn.init.ones_(layer.weight)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.init.xavier_uniform_(mg.zeros(3)), ValueError, r"\(3,\).*2 axes"),
        (lambda: nn.init.orthogonal_(mg.zeros(3)), ValueError, r"\(3,\).*2 axes"),
        (lambda: nn.init.kaiming_normal_(mg.zeros((2, 2)), mode="fan"), ValueError, "'fan'"),
        (lambda: nn.init.calculate_gain("swish"), ValueError, "'swish'"),
        (lambda: nn.init.zeros_(np.ones(3)), TypeError, "ndarray"),
    ],
)
def test_bad_calls_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
