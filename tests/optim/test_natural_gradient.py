"""The natural gradient is F⁻¹g as written out by hand, and the same in all coordinates."""

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import functional as F
from minigrad import nn
from optim.likelihoods import LIKELIHOODS
from optim.natural_gradient import conjugate_gradients
from tests.optim.methods import same, snapshot

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))
LABELS = RNG.integers(0, 4, 20)
SIGNS = (RNG.random((20, 2)) < 0.5).astype(float)
NUMBERS = RNG.standard_normal((20, 2))


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def linear(inputs, outputs, seed=0):
    mg.manual_seed(seed)
    return nn.Linear(inputs, outputs).to(np.float64)


def by_hand(model, scores_and_weights):
    """1/N Σ of w s sᵀ, s the gradient of -log p(y | x) in (weight, bias) of a linear model, for each example and y."""
    n = sum(p.size for p in model.parameters())
    F_ = np.zeros((n, n))
    for x, pairs in zip(X, scores_and_weights):
        for score, weight in pairs:
            s = np.concatenate([np.outer(score, x).ravel(), score])
            F_ += weight * np.outer(s, s) / len(X)
    return F_


def softmax_fisher(model, fisher):
    p = softmax(X @ model.weight.data.T + model.bias.data)
    exact = [[(q - np.eye(4)[c], q[c]) for c in range(4)] for q in p]
    empirical = [[(q - np.eye(4)[y], 1.0)] for q, y in zip(p, LABELS)]
    return by_hand(model, exact if fisher == "exact" else empirical)


def step(model, loss_of, **settings):
    """(gradient, what the step changed), as vectors."""
    before = np.concatenate([p.data.ravel() for p in model.parameters()])
    optim.NaturalGradient(model, **settings).step(loss_of)
    g = np.concatenate([p.grad.data.ravel() for p in model.parameters()])
    return g, np.concatenate([p.data.ravel() for p in model.parameters()]) - before


@pytest.mark.parametrize("solver", ["dense", "cg"])
@pytest.mark.parametrize("fisher", ["exact", "empirical"])
def test_on_softmax_regression_it_is_the_fisher_matrix_written_out(fisher, solver):
    model = linear(3, 4)
    matrix = softmax_fisher(model, fisher) + 0.1 * np.eye(16)
    g, moved = step(
        model, lambda: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)),
        lr=0.5, damping=0.1, fisher=fisher, solver=solver, cg_tolerance=1e-13,
    )  # fmt: skip
    np.testing.assert_allclose(moved, -0.5 * np.linalg.solve(matrix, g), atol=1e-10)


@pytest.mark.parametrize("likelihood, target", [("gaussian", NUMBERS), ("bernoulli", SIGNS)])
def test_for_a_linear_model_the_exact_fisher_is_the_hessian(likelihood, target):
    """With the natural parameters as outputs, so that B is the Hessian of the loss whatever the target."""
    losses = {
        "gaussian": lambda: 0.5 * F.mse_loss(model(mg.tensor(X)), mg.tensor(target), reduction="sum") / len(X),
        "bernoulli": lambda: F.binary_cross_entropy_with_logits(
            model(mg.tensor(X)), mg.tensor(target), reduction="sum"
        ) / len(X),
    }  # fmt: skip
    model = linear(3, 2)
    _, moved = step(model, losses[likelihood], damping=0.0, likelihood=likelihood)
    model = linear(3, 2)
    params = [*model.parameters()]
    before = np.concatenate([p.data.ravel() for p in params])
    optim.Newton(params).step(losses[likelihood])
    np.testing.assert_allclose(before + moved, np.concatenate([p.data.ravel() for p in params]), atol=1e-10)


def test_dense_and_conjugate_gradients_agree_on_a_deep_network():
    def model():
        mg.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).to(np.float64)

    steps = []
    for solver in ("dense", "cg"):
        net = model()
        steps.append(
            step(
                net, lambda net=net: F.cross_entropy(net(mg.tensor(X)), mg.tensor(LABELS)),
                damping=1e-2, solver=solver, cg_iter=200, cg_tolerance=1e-13,
            )[1]
        )  # fmt: skip
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-9)


class Reparametrised(nn.Module):
    """A linear model whose weights are M θ: the same functions, other coordinates."""

    def __init__(self, weights, M):
        self.M = M
        self.theta = nn.Parameter(np.linalg.solve(M, weights))

    def forward(self, x):
        return x @ (mg.tensor(self.M) @ self.theta).reshape(3, 1)


def paths(make):
    """The functions that two optimizers walk through, in two coordinates, from the same one on."""
    rng = np.random.default_rng(2)
    M = rng.standard_normal((3, 3)) + 3 * np.eye(3)
    weights = rng.standard_normal(3)
    found = []
    for matrix in (np.eye(3), M):
        model = Reparametrised(weights, matrix)
        opt = make(model)
        for _ in range(10):
            opt.step(
                lambda model=model: F.binary_cross_entropy_with_logits(model(mg.tensor(X)), mg.tensor(SIGNS[:, :1]))
            )
        found.append(matrix @ model.theta.data)
    return found


