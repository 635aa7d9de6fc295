"""What `import minigrad` loads, and what it leaves for later."""

import subprocess
import sys

import pytest

import minigrad as mg
from minigrad import saving


def loaded(program):
    """The names of the modules that a fresh Python has loaded after a program."""
    listing = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listing.stdout.split())


def test_an_import_loads_the_engine_and_the_table_and_numpy_and_nothing_heavy():
    modules = loaded("import minigrad")
    assert {"minigrad.engine", "minigrad.ops.elementwise", "numpy"} <= modules
    later = {"minigrad.nn", "minigrad.graph", "minigrad.saving", "minigrad.autograd"}
    heavy = {"cupy", "graphviz", "matplotlib", "mpi4py", "scipy", "sklearn", "tqdm", "numpy.random"}
    assert not modules & (later | heavy)


def test_what_is_left_for_later_is_there_when_it_is_asked_for():
    modules = loaded("import minigrad as mg; mg.nn.Linear, mg.load")
    assert {"minigrad.nn", "minigrad.saving"} <= modules
    assert mg.load is saving.load
    assert {"nn", "load", "CheckpointError", "tensor"} <= set(dir(mg))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'minigrad' has no attribute 'tensr'"):
        mg.tensr


def test_optim_loads_no_mpi():
    assert "mpi4py" not in loaded("import optim")
