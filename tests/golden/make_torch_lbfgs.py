"""Write `torch_lbfgs_paths.npz`: fifty steps of PyTorch's LBFGS on the problems of `paths.py`.

Quotients of small differences make rounding errors grow along these paths; how fast is told by a second path of
PyTorch's, "shaken", that starts one rounding error away from the first.

Run from the root of the checkout where PyTorch is installed: ``python -m tests.golden.make_torch_lbfgs``. The file in
the repository was made by PyTorch 2.13.0 (CPU) and NumPy 2.4; both versions are stored in it.
"""

import numpy as np
import torch

from tests.golden.paths import PROBLEMS, STEPS, save

SETTINGS = {
    "quadratic": [
        {"max_iter": 1},
        {"lr": 0.5, "max_iter": 1, "history_size": 2},
        {"max_iter": 1, "line_search_fn": "strong_wolfe", "max_eval": 25},
        {"lr": 0.3, "max_iter": 2, "history_size": 3, "line_search_fn": "strong_wolfe"},
    ],
    "rosenbrock": [
        {"lr": 0.1, "max_iter": 1},
        {"max_iter": 1, "line_search_fn": "strong_wolfe", "max_eval": 25},
        {"max_iter": 1, "history_size": 1, "line_search_fn": "strong_wolfe", "max_eval": 25},
        {"max_iter": 3, "history_size": 2, "line_search_fn": "strong_wolfe"},
        {"lr": 0.1, "max_iter": 20, "max_eval": 7, "line_search_fn": "strong_wolfe"},
        {"lr": 50.0, "max_iter": 1, "line_search_fn": "strong_wolfe", "max_eval": 25},
    ],
    "mlp": [
        {"lr": 0.3, "max_iter": 1, "history_size": 5},
        {"lr": 0.5, "max_iter": 2, "history_size": 3},
        {"max_iter": 1, "history_size": 5, "line_search_fn": "strong_wolfe", "max_eval": 25},
        {"max_iter": 2, "history_size": 3, "line_search_fn": "strong_wolfe"},
    ],
}


def walk(settings, problem, dtype, shake=0.0):
    """All parameters after each stored step, one row each."""
    loss_of, start, stored = PROBLEMS[problem]
    factor = 1 + shake * torch.finfo(dtype).eps
    params = [torch.tensor(part * factor, dtype=dtype, requires_grad=True) for part in start]
    opt = torch.optim.LBFGS(params, **settings)

    def closure():
        opt.zero_grad()
        loss = loss_of(params, lambda array: torch.tensor(array, dtype=dtype), torch.tanh)
        loss.backward()
        return loss

    rows = []
    for step in range(1, STEPS + 1):
        opt.step(closure)
        if step in stored:
            rows.append(torch.cat([p.detach().ravel() for p in params]).numpy().copy())
    return np.array(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = [
        (name, settings, problem, dtype, walk(settings, problem, getattr(torch, dtype), shake))
        for problem in PROBLEMS
        for settings in SETTINGS[problem]
        for dtype in ("float32", "float64")
        for name, shake in (("LBFGS", 0.0), ("shaken", 2.0))
    ]
    save("torch_lbfgs_paths", cases, f"PyTorch {torch.__version__}, NumPy {np.__version__}")
    print(len(cases), "paths")
