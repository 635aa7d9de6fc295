"""How many evaluations BFGS and LBFGS take on the classic problems, and how many SciPy's BFGS took.

    python -m tests.optim.against_scipy

Evaluations are of loss and gradient together, until no element of the gradient is above 1e-5.
"""

import json

import numpy as np

import minigrad as mg
import optim
from tests.golden.classics import CLASSICS
from tests.golden.paths import HERE

SCIPY = json.loads((HERE / "scipy_bfgs.json").read_text())["problems"]


def solve(kind, name):
    """(evaluations, largest element of the gradient, loss) at the end of one step that is as long as it takes."""
    fn, x0, _ = CLASSICS[name]
    p = mg.tensor(x0, requires_grad=True)
    calls = []

    def closure():
        calls.append(0)
        return fn(p)

    opt = kind(
        [p], max_iter=5000, max_eval=10000, tolerance_grad=1e-5, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )
    opt.step(closure)
    loss = opt.gradients(closure)
    return len(calls) - 1, abs(p.grad.data).max(), loss.item()


def ratios(kind):
    """For each problem, evaluations for one of SciPy's."""
    return {name: solve(kind, name)[0] / SCIPY[name]["evaluations"] for name in CLASSICS}


if __name__ == "__main__":
    print(f"{'evaluations':20}{'SciPy':>8}{'BFGS':>12}{'LBFGS':>12}")
    found = {kind: ratios(kind) for kind in (optim.BFGS, optim.LBFGS)}
    for name in CLASSICS:
        print(f"{name:20}{SCIPY[name]['evaluations']:8}" + "".join(f"{each[name]:10.2f} x" for each in found.values()))
    print(f"{'median':28}" + "".join(f"{np.median([*each.values()]):10.2f} x" for each in found.values()))
