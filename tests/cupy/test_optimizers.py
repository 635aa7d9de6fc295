"""Every optimizer on the double: the CPU's path, and a step that copies nothing and waits as often as it says."""

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from tests.cupy.device import flat, free, there
from tests.cupy.double import counted
from tests.golden.paths import load
from tests.optim.methods import ALL, SHAPES, bumpy
from tests.optim.methods import start as start_at
from tests.optim.test_paths import check

STEPS = 6


def walk(make, device, warm=0, large=False):
    """Where the parameters are after each step, and what the steps after the first `warm` cost."""
    shapes = [*SHAPES, (260, 130)] if large else SHAPES  # the large one is several blocks on the CPU
    params = there(start_at(shapes=shapes), device)
    opt, path = make(params), []
    with counted() as counts:
        for k in range(STEPS):
            if k == warm:
                before = vars(counts).copy()
            opt.step(lambda k=k: bumpy(params, phase=0.1 * k))
            path.append([p.data for p in params])
            path[-1] = [array.copy() for array in path[-1]]
    return [flat(point) for point in path], {name: vars(counts)[name] - before[name] for name in before}


@pytest.mark.parametrize("large", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ALL)
def test_a_first_order_method_walks_the_cpus_path_on_the_double_for_free(name, large, double):
    expected, _ = walk(ALL[name], "cpu", large=large)
    found, cost = walk(ALL[name], "cuda", large=large)
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)
    assert not any(cost.values()), cost


@pytest.mark.slow
@pytest.mark.parametrize("file", ["torch_paths", "optax_paths"])
def test_on_the_double_the_path_is_the_golden_one(file, double):
    for name, settings, problem, dtype, path in load(file):
        check(name, problem, dtype, [(settings, path)], "cuda")


@pytest.mark.parametrize("name", ALL)
def test_a_run_saved_on_one_device_goes_on_on_the_other(name, double, tmp_path):
    expected, _ = walk(ALL[name], "cpu")
    for first, second in [("cuda", "cpu"), ("cpu", "cuda")]:
        params = there(start_at(), first)
        opt = ALL[name](params)
        for k in range(3):
            opt.step(lambda k=k: bumpy(params, phase=0.1 * k))  # noqa: B023
        mg.save({"params": [p.detach() for p in params], "opt": opt.state_dict()}, tmp_path / "run.npz")
        saved = mg.load(tmp_path / "run.npz")
        params = [mg.tensor(p, requires_grad=True, device=second) for p in saved["params"]]
        opt = ALL[name](params)
        opt.load_state_dict(saved["opt"])
        for k in range(3, STEPS):
            opt.step(lambda k=k: bumpy(params, phase=0.1 * k))  # noqa: B023
        assert {p.device for p in params} == {"cpu" if second == "cpu" else "cuda:0"}
        for x, y in zip(flat(params), expected[-1], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)


def test_on_a_device_an_elementwise_update_is_one_call_whatever_the_size(double):
    calls = []

    class Counting(optim.Optimizer):
        def update(self, p, g, *, lr=1e-3):
            calls.append(p.size)
            p -= lr * g

    params = [mg.zeros((300, 300), requires_grad=True, device="cuda"), mg.zeros(5, requires_grad=True, device="cuda")]
    Counting(params).step(lambda: params[0].sum() + params[1].sum())
    assert sorted(calls) == [5, 90_000]


# What a step of these decides by numbers of the device: for each a wait. At most so many by step of six (measured, as
# docs/gpu.md says).
WAITS = {
    "LBFGS": (lambda params: optim.LBFGS(params, lr=0.1, max_iter=2), 8),
    "LBFGS, line search": (lambda params: optim.LBFGS(params, max_iter=2, line_search_fn="strong_wolfe"), 11),
    "BFGS": (lambda params: optim.BFGS(params, max_iter=2), 11),
    "Newton": (lambda params: optim.Newton(params, lr=0.5, damping=10.0), 7),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_method_with_curvature_walks_the_cpus_path_and_waits_as_often_as_it_says(name, double):
    make, waits = WAITS[name]
    expected, _ = walk(make, "cpu")
    found, cost = walk(make, "cuda")
    assert cost["waits"] <= waits * STEPS
    assert cost["to_host"] == 0
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-9)
    assert cost["to_device"] == 0


# Waits in a step, and copies to the device: K-FAC's is of the classes that it draws.
OF_A_MODEL = {
    "NaturalGradient": (lambda model: optim.NaturalGradient(model, lr=0.1), 4, 0),
    "NaturalGradient, empirical": (lambda model: optim.NaturalGradient(model, lr=0.1, fisher="empirical"), 4, 0),
    "NaturalGradient, cg": (lambda model: optim.NaturalGradient(model, lr=0.1, solver="cg", cg_iter=10), 4 + 4 * 10, 0),
    "KFAC": (lambda model: optim.KFAC(model, lr=0.1), 8, 1),
}


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_natural_gradient_walks_the_cpus_path_and_waits_as_often_as_it_says(name, double):
    make, waits, copies = OF_A_MODEL[name]
    ends = []
    for device in ("cpu", "cuda"):
        mg.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(np.float64).to(device)
        x = mg.randn(8, 4, dtype=np.float64, device=device)
        target = mg.tensor(np.arange(8) % 3, device=device)
        opt = make(model)
        with counted() as counts:
            for _ in range(3):
                opt.step(lambda: nn.functional.cross_entropy(model(x), target))  # noqa: B023
        ends.append(flat([*model.parameters()]))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    assert (counts.to_host, counts.to_device) == (0, 3 * copies)
    assert counts.waits <= 3 * waits


def test_schedules_and_clipping_add_nothing(double):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to("cuda")
    opt = optim.SAM(optim.Lookahead(optim.Adam(model.parameters(), lr=0.01), k=2))
    scheduler = optim.lr_scheduler.CosineAnnealingLR(opt, 10)
    x = mg.randn(16, 4, device="cuda")
    with free():
        for _ in range(4):
            opt.step(lambda: (model(x) ** 2).mean())
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scheduler.step()
