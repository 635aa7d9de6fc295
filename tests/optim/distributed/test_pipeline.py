"""A network cut across processes has the gradients, and takes the path, that it has in one."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import optim
from minigrad import nn
from optim.distributed import Pipeline, Request, Serial, Work, bubble, cut, ideal_bubble
from tests.cupy import double
from tests.optim.distributed.launch import launch


def perceptron(seed=0):
    mg.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3)
    ).to(np.float64)


def convolutional():
    mg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    ).to(np.float64)


def normalized(Norm, *size):
    mg.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 9), Norm(9, *size), nn.Tanh(), nn.Linear(9, 8), Norm(8, *size), nn.Linear(8, 3)
    ).to(np.float64)


def embedded():
    """Its first stage may be one that hands on integers."""
    mg.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Embedding(3, 4), nn.Flatten(), nn.Linear(20, 3)).to(np.float64)


def batch(n, *shape, integers=False):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 3, (n, *shape)) if integers else rng.standard_normal((n, *shape))
    return mg.tensor(x), mg.tensor(rng.integers(0, 3, n))


mean = nn.CrossEntropyLoss()
LOSSES = {
    "mean": mean,
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "weights": nn.CrossEntropyLoss(mg.tensor(np.array([1.0, 2.0, 5.0]))),
    "of one's own": lambda z, y: (z * z).mean() + z[0, 0] * z[-1, 1],
}
# What is trained for one step: model, batch, loss, number of micro-batches.
ONCE = {
    **{f"perceptron, {m}": (perceptron, batch(11, 5), "mean", m) for m in (1, 2, 4, 11)},
    **{f"perceptron, {loss}": (perceptron, batch(10, 5), loss, 3) for loss in LOSSES if loss != "mean"},
    "convolutional": (convolutional, batch(7, 1, 8, 8), "mean", 3),
    "integers": (embedded, batch(7, 5, integers=True), "mean", 2),
}
METHODS = {
    "SGD": (lambda params: optim.SGD(params, lr=0.1, momentum=0.9), 1e-12),
    "Adam": (lambda params: optim.Adam(params, lr=0.01), 1e-9),  # divides by what may be mostly rounding
}
SIZES = (8, 8, 5)  # of batches, again and again
COSTS = [3.0, 1.0, 1.0, 1.0]  # of `embedded`: two stages are cut after the first layer


def gradients(model):
    """The gradients that are there, by the plain model's names."""
    named = model.own() if isinstance(model, Pipeline) else model.named_parameters()
    return {name: t.grad.data for name, t in named if t.grad is not None}


def path(make_optimizer, model, backward):
    """The losses of 20 steps, batches being uneven."""
    optimizer, losses = make_optimizer(model.parameters()), []
    for n in itertools.islice(itertools.cycle(SIZES), 20):
        optimizer.zero_grad()
        losses.append(backward(mean, *batch(n, 5)))
        optimizer.step()
    return losses


