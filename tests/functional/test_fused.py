"""Each function that is one op where it could be many, against the many: values, first and second derivatives."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.functional.activations import normal_cdf
from minigrad.functional.losses import log_loss, mean_square
from minigrad.functional.normalization import standardize

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((4, 5))
TARGET = np.array([0, 4, 2, 2])
ROWS = np.arange(4)


def mean_and_variance(x, axis):
    mean = x.mean(axis=axis, keepdims=True)
    return mean, ((x - mean) * (x - mean)).mean(axis=axis, keepdims=True)


def plain_standardize(x, axis, eps):
    mean, variance = mean_and_variance(x, axis)
    return (x - mean) / np.sqrt(variance + eps)


def plain_softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def plain_cross_entropy(x, target, weight, ignored, smoothing):
    """The mean loss as it is defined, example by example."""
    classes, total, weights = x.shape[-1], 0.0, 0.0
    for k, t in enumerate(target):
        if t != ignored:
            logs = x[k] - np.log(np.exp(x[k]).sum())
            wanted = (1 - smoothing) * np.eye(classes)[t] + smoothing / classes
            total = total - (wanted * weight * logs).sum()
            weights += weight[t]
    return total / weights


W = np.array([0.5, 1.0, 2.0, 0.3, 1.7])
ONES = np.ones(5)
P = RANDOM.random((4, 5))


def like(x, constant):
    """An array beside an array, a Tensor beside a Tensor."""
    return mg.tensor(constant) if isinstance(x, mg.Tensor) else constant


# fmt: off
PAIRS = {  # name: (the op, the composition), both functions of one Tensor
    "softmax":        (F.softmax, plain_softmax),
    "log_softmax":    (F.log_softmax, lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True))),
    "log_loss":       (lambda x: log_loss(x, like(x, P)), lambda x: -(P * (x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))).sum(axis=-1)),
    "cross_entropy":  (lambda x: F.cross_entropy(x, mg.tensor(TARGET)), lambda x: plain_cross_entropy(x, TARGET, ONES, -100, 0.0)),
    "cross_entropy, weights":   (lambda x: F.cross_entropy(x, mg.tensor(TARGET), mg.tensor(W)), lambda x: plain_cross_entropy(x, TARGET, W, -100, 0.0)),
    "cross_entropy, ignored":   (lambda x: F.cross_entropy(x, mg.tensor(TARGET), ignore_index=2), lambda x: plain_cross_entropy(x, TARGET, ONES, 2, 0.0)),
    "cross_entropy, smoothing": (lambda x: F.cross_entropy(x, mg.tensor(TARGET), label_smoothing=0.3), lambda x: plain_cross_entropy(x, TARGET, ONES, -100, 0.3)),
    "cross_entropy, all":       (lambda x: F.cross_entropy(x, mg.tensor(TARGET), mg.tensor(W), ignore_index=4, label_smoothing=0.3), lambda x: plain_cross_entropy(x, TARGET, W, 4, 0.3)),
    "mean_square":    (lambda x: mean_square(x, P), lambda x: np.square(x - P).mean()),
    "mean_square of the target": (lambda x: mean_square(P, x), lambda x: np.square(P - x).mean()),
    "standardize":    (lambda x: standardize(x, (-1,), 1e-3), lambda x: plain_standardize(x, (-1,), 1e-3)),
    "batch_norm":     (lambda x: F.batch_norm(x, training=True), lambda x: plain_standardize(x, (0,), 1e-5)),
    "layer_norm":     (lambda x: F.layer_norm(x, (4, 5)), lambda x: plain_standardize(x, (0, 1), 1e-5)),
    "silu":           (F.silu, lambda x: x / (1 + np.exp(-x))),
    "softplus":       (lambda x: F.softplus(x, 3.0), lambda x: np.log(1 + np.exp(3.0 * x)) / 3.0),
    "elu":            (lambda x: F.elu(x, 0.7), lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1))),
    "leaky_relu":     (lambda x: F.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    "gelu_tanh":      (lambda x: F.gelu(x, "tanh"), lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    "bce_with_logits": (lambda x: F.binary_cross_entropy_with_logits(x, mg.tensor(P)), lambda x: F.binary_cross_entropy(1 / (1 + np.exp(-x)), mg.tensor(P))),
    "attention":      (lambda x: F.scaled_dot_product_attention(x, x * 2, x * x), lambda x: plain_softmax(x @ (x * 2).T / math.sqrt(5)) @ (x * x)),
}
# fmt: on


@pytest.mark.parametrize("name", PAIRS)
def test_one_op_is_its_composition_in_value_and_in_both_derivatives(name):
    probe, direction = RANDOM.standard_normal((4, 5)), RANDOM.standard_normal((4, 5))

    def derivatives(function):
        x = mg.tensor(X, requires_grad=True)
        z = function(x)
        weights = probe.ravel()[: z.size].reshape(z.shape)
        (g,) = mg.grad((z * z * weights).sum(), x, create_graph=True)
        return z, g, mg.grad((g * direction).sum(), x)[0]

    for ours, plain in zip(*map(derivatives, PAIRS[name]), strict=True):
        np.testing.assert_allclose(ours.numpy(), plain.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_given_an_array_it_gives_an_array(name):
    if "cross_entropy," not in name and name != "bce_with_logits":
        z = PAIRS[name][0](X)
        assert isinstance(z, (np.ndarray, np.float64))
        np.testing.assert_array_equal(z, PAIRS[name][0](mg.tensor(X)).numpy())


@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 1e-15), (np.float32, 4e-7)])
def test_the_normal_distribution_function_is_exact_to_the_last_digits_of_its_dtype(dtype, digits):
    x = np.concatenate([np.linspace(-30, 30, 2001), [0.0, -np.inf, np.inf]]).astype(dtype)
    wanted = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()])
    ours = normal_cdf(x)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=digits)
    near = np.abs(x) < 5  # relative to Φ itself, as far as exp(-z²) has digits
    np.testing.assert_allclose(ours[near], wanted[near], rtol=30 * digits)
    assert np.isnan(normal_cdf(dtype(np.nan)))


def test_exact_gelu_is_x_times_the_normal_distribution_function():
    wanted = [x * math.erfc(-x / math.sqrt(2)) / 2 for x in X.ravel()]
    np.testing.assert_allclose(F.gelu(X).ravel(), wanted, rtol=1e-13, atol=1e-16)


def test_an_embedding_is_a_product_with_one_hot_rows():
    weight = mg.tensor(RANDOM.standard_normal((6, 3)), requires_grad=True)
    index, probe = np.array([[0, 5, 5], [2, 0, 5]]), RANDOM.standard_normal((2, 3, 3))
    z, plain = F.embedding(mg.tensor(index), weight), np.eye(6)[index] @ weight
    np.testing.assert_array_equal(z.numpy(), plain.numpy())
    (ours,), (wanted,) = mg.grad((z * probe).sum(), weight), mg.grad((plain * probe).sum(), weight)
    np.testing.assert_allclose(ours.numpy(), wanted.numpy(), rtol=1e-12)


def test_average_pooling_is_the_mean_of_each_window_with_the_zeros_around():
    x = RANDOM.standard_normal((2, 3, 5, 6))
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    z = F.avg_pool2d(x, (3, 2), stride=(2, 3), padding=(1, 0))
    assert z.shape == (2, 3, 3, 2)
    for i in range(3):
        for j in range(2):
            window = framed[:, :, 2 * i : 2 * i + 3, 3 * j : 3 * j + 2]
            np.testing.assert_allclose(z[:, :, i, j], window.mean(axis=(2, 3)), rtol=1e-12)
