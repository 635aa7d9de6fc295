"""Replicas with a part of each batch take the path of one process with the whole batch."""

import functools

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.training import fit
from optim import averages, distributed
from optim.distributed import DataParallel, Serial
from optim.distributed.buckets import Buckets, grouped
from tests.optim.distributed.launch import launch


def perceptron():
    mg.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(np.float64)


def convolutional():
    """With batch norm, whose statistics have to be the whole batch's."""
    mg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 6), nn.BatchNorm1d(6),
        nn.ReLU(), nn.Linear(6, 3),
    ).to(np.float64)  # fmt: skip


def batches(shape, size, left_over):
    """Batches without end; each third is smaller than the others."""
    rng = np.random.default_rng(1)
    while True:
        for n in (size, size, left_over):
            yield mg.tensor(rng.standard_normal((n, *shape))), mg.tensor(rng.integers(0, 3, n))


METHODS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=0.01),
    "NAG": lambda params: optim.NAG(params, lr=0.05),
    "Adagrad": lambda params: optim.Adagrad(params, lr=0.05),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.01),
    "Adam": lambda params: optim.Adam(params, lr=0.01),
    "AdamW": lambda params: optim.AdamW(params, lr=0.01),
    "RAdam": lambda params: optim.RAdam(params, lr=0.01),
    "LAMB": lambda params: optim.LAMB(params, lr=0.01),
    "Lookahead": lambda params: optim.Lookahead(optim.SGD(params, lr=0.1)),
    "SAM": lambda params: optim.SAM(optim.SGD(params, lr=0.1)),
    "Averaged": lambda params: optim.Averaged(optim.SGD(params, lr=0.1), lambda: averages.SMA(3)),
    "LBFGS": lambda params: optim.LBFGS(params, lr=0.5, max_iter=3, line_search_fn="strong_wolfe"),
}
DIVIDE = {"Adagrad", "RMSprop", "Adam", "AdamW", "RAdam", "LAMB", "LBFGS"}  # by what may be mostly rounding
SMALL = 2  # examples in the last batch of the perceptron: of four ranks, two have none


def path(make_model, make_optimizer, shape, left_over, comm=None):
    """All parameters, statistics, and the loss, over 20 steps: of one process, or of all in `comm`."""
    model = make_model()
    optimizer = make_optimizer(model.parameters())
    if comm is not None:
        for p in model.parameters() if comm.rank else ():
            p.data += 1.0  # what rank 0 has is to win
        optimizer = DataParallel(model, optimizer, comm)
    points, losses = [], []
    for _, (x, y) in zip(range(20), batches(shape, 13, left_over)):
        if comm is not None:
            x, y = optimizer.shard(x, y)
        losses.append(optimizer.step(lambda x=x, y=y: F.cross_entropy(model(x), y)).item())
        floats = [t.data for t in (*model.parameters(), *model.buffers())]
        points.append(np.concatenate([*floats], axis=None))
    if comm is not None:
        optimizer.check_drift()
    return {"points": np.stack(points), "losses": np.array(losses)}


def paths(comm=None):
    """The paths of all methods on the perceptron, of two on the convolutional network."""
    result = {name: path(perceptron, make, (5,), SMALL, comm) for name, make in METHODS.items()}
    for name in ("SGD", "Adam"):
        result[f"CNN, {name}"] = path(convolutional, METHODS[name], (1, 4, 4), 5, comm)
    return result


@functools.cache
def alone():
    return paths()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_n_processes_take_the_path_of_one(n):
    for rank, found in enumerate(launch(n, paths)):
        for name, reference in alone().items():
            tolerance = 1e-9 if name.split()[-1] in DIVIDE else 1e-12
            for what, wanted in reference.items():
                error = abs(found[name][what] - wanted).max() / abs(wanted).max()
                assert error < tolerance, (rank, name, what, error)


def test_a_world_of_one_takes_the_path_of_the_plain_optimizer():
    for name, found in paths(Serial()).items():
        np.testing.assert_allclose(found["points"], alone()[name]["points"], rtol=1e-13, err_msg=name)


# ------------------------------------------------------------------------------------------------ other ways to step


