"""Workers push, servers update: the same path as one process where all wait, and bounded staleness where they do not."""

import itertools
import time

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.functional import cross_entropy
from optim import distributed
from optim.distributed import ParameterServer, Push, Serial
from optim.distributed.parameter_server import dealt
from optim.distributed.serving import Mailbox
from tests.optim.distributed.launch import launch

# Float64, and relative to the largest parameter on the path. Adam divides by a root, which is less exact near 0.
METHODS = {
    "SGD": (lambda params: optim.SGD(params, lr=0.1, momentum=0.9), 1e-12),
    "Adam": (lambda params: optim.Adam(params, lr=0.01), 1e-9),
}
EXAMPLES, BATCH, EPOCHS = 29, 9, 5  # 20 steps; every fourth has a batch of 2, one too few for three workers


def network(kind, seed):
    mg.manual_seed(seed)
    layers = {
        "MLP": lambda: [nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)],
        "CNN": lambda: [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)],
    }[kind]()
    return nn.Sequential(*layers).to(np.float64)


def batches():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(EXAMPLES, 1, 6, 6)), rng.integers(3, size=EXAMPLES)
    for k in [*range(0, EXAMPLES, BATCH)] * EPOCHS:
        yield mg.tensor(x[k : k + BATCH]), mg.tensor(y[k : k + BATCH])


def vector(model):
    return np.concatenate([p.data for p in model.parameters()], axis=None)


