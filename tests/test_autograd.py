"""Derivatives of functions against mathematics, and the judge of gradients against planted faults."""

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import autograd
from minigrad import functional as F
from minigrad.autograd import GradcheckError, gradcheck, gradgradcheck


def leaf(*values, dtype=np.float64):
    return mg.tensor(np.array(values, dtype), requires_grad=True)


def drawn(*shape, seed=0, requires_grad=True):
    return mg.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=requires_grad)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


# ------------------------------------------------------------------------------------------------------ exact derivatives


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    a = drawn(3, 4, requires_grad=False)
    assert np.allclose(autograd.jacobian(lambda x: a @ x, drawn(4)), a, rtol=1e-15)


def test_the_jacobian_has_the_shape_of_output_and_input():
    x = drawn(2, 3)
    j = autograd.jacobian(lambda x: x.T * x.T, x)
    assert j.shape == (3, 2, 2, 3)
    expected = np.zeros((3, 2, 2, 3))
    for i in range(2):
        for k in range(3):
            expected[k, i, i, k] = 2 * x.data[i, k]
    assert np.array_equal(j, expected)


def test_the_jacobian_of_a_scalar_is_the_gradient():
    assert np.allclose(autograd.jacobian(lambda x: (x**3).sum(), leaf(1.0, 2.0)), [3, 12])


def test_the_jacobian_of_the_identity_is_the_unit_matrix():
    assert np.array_equal(autograd.jacobian(lambda x: x, drawn(3)), np.eye(3))


def test_polar_coordinates_have_their_textbook_jacobian():
    r, phi = 2.0, 0.3
    j = autograd.jacobian(lambda x: mg.stack([x[0] * mg.cos(x[1]), x[0] * mg.sin(x[1])]), leaf(r, phi))
    assert np.allclose(j, [[np.cos(phi), -r * np.sin(phi)], [np.sin(phi), r * np.cos(phi)]], rtol=1e-15)


def test_the_hessian_of_a_quadratic_form_is_its_symmetric_part_twice():
    a = drawn(4, 4, requires_grad=False)
    assert np.allclose(autograd.hessian(lambda x: x @ a @ x, drawn(4)), a.data + a.data.T, rtol=1e-14)


def test_the_hessian_of_rosenbrock_at_its_minimum_is_the_textbooks():
    assert np.allclose(autograd.hessian(rosenbrock, leaf(1.0, 1.0)), [[802, -400], [-400, 200]], rtol=1e-14)


def test_the_hessian_has_the_shape_of_the_input_twice():
    x = drawn(2, 3)
    h = autograd.hessian(lambda x: (x**3).sum(), x)
    assert h.shape == (2, 3, 2, 3)
    assert np.allclose(h.data.reshape(6, 6), np.diag(6 * x.data.ravel()))


def test_a_hessian_in_several_inputs_comes_in_blocks():
    a, b = drawn(2), drawn(3, seed=1)
    m = drawn(2, 3, seed=2, requires_grad=False)
    h = autograd.hessian(lambda a, b: a @ m @ b + (a**2).sum(), (a, b))
    assert np.allclose(h[0][0], 2 * np.eye(2))
    assert np.allclose(h[0][1], m)
    assert np.allclose(h[1][0], m.data.T)
    assert np.array_equal(h[1][1], np.zeros((3, 3)))


def test_vjp_and_jvp_are_products_with_the_jacobian():
    x, u, v = drawn(4), drawn(3, seed=1), drawn(4, seed=2)
    a = drawn(3, 4, seed=3, requires_grad=False)

    def fn(x):
        return mg.tanh(a @ x)

    j = autograd.jacobian(fn, x).data
    y, left = autograd.vjp(fn, x, u)
    assert np.array_equal(y, fn(x).detach())
    assert np.allclose(left, u.data @ j, rtol=1e-13)
    y, right = autograd.jvp(fn, x, v)
    assert np.array_equal(y, fn(x).detach())
    assert np.allclose(right, j @ v.data, rtol=1e-13)