def piped(comm):
    """What a rank sees of everything that a Pipeline does."""
    seen = {"once": {}, "path": {}}
    for name, (make, (x, y), loss, m) in ONCE.items():
        pipe = Pipeline(make(), comm, m, COSTS if make is embedded else None)
        seen["once"][name] = (pipe.backward(LOSSES[loss], x, y), gradients(pipe), pipe.bounds)
    for name, (make_optimizer, _) in METHODS.items():
        pipe = Pipeline(perceptron(seed=comm.rank), comm, 3)  # rank 0's counts
        seen["path"][name] = (path(make_optimizer, pipe, pipe.backward), pipe.state_dict())
    x, y = batch(8, 5)
    seen["forward"] = [pipe(x).data, pipe(x[:2]).data, pipe(x).requires_grad]
    pipe.load_state_dict(perceptron(seed=5).state_dict())
    seen["loaded"] = pipe.state_dict()

    pipe.stage.zero_grad()
    pipe.backward(mean, x, y)
    pipe.backward(mean, x, y)
    seen["twice"] = gradients(pipe)

    model = perceptron().to(np.float32)
    pipe = Pipeline(model, comm, 2)
    pipe.backward(mean, x.astype(np.float32), y)
    seen["float32"] = gradients(pipe)
    seen["timelines"] = [[[*work] for work in timeline] for timeline in pipe.timelines()]
    seen["mine"] = [[work.kind, work.micro_batch] for work in pipe.timeline]

    frozen = perceptron()
    frozen[0].requires_grad_(False)
    pipe = Pipeline(frozen, comm, 2)
    seen["frozen"] = (pipe.backward(mean, x, y), gradients(pipe))

    x, y = batch(12, 5)
    pipe = Pipeline(normalized(nn.BatchNorm1d), comm, 3)
    pipe.backward(mean, x, y)
    seen["normalized"] = (gradients(pipe), pipe.state_dict())

    try:
        Pipeline(nn.Sequential(*[nn.Linear(2, 2 + (comm.rank == 1)) for _ in range(4)]), comm, 2)
    except ValueError as error:
        seen["unlike"] = str(error)

    with double.pretended():
        pipe = Pipeline(perceptron().to("cuda"), comm, 2)
        pipe.backward(mean, *(t.to("cuda") for t in batch(8, 5)))
        seen["cuda"] = {name: np.asarray(mg.Tensor(g).to("cpu").data) for name, g in gradients(pipe).items()}
        seen["cuda state"] = pipe.state_dict()
    return seen


@functools.cache
def seen_by(n):
    return launch(n, piped)


worlds = pytest.mark.parametrize("n", [2, 4])


def close(found, wanted, rtol=1e-12):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        value = np.asarray(value)
        np.testing.assert_allclose(found[name], value, rtol=0, atol=rtol * abs(value).max(), err_msg=name)
        assert np.asarray(found[name]).dtype == value.dtype


def together(parts):
    """All ranks' gradients. No two have the same."""
    names = [name for part in parts for name in part]
    assert len(names) == len({*names})
    return {name: g for part in parts for name, g in part.items()}


def plain(make, x, y, loss=mean):
    """The loss and gradients of one process with the whole batch."""
    model = make()
    z = loss(model(x), y)
    z.backward()
    return z.item(), gradients(model)


@worlds
@pytest.mark.parametrize("name", ONCE)
def test_gradients_are_those_of_one_process_with_the_whole_batch(n, name):
    make, (x, y), loss, _ = ONCE[name]
    value, wanted = plain(make, x, y, LOSSES[loss])
    found = [seen["once"][name] for seen in seen_by(n)]
    assert [each[0] for each in found] == pytest.approx([value] * n, rel=1e-12)
    close(together([each[1] for each in found]), wanted)
    layers = len(make())
    assert all(each[2][0] == 0 and each[2][-1] == layers and len(each[2]) == n + 1 for each in found)


def test_the_costs_that_are_given_decide_where_to_cut():
    assert seen_by(2)[0]["once"]["integers"][2] == [0, 1, 4]
    assert seen_by(2)[0]["once"]["perceptron, 1"][2] == [0, 4, 7]  # 54 + 80 parameters and 63 + 24


@worlds
@pytest.mark.parametrize("name", METHODS)
def test_twenty_steps_take_the_path_of_one_process(n, name):
    make_optimizer, rtol = METHODS[name]

    def backward(loss_fn, x, y):
        loss = loss_fn(model(x), y)
        loss.backward()
        return loss.item()

    model = perceptron()
    losses = path(make_optimizer, model, backward)
    wanted = {name: t.data for name, t in model.state_dict().items()}
    for seen in seen_by(n):
        np.testing.assert_allclose(seen["path"][name][0], losses, rtol=rtol)
        close({name: t.data for name, t in seen["path"][name][1].items()}, wanted, rtol)


