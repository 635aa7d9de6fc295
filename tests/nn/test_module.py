"""Modules: what they contain, their modes, their state_dict, their hooks, and what they say of themselves."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


class Net(nn.Module):
    """Attributes, a list, a dict, a shared layer, a buffer: all that a module may contain. No super().__init__()."""

    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(mg.ones(4))
        self.blocks = [nn.Linear(4, 4, bias=False), nn.Sequential(nn.Tanh(), nn.Linear(4, 4))]
        self.heads = {"a": nn.Linear(4, 2), "b": (nn.Parameter(mg.zeros(2)),)}
        self.again = self.first
        self.plain = mg.ones(3, requires_grad=True)
        self.register_buffer("mean", mg.zeros(4))
        self.register_buffer("scratch", mg.zeros(1), persistent=False)

    def forward(self, x):
        x = self.first(x) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x) + self.heads["b"][0]


NAMES = ["scale", "heads.b.0", "first.weight", "first.bias", "blocks.0.weight", "blocks.1.1.weight", "blocks.1.1.bias"]
NAMES += ["heads.a.weight", "heads.a.bias"]


def test_parameters_are_found_among_attributes_lists_tuples_and_dicts_and_a_shared_one_is_listed_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert len({id(p) for p in net.parameters()}) == len(NAMES) == len([*net.parameters()])


def test_the_state_dict_names_a_shared_layer_twice_as_pytorchs_does_and_leaves_out_what_is_not_persistent():
    keys = [*Net().state_dict()]
    assert sorted(keys) == sorted([*NAMES, "mean", "again.weight", "again.bias"])


def test_buffers_and_modules_have_dotted_names():
    net = Net()
    assert [name for name, _ in net.named_buffers()] == ["mean", "scratch"]
    names = ["", "first", "blocks.0", "blocks.1", "blocks.1.0", "blocks.1.1", "heads.a"]
    assert [name for name, _ in net.named_modules()] == names
    assert [name for name, _ in net.named_children()] == ["first", "blocks.0", "blocks.1", "heads.a"]
    assert len([*net.modules()]) == 7 and len([*net.children()]) == 4 and len([*net.buffers()]) == 2


def test_what_two_modules_share_is_counted_once():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    net[1].weight, net[3].running_mean = net[0].weight, net[2].running_mean
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "2.weight", "2.bias", "3.weight", "3.bias"]
    assert [name for name, _ in net.named_buffers()].count("3.running_mean") == 0
    assert [line.split()[-1] for line in net.summary().splitlines()[3:7]] == ["9", "0", "6", "6"]
    assert net.summary().endswith("21 parameters, of which 21 are learned")


def test_a_module_that_contains_itself_is_walked_once():
    net = nn.Sequential(nn.Linear(2, 2))
    net.myself = net
    assert len([*net.modules()]) == 2 and len([*net.parameters()]) == 2
    assert "(myself): ..." in repr(net)


def test_train_and_eval_reach_every_module_inside_and_evaluating_restores_each_ones_own_mode():
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.train()
    net.first.eval()
    with net.evaluating():
        assert not any(m.training for m in net.modules())
    assert [m.training for m in net.modules()] == [True, False, True, True, True, True, True]


def test_loading_writes_in_place_and_the_optimizer_keeps_its_parameters():
    net, other = Net(), Net()
    before = {name: (p, p.data) for name, p in net.named_parameters()}
    assert net.load_state_dict(other.state_dict()) == ([], [])
    for name, p in net.named_parameters():
        assert before[name] == (p, p.data) and before[name][1] is p.data
        np.testing.assert_array_equal(p.data, dict(other.named_parameters())[name].data)


def test_a_state_dict_is_a_copy_that_later_training_does_not_change():
    net = Net()
    saved = net.state_dict()["scale"].numpy().copy()
    state = net.state_dict()
    with mg.no_grad():
        net.scale -= 1.0
    np.testing.assert_array_equal(state["scale"].numpy(), saved)
    assert not any(t.requires_grad for t in state.values())


def test_loading_between_forward_and_backward_is_noticed():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    loss = net(mg.ones((4, 2))).sum()
    net.load_state_dict(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def without(state, key):
    return {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda s: without(s, "scale"), ValueError, ["misses ['scale']", "strict=False"]),
        (lambda s: s | {"stranger": mg.ones(1)}, ValueError, ["does not know ['stranger']"]),
        (lambda s: s | {"scale": mg.ones(5)}, ValueError, ["'scale'", "(5,)", "(4,)"]),
        (lambda s: s | {"scale": mg.ones((1, 4))}, ValueError, ["'scale'", "(1, 4)"]),
        (lambda s: s | {"scale": np.ones(4)}, TypeError, ["'scale'", "float64", "float32", "astype"]),
        (lambda s: s | {"heads.a.bias": mg.arange(2)}, TypeError, ["'heads.a.bias'", "int64", "float32"]),
        (lambda s: s | {"heads.a.bias": [1.0, 2.0]}, TypeError, ["'heads.a.bias'", "list"]),
        (lambda s: "weights.npz", TypeError, ["str 'weights.npz'", "mg.load"]),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_by_key_and_nothing_has_changed(change, error, words):
    net = Net()
    before = net.state_dict()
    with pytest.raises(error) as caught:
        net.load_state_dict(change(Net().state_dict()))
    assert all(word in str(caught.value) for word in words), caught.value
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key].numpy())


def test_without_strict_what_fits_is_loaded_and_the_other_keys_are_returned():
    net, other = nn.Linear(2, 3), nn.Linear(2, 3)
    keys = net.load_state_dict({"weight": other.weight, "stranger": mg.ones(1)}, strict=False)
    assert keys.missing_keys == ["bias"] and keys.unexpected_keys == ["stranger"]
    np.testing.assert_array_equal(net.weight.data, other.weight.data)
    assert (net.bias.data != other.bias.data).any()


def test_to_float64_keeps_the_tensors_their_gradients_and_their_hooks():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    (net(mg.randn(4, 2)) ** 2).sum().backward()
    parameters, grads = [*net.parameters()], [p.grad.numpy() for p in net.parameters()]
    calls = []
    parameters[0].register_post_accumulate_grad_hook(calls.append)
    assert net.to(np.float64) is net
    assert [*net.parameters()] == parameters or all(a is b for a, b in zip(net.parameters(), parameters))
    for p, g in zip(parameters, grads):
        assert p.dtype == p.grad.dtype == np.float64 and p.requires_grad
        np.testing.assert_array_equal(p.grad.numpy(), g)
    assert [b.dtype for b in net.buffers()] == [np.float64, np.float64, np.int64]
    net(mg.randn(4, 2, dtype=np.float64)).sum().backward()
    assert calls and parameters[0].grad.dtype == np.float64


def test_to_refuses_a_dtype_that_is_no_float_and_an_unknown_device():
    net = nn.Linear(2, 3)
    with pytest.raises(TypeError, match="int64"):
        net.to(np.int64)
    with pytest.raises(ValueError, match="nowhere"):
        net.to("nowhere")
    assert net.weight.dtype == np.float32


def test_zero_grad_requires_grad_and_apply_reach_everything():
    net = Net()
    net(mg.ones((1, 3))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(mg.ones((1, 3))).requires_grad
    assert net.requires_grad_().scale.requires_grad
    order = []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order == ["Linear", "Linear", "Tanh", "Sequential", "Linear", "Linear", "Net"]  # inner before outer


def test_forward_hooks_see_and_may_replace_arguments_and_outputs_until_they_are_removed():
    layer, x = nn.Linear(2, 2), mg.ones((1, 2))
    usual = layer(x).numpy()
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda m, args: seen.append(("before", m, args)) or (args[0] * 0,)),
        layer.register_forward_hook(lambda m, args, z: seen.append(("after", m, args, z))),
        layer.register_forward_hook(lambda m, args, z: z + 1),
    ]
    np.testing.assert_allclose(layer(x).numpy(), layer.bias.data[None] + 1, rtol=1e-6)
    assert seen[0] == ("before", layer, (x,)) and seen[1][0] == "after" and seen[1][1] is layer
    for handle in handles:
        handle.remove()
        handle.remove()
    np.testing.assert_array_equal(layer(x).numpy(), usual)
    assert len(seen) == 2


def test_a_pre_hook_may_return_one_argument_alone():
    layer = nn.Tanh()
    layer.register_forward_pre_hook(lambda m, args: args[0] * 0)
    assert layer(mg.ones(3)).data.tolist() == [0, 0, 0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_computes_the_same_and_shares_nothing_but_keeps_what_is_shared_inside(duplicate):
    net, x = Net(), mg.ones((2, 3))
    twin = duplicate(net)
    np.testing.assert_array_equal(twin(x).numpy(), net(x).numpy())
    assert twin.again is twin.first and isinstance(twin.scale, nn.Parameter) and twin.scale.requires_grad
    with mg.no_grad():
        twin.scale += 1.0
    assert (net.scale.data == 1).all()


def test_a_tensor_in_the_place_of_a_parameter_is_refused_for_it_would_not_be_learned():
    layer = nn.Linear(2, 3)
    weight = layer.weight
    with pytest.raises(TypeError, match=r"Linear.weight is a Parameter.*nn.Parameter\(value\)"):
        layer.weight = mg.ones((3, 2))
    assert layer.weight is weight
    layer.weight = nn.Parameter(mg.ones((3, 2)))
    layer.bias = None
    assert [*layer.state_dict()] == ["weight"]
    with mg.no_grad():
        layer.weight -= 1.0
    assert (layer.weight.data == 0).all()


def test_a_buffer_is_a_tensor_without_gradient_under_a_free_name():
    layer = nn.Module()
    with pytest.raises(TypeError, match="'mean'.*needs no gradient"):
        layer.register_buffer("mean", mg.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="'forward'.*taken"):
        layer.register_buffer("forward", mg.ones(2))
    with pytest.raises(ValueError, match="'two words'"):
        layer.register_buffer("two words", mg.ones(2))
    assert not layer.state_dict()
    layer.register_buffer("mean", None)
    assert not layer.state_dict()
    with pytest.raises(TypeError, match="Module.mean is a buffer.*list"):
        layer.mean = [1.0]
    layer.mean = mg.ones(2)
    assert [*layer.state_dict()] == ["mean"]


def test_a_module_without_forward_says_what_to_write():
    with pytest.raises(NotImplementedError, match=r"Module: write its method forward"):
        nn.Module()(1)


def test_the_summary_counts_shared_and_frozen_parameters_rightly_and_changes_nothing():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(8, 3))
    net[3].aside = net[4]
    net[0].requires_grad_(False)
    net[1].eval()
    state, stream = net.state_dict(), mg.get_rng_state()
    lines = [line.split() for line in net.summary(mg.ones((5, 1, 4, 4))).splitlines()]
    assert ["0", "Conv2d", "(5,", "2,", "2,", "2)", "20"] in lines
    assert ["1", "BatchNorm2d", "(5,", "2,", "2,", "2)", "4"] in lines
    assert ["3.aside", "Linear", "(5,", "3)", "27"] in lines
    assert lines[-1] == ["51", "parameters,", "of", "which", "31", "are", "learned"]
    assert all((net.state_dict()[k].data == v.data).all() for k, v in state.items()) and mg.get_rng_state() == stream
    assert net.training and not net[1].training and not net[0]._forward_hooks


def test_the_summary_of_a_failing_network_leaves_no_hooks_behind():
    net = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="Linear"):
        net.summary(mg.ones((1, 5)))
    assert not net._forward_hooks and not net[0]._forward_hooks and net.training


def test_the_summary_without_inputs_and_of_a_module_with_several_outputs():
    assert "(" not in nn.Linear(2, 3).summary()
    assert "((5, 2, 4), ((1, 2, 4), (1, 2, 4)))" in nn.LSTM(3, 4).summary(mg.ones((5, 2, 3)))


def test_a_parameter_shares_a_tensors_data_and_copies_an_arrays():
    t, a = mg.ones(2), np.ones(2, np.float32)
    assert nn.Parameter(t).data is t.data and nn.Parameter(a).data is not a
    assert nn.Parameter(t, requires_grad=False).node is None
    assert repr(nn.Parameter(t)).startswith("Parameter containing:\ntensor([1., 1.]")
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter([1, 2])


def test_a_sequential_is_indexed_sliced_and_counted_and_refuses_what_is_no_module():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    assert len(net) == 3 and net[-1] is [*net][2]
    assert isinstance(net[:2], nn.Sequential) and net[:2][0] is net[0]
    with pytest.raises(TypeError, match="argument 1 is no Module but builtin_function_or_method|argument 1.*function"):
        nn.Sequential(nn.Tanh(), mg.exp)


def test_a_layer_used_twice_in_a_sequential_runs_twice_and_is_counted_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert len(net) == 2 and len([*net.parameters()]) == 2
    x = mg.randn(3, 2)
    np.testing.assert_array_equal(net(x).numpy(), layer(layer(x)).numpy())


def test_residual_adds_its_input_or_what_the_shortcut_makes_of_it():
    f, x = nn.Linear(3, 3), mg.randn(2, 3)
    np.testing.assert_array_equal(nn.Residual(f)(x).numpy(), x.numpy() + f(x).numpy())
    wide, shortcut = nn.Linear(3, 5), nn.Linear(3, 5, bias=False)
    both = nn.Residual(wide, shortcut)
    np.testing.assert_array_equal(both(x).numpy(), shortcut(x).numpy() + wide(x).numpy())
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 5\).*shortcut"):
        nn.Residual(wide)(x)


def test_functional_is_found_where_pytorch_has_it():
    import minigrad.nn.functional as F

    from minigrad.nn import functional as G

    assert F is G and F.__name__ == "minigrad.functional"
