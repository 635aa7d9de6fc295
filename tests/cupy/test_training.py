"""A training run on the double: data, loss, steps, checkpoints; and what is said where worlds are mixed or missing."""

import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import functional as F
from minigrad import nn
from minigrad.backend import register, to_device
from minigrad.data import DataLoader, TensorDataset
from minigrad.training import accuracy, evaluate, fit
from tests.cupy.device import flat, free, same
from tests.cupy.double import counted


def blobs():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return TensorDataset((rng.standard_normal((60, 4)) + 2 * labels[:, None]).astype(np.float32), labels)


def network():
    mg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def train(device, dropout=0.0):
    model = network().to(device)
    loader = DataLoader(blobs(), batch_size=20, shuffle=True, generator=0, device=device)
    opt = optim.AdamW(model.parameters(), lr=0.01)
    return model, fit(model, nn.CrossEntropyLoss(), opt, loader, 5, loader, accuracy, progress=False)


def test_a_model_is_fitted_on_the_double_as_on_the_cpu(double):
    model, history = train("cpu")
    other, there = train("cuda")
    assert {t.device for t in [*other.parameters(), *other.buffers()]} == {"cuda:0"}
    np.testing.assert_allclose(there.loss, history.loss, rtol=1e-4)
    assert there.validation_metric == history.validation_metric
    for a, b in zip(flat([*model.parameters()]), flat([*other.parameters()]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_step_of_fit_copies_the_batch_there_and_waits_for_nothing(double):
    model, loader = network().to("cuda"), DataLoader(blobs(), batch_size=20, device="cuda")
    opt = optim.Adam(model.parameters())
    with counted() as counts:
        fit(model, nn.CrossEntropyLoss(), opt, loader, 1, callbacks=(), progress=False)
    assert counts.to_device == 2 * 3  # images and labels of three batches
    assert counts.waits == 3 + 3 * 3  # at the end of the epoch: each step's loss, and a norm of each of three layers


def test_a_loader_moves_every_batch(double):
    batches = [*DataLoader(blobs(), batch_size=20, device="cuda")]
    assert {t.device for batch in batches for t in batch} == {"cuda:0"}
    assert [t.device for t in [*DataLoader(range(5), 5, device="cuda")]] == ["cuda:0"]
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        DataLoader(blobs(), device="gpu")


def test_networks_with_dropout_and_states_learn_for_free(double):
    lstm, head = nn.LSTM(3, 8, num_layers=2, dropout=0.5).to("cuda"), nn.Linear(8, 2).to("cuda")
    opt = optim.LAMB([*lstm.parameters(), *head.parameters()], lr=0.01)
    x, target = mg.randn(5, 4, 3, device="cuda"), mg.tensor([0, 1, 1, 0], device="cuda")
    with free():
        for _ in range(3):
            opt.step(lambda: nn.functional.cross_entropy(head(lstm(x)[0][-1]), target))


def test_a_checkpoint_of_one_world_is_read_in_the_other(double, tmp_path):
    model = network().to("cuda")
    mg.save(model.state_dict(), tmp_path / "model.npz")
    here = network()
    here.load_state_dict(mg.load(tmp_path / "model.npz"))
    assert same(flat([*here.parameters()]), flat([*model.parameters()]))
    model.load_state_dict(here.state_dict())
    assert model[0].weight.device == "cuda:0"


# ------------------------------------------------------------------------------------------------------- moving


def test_moving_is_an_op_whose_gradient_comes_back(double):
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda")
    assert (y.device, y.to("cuda") is y, y.to("cuda:0") is y, x.to("cpu") is x) == ("cuda:0", True, True, True)
    (y * y).sum().backward()
    assert x.grad.device == "cpu"
    assert x.grad.numpy().tolist() == [2.0, 4.0]


def test_an_outputs_gradient_lies_where_the_output_does_or_is_a_number(double):
    x = mg.ones(2, requires_grad=True, device="cuda")
    (x * x).sum().backward(3.0)
    (x * x).backward([1.0, 0.0])
    assert x.grad.numpy().tolist() == [8.0, 6.0]
    with pytest.raises(ValueError, match="the output is on cuda:0, the gradient given for it on cpu"):
        (x * x).backward(np.ones(2, np.float32))
    with pytest.raises(ValueError, match="grad: the output is on cuda:0, the gradient given for it on cpu"):
        mg.grad(x * x, x, mg.ones(2))


def test_numpys_creation_functions_make_what_lies_where_a_tensor_does(double):
    x = mg.ones(2, device="cuda")
    made = [np.zeros(2, like=x), np.ones((2, 3), np.float32, like=x), np.full(2, 3.0, like=x), np.eye(2, like=x)]
    assert {y.device for y in made} == {"cuda:0"}
    assert [y.numpy().sum() for y in made] == [0, 6, 6, 2]


def test_devices_have_numbers(double):
    x = mg.ones(2, device="cuda:1")
    assert (x.device, x.to("cuda") is x, x.to("cuda:0").device) == ("cuda:1", True, "cuda:0")


def test_a_module_and_its_gradients_move_together_and_an_optimizer_keeps_it(double):
    model = nn.Linear(2, 1)
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(mg.ones((1, 2))).sum().backward()
    model.to("cuda")
    assert {p.grad.device for p in model.parameters()} == {"cuda:0"}
    opt.step()
    assert {p.device for p in opt.parameters()} == {"cuda:0"}


def test_what_is_shown_and_copied_of_a_tensor_on_a_device(double):
    x = mg.tensor([1.5, 2.0], device="cuda", requires_grad=True)
    assert repr(x) == "tensor([1.5, 2. ], dtype=float32, device='cuda:0', requires_grad=True)"
    assert (x[0].item(), float(x[1]), x.numpy().tolist()) == (1.5, 2.0, [1.5, 2.0])
    assert pickle.loads(pickle.dumps(x)).device == "cuda:0"
    with pytest.raises(TypeError, match=r"on cuda:0; x\.numpy\(\) copies"):
        np.asarray(x.detach())
    assert mg.tensor(x.data).device == "cuda:0"


def test_evaluation_waits_once_a_batch_and_once_for_the_metric(double):
    model = network().to("cuda")
    loader = [*DataLoader(blobs(), batch_size=20, device="cuda")]
    with counted() as counts:
        evaluate(model, nn.CrossEntropyLoss(), loader, accuracy)
    assert (counts.to_device, counts.to_host, counts.waits) == (0, 0, 3 + 1)


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (lambda a, b: a * b, "multiply: x is on cpu, y is on cuda:0; bring them together"),
        (lambda a, b: mg.concatenate([b, a]), r"concatenate: xs\[0\] is on cuda:0, xs\[1\] is on cpu"),
        (lambda a, b: b @ a, "matmul: x is on cuda:0, y is on cpu"),
        (lambda a, b: b + np.ones(2), "add: x is on cuda:0, y is on cpu"),
        (lambda a, b: b * [1.0, 2.0], "multiply: x is on cuda:0, y is on cpu"),
        (lambda a, b: F.linear(b, mg.ones((3, 2))), "linear: x is on cuda:0, weight is on cpu"),
        (lambda a, b: F.cross_entropy(b, np.array(1)), "cross_entropy: x is on cuda:0, target is on cpu; bring them"),
        (lambda a, b: F.cross_entropy(a, mg.tensor(1).to("cuda")), "cross_entropy: x is on cpu, target is on cuda:0"),
        (lambda a, b: F.nll_loss(b, mg.tensor(1)), "nll_loss: x is on cuda:0, target is on cpu"),
        (lambda a, b: F.cross_entropy(b, 1, mg.ones(2)), "cross_entropy: x is on cuda:0, weight is on cpu"),
        (lambda a, b: b + mg.ones(2, device="cuda:1"), "add: x is on cuda:0, y is on cuda:1"),
    ],
)
def test_mixing_devices_names_the_op_and_where_each_argument_is(mix, words, double):
    with pytest.raises(ValueError, match=words):
        mix(mg.ones(2, requires_grad=True), mg.ones(2, device="cuda"))