def other_ways(comm):
    """What else one does with a data-parallel optimizer; each entry is to be the same on every rank."""
    seen = {}
    rng = np.random.default_rng(2)
    x, y = mg.tensor(rng.standard_normal((10, 5))), mg.tensor(rng.integers(0, 3, 10))

    def start(make=METHODS["momentum"], **settings):
        model = perceptron()
        return model, DataParallel(model, make(model.parameters()), comm, **settings)

    def loss_of(model, x, y):
        return F.cross_entropy(model(x), y)

    def weights(model):
        return np.concatenate([p.data for p in model.parameters()], axis=None)

    model, optimizer = start()
    a, b = optimizer.shard(x, y)
    loss_of(model, a, b).backward()
    optimizer.step()
    seen["backward, then step"] = weights(model)

    model, optimizer = start()
    a, b = optimizer.shard(x, y)
    optimizer.gradients(lambda: loss_of(model, a, b))
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.apply()
    seen["clipped"], seen["norm"] = weights(model), norm.item()

    model, optimizer = start()
    for part in (slice(0, 4), slice(4, 8)):
        a, b = optimizer.shard(x[part], y[part])
        optimizer.accumulate(lambda a=a, b=b: 0.4 * loss_of(model, a, b))
    a, b = optimizer.shard(x[8:], y[8:])
    seen["accumulated loss"] = optimizer.step(lambda: 0.2 * loss_of(model, a, b)).item()
    seen["accumulated"] = weights(model)

    model, optimizer = start()
    a, b = optimizer.shard(x[:1], y[:1])  # the second of two ranks has nothing of it
    optimizer.accumulate(lambda: 0.5 * loss_of(model, a, b))
    a, b = optimizer.shard(x[1:4], y[1:4])
    optimizer.step(lambda: 0.5 * loss_of(model, a, b))
    seen["accumulated by one rank"] = weights(model)

    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).to(np.float64)
    optimizer = DataParallel(model, METHODS["SGD"](model.parameters()), comm)
    a, b = optimizer.shard(x[:5], y[:5])  # parts of three and two
    optimizer.accumulate(lambda: 0.5 * loss_of(model, a, b))
    a, b = optimizer.shard(x[5:9], y[5:9])
    optimizer.step(lambda: 0.5 * loss_of(model, a, b))
    seen["accumulated with batch norm"] = weights(model)

    model = perceptron()
    model.register_buffer("mask", mg.tensor([True, False]))
    model.register_buffer("table", mg.tensor([0.1, 0.2]))
    optimizer = DataParallel(model, METHODS["SGD"](model.parameters()), comm)
    a, b = optimizer.shard(x, y)
    optimizer.step(lambda: loss_of(model, a, b))
    optimizer.check_drift()
    seen["other buffers"] = [model.mask.data.tolist(), model.table.data]

    model, optimizer = start()
    a, b = optimizer.shard(x, y)
    model[2].weight.register_hook(raise_zero_division)
    try:
        optimizer.step(lambda: loss_of(model, a, b))
    except ZeroDivisionError:
        optimizer.zero_grad()
    model[2].weight.node.hooks.clear()
    loss_of(model, a, b).backward()
    optimizer.step()
    seen["after an error that all caught"] = weights(model)

    model, optimizer = start()
    head = model[2]
    a, b = optimizer.shard(x, y)
    optimizer.step(lambda: model[0](a).sum(axis=1).mean())  # the last layer has no part in it
    seen["unused"] = [head.weight.grad is None, weights(head), model[0].weight.grad.data]

    model, optimizer = start()
    history = fit(
        model, nn.CrossEntropyLoss(), optimizer, optimizer.shards([(x, y), (x[:5], y[:5])]), 2, progress=False
    )
    seen["fit"] = [weights(model), np.array(history.loss)]

    model, optimizer = start()
    seen["float32"] = []
    model.to(np.float32)
    optimizer = DataParallel(model, optim.Adam(model.parameters()), comm)
    a, b = optimizer.shard(x.astype(np.float32), y)
    loss = optimizer.step(lambda: loss_of(model, a, b))
    seen["float32"] = [str(loss.dtype), *{str(p.dtype) for p in model.parameters()}]
    return seen


def raise_zero_division(g):
    raise ZeroDivisionError("on purpose")


@pytest.fixture(scope="module")
def two():
    return launch(2, other_ways)


@functools.cache
def one():
    return other_ways(Serial())


@pytest.mark.parametrize("what", [*one()])
def test_two_processes_do_as_one(two, what):
    for found in two:
        assert_close(found[what], one()[what])


def assert_close(found, wanted):
    if isinstance(wanted, list):
        for f, w in zip(found, wanted, strict=True):
            assert_close(f, w)
    elif isinstance(wanted, (bool, str)):
        assert found == wanted
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def plainly(x, y, steps=1):
    """The perceptron after steps of the plain optimizer with the whole batch, and its last loss."""
    model = perceptron()
    optimizer = METHODS["momentum"](model.parameters())
    for _ in range(steps):
        loss = optimizer.step(lambda: F.cross_entropy(model(x), y))
    return np.concatenate([p.data for p in model.parameters()], axis=None), loss.item()


