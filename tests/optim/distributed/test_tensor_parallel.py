"""A linear layer on several ranks is the plain layer: values, first and second derivatives, paths."""

import functools

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from optim.distributed import ColumnParallelLinear, RowParallelLinear, Serial, replicate, sum_over_ranks
from tests.optim.distributed.launch import launch

KINDS = {
    "column": ColumnParallelLinear,
    "column, no bias": ColumnParallelLinear,
    "row": RowParallelLinear,
    "row, no bias": RowParallelLinear,
}


def layer(kind="", seed=0):
    """6 to 7: over four ranks, neither is divided evenly."""
    mg.manual_seed(seed)
    return nn.Linear(6, 7, bias="no bias" not in kind).to(np.float64)


def network():
    mg.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5)).to(np.float64)


def data():
    rng = np.random.default_rng(0)
    x, v = (mg.tensor(rng.standard_normal((4, 6))) for _ in range(2))
    x.requires_grad = True
    return x, v, mg.tensor(rng.standard_normal((4, 5)))


def derivatives(model, whole):
    """The output, and first and second derivatives in the input and all parameters.

    The second come from a step of 1 along all first derivatives: the gradient of ½ ‖g‖². `whole` is the sum over all
    ranks of what a rank has of it in divided parameters, and the identity for those that all have.
    """
    x, v, _ = data()
    params = [*model.parameters()]
    z = model(x)
    loss = (mg.tanh(z) * z).sum()
    first = mg.grad(loss, [x, *params], create_graph=True)
    half = (first[0] * first[0] * v).sum() + sum(whole(p, (g * g).sum()) for p, g in zip(params, first[1:]))
    second = mg.grad(half, [x, *params])
    return {"z": z.data, "first": [g.data for g in first], "second": [g.data for g in second]}


def trained(model):
    """Ten steps of Adam towards targets."""
    x, _, target = data()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return [optimizer.step(lambda: ((model(x) - target) ** 2).mean()).item() for _ in range(10)]


def spread(comm):
    """What a rank sees of everything that the layers do."""
    seen = {}
    for kind, Kind in KINDS.items():
        plain = layer(kind, seed=comm.rank)  # rank 0's counts
        model = Kind(plain, comm)

        def whole(p, part, model=model):
            return part if p is model.bias and p.shape == (7,) else sum_over_ranks(part, comm)

        back = model.to_linear()
        seen[kind] = {**derivatives(model, whole), "back": back.state_dict(), "repr": repr(model), "again": repr(back)}
        seen[kind]["plain"] = plain.weight.data

    plain = network()
    up = ColumnParallelLinear(plain[0], comm, gather_output=False)
    down = RowParallelLinear(plain[2], comm, input_is_split=True)
    model, reduce, sums = nn.Sequential(up, nn.Tanh(), down), comm.all_reduce, []
    comm.all_reduce = lambda x, op="sum": (sums.append(x.shape), reduce(x, op))[1]
    x, *_ = data()
    z = model(x)
    forward = len(sums)
    z.sum().backward()
    seen["sums"] = [forward, len(sums) - forward]
    del comm.all_reduce
    losses = trained(model)
    seen["trained"] = [losses, up.to_linear().state_dict(), down.to_linear().state_dict()]
    model.to(np.float32)
    z = model(x.detach().astype(np.float32))
    z.sum().backward()
    seen["float32"] = [str(t.dtype) for t in (z, up.weight.grad, up.to_linear().weight)]

    for name, make in {
        "column": lambda: ColumnParallelLinear(nn.Linear(6, 1), comm),
        "row": lambda: RowParallelLinear(nn.Linear(1, 6), comm),
    }.items():
        try:
            make()
        except ValueError as error:
            seen[f"few, {name}"] = str(error)

    # The pair alone: each rank weights x by its own, and everybody's sum is squared.
    x = mg.tensor(2.0, requires_grad=True)
    mine = replicate(x, comm) * (comm.rank + 1)
    (slope,) = mg.grad(sum_over_ranks(mine, comm) ** 2, x, create_graph=True)
    (curvature,) = mg.grad(slope, x)
    seen["pair"] = [slope.item(), curvature.item()]
    return seen


@functools.cache
def seen_by(n):
    return launch(n, spread)


worlds = pytest.mark.parametrize("n", [2, 4])


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * max(abs(wanted).max(), 1))


def joined(kind, parts):
    """A gradient by parameter, of all ranks' parts: [of the input, of the weight, of the bias if there is one]."""
    x, weight, *bias = zip(*parts)
    axis = 0 if kind.startswith("column") else 1
    bias = [np.concatenate(b) if kind.startswith("column") else b[0] for b in bias]
    for part in x:
        np.testing.assert_array_equal(part, x[0])
    return [x[0], np.concatenate(weight, axis), *bias]


