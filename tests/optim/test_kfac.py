"""K-FAC's factors are expectations written out; where the Fisher matrix comes apart exactly, it is the natural gradient."""

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import functional as F
from minigrad import nn
from optim.kfac import input_factor, inverses, output_factor
from tests.optim.methods import same, snapshot

RNG = np.random.default_rng(0)
X, NUMBERS, LABELS = RNG.standard_normal((30, 3)), RNG.standard_normal((30, 2)), RNG.integers(0, 4, 30)


def linear(inputs, outputs, bias=True):
    mg.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias).to(np.float64)


def vector(model):
    return np.concatenate([p.data.ravel() for p in model.parameters()])


def in_layers_order(kronecker, outputs, inputs):
    """A matrix over (out, in + 1) made one over (weight, bias), the order of the parameters."""
    index = np.arange(outputs * (inputs + 1)).reshape(outputs, inputs + 1)
    order = np.concatenate([index[:, :-1].ravel(), index[:, -1]])
    return kronecker[np.ix_(order, order)]


def fisher_matrix(model, loss_of, likelihood):
    """F itself, from the products that a natural gradient step takes."""
    opt = optim.NaturalGradient(model, likelihood=likelihood)
    seen = {}
    original = opt.fisher_product

    def spying(*args):
        product = original(*args)
        seen["F"] = np.stack([product(v) for v in np.eye(vector(model).size)])
        return product

    opt.fisher_product = spying
    opt.step(loss_of)
    return seen["F"]


def test_for_one_layer_and_a_gaussian_it_is_the_natural_gradient():
    """There G = I whatever the input, so that F = A ⊗ G exactly."""
    ends = []
    for make in (
        lambda model: optim.KFAC(
            model, lr=1.0, damping=0.0, likelihood="gaussian", fisher="exact", momentum=0.0, kl_clip=0.0
        ),
        lambda model: optim.NaturalGradient(model, damping=0.0, likelihood="gaussian"),
    ):
        model = linear(3, 2)
        make(model).step(lambda model=model: F.mse_loss(model(mg.tensor(X)), mg.tensor(NUMBERS)))
        ends.append(vector(model))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-11)


def test_for_a_batch_of_one_the_factors_are_the_fisher_matrix():
    x, y = mg.tensor(X[:1]), mg.tensor(LABELS[:1])
    model = linear(3, 4)
    opt = optim.KFAC(model, lr=0.0, fisher="exact")
    opt.step(lambda: F.cross_entropy(model(x), y))
    state = opt.state[model.weight]
    kronecker = in_layers_order(np.kron(state["G"], state["A"]), 4, 3)
    expected = fisher_matrix(model, lambda: F.cross_entropy(model(x), y), "categorical")
    np.testing.assert_allclose(kronecker, expected, atol=1e-14)


def test_momentum_adds_a_share_of_the_last_step_to_the_next():
    ends = []
    for momentum in (0.0, 0.9):
        model = linear(3, 4)
        opt = optim.KFAC(model, lr=0.1, fisher="exact", momentum=momentum, kl_clip=0.0)
        path = [vector(model)]
        for _ in range(2):
            opt.step(lambda model=model: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)))
            path.append(vector(model))
        ends.append(path)
    (a0, a1, a2), (b0, b1, b2) = ends
    np.testing.assert_equal([*map(np.asarray, (a0, a1))], [*map(np.asarray, (b0, b1))])
    np.testing.assert_allclose(b2 - a2, 0.9 * (a1 - a0), atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_a_step_is_the_formula_written_out(bias):
    model = linear(3, 4, bias)
    z = X @ model.weight.data.T + (model.bias.data if bias else 0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    e = p - np.eye(4)[LABELS]
    a = np.hstack([X, np.ones((30, 1))]) if bias else X
    A, G, dW = a.T @ a / 30, e.T @ e / 30, e.T @ a / 30
    pi, root = np.sqrt((np.trace(A) / len(A)) / (np.trace(G) / 4)), np.sqrt(0.02)
    V = np.linalg.inv(G + root / pi * np.eye(4)) @ dW @ np.linalg.inv(A + pi * root * np.eye(len(A)))
    nu = np.sqrt(1e-3 / (0.7**2 * (V * dW).sum()))
    assert nu < 1
    W = np.hstack([model.weight.data, model.bias.data[:, None]]) if bias else model.weight.data.copy()
    opt = optim.KFAC(model, lr=0.7, damping=0.02, fisher="empirical", kl_clip=1e-3)
    opt.step(lambda: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)))
    found = np.hstack([model.weight.data, model.bias.data[:, None]]) if bias else model.weight.data
    np.testing.assert_allclose(found, W - 0.7 * nu * V, atol=1e-12)


