"""What holds for every method, kernel or wrapper, whatever its formula."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import minigrad as mg
import optim
from optim import blocks
from tests.optim.methods import ALL, KERNELS, SHAPES, bumpy, same, snapshot, start, walk

every_method = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
every_kernel = pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)


def set_rate(opt, lr):
    for group in opt.param_groups:
        group["lr"] = lr


def test_every_method_of_first_order_is_in_these_sweeps():
    public = {value for value in vars(optim).values() if inspect.isclass(value) and issubclass(value, optim.Optimizer)}
    first_order = {kind for kind in public if kind.step is optim.Optimizer.step} - {optim.Optimizer, optim.Wrapper}
    without = first_order - {type(make(start())) for make in ALL.values()}
    assert not without, f"give {without} a line in KERNELS of tests/optim/methods.py"


@every_method
def test_a_step_moves_the_parameters_and_what_the_formula_remembers(make):
    params = start()
    opt = make(params)
    walk(opt, params, 2)
    before = snapshot(params), {p: {k: np.copy(v) for k, v in opt.state[p].items()} for p in params}
    walk(opt, params, 6)
    for p, old in zip(params, before[0]):
        assert not np.array_equal(p.data, old), "update changed no parameter: write p -= ..., not p = p - ..."
        for name, value in opt.state[p].items():
            assert not np.array_equal(value, before[1][p][name]), f"update left {name} as it was: change it in place"


@every_method
def test_a_rate_of_zero_changes_nothing(make):
    params = start()
    opt = make(params)
    set_rate(opt, 0.0)
    before = snapshot(params)
    walk(opt, params, 6)
    if isinstance(opt, optim.Wrapper) and "Lookahead" in repr(opt):
        np.testing.assert_equal(snapshot(params), before)  # φ + α(p - φ) may turn -0. into 0.
    else:
        assert same(snapshot(params), before)


@every_method
def test_permuting_the_parameters_permutes_the_path(make):
    order = [2, 0, 3, 1]
    params, twins = start(), start()
    shuffled = [twins[k] for k in order]
    opt, other = make(params), make(shuffled)
    for k in range(12):
        opt.step(lambda k=k: bumpy(params, phase=0.1 * k))
        other.step(lambda k=k: bumpy(twins, phase=0.1 * k))
        for p, q in zip(params, twins):
            np.testing.assert_allclose(p.data, q.data, rtol=1e-12, atol=1e-13)


@every_method
def test_groups_with_equal_settings_are_one_group(make):
    params, twins = start(), start()
    path = walk(make(params), params, 12)
    assert same(walk(make([{"params": twins[:1]}, {"params": twins[1:]}]), twins, 12), path)


@every_method
def test_float32_stays_float32_and_the_arrays_stay_the_same_objects(make):
    params = start(dtype=np.float32)
    arrays = [p.data for p in params]
    opt = make(params)
    walk(opt, params, 6)
    assert all(p.data is array and array.dtype == np.float32 for p, array in zip(params, arrays))
    states = [value for entries in opt.state.values() for name, value in entries.items() if name != "t"]
    assert all(value.dtype == np.float32 for value in states)


@every_method
def test_the_gradient_is_left_as_it_is(make):
    params = start(shapes=[(3,), (blocks.SMALL + 1,)])
    opt = make(params)
    before = []
    original = opt.gradients

    def remembering(closure):
        loss = original(closure)
        before[:] = [p.grad.data.copy() for p in params]
        return loss

    opt.gradients = remembering
    opt.step(lambda: bumpy(params))
    assert same([p.grad.data for p in params], before)


@every_method
def test_a_run_that_was_saved_and_resumed_is_bit_for_bit_one_that_was_not(make):
    steps = 14
    params = start()
    whole = walk(make(params), params, steps)
    for stop in range(1, steps):  # also in the middle of a Lookahead cycle
        first = start()
        opt = make(first)
        walk(opt, first, stop)
        saved, arrays = opt.state_dict(), snapshot(first)
        walk(opt, first, 3)  # what was saved is a copy: this does not show
        second = [mg.tensor(array, requires_grad=True) for array in arrays]
        resumed = make(second)
        resumed.load_state_dict(saved)
        walk(resumed, second, 0)
        assert same(walk(resumed, second, steps - stop, first=stop), whole[stop:]), f"resumed after {stop} steps"


@every_method
def test_a_run_can_be_taken_back_to_an_earlier_state(make):
    params = start()
    opt = make(params)
    walk(opt, params, 4)
    saved, arrays = opt.state_dict(), snapshot(params)
    path = walk(opt, params, 5, first=4)
    for p, array in zip(params, arrays):
        p.data[...] = array
    opt.load_state_dict(saved)
    assert same(walk(opt, params, 5, first=4), path)


@every_method
def test_a_state_survives_the_disk(make, tmp_path):
    params, twins = start(), start()
    opt = make(params)
    walk(opt, params, 4)
    mg.save(opt.state_dict(), tmp_path / "state.npz")
    loaded = mg.load(tmp_path / "state.npz")
    for p, q in zip(params, twins):
        q.data[...] = p.data
    other = make(twins)
    other.load_state_dict(loaded)
    assert same(other.state_dict(), opt.state_dict())
    assert same(walk(other, twins, 5), walk(opt, params, 5))


@every_method
def test_a_deep_copy_goes_its_own_way_and_the_same(make):
    params = start()
    opt = make(params)
    walk(opt, params, 4)
    twins, other = copy.deepcopy((params, opt))
    assert same(walk(other, twins, 5, first=4), walk(opt, params, 5, first=4))


@every_kernel
def test_a_pickled_optimizer_goes_on(make):
    params = start()
    opt = make(params)
    walk(opt, params, 4)
    twins, other = pickle.loads(pickle.dumps((params, opt)))
    assert same(walk(other, twins, 5, first=4), walk(opt, params, 5, first=4))


@every_method
def test_a_parameter_without_a_gradient_is_skipped_with_its_state_and_its_clock(make):
    def loss_at(k, idle, params):
        return bumpy([p for j, p in enumerate(params) if not (j == 1 and idle)], phase=0.1 * k)

    params = start()
    opt = make(params)
    lookahead = "Lookahead" in repr(opt)
    for k in range(10):
        idle = k % 3 == 1
        before = params[1].data.copy()
        clock = opt.state.get(params[1], {"t": 0})["t"]
        opt.step(lambda k=k, idle=idle: loss_at(k, idle, params))
        assert opt.state[params[0]]["t"] == k + 1
        assert opt.state.get(params[1], {"t": 0})["t"] == clock + (not idle)
        assert lookahead or not idle or same(params[1].data, before)


@every_method
def test_a_tied_parameter_is_stepped_once(make):
    p, q = start(shapes=[(3,)])[0], start(shapes=[(3,)])[0]
    tied, single = make([p]), make([q])
    tied.step(lambda: (p * p).sum() + (p * p).sum())  # two places of a network that share one Tensor
    single.step(lambda: 2 * (q * q).sum())
    np.testing.assert_allclose(p.data, q.data, rtol=1e-14)
    assert tied.state[p]["t"] == 1


@every_method
def test_a_graph_from_before_the_step_refuses_to_be_differentiated(make):
    params = start()
    opt = make(params)
    stale = bumpy(params)
    opt.step(lambda: bumpy(params))
    with pytest.raises(RuntimeError, match="changed in place"):
        stale.backward()


@every_method
def test_the_loss_returned_is_the_one_before_the_step(make):
    params = start()
    opt = make(params)
    expected = bumpy(params).item()
    assert opt.step(lambda: bumpy(params)).item() == expected  # NAG's look-ahead point, too, is the start at first


@every_method
def test_the_step_works_under_no_grad(make):
    params, twins = start(), start()
    path = walk(make(params), params, 4)
    with mg.no_grad():
        assert same(walk(make(twins), twins, 4), path)


# ------------------------------------------------------------------------------------------- blocks against whole arrays

SIZES = [(), (0,), (7,), (3, 5), (blocks.SMALL,), (blocks.SMALL + 1,), (blocks.BLOCK,), (2 * blocks.BLOCK + 13,)]
MANY = [(blocks.SMALL - 3,)] * 9 + [(64,)] * 40  # more than one pack


def by_hand(make, arrays, gradients):
    """The kernel called once per whole parameter and step, with nothing round it."""
    opt = make([mg.zeros(1)])
    group, settings = opt.param_groups[0], {}
    settings = {name: group[name] for name in opt.defaults}
    on = {name: settings.get(opt.optional.get(name), True) for name in opt.state_names}
    clocks = [0] * len(arrays)
    states = [
        [np.full_like(p, settings.get(opt.initial.get(n), 0.0)) if on[n] else None for n in opt.state_names]
        for p in arrays
    ]
    for step in gradients:
        for k, g in enumerate(step):
            if g is not None:
                clocks[k] += 1
                opt.update(arrays[k], g, *states[k], **({"t": clocks[k]} if opt.counts else {}), **settings)
    return arrays


@every_kernel
@pytest.mark.parametrize("shapes", [SIZES, MANY], ids=["sizes", "many"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_and_packs_are_bit_for_bit_the_formula_on_whole_arrays(make, shapes, dtype):
    rng = np.random.default_rng(1)
    params = start(shapes=shapes, dtype=dtype)
    arrays = snapshot(params)
    gradients = []
    for step in range(4):
        drawn = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
        gradients.append([None if (k + step) % 5 == 0 else g for k, g in enumerate(drawn)])
    gradients.append(drawn)
    opt = make(params)
    for step in gradients:
        for p, g in zip(params, step):
            p.grad = None if g is None else mg.tensor(g)
        opt.apply()
    assert same(snapshot(params), by_hand(make, arrays, gradients))


@every_kernel
def test_parameters_that_do_not_lie_in_order_are_updated_where_they_lie(make):
    n = blocks.SMALL + 5
    base = np.random.default_rng(2).standard_normal((n, 2))
    views = [base.copy().T, base.copy()[::2], base[:3].copy().T]
    params = [mg.Tensor(view) for view in views]
    plain = [mg.Tensor(view.copy(order="C")) for view in views]
    for p in [*params, *plain]:
        p.requires_grad = True
    assert not any(p.data.flags.c_contiguous for p in params)
    opt, other = make(params), make(plain)
    for _ in range(3):
        for p, q in zip(params, plain):
            g = np.cos(np.arange(p.size)).reshape(p.shape)
            p.grad, q.grad = mg.tensor(g), mg.tensor(g)
        opt.apply()
        other.apply()
    assert all(np.shares_memory(p.data, view) for p, view in zip(params, views))
    for p, q in zip(params, plain):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-13, atol=1e-15)  # LAMB sums in the order of memory


@every_kernel
def test_float32_and_float64_parameters_share_a_group(make):
    single, double = start(shapes=SHAPES, dtype=np.float32), start(shapes=SHAPES)
    apart = [start(shapes=SHAPES, dtype=np.float32), start(shapes=SHAPES)]
    mixed = make([p for pair in zip(single, double) for p in pair])
    alone = [make(apart[0]), make(apart[1])]
    for _ in range(4):
        for p, q in zip([*single, *double], [*apart[0], *apart[1]]):
            g = np.cos(np.arange(p.size)).reshape(p.shape).astype(p.dtype)
            p.grad, q.grad = mg.tensor(g), mg.tensor(g)
        mixed.apply()
        for opt in alone:
            opt.apply()
    assert same(snapshot([*single, *double]), snapshot([*apart[0], *apart[1]]))
