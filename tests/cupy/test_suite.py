"""The suite on the double: a test may mix NumPy's arrays with the device's, the source may not, and no excuse is idle."""

import subprocess
import sys
from types import SimpleNamespace

from tests.cupy import suite
from tests.cupy.conformance import ROOT

TESTS = f'''
import numpy as np
import pytest
import minigrad as mg

def source(text):
    """A function as if it stood in the source."""
    names = {{"np": np}}
    exec(compile(text, {str(ROOT / "optim" / "planted.py")!r}, "exec"), names)
    return names["f"]

def test_what_a_test_makes_lies_on_the_double_and_is_read_and_mixed_freely():
    x = mg.ones(3, requires_grad=True)
    (x * np.arange(3.0)).sum().backward(np.float32(2))
    assert (x.device, mg.nn.Linear(2, 1).weight.device) == ("cuda:0", "cuda:0")
    np.testing.assert_array_equal(x.grad, [0, 2, 4])

@pytest.mark.parametrize("text", ["x.data * np.ones(3)", "np.asarray(x.data)", "np.add(x.data, np.ones(3))"])
def test_the_source_may_not_mix(text):
    with pytest.raises(TypeError, match="Unsupported type|Implicit conversion"):
        source("def f(x): return " + text)(mg.ones(3))

@pytest.mark.parametrize("text", ["float(x.sum())", "x.numpy()", "x[[0, 1]]"])
def test_the_source_may_not_wait_or_copy(text):
    source("def f(x): return " + text)(mg.ones(3))
'''


def test_a_test_may_mix_and_the_source_may_not(tmp_path):
    (tmp_path / "test_planted.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.cupy.suite", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run([*command, tmp_path / "test_planted.py"], cwd=ROOT, capture_output=True, text=True)
    assert "7 passed, 3 errors" in run.stdout, run.stdout
    assert "optim/planted.py f: waits, to_host" in run.stdout


def test_an_excuse_that_nothing_needs_is_noticed(monkeypatch):
    whole = SimpleNamespace(args=["tests"], option=SimpleNamespace(keyword=""))
    monkeypatch.setattr(suite, "REFUSED", {"tests/a.py::test_fails": "", "tests/a.py::test_passes": ""})
    monkeypatch.setattr(suite, "COSTS", {"optim/a.py": "", "optim/b.py f": ""})
    for name in ("failed", "places"):
        monkeypatch.setattr(suite, name, set())
    for test, outcome in [("fails[1]", "passed"), ("fails[2]", "skipped"), ("passes", "passed"), ("other", "failed")]:
        report = SimpleNamespace(nodeid=f"tests/a.py::test_{test}", when="call", outcome=outcome, user_properties=[])
        report.user_properties = [("places", ["optim/a.py step"])]
        suite.pytest_runtest_logreport(report)
    assert suite.idle(whole) == ["tests/a.py::test_passes", "optim/b.py f"]
    assert suite.idle(SimpleNamespace(args=["tests/nn"], option=whole.option)) == []
