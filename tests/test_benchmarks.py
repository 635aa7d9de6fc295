"""The benchmarks compare like with like: minigrad's numbers are those of the NumPy written by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import derivatives, graphs, networks, optimizers
from tests.benchmarks.workload import Workload, check

WORKLOADS = [
    *(graphs.Ops(), graphs.Chain(300), graphs.Fan(50), graphs.Elementwise(4096)),
    *(networks.SmallMLP(), networks.LargeMLP(), networks.CNN(), networks.TransformerBlock()),
    *(optimizers.AdamLarge(), optimizers.AdamSmall(), derivatives.HessianVector(), derivatives.RosenbrockHessian()),
]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: type(workload).__name__)
def test_a_workload_computes_what_its_numpy_by_hand_computes(workload: Workload) -> None:
    check(workload.title, {"minigrad": workload.minigrad(), "numpy": workload.numpy()}, workload.tolerance)


def test_a_wrong_number_in_a_benchmark_is_found() -> None:
    with pytest.raises(AssertionError, match="toy: minigrad, numpy, call 1, result 1"):
        check("toy", {"minigrad": lambda: (1.0, [2.0]), "numpy": lambda: (1.0, [2.1])}, 1e-3)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(__file__).parent / "benchmarks" / "bench.py"
    return subprocess.run([sys.executable, str(program), *arguments], capture_output=True, text=True, check=False)


def test_the_benchmark_prints_the_rows_that_are_asked_for_and_no_more() -> None:
    result = bench("--only", "500 × (64,)", "--rounds", "1")
    assert result.returncode == 0, result.stderr
    machine, _, headings, _, *rows = result.stdout.splitlines()
    assert "one thread each" in machine
    assert [heading.strip() for heading in headings.strip("| ").split("|")][:2] == ["workload", "minigrad"]
    assert [row.startswith("| Adam step, 500 × (64,) ") for row in rows] == [True]


def test_a_row_that_is_not_there_is_answered_with_those_that_are() -> None:
    result = bench("--only", "quantum")
    assert result.returncode == 2
    assert "'quantum'" in result.stderr and "100,000-op chain" in result.stderr