def test_the_factors_of_a_convolution_are_sums_over_patches():
    mg.manual_seed(0)
    layer = nn.Conv2d(2, 3, (2, 3), stride=(1, 2), padding=(1, 0)).to(np.float64)
    images = RNG.standard_normal((4, 2, 5, 7))
    g = RNG.standard_normal(layer(mg.tensor(images)).shape)
    framed = np.pad(images, [(0, 0), (0, 0), (1, 1), (0, 0)])
    A, G = np.zeros((13, 13)), np.zeros((3, 3))
    for n in range(4):
        for i in range(g.shape[2]):
            for j in range(g.shape[3]):
                a = np.append(framed[n, :, i : i + 2, 2 * j : 2 * j + 3].ravel(), 1.0)
                A += np.outer(a, a) / 4
                G += np.outer(g[n, :, i, j], g[n, :, i, j]) / (4 * g.shape[2] * g.shape[3])
    np.testing.assert_allclose(input_factor(layer, images), A, atol=1e-12)
    np.testing.assert_allclose(output_factor([g]), G, atol=1e-12)


def test_a_convolution_over_one_place_is_a_linear_layer():
    flat, image = linear(12, 4), nn.Conv2d(3, 4, 2).to(np.float64)
    image.load_state_dict({"weight": flat.weight.data.reshape(4, 3, 2, 2), "bias": flat.bias})
    x = RNG.standard_normal((30, 12))
    for model, inputs in ((flat, x), (nn.Sequential(image, nn.Flatten()), x.reshape(30, 3, 2, 2))):
        opt = optim.KFAC(model, lr=0.1, fisher="exact")
        for _ in range(3):
            opt.step(lambda model=model, inputs=inputs: F.cross_entropy(model(mg.tensor(inputs)), mg.tensor(LABELS)))
    np.testing.assert_allclose(image.weight.data.reshape(4, 12), flat.weight.data, atol=1e-11)
    np.testing.assert_allclose(image.bias.data, flat.bias.data, atol=1e-11)


def test_sampled_factors_come_near_the_exact_ones():
    model = linear(3, 4)
    x = mg.tensor(np.repeat(X, 400, axis=0))
    y = mg.tensor(np.repeat(LABELS, 400))
    found = {}
    for fisher in ("sampled", "exact"):
        opt = optim.KFAC(model, lr=0.0, fisher=fisher)
        opt.step(lambda: F.cross_entropy(model(x), y))
        found[fisher] = opt.state[model.weight]["G"]
    np.testing.assert_allclose(found["sampled"], found["exact"], atol=0.01)


def test_the_averages_start_as_means_and_then_forget():
    model = linear(3, 2)
    opt = optim.KFAC(model, lr=0.0, likelihood="gaussian", fisher="exact", decay=0.6)
    factors, expected = [], None
    for k in range(5):
        x = RNG.standard_normal((8, 3))
        opt.step(lambda x=x: 0.5 * F.mse_loss(model(mg.tensor(x)), mg.tensor(NUMBERS[:8])))
        a = np.hstack([x, np.ones((8, 1))])
        factors.append(a.T @ a / 8)
        kept = min(k / (k + 1), 0.6)
        expected = factors[0] if k == 0 else kept * expected + (1 - kept) * factors[-1]
        np.testing.assert_allclose(opt.state[model.weight]["A"], expected, atol=1e-13)
        if k == 1:
            np.testing.assert_allclose(expected, (factors[0] + factors[1]) / 2)


def test_factors_and_inverses_are_renewed_when_they_are_due():
    model = linear(3, 4)
    opt = optim.KFAC(model, lr=1e-3, factor_every=2, inverse_every=3)
    seen = []
    for _ in range(7):
        opt.step(lambda: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)))
        state = opt.state[model.weight]
        seen.append((state["G"], state["G_inverse"]))
    renewed = [[seen[k][i] is not seen[k - 1][i] for k in range(1, 7)] for i in (0, 1)]
    assert renewed == [[False, True, False, True, False, True], [False, False, True, False, False, True]]


def test_a_larger_damping_gives_a_shorter_step_towards_the_gradient():
    lengths, angles = [], []
    for damping in (1e-3, 1e-1, 1e3):
        model = linear(3, 4)
        before = vector(model)
        optim.KFAC(model, lr=1.0, damping=damping, fisher="exact", kl_clip=0.0).step(
            lambda model=model: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS))
        )
        moved, g = vector(model) - before, np.concatenate([p.grad.data.ravel() for p in model.parameters()])
        lengths.append(np.linalg.norm(moved))
        angles.append(-(moved @ g) / np.linalg.norm(moved) / np.linalg.norm(g))
    assert lengths[0] > lengths[1] > lengths[2]
    assert angles[2] > 0.999


