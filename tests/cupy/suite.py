"""The whole suite on the double: what every other test asks of the CPU is asked of the device "cuda" too.

    python -m pytest -p tests.cupy.suite tests             all of it; `make test-slow` does
    python -m pytest -p tests.cupy.suite tests/nn -x       what one is at work on

With this plugin a Tensor that a test makes (`mg.tensor`, `mg.randn`, a layer's parameters, a loader's batches) lies on
the double unless the test says where. One rule parts tests from the source: *a test may mix, the source may not*. What
stands in a test file is a user at the host, who hands NumPy's arrays to an op and compares its result with NumPy's; that
is taken over, and read, without complaint. What `minigrad` and `optim` do in turn is held to all that the double
refuses, and whatever copies to the host or the device, or waits, has to be one of the places in `COSTS`: so no layer, loss,
rule, optimizer or loop of any test moves anything in a training step, unless it is listed here with its reason.

Tests that can only be asked of the CPU are in `REFUSED`. They run all the same and have to fail: one whose reason is
gone, and a place in `COSTS` that costs nothing any more, fail the run.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import chores
from minigrad.data import DataLoader, TensorDataset
from tests.cupy import double
from tests.cupy.excused import COSTS, NOT_ASKED, REFUSED

ROOT = Path(__file__).parent.parent.parent
MAKERS = [mg.tensor, mg.zeros, mg.ones, mg.full, mg.arange, mg.eye, mg.randn, mg.rand, DataLoader.__init__]

# What only passes on what it was called with: who called it is asked instead.
PASSING_ON = {"tests/cupy/double.py", "tests/cupy/suite.py", "minigrad/tensor.py", "minigrad/backend.py"}
PASSING_ON |= {"minigrad/creation.py", "minigrad/engine.py op.<locals>.apply", "minigrad/chores.py operand"}
PASSING_ON |= {"minigrad/ops/indexing.py", "minigrad/ops/__init__.py _about_values.<locals>.<lambda>"}
PASSING_ON |= {"minigrad/ops/__init__.py _reversed_operands.<locals>.<lambda>"}

seen = set()  # places that cost something, in this process
strangers = set()  # those of the test that is under way that are not in COSTS


@functools.cache
def place(code):
    """``"optim/newton.py Newton.update"`` for a function of this repository; None for one that only passes on."""
    path = Path(code.co_filename)
    if not path.is_relative_to(ROOT) or ".venv" in path.parts:
        return None
    file = path.relative_to(ROOT).as_posix()
    name = f"{file} {code.co_qualname}"
    return None if file in PASSING_ON or name in PASSING_ON else name


def asker():
    """The nearest function under way that does not only pass on."""
    frame = sys._getframe(1)
    while frame is not None:
        if name := place(frame.f_code):
            return name
        frame = frame.f_back
    return "tests/"


def by_a_test():
    """Is it a test that asks?"""
    return asker().startswith("tests/")


def watching(cost):
    """`cost`, which also notes who asked for it."""

    def watched(**kinds):
        cost(**kinds)
        who = asker()
        if not who.startswith("tests/"):
            seen.add(who)
            if not any(who.startswith(known) for known in COSTS):
                strangers.add(f"{who}: {', '.join(kinds)}")

    return watched


def taking_over(operand):
    """`operand`, which also brings the arrays that a test hands to an op to the device."""

    def taken(x, row):
        return double.Array(x) if isinstance(x, np.ndarray) and by_a_test() else operand(x, row)

    return taken


def reading(to_array):
    """`Tensor.__array__`, which also serves tests that compare with NumPy's functions."""

    def read(self, dtype=None, copy=None):
        if not self.requires_grad and by_a_test():
            return np.array(self.numpy(), dtype)
        return to_array(self, dtype, copy)

    return read


def moving(make):
    """`TensorDataset`, whose arrays lie on the double."""

    def made(self, *tensors):
        make(self, *(double.Array(t) if isinstance(t, np.ndarray) else t for t in tensors))

    return made


def on_the_double(maker):
    """Let the default of a function's argument `device` be the double."""
    code, defaults = maker.__code__, maker.__defaults__
    names = code.co_varnames[: code.co_argcount]
    if "device" in names:
        k = names.index("device") - len(names)
        maker.__defaults__ = (*defaults[:k], "cuda", *defaults[len(defaults) + k + 1 :])
    else:
        maker.__kwdefaults__ = {**maker.__kwdefaults__, "device": "cuda"}


# ------------------------------------------------------------------------------------------------------- pytest's hooks


def pytest_configure(config):
    config.double = contextlib.ExitStack()  # kept, so that the world stays
    config.double.enter_context(double.pretended())
    chores.PLAIN.discard(np.ndarray)
    chores.operand = taking_over(chores.operand)
    double.lent = by_a_test
    double.cost = watching(double.cost)
    mg.Tensor.__array__ = reading(mg.Tensor.__array__)
    TensorDataset.__init__ = moving(TensorDataset.__init__)
    for maker in MAKERS:
        on_the_double(maker)


def pytest_ignore_collect(collection_path):
    file = collection_path.relative_to(ROOT).as_posix() if collection_path.is_relative_to(ROOT) else ""
    return True if file in NOT_ASKED else None


def entry(nodeid):
    """The line of REFUSED that excuses a test, if there is one."""
    return next((part for part in REFUSED if part in nodeid), None)


def pytest_collection_modifyitems(items):
    for item in items:
        if test := entry(item.nodeid):
            item.add_marker(pytest.mark.xfail(reason=REFUSED[test], strict=False))


@pytest.fixture(autouse=True)
def unlisted_costs_fail():
    strangers.clear()
    yield
    assert not strangers, f"not among the COSTS of tests/cupy/excused.py: {sorted(strangers)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.user_properties = [*report.user_properties, ("places", sorted(seen))]
    return report


failed, places = set(), set()  # gathered by the process that the others report to


def pytest_runtest_logreport(report):
    test = entry(report.nodeid)
    if test and report.when == "call" and report.outcome != "passed":
        failed.add(test)
    places.update(*(value for name, value in report.user_properties if name == "places"))


def idle(config):
    """Excuses that nothing needed; asked only of a run of the whole suite."""
    if config.args != ["tests"] or config.option.keyword:
        return []
    unused = [known for known in COSTS if not any(who.startswith(known) for who in places)]
    return sorted({*REFUSED} - failed) + unused


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput") and idle(session.config) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for test in idle(config):
        terminalreporter.write_line(f"excused in tests/cupy/excused.py without need: {test}", red=True)
