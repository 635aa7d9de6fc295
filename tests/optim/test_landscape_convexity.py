"""Convex functions pass on every sample; of others a witness is shown, and the witness holds."""

import numpy as np
import pytest

import minigrad as mg
from optim.landscape import convexity, surfaces

CONDITIONS = ["definition", "first-order", "second-order"]
BOX = [(-2.0, 2.0)] * 3

rng = np.random.default_rng(0)
A, b = rng.standard_normal((5, 3)), rng.standard_normal(5)

# fmt: off
CONVEX = {
    "linear":            lambda x: A[0] @ x,
    "quadratic":         lambda x: ((A @ x - b) ** 2).sum(),
    "log-sum-exp":       lambda x: mg.logsumexp(A @ x + b),
    "norm":              lambda x: mg.linalg.norm(x),
    "largest":           lambda x: mg.max(A @ x + b),
    "softplus":          lambda x: mg.functional.softplus(A @ x).sum(),
    "sum of convex":     lambda x: mg.exp(x[0]) + (x**4).sum(),
    "max of convex":     lambda x: mg.maximum(mg.exp(x[0]), (x**2).sum()),
    "3 × convex":        lambda x: 3.0 * mg.exp(x.sum()),
}
NOT_CONVEX = {
    "saddle":            lambda x: x[0] ** 2 - x[1] ** 2 + x[2],
    "sine":              lambda x: mg.sin(x).sum(),
    "product of convex": lambda x: (x[0] - 1) ** 2 * (x[0] + 1) ** 2,
    "-1 × convex":       lambda x: -mg.exp(x.sum()),
    "ring":              lambda x: ((x * x).sum() - 1) ** 2,
}
# fmt: on


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", CONVEX)
def test_a_convex_function_passes_and_that_is_called_evidence(name, condition):
    found = convexity(CONVEX[name], BOX, condition, samples=150)
    assert found
    assert found.witness is None
    assert str(found).endswith("in 150 samples: evidence that it is convex, not a proof")


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", NOT_CONVEX)
def test_of_any_other_the_witness_holds(name, condition):
    fn = NOT_CONVEX[name]
    found = convexity(fn, BOX, condition, samples=2000)
    assert not found
    assert str(found).startswith("not convex: ")
    w = found.witness

    def f(x):
        return fn(mg.tensor(x)).item()

    x = w["x"]
    assert (abs(x) <= 2).all()
    slope = np.array([(f(x + e) - f(x - e)) / 2e-6 for e in 1e-6 * np.eye(3)])
    if condition == "definition":
        y, t = w["y"], w["t"]
        assert f(t * x + (1 - t) * y) > t * f(x) + (1 - t) * f(y)
    elif condition == "first-order":
        y = w["y"]
        assert f(y) < f(x) + slope @ (y - x) + 1e-5
        np.testing.assert_allclose(w["f(x) + gᵀ(y - x)"], f(x) + slope @ (y - x), rtol=1e-4, atol=1e-4)
    else:
        v = w["v"]
        bend = (f(x + 1e-3 * v) - 2 * f(x) + f(x - 1e-3 * v)) / 1e-6
        assert w["vᵀHv"] < 0
        np.testing.assert_allclose(bend, w["vᵀHv"], rtol=1e-2, atol=1e-3)


def test_the_second_order_does_not_see_a_kink_the_others_do():
    def roof(x):
        return -mg.abs(x).sum()

    assert [bool(convexity(roof, [(-1, 1)], c)) for c in CONDITIONS] == [False, False, True]


def test_surfaces_bring_their_domain_and_a_part_of_one_may_be_convex():
    assert not convexity(surfaces.rosenbrock)
    assert convexity(surfaces.rosenbrock, [(0.9, 1.1), (0.5, 0.6)], "second-order")
    assert convexity(surfaces.bowl(100))
    for surface in (surfaces.saddle, surfaces.himmelblau, surfaces.rastrigin, surfaces.double_well, surfaces.plateau):
        assert not convexity(surface)


def test_samples_come_from_the_seed_and_stop_at_the_first_failure():
    one, again, other = (convexity(surfaces.himmelblau, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.witness["x"], again.witness["x"])
    assert (one.witness["x"] != other.witness["x"]).any()
    assert convexity(surfaces.himmelblau, samples=one.samples).samples == one.samples
    if one.samples > 1:
        assert convexity(surfaces.himmelblau, samples=one.samples - 1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: convexity(mg.sin, BOX, "third-order"), ValueError, "condition = 'third-order'; wanted one of"),
        (lambda: convexity(mg.sin), ValueError, "domain = None; wanted"),
        (lambda: convexity(mg.sum, [(1, 0)]), ValueError, "domain = "),
        (lambda: convexity(mg.sum, [(0, np.inf)]), ValueError, "domain = "),
        (lambda: convexity(mg.sum, [(0, 1)], samples=0), ValueError, "samples = 0"),
        (lambda: convexity(mg.sin, BOX), TypeError, r"wanted|one number, got shape \(3,\)"),
        (lambda: convexity(lambda x: 1.0, BOX), TypeError, "one number, got float"),
        (lambda: convexity(lambda x: x.sum() * np.inf, BOX), ValueError, "f is -?inf at .*; give a domain"),
    ],
)
def test_a_bad_call_is_refused_by_name(call, error, words):
    with pytest.raises(error, match="convexity: .*" + words):
        call()
