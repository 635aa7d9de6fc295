"""The benchmarks compare like with like: minigrad's numbers are those of the NumPy written by hand."""

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
