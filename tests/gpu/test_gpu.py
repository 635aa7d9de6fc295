"""On a real GPU: the table, the networks, the optimizers' golden paths, training, memory. Written against the double.

Where rounding differs from the CPU's (sums in another order, other libraries), numbers are compared as float64 to 1e-9,
float32 to 1e-4.
"""

import gc
from dataclasses import replace

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import functional as F
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset
from minigrad.training import accuracy, fit
from tests.cupy.device import flat, there
from tests.cupy.test_networks import pass_through
from tests.cupy.test_ops import everything
from tests.golden.networks import NETWORKS
from tests.golden.paths import load
from tests.nn.test_golden import loaded
from tests.ops.cases import CASES
from tests.optim.methods import ALL, bumpy, start
from tests.optim.test_paths import check


def close(found, expected, tolerance=1e-9):
    for a, b in zip(flat(found), flat(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max(initial=0.0)))


def test_the_device_is_named():
    assert mg.cuda.is_available()
    assert mg.ones(1).to("cuda").device in {f"cuda:{k}" for k in range(mg.cuda.device_count())}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_gives_the_cpus_numbers(case):
    expected = everything(case, case.tensors())
    close(everything(replace(case, args=there(case.args)), there(case.tensors())), expected)


@pytest.mark.parametrize("case", [c for c in CASES if c.op is not mg.astype], ids=str)
def test_in_float32_a_row_gives_the_cpus_numbers(case):
    expected = case(*case.tensors(np.float32))
    close(replace(case, args=there(case.args))(*there(case.tensors(np.float32))), expected, 1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_as_on_the_cpu(name):
    network, arguments = loaded(name)
    expected = [part for group in pass_through(network, arguments) for part in group]
    network, arguments = loaded(name)
    network.to("cuda")
    close([part for group in pass_through(network, there(arguments)) for part in group], expected)


@pytest.mark.parametrize("name", ALL)
def test_a_first_order_method_walks_the_cpus_path(name):
    paths = []
    for device in ("cpu", "cuda"):
        params = there(start(), device)
        opt = ALL[name](params)
        for k in range(10):
            opt.step(lambda k=k: bumpy(params, phase=0.1 * k))  # noqa: B023
        paths.append(params)
    close(paths[1], paths[0])


@pytest.mark.parametrize("file", ["torch_paths", "optax_paths"])
def test_the_path_is_the_golden_one(file):
    for name, settings, problem, dtype, path in load(file):
        check(name, problem, dtype, [(settings, path)], "cuda", {"float32": 1e-3, "float64": 1e-8})


def test_a_model_is_fitted():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    data = TensorDataset((rng.standard_normal((300, 4)) + 3 * labels[:, None]).astype(np.float32), labels)
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3)).to("cuda")
    loader = DataLoader(data, batch_size=50, shuffle=True, generator=0, device="cuda")
    history = fit(model, nn.CrossEntropyLoss(), optim.AdamW(model.parameters(), lr=0.02), loader, 20, loader, accuracy)
    assert history.validation_metric[-1] > 0.95


def test_dropout_draws_what_the_double_draws():
    mg.manual_seed(0)
    on_gpu = (F.dropout(mg.ones(1000, device="cuda")).numpy() != 0).tolist()
    mg.manual_seed(0)
    from tests.cupy.double import pretended

    with pretended():
        assert (F.dropout(mg.ones(1000, device="cuda")).numpy() != 0).tolist() == on_gpu


def test_a_graph_gives_its_memory_back_without_the_collector():
    import cupy

    x = mg.ones((1000, 1000), requires_grad=True, device="cuda")
    gc.disable()
    try:
        used = []
        for _ in range(5):
            loss = (mg.tanh(x) * x).sum()
            loss.backward(create_graph=True)
            x.grad = None
            del loss
            used.append(cupy.get_default_memory_pool().used_bytes())
    finally:
        gc.enable()
    assert len(set(used[1:])) == 1


def test_an_array_of_the_device_beside_a_tensor_asks_the_tensor():
    a, t = mg.ones(3).to("cuda").data, mg.ones(3, requires_grad=True, device="cuda")
    assert isinstance(a * t, mg.Tensor)
    assert isinstance(np.concatenate([a, t]), mg.Tensor)