@pytest.mark.parametrize("solver", ["dense", "cg"])
def test_other_coordinates_give_the_same_path_where_gradient_descent_goes_another(solver):
    a, b = paths(
        lambda model: optim.NaturalGradient(
            model, lr=0.3, damping=0.0, likelihood="bernoulli", solver=solver, cg_tolerance=1e-14
        )
    )
    np.testing.assert_allclose(a, b, atol=1e-8)
    a, b = paths(lambda model: optim.SGD(model.parameters(), lr=0.3))
    assert np.abs(a - b).max() > 1e-2


# ------------------------------------------------------------------------------------------- likelihoods


def covariance(name, z):
    """B for one example, from the distribution itself."""
    if name == "categorical":
        p = softmax(z)
        return np.diag(p) - np.outer(p, p)
    p = 1 / (1 + np.exp(-z))
    return np.eye(len(z)) if name == "gaussian" else np.diag(p * (1 - p))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_products_roots_and_draws_have_the_covariance_of_the_score(name):
    likelihood = LIKELIHOODS[name]
    z = np.array([[0.3, -1.2, 2.0], [1.0, 0.0, -0.5]])
    u = np.array([[1.0, -2.0, 0.5], [0.2, 0.7, -1.0]])
    roots = np.array([*likelihood.roots(z)])
    for k, row in enumerate(z):
        B = covariance(name, row)
        np.testing.assert_allclose(likelihood.product(z, u)[k], B @ u[k], atol=1e-14)
        np.testing.assert_allclose(roots[:, k].T @ roots[:, k], B, atol=1e-14)
    mg.manual_seed(3)
    scores = likelihood.draw(np.tile(z[0], (20_000, 1)))
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(scores.T @ scores / len(scores), covariance(name, z[0]), atol=0.03)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_keep_the_dtype_and_follow_the_seed(name):
    z = np.zeros((3, 2), np.float32)
    mg.manual_seed(0)
    first = LIKELIHOODS[name].draw(z)
    mg.manual_seed(0)
    assert same(LIKELIHOODS[name].draw(z), first)
    assert first.dtype == np.float32


def test_conjugate_gradients_need_as_many_products_as_there_are_different_eigenvalues():
    Q = np.linalg.qr(np.random.default_rng(4).standard_normal((30, 30)))[0]
    A = (Q * np.repeat([1.0, 7.0, 50.0], 10)) @ Q.T
    b, calls = Q.sum(axis=1), []
    x = conjugate_gradients(lambda v: (calls.append(0), A @ v)[1], b, 30, 1e-10)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), atol=1e-9)
    assert len(calls) == 3


# ------------------------------------------------------------------------------------------- state and refusals


def test_it_learns_resumes_and_keeps_the_dtype(tmp_path):
    def run(model, opt, steps):
        return [
            opt.step(
                lambda: F.cross_entropy(model(mg.tensor(X.astype(np.float32))), mg.tensor(LABELS))
            ).item()
            for _ in range(steps)
        ]  # fmt: skip

    mg.manual_seed(0)
    model = nn.Linear(3, 4)
    opt = optim.NaturalGradient(model, lr=0.5)
    losses = run(model, opt, 3)
    mg.save({"model": model.state_dict(), "opt": opt.state_dict()}, tmp_path / "state.npz")
    losses += run(model, opt, 3)
    assert losses[-1] < losses[0]
    saved, twin = mg.load(tmp_path / "state.npz"), nn.Linear(3, 4)
    twin.load_state_dict(saved["model"])
    other = optim.NaturalGradient(twin, lr=0.1)
    other.load_state_dict(saved["opt"])
    assert run(twin, other, 3) == losses[3:]
    assert same(snapshot(twin.parameters()), snapshot(model.parameters()))
    assert model.weight.dtype == np.float32
    assert not model._forward_hooks


def test_frozen_parameters_stay():
    model = linear(3, 4)
    model.bias.requires_grad = False
    bias = model.bias.data.copy()
    optim.NaturalGradient(model).step(lambda: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)))
    assert same(model.bias.data, bias)


def test_what_is_refused_changes_nothing():
    model = linear(3, 4)
    before = snapshot(model.parameters())
    x, y = mg.tensor(X), mg.tensor(LABELS)
    with pytest.raises(TypeError, match="takes the model itself"):
        optim.NaturalGradient(model.parameters())
    for bad in ({"fisher": "true"}, {"solver": "lu"}, {"damping": -1.0}, {"likelihood": "poisson"}, {"cg_iter": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            optim.NaturalGradient(model, **bad)
    opt = optim.NaturalGradient(model, damping=0.0)
    with pytest.raises(ValueError, match="singular, .*damping > 0"):  # one input that is always 0
        opt.step(lambda: F.cross_entropy(model(x * np.array([1.0, 1.0, 0.0])), y))
    with pytest.raises(RuntimeError, match="called the model 2 times"):
        opt.step(lambda: F.cross_entropy(model(x), y) + F.cross_entropy(model(x), y))
    with pytest.raises(RuntimeError, match="called the model 0 times"):
        opt.step(lambda: (model.weight**2).sum())
    with pytest.raises(ValueError, match=r"output has shape \(5, 4, 4\).*wants \(N, C\)"):
        opt.step(lambda: model(x.reshape(5, 4, 3)).sum())
    assert same(snapshot(model.parameters()), before)
    assert not opt.state or not opt.memory["t"]