def test_vjp_and_jvp_take_several_inputs_and_outputs():
    a, b = leaf(2.0), leaf(3.0)

    def fn(a, b):
        return a * b, a + 2 * b

    y, left = autograd.vjp(fn, (a, b), (leaf(10.0), leaf(1.0)))
    assert [t.item() for t in y] == [6, 8]
    assert [t.item() for t in left] == [31, 22]  # 10 b + 1, 10 a + 2
    y, right = autograd.jvp(fn, (a, b), (leaf(1.0), leaf(10.0)))
    assert [t.item() for t in right] == [23, 21]  # b + 10 a, 1 + 20


def test_hvp_is_the_hessian_times_the_vector():
    x, v = drawn(6), drawn(6, seed=1)
    h = autograd.hessian(rosenbrock, x).data
    assert np.allclose(autograd.hvp(rosenbrock, x, v), h @ v.data, rtol=1e-12)


def test_hvp_in_several_inputs_is_that_of_all_at_once():
    a, b = leaf(2.0), leaf(3.0)
    products = autograd.hvp(lambda a, b: (a * a * b).sum(), (a, b), (leaf(1.0), leaf(10.0)))
    assert [p.item() for p in products] == [2 * 3 * 1 + 2 * 2 * 10, 2 * 2 * 1]  # H = [[2b, 2a], [2a, 0]]


def test_hvp_under_no_grad_is_not_zero():
    with mg.no_grad():
        assert np.allclose(autograd.hvp(lambda x: (x**3).sum(), leaf(1.0, 2.0), leaf(1.0, 1.0)), [6, 12])
        assert np.allclose(autograd.hessian(lambda x: (x**3).sum(), leaf(1.0, 2.0)), [[6, 0], [0, 12]])
        assert np.allclose(autograd.jacobian(mg.square, leaf(1.0, 2.0)), [[2, 0], [0, 4]])
        assert np.allclose(autograd.jvp(mg.square, leaf(1.0, 2.0), leaf(1.0, 1.0))[1], [2, 4])
        assert np.allclose(autograd.vjp(mg.square, leaf(1.0, 2.0), leaf(1.0, 1.0))[1], [2, 4])


def test_a_function_may_close_over_a_parameter():
    w, v = leaf(1.0, 2.0), leaf(1.0, 0.0)
    assert np.allclose(autograd.hvp(lambda _: (w**4).sum(), w, v), [12, 0])
    assert gradcheck(lambda *_: (w**4).sum(), w)
    with pytest.raises(GradcheckError, match="does not depend"):
        gradcheck(lambda x: (w**4).sum(), leaf(1.0))


def test_lists_of_numbers_are_vectors_and_lists_of_tensors_are_several_inputs():
    assert np.allclose(autograd.hvp(lambda x: (x**3).sum(), [1.0, 2.0], [1.0, 10.0]), [6, 120])
    assert np.allclose(autograd.jacobian(mg.square, [3.0]), [[6]])
    left = autograd.vjp(lambda a, b: a * b, [leaf(2.0), leaf(3.0)], [10.0])[1]
    assert [t.item() for t in left] == [30, 20]


def test_a_linear_function_has_a_zero_hessian():
    assert np.array_equal(autograd.hessian(lambda x: x.sum(), drawn(2)), np.zeros((2, 2)))
    assert np.array_equal(autograd.hvp(lambda x: x.sum(), drawn(2), drawn(2)), np.zeros(2))


def test_an_input_that_is_not_used_gets_zeros_and_none_used_is_an_error():
    a, b = leaf(2.0), leaf(3.0)
    assert [t.item() for t in autograd.vjp(lambda a, b: a * 5, (a, b), leaf(1.0))[1]] == [5, 0]
    for ask in (autograd.vjp, autograd.jvp, autograd.hvp):
        with pytest.raises(RuntimeError, match=f"{ask.__name__}: .*does not depend on its input"):
            ask(lambda x: x.detach().sum(), a, leaf(1.0) if ask is not autograd.vjp else 1.0)
    for whole in (autograd.jacobian, autograd.hessian):
        with pytest.raises(RuntimeError, match=f"{whole.__name__}: .*does not depend on its input"):
            whole(lambda x: b.sum(), a)