@worlds
def test_every_rank_gets_what_the_whole_model_gives_also_for_fewer_examples_than_micro_batches(n):
    state = seen_by(n)[0]["path"]["Adam"][1]
    model = perceptron()
    model.load_state_dict(state)
    z = model(batch(8, 5)[0]).data
    for seen in seen_by(n):
        whole, two, requires_grad = seen["forward"]
        np.testing.assert_allclose(whole, z, rtol=1e-12)
        np.testing.assert_allclose(two, z[:2], rtol=1e-12)
        assert not requires_grad


@worlds
def test_a_plain_models_state_goes_into_the_stages_and_comes_back(n):
    for seen in seen_by(n):
        close(
            {name: t.data for name, t in seen["loaded"].items()},
            {name: t.data for name, t in perceptron(seed=5).state_dict().items()},
            rtol=0,
        )


@worlds
def test_a_second_backward_adds_to_the_gradients(n):
    _, wanted = plain(functools.partial(perceptron, seed=5), *batch(8, 5))
    close(together([seen["twice"] for seen in seen_by(n)]), {name: 2 * g for name, g in wanted.items()})


@worlds
def test_float32_stays_float32(n):
    x, y = batch(8, 5)
    _, wanted = plain(lambda: perceptron().to(np.float32), x.astype(np.float32), y)
    close(together([seen["float32"] for seen in seen_by(n)]), wanted, rtol=1e-5)


@worlds
def test_what_is_not_learned_gets_no_gradient_and_the_rest_gets_its_own(n):
    def frozen():
        model = perceptron()
        model[0].requires_grad_(False)
        return model

    loss, wanted = plain(frozen, *batch(8, 5))
    assert "0.weight" not in wanted
    assert [seen["frozen"][0] for seen in seen_by(n)] == pytest.approx([loss] * n, rel=1e-12)
    close(together([seen["frozen"][1] for seen in seen_by(n)]), wanted)


@worlds
def test_batch_norm_is_ghost_batch_norm_over_the_micro_batches(n):
    model = normalized(nn.GhostBatchNorm1d, 4)  # 12 examples in 3 micro-batches
    x, y = batch(12, 5)
    mean(model(x), y).backward()
    # A bias before batch norm has no gradient but rounding.
    found = together([seen["normalized"][0] for seen in seen_by(n)])
    for name in ("0.bias", "3.bias"):
        assert abs(found.pop(name)).max() < 1e-15
    close(found, {name: g for name, g in gradients(model).items() if name not in ("0.bias", "3.bias")})
    for seen in seen_by(n):
        close(
            {name: t.data for name, t in seen["normalized"][1].items()},
            {name: t.data for name, t in model.state_dict().items()},
        )


@worlds
def test_all_go_forward_then_all_backward_in_reverse_and_every_rank_hears_of_it(n):
    for rank, seen in enumerate(seen_by(n)):
        order = [["forward", 0], ["forward", 1], ["backward", 1], ["backward", 0]]
        if rank == n - 1:
            order.insert(2, ["loss", -1])
        assert seen["mine"] == order
        assert [work[:2] for work in seen["timelines"][rank]] == order
        assert min(start for timeline in seen["timelines"] for _, _, start, _ in timeline) == 0
        np.testing.assert_allclose(
            [end - start for timeline in seen["timelines"] for _, _, start, end in timeline],
            [end - start for timeline in seen_by(n)[0]["timelines"] for _, _, start, end in timeline],
            atol=1e-9,
        )


@worlds
def test_models_that_are_not_alike_are_refused_on_every_rank(n):
    for rank, seen in enumerate(seen_by(n)):
        assert f"Pipeline: the ranks have different models or settings; rank {rank} has" in seen["unlike"]


@worlds
def test_stages_on_a_gpu_have_the_same_gradients_on_its_double(n):
    _, wanted = plain(perceptron, *batch(8, 5))
    close(together([seen["cuda"] for seen in seen_by(n)]), wanted)
    close(
        {name: t.data for name, t in seen_by(n)[0]["cuda state"].items()},
        {name: t.data for name, t in perceptron().state_dict().items()},
        rtol=0,
    )


