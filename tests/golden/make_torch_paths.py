"""Write `torch_paths.npz`: fifty steps of PyTorch's optimizers, over every combination of arguments that interact.

Run from the root of the checkout where PyTorch is installed: ``python -m tests.golden.make_torch_paths``. The file in the
repository was made by PyTorch 2.13.0 (CPU, default implementation) and NumPy 2.4; both versions are stored in it.
"""

import itertools

import numpy as np
import torch

from tests.golden.paths import PROBLEMS, STEPS, save


def product(**choices):
    """Every combination, as settings."""
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


OFF_ON, DECAY = [False, True], [0.0, 0.1]
SETTINGS = {
    "SGD": [
        *product(weight_decay=DECAY, maximize=OFF_ON),
        *product(momentum=[0.9], dampening=[0.0, 0.5], weight_decay=DECAY, maximize=OFF_ON),
        *product(momentum=[0.9], nesterov=[True], weight_decay=DECAY, maximize=OFF_ON),
    ],
    "Adagrad": product(lr_decay=[0.0, 0.1], weight_decay=DECAY, initial_accumulator_value=[0.0, 0.5], maximize=OFF_ON),
    "RMSprop": product(momentum=[0.0, 0.5], centered=OFF_ON, weight_decay=DECAY, maximize=OFF_ON)
    + product(alpha=[0.9], eps=[1e-2]),
    "Adam": [
        *product(amsgrad=OFF_ON, weight_decay=DECAY, maximize=OFF_ON),
        *product(amsgrad=OFF_ON, weight_decay=[0.1], decoupled_weight_decay=[True], maximize=OFF_ON),
        *product(betas=[(0.8, 0.98)], eps=[1e-2], amsgrad=OFF_ON),
    ],
    "AdamW": product(amsgrad=OFF_ON, weight_decay=[0.0, 0.01, 0.1], maximize=OFF_ON),
    "RAdam": [
        *product(weight_decay=DECAY, maximize=OFF_ON),
        *product(weight_decay=[0.1], decoupled_weight_decay=[True], maximize=OFF_ON),
        *product(betas=[(0.8, 0.98)], eps=[1e-2]),
    ],
}
RATES = {  # large enough to go somewhere in fifty steps, small enough to stay on the surface
    "SGD": {"quadratic": 0.2, "rosenbrock": 1e-4, "mlp": 0.1},
    "Adagrad": {"quadratic": 0.3, "rosenbrock": 0.1, "mlp": 0.05},
    "RMSprop": {"quadratic": 0.02, "rosenbrock": 0.01, "mlp": 0.005},
    "Adam": {"quadratic": 0.1, "rosenbrock": 0.05, "mlp": 0.02},
    "AdamW": {"quadratic": 0.1, "rosenbrock": 0.05, "mlp": 0.02},
    "RAdam": {"quadratic": 0.1, "rosenbrock": 1e-3, "mlp": 0.02},
}


def walk(optimizer, settings, problem, dtype):
    """All parameters after each stored step, one row each. To maximize, the loss is turned over."""
    loss_of, start, stored = PROBLEMS[problem]
    params = [torch.tensor(part, dtype=dtype, requires_grad=True) for part in start]
    opt = getattr(torch.optim, optimizer)(params, **settings)
    sign = -1 if settings.get("maximize") else 1
    rows = []
    for step in range(1, STEPS + 1):
        opt.zero_grad()
        (sign * loss_of(params, lambda array: torch.tensor(array, dtype=dtype), torch.tanh)).backward()
        opt.step()
        if step in stored:
            rows.append(torch.cat([p.detach().ravel() for p in params]).numpy().copy())
    return np.array(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = []
    for optimizer, problem in itertools.product(SETTINGS, PROBLEMS):
        for chosen in SETTINGS[optimizer]:
            settings = {"lr": RATES[optimizer][problem], **chosen}
            for name in ("float32", "float64"):
                path = walk(optimizer, settings, problem, getattr(torch, name))
                cases.append((optimizer, settings, problem, name, path))
    save("torch_paths", cases, f"PyTorch {torch.__version__}, NumPy {np.__version__}")
    print(len(cases), "paths")