def test_derivatives_leave_grad_and_the_callers_graph_alone():
    w = leaf(1.0, 2.0)
    h = w * w
    for ask in (autograd.jacobian, autograd.hessian):
        ask(lambda x: (x**3).sum(), h)
        ask(lambda x: (x**3).sum(), w)
    assert w.grad is None
    h.sum().backward()
    assert np.array_equal(w.grad, [2, 4])


def test_results_are_constants_and_keep_float32():
    x = leaf(1.0, 2.0, dtype=np.float32)
    found = [
        autograd.jacobian(mg.square, x),
        autograd.hessian(lambda x: (x**3).sum(), x),
        autograd.hvp(lambda x: (x**3).sum(), x, np.ones(2)),
        *autograd.vjp(mg.square, x, np.ones(2)),
        *autograd.jvp(mg.square, x, np.ones(2)),
        autograd.numeric_gradient(lambda x: (x**3).sum(), x, eps=1e-2),
    ]
    assert all(t.dtype == np.float32 and not t.requires_grad for t in found)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (
            lambda x: autograd.hvp(mg.square, x, x),
            ValueError,
            r"hvp: wanted a scalar function, but fn returned shape \(2,\)",
        ),
        (lambda x: autograd.hessian(mg.square, x), ValueError, "hessian: wanted a scalar function"),
        (lambda x: autograd.hvp(mg.sum, x, np.ones(3)), ValueError, r"hvp: v has shape \(3,\), wanted \(2,\)"),
        (lambda x: autograd.vjp(mg.sum, x, np.ones(3)), ValueError, r"vjp: v has shape \(3,\), wanted \(\)"),
        (lambda x: autograd.jvp(mg.sum, x, (x, x)), ValueError, r"jvp: v has shape \(2,\), \(2,\), wanted \(2,\)"),
        (lambda x: autograd.jacobian(lambda x: (x, x), x), TypeError, "jacobian: fn returned 2 Tensors, wanted one"),
        (lambda x: autograd.jacobian(lambda x: 3.0, x), TypeError, "jacobian: fn returns a Tensor .* not float 3.0"),
        (lambda x: autograd.jacobian(mg.square, np.arange(3)), TypeError, "only floats have gradients"),
    ],
)
def test_bad_questions_are_refused_by_name(ask, error, message):
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=message):
        ask(x)
    assert x.grad is None
    assert np.array_equal(x.data, [1, 2])


# ---------------------------------------------------------------------------------------------------- difference quotients


def test_numeric_gradient_approximates_the_derivative():
    x = drawn(2, 3)
    assert np.allclose(autograd.numeric_gradient(lambda x: mg.sin(x).sum(), x), np.cos(x.data), rtol=1e-8)
    assert np.allclose(autograd.numeric_gradient(lambda x: np.sin(x.numpy()).sum(), x), np.cos(x.data), rtol=1e-8)
    j = autograd.numeric_gradient(mg.sin, x)
    assert j.shape == (2, 3, 2, 3)
    assert np.allclose(j.data.reshape(6, 6), np.diag(np.cos(x.data).ravel()), rtol=1e-8)


def test_numeric_gradient_answers_several_inputs_with_a_tuple():
    a, b = leaf(2.0), leaf(3.0)
    assert np.allclose(autograd.numeric_gradient(lambda a, b: (a * b).sum(), (a, b)), [[3], [2]])


def test_the_error_of_a_central_difference_falls_with_the_square_of_the_step():
    x = leaf(1.0)
    errors = [abs(autograd.numeric_gradient(mg.exp, x, eps=eps).item() - np.e) for eps in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=1e-3)


