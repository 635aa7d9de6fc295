"""What a derivative is where mathematics leaves a choice: kinks, ties, edges, zeros. The docs say the same."""

import builtins
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.autograd import gradcheck, gradgradcheck, hessian, numeric_gradient
from minigrad.ops import elementwise

inf = np.inf


def leaf(*values):
    return mg.tensor(np.array(values, np.float64), requires_grad=True)


def slope(fn, *values):
    """The gradient of a sum of outputs at some numbers."""
    x = leaf(*values)
    fn(x).sum().backward()
    return x.grad.data


def orders(fn, value, n):
    """fn and its derivatives up to order n at one number."""
    x = mg.tensor(np.array(value, np.float64), requires_grad=True)
    found = [fn(x)]
    for _ in range(n):
        y = found[-1]
        found.append(mg.grad(y, x, create_graph=True, allow_unused=True)[0] if y.requires_grad else mg.tensor(0.0))
    return [0.0 if y is None else y.item() for y in found]


# ------------------------------------------------------------------------------------------------------ 0 by agreement


@pytest.mark.parametrize("fn", [mg.absolute, mg.relu, mg.sign, mg.floor, mg.ceil, mg.round])
def test_the_derivative_at_zero_is_zero(fn):
    assert slope(fn, 0.0, -0.0).tolist() == [0, 0]


@pytest.mark.parametrize("ord", [None, 1, 2, 3, 1.5, inf])
def test_the_derivative_of_a_norm_at_zero_is_zero(ord):
    assert slope(lambda x: mg.linalg.norm(x, ord), 0.0, 0.0, 0.0).tolist() == [0, 0, 0]


def test_the_derivative_of_a_norm_is_right_where_one_element_is_zero():
    for ord in (2, 3, 4):
        x = leaf(0.0, 3.0, -4.0)
        assert gradcheck(lambda x, p=ord: mg.linalg.norm(x, p), x)
        assert gradgradcheck(lambda x, p=ord: mg.linalg.norm(x, p), x)
    # ‖x‖ = √(x₀² + 25) has ∂²/∂x₀² = 1/5 at x₀ = 0
    assert hessian(mg.linalg.norm, leaf(0.0, 3.0, -4.0)).data[0, 0] == pytest.approx(1 / 5)
    assert slope(lambda x: mg.linalg.norm(x, 1), 0.0, 3.0, -4.0).tolist() == [0, 1, -1]
    assert slope(lambda x: mg.linalg.norm(x, 1.5), 0.0, 1.0).tolist() == [0, 1]


def test_the_fourth_derivative_of_a_norm_is_right_where_one_element_is_zero():
    """‖(t, 1)‖₄ = 1 + t⁴/4 - ..., ‖(t, 1)‖₂ = 1 + t²/2 - t⁴/8 + ..."""
    along, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert orders(lambda t: mg.linalg.norm(t * along + up, 4), 0.0, 4) == pytest.approx([1, 0, 0, 0, 6])
    assert orders(lambda t: mg.linalg.norm(t * along + up, 2), 0.0, 4) == pytest.approx([1, 0, 1, 0, -3])


def test_second_derivatives_of_lengths_at_zero_are_zero_and_no_nan():
    zeros = leaf(0.0, 0.0)
    assert np.array_equal(hessian(mg.linalg.norm, zeros), np.zeros((2, 2)))
    assert np.array_equal(hessian(lambda x: mg.hypot(x[0], x[1]), zeros), np.zeros((2, 2)))
    assert np.array_equal(hessian(mg.std, zeros), np.zeros((2, 2)))


def test_the_derivative_of_hypot_and_std_at_zero_is_zero():
    assert slope(lambda x: mg.hypot(x[:1], x[1:]), 0.0, 0.0).tolist() == [0, 0]
    assert slope(mg.std, 2.0, 2.0, 2.0).tolist() == [0, 0, 0]
    assert slope(mg.std, 2.0).tolist() == [0]


# ---------------------------------------------------------------------------------------------------------- ties, bounds


