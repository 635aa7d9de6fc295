"""Networks, losses and layers, on the double: the CPU's numbers, and a training step that copies and waits for nothing."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from tests.cupy.device import flat, free, same, there
from tests.golden.networks import ACTIVATIONS, LOSSES, NETWORKS
from tests.nn.test_golden import leaf, loaded, part


def pass_through(network, arguments):
    """Outputs, gradients of parameters and inputs, and what became of the buffers."""
    outputs = network(*arguments)
    outputs = [z for z in (outputs if isinstance(outputs, tuple) else (outputs,)) if z is not None]
    total = sum((z * z).sum() for z in flatten(outputs))
    leaves = [x for x in flatten(arguments) if x.requires_grad] + [*network.parameters()]
    return [*flatten(outputs)], [*mg.grad(total, leaves)], [*network.buffers()]


def flatten(x):
    return [t for part in x for t in flatten(part)] if isinstance(x, (tuple, list)) else [x]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_on_the_double_as_on_the_cpu_and_for_free(name, double):
    network, arguments = loaded(name)
    expected = flat(pass_through(network, arguments))
    network, arguments = loaded(name)
    network.to("cuda")
    arguments = there(arguments)
    with free():
        found = pass_through(network, arguments)
    assert {t.device for t in flatten(list(found))} == {"cuda:0"}
    assert same(flat(found), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_free(name, double):
    x = leaf(next(iter(part("activations/x").values())))
    y = there(x)
    with free():
        z = ACTIVATIONS[name](nn)(y)
        (g,) = mg.grad(z.sum(), y)
    expected = ACTIVATIONS[name](nn)(x)
    assert same(flat([z, g]), flat([expected, *mg.grad(expected.sum(), x)]))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_free_and_is_the_cpus(name, double):
    build, kind = LOSSES[name]
    x, target = map(leaf, part(f"losses/data/{kind}").values())
    w = mg.tensor(next(iter(part("losses/w").values())))
    expected = build(nn, w)(x, target)
    on_device, target_there, w_there = there(x), there(target), there(w)
    with free():
        loss = build(nn, w_there)(on_device, target_there)
        (g,) = mg.grad(loss, on_device)
    for a, b in zip(flat([loss, g]), flat([expected, *mg.grad(expected, x)]), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_on_a_device_a_class_that_is_none_costs_nothing_and_on_the_cpu_it_is_refused(double):
    x, target = mg.ones((2, 3)), mg.tensor([1, 7])
    with pytest.raises(ValueError, match="targets hold 1 … 7"):
        F.cross_entropy(x, target)
    losses = F.cross_entropy(x.to("cuda"), target.to("cuda"), reduction="none")
    assert losses.numpy().tolist() == pytest.approx([np.log(3), 0])


def test_dropout_draws_its_mask_on_the_device(double):
    x = mg.ones((100, 50)).to("cuda")
    mg.manual_seed(0)
    with free():
        y = F.dropout(x, 0.25)
    assert y.device == "cuda:0"
    share = (y.numpy() == 0).mean()
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 5000)
    assert set(np.unique(y.numpy())) == {0, np.float32(1 / 0.75)}
    z = F.dropout(x, 0.25)
    assert (z.numpy() != y.numpy()).any()
    mg.manual_seed(0)
    assert same(flat(F.dropout(x, 0.25)), flat(y))


def test_a_run_resumes_with_the_masks_it_would_have_drawn(double):
    x = mg.ones(64).to("cuda")
    mg.manual_seed(3)
    F.dropout(x)
    state = mg.get_rng_state()
    expected = flat(F.dropout(x))
    mg.manual_seed(4)
    mg.set_rng_state(state)
    assert same(flat(F.dropout(x)), expected)


def test_the_numbers_drawn_on_a_device_are_uniform_and_independent_of_their_neighbours(double):
    from minigrad.backend import uniform

    mg.manual_seed(1)
    u = uniform((200_000,), mg.zeros(1).to("cuda").data).get().astype(np.float64)
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 99 + 5 * np.sqrt(2 * 99)  # χ² with 99 degrees of freedom
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 5 / np.sqrt(len(u))


def test_splitmix_gives_the_numbers_of_its_publication():
    """The first outputs for the seed 1234567, as every implementation gives them."""
    from minigrad.backend import mixed

    found = mixed(np.arange(3, dtype=np.uint64), np.uint64(1234567))
    assert found.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_initial_values_are_the_same_on_every_device(double):
    mg.manual_seed(0)
    here = nn.Linear(5, 4)
    mg.manual_seed(0)
    moved = nn.Linear(5, 4).to("cuda")
    assert same(flat([*here.parameters()]), flat([*moved.parameters()]))
    mg.manual_seed(0)
    a = mg.randn(3, device="cuda")
    mg.manual_seed(0)
    assert same(flat(a), flat(mg.randn(3)))
    nn.init.orthogonal_(moved.weight)
    assert moved.weight.device == "cuda:0"


def test_clipping_by_norm_and_by_value_waits_for_nothing_unless_told_to_look(double):
    p = mg.zeros((3, 2), requires_grad=True, device="cuda")
    p.grad = mg.ones((3, 2), device="cuda") * 10
    with free():
        norm = nn.utils.clip_grad_norm_([p], 1.0)
        nn.utils.clip_grad_norm_([p], 1.0, float("inf"))
        nn.utils.clip_grad_value_([p], 0.1)
    assert norm.item() == pytest.approx(10 * np.sqrt(6))
    from tests.cupy.double import counted

    with counted() as counts:
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert (counts.to_device, counts.to_host, counts.waits) == (0, 0, 1)