def test_an_input_is_put_back_bit_for_bit_whatever_happens():
    x = leaf(0.1, 0.7, 1 / 3)
    before = x.data.copy()
    autograd.numeric_gradient(mg.exp, x)
    gradcheck(mg.exp, x)
    gradcheck(mg.exp, x, fast=True)
    calls = []

    def fails_at_the_seventh_call(x):
        calls.append(1)
        if len(calls) == 7:
            raise OSError("planted")
        return mg.exp(x)

    with pytest.raises(OSError, match="planted"):
        gradcheck(fails_at_the_seventh_call, x)
    assert np.array_equal(x.data, before)
    assert x.grad is None


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_right_gradients_pass(check, fast):
    x, w, b = drawn(3, 4), drawn(2, 4, seed=1), drawn(2, seed=2)
    assert check(lambda x, w, b: F.log_softmax(mg.tanh(x @ w.T + b)), (x, w, b), fast=fast)
    assert check(lambda x, n: (x**n, x[0], x.sum()), (x, 3), fast=fast)  # several outputs, an input that is no Tensor
    assert check(mg.floor, x, fast=fast)
    assert check(mg.square, leaf(2.0)[0], fast=fast)  # 0-d, and not a leaf
    assert check(mg.square, drawn(0, 3), fast=fast)
    assert check(lambda x, w: x * w, (x, drawn(4, requires_grad=False)), fast=fast)
    with mg.no_grad():
        assert check(mg.tanh, x, fast=fast)


wrong = mg.op(np.sin, x=lambda g, x: g * (np.cos(x) + 0.01))
right_once = mg.op(np.sin, x=lambda g, x: g * np.asarray(np.cos(x.data if isinstance(x, mg.Tensor) else x)))


@pytest.mark.parametrize("fast", [False, True])
def test_a_planted_wrong_rule_is_found(fast):
    x = drawn(3, 2)
    for check in (gradcheck, gradgradcheck):
        assert check(mg.sin, x, fast=fast)
    with pytest.raises(GradcheckError, match="derivative rule is wrong"):
        gradcheck(wrong, x, fast=fast)
    assert gradcheck(wrong, x, fast=fast, raise_exception=False) is False


@pytest.mark.parametrize("fast", [False, True])
def test_a_rule_that_loses_the_graph_passes_order_one_and_fails_order_two(fast):
    x = drawn(3, 2)
    assert gradcheck(right_once, x, fast=fast)
    with pytest.raises(GradcheckError, match="gradgradcheck: .* differ"):
        gradgradcheck(right_once, x, fast=fast)


def test_the_report_names_input_index_and_both_values():
    one, x = leaf(1.0), leaf(3.0, 5.0)
    wrong_at_one = mg.op(np.multiply, x=lambda g, y: g * y, y=lambda g, x: g * x * np.array([1.0, 2.0]))
    with pytest.raises(GradcheckError) as found:
        gradcheck(lambda a, b: (a + b, wrong_at_one(a, b)), (one, x))
    report = str(found.value)
    assert report.startswith("gradcheck: analytic and numeric gradient differ in 1 of 12 elements")
    assert "output 1 [1], input 1 [1]: analytic 2, numeric 1, relative error 5.0e-01\n" in report
    assert "kink" not in report


def test_a_long_report_is_cut_and_counts_the_rest():
    with pytest.raises(GradcheckError) as found:
        gradcheck(wrong, drawn(30))
    assert "differ in 30 of 900 elements" in str(found.value)
    assert str(found.value).count("input 0") == 20
    assert "... and 10 more" in str(found.value)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_float32_is_refused_with_the_reason(check):
    with pytest.raises(TypeError, match=r"input 1 is float32, wanted float64: .*rounding error; use x.astype"):
        check(mg.multiply, (leaf(1.0), leaf(1.0, dtype=np.float32)))


