"""The strong Wolfe search keeps its promise, also where losses overflow, and says why where it cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optim.line_search import strong_wolfe

C1, C2 = 1e-4, 0.9


def line(phi, slope):
    """A function of one number, as the search wants it, that counts its calls."""

    def f(x):
        f.calls += 1
        return float(phi(x[0])), np.array([slope(x[0])])

    f.calls = 0
    return f


LINES = {
    "parabola": (lambda x: (x - 3) ** 2, lambda x: 2 * (x - 3)),
    "quartic": (lambda x: (x - 1) ** 4 - x, lambda x: 4 * (x - 1) ** 3 - 1),
    "a narrow dip far away": (lambda x: -1 / (1 + (x - 50) ** 2), lambda x: 2 * (x - 50) / (1 + (x - 50) ** 2) ** 2),
    "waves": (lambda x: np.cos(x) - 0.05 * x, lambda x: -np.sin(x) - 0.05),
    "More and Thuente 1": (lambda x: -x / (x**2 + 2), lambda x: (x**2 - 2) / (x**2 + 2) ** 2),
    "More and Thuente 2": (
        lambda x: (x + 0.004) ** 5 - 2 * (x + 0.004) ** 4,
        lambda x: 5 * (x + 0.004) ** 4 - 8 * (x + 0.004) ** 3,
    ),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("t", [1e-3, 0.1, 1.0, 10.0, 1e3])
def test_the_step_found_fulfils_both_conditions(name, t):
    f = line(*LINES[name])
    x, d = np.array([0.01]), np.array([1.0])
    loss, g = f(x)
    found, new, g_new = strong_wolfe(f, x, d, t, loss, g, max_evaluations=60)
    assert found > 0
    assert (new, *g_new) == (f(x + found * d)[0], *f(x + found * d)[1])
    assert new <= loss + C1 * found * (g @ d)
    assert abs(g_new @ d) <= C2 * abs(g @ d)


@given(st.floats(-5, 5), st.floats(0.1, 20), st.floats(1e-4, 1e3))
def test_no_step_goes_uphill_however_few_evaluations_there_are(x0, frequency, t):
    f = line(lambda x: np.sin(frequency * x) + 0.1 * x**2, lambda x: frequency * np.cos(frequency * x) + 0.2 * x)
    x = np.array([x0])
    loss, g = f(x)
    if g[0] == 0:
        return
    for most in range(6):
        f.calls = 0
        _, new, _ = strong_wolfe(f, x, -g, t, loss, g, max_evaluations=most)
        assert new <= loss
        assert f.calls <= most + 1


@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.nan])
def test_a_step_to_where_the_loss_is_not_finite_is_halved_until_it_is(beyond):
    f = line(lambda x: (x - 1) ** 2 if x < 2 else beyond, lambda x: 2 * (x - 1) if x < 2 else np.nan)
    x, d = np.array([0.0]), np.array([1.0])
    t, loss, _ = strong_wolfe(f, x, d, 64.0, *f(x))
    assert 0 < t < 2
    assert loss < 1


def test_a_loss_that_only_rises_gives_no_step():
    f = line(lambda x: abs(x), lambda x: -1.0 if x == 0 else 1.0)  # whose slope at 0 says that it falls
    x, d = np.array([0.0]), np.array([1.0])
    assert strong_wolfe(f, x, d, 1.0, *f(x))[:2] == (0.0, 0.0)


@pytest.mark.parametrize("direction", [1.0, 0.0, np.nan])
def test_a_direction_that_does_not_lead_downhill_is_refused_before_anything_is_evaluated(direction):
    f = line(lambda x: x, lambda x: 1.0)
    with pytest.raises(ValueError, match=r"does not lead downhill.*wanted < 0.*damping"):
        strong_wolfe(f, np.array([0.0]), np.array([direction]), 1.0, 0.0, np.array([1.0]))
    assert f.calls == 0
