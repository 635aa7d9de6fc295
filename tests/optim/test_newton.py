"""Newton's method jumps, squares its error, leaves saddles; its Hessian is PyTorch's, and the closed form's."""

import itertools

import numpy as np
import pytest
from scipy import optimize

import minigrad as mg
import optim
from minigrad import nn
from optim.landscape import surfaces
from optim.newton import newton_minimum, newton_root
from optim.second_order import Objective
from tests.golden.paths import HERE, PROBLEMS
from tests.optim.methods import bumpy, same, snapshot, start


def parameter(*values):
    return mg.tensor(np.array(values, float), requires_grad=True)


@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize("kappa", [1.0, 1e6])
def test_one_step_on_a_quadratic_is_the_whole_way(n, kappa):
    rng = np.random.default_rng(n)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A, wanted = (Q * np.geomspace(1, kappa, n)) @ Q.T, rng.standard_normal(n)
    p = parameter(*rng.standard_normal(n))
    optim.Newton([p]).step(lambda: 0.5 * (p - wanted) @ A @ (p - wanted))
    np.testing.assert_allclose(p.data, wanted, atol=1e-10)


def test_several_parameters_are_one_vector():
    params = start()
    target = start(seed=1)
    optim.Newton(params).step(
        lambda: (
            sum((k + 1) * ((p - q.data) ** 2).sum() for k, (p, q) in enumerate(zip(params, target)))
            + 0.3 * (sum(p.sum() for p in params) - sum(q.data.sum() for q in target)) ** 2
        )
    )
    for p, q in zip(params, target):
        np.testing.assert_allclose(p.data, q.data, atol=1e-10)


@pytest.mark.parametrize("surface", [surfaces.rosenbrock, surfaces.beale, surfaces.himmelblau], ids=lambda s: s.name)
def test_near_a_minimum_each_step_squares_the_error(surface):
    minimum = np.array(surface.minima[0])
    p = parameter(*np.add(minimum, (0.02, -0.01)))
    opt = optim.Newton([p])
    errors = [np.linalg.norm(p.data - minimum)]
    while errors[-1] > 1e-13 and len(errors) < 10:
        opt.step(lambda: surface(p))
        errors.append(np.linalg.norm(p.data - minimum))
    fast = [(a, b) for a, b in itertools.pairwise(errors) if a < 1e-3 and b > 1e-12]
    assert len(errors) < 8
    assert fast
    for before, after in fast:
        assert 1.5 < np.log(after) / np.log(before) < 3  # the exponent: 1 is linear


@pytest.mark.parametrize("seed", range(10))
def test_from_near_a_saddle_it_ends_in_a_minimum(seed):
    rng = np.random.default_rng(seed)
    n = 4
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    signs = np.array([-1.0, *rng.choice([-1.0, 1.0], n - 2), 1.0]) * rng.uniform(0.5, 5, n)
    A, third = (Q * signs) @ Q.T, rng.standard_normal((n, n))

    def loss_of(p):  # a saddle at 0, rising far away in all directions
        return 0.5 * p @ A @ p + 0.1 * (third @ p) @ (p * p) + 0.25 * ((p * p) ** 2).sum()

    p = parameter(*1e-3 * rng.standard_normal(n))
    opt = optim.Newton([p], line_search_fn="strong_wolfe")
    for _ in range(40):
        opt.step(lambda: loss_of(p))
    f = Objective(opt, lambda: loss_of(p))
    _, g = f(p.data.copy())
    assert abs(g).max() < 1e-8
    assert np.linalg.eigvalsh(f.hessian()).min() > 0
    assert np.linalg.norm(p.data) > 0.1


def test_pure_newton_steps_double_the_distance_from_a_saddle_where_h_would_lead_into_it():
    p = parameter(3.0, 1e-3)
    optim.Newton([p]).step(lambda: p[0] ** 2 - p[1] ** 2)
    np.testing.assert_allclose(p.data, [0.0, 2e-3], atol=1e-15)


