"""Eigenvalues are those of matrices that are known, of LAPACK on the whole Hessian, and of ARPACK on a real network."""

import io
import itertools

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.datasets import load_digits

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset
from minigrad.engine import recording
from minigrad.functional import cross_entropy
from minigrad.training import fit
from optim import checks
from optim.landscape import condition_number, hessian_spectrum
from optim.landscape.surfaces import bowl, rosenbrock


def matrix_of(eigenvalues, seed=0):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues),) * 2))[0]
    return (Q * np.array(eigenvalues, float)) @ Q.T


def quadratic(A):
    return lambda x: 0.5 * (x @ A @ x)


def network(widths, dtype, seed=0):
    mg.manual_seed(seed)
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).to(dtype)


@pytest.fixture(scope="module")
def small():
    """A network of 500 parameters, its loss on random data, and all eigenvalues of the whole Hessian."""
    model = network((9, 33, 5), np.float64)
    rng = np.random.default_rng(0)
    x, y = mg.tensor(rng.standard_normal((64, 9))), mg.tensor(rng.integers(5, size=64))
    params = tuple(model.parameters())
    assert sum(p.size for p in params) == 500

    def loss():
        return cross_entropy(model(x), y)

    blocks = mg.autograd.hessian(lambda *_: loss(), params)
    H = np.block([[b.numpy().reshape(p.size, -1) for b in row] for p, row in zip(params, blocks)])
    return model, loss, np.linalg.eigvalsh(H)


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_eigenvalues_and_vectors_are_those_of_a_known_matrix(method):
    known = [-3.0, -1.0, 0.0, 0.5, 2.0, 7.0]
    A = matrix_of(known)
    found = hessian_spectrum(quadratic(A), np.ones(6), method, top=6, bottom=6)
    np.testing.assert_allclose(found.eigenvalues, known, atol=1e-12)
    np.testing.assert_allclose(found.vectors @ A, found.eigenvalues[:, None] * found.vectors, atol=1e-12)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(6), atol=1e-12)
    assert found.products == found.n == 6


def test_lanczos_finds_every_copy_of_a_multiple_eigenvalue():
    known = [1.0] * 5 + [4.0] * 3
    found = hessian_spectrum(quadratic(matrix_of(known)), np.ones(8), "lanczos", top=8, bottom=0)
    np.testing.assert_allclose(found.eigenvalues, known, atol=1e-12)


def test_a_loss_that_does_not_bend_has_eigenvalues_of_zero():
    for method in ("dense", "lanczos"):
        found = hessian_spectrum(lambda x: x.sum(), np.ones(4), method, top=3)
        assert not found.eigenvalues.any()


def test_lanczos_agrees_with_the_dense_spectrum_of_a_network_of_500_parameters(small):
    model, loss, known = small
    found = hessian_spectrum(loss, model, "lanczos", top=10, bottom=5, tolerance=1e-8)
    np.testing.assert_allclose(found.eigenvalues, [*known[:5], *known[-10:]], rtol=1e-6, atol=1e-6 * known[-1])
    assert found.products < 200
    np.testing.assert_allclose(hessian_spectrum(loss, model, "dense").eigenvalues, known, rtol=1e-9, atol=1e-12)


def test_the_error_that_is_stated_bounds_the_true_one(small):
    model, loss, known = small
    for tolerance in (0.1, 0.01, 1e-4):
        found = hessian_spectrum(loss, model, "lanczos", top=10, bottom=3, tolerance=tolerance)
        distances = abs(found.eigenvalues[:, None] - known).min(axis=1)
        assert (distances <= found.errors + 1e-13).all()
        assert (found.errors[3:] <= tolerance * found.eigenvalues[3:]).all()


def test_a_float32_network_has_the_spectrum_of_its_float64_twin(small):
    double, _, known = small
    single = network((9, 33, 5), np.float32)
    for p, q in zip(single.parameters(), double.parameters()):
        np.testing.assert_array_equal(p.data, q.data)  # float64 was made from float32
    rng = np.random.default_rng(0)
    x, y = mg.tensor(rng.standard_normal((64, 9)).astype(np.float32)), mg.tensor(rng.integers(5, size=64))
    found = hessian_spectrum(lambda: cross_entropy(single(x), y), single, "lanczos")
    np.testing.assert_allclose(found.eigenvalues[1:], known[-10:], rtol=1e-3)


class Work:
    """Counts the ops of a forward pass and the rules of a backward pass."""

    ops = rules = 0

    def computed(self, row, args, z, node):
        self.ops += 1

    def differentiated(self, node, parent, g, grad):
        self.rules += 1


def work(compute):
    counted = Work()
    with recording(counted):
        compute()
    return counted


