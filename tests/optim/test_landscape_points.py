"""What a point is, the quadratic that fits it, and how high the ground rises round it: all against closed forms."""

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.functional import mse_loss
from optim.landscape import critical_point, sharpness, surfaces, taylor2

KNOWN = [(surface, "minimum", p) for surface in surfaces.ALL.values() for p in surface.minima]
KNOWN += [
    (surface, "saddle", p)
    for surface in surfaces.ALL.values()
    for p in surface.saddles
    if surface is not surfaces.monkey_saddle
]


@pytest.mark.parametrize(("surface", "kind", "point"), KNOWN, ids=lambda x: getattr(x, "name", str(x)))
def test_what_is_known_of_every_surface_is_found(surface, kind, point):
    found = critical_point(surface, point)
    assert found.kind == kind
    assert found.gradient_norm < 1e-6


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (lambda p: -(p * p).sum(), "maximum"),
        (surfaces.monkey_saddle, "degenerate"),
        (lambda p: (p**4).sum(), "degenerate"),
        (lambda p: p[0] ** 2 + p[1] ** 4, "degenerate"),
        (lambda p: p[0] ** 2 - p[1] ** 4, "degenerate"),
        (lambda p: p[0] + p[1] ** 2, "slope"),
    ],
)
def test_what_the_second_order_does_not_tell_is_not_told(fn, kind):
    assert critical_point(fn, [0.0, 0.0]).kind == kind


def test_the_way_out_of_a_saddle_leads_down():
    found = critical_point(surfaces.himmelblau, surfaces.himmelblau.saddles[0])
    x, e = np.array(surfaces.himmelblau.saddles[0]), 1e-2 * found.down
    assert surfaces.himmelblau(x + e) < surfaces.himmelblau(x) < surfaces.himmelblau(x + 1e-2 * found.up)
    np.testing.assert_allclose(found.down @ found.up, 0, atol=1e-12)


def test_a_network_of_zeros_is_a_saddle():
    # of a product u v of two weights, to fit 1: the loss (uv - 1)² has the Hessian [[0, -2], [-2, 0]] at 0
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).to(np.float64)
    for p in model.parameters():
        p.data[...] = 0
    one = mg.tensor(np.ones((1, 1)))
    found = critical_point(lambda: mse_loss(model(one), one), model)
    assert (found.kind, found.lowest, found.highest) == ("saddle", -2.0, 2.0)


def test_the_model_of_a_quadratic_is_the_quadratic():
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((5, 5)), rng.standard_normal(5)
    x, delta = rng.standard_normal(5), rng.standard_normal(5)
    model = taylor2(lambda p: p @ A @ p + b @ p + 3, x)
    np.testing.assert_allclose(model(delta), (x + delta) @ A @ (x + delta) + b @ (x + delta) + 3, rtol=1e-12)
    np.testing.assert_allclose(model.error(delta), 0, atol=1e-12)
    np.testing.assert_allclose(model.g, (A + A.T) @ x + b, rtol=1e-12)


def test_the_error_of_the_model_is_of_third_order():
    rng = np.random.default_rng(0)
    model = taylor2(lambda p: mg.exp(p[0]) * mg.sin(p[1]) + mg.cos(p[0] * p[1]), rng.standard_normal(2))
    delta, sizes = rng.standard_normal(2), np.array([0.1, 0.05, 0.025, 0.0125])
    errors = [abs(model.error(size * delta)) for size in sizes]
    np.testing.assert_allclose(np.polyfit(np.log(sizes), np.log(errors), 1)[0], 3, atol=0.15)


def test_the_best_step_along_the_gradient_is_where_the_model_says():
    model = taylor2(surfaces.bowl(10), [1.0, 1.0])
    g = model.g
    rate = (g @ g) / (2 * (model(-g) - model.loss + g @ g))  # gᵀHg is twice what -g leaves beside loss and slope
    np.testing.assert_allclose(rate, (1 + 100) / (1 + 1000))  # g = (1, 10), H = diag(1, 10)
    assert model(-rate * g) < min(model(-0.99 * rate * g), model(-1.01 * rate * g))