def served(comm, kind, method, seed=0, runs=1, **settings):
    """The server, and what this rank had pulled at each step; of a rank that serves, the final parameters alone."""
    model, path, stream = network(kind, seed), [], batches()
    server = ParameterServer(model, METHODS[method][0], comm, **settings)

    def work(worker):
        for x, y in itertools.islice(stream, 20 // runs):
            x, y = worker.shard(x, y)
            worker.step(lambda x=x, y=y: cross_entropy(model(x), y))
            path.append(vector(model))

    for _ in range(runs):
        server.run(work)
    return server, np.array([*path, vector(model)])


def alone(kind, method):
    """The optimizer and the path of one process with the whole batch."""
    model = network(kind, seed=0)
    opt, path = METHODS[method][0](model.parameters()), []
    for x, y in batches():
        path.append(vector(model))
        opt.step(lambda x=x, y=y: cross_entropy(model(x), y))
    return opt, np.array([*path, vector(model)])


def cases(n):
    """(network, method, servers) of a run of n ranks."""
    return [(kind, method, servers) for kind, servers in (("MLP", 1), ("CNN", min(2, n - 1))) for method in METHODS]


def everything(comm):
    """All that several processes are asked, at once: starting them takes longer."""
    found = {}
    for kind, method, servers in cases(comm.size):
        server, path = served(comm, kind, method, seed=comm.rank, servers=servers)  # each rank starts elsewhere
        own = server.optimizers[comm.rank].state_dict() if comm.rank < servers else None
        found[f"{kind} {method}"] = {"path": path, "pushes": rows(server), "state": own}
    found["mixed"] = mixed(comm)
    if comm.size == 2:
        found["one asynchronous worker"] = served(comm, "MLP", "SGD", synchronous=False)[1]
        found["two runs"] = served(comm, "MLP", "SGD", runs=2)[1]
    else:
        found["held back"] = held_back(comm, servers=comm.size - 2, max_staleness=1)
        found["run away"] = held_back(comm, servers=comm.size - 2, max_staleness=None)
    if comm.size == 4:
        found["two held back"] = held_back(comm, servers=1, max_staleness=1)
        found["never twice"] = held_back(comm, servers=1, max_staleness=0)
        server, _ = served(comm, "MLP", "SGD", synchronous=False, servers=2, max_staleness=0)
        found["free"] = rows(server)
    return found


def rows(server):
    return [list(push) for push in server.pushes]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_processes_go_the_way_of_one_where_all_wait_and_are_as_stale_as_they_may_where_not(n):
    """One start for all the checks below, each of what all ranks found."""
    ranks = launch(n, everything)
    for check in (
        whoever_waits_for_all_goes_the_way_of_one_process_with_the_whole_batch,
        each_server_has_the_optimizers_state_of_its_own_part,
        nothing_is_stale_where_all_wait_and_every_rank_knows_every_push,
        dtypes_travel_as_they_are_and_parameters_without_a_gradient_are_left_alone,
        *([a_second_run_goes_on, one_asynchronous_worker_goes_the_way_of_one_process] if n == 2 else []),
        *([staleness_reaches_its_bound_and_no_more, without_a_bound_the_fast_run_away] if n > 2 else []),
        *([whoever_comes_second_to_a_version_is_one_late] if n == 4 else []),
    ):
        check(n, ranks)


# ------------------------------------------------------------------------------------------------------- synchronous


def whoever_waits_for_all_goes_the_way_of_one_process_with_the_whole_batch(n, ranks):
    for kind, method, servers in cases(n):
        _, path = alone(kind, method)
        tolerance = METHODS[method][1] * np.abs(path).max()
        for rank, seen in enumerate(ranks):
            steps = path[-1:] if rank < servers else path
            np.testing.assert_allclose(seen[f"{kind} {method}"]["path"], steps, rtol=0, atol=tolerance)


def each_server_has_the_optimizers_state_of_its_own_part(n, ranks):
    for kind, method, servers in cases(n):
        whole = alone(kind, method)[0]
        params = [*whole.parameters()]
        for rank, part in enumerate(dealt(params, servers)):
            state = ranks[rank][f"{kind} {method}"]["state"]["state"]
            assert [*state] == [*range(len(part))]
            for k, p in enumerate(part):
                for name, array in whole.state[p].items():
                    np.testing.assert_allclose(state[k][name], array, rtol=1e-7, atol=1e-9)


def nothing_is_stale_where_all_wait_and_every_rank_knows_every_push(n, ranks):
    for kind, method, servers in cases(n):
        expected = [[s, w, clock, 0] for s in range(servers) for w in range(servers, n) for clock in range(1, 21)]
        for seen in ranks:
            assert sorted(seen[f"{kind} {method}"]["pushes"]) == expected


def a_second_run_goes_on(n, ranks):
    _, path = alone("MLP", "SGD")
    for rank, seen in enumerate(ranks):
        np.testing.assert_allclose(seen["two runs"], path[-1:] if rank == 0 else path, rtol=0, atol=1e-11)


class Mixed(nn.Module):
    """Parameters of two dtypes; one is not used, one is used where x > 0, and a statistic counts the calls."""

    def __init__(self):
        self.single = nn.Parameter(np.array([0.5, -0.5], np.float32))
        self.double = nn.Parameter(np.array([1.0, 2.0]))
        self.unused = nn.Parameter(np.array([3.0]))
        self.sometimes = nn.Parameter(np.array(4.0))
        self.register_buffer("calls", mg.tensor(np.array(0.0)))

    def forward(self, x):
        self.calls = self.calls + 1
        y = (self.single.astype(np.float64) * self.double * x).sum()
        return y + self.sometimes if float(x) > 0 else y


def mixed(comm):
    """Parameters of several dtypes, with and without a gradient, and a statistic; of two workers one works longer."""
    model = Mixed()
    server = ParameterServer(model, momentum, comm)

    def work(worker):
        for x in mixed_inputs(comm.size - 1)[worker.number]:
            worker.step(lambda x=x: model(mg.tensor(np.array(x))) ** 2)

    server.run(work)
    values = {name: p.data for name, p in model.named_parameters()}
    return {"values": values, "calls": model.calls.item(), "state": server.optimizers[0].state_dict()["state"]}


def momentum(params):
    return optim.SGD(params, lr=0.1, momentum=0.5)


def mixed_inputs(workers):
    """What each of so many workers takes steps at."""
    return {1: [[1.0, -1.0]], 2: [[1.0, -1.0], [-1.0] * 4], 3: [[1.0, -1.0], [-1.0] * 2, [-1.0] * 2]}[workers]


def dtypes_travel_as_they_are_and_parameters_without_a_gradient_are_left_alone(n, ranks):
    """Also: who is done is waited for no more, and the statistics of all become the first worker's."""
    model = Mixed()
    opt = momentum(model.parameters())
    inputs = mixed_inputs(n - 1)
    for xs in itertools.zip_longest(*inputs):
        at = [mg.tensor(np.array(x)) for x in xs if x is not None]
        opt.step(lambda at=at: sum(model(x) ** 2 for x in at) / len(at))
    for seen in (rank["mixed"] for rank in ranks):
        assert seen["calls"] == len(inputs[0])
        for name, p in model.named_parameters():
            np.testing.assert_allclose(seen["values"][name], p.data, rtol=1e-6)
            assert seen["values"][name].dtype == p.dtype
    assert [*ranks[0]["mixed"]["state"]] == [0, 1, 3]  # not that of `unused`
    assert ranks[0]["mixed"]["state"][3]["t"] == 1


# ------------------------------------------------------------------------------------------------------ asynchronous


HELD, MADE = 1, 2  # tags, for what the workers tell each other


def held_back(comm, servers, max_staleness):
    """The last worker sits on a gradient while the others push as often as they may, or ten times; then all go on."""
    model, x = nn.Linear(3, 2), mg.ones((4, 3))
    server = ParameterServer(model, METHODS["SGD"][0], comm, servers, synchronous=False, max_staleness=max_staleness)
    slow, signal, pulled = comm.size - 1, np.zeros(1), None
    others = server.workers[:-1]
    times = 10 if max_staleness is None else 2 * max_staleness + 1

    def loss():
        return (model(x) ** 2).mean()

    def work(worker):
        nonlocal pulled
        if comm.rank == slow:
            for _ in range(max_staleness or 0):
                worker.step(loss)  # as far ahead as it may
            worker.gradients(loss)
            for rank in others:
                comm.send(signal, rank, HELD)
            for rank in others:
                comm.receive(signal, rank, MADE)
            time.sleep(0.1)  # without it, a gate that lets the others through might not be noticed
            worker.apply()
        else:
            comm.receive(signal, slow, HELD)
            for _ in range(times):
                worker.step(loss)
            comm.send(signal, slow, MADE)
            if max_staleness is not None:
                worker.step(loss)
                pulled = worker.version

    server.run(work)
    return {"pushes": rows(server), "pulled": pulled, "bound": server.bound}


# what was held back, s, and (n - 1)(2s + 1) for so many workers
BOUNDS = {
    3: [("held back", 1, 3)],
    4: [("held back", 1, 3), ("two held back", 1, 6), ("never twice", 0, 2)],
}


def staleness_reaches_its_bound_and_no_more(n, ranks):
    """And the fast wait for the slow: what they get has what was held back in it."""
    for name, s, bound in BOUNDS[n]:
        pushes = [Push(*row) for row in ranks[0][name]["pushes"]]
        held = [push.staleness for push in pushes if (push.worker, push.clock) == (n - 1, s + 1)]
        assert set(held) == {bound} == {max(push.staleness for push in pushes)}
        for seen in (rank[name] for rank in ranks):
            assert (seen["bound"], seen["pushes"]) == (bound, ranks[0][name]["pushes"])
            assert seen["pulled"] is None or seen["pulled"] >= s + bound + 1


def without_a_bound_the_fast_run_away(n, ranks):
    pushes = [Push(*row) for row in ranks[0]["run away"]["pushes"]]
    servers = n - 2
    assert [push.staleness for push in pushes if push.worker == n - 1] == [10] * servers
    assert [push.staleness for push in pushes if push.worker == n - 2] == [0] * 10 * servers
    assert ranks[0]["run away"]["bound"] is None


def whoever_comes_second_to_a_version_is_one_late(n, ranks):
    """Two free workers and two servers: whoever comes second to a version is one late, and s = 0 allows no more."""
    pushes = [Push(*row) for row in ranks[0]["free"]]
    for server in (0, 1):
        mine = [push for push in pushes if push.server == server]
        assert sorted((push.worker, push.clock) for push in mine) == [(w, c) for w in (2, 3) for c in range(1, 21)]
        assert {push.staleness for push in mine} <= {0, 1}
        clocks = [push.clock for push in mine]
        assert all(abs(clock - (k // 2 + 1)) <= 1 for k, clock in enumerate(clocks))


def one_asynchronous_worker_goes_the_way_of_one_process(n, ranks):
    _, path = alone("MLP", "SGD")
    for rank, seen in enumerate(ranks):
        steps = path[-1:] if rank == 0 else path
        np.testing.assert_allclose(seen["one asynchronous worker"], steps, rtol=0, atol=1e-12)


def failing(comm):
    server = ParameterServer(nn.Linear(1, 1), METHODS["SGD"][0], comm)
    server.run(lambda worker: worker.step(lambda: 1 / 0))
    return {}


def test_an_exception_in_the_work_ends_all():
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        launch(3, failing)


def test_where_there_is_no_mpiexec_start_says_what_brings_one(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    assert distributed.mpiexec() is None
    with pytest.raises(RuntimeError, match=r"there is no program mpiexec; .*minigrad-course\[mpi\]"):
        distributed.start(2, "-c", "pass")


def test_a_program_is_started_on_several_processes_and_its_status_comes_back(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, sys\n"
        "from optim import distributed\n"
        "comm = distributed.world()\n"
        "pathlib.Path(__file__).with_name(str(comm.rank)).touch()\n"
        "comm.barrier()\n"
        "sys.exit(3 * comm.rank)\n"
    )
    assert distributed.start(2, program) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "program.py"]


# ------------------------------------------------------------------------------------------------- one process alone


@pytest.mark.parametrize("settings", [{}, {"synchronous": False}, {"synchronous": False, "max_staleness": 0}])
@pytest.mark.parametrize("method", METHODS)
def test_alone_it_is_the_optimizer_bit_for_bit(method, settings):
    server, path = served(Serial(), "CNN", method, **settings)
    np.testing.assert_array_equal(path[:-1], alone("CNN", method)[1][1:])  # it steps before the path is written down
    assert server.pushes == [Push(0, 0, clock, 0) for clock in range(1, 21)]


def test_a_step_sends_the_parameters_the_gradients_and_headers_of_a_few_integers(monkeypatch):
    sent, post = [], Mailbox.start_send

    def start_send(self, array, to, tag=0):
        sent.append(array.nbytes)
        return post(self, array, to, tag)

    monkeypatch.setattr(Mailbox, "start_send", start_send)
    model = network("MLP", 0)  # four parameters, of 36 · 8 + 8 + 8 · 3 + 3 elements
    x, y = next(batches())
    ParameterServer(model, make_sgd, Serial()).run(lambda worker: worker.step(lambda: cross_entropy(model(x), y)))
    header, values = 8 * (3 + 4), 8 * 323
    assert sent == [header, 8, values, header, values, header]


def test_a_wrapper_steps_on_the_server():
    def run(step_of):
        model = network("MLP", 0)
        step = step_of(model)
        for x, y in batches():
            step(lambda x=x, y=y, model=model: cross_entropy(model(x), y))
        return vector(model)

    def through_a_server(model):
        make = lambda params: optim.Lookahead(optim.SGD(params, lr=0.1), k=3)
        server, closures = ParameterServer(model, make, Serial()), []

        def step(closure):
            closures.append(closure)
            server.run(lambda worker: worker.step(closure))

        return step

    base = run(lambda model: optim.Lookahead(optim.SGD(model.parameters(), lr=0.1), k=3).step)
    np.testing.assert_array_equal(run(through_a_server), base)


@pytest.mark.parametrize("servers", [1, 2, 3, 5])
def test_parameters_are_dealt_out_whole_and_evenly(servers):
    params = [*network("MLP", 0).parameters(), *network("CNN", 0).parameters()]
    numbers = {p: k for k, p in enumerate(params)}
    parts = dealt(params, servers)
    assert {p for part in parts for p in part} == set(params)
    assert sum(map(len, parts)) == len(params)
    loads = [sum(p.size for p in part) for part in parts]
    assert max(loads) - min(loads) <= max(p.size for p in params)
    for part in parts:
        order = [numbers[p] for p in part]
        assert order == sorted(order)  # the model's


def test_one_large_parameter_is_balanced_by_many_small_ones():
    params = [mg.zeros(size, requires_grad=True) for size in (1, 1, 8, 1, 1, 1, 1, 1, 1)]
    large, small = dealt(params, 2)
    assert [p.size for p in large] == [8]
    assert [p.size for p in small] == [1] * 8


def test_a_worker_without_examples_runs_no_closure_and_its_push_is_no_update():
    model, x = nn.Linear(2, 1), mg.ones((3, 2))
    before = vector(model)
    server = ParameterServer(model, make_sgd, Serial())
    losses, versions = [], []

    def work(worker):
        for n in (0, 3, 0):
            part = worker.shard(x[:n])
            losses.append(worker.step(lambda part=part: model(part).mean() if len(part) else 1 / 0).item())
            versions.append(worker.version)

    server.run(work)
    assert np.isnan(losses).tolist() == [True, False, True]
    assert versions == [0, 0, 1]
    np.testing.assert_allclose(vector(model), before - 0.1, rtol=1e-5)


def test_parts_of_a_batch_are_disjoint_and_as_equal_as_can_be():
    batch = np.arange(11)
    for count in (1, 2, 3, 12):
        workers = [distributed.Worker(nn.Linear(1, 1).parameters(), k, count, [], Serial(), None) for k in range(count)]
        parts = [worker.shard(batch) for worker in workers]
        np.testing.assert_array_equal(np.concatenate(parts), batch)
        assert {len(part) for part in parts} <= {11 // count, 11 // count + 1}
        assert [worker.examples for worker in workers] == [len(part) for part in parts]
        pair = workers[-1].shard(batch, batch[:, None])
        assert [part.shape for part in pair] == [parts[-1].shape, (*parts[-1].shape, 1)]
    with pytest.raises(ValueError, match=r"Worker.shard: wanted arrays of one length, got \[\(11,\), \(10,\)\]"):
        workers[0].shard(batch, batch[1:])


def test_a_worker_is_an_optimizer_that_wants_a_closure():
    def run(work):
        model = nn.Linear(1, 1)
        ParameterServer(model, METHODS["SGD"][0], Serial()).run(lambda worker: work(worker, model))

    def prints(worker, model):
        assert repr(worker) == "Worker(0 of 1)"
        assert worker.version == 0

    run(prints)
    with pytest.raises(TypeError, match="run: work is a int, wanted a function of a worker"):
        ParameterServer(nn.Linear(1, 1), make_sgd, Serial()).run(3)
    with pytest.raises(TypeError, match=r"Worker.step: wants a closure"):
        run(lambda worker, model: worker.step())
    with pytest.raises(RuntimeError, match=r"Worker.step: the closure called backward itself"):
        run(lambda worker, model: worker.step(lambda: model(mg.ones((1, 1))).sum().backward()))


def test_the_picture_shows_how_stale_each_workers_pushes_were_and_the_bound():
    server = ParameterServer(nn.Linear(1, 1), METHODS["SGD"][0], Serial(), synchronous=False, max_staleness=1)
    server.workers = [1, 2, 3]
    server.pushes = [Push(0, 1, k, k % 4) for k in range(20)] + [Push(0, 2, k, 6) for k in range(5)]
    axes = server.draw()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["worker 1: 20 pushes", "worker 2: 5 pushes", "worker 3: 0 pushes", "bound: 6"]
    assert axes.get_xlabel() == "staleness of a push, in versions"
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    np.testing.assert_allclose(heights, [[25] * 4 + [0] * 3, [0] * 6 + [100], [0] * 7])
    server.pushes.append(Push(0, 3, 1, 200))
    assert len(server.draw().containers[0]) == 19  # 201 values, eleven to a group


def make_sgd(params):
    return optim.SGD(params, lr=0.1)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"model": make_sgd}, TypeError, "model is a function, wanted a Module"),
        ({"make_optimizer": 0.1}, TypeError, "make_optimizer is a float; wanted a function of a list of parameters"),
        ({"comm": 4}, TypeError, r"comm is a int, wanted a Communicator such as world\(\)"),
        ({"servers": 2}, ValueError, "servers = 2; wanted 1 to 1, as there are 1 processes, of which one has to work"),
        ({"servers": 0}, ValueError, "servers = 0; wanted 1 to 1"),
        ({"servers": 1.0}, ValueError, "servers = 1.0; wanted 1 to 1"),
        ({"max_staleness": 2}, ValueError, "max_staleness = 2 with synchronous=True, where nothing is stale"),
        ({"max_staleness": -1, "synchronous": False}, ValueError, "max_staleness = -1; wanted an integer >= 0"),
        ({"max_staleness": 0.5, "synchronous": False}, ValueError, "max_staleness = 0.5; wanted an integer >= 0"),
        ({"make_optimizer": list}, TypeError, "make_optimizer returned a list, wanted an optimizer"),
        (
            {"make_optimizer": lambda params: make_sgd(params[:1])},
            ValueError,
            "make_optimizer returned an optimizer of other parameters",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_name_before_anything_is_sent(settings, kind, words):
    given = {"model": nn.Linear(1, 1), "make_optimizer": make_sgd, "comm": Serial(), **settings}
    with pytest.raises(kind, match=f"ParameterServer: {words}"):
        ParameterServer(**given)


def test_more_servers_than_parameters_or_than_leave_a_worker_are_refused():
    comm = Serial()
    comm.size = 4
    with pytest.raises(ValueError, match="servers = 4; wanted 1 to 3, as there are 4 processes"):
        ParameterServer(network("MLP", 0), make_sgd, comm, servers=4)
    with pytest.raises(ValueError, match="servers = 3; wanted 1 to 2, .* and 2 parameters"):
        ParameterServer(nn.Linear(1, 1), make_sgd, comm, servers=3)


class Clipped(optim.SGD):
    def gradients(self, closure):
        return super().gradients(closure)


class Stepping(optim.SGD):
    def step(self, closure=None):
        return super().step(closure)


class Wanting(optim.SGD):
    needs_closure = True


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("NAG", optim.NAG),
        ("SAM", lambda params: optim.SAM(make_sgd(params))),
        ("SAM", lambda params: optim.Lookahead(optim.SAM(make_sgd(params)))),
        ("NAG", lambda params: optim.Averaged(optim.NAG(params), optim.averages.EWMA)),
        ("LBFGS", optim.LBFGS),
        ("BFGS", optim.BFGS),
        ("Newton", optim.Newton),
        ("KFAC", lambda params: optim.KFAC(nn.Linear(1, 1))),
        ("Clipped", Clipped),
        ("Stepping", Stepping),
        ("Wanting", Wanting),
    ],
)
def test_an_optimizer_that_takes_gradients_in_its_own_way_is_refused_by_name(name, make):
    with pytest.raises(TypeError, match=f"make_optimizer returned {name}, whose step takes gradients of its own"):
        ParameterServer(nn.Linear(1, 1), make, Serial())


def test_a_gradient_is_pushed_once():
    model = nn.Linear(1, 1)
    server = distributed.ParameterServer(model, lambda params: optim.SGD(params, lr=0.1), Serial())

    def work(worker):
        worker.gradients(lambda: model(mg.ones((1, 1))).sum())
        worker.apply()
        with pytest.raises(RuntimeError, match="Worker.apply: nothing was pulled since the last push"):
            worker.apply()

    server.run(work)
    assert len(server.pushes) == 1
