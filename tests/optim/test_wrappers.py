"""Lookahead, SAM and Averaged, each against its papers' formula written out, and nested in each other."""

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.nn import functional as F
from optim.averages import EWMA, SMA
from optim.landscape.surfaces import double_well
from tests.optim.methods import bumpy, same, snapshot, start


def slope(theta):
    """The gradient of `loss`."""
    return 4 * theta**3 - 2 * theta + 0.3


def loss(p):
    return (p**4 - p * p + 0.3 * p).sum()


THETA = np.array([1.5, -0.4, 0.2])


def test_lookahead_written_out_round_momentum():
    p = mg.tensor(THETA, requires_grad=True)
    opt = optim.Lookahead(optim.SGD([p], lr=0.05, momentum=0.9), k=3, alpha=0.4)
    fast, slow, v = THETA.copy(), THETA.copy(), 0.0
    for t in range(1, 14):
        opt.step(lambda: loss(p))
        v = 0.9 * v + slope(fast)
        fast = fast - 0.05 * v
        if t % 3 == 0:
            slow = slow + 0.4 * (fast - slow)
            fast = slow
        np.testing.assert_allclose(p.data, fast, rtol=1e-13)


def test_lookahead_takes_in_a_group_that_is_added_later():
    p, q = start(shapes=[(2,), (3,)])
    opt = optim.Lookahead(optim.SGD([p], lr=0.1), k=2)
    opt.step(lambda: bumpy([p, q]))
    opt.add_param_group({"params": [q], "lr": 0.2})
    before = q.data.copy()
    opt.step(lambda: (q * q).sum())
    np.testing.assert_allclose(q.data, before - 0.5 * 0.2 * 2 * before)


@pytest.mark.parametrize("adaptive, eta", [(False, 0.0), (True, 0.0), (True, 0.1)])
def test_sam_and_asam_written_out(adaptive, eta):
    """ASAM: Kwon et al. 2021, algorithm 1; with T = 1 it is SAM."""
    p, q = mg.tensor(THETA, requires_grad=True), mg.tensor(THETA[:1] * 0.8, requires_grad=True)
    opt = optim.SAM(optim.SGD([p, q], lr=0.05), rho=0.3, adaptive=adaptive, eta=eta)
    theta = np.concatenate([THETA, THETA[:1] * 0.8])
    for _ in range(10):
        value = opt.step(lambda: loss(p) + loss(q))
        np.testing.assert_allclose(value.item(), (theta**4 - theta**2 + 0.3 * theta).sum())
        T = np.abs(theta) + eta if adaptive else np.ones(4)
        g = slope(theta)
        e = 0.3 * T * T * g / np.linalg.norm(T * g)  # one norm over all parameters
        theta = theta - 0.05 * slope(theta + e)
        np.testing.assert_allclose(np.concatenate(snapshot([p, q])), theta, rtol=1e-13)


def test_sam_perturbs_nothing_where_there_is_no_gradient():
    p = mg.tensor([0.0, 0.0], requires_grad=True)
    opt = optim.SAM(optim.SGD([p], lr=0.1), rho=0.5)
    opt.step(lambda: (p * p).sum())
    assert (p.data == 0).all()


def test_asam_does_not_care_how_two_layers_share_their_scale():
    """w₁w₂ is what the network computes; (c w₁, w₂/c) is the same network, and its sharpness the same to ASAM."""

    def perturbed_loss(c, **settings):
        a, b = (
            mg.tensor([2.0 * c], dtype=np.float64, requires_grad=True),
            mg.tensor([3.0 / c], dtype=np.float64, requires_grad=True),
        )
        opt = optim.SAM(optim.SGD([a, b], lr=0.0), rho=0.5, **settings)
        seen = []

        def closure():
            value = ((a * b - 1) ** 2).sum()
            seen.append(value.item())
            return value

        opt.step(closure)
        return seen[1]

    np.testing.assert_allclose(perturbed_loss(1.0, adaptive=True), perturbed_loss(10.0, adaptive=True))
    assert perturbed_loss(10.0) > 2 * perturbed_loss(1.0)


@pytest.mark.parametrize("rho", [0.1, 0.2, 0.3])
def test_sam_leaves_a_sharp_minimum_in_which_its_base_stays(rho):
    """Both wells are equally deep; the Hessian is 100 times the identity in the sharp one, 2 times in the flat one.

    The base has momentum: without it, and without noise, SAM stays for long on the pass between the wells, where the
    perturbed points lie on both sides (that it is drawn to saddles is known: Compagnoni et al. 2023).
    """

    def end(make):
        p = mg.tensor(np.array(double_well.starts[0]), requires_grad=True)
        opt = make(optim.SGD([p], lr=0.01, momentum=0.9))
        for _ in range(500):
            opt.step(lambda: double_well(p))
        return p.data

    np.testing.assert_allclose(end(lambda base: base), [1, 0], atol=1e-6)
    assert np.linalg.norm(end(lambda base: optim.SAM(base, rho=rho)) - [-1, 0]) < 0.05


