"""The same networks under PyTorch and here: a state_dict moves over, and gives the same outputs and gradients."""

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from tests.golden.networks import ACTIVATIONS, LOSSES, NETWORKS, load

GOLDEN, NOTES = load()


def part(name):
    """The arrays below a name, by what follows it."""
    return {key.removeprefix(f"{name}/"): value for key, value in GOLDEN.items() if key.startswith(f"{name}/")}


def close(ours, golden):
    golden = np.asarray(golden)
    assert ours.shape == golden.shape
    scale = max(1.0, np.abs(golden).max(initial=0.0))
    np.testing.assert_allclose(ours, golden, rtol=1e-12, atol=1e-12 * scale)


def flat(values):
    for value in values if isinstance(values, tuple) else (values,):
        if isinstance(value, tuple):
            yield from flat(value)
        elif value is not None:
            yield value


def leaf(array):
    return mg.tensor(array, requires_grad=array.dtype.kind == "f")


def loaded(name):
    """A network with the golden parameters, and its arguments; nested as their shapes are."""
    build, *shapes = NETWORKS[name]
    network = build(nn).to(np.float64)
    network.load_state_dict(part(f"{name}/before"))
    arrays = iter(part(f"{name}/argument").values())

    def argument(shape):
        return tuple(map(argument, shape)) if isinstance(shape[0], tuple) else leaf(next(arrays))

    return network, [argument(shape) for shape in shapes]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_pytorch_computes_forward_and_backward_in_both_modes(name):
    network, arguments = loaded(name)
    assert [*network.state_dict()] == [*part(f"{name}/before")]
    with mg.no_grad():
        network(*arguments)
    for mode in ("train", "eval"):
        network.train(mode == "train")
        golden = part(f"{name}/{mode}")
        outputs = [*flat(network(*arguments))]
        total = mg.tensor(0.0, np.float64)
        for k, z in enumerate(outputs):
            close(z.numpy(), golden[f"output/{k}"])
            total = total + (z * golden[f"probe/{k}"]).sum()
        leaves = [x for x in flat(tuple(arguments)) if x.requires_grad] + [*network.parameters()]
        grads = mg.grad(total, leaves)
        close(np.concatenate([g.numpy().ravel() for g in grads]), golden["grads"])
    for key, value in network.state_dict().items():
        close(value.numpy(), GOLDEN[f"{name}/after/{key}"])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_pytorchs(name):
    x, probe = part("activations/x").values()
    x = leaf(x)
    z = ACTIVATIONS[name](nn)(x)
    golden_z, golden_grad = part(f"activations/{name}").values()
    close(z.numpy(), golden_z)
    close(mg.grad((z * probe).sum(), x)[0].numpy(), golden_grad)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_pytorchs_with_each_reduction(name, reduction):
    build, kind = LOSSES[name]
    x, target = map(leaf, part(f"losses/data/{kind}").values())
    loss = build(nn, mg.tensor(GOLDEN["losses/w/0"]), reduction=reduction)(x, target)
    golden_loss, golden_grad = part(f"losses/{name}/{reduction}").values()
    close(loss.numpy(), golden_loss)
    close(mg.grad(loss.sum(), x)[0].numpy(), golden_grad)


@pytest.mark.parametrize("name", ["plain", "bool", "float", "causal", "scaled"])
def test_attention_is_pytorchs_under_every_kind_of_mask(name):
    *qkv, allowed, added, probe = part("sdpa/argument").values()
    q, k, v = map(leaf, qkv)
    kinds = {"plain": {}, "bool": {"attn_mask": mg.tensor(allowed)}, "float": {"attn_mask": mg.tensor(added)}}
    kwargs = (kinds | {"causal": {"is_causal": True}, "scaled": {"scale": 0.3}})[name]
    z = F.scaled_dot_product_attention(q, k, v, **kwargs)
    golden_z, *golden_grads = part(f"sdpa/{name}").values()
    close(z.numpy(), golden_z)
    for g, golden in zip(mg.grad((z * probe).sum(), (q, k, v)), golden_grads, strict=True):
        close(g.numpy(), golden)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, np.inf])
def test_clipping_by_norm_is_pytorchs_in_every_norm(norm_type):
    leaves = []
    for g in part("clip/grad").values():
        leaves.append(mg.zeros(g.shape, np.float64, requires_grad=True))
        leaves[-1].grad = mg.tensor(g)
    norm = nn.utils.clip_grad_norm_(leaves, 0.5, norm_type)
    golden_norm, *golden_grads = part(f"clip/{norm_type}").values()
    close(norm.numpy(), golden_norm)
    for p, golden in zip(leaves, golden_grads, strict=True):
        close(p.grad.numpy(), golden)


def test_the_golden_file_says_what_made_it():
    assert "torch" in NOTES["versions"] and "numpy" in NOTES["versions"]


@pytest.mark.parametrize("name", [name for name in NOTES["shown"] if name not in ("attention", "transformer_block")])
def test_a_network_is_shown_as_pytorch_shows_it(name):
    """Without the arguments that are not here; attention is left out, where PyTorch shows a class of its own."""
    build = ACTIVATIONS[name] if name in ACTIVATIONS else NETWORKS[name][0]
    assert repr(build(nn)) == re.sub(", dilation=1, ceil_mode=False|, threshold=20.0", "", NOTES["shown"][name])
