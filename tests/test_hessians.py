"""Gradients and Hessians are SymPy's, of functions that it was given as formulas in single numbers."""

import json

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.autograd import hessian
from optim.landscape import surfaces
from tests.golden import classics
from tests.golden.paths import HERE

CASES = json.loads((HERE / "sympy_hessians.json").read_text())["cases"]

U, V = np.array([1.0, 2.0]), np.array([3.0, -1.0])
INPUTS, LABELS = np.array([[1.0, 2.0], [-1.0, 1.0]]), np.array([0, 2])
PLACES = np.array([-1.0, 0.5, 2.0])


def powers(x):
    return x[0] ** x[1] + x[1] ** x[0]


def waves(x):
    return mg.sin(x[0] * x[1]) * mg.cos(x[1] * x[2]) + mg.tanh(x[0] - x[2])


def trace_of_cube(x):
    X = x.reshape(2, 2)
    return mg.trace(X @ X @ X)


def log_det(x):
    return mg.linalg.slogdet(x[[0, 1, 1, 2]].reshape(2, 2)).logabsdet


def network(x):
    wave, height = x[:4].reshape(2, 2), x[4:]
    return F.mse_loss(mg.tanh(mg.outer(mg.tensor(PLACES), wave[:, 0]) + wave[:, 1]) @ height, mg.tensor(PLACES**2))


# fmt: off
FUNCTIONS = {
    "rosenbrock":     classics.rosenbrock,
    "beale":          surfaces.beale,
    "himmelblau":     surfaces.himmelblau,
    "rastrigin":      surfaces.rastrigin,
    "plateau":        surfaces.plateau,
    "double_well":    surfaces.double_well,
    "log_sum_exp":    mg.logsumexp,
    "product":        mg.prod,
    "powers":         powers,
    "norm":           lambda x: mg.linalg.norm(np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]) @ x),
    "waves":          waves,
    "helical_valley": classics.helical_valley,
    "trace_of_cube":  trace_of_cube,
    "log_det":        log_det,
    "inverse":        lambda x: U @ mg.linalg.inv(x.reshape(2, 2)) @ V,
    "cross_entropy":  lambda x: F.cross_entropy(INPUTS @ x.reshape(3, 2).T, mg.tensor(LABELS)),
    "network":        network,
}
# fmt: on


def test_every_function_is_in_the_file_at_two_points_or_more():
    names = [case["function"] for case in CASES]
    assert set(names) == set(FUNCTIONS)
    assert all(names.count(name) >= 2 for name in FUNCTIONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['function']} at {case['x']}")
def test_gradients_and_hessians_are_sympys(case):
    fn = FUNCTIONS[case["function"]]
    x = mg.tensor(np.array(case["x"]), requires_grad=True)
    f = fn(x)
    (g,) = mg.grad(f, x)
    for found, wanted in ((f, case["f"]), (g, case["g"]), (hessian(fn, x), case["H"])):
        np.testing.assert_allclose(found.data, wanted, rtol=1e-12, atol=1e-13 * np.abs(wanted).max())