def test_a_model_of_a_network_knows_when_the_network_has_moved():
    model = nn.Linear(2, 1).to(np.float64)
    x = mg.tensor(np.ones((3, 2)))
    quadratic = taylor2(lambda: (model(x) ** 2).mean(), model)
    as_arrays = [np.ones(p.shape) for p in model.parameters()]
    np.testing.assert_allclose(quadratic(tuple(as_arrays)), quadratic(np.ones(3)))
    np.testing.assert_allclose(quadratic.error(np.ones(3)), 0, atol=1e-12)
    optim.SGD(model.parameters(), lr=0.1).step(lambda: (model(x) ** 2).mean())
    with pytest.raises(ValueError, match="the parameters have moved"):
        quadratic(np.ones(3))


def test_at_a_minimum_sharpness_is_half_the_largest_eigenvalue_times_rho_squared():
    rng = np.random.default_rng(0)
    for n in (2, 10, 50):
        Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        A = (Q * np.geomspace(0.1, 7, n)) @ Q.T
        found = sharpness(lambda x, A=A: 0.5 * x @ A @ x, np.zeros(n), rho=0.3, steps=100)
        np.testing.assert_allclose(found, 0.5 * 0.3**2 * 7, rtol=1e-3)


def test_on_a_slope_the_first_order_is_all_there_is():
    c = np.array([3.0, -4.0])
    for method in ("first-order", "ascent"):
        np.testing.assert_allclose(sharpness(lambda x: c @ x, [1.0, 2.0], rho=0.1, method=method), 0.1 * 5)


def test_the_first_order_is_what_sam_sees():
    seen = []

    def loss():
        seen.append(surfaces.rosenbrock(p))
        return seen[-1]

    p = mg.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    expected = sharpness(surfaces.rosenbrock, p, rho=0.2, method="first-order")
    optim.SAM(optim.SGD([p], lr=0.1), rho=0.2).step(loss)
    np.testing.assert_allclose(expected, seen[1].item() - seen[0].item(), rtol=1e-12)


@pytest.mark.parametrize("surface", surfaces.ALL.values(), ids=lambda s: s.name)
def test_the_ascent_finds_nearly_what_a_search_of_the_whole_disc_finds(surface):
    x, rho = np.array(surface.starts[0]), 0.3
    radius, angle = np.meshgrid(np.linspace(0, rho, 61), np.linspace(0, 2 * np.pi, 721))
    highest = surface(x[:, None, None] + radius * np.array([np.cos(angle), np.sin(angle)])).max() - surface(x)
    found = sharpness(surface, x, rho=rho)
    first = sharpness(surface, x, rho=rho, method="first-order")
    assert first <= found + 1e-12
    assert found <= highest * (1 + 1e-3)
    assert found >= 0.99 * highest


def test_the_sharp_well_is_sharper_than_the_flat_one():
    sharp, flat = (sharpness(surfaces.double_well, p, rho=0.01) for p in surfaces.double_well.minima)
    np.testing.assert_allclose(sharp / flat, 50, rtol=0.02)  # curvatures 100 and 2


def test_at_the_top_nothing_is_higher():
    assert sharpness(lambda x: -(x * x).sum(), [0.0, 0.0]) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sharpness(surfaces.saddle, [1.0, 1.0], rho=-1), "rho = -1; wanted a finite number >= 0"),
        (lambda: sharpness(surfaces.saddle, [1.0, 1.0], method="SAM"), "method = 'SAM'; wanted one of"),
        (lambda: sharpness(surfaces.saddle, [1.0, 1.0], steps=0), "steps = 0"),
        (lambda: critical_point(surfaces.saddle, [1.0, 1.0], tolerance=-1), "tolerance = -1"),
        (lambda: taylor2(surfaces.saddle, [1.0, 1.0])([1.0]), r"delta has shape \[\(1,\)\]; wanted \(2,\)"),
        (lambda: taylor2(surfaces.saddle, [1.0, 1.0])([1.0, np.nan]), "delta is not finite"),
    ],
)
def test_a_bad_setting_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