def test_the_damping_weighs_on_both_factors_alike():
    A, G = np.diag([100.0, 300.0]), np.diag([0.01, 0.03])
    A_inverse, G_inverse = inverses(A, G, damping=0.04)
    np.testing.assert_allclose(A_inverse, np.linalg.inv(A + 100 * 0.2 * np.eye(2)))
    np.testing.assert_allclose(G_inverse, np.linalg.inv(G + 0.01 * 0.2 * np.eye(2)))


# ------------------------------------------------------------------------------------------- state and refusals


def network():
    mg.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 2 * 2, 4))


def walk(model, opt, steps, first=0):
    losses = []
    for k in range(first, first + steps):
        x = mg.tensor(np.random.default_rng(k).standard_normal((16, 1, 3, 3)).astype(np.float32))
        y = mg.tensor(np.random.default_rng(k).integers(0, 4, 16))
        losses.append(opt.step(lambda x=x, y=y: F.cross_entropy(model(x), y)).item())
    return losses, snapshot(model.parameters())


def test_a_run_that_was_saved_and_resumed_is_bit_for_bit_one_that_was_not(tmp_path):
    model = network()
    whole = walk(model, optim.KFAC(model, inverse_every=3), 8)
    for stop in (1, 4):
        model = network()
        opt = optim.KFAC(model, inverse_every=3)
        before = walk(model, opt, stop)[0]
        saved = {"model": model.state_dict(), "opt": opt.state_dict(), "rng": mg.get_rng_state()}
        mg.save(saved, tmp_path / "run.npz")
        walk(model, opt, 1)
        loaded, twin = mg.load(tmp_path / "run.npz"), network()
        twin.load_state_dict(loaded["model"])
        other = optim.KFAC(twin)
        other.load_state_dict(loaded["opt"])
        mg.set_rng_state(loaded["rng"])
        losses, end = walk(twin, other, 8 - stop, first=stop)
        assert before + losses == whole[0]
        assert same(end, whole[1])
        assert all(p.dtype == np.float32 for p in end)
        assert all(v.dtype == np.float32 for s in other.state.values() for k, v in s.items() if k != "t")


def test_frozen_layers_stay_and_need_not_be_known():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 4)).to(np.float64)
    with pytest.raises(TypeError, match=r"layer '1', a LayerNorm, has parameters.*requires_grad_\(False\)"):
        optim.KFAC(model)
    next(m for name, m in model.named_modules() if name == "1").requires_grad_(False)
    before = [p.data.copy() for p in model.parameters()]
    optim.KFAC(model).step(lambda: F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)))
    moved = [not np.array_equal(p.data, b) for p, b in zip(model.parameters(), before)]
    assert moved == [True, True, False, False, True, True]


def test_what_is_refused_changes_nothing():
    model = linear(3, 4)
    x, y = mg.tensor(X), mg.tensor(LABELS)
    with pytest.raises(TypeError, match="takes the model itself"):
        optim.KFAC([model.weight])
    with pytest.raises(TypeError, match="Conv2d of 2 groups"):
        optim.KFAC(nn.Conv2d(2, 2, 3, groups=2))
    for bad in ({"damping": -1.0}, {"fisher": "true"}, {"decay": 1.0}, {"inverse_every": 0}, {"kl_clip": -1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            optim.KFAC(model, **bad)
    opt = optim.KFAC(model)
    opt.step(lambda: F.cross_entropy(model(x), y))
    before, state = snapshot(model.parameters()), opt.state_dict()
    with pytest.raises(TypeError, match="wants a closure"):
        opt.step()
    with pytest.raises(RuntimeError, match="2 times; wanted once"):
        opt.step(lambda: F.cross_entropy(model(x), y) + F.cross_entropy(model(x), y))
    with pytest.raises(ValueError, match="loss is nan where the step begins"):
        opt.step(lambda: F.cross_entropy(model(x * np.nan), y))
    with pytest.raises(ValueError, match="no weight of a layer"):
        opt.load_state_dict({**state, "state": {1: state["state"][0]}})
    with pytest.raises(ValueError, match="singular; give damping > 0"):
        optim.KFAC(model, damping=0.0).step(lambda: F.cross_entropy(model(x * np.array([1.0, 1.0, 0.0])), y))
    assert same(snapshot(model.parameters()), before)
    assert same(opt.state_dict(), state)
    model.weight.requires_grad = False
    with pytest.raises(TypeError, match="weight or bias is frozen"):
        optim.KFAC(model)
