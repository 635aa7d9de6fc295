"""The base class: what a formula's signature declares, groups, steps, state, memory."""

import contextlib
import gc
import io
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from tests.optim.methods import bumpy, same, snapshot, start, walk


class Momentum(optim.Optimizer):
    """As a student would write one."""

    def update(self, p, g, v, *, lr=1e-2, momentum=0.9):
        v *= momentum
        v += g
        p -= lr * v


class Fading(optim.Optimizer):
    """With state that some settings need, and state that does not start at zero."""

    optional = {"extra": "strong"}
    initial = {"scale": "scale0"}

    def update(self, p, g, scale, extra, *, t, lr=1.0, scale0=4.0, strong=False, steps=3):
        assert (extra is None) is not strong
        scale /= 2
        p -= lr * scale * g * (steps if strong else 1)


def help_text(thing):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        help(thing)
    return out.getvalue()


def test_help_shows_the_signature_that_the_formula_declares():
    assert "SGD(params, lr=0.001, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False" in help_text(optim.SGD)
    assert "Momentum(params, lr=0.01, momentum=0.9)" in help_text(Momentum)
    assert "Lookahead(base: 'Optimizer', k: 'int' = 5, alpha: 'float' = 0.5)" in help_text(optim.Lookahead)


@pytest.mark.parametrize(
    "kind, settings",
    [  # in the order of PyTorch's constructors
        (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
        (optim.Adam, {"lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-4, "weight_decay": 0.2, "amsgrad": True}),
        (optim.AdamW, {"lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-4, "weight_decay": 0.2, "amsgrad": True}),
        (
            optim.RAdam,
            {"lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-4, "weight_decay": 0.2, "decoupled_weight_decay": True},
        ),
        (optim.RMSprop, {"lr": 0.1, "alpha": 0.8, "eps": 1e-4, "weight_decay": 0.2, "momentum": 0.3, "centered": True}),
        (
            optim.Adagrad,
            {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.3, "initial_accumulator_value": 0.4, "eps": 0.5},
        ),
    ],
)
def test_settings_are_given_by_position_in_pytorchs_order_or_by_name(kind, settings):
    by_position, by_name = kind(start(), *settings.values()).param_groups[0], kind(start(), **settings).param_groups[0]
    assert {name: by_position[name] for name in settings} == {name: by_name[name] for name in settings} == settings


def test_defaults_are_pytorchs():
    defaults = {kind.__name__: kind(start()).param_groups[0] for kind in (optim.SGD, optim.Adam, optim.AdamW)}
    assert defaults["SGD"]["lr"] == 1e-3
    assert defaults["Adam"]["weight_decay"] == 0
    assert defaults["AdamW"]["weight_decay"] == 1e-2
    assert optim.Adagrad(start()).param_groups[0]["lr"] == optim.RMSprop(start()).param_groups[0]["lr"] == 1e-2
    assert optim.Adagrad(start()).param_groups[0]["eps"] == 1e-10
    assert optim.RMSprop(start()).param_groups[0]["alpha"] == 0.99


def test_a_students_optimizer_is_a_whole_optimizer():
    ours, theirs = start(), start()
    assert same(walk(Momentum(ours, lr=0.1), ours, 9), walk(optim.SGD(theirs, lr=0.1, momentum=0.9), theirs, 9))
    with pytest.raises(TypeError, match="Momentum: unknown setting 'beta'; it takes lr, momentum"):
        Momentum(ours, beta=1)


def test_state_starts_as_zeros_or_as_the_setting_that_the_class_names():
    p = mg.tensor([1.0, 1.0], requires_grad=True)
    opt = Fading([p], scale0=8.0)
    opt.step(lambda: p.sum())
    assert (opt.state[p]["scale"] == 4).all() and "extra" not in opt.state[p]
    assert (p.data == -3).all()
    opt.param_groups[0]["strong"] = True  # from now on the state is there, and starts at zero
    opt.step(lambda: p.sum())
    assert (opt.state[p]["extra"] == 0).all() and (p.data == -9).all()


def test_only_the_state_that_the_settings_need_is_there():
    def names(opt):
        opt.step(lambda: sum((p * p).sum() for p in opt.parameters()))
        return set(opt.state[next(opt.parameters())])

    assert names(optim.SGD(start())) == {"t"}
    assert names(optim.SGD(start(), momentum=0.9)) == {"t", "v"}
    assert names(optim.Adam(start())) == {"t", "m", "v"}
    assert names(optim.Adam(start(), amsgrad=True)) == {"t", "m", "v", "v_max"}
    assert names(optim.RMSprop(start(), momentum=0.5)) == {"t", "r", "b"}


@pytest.mark.parametrize(
    "shapes", [[(1000, 1000)] * 2, [(64,)] * 8000, [(3000,)] * 300], ids=["large", "small", "middle"]
)
def test_adams_memory_is_two_arrays_and_no_more_than_2_mb(shapes):
    params = [mg.zeros(shape, requires_grad=True) for shape in shapes]
    for p in params:
        p.grad = mg.ones(p.shape)
    opt = optim.Adam(params)
    gc.collect()
    tracemalloc.start()
    opt.step()
    opt.step()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    books = 3000 * len(shapes)  # Python's dicts, views and lists, in bytes per parameter
    assert held < 2 * sum(p.data.nbytes for p in params) + 2**21 + books


def test_settings_reach_the_formula_as_plain_python_numbers():
    class Curious(optim.Optimizer):
        def update(self, p, g, *, lr=1.0, betas=(0.5, 0.5), deep=False, n=3):
            seen.append([type(x) for x in (lr, *betas, deep, n)])

    seen = []
    p = mg.tensor([1.0], requires_grad=True)
    opt = Curious([p], lr=np.float64(0.1), betas=[np.float32(0.5), 0], deep=np.True_, n=np.int64(4))
    opt.param_groups[0]["lr"] = np.float32(0.5)
    opt.step(lambda: p.sum())
    assert seen == [[float, float, float, bool, int]]


# -------------------------------------------------------------------------------------------------------------- groups


def test_groups_have_settings_of_their_own_and_share_the_others():
    a, b, c = start(shapes=[(2,), (2,), (2,)])
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}, {"params": iter([c]), "momentum": 0.9}], lr=0.25)
    assert [(g["lr"], g["momentum"]) for g in opt.param_groups] == [(0.25, 0.0), (0.5, 0.0), (0.25, 0.9)]
    before = snapshot([a, b, c])
    opt.step(lambda: a.sum() + b.sum() + c.sum())
    np.testing.assert_allclose(snapshot([a, b, c]), np.array(before) - [[0.25], [0.5], [0.25]])


def test_a_group_added_later_starts_its_own_clock():
    a, b = start(shapes=[(2,), (3,)])
    opt = optim.Adam([a], lr=0.1)
    opt.step(lambda: bumpy([a, b]))
    opt.add_param_group({"params": [b], "lr": 0.2})
    opt.step(lambda: bumpy([a, b]))
    assert (opt.state[a]["t"], opt.state[b]["t"]) == (2, 1)
    twin = start(shapes=[(2,), (3,)])[1]
    other = optim.Adam([twin], lr=0.2)
    twin.grad = b.grad
    other.step()
    assert same(twin.data, b.data)


def test_a_rate_changed_in_a_group_counts_from_the_next_step():
    p = mg.tensor([0.0], requires_grad=True)
    opt = optim.SGD([p], lr=1.0)
    for lr in (1.0, 0.5, 0.25):
        opt.param_groups[0]["lr"] = lr
        opt.step(lambda: p.sum())
    assert p.item() == -1.75


def test_a_module_trains_and_its_frozen_part_does_not():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    frozen, *others = model.parameters()
    frozen.requires_grad = False
    before = frozen.data.copy()
    x = mg.randn(8, 2)
    opt = optim.Adam(model.parameters(), lr=0.05)
    losses = [opt.step(lambda: ((model(x) - 1.0) ** 2).mean()).item() for _ in range(50)]
    assert losses[-1] < 0.1 * losses[0]
    assert same(frozen.data, before) and frozen not in opt.state and all(p in opt.state for p in others)


# --------------------------------------------------------------------------------------------------------------- steps


def test_a_closure_and_a_backward_by_hand_are_the_same_step():
    params, twins = start(), start()
    path = walk(optim.Adam(params), params, 5)
    opt = optim.Adam(twins)
    for k in range(5):
        opt.zero_grad()
        bumpy(twins, phase=0.1 * k).backward()
        assert opt.step() is None
        assert same(snapshot(twins), path[k])


def test_gradients_clears_what_was_there_and_updates_nothing():
    p = mg.tensor([3.0], requires_grad=True)
    opt = optim.SGD([p])
    (p * p).sum().backward()
    loss = opt.gradients(lambda: (p * p).sum())
    assert (loss.item(), p.grad.item(), p.item()) == (9.0, 6.0, 3.0)


def test_zero_grad_forgets_or_zeros():
    p, q = start(shapes=[(2,), (2,)])
    opt = optim.SGD([p, q])
    p.sum().backward()
    opt.zero_grad(set_to_none=False)
    assert (p.grad.data == 0).all() and q.grad is None
    opt.zero_grad()
    assert p.grad is None


def test_the_state_can_be_read_and_changed_in_place_while_small_parameters_are_stepped_together():
    params, twins = start(), start()
    opt, other = optim.SGD(params, lr=0.1, momentum=0.9), optim.SGD(twins, lr=0.1, momentum=0.9)
    for k in range(6):
        opt.step(lambda k=k: bumpy(params, phase=k))
        other.step(lambda k=k: bumpy(twins, phase=k))
        for p, q in zip(params, twins):
            assert same(opt.state[p]["v"], other.state[q]["v"]) and opt.state[p]["v"].shape == p.shape
        for p in [*params]:
            opt.state[p]["v"][...] *= 0.5
        for q in [*twins]:
            other.state[q]["v"] *= 0.5
    assert same(snapshot(params), snapshot(twins))


def test_a_parameter_whose_array_was_replaced_is_updated_in_the_new_one():
    params, twins = start(), start()
    opt, other = optim.Adam(params), optim.Adam(twins)
    for k in range(4):
        for p in params:
            p.data = p.data.copy()
        opt.step(lambda k=k: bumpy(params, phase=k))
        other.step(lambda k=k: bumpy(twins, phase=k))
    assert same(snapshot(params), snapshot(twins))


def test_a_model_whose_dtype_changed_after_the_first_step_is_refused():
    p = mg.tensor([1.0, 2.0], requires_grad=True)
    opt = optim.Adam([p])
    opt.step(lambda: p.sum())
    p.grad = None
    p.data = p.data.astype(np.float64)
    p.requires_grad = False
    p.requires_grad = True
    before = p.data.copy()
    with pytest.raises(
        RuntimeError, match=r"Adam: a parameter is float64\[2\] now, but its m is float32\[2\]; make the optimizer"
    ):
        opt.step(lambda: p.sum())
    assert same(p.data, before)


def test_the_printed_form_names_every_group_and_setting():
    a, b = start(shapes=[(2,), (3,)])
    text = repr(optim.Lookahead(optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.25), k=3))
    assert text.splitlines()[0] == "Lookahead(k=3, alpha=0.5) around"
    assert "SGD(1 parameters, lr=0.25, momentum=0.0" in text and "SGD(1 parameters, lr=0.5" in text


# -------------------------------------------------------------------------------------------------------------- saving


def test_a_state_dict_has_pytorchs_two_keys_and_the_formulas_names():
    a, b = start(shapes=[(2,), (3,)])
    opt = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.5}])
    opt.step(lambda: (b * b).sum())
    saved = opt.state_dict()
    assert set(saved) == {"state", "param_groups"}
    assert set(saved["state"]) == {1}  # a had no gradient yet
    assert set(saved["state"][1]) == {"t", "m", "v"} and saved["state"][1]["t"] == 1
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    assert [group["lr"] for group in saved["param_groups"]] == [1e-3, 0.5]


def test_loading_takes_over_the_settings_and_keeps_the_groups_the_same_objects():
    params, twins = start(), start()
    opt, other = optim.SGD(params, lr=0.5, momentum=0.9), optim.SGD(twins, lr=0.1)
    group = other.param_groups[0]
    other.load_state_dict(opt.state_dict())
    assert group is other.param_groups[0] and (group["lr"], group["momentum"]) == (0.5, 0.9)
    assert all(p is q for p, q in zip(group["params"], twins))


def test_a_float64_state_is_loaded_in_the_parameters_dtype():
    double, single = start(dtype=np.float64), start(dtype=np.float32)
    opt, other = optim.Adam(double), optim.Adam(single)
    walk(opt, double, 2)
    other.load_state_dict(opt.state_dict())
    assert other.state[single[0]]["m"].dtype == np.float32
    np.testing.assert_allclose(other.state[single[0]]["m"], opt.state[double[0]]["m"], rtol=1e-6)