def test_damping_is_added_to_the_hessian():
    p = parameter(2.0, -1.0)
    optim.Newton([p], damping=2.0).step(lambda: 2 * p[0] ** 2 + 0.5 * p[1] ** 2)
    np.testing.assert_allclose(p.data, [2 - 8 / 6, -1 + 1 / 3])


def test_a_step_takes_its_share_of_the_jump():
    p = parameter(2.0)
    optim.Newton([p], lr=0.25).step(lambda: (p**2).sum())
    np.testing.assert_allclose(p.data, [1.5])


def test_the_hessian_of_a_network_is_pytorchs():
    golden = np.load(HERE / "torch_hessian.npz")
    loss_of, begin, _ = PROBLEMS["mlp"]
    params = [mg.tensor(part, requires_grad=True) for part in begin]
    f = Objective(optim.Newton(params), lambda: loss_of(params, mg.tensor, mg.tanh))
    loss, g = f(f.vector([p.data for p in params]))
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-13)
    np.testing.assert_allclose(g, golden["g"], atol=1e-14)
    np.testing.assert_allclose(f.hessian(), golden["H"], atol=1e-13)


A, B = np.array([[3.0, 1.0], [-2.0, 0.5]]), np.array([0.7, -1.3])
CLOSED = {  # name: (f, its Hessian by hand) of two numbers
    "quadratic": (lambda x: x @ A @ x, lambda x: A + A.T),
    "product": (lambda x: x[0] * x[1] ** 2, lambda x: [[0, 2 * x[1]], [2 * x[1], 2 * x[0]]]),
    "exponential": (lambda x: mg.exp(B @ x), lambda x: np.outer(B, B) * np.exp(B @ x)),
    "sine": (lambda x: mg.sin(B @ x), lambda x: -np.outer(B, B) * np.sin(B @ x)),
    "norm": (
        lambda x: mg.sqrt((x * x).sum()),
        lambda x: np.eye(2) / np.linalg.norm(x) - np.outer(x, x) / np.linalg.norm(x) ** 3,
    ),
    "log of a sum of exponentials": (
        lambda x: mg.log(mg.exp(x).sum()),
        lambda x: np.diag(q := np.exp(x) / np.exp(x).sum()) - np.outer(q, q),
    ),
    "rosenbrock": (
        surfaces.rosenbrock,
        lambda x: [[2 - 400 * (x[1] - 3 * x[0] ** 2), -400 * x[0]], [-400 * x[0], 200]],
    ),
    "quotient": (
        lambda x: x[0] / x[1],
        lambda x: [[0, -1 / x[1] ** 2], [-1 / x[1] ** 2, 2 * x[0] / x[1] ** 3]],
    ),
    "power": (lambda x: (x**4).sum(), lambda x: np.diag(12 * x**2)),
    "softplus": (
        lambda x: mg.log(1 + mg.exp(B @ x)),
        lambda x: np.outer(B, B) * np.exp(B @ x) / (1 + np.exp(B @ x)) ** 2,
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_hessians_are_the_closed_forms(name):
    fn, by_hand = CLOSED[name]
    p = parameter(0.8, -1.7)
    f = Objective(optim.Newton([p]), lambda: fn(p))
    np.testing.assert_allclose(f.hessian(), by_hand(p.data), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------- state and refusals


def test_it_resumes_counts_and_keeps_the_dtype(tmp_path):
    params, twins = start(dtype=np.float32), start(dtype=np.float32)
    opt, other = (optim.Newton(ps, damping=1.0, line_search_fn="strong_wolfe") for ps in (params, twins))
    for _ in range(2):
        opt.step(lambda: bumpy(params))
    mg.save(opt.state_dict(), tmp_path / "state.npz")
    other.load_state_dict(mg.load(tmp_path / "state.npz"))
    for p, q in zip(params, twins):
        q.data[...] = p.data
    for ps, each in ((params, opt), (twins, other)):
        each.step(lambda ps=ps: bumpy(ps, 0.3))
    assert same(snapshot(params), snapshot(twins))
    assert opt.memory["t"] == other.memory["t"] == 3
    assert all(p.dtype == np.float32 for p in params)


def test_at_a_point_where_the_gradient_is_zero_it_stays():
    p = parameter(0.0, 0.0)
    opt = optim.Newton([p], line_search_fn="strong_wolfe")
    assert opt.step(lambda: p[0] ** 2 - p[1] ** 2).item() == 0
    assert not p.data.any()


def test_running_statistics_learn_once_a_step():
    norm = nn.BatchNorm1d(2).to(np.float64)
    x = np.random.default_rng(0).standard_normal((8, 2))
    optim.Newton(norm.parameters(), damping=1.0).step(lambda: ((norm(mg.tensor(x)) - 2 * x) ** 2).sum())
    assert norm.num_batches_tracked.item() == 1


def test_a_hessian_that_would_not_fit_is_refused_before_anything_is_computed():
    p = mg.zeros(1_000_000, requires_grad=True)
    with pytest.raises(MemoryError, match=r"Newton: of n = 1,000,000 parameters .*1,000,000,000,000 .*GiB"):
        optim.Newton([p]).step(lambda: pytest.fail("the closure was run"))


def test_what_is_refused_changes_nothing():
    p, q = parameter(2.0, 1.0), parameter(1.0)
    with pytest.raises(ValueError, match="damping = -1.0; wanted a finite number >= 0"):
        optim.Newton([p], damping=-1.0)
    with pytest.raises(ValueError, match="one parameter group"):
        optim.Newton([{"params": [p]}, {"params": [q]}])
    opt = optim.Newton([p])
    with pytest.raises(ValueError, match=r"Hessian is zero here.*damping > 0"):
        opt.step(lambda: p.sum())
    with pytest.raises(ValueError, match="loss is inf where the step begins"):
        opt.step(lambda: (p * p).sum() * np.inf)
    with pytest.raises(TypeError, match="wants a closure"):
        opt.step()
    np.testing.assert_equal(p.numpy(), [2.0, 1.0])
    assert not opt.state or not opt.memory["t"]


# ------------------------------------------------------------------------------------------- of one number


ROOTS = {  # f, as scipy and minigrad both take it, and a start
    "square root of 2": (lambda x: x**2 - 2, 1.0),
    "cubic": (lambda x: x**3 - 2 * x - 5, 2.0),
    "cosine": (lambda x: np.cos(x) - x, 0.5),
    "exponential": (lambda x: np.exp(x) - 3 * x - 1, 2.0),
    "Kepler": (lambda x: x - 0.8 * np.sin(x) - 1.0, 1.0),
}


@pytest.mark.parametrize("name", ROOTS)
def test_roots_are_scipys(name):
    f, x0 = ROOTS[name]

    def slope(x):
        x = mg.tensor(np.float64(x), requires_grad=True)
        return mg.grad(f(x), x)[0].item()

    path = []
    found = newton_root(f, x0, callback=path.append)
    expected = optimize.newton(f, x0, slope, tol=1e-10)
    assert abs(found - expected) < 1e-12
    assert path[0] == x0
    assert path[-1] == found
    errors = [abs(x - expected) for x in path if 1e-7 < abs(x - expected) < 0.1]
    assert all(after < 5 * before**2 for before, after in itertools.pairwise(errors))


def test_minima_of_one_number_are_roots_of_the_derivative():
    assert abs(newton_minimum(lambda x: (x - 3) ** 4 + (x - 3) ** 2, 1.0) - 3) < 1e-12
    assert abs(newton_minimum(np.cos, 3.0) - np.pi) < 1e-12
    with pytest.raises(ValueError, match=r"f'' = -1 there: no minimum"):
        newton_minimum(np.cos, 0.3)


def test_where_there_is_no_root_it_says_what_happened():
    with pytest.raises(ValueError, match=r"tangent at x = 0 is level"):
        newton_root(lambda x: x**2 + 1, 0.0)
    with pytest.raises(RuntimeError, match=r"after 50 steps .* x0 = 0.3"):
        newton_root(lambda x: x**2 + 1, 0.3)
    assert newton_root(lambda x: x**2, 0.0) == 0.0