def test_maximum_and_minimum_share_a_tie_equally():
    for op in (mg.maximum, mg.minimum):
        x, y = leaf(1.0), leaf(1.0)
        op(x, y).backward([1.0])
        assert (x.grad.item(), y.grad.item()) == (0.5, 0.5)


def test_max_and_min_over_axes_share_a_tie_equally():
    assert slope(mg.max, 1.0, 3.0, 3.0, 3.0).tolist() == [0, 1 / 3, 1 / 3, 1 / 3]
    assert slope(mg.min, 1.0, 3.0, 1.0).tolist() == [0.5, 0, 0.5]
    x = mg.tensor(np.zeros((2, 3)), requires_grad=True)
    mg.max(x, axis=1).sum().backward()
    assert np.allclose(x.grad, 1 / 3)


def test_max_pool_gives_all_to_the_first_of_equals():
    x = mg.tensor(np.zeros((1, 1, 2, 2)), requires_grad=True)
    mg.max_pool(x, (2, 2), (2, 2), (0, 0)).sum().backward()
    assert x.grad.data.ravel().tolist() == [1, 0, 0, 0]


def test_clip_has_slope_one_on_its_bounds():
    assert slope(lambda x: mg.clip(x, -1.0, 1.0), -1.5, -1.0, 0.0, 1.0, 1.5).tolist() == [0, 1, 1, 1, 0]


def test_sort_sends_equals_back_one_each():
    assert slope(lambda x: mg.sort(x) * np.array([1.0, 10.0, 100.0]), 2.0, 1.0, 2.0).tolist() == [10, 1, 100]


# ------------------------------------------------------------------------------------------------ powers and polynomials


@pytest.mark.parametrize("n", range(6))
def test_integer_powers_are_exact_at_zero_at_every_order(n):
    expected = [0.0] * 7
    if n < 7:
        expected[n] = float(np.prod(range(1, n + 1)))
    assert orders(lambda x: x**n, 0.0, 6) == expected
    assert orders(lambda x: mg.power(x, float(n)), 0.0, 6) == expected


def test_square_and_products_of_zeros_are_exact_at_every_order():
    assert orders(mg.square, 0.0, 4) == [0, 0, 2, 0, 0]
    assert orders(lambda x: x * x * x, 0.0, 4) == [0, 0, 0, 6, 0]


def test_the_root_and_the_logarithm_follow_ieee_at_zero():
    with np.errstate(divide="ignore"):
        assert slope(mg.sqrt, 0.0).tolist() == [inf]
        assert slope(mg.log, 0.0).tolist() == [inf]
        assert slope(mg.cbrt, 0.0).tolist() == [inf]
        assert slope(lambda x: x**0.5, 0.0).tolist() == [inf]
        assert slope(lambda x: x**-1, 0.0).tolist() == [-inf]


def test_the_power_of_a_tensor_at_base_zero_has_no_nan():
    x, y = leaf(0.0, 0.0, 0.0, 2.0), leaf(0.0, 1.0, 2.0, 0.0)
    (x**y).sum().backward()
    assert x.grad.data.tolist() == [0, 1, 0, 0]
    assert y.grad.data.tolist() == [0, 0, 0, np.log(2)]


# ----------------------------------------------------------------------------------------------------- products of zeros


@pytest.mark.parametrize("values", [(0.0, 2, 3), (0.0, 0, 3), (0.0, 0, 0), (2, 0.0, 3, 4), (2.0, 3, 0)])
@pytest.mark.parametrize("fn", [mg.prod, mg.cumprod])
def test_products_with_zeros_are_exact(fn, values):
    x = leaf(*values)
    assert gradcheck(fn, x)
    assert gradgradcheck(fn, x)


