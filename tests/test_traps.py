"""The traps that others fell into, each an issue of a well-known library, and each a test with its name.

Those of single ops are in `tests/ops/test_special_points.py`, those of `gradcheck` in `tests/test_autograd.py`, those of
optimizers in `tests/optim`.
"""

import gc

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F


def leaf(values, dtype=np.float64):
    return mg.tensor(np.array(values, dtype), requires_grad=True)


def test_third_and_fourth_derivatives_of_a_square_at_zero_are_zero():
    x = leaf(0.0)
    y, derivatives = x**2, []
    for _ in range(4):
        (y,) = mg.grad(y, x, create_graph=True)
        derivatives.append(y.item())
    assert derivatives == [0, 2, 0, 0]


def test_the_gradient_of_a_power_at_zero_is_no_nan():
    for n in (0, 1, 2, 3):
        x = leaf([0.0, 1.0])
        (x**n).sum().backward()
        assert np.array_equal(x.grad, [1.0 if n == 1 else 0.0, n])


def test_a_masked_softmax_at_minus_infinity_has_finite_gradients():
    x = leaf([[1.0, -np.inf, 2.0], [-np.inf, -np.inf, -np.inf]])
    p = F.softmax(x)
    assert np.allclose(p.data[0, [0, 2]].sum(), 1)
    assert p.data[0, 1] == 0
    (p * p).sum().backward()
    assert np.isfinite(x.grad.data).all()


def test_cross_entropy_of_a_masked_class_has_finite_gradients():
    x = leaf([[1.0, -np.inf, 2.0]])
    loss = F.cross_entropy(x, [0])
    assert loss.item() == pytest.approx(np.log(1 + np.exp(1)))
    loss.backward()
    assert np.isfinite(x.grad.data).all()


def test_large_scores_do_not_overflow():
    x = leaf([[1000.0, -1000.0]])
    F.cross_entropy(x, [1]).backward()
    assert np.allclose(x.grad, [[1, -1]])
    y = leaf([-1000.0, 1000.0])
    mg.sigmoid(y).sum().backward()
    assert np.array_equal(y.grad, [0, 0])


def test_where_cannot_stop_a_nan_of_the_branch_not_taken_but_a_second_where_can():
    x = leaf([-1.0, 4.0])
    with np.errstate(invalid="ignore"):
        mg.where(x > 0, mg.sqrt(x), 0.0).sum().backward()
    assert np.isnan(x.grad.data[0])
    x.grad = None
    mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1.0)), 0.0).sum().backward()
    assert np.array_equal(x.grad, [0, 0.25])


def test_a_second_backward_does_not_count_intermediates_twice():
    x = leaf(3.0)
    h = x * x
    y = h * h
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 2 * 4 * 27


def test_float32_in_gives_a_float32_gradient_out():
    x = leaf([1.0, 2.0], np.float32)
    (mg.exp(x) * np.float64(2.0) + x * np.ones(2)).sum().backward()
    assert x.grad.dtype == np.float32


def test_integers_have_no_gradient():
    with pytest.raises(TypeError, match="only floats"):
        mg.tensor([1, 2], requires_grad=True)


def test_a_list_of_tensors_never_becomes_an_array_of_objects():
    t = leaf(1.0)
    for make in (lambda: np.array([t, t]), lambda: np.asarray(t), lambda: mg.tensor([t, t])):
        with pytest.raises(TypeError, match="stack"):
            make()


def test_assignment_into_a_tensor_is_refused_with_the_function_to_use():
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match="index_put"):
        x[0] = 5.0
    assert np.array_equal(x.data, [1, 2])


def test_a_parameter_stepped_between_forward_and_backward_is_detected():
    w = leaf([1.0, 2.0])
    loss = (mg.ones((1, 2), dtype=np.float64, requires_grad=True) @ w.reshape(2, 1)).sum()
    with mg.no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_create_graph_makes_no_reference_cycle():
    gc.collect()
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        mg.exp(x * x).sum().backward(create_graph=True)
        del x
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_wide_sum_is_added_in_place_after_the_first():
    # 1000 uses of one result: had every sum allocated, an array of 1000 would be made 999 times.
    x = leaf(np.ones(1000))
    h = x * 1.0
    total = h * 0.0
    for i in range(1000):
        total = total + h * float(i)
    total.sum().backward()
    assert np.array_equal(x.grad, np.full(1000, 999 * 500.0))
