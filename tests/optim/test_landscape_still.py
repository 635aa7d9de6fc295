"""Whatever looks at a landscape leaves it as it was, to the last bit, and refuses one that does not hold still."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.data import TensorDataset
from minigrad.functional import cross_entropy
from optim.landscape import (
    condition_number,
    convexity,
    critical_point,
    gradient_noise,
    hessian_spectrum,
    sharpness,
    slice_1d,
    slice_2d,
    surfaces,
    taylor2,
)
from optim.landscape.landscape import Landscape
from tests.cupy.double import pretended

TOOLS = {
    "hessian_spectrum": hessian_spectrum,
    "hessian_spectrum, lanczos": lambda loss, x: hessian_spectrum(loss, x, "lanczos", top=2),
    "condition_number": condition_number,
    "critical_point": critical_point,
    "taylor2": lambda loss, x: taylor2(loss, x).error(1e-3 * np.ones(taylor2(loss, x).g.shape)),
    "sharpness": sharpness,
    "sharpness, first-order": lambda loss, x: sharpness(loss, x, method="first-order"),
    "slice_1d": lambda loss, x: slice_1d(loss, x, points=3),
    "slice_2d": lambda loss, x: slice_2d(loss, x, points=3),
}
EVERY = pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)


def network():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3))
    model[3].eval()  # one module in another mode than the rest
    rng = np.random.default_rng(0)
    data = rng.standard_normal((16, 4)).astype(np.float32), rng.integers(3, size=16)
    x, y = map(mg.tensor, data)
    cross_entropy(model(x), y).backward()
    return model, lambda: cross_entropy(model(x), y), TensorDataset(*data)


def everything(model):
    """All that can be seen of a network, bit by bit."""
    return (
        [(k, v.data.tobytes(), id(v)) for k, v in model.named_parameters()],
        [(id(p.data), id(p.grad), p.grad.data.tobytes(), p.requires_grad) for p in model.parameters()],
        [(k, v.data.tobytes()) for k, v in model.state_dict().items()],
        [(m.training, len(m._forward_hooks)) for m in model.modules()],
        repr(mg.get_rng_state()),
        mg.engine.mode.recording,
    )


@EVERY
def test_a_network_is_left_as_it_was(tool):
    model, loss, _ = network()
    before = everything(model)
    tool(loss, model)
    assert everything(model) == before
    with mg.no_grad():
        tool(loss, model)


def test_the_noise_of_a_network_leaves_it_as_it_was():
    model, _, data = network()
    before = everything(model)
    gradient_noise(model, cross_entropy, data, [2], draws=2)
    assert everything(model) == before


@EVERY
def test_an_error_on_the_way_changes_nothing(tool):
    model, loss, _ = network()
    before, looks = everything(model)[:4], []

    def failing():
        looks.append(1)
        if len(looks) > 2:
            raise KeyboardInterrupt
        return loss()

    with pytest.raises(KeyboardInterrupt):
        tool(failing, model)
    assert everything(model)[:4] == before


@EVERY
@pytest.mark.parametrize("kind", ["dropout", "batches"])
def test_a_loss_that_does_not_hold_still_is_refused(tool, kind):
    model, loss, data = network()
    before = everything(model)[:4]
    rng = np.random.default_rng(0)
    x, y = data[:]

    def dropped():
        return cross_entropy(model(nn.functional.dropout(x, 0.5)), y)

    with pytest.raises(ValueError, match=r"the loss at one point is .*, then .*take one batch"):
        tool(dropped if kind == "dropout" else lambda: loss() * rng.random(), model)
    assert everything(model)[:4] == before


@EVERY
def test_a_loss_that_is_not_finite_is_refused(tool):
    model, loss, _ = network()
    with pytest.raises(ValueError, match=r"the loss at x is nan; mg\.autograd\.detect_anomaly"):
        tool(lambda: loss() * np.nan, model)


@EVERY
def test_what_is_not_a_loss_is_refused(tool):
    model, loss, _ = network()
    before = everything(model)[:4]

    def differentiated():
        value = loss()
        value.backward()
        return value

    for fn, error, words in (
        (lambda: loss().item(), TypeError, "one number; got float"),
        (lambda: model(mg.ones((2, 4))), TypeError, r"one number; got shape \(2, 3\)"),
        (differentiated, RuntimeError, "fn called backward itself; it only returns the loss"),
    ):
        with pytest.raises(error, match=words):
            tool(fn, model)
    with pytest.raises(TypeError, match=r"x is a point .*or the nn\.Module itself, not generator"):
        tool(lambda *_: loss(), model.parameters())
    frozen = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    with pytest.raises(ValueError, match="x has nothing to move"):
        tool(loss, frozen)
    assert everything(model)[:4] == before


def test_a_leaf_is_looked_at_itself_and_left_where_it_is():
    p = mg.tensor(np.array([0.5, 0.5]), requires_grad=True)
    before = p.data.tobytes(), id(p.data)
    for tool in (hessian_spectrum, condition_number, critical_point, sharpness):
        tool(lambda x: surfaces.rosenbrock(p), p)  # over the leaf, as a loss is over parameters
        assert (p.data.tobytes(), id(p.data)) == before
    assert p.grad is None


def test_running_statistics_stay_also_where_only_parameters_are_given():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    x, before = mg.randn(8, 3), [v.data.copy() for v in model.state_dict().values()]
    hessian_spectrum(lambda *_: (model(x) ** 2).mean(), tuple(model.parameters()))
    assert model.training
    for v, data in zip(model.state_dict().values(), before):
        np.testing.assert_array_equal(v.data, data)


def test_products_are_those_of_the_point_where_one_is():
    here = Landscape("test", lambda p: (p**3).sum(), np.array([1.0, 2.0]))
    for x in (1.0, 3.0, 1.0):
        with here.moved(here.there([x - 1.0, 0.0])):
            np.testing.assert_allclose(here.product(here.there([1.0, 1.0])), [6 * x, 12])
    np.testing.assert_allclose(here.product(here.there([1.0, 1.0])), [6, 12])
    with here.moved(here.there([0.0, 0.0])):
        here.product(here.there([1.0, 1.0]))
    np.testing.assert_allclose(here.product(here.there([1.0, 1.0])), [6, 12])


def test_a_point_may_be_numbers_integers_an_array_or_several_tensors():
    wanted = [-2.0, 2.0]
    for x in ([0, 0], (0.0, 0.0), np.zeros(2), np.zeros(2, int), np.zeros(2, np.float32), mg.zeros(2)):
        np.testing.assert_allclose(hessian_spectrum(surfaces.saddle, x).eigenvalues, wanted)
    two = (mg.tensor(0.0), mg.tensor([0.0]))
    np.testing.assert_allclose(hessian_spectrum(lambda a, b: (a * a - b * b).sum(), two).eigenvalues, wanted)


def test_a_graph_recorded_before_a_look_is_stale_only_if_the_parameters_moved():
    model, loss, _ = network()
    value = loss()
    hessian_spectrum(loss, model)
    value.backward()  # nothing moved
    assert convexity(lambda p: (p * p).sum(), [(-1, 1)])


VIEWS = {
    "dense": lambda loss, x: hessian_spectrum(loss, x, "dense").eigenvalues[-3:],
    "lanczos": lambda loss, x: hessian_spectrum(loss, x, "lanczos", top=3, tolerance=1e-6).eigenvalues[-3:],
    "critical_point": lambda loss, x: critical_point(loss, x).highest,
    "taylor2": lambda loss, x: taylor2(loss, x)(0.1 * np.ones(51)),
    "sharpness": sharpness,
    "slice_1d": lambda loss, x: slice_1d(loss, x, points=3).loss,
    "slice_2d": lambda loss, x: slice_2d(loss, x, points=3).loss,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_on_the_double_of_a_gpu_the_same_is_seen(view):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((16, 4)).astype(np.float32), rng.integers(3, size=16)
    seen = []
    with pretended():
        for device in ("cpu", "cuda"):
            mg.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(device)
            x, y = (mg.tensor(part, device=device) for part in data)
            seen.append(view(lambda m=model, x=x, y=y: cross_entropy(m(x), y), model))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-4)