def test_accumulated_parts_make_the_step_and_the_loss_of_the_whole_once():
    rng = np.random.default_rng(2)
    x, y = mg.tensor(rng.standard_normal((10, 5))), mg.tensor(rng.integers(0, 3, 10))
    model = perceptron()
    optimizer = DataParallel(model, METHODS["momentum"](model.parameters()), Serial())
    optimizer.accumulate(lambda: 0.4 * F.cross_entropy(model(x[:4]), y[:4]))
    loss = optimizer.step(lambda: 0.6 * F.cross_entropy(model(x[4:]), y[4:]))
    weights, wanted = plainly(x, y)
    np.testing.assert_allclose(np.concatenate([p.data for p in model.parameters()], axis=None), weights, rtol=1e-12)
    np.testing.assert_allclose(loss.item(), wanted, rtol=1e-12)
    loss = optimizer.step(lambda: F.cross_entropy(model(x), y))  # in which nothing of it is left
    weights, wanted = plainly(x, y, steps=2)
    np.testing.assert_allclose(np.concatenate([p.data for p in model.parameters()], axis=None), weights, rtol=1e-12)
    np.testing.assert_allclose(loss.item(), wanted, rtol=1e-12)


def test_a_parameter_that_no_rank_needs_has_no_gradient_and_stays():
    without, weights, _ = one()["unused"]
    assert without
    np.testing.assert_array_equal(weights, np.concatenate([p.data for p in perceptron()[2].parameters()], axis=None))


# ------------------------------------------------------------------------------------------------ batch norm, drift


def local_statistics(comm):
    mg.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(2), nn.GhostBatchNorm1d(2, 2), nn.Linear(2, 1)).to(np.float64)
    x = mg.tensor(np.random.default_rng(3).standard_normal((8, 2)))
    seen = {}
    for statistics in ("local", "synchronised"):
        optimizer = DataParallel(model, optim.SGD(model.parameters(), lr=0.0), comm, statistics=statistics)
        for b in model.buffers():
            b.data[...] = 0
        part = optimizer.shard(x)
        optimizer.step(lambda part=part: (model(part) ** 2).mean())
        seen[statistics] = [b.data for b in model.buffers()]
        seen[f"{statistics} state"] = {k: t.data.copy() for k, t in model.state_dict().items()}
        optimizer.check_drift()
    return seen


def test_local_statistics_are_of_the_parts_and_their_running_ones_are_averaged():
    x = np.random.default_rng(3).standard_normal((8, 2))
    halves = [x[:4], x[4:]]
    for seen in launch(2, local_statistics):
        local, whole = seen["local state"], seen["synchronised state"]
        np.testing.assert_allclose(local["0.running_mean"], 0.1 * x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            local["0.running_var"], 0.1 * np.mean([h.var(axis=0, ddof=1) for h in halves], axis=0)
        )
        np.testing.assert_allclose(whole["0.running_var"], 0.1 * x.var(axis=0, ddof=1), rtol=1e-12)
        assert local["0.num_batches_tracked"] == whole["0.num_batches_tracked"] == 1
        assert local["1.num_batches_tracked"] == 2  # two ghost batches of two on each rank


def drifting(comm):
    """What is said of what is not the same on all ranks: a parameter, a NaN, a batch norm that did not know, a step."""
    said = []

    def note(work):
        try:
            work()
        except (RuntimeError, TypeError, ValueError) as error:
            said.append(f"{type(error).__name__}: {error}")

    model = perceptron()
    optimizer = DataParallel(model, optim.SGD(model.parameters(), lr=0.1), comm)
    optimizer.check_drift()
    model[2].bias.data[1] += 0.25 * comm.rank
    note(optimizer.check_drift)
    model[2].bias.data[1] = np.nan if comm.rank else 0.0
    note(optimizer.check_drift)

    x = mg.ones((4, 5), np.float64)
    normed = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 1)).to(np.float64)
    other = DataParallel(normed, optim.SGD(normed.parameters(), lr=0.1), comm)
    normed(x).sum().backward()
    note(other.step)

    model, again = perceptron(), distributed.world()
    optimizer = DataParallel(model, optim.SGD(model.parameters(), lr=0.1), comm)
    for k in range(3):
        part = optimizer.shard(x)
        if k != 1 or comm.rank == 0:  # a step that one rank leaves out
            note(lambda part=part: optimizer.step(lambda: model(part).sum()))
            if len(said) == 4:
                break
    note(lambda: DataParallel(*(lambda m: (m, optim.SGD(m.parameters())))(nn.Linear(2, 1 + comm.rank)), comm))
    return {"said": said, "same world": again is distributed.world()}