def test_the_top_ten_of_the_digits_network_cost_less_than_200_gradients_and_are_those_of_arpack():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = optim.Adam(model.parameters(), lr=3e-3)
    fit(model, nn.CrossEntropyLoss(), opt, DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True), 5)
    model.to(np.float64)
    x, y, params = mg.tensor(images.astype(np.float64)), mg.tensor(labels), tuple(model.parameters())

    def loss(*_):
        return cross_entropy(model(x), y)

    found = []
    gradient = work(lambda: mg.grad(loss(), params))
    lanczos = work(lambda: found.append(hessian_spectrum(loss, model, top=10)))
    product = work(lambda: mg.autograd.hvp(loss, params, tuple(np.ones(p.shape) for p in params)))
    # One forward pass each, and all that follows is rules; what Lanczos looks at beforehand is 200 ops at most.
    assert gradient.ops + product.rules <= 4 * (gradient.ops + gradient.rules)
    assert 200 + lanczos.rules < 200 * (gradient.ops + gradient.rules)

    def times(v):
        parts = np.split(v.ravel(), np.cumsum([p.size for p in params])[:-1])
        parts = tuple(part.reshape(p.shape) for part, p in zip(parts, params))
        return np.concatenate([h.numpy() for h in mg.autograd.hvp(loss, params, parts)], axis=None)

    n = sum(p.size for p in params)
    start = np.random.default_rng(1).standard_normal(n)
    known = eigsh(LinearOperator((n, n), times, dtype=float), k=10, which="LA", v0=start, tol=1e-5)[0]
    np.testing.assert_allclose(found[0].eigenvalues[-10:], known, rtol=1e-3)


def test_a_hessian_costs_fewer_rules_than_its_products_one_by_one(small):
    model, loss, known = small
    params = tuple(model.parameters())
    product = work(lambda: mg.autograd.hvp(lambda *_: loss(), params, tuple(np.ones(p.shape) for p in params)))
    hessian = work(lambda: mg.autograd.hessian(lambda *_: loss(), params))
    assert hessian.ops + hessian.rules <= len(known) * (product.ops + product.rules)


def test_the_density_counts_every_eigenvalue_once():
    known = np.concatenate([np.zeros(60), np.linspace(5, 6, 30), [20.0] * 10])
    for method, allowed in (("dense", 1e-9), ("lanczos", 0.05)):
        found = hessian_spectrum(quadratic(matrix_of(known)), np.ones(100), method, top=1, probes=40)
        np.testing.assert_allclose(found.weights.sum(), 1)
        at = np.linspace(-2, 22, 2401)
        height = found.density(at, 0.1)
        shares = [height[(at > low) & (at <= high)].sum() * 0.01 for low, high in ((-2, 2), (2, 10), (10, 22))]
        np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=allowed)


def test_what_is_not_found_within_the_limit_is_an_error_that_says_how_near_it_came():
    A = np.diag(np.linspace(1, 2, 400))
    with pytest.raises(RuntimeError, match=r"after 20 products an eigenvalue is known as 1\.\d+ ± .*limit"):
        hessian_spectrum(quadratic(A), np.ones(400), "lanczos", limit=20)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "Lanczos"}, "method = 'Lanczos'; wanted one of"),
        ({"top": -1}, "top = -1; wanted an integer >= 0"),
        ({"top": 0, "bottom": 0, "method": "lanczos"}, "wanted at least one eigenvalue"),
        ({"probes": 0}, "probes = 0"),
        ({"limit": 2.5}, "limit = 2.5"),
        ({"tolerance": -1e-3}, "tolerance = -0.001"),
    ],
)
def test_a_bad_setting_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        hessian_spectrum(rosenbrock, [0.0, 0.0], **settings)


def test_a_hessian_that_would_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(checks, "memory_of_machine", lambda: 2**20)
    for tool in (lambda *a: hessian_spectrum(*a, "dense"), condition_number):
        with pytest.raises(MemoryError, match=r"n = 1,000 parameters the matrix has n² = 1,000,000 elements.*lanczos"):
            tool(lambda x: (x * x).sum(), np.ones(1000))


@pytest.mark.parametrize("kappa", [1.0, 10.0, 1e6])
def test_the_condition_number_of_a_bowl_is_its_own(kappa):
    np.testing.assert_allclose(condition_number(bowl(kappa, angle=0.4), [1.0, -2.0]), kappa, rtol=1e-9)


def test_the_condition_number_takes_absolute_values_and_knows_infinity():
    np.testing.assert_allclose(condition_number(quadratic(matrix_of([-8.0, 2.0, 3.0])), np.ones(3)), 4.0)
    assert condition_number(quadratic(matrix_of([0.0, 2.0, 3.0])), np.ones(3)) == np.inf


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_the_picture_shows_density_and_eigenvalues(method, small):
    model, loss, known = small
    figure = hessian_spectrum(loss, model, method).draw()
    curve, ticks = figure.axes
    assert "share of eigenvalues" in curve.get_ylabel()
    assert "eigenvalue λ" in ticks.get_xlabel()
    (events,) = ticks.collections
    shown = known if method == "dense" else [known[0], *known[-10:]]
    np.testing.assert_allclose(events.get_positions(), shown, atol=1e-3 * known[-1])
    assert [text.get_text() for text in figure.legends[0].get_texts()][1] == (
        "every eigenvalue" if method == "dense" else "the 11 outermost eigenvalues"
    )
    figure.savefig(io.BytesIO())