def test_classes_given_as_numbers_go_where_the_scores_are(double):
    x = mg.ones((2, 3)).to("cuda")
    assert F.cross_entropy(x, [1, 2]).item() == pytest.approx(np.log(3))
    assert F.nll_loss(x[0], 1).item() == -1


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "cuda:x", "cuda:", "", None, 0])
def test_a_name_that_is_no_devices_is_refused(device):
    with pytest.raises(ValueError, match=r"unknown device .*wanted 'cpu', 'cuda', or 'cuda:1'"):
        to_device(np.ones(2), device)


def test_a_world_can_be_registered_under_any_name(double):
    from tests.cupy.double import Double

    class Other(Double):
        name = "other"
        array = type("OtherArray", (), {})

    register(Other())
    with pytest.raises(ValueError, match="unknown device 'others'"):
        mg.ones(2).to("others")


PROGRAM = """
import sys
from pathlib import Path
sys.modules["cupy"] = None  # as where it is not installed
import minigrad as mg
assert not mg.cuda.is_available() and mg.cuda.device_count() == 0
for action in (lambda: mg.ones(2).to("cuda"), lambda: mg.zeros(2, device="cuda:1"), mg.cuda.synchronize):
    try:
        action()
    except ImportError as error:
        assert "minigrad-course[gpu]" in str(error) and "minigrad-course[gpu-cuda13]" in str(error), error
    else:
        raise AssertionError("no error")
"""

BROKEN = """
import sys, types
cupy = sys.modules["cupy"] = types.ModuleType("cupy")
class CUDARuntimeError(RuntimeError): pass
def getDeviceCount(): raise CUDARuntimeError("cudaErrorInsufficientDriver")
runtime = types.SimpleNamespace(getDeviceCount=getDeviceCount, CUDARuntimeError=CUDARuntimeError)
cupy.cuda = types.SimpleNamespace(runtime=runtime)
import minigrad as mg
assert not mg.cuda.is_available()
try:
    mg.ones(2).to("cuda")
except RuntimeError as error:
    assert "driver" in str(error) and "cudaErrorInsufficientDriver" in str(error), error
else:
    raise AssertionError("no error")
"""


@pytest.mark.parametrize("program", [PROGRAM, BROKEN], ids=["no CuPy", "no driver"])
def test_without_cupy_or_a_driver_one_sentence_says_what_is_missing(program):
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_minigrad_does_not_import_cupy():
    program = "import minigrad, optim, sys; assert not any(name.startswith('cupy') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# ------------------------------------------------------------------------------------------------------- the example


@pytest.mark.slow
def test_the_digits_example_runs_on_a_device(double, tmp_path, monkeypatch, capsys):
    source = (Path(__file__).parent.parent.parent / "examples" / "digits.py").read_text()
    for epochs in ("40, 2e-3", "25, 1e-3"):
        assert epochs in source
        source = source.replace(epochs, "1, 2e-3")
    (tmp_path / "digits.py").write_text(source)
    monkeypatch.setattr(sys, "argv", ["digits.py", "--device", "cuda"])
    runpy.run_path(str(tmp_path / "digits.py"), run_name="__main__")
    assert "convolutional, on cuda:0" in capsys.readouterr().out