def test_what_differs_between_ranks_is_found_and_named():
    for seen in launch(2, drifting):
        parameter, nan, closure, elsewhere, unlike = seen["said"]
        assert parameter.startswith(
            "RuntimeError: DataParallel.check_drift: '2.bias' differs between ranks, by up to 0.25"
        )
        assert "'2.bias' differs between ranks, by up to inf" in nan
        assert "TypeError: DataParallel.step: batch norm over all ranks wants a closure" in closure
        assert "is at its batch" in elsewhere
        assert "ValueError: DataParallel: the ranks have different models" in unlike
        assert seen["same world"]


# ------------------------------------------------------------------------------------------------ buckets


def test_small_parameters_travel_together_and_large_ones_alone():
    sizes = [10, 2**18, 20, 30, 2**17, 2**17 - 10]
    params = [mg.zeros(n, requires_grad=True) for n in sizes]
    double = mg.zeros(5, np.float64, requires_grad=True)
    groups = [[p.size for p in group] for group in grouped([*params, double])]
    assert groups == [[2**18], [10, 20, 30, 2**17], [2**17 - 10], [5]]


def test_a_first_bias_does_not_hold_up_the_layers_behind_it():
    mg.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(600, 600) for _ in range(4)))
    for p in model[1].parameters():
        p.requires_grad = False
    comm, complete = Slow(), []
    buckets = Buckets(model.parameters(), comm)
    started = []
    start = comm.start_all_reduce

    def noting(array, op="sum"):
        started.append(len(complete))
        return start(array, op)

    comm.start_all_reduce = noting
    for p in model.parameters():
        if p.requires_grad:
            p.register_post_accumulate_grad_hook(complete.append)
    buckets.open()
    model(mg.ones((1, 600))).sum().backward()
    buckets.close(0.0)
    assert started[0] <= 1  # the last layer's weight went at once
    assert started == sorted(started)
    assert started[2] < len(complete)
    assert model[1].weight.grad is None


class Slow(Serial):
    """A world of one that notes what it is told."""

    def __init__(self):
        self.told = []

    def start_all_reduce(self, array, op="sum"):
        self.told.append(array.shape)
        return super().start_all_reduce(array, op)


def test_sums_start_while_backward_is_at_work_and_in_one_order():
    comm = Slow()
    first, last = (mg.zeros((600, 600), requires_grad=True) for _ in range(2))
    buckets = Buckets([first, last], comm)
    seen = []
    first.register_post_accumulate_grad_hook(lambda p: seen.append(len(comm.told)))
    last.register_post_accumulate_grad_hook(lambda p: seen.append(len(comm.told)))
    x = mg.ones((1, 600))
    buckets.open()
    ((x @ first) @ last).sum().backward()
    assert seen == [1, 2]  # last's sum had started when its gradient came, before first's gradient was there
    buckets.close(0.0)
    comm.told.clear()
    buckets.open()
    for p in (first, last):
        p.grad = mg.zeros(p.shape)
    buckets.arrived(first)  # the second bucket is full first, and has to wait
    assert comm.told == []
    buckets.arrived(last)
    assert comm.told == [(600, 600)] * 2


# ------------------------------------------------------------------------------------------------ bad calls

x1 = mg.ones((2, 5), np.float64)