def test_products_with_zeros_are_exact_at_orders_three_and_four():
    """∂ⁿ(x₀ x₁ x₂ x₃) along x = t (1, 2, 3, 4): t⁴ 24; along (1, 2, 0, 0) + t (0, 0, 3, 4): t² 24."""
    u = np.array([1.0, 2, 3, 4])
    assert orders(lambda t: mg.prod(t * u), 0.0, 4) == [0, 0, 0, 0, 24 * 24]
    assert orders(lambda t: mg.cumprod(t * u).sum(), 0.0, 4) == [0, 1, 2 * 2, 6 * 6, 24 * 24]
    halves = np.array([1.0, 2, 0, 0]), np.array([0.0, 0, 3, 4])
    assert orders(lambda t: mg.prod(halves[0] + t * halves[1]), 0.0, 4) == [0, 0, 48, 0, 0]


def test_the_product_of_none_is_one_and_of_one_is_itself():
    assert mg.prod(mg.zeros(0)).item() == 1
    assert slope(mg.prod, 0.0).tolist() == [1]
    assert slope(mg.cumprod, 0.0).tolist() == [1]


# --------------------------------------------------------------------------------------------------------------- minus inf


def test_logsumexp_at_minus_infinity_has_finite_gradients():
    assert mg.logsumexp(leaf(-inf, -inf)).item() == -inf
    assert slope(mg.logsumexp, -inf, -inf).tolist() == [0, 0]
    assert slope(mg.logsumexp, 0.0, -inf).tolist() == [1, 0]
    assert np.array_equal(hessian(mg.logsumexp, leaf(0.0, -inf)), np.zeros((2, 2)))


def test_logaddexp_at_minus_infinity_has_finite_gradients():
    assert slope(lambda x: mg.logaddexp(x[:1], x[1:]), -inf, -inf).tolist() == [0, 0]
    assert slope(lambda x: mg.logaddexp(x[:1], x[1:]), 0.0, -inf).tolist() == [1, 0]


def test_large_numbers_do_not_overflow():
    assert mg.logsumexp(leaf(1000.0, 1000.0)).item() == pytest.approx(1000 + np.log(2))
    assert slope(mg.logsumexp, 1000.0, 1000.0).tolist() == pytest.approx([0.5, 0.5])
    assert slope(mg.sigmoid, -1000.0, 1000.0).tolist() == [0, 0]
    assert slope(mg.tanh, -1000.0, 1000.0).tolist() == [0, 0]
    assert slope(mg.erf, -1000.0, 1000.0).tolist() == [0, 0]


# --------------------------------------------------------------------------------------------------------------- matrices


@pytest.mark.parametrize("op", [mg.linalg.det, lambda a: mg.linalg.slogdet(a).logabsdet])
def test_the_derivative_of_the_determinant_of_a_singular_matrix_is_an_error(op):
    a = mg.tensor(np.array([[[1.0, 0], [0, 1]], [[1, 2], [2, 4]]]), requires_grad=True)
    y = op(a)
    for create_graph in (False, True):
        with pytest.raises(np.linalg.LinAlgError, match="det: a matrix is singular"):
            y.sum().backward(retain_graph=True, create_graph=create_graph)
    assert a.grad is None


def test_matrices_that_cannot_be_inverted_or_factored_are_refused_by_name():
    singular = mg.tensor(np.ones((2, 2)), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"inv\(a: float64\[2, 2\]\): Singular"):
        mg.linalg.inv(singular)
    with pytest.raises(np.linalg.LinAlgError, match=r"solve\(.*Singular"):
        mg.linalg.solve(singular, np.ones(2))
    with pytest.raises(np.linalg.LinAlgError, match=r"cholesky\(.*not positive definite"):
        mg.linalg.cholesky(-mg.eye(2))


def test_eigenvalues_have_derivatives_where_they_are_equal():
    a = mg.tensor(np.eye(3), requires_grad=True)
    w, v = mg.linalg.eigh(a)
    (w**2).sum().backward()  # the trace of a²
    assert np.allclose(a.grad, 2 * np.eye(3))
    a.grad = None
    weights = np.diag([1.0, 2.0, 2.0])
    b = mg.tensor(weights, requires_grad=True)
    # The projector on the eigenspace of 2 does not depend on which vectors span it; its derivative is textbook.
    _, v = mg.linalg.eigh(b)
    projector = v[:, 1:] @ v[:, 1:].T
    projector[0, 1].backward()
    assert np.allclose(b.grad, [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])