def test_inputs_that_need_no_gradient_are_refused():
    with pytest.raises(ValueError, match="no input needs a gradient; .*requires_grad=True"):
        gradcheck(mg.exp, np.ones(2))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("fn", "at"), [(mg.relu, 0.0), (mg.relu, 2e-7), (mg.absolute, -3e-7), (mg.floor, 2.0)])
def test_a_kink_within_the_step_is_named(fn, at, fast):
    with pytest.raises(
        GradcheckError, match="(?s)a kink: the slope is .* below and .* above.*move the input away"
    ) as found:
        gradcheck(fn, leaf(1.5, at, -1.5), fast=fast)
    assert "rule is wrong" not in str(found.value)


def test_kinks_of_several_elements_do_not_cancel_in_fast_mode():
    with pytest.raises(GradcheckError, match="a kink") as found:
        gradcheck(mg.relu, leaf(0.0, 0.0, 0.0, 0.0, 0.0), fast=True)
    assert "rule is wrong" not in str(found.value)


def test_a_kink_in_the_first_derivative_is_named_at_order_two():
    x = leaf(0.0, 1.0)
    assert gradcheck(lambda x: mg.relu(x) * x, x)
    with pytest.raises(GradcheckError, match=r"gradient 0 \[0\], input 0 \[0\].*a kink"):
        gradgradcheck(lambda x: mg.relu(x) * x, x)


def test_a_wrong_rule_beside_a_kink_is_told_from_it():
    with pytest.raises(GradcheckError) as found:
        gradcheck(lambda x: wrong(mg.relu(x)), leaf(0.0, 1.0))
    lines = str(found.value).splitlines()
    assert "input 0 [0]" in lines[1]
    assert "kink" in lines[1]
    assert "input 0 [1]" in lines[2]
    assert "kink" not in lines[2]
    assert "rule is wrong" in lines[-1]


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_function_that_is_not_repeatable_is_named(check):
    random = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match=r"output 0 differs from one call of fn to the next.*model.eval\(\)"):
        check(lambda x: x * random.random(3), drawn(3))
    calls = []

    def counts(x):
        calls.append(1)
        return x * len(calls)

    assert not check(counts, drawn(3), raise_exception=False)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_function_that_changes_its_input_is_named_and_the_input_put_back(check):
    a, x = drawn(2), drawn(2, seed=1)
    before = x.data.copy()

    def changes(a, x):
        x.data[0] += 1e-9
        return a * x

    def steps(a, x):
        with mg.no_grad():
            x -= 0.1
        return a * x

    for fn in (changes, steps):
        with pytest.raises(GradcheckError, match=r"fn changes input 1 in place.*x = x \+ 1"):
            check(fn, (a, x))
        assert np.array_equal(x.data, before)


def test_a_function_that_loses_the_graph_is_named():
    for fn in (lambda x: x.detach() * 2, lambda x: mg.tensor(x.numpy() * 2), lambda x: mg.tensor(1.0)):
        with pytest.raises(GradcheckError, match=r"does not depend on its input.*\.data"):
            gradcheck(fn, drawn(3))


def test_a_nan_never_passes():
    with pytest.raises(GradcheckError, match="analytic nan"), np.errstate(all="ignore"):
        gradcheck(lambda x: mg.where(x > 0, mg.log(mg.absolute(x)), 0 * x), leaf(0.0, 1.0))


def test_fast_mode_calls_the_function_a_few_times_whatever_the_size():
    counted = []

    def fn(x):
        counted.append(1)
        return mg.tanh(x)

    assert gradcheck(fn, drawn(40, 50), fast=True)
    assert len(counted) <= 8


def test_checking_holds_for_its_thread_and_leaves_the_mode_alone():
    results = []
    x = drawn(3)
    threads = [threading.Thread(target=lambda: results.append(gradcheck(mg.tanh, drawn(3)))) for _ in range(2)]
    with mg.no_grad():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gradcheck(mg.tanh, x)
        assert not mg.tanh(x).requires_grad
    assert results == [True, True]