def newton(model):
    return optim.Newton(model.parameters())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: DataParallel(m, newton(m), Serial()), TypeError, "Newton wants more than losses and gradients"),
        (lambda m: DataParallel(m, optim.KFAC(m), Serial()), TypeError, "KFAC wants more"),
        (lambda m: DataParallel(m, m, Serial()), TypeError, "DataParallel: base is a Sequential, wanted an optimizer"),
        (
            lambda m: DataParallel(m, METHODS["SGD"](m.parameters()), Serial(), statistics="shared"),
            ValueError,
            "DataParallel: statistics = 'shared'; wanted one of 'synchronised', 'local'",
        ),
        (
            lambda m: DataParallel(m, METHODS["SGD"](m.parameters()), Serial(), recover=True),
            ValueError,
            "recover=True wants an MPI that goes on without a process: mpiexec --with-ft ulfm",
        ),
        (
            lambda m: DataParallel(m, METHODS["LBFGS"](m.parameters()), Serial(), recover=True),
            TypeError,
            "recover=True wants a step that is one gradient and an update, not LBFGS",
        ),
        (
            lambda m: DataParallel(m, DataParallel(m, METHODS["SGD"](m.parameters()), Serial()), Serial()),
            TypeError,
            "the optimizer is made parallel already",
        ),
        (
            lambda m: DataParallel(m, METHODS["SGD"](m.parameters()), 4),
            TypeError,
            "comm is a int, wanted a Communicator",
        ),
        (
            lambda m: DataParallel(perceptron(), METHODS["SGD"](m.parameters()), Serial()),
            ValueError,
            "parameters that are not the model's",
        ),
    ],
)
def test_what_cannot_be_made_parallel_is_refused(call, error, words):
    model = perceptron()
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(error, match=words):
        call(model)
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda opt, m: opt.shard(x1, x1[:1]),
            ValueError,
            r"DataParallel.shard: wanted arrays of one length, got \[\(2, 5\), \(1, 5\)\]",
        ),
        (lambda opt, m: opt.shard(x1[:0]), ValueError, "a batch without examples"),
        (lambda opt, m: opt.step(m(x1).sum()), TypeError, "call loss.backward"),
        (lambda opt, m: opt.step(lambda: m(x1)), ValueError, "wanted a loss: one element"),
        (lambda opt, m: opt.step(lambda: m(x1).sum().backward()), RuntimeError, "the closure called backward itself"),
        (lambda opt, m: opt.step(lambda: None), TypeError, "the closure returned NoneType"),
        (
            lambda opt, m: [opt.shard(x1), opt.shard(x1[:1])],
            ValueError,
            "a batch of 1 examples, while there was no step on the one of 2",
        ),
        (
            lambda opt, m: [m.to(np.float32), opt.step(lambda: m(x1.astype(np.float32)).sum())],
            RuntimeError,
            "a parameter is float32.* now, and was float64.*; make it after changing the model",
        ),
        (lambda opt, m: opt.add_param_group({"params": []}), TypeError, "before it is made parallel"),
        (
            lambda opt, m: opt.shared(lambda: m(x1).sum())().backward(create_graph=True),
            TypeError,
            "gradients of the first order",
        ),
    ],
)
def test_bad_steps_are_refused_and_change_nothing(call, error, words):
    model = perceptron()
    optimizer = DataParallel(model, METHODS["SGD"](model.parameters()), Serial())
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(error, match=words):
        call(optimizer, model)
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["NAG", "SAM", "LBFGS"])
def test_accumulation_is_refused_where_one_loss_is_evaluated_several_times(name):
    model = perceptron()
    optimizer = DataParallel(model, METHODS[name](model.parameters()), Serial())
    with pytest.raises(TypeError, match="takes gradients of one loss several times"):
        optimizer.accumulate(lambda: model(x1).sum())
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()


class Recoverable(Serial):
    """A world of one that would survive."""

    survives = True


def test_what_cannot_be_done_again_is_refused_with_recover():
    model = perceptron()
    optimizer = DataParallel(model, METHODS["SGD"](model.parameters()), Recoverable(), recover=True)
    with pytest.raises(TypeError, match="recover=True wants a closure"):
        optimizer.step()
    with pytest.raises(TypeError, match="recover=True cannot bring back"):
        optimizer.accumulate(lambda: model(x1).sum())


class Pretended(Serial):
    """A world of one that says there are three."""

    size = 3


def test_a_batch_too_small_for_synchronised_batch_norm_is_refused():
    model = nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2)).to(np.float64)
    optimizer = DataParallel(model, METHODS["SGD"](model.parameters()), Pretended())
    with pytest.raises(ValueError, match="2 examples for 3 ranks, and batch norm over all of them"):
        optimizer.shard(x1)


def test_the_state_is_the_wrapped_optimizers():
    model = perceptron()
    base = METHODS["momentum"](model.parameters())
    optimizer = DataParallel(model, base, distributed.world())
    optimizer.step(lambda: model(x1).sum())
    state = optimizer.state_dict()
    assert state.keys() == {"state", "param_groups"}
    other = METHODS["momentum"](perceptron().parameters())
    other.load_state_dict(state)
    fresh = perceptron()
    wrapped = DataParallel(fresh, METHODS["momentum"](fresh.parameters()), Serial())
    wrapped.load_state_dict(state)
    np.testing.assert_array_equal(wrapped.state[fresh[0].weight]["v"], base.state[model[0].weight]["v"])