def test_the_gradient_of_a_symmetric_matrix_is_symmetric():
    draw = np.random.default_rng(0).standard_normal((3, 3))
    for fn in (mg.linalg.cholesky, lambda a: mg.linalg.eigh(a).eigenvalues, lambda a: mg.linalg.eigh(a).eigenvectors):
        a = mg.tensor(draw @ draw.T + np.eye(3), requires_grad=True)
        (fn(a) ** 3).sum().backward()
        assert np.allclose(a.grad, a.grad.T, rtol=1e-14)


def test_the_norm_that_counts_is_a_constant():
    x = leaf(0.0, 2.0, -1.0)
    y = mg.linalg.norm(x, 0)
    assert y.item() == 2
    assert not y.requires_grad


# ----------------------------------------------------------------------------------------------------------------- others


def test_erf_without_scipy_is_as_exact(monkeypatch):
    x = np.linspace(-3, 3, 7)
    with_scipy = mg.erf(x)
    real_import = builtins.__import__

    def without(name, *rest, **kwargs):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real_import(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.startswith("scipy")]:
        monkeypatch.delitem(sys.modules, name)
    elementwise.erf_of_arrays.cache_clear()
    try:
        assert np.allclose(mg.erf(x), with_scipy, rtol=1e-15)
        assert mg.erf(x.astype(np.float32)).dtype == np.float32
        assert mg.erf(np.array(0.5)).shape == ()
        assert gradcheck(mg.erf, leaf(*x))
    finally:
        elementwise.erf_of_arrays.cache_clear()


def test_padding_in_other_modes_is_refused():
    with pytest.raises(ValueError, match="only 'constant'"):
        mg.pad(leaf(1.0), 1, mode="edge")


def test_index_put_refuses_to_lose_a_value():
    x = leaf(1.0, 2.0, 3.0)
    for key in ([0, 0], np.array([1, 1]), (np.array([[0], [0]]),), (mg.tensor([2, -1]),)):
        with pytest.raises(ValueError, match="index_put: the key names an element twice; use index_add"):
            mg.index_put(x, key, 0.0)
    assert mg.index_put(x, [2, 0], 0.0).detach().data.tolist() == [0, 2, 0]


def test_an_element_read_twice_gets_both_gradients_however_the_key_is_written():
    for key in (
        [0, 0, 1],
        (np.array([0, 0, 1]),),
        ((0, 0, 1),),
        (mg.tensor([0, -3, 1]),),
        np.array([0, 0, 1], np.uint8),
    ):
        assert slope(lambda x, key=key: x[key], 5.0, 6.0, 7.0).tolist() == [2, 1, 0]


def test_indices_of_another_number_of_axes_are_refused():
    with pytest.raises(ValueError, match=r"take_along_axis: indices \(2,\) want as many axes as the array, \(3, 2\)"):
        mg.take_along_axis(mg.zeros((3, 2)), np.array([0, 1]), axis=0)


def test_arctan2_of_no_direction_has_slope_zero_at_two_orders():
    x, y = leaf(0.0), leaf(0.0)
    gx, gy = mg.grad(mg.arctan2(y, x), [x, y], create_graph=True)
    assert (gx.item(), gy.item()) == (0, 0)
    assert [g.item() for g in mg.grad(gx + gy, [x, y])] == [0, 0]


def test_arctan2_crosses_its_branch_without_a_jump_in_the_slope():
    x, y = leaf(-1.0), leaf(0.0)
    mg.arctan2(y, x).sum().backward()
    assert (y.grad.item(), x.grad.item()) == (-1, 0)
    assert numeric_gradient(lambda y: mg.arctan2(y, 1.0), leaf(0.0)).item() == pytest.approx(1)