def test_sam_leaves_batch_norms_running_statistics_as_one_forward_would():
    mg.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    twin.load_state_dict(model.state_dict())
    x, y = mg.randn(16, 3), mg.tensor(np.arange(16) % 2)
    opt = optim.SAM(optim.SGD(model.parameters(), lr=0.1), rho=0.5)
    opt.step(lambda: F.cross_entropy(model(x), y))
    F.cross_entropy(twin(x), y)
    for (name, ours), (_, expected) in zip(model.named_buffers(), twin.named_buffers()):
        assert same(ours.data, expected.data), name
    opt.step(lambda: F.cross_entropy(model(x), y))  # and the statistics are not frozen for good
    assert model[1].num_batches_tracked.item() == 2


def test_sam_puts_the_parameters_back_when_the_second_closure_fails():
    p = mg.tensor(THETA, requires_grad=True)
    opt = optim.SAM(optim.SGD([p], lr=0.1), rho=0.5)
    calls = []

    def closure():
        calls.append(p.data.copy())
        if len(calls) == 2:
            raise ZeroDivisionError
        return loss(p)

    with pytest.raises(ZeroDivisionError):
        opt.step(closure)
    assert not same(calls[0], calls[1]) and same(p.data, THETA)


def test_averaged_feeds_the_base_with_the_average_and_leaves_the_gradient():
    p = mg.tensor([0.0, 0.0], requires_grad=True)
    opt = optim.Averaged(optim.SGD([p], lr=1.0), lambda: SMA(3))
    given = np.array([[1.0, 2.0], [4.0, -2.0], [1.0, 0.0], [-2.0, 5.0]])
    theta = np.zeros(2)
    for k, g in enumerate(given):
        p.grad = mg.tensor(g, np.float32)
        opt.step()
        assert (p.grad.data == g).all()
        theta = theta - given[max(0, k - 2) : k + 1].mean(axis=0)
        np.testing.assert_allclose(p.data, theta, rtol=1e-6)


def test_gradients_averaged_exponentially_are_momentum():
    p, q = mg.tensor(THETA, requires_grad=True), mg.tensor(THETA, requires_grad=True)
    averaged = optim.Averaged(optim.SGD([p], lr=0.1), lambda: EWMA(0.9, "zero"))
    momentum = optim.SGD([q], lr=0.1, momentum=0.9, momentum_form="ewma")
    for _ in range(10):
        averaged.step(lambda: loss(p))
        momentum.step(lambda: loss(q))
        np.testing.assert_allclose(p.data, q.data, rtol=1e-13)


def test_an_average_over_time_takes_noise_out_of_the_gradients():
    def spread(make):
        rng = np.random.default_rng(0)
        p = mg.tensor(np.zeros(200), requires_grad=True)
        opt = make([p])
        before, steps = p.data.copy(), []
        for _ in range(40):
            p.grad = mg.tensor(rng.standard_normal(200))
            opt.step()
            steps.append(p.data - before)
            before = p.data.copy()
        return np.std(steps[10:])

    plain = spread(lambda ps: optim.SGD(ps, lr=1.0))
    averaged = spread(lambda ps: optim.Averaged(optim.SGD(ps, lr=1.0), lambda: SMA(9)))
    np.testing.assert_allclose(averaged / plain, 1 / 3, rtol=0.05)  # 1/√9


# ------------------------------------------------------------------------------------------------------------- nesting


def test_sam_of_lookahead_and_lookahead_of_sam_are_the_same_two_halves_of_a_step():
    p, q = mg.tensor(THETA, requires_grad=True), mg.tensor(THETA, requires_grad=True)
    one = optim.SAM(optim.Lookahead(optim.SGD([p], lr=0.05), k=2), rho=0.1)
    other = optim.Lookahead(optim.SAM(optim.SGD([q], lr=0.05), rho=0.1), k=2)
    for _ in range(7):
        one.step(lambda: loss(p))
        other.step(lambda: loss(q))
    assert same(p.data, q.data)


def test_a_nested_state_dict_holds_the_state_dict_of_the_base():
    params = start()
    inner = optim.Adam(params)
    opt = optim.SAM(optim.Lookahead(inner, k=2), rho=0.1)
    opt.step(lambda: bumpy(params))
    assert same(opt.state_dict()["base"]["base"], inner.state_dict())
    assert opt.state is inner.state and opt.param_groups is inner.param_groups


def test_loading_takes_over_a_wrappers_settings():
    ours, theirs = optim.Lookahead(optim.SGD(start())), optim.Lookahead(optim.SGD(start(), lr=0.7), k=2, alpha=0.3)
    ours.load_state_dict(theirs.state_dict())
    assert (ours.k, ours.alpha, ours.param_groups[0]["lr"]) == (2, 0.3, 0.7)


@pytest.mark.parametrize(
    "make",
    [
        lambda params: optim.Lookahead(optim.Adam(params, lr=0.05)),
        lambda params: optim.SAM(optim.Lookahead(optim.SGD(params, lr=0.2, momentum=0.9)), rho=0.05),
    ],
    ids=["Lookahead(Adam)", "SAM(Lookahead(SGD))"],
)
def test_nested_wrappers_train_a_network(make):
    mg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = mg.tensor(rng.standard_normal((64, 2)).astype(np.float32))
    y = mg.tensor((x.data[:, 0] * x.data[:, 1] > 0).astype(np.int64))  # XOR of the signs
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    opt = make(model.parameters())
    for _ in range(150):
        opt.step(lambda: F.cross_entropy(model(x), y))
    assert (model(x).data.argmax(axis=1) == y.data).mean() > 0.95
