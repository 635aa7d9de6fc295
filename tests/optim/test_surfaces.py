"""Every surface is what it says: heights and slopes by hand, minima that are minima, saddles that are saddles."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.autograd import hessian
from optim.landscape import surfaces
from optim.landscape.surfaces import ALL, Surface, bowl, double_well

POINTS = np.random.default_rng(0).uniform(-1.5, 1.5, (20, 2))


def gradient(surface, point):
    p = mg.tensor(np.array(point, float), requires_grad=True)
    return mg.grad(surface(p), p)[0].numpy()


def eigenvalues(surface, point):
    return np.linalg.eigvalsh(hessian(surface, mg.tensor(np.array(point, float), requires_grad=True)).numpy())


def beale_slopes(x, y):
    errors = [(c - x + x * y**k, y**k - 1, k * x * y ** (k - 1)) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))]
    return sum(2 * e * ex for e, ex, _ in errors), sum(2 * e * ey for e, _, ey in errors)


def well_slopes(x, y):
    s, f = 50 * ((x - 1) ** 2 + y**2), (x + 1) ** 2 + y**2
    weight = 1 / (s + f) ** 2  # of d(sf / (s + f)) = (f² ds + s² df) / (s + f)²
    return (
        weight * (f**2 * 100 * (x - 1) + s**2 * 2 * (x + 1)),
        weight * (f**2 * 100 * y + s**2 * 2 * y),
    )


# fmt: off
# The gradients, derived by hand.
SLOPES = {
    "bowl":          lambda x, y: (x, 100 * y),
    "rosenbrock":    lambda x, y: (-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)),
    "beale":         beale_slopes,
    "himmelblau":    lambda x, y: (4 * x * (x * x + y - 11) + 2 * (x + y * y - 7), 2 * (x * x + y - 11) + 4 * y * (x + y * y - 7)),
    "rastrigin":     lambda x, y: tuple(2 * u + 20 * np.pi * np.sin(2 * np.pi * u) for u in (x, y)),
    "saddle":        lambda x, y: (2 * x, -2 * y),
    "monkey_saddle": lambda x, y: (3 * x * x - 3 * y * y, -6 * x * y),
    "plateau":       lambda x, y: (x / 4 * np.exp(-x * x / 8 - y * y / 2), y * np.exp(-x * x / 8 - y * y / 2)),
    "double_well":   well_slopes,
}

# Heights that can be had by hand, or are in the literature (Himmelblau's summit).
HEIGHTS = [
    ("bowl",          (2, 1),                  52),
    ("rosenbrock",    (-1.2, 1.0),             24.2),
    ("beale",         (0, 0),                  14.203125),
    ("beale",         (0, 7),                  14.203125),
    ("himmelblau",    (0, 0),                  170),
    ("himmelblau",    (-0.270845, -0.923039),  181.617),
    ("rastrigin",     (0.5, 0.5),              40.5),
    ("rastrigin",     (1, -2),                 5),
    ("saddle",        (3, 2),                  5),
    ("monkey_saddle", (1, 1),                  -2),
    ("plateau",       (2, 1),                  1 - np.exp(-1)),
    ("double_well",   (0, 0),                  50 / 51),
]
# fmt: on


@pytest.mark.parametrize("name, point, height", HEIGHTS)
def test_heights_are_those_computed_by_hand(name, point, height):
    assert ALL[name](np.array(point, float)) == pytest.approx(height, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_the_one_derived_by_hand(name):
    for point in POINTS:
        np.testing.assert_allclose(gradient(ALL[name], point), SLOPES[name](*point), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_at_a_minimum_the_gradient_is_zero_and_the_hessian_positive(name):
    for point in ALL[name].minima:
        steepest = eigenvalues(ALL[name], point)
        assert np.abs(gradient(ALL[name], point)).max() <= 1e-13 * steepest.max()
        assert steepest.min() > 0


@pytest.mark.parametrize("name", ALL)
def test_no_point_of_the_domain_is_lower_than_the_minima(name):
    surface = ALL[name]
    lowest = surface.grid(201)[2].min()
    if surface.minima:
        heights = [surface(np.array(point)) for point in surface.minima]
        assert np.ptp(heights) < 1e-20
        assert lowest >= min(heights)
    else:
        assert lowest < 0  # a saddle of height 0, from which it falls without end


@pytest.mark.parametrize("name", ALL)
def test_at_a_saddle_the_gradient_is_zero_and_there_are_ways_up_and_down(name):
    directions = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    for point in ALL[name].saddles:
        assert np.abs(gradient(ALL[name], point)).max() < 1e-12
        ring = np.array(point)[:, None] + 1e-3 * np.stack([np.cos(directions), np.sin(directions)])
        around = ALL[name](ring) - ALL[name](np.array(point))
        assert around.min() < 0 < around.max()


@pytest.mark.parametrize("name", ALL)
def test_starts_minima_and_saddles_lie_inside_the_domain_and_no_start_is_a_minimum(name):
    surface = ALL[name]
    for point in surface.starts + surface.minima + surface.saddles:
        assert all(low <= u <= high for u, (low, high) in zip(point, surface.domain))
    assert len(surface.starts) == 2
    for start in surface.starts:
        assert np.linalg.norm(gradient(surface, start)) > 0


@pytest.mark.parametrize("name", ALL)
def test_numbers_arrays_and_tensors_have_the_same_heights_and_dtypes_stay(name):
    surface = ALL[name]
    heights = surface(POINTS.T)
    assert heights.shape == (20,)
    for point, height in zip(POINTS, heights):
        assert surface(mg.tensor(point)).item() == pytest.approx(height, rel=1e-12)
        assert surface([*map(float, point)]) == pytest.approx(height, rel=1e-12)
    assert surface(mg.tensor(POINTS.T.astype(np.float32))).dtype == np.float32


@pytest.mark.parametrize("kappa", [1, 30.0, 1e6])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_bowl_has_the_eigenvalues_one_and_kappa_however_it_is_turned(kappa, angle):
    np.testing.assert_allclose(eigenvalues(bowl(kappa, angle), (0.3, -2.0)), [1, kappa], rtol=1e-9)
    along = np.array([np.cos(angle), np.sin(angle)])
    assert bowl(kappa, angle)(2 * along) == pytest.approx(2)  # ½ u², along the pipe


def test_the_wells_have_the_curvatures_of_the_two_bowls_that_they_are_made_of():
    np.testing.assert_allclose(eigenvalues(double_well, (1, 0)), [100, 100])
    np.testing.assert_allclose(eigenvalues(double_well, (-1, 0)), [2, 2])


def test_at_the_monkey_saddle_the_hessian_is_zero():
    np.testing.assert_array_equal(eigenvalues(surfaces.monkey_saddle, (0, 0)), [0, 0])


def test_the_grid_is_the_domain_as_contour_pictures_want_it():
    x, y, z = surfaces.rosenbrock.grid(5)
    assert x.shape == y.shape == z.shape == (5, 5)
    np.testing.assert_array_equal(x[0], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(y[:, 0], [-1, 0, 1, 2, 3])
    assert z[2, 3] == surfaces.rosenbrock((1, 1)) == 0


@pytest.mark.parametrize("kappa", [0.5, 0, -1.0, np.inf, np.nan])
def test_a_bowl_refuses_what_is_no_condition_number(kappa):
    with pytest.raises(ValueError, match="bowl: kappa = .*, wanted a finite number >= 1"):
        bowl(kappa)


def test_a_surface_refuses_what_is_no_point():
    with pytest.raises(ValueError, match=r"Rosenbrock: wanted two coordinates, a point of shape \(2, ...\), got 3"):
        surfaces.rosenbrock(mg.zeros(3))


def test_a_surface_of_ones_own_is_one_formula():
    slope = Surface("slope", lambda x, y: x + 2 * y, ((0.0, 1.0), (0.0, 1.0)), ((1.0, 1.0),))
    np.testing.assert_array_equal(gradient(slope, (5.0, 5.0)), [1, 2])
