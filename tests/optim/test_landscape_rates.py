"""A measured rate is the law that made the errors; gradient descent and SGD converge as the theory says."""

import numpy as np
import pytest

import minigrad as mg
import optim
from optim.landscape import convergence_rate
from optim.landscape.surfaces import rosenbrock

t = np.arange(1, 201)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_powers_of_t_are_sublinear(p):
    rate = convergence_rate(7 * t**-p)
    assert rate.kind == "sublinear"
    np.testing.assert_allclose(rate.value, p, rtol=1e-9)


@pytest.mark.parametrize("rho", [0.1, 0.9, 0.999])
def test_powers_of_a_factor_are_linear(rho):
    rate = convergence_rate(7 * rho**t)
    assert rate.kind == "linear"
    np.testing.assert_allclose(rate.value, rho, rtol=1e-9)


def test_noise_does_not_hide_the_law():
    noise = np.exp(0.2 * np.random.default_rng(0).standard_normal(200))
    sublinear, linear = convergence_rate(noise / t), convergence_rate(noise * 0.95**t)
    assert (sublinear.kind, linear.kind) == ("sublinear", "linear")
    np.testing.assert_allclose([sublinear.value, linear.value], [1, 0.95], rtol=0.1)


def test_errors_that_reach_zero_count_up_to_there():
    assert str(convergence_rate([*0.5 ** t[:40], 0.0, 1e-20, -1e-20])) == "0.5^t"


def test_gradient_descent_on_a_bowl_is_linear_with_the_factor_of_the_theory():
    kappa = 20.0
    lr = 2 / (1 + kappa)  # the best: all errors of the slowest and the fastest direction shrink by (κ - 1) / (κ + 1)
    p = mg.tensor(np.array([1.0, 1.0]), requires_grad=True)
    opt = optim.SGD([p], lr=lr)
    losses = [opt.step(lambda: 0.5 * (p**2 * np.array([1.0, kappa])).sum()).item() for _ in range(60)]
    rate = convergence_rate(losses)
    assert rate.kind == "linear"
    np.testing.assert_allclose(rate.value, ((kappa - 1) / (kappa + 1)) ** 2, rtol=1e-6)


def test_sgd_with_a_rate_of_1_over_t_converges_as_1_over_t():
    # the mean of numbers: SGD on ½ (p - x)² with the rate 1/t is the running mean, of variance σ² / t
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(100):
        p = mg.tensor(np.float64(0), requires_grad=True)
        opt = optim.SGD([p], lr=1.0)
        scheduler = optim.lr_scheduler.LambdaLR(opt, lambda t: 1 / (t + 1))
        errors = []
        for x in rng.standard_normal(60):
            opt.step(lambda x=x, p=p: 0.5 * (p - x) ** 2)
            scheduler.step()
            errors.append(p.item() ** 2)
        runs.append(errors)
    rate = convergence_rate(np.mean(runs, axis=0), tail=0.9)
    assert rate.kind == "sublinear"
    np.testing.assert_allclose(rate.value, 1, atol=0.2)


def test_newtons_method_is_of_order_two():
    p = mg.tensor(np.array([1.1, 1.15]), requires_grad=True)
    opt, errors = optim.Newton([p]), []
    for _ in range(6):
        errors.append(np.linalg.norm(p.data - 1))
        opt.step(lambda: rosenbrock(p))
    rate = convergence_rate([e for e in errors if e > 1e-14], tail=1.0)
    assert rate.kind == "superlinear"
    np.testing.assert_allclose(rate.value, 2, atol=0.6)


@pytest.mark.parametrize(
    ("errors", "tail", "words"),
    [
        ([1.0, 0.5, 0.25], 0.5, "3 positive errors are too few"),
        ([0.0, 1.0, 1.0, 1.0, 1.0], 0.5, "0 positive errors"),
        ([1.0, np.nan, 1.0, 1.0, 1.0], 0.5, "wanted finite errors"),
        ([1.0] * 9, 0.0, "tail = 0"),
    ],
)
def test_too_little_to_tell_is_an_error(errors, tail, words):
    with pytest.raises(ValueError, match=f"convergence_rate: .*{words}"):
        convergence_rate(errors, tail)