@worlds
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_derivatives_of_both_orders_are_the_plain_layers(n, kind):
    wanted = derivatives(layer(kind), lambda p, part: part)
    found = [seen[kind] for seen in seen_by(n)]
    for each in found:
        close(each["z"], wanted["z"])
    for order in ("first", "second"):
        together = joined(kind, [each[order] for each in found])
        assert len(together) == len(wanted[order]) == 3 - ("no bias" in kind)
        for g, h in zip(together, wanted[order]):
            close(g, h)


@worlds
@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_layer_comes_back(n, kind):
    for rank, seen in enumerate(seen_by(n)):
        for name, t in layer(kind).state_dict().items():
            np.testing.assert_array_equal(seen[kind]["back"][name].data, t.data)
        assert seen[kind]["again"] == repr(layer(kind))
        assert f"on rank {rank} of {n}" in seen[kind]["repr"]


@worlds
def test_a_column_an_activation_and_a_row_take_one_sum_forward_and_one_backward(n):
    assert [seen["sums"] for seen in seen_by(n)] == [[1, 1]] * n


@worlds
def test_a_network_of_both_takes_the_plain_networks_path(n):
    model = network()
    losses = trained(model)
    assert losses[-1] < 0.95 * losses[0]
    for seen in seen_by(n):
        found, up, down = seen["trained"]
        np.testing.assert_allclose(found, losses, rtol=1e-9)
        for part, plain in ((up, model[0]), (down, model[2])):
            for name, t in plain.state_dict().items():
                np.testing.assert_allclose(part[name].data, t.data, rtol=0, atol=1e-9)


@worlds
def test_float32_stays_float32(n):
    assert [seen["float32"] for seen in seen_by(n)] == [["float32"] * 3] * n


@worlds
def test_fewer_features_than_ranks_are_refused_on_every_rank(n):
    for seen in seen_by(n):
        for kind, name in (("column", "ColumnParallelLinear"), ("row", "RowParallelLinear")):
            assert seen[f"few, {kind}"] == f"{name}: 1 features for {n} ranks; each needs one at least"


@worlds
def test_the_pair_are_each_others_derivatives(n):
    weight = n * (n + 1) / 2
    assert [seen["pair"] for seen in seen_by(n)] == [[2 * weight**2 * 2.0, 2 * weight**2]] * n


@pytest.mark.parametrize("kind", KINDS)
def test_alone_it_is_the_plain_layer(kind):
    wanted, found = (
        derivatives(model, lambda p, part: part) for model in (layer(kind), KINDS[kind](layer(kind), Serial()))
    )
    np.testing.assert_array_equal(found["z"], wanted["z"])
    for order in ("first", "second"):
        for g, h in zip(found[order], wanted[order]):
            close(g, h)


@worlds
@pytest.mark.parametrize("kind", KINDS)
def test_the_layer_that_is_divided_is_not_changed_on_any_rank(n, kind):
    for rank, seen in enumerate(seen_by(n)):
        np.testing.assert_array_equal(seen[kind]["plain"], layer(kind, seed=rank).weight.data)


def test_the_layer_that_is_divided_is_not_shared():
    plain = layer()
    divided = ColumnParallelLinear(plain, Serial())
    divided.weight.data[...] = 0
    np.testing.assert_array_equal(plain.weight.data, layer().weight.data)


def test_to_linear_draws_no_random_numbers():
    divided = RowParallelLinear(layer(), Serial())
    mg.manual_seed(3)
    wanted = mg.rand(2).data
    mg.manual_seed(3)
    divided.to_linear()
    np.testing.assert_array_equal(mg.rand(2).data, wanted)


def test_a_weight_that_changes_after_a_replica_of_it_was_used_is_noticed():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    z = (replicate(x, Serial()) ** 2).sum()
    with mg.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: ColumnParallelLinear(3, Serial()), TypeError, "ColumnParallelLinear: got int 3; wanted the nn.Linear"),
        (lambda: RowParallelLinear(nn.Tanh(), Serial()), TypeError, r"RowParallelLinear: got Tanh Tanh\(\)"),
        (
            lambda: ColumnParallelLinear(layer(), Serial())(mg.zeros((2, 5), np.float64)),
            ValueError,
            r"ColumnParallelLinear: wanted an input of shape \(\.\.\., 6\)",
        ),
        (
            lambda: RowParallelLinear(layer(), Serial(), input_is_split=True)(mg.zeros((2, 6))),
            TypeError,
            "RowParallelLinear: the input is float32, the weight float64",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