# ------------------------------------------------------------------------------------------------------- alone


@pytest.mark.parametrize("name", ONCE)
def test_alone_it_is_the_plain_model_in_micro_batches(name):
    make, (x, y), loss, m = ONCE[name]
    value, wanted = plain(make, x, y, LOSSES[loss])
    pipe = Pipeline(make(), Serial(), m)
    assert pipe.backward(LOSSES[loss], x, y) == pytest.approx(value, rel=1e-12)
    close(gradients(pipe), wanted)
    assert pipe.bounds == [0, len(make())]
    assert pipe.state_dict().keys() == make().state_dict().keys()


def test_under_no_grad_it_differentiates_all_the_same():
    with mg.no_grad():
        pipe = Pipeline(perceptron(), Serial(), 2)
        pipe.backward(mean, *batch(4, 5))
    close(gradients(pipe), plain(perceptron, *batch(4, 5))[1])


def test_of_fewer_examples_than_micro_batches_each_goes_forward_alone():
    pipe, sizes = Pipeline(perceptron(), Serial(), 3), []
    pipe.stage.register_forward_hook(lambda module, args, z: sizes.append(len(z)))
    pipe(batch(2, 5)[0])
    assert sizes == [1, 1]


def test_the_timeline_stays_that_of_the_last_step():
    pipe = Pipeline(perceptron(), Serial(), 3)
    pipe.backward(mean, *batch(6, 5))
    timeline = [*pipe.timeline]
    pipe(batch(6, 5)[0])
    assert pipe.timeline == timeline


def test_its_repr_says_which_layers_are_here():
    assert "layers 0 to 6 of 7 on rank 0 of 1, micro_batches=2" in repr(Pipeline(perceptron(), Serial(), 2))


class Mute(Serial):
    """The first of several ranks, as if alone: nobody hears what it sends, and it hears zeros."""

    def __init__(self, size):
        self.size = size

    def start_send(self, array, to, tag=0):
        return Request()

    def receive(self, array, source=None, tag=0):
        array[...] = 0
        return source


class OwnForward(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


tied = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Pipeline(nn.Linear(2, 2), Mute(2), 2), TypeError, "the model is a Linear, wanted an nn.Sequential"),
        (lambda: Pipeline(OwnForward(nn.Linear(2, 2)), Mute(1), 2), TypeError, "is a OwnForward, wanted an nn.Seq"),
        (lambda: Pipeline(perceptron(), Mute(8), 2), ValueError, "8 stages of 7 layers; each needs one at least"),
        (lambda: Pipeline(perceptron(), Mute(2), 0), ValueError, "micro_batches = 0, wanted an integer >= 1"),
        (lambda: Pipeline(perceptron(), Mute(2), 1.5), ValueError, r"micro_batches = 1\.5"),
        (lambda: Pipeline(perceptron(), Mute(2), True), ValueError, "micro_batches = True"),
        (lambda: Pipeline(perceptron(), Mute(2), 2, [1.0]), ValueError, "1 costs for 7 layers"),
        (lambda: Pipeline(perceptron(), Mute(2), 2, [-1.0] * 7), ValueError, r"cut: costs = \[-1\.0,"),
        (lambda: Pipeline(perceptron(), Mute(2), 2, [np.inf] * 7), ValueError, "wanted finite numbers"),
        (lambda: Pipeline(nn.Sequential(tied, tied), Mute(2), 2), ValueError, "stages 0 and 1 share a tensor"),
    ],
)
def test_what_cannot_be_cut_is_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda pipe, x, y: pipe.backward(mean, x[:2], y[:2]), ValueError, "2 examples for 3 micro-batches"),
        (lambda pipe, x, y: pipe.backward(mean, x[:0], y[:0]), ValueError, r"x has shape \(0, 5\); wanted a batch"),
        (lambda pipe, x, y: pipe.backward(mean, x.data, y), TypeError, "x is ndarray, wanted a Tensor"),
        (lambda pipe, x, y: pipe(x.data), TypeError, r"Pipeline\.forward: x is ndarray"),
        (lambda pipe, x, y: pipe(x.sum()), ValueError, r"x has shape \(\); wanted a batch"),
        (
            lambda pipe, x, y: pipe.backward(nn.MSELoss(reduction="none"), x, y),
            ValueError,
            "loss_fn has reduction='none'; wanted a loss that is one number",
        ),
        (lambda pipe, x, y: pipe.load_state_dict({"w": x}), ValueError, r"misses \['0\.weight', .*know \['w'\]"),
    ],
)
@pytest.mark.parametrize("size", [1, 2])
def test_what_cannot_be_trained_on_is_refused_before_anything_is_sent(call, kind, words, size):
    pipe = Pipeline(perceptron(), Mute(size), 3)
    pipe.comm.start_send = None  # nothing may be sent
    with pytest.raises(kind, match=words):
        call(pipe, *batch(6, 5))
    assert not gradients(pipe)


