"""Write `scipy_bfgs.json`: how many evaluations SciPy's BFGS takes on the problems of `classics.py`.

Gradients are this project's, so that both methods get the same; what is recorded is SciPy's alone. SciPy stops where no
element of the gradient is above 1e-5.

Run from the root of the checkout where SciPy is installed: ``python -m tests.golden.make_scipy_bfgs``. The version that
made the file is stored in it.
"""

import json

import numpy as np
import scipy
from scipy.optimize import minimize

import minigrad as mg
from tests.golden.classics import CLASSICS
from tests.golden.paths import HERE


def value_and_gradient(fn):
    def evaluate(x):
        x = mg.tensor(x, requires_grad=True)
        loss = fn(x)
        (g,) = mg.grad(loss, x)
        return loss.item(), g.numpy()

    return evaluate


if __name__ == "__main__":
    problems = {}
    for name, (fn, x0, lowest) in CLASSICS.items():
        found = minimize(value_and_gradient(fn), x0, jac=True, method="BFGS", options={"gtol": 1e-5, "maxiter": 10000})
        problems[name] = {
            "evaluations": found.nfev,
            "iterations": found.nit,
            "above_lowest": float(found.fun - lowest),
            "slope": float(abs(found.jac).max()),
        }
    notes = f"SciPy {scipy.__version__}, NumPy {np.__version__}"
    lines = ",\n".join(f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(each)}" for name, each in problems.items())
    (HERE / "scipy_bfgs.json").write_text(f'{{"notes": "{notes}",\n"problems": {{\n{lines}\n}}}}\n')
