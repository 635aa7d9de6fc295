"""Where formulas overflow, divide by zero or have a kink: what the functions give there, and what they refuse."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F

INF = math.inf


def leaf(values):
    return mg.tensor(np.array(values, np.float64), requires_grad=True)


def value_and_gradient(function, x):
    z = function(x)
    return z.numpy(), mg.grad(z.sum(), x)[0].numpy()


# ------------------------------------------------------------------------------------------------------- losses


def test_a_class_at_minus_infinity_that_is_not_wanted_costs_nothing_and_gets_no_gradient():
    x = leaf([[0.0, -INF, 0.0], [0.0, 0.0, -INF]])
    for loss in (
        lambda x: F.cross_entropy(x, mg.tensor([0, 1]), reduction="none"),
        lambda x: F.nll_loss(F.log_softmax(x), mg.tensor([0, 1]), reduction="none"),
    ):
        z, g = value_and_gradient(loss, x)
        np.testing.assert_allclose(z, math.log(2))
        np.testing.assert_allclose(g, [[-0.5, 0, 0.5], [0.5, -0.5, 0]], atol=1e-12)


def test_a_wanted_class_at_minus_infinity_costs_infinity():
    assert F.cross_entropy(leaf([[0.0, -INF]]), mg.tensor([1])).item() == INF


def test_huge_scores_do_not_overflow():
    z, g = value_and_gradient(lambda x: F.cross_entropy(x, mg.tensor([0, 0])), leaf([[1e4, 0.0], [-1e4, 0.0]]))
    assert z == 5000.0
    np.testing.assert_array_equal(g, [[0, 0], [-0.5, 0.5]])


def test_a_batch_of_which_nothing_counts_costs_nothing_and_has_gradient_0():
    for loss in (F.cross_entropy, F.nll_loss):
        z, g = value_and_gradient(
            lambda x, loss=loss: loss(x, mg.tensor([-100, -100])), leaf([[1.0, 2.0], [3.0, -INF]])
        )
        assert z == 0 and (g == 0).all()


def test_ignored_examples_may_hold_anything():
    x = leaf([[1.0, 2.0], [-INF, -INF]])
    z, g = value_and_gradient(lambda x: F.nll_loss(x, mg.tensor([0, -100])), x)
    assert z == -1 and g.tolist() == [[-1, 0], [0, 0]]


def test_targets_may_be_a_list_or_one_number():
    x = leaf([[1.0, 2.0], [0.0, 0.0]])
    assert F.cross_entropy(x, [1, 0]).item() == F.cross_entropy(x, mg.tensor([1, 0])).item()
    assert F.cross_entropy(x[0], 1).item() == F.cross_entropy(x[:1], [1]).item()


def test_binary_cross_entropy_is_finite_for_certain_predictions_right_and_wrong():
    x, target = leaf([0.0, 1.0, 0.0, 1.0]), mg.tensor(np.array([0.0, 1.0, 1.0, 0.0]))
    z, g = value_and_gradient(lambda x: F.binary_cross_entropy(x, target, reduction="none"), x)
    assert z.tolist() == [0, 0, 100, 100]
    assert np.isfinite(g).all() and g[2] < 0 < g[3]


@pytest.mark.parametrize("x", [-1000.0, 1000.0])
def test_binary_cross_entropy_with_logits_neither_overflows_nor_loses_digits(x):
    target = mg.tensor(np.array([0.0, 1.0]))
    z, g = value_and_gradient(lambda x: F.binary_cross_entropy_with_logits(x, target, reduction="none"), leaf([x, x]))
    np.testing.assert_array_equal(z, [max(x, 0), max(-x, 0)])
    np.testing.assert_array_equal(g, [x > 0, -1.0 * (x < 0)])


def test_huber_is_a_parabola_at_0_and_has_slope_delta_beyond():
    x = leaf([0.0, 0.5, 2.0, -5.0])
    zero = mg.zeros(4, np.float64)
    (g,) = mg.grad(F.huber_loss(x, zero, reduction="sum", delta=2.0), x, create_graph=True)
    assert g.data.tolist() == [0, 0.5, 2.0, -2.0]
    assert mg.grad(g.sum(), x)[0].data.tolist()[:2] == [1, 1]


def test_the_absolute_loss_has_gradient_0_where_it_is_right():
    assert value_and_gradient(lambda x: F.l1_loss(x, mg.zeros(2, np.float64), reduction="sum"), leaf([0.0, 3.0]))[
        1
    ].tolist() == [
        0,
        1,
    ]


# ------------------------------------------------------------------------------------------------------- activations


def test_derivatives_at_the_kinks():
    x = leaf([0.0])
    assert value_and_gradient(F.leaky_relu, x)[1] == 0.01
    assert value_and_gradient(lambda x: F.elu(x, 0.7), x)[1] == 0.7


@pytest.mark.parametrize(
    "function", [F.softplus, F.silu, F.gelu, lambda x: F.gelu(x, "tanh"), F.elu, F.softmax, F.log_softmax, F.sigmoid]
)
def test_far_out_activations_and_both_derivatives_are_finite(function):
    x = leaf([-1e3, -40.0, 0.0, 40.0, 1e3])
    z = function(x)
    (g,) = mg.grad(z.sum(), x, create_graph=True)
    (h,) = mg.grad(g.sum(), x)
    assert np.isfinite([z.data, g.data, h.data]).all()


def test_relus_smooth_relatives_approach_it():
    x = leaf([-50.0, 50.0])
    for function in (F.softplus, F.silu, F.gelu):
        np.testing.assert_allclose(function(x).numpy(), [0, 50], atol=1e-15)


# ------------------------------------------------------------------------------------------------------- attention


def test_a_query_that_may_look_at_nothing_gets_0_and_passes_no_nan_back():
    q, k, v = (leaf(np.random.default_rng(i).standard_normal((2, 3))) for i in range(3))
    mask = mg.tensor(np.array([[False, False], [True, True]]))
    z = F.scaled_dot_product_attention(q, k, v, mask)
    grads = mg.grad(z.sum(), (q, k, v))
    assert (z.data[0] == 0).all() and (z.data[1] != 0).all()
    assert (grads[0].data[0] == 0).all() and all(np.isfinite(g.data).all() for g in grads)


def test_what_lies_in_the_future_has_no_influence_under_a_causal_mask():
    q, k, v = (leaf(np.random.default_rng(i).standard_normal((4, 3))) for i in range(3))
    for i in range(4):
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        dk, dv = mg.grad(z[i].sum(), (k, v))
        assert (dk.data[i + 1 :] == 0).all() and (dv.data[i + 1 :] == 0).all() and (dv.data[: i + 1] != 0).all()


# ------------------------------------------------------------------------------------------------------- what is refused

X = leaf([[1.0, 2.0], [3.0, 4.0]])
X32 = X.astype(np.float32)
IMAGE = mg.zeros((1, 2, 4, 4))
# fmt: off
BAD = [
    (lambda: F.cross_entropy(X, mg.tensor([0.0, 1.0], np.float64)),                     TypeError,  "cross_entropy: targets.*float64"),
    (lambda: F.cross_entropy(X, X),                                        TypeError,  "cross_entropy: targets.*float64"),
    (lambda: F.cross_entropy(X, mg.tensor([0, 2])),                         ValueError, "0 … 1; targets hold 0 … 2"),
    (lambda: F.cross_entropy(X, mg.tensor([0, -1])),                        ValueError, "0 … 1; targets hold -1 … 0"),
    (lambda: F.cross_entropy(X, mg.tensor([0])),                            ValueError, r"\(2, 2\).*\(2,\).*\(1,\)"),
    (lambda: F.cross_entropy(X, mg.tensor([0, 1]), reduction="max"),        ValueError, "reduction.*'max'"),
    (lambda: F.cross_entropy(X, mg.tensor([0, 1]), label_smoothing=1.1),    ValueError, "label_smoothing.*1.1"),
    (lambda: F.cross_entropy(X, mg.tensor([0, 1]), mg.ones(3, np.float64)),             ValueError, r"weight.*float64.*\(2,\)"),
    (lambda: F.cross_entropy(X32, mg.tensor([0, 1]), mg.ones(2, np.float64)),           ValueError, "weight.*float32"),
    (lambda: F.nll_loss(X, mg.tensor([0, 5])),                              ValueError, "nll_loss.*0 … 5"),
    (lambda: F.mse_loss(X, mg.zeros((2, 1), np.float64)),                  ValueError, r"mse_loss.*\(2, 2\).*\(2, 1\)"),
    (lambda: F.mse_loss(X32, mg.zeros((2, 2), np.float64)),                TypeError,  "mse_loss.*float64.*astype"),
    (lambda: F.l1_loss(X, mg.zeros((2, 2), np.int64)),                     TypeError,  "l1_loss.*int64.*astype"),
    (lambda: F.huber_loss(X, X, delta=0.0),                                ValueError, "delta = 0.0"),
    (lambda: F.binary_cross_entropy(X, mg.zeros(2, np.float64)),           ValueError, "binary_cross_entropy"),
    (lambda: F.binary_cross_entropy_with_logits(X, X, reduction=None),     ValueError, "reduction.*None"),
    (lambda: F.gelu(X, "exact"),                                           ValueError, "'exact'"),
    (lambda: F.dropout(X, -0.1),                                           ValueError, "p = -0.1"),
    (lambda: F.layer_norm(X, 3),                                           ValueError, r"\(..., 3\)"),
    (lambda: F.layer_norm(X, ()),                                          ValueError, "layer_norm"),
    (lambda: F.batch_norm(X[:1], training=True),                           ValueError, "one value per channel"),
    (lambda: F.embedding(X, X),                                            TypeError,  "embedding.*float64"),
    (lambda: F.scaled_dot_product_attention(X, mg.zeros((2, 3)), X),       ValueError, r"\(2, 2\).*\(2, 3\)"),
    (lambda: F.scaled_dot_product_attention(X, X, X, mg.zeros((2, 2))),    TypeError,  "attn_mask is float32"),
    (lambda: F.conv2d(IMAGE, mg.zeros((4, 3, 2, 2))),                      ValueError, "conv2d"),
    (lambda: F.conv2d(IMAGE, mg.zeros((4, 2, 2, 2)), stride=(1, 2, 3)),    ValueError, "stride"),
    (lambda: F.conv2d(IMAGE, mg.zeros((4, 2, 2, 2)), padding=-1),          ValueError, "padding"),
    (lambda: F.max_pool2d(IMAGE, 2, padding=2),                            ValueError, "half"),
    (lambda: F.avg_pool2d(IMAGE, 5),                                       ValueError, r"\(5, 5\)"),
    (lambda: F.softmax(X, dim=1),                                          TypeError,  "softmax.*'dim'"),
]
# fmt: on


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_a_bad_call_names_the_function_and_the_value(call, error, words):
    with pytest.raises(error, match=words):
        call()