@pytest.mark.parametrize(
    ("loss", "words"),
    [(lambda z, y: z, r"gave a Tensor of shape \(6, 3\)"), (lambda z, y: 1.0, r"gave 1\.0; wanted a Tensor")],
)
def test_a_loss_that_is_not_one_number_is_refused(loss, words):
    with pytest.raises(ValueError, match=words):
        Pipeline(perceptron(), Serial(), 3).backward(loss, *batch(6, 5))


def test_a_stage_that_gives_something_else_than_it_said_is_found():
    pipe = Pipeline(perceptron(), Mute(2), 2)
    pipe.backward(mean, *batch(6, 5))
    pipe.stage.requires_grad_(False)
    with pytest.raises(RuntimeError, match=r"stage 0 gave float64 \(3, 8\), requires_grad=False, and told"):
        pipe.backward(mean, *batch(6, 5))


def test_a_layer_that_gives_several_outputs_cannot_end_a_stage():
    pipe = Pipeline(nn.Sequential(nn.LSTM(5, 3, batch_first=True), nn.Tanh()), Mute(2), 1)
    with pytest.raises(TypeError, match="a stage ends with a layer that gives tuple; wanted a Tensor"):
        pipe.backward(mean, mg.zeros((2, 4, 5)), None)


# ------------------------------------------------------------------------------------------------------- arithmetic


@given(st.data(), st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_no_cut_has_a_cheaper_dearest_stage(data, costs):
    stages = data.draw(st.integers(1, len(costs)))

    def dearest(bounds):
        return max(sum(costs[a:b]) for a, b in itertools.pairwise(bounds))

    inner = itertools.combinations(range(1, len(costs)), stages - 1)
    bounds = cut(costs, stages)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(costs), stages + 1)
    assert all(a < b for a, b in itertools.pairwise(bounds))
    assert dearest(bounds) == min(dearest([0, *between, len(costs)]) for between in inner)


def test_an_activation_stays_with_the_layer_before_it():
    assert cut([7, 0, 7, 0, 7], 3) == [0, 2, 4, 5]


@given(st.integers(1, 8), st.integers(1, 20))
def test_stages_that_cost_the_same_are_idle_as_the_formula_says(p, m):
    """Stage s gets micro-batch k when s before it are through with it; on the way back, which takes twice as long, too."""
    turn = m + p - 1
    timelines = [
        [Work("forward", k, s + k, s + k + 1) for k in range(m)]
        + [Work("backward", k, turn + 2 * w, turn + 2 * w + 2) for k in range(m) for w in [p - 1 - s + m - 1 - k]]
        for s in range(p)
    ]
    assert bubble(timelines) == pytest.approx(ideal_bubble(p, m))


def test_the_bubble_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"the timelines are empty; call pipe\.backward"):
        bubble(Pipeline(perceptron(), Serial(), 2).timelines())
