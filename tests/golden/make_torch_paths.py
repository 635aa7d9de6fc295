"""Write `torch_paths.npz` and `torch_schedules.json`: what PyTorch's optimizers and schedules do, step by step.

Fifty steps of every optimizer over every combination of arguments that interact, on the problems of `paths.py`; forty
values of every schedule, for two parameter groups.

Run from the root of the checkout where PyTorch is installed: ``python -m tests.golden.make_torch_paths``. The files in
the repository were made by PyTorch 2.13.0 (CPU, default implementation) and NumPy 2.4; both versions are stored in them.
"""

import itertools
import json
import math

import numpy as np
import torch

from tests.golden.paths import HERE, PROBLEMS, STEPS, save


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


SCHEDULES = [
    ["StepLR", {"step_size": 7}],
    ["StepLR", {"step_size": 1, "gamma": 0.9}],
    ["MultiStepLR", {"milestones": [3, 10, 10, 25], "gamma": 0.5}],
    ["MultiStepLR", {"milestones": [20, 5]}],
    ["ExponentialLR", {"gamma": 0.9}],
    ["CosineAnnealingLR", {"T_max": 10}],
    ["CosineAnnealingLR", {"T_max": 40, "eta_min": 0.01}],
    ["CosineAnnealingWarmRestarts", {"T_0": 7}],
    ["CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2, "eta_min": 0.02}],
    ["LambdaLR", {"lr_lambda": "1 / (1 + t)"}],
    ["LambdaLR", {"lr_lambda": ["0.9**t", "1 + t % 3"]}],
    [
        "SequentialLR",
        {"schedulers": [["LambdaLR", {"lr_lambda": "0.1"}], ["ExponentialLR", {"gamma": 0.9}]], "milestones": [12]},
    ],
    [
        "SequentialLR",
        {
            "schedulers": [
                ["StepLR", {"step_size": 2}],
                ["CosineAnnealingLR", {"T_max": 5}],
                ["StepLR", {"step_size": 9}],
            ],
            "milestones": [4, 15],
        },
    ],
    ["ReduceLROnPlateau", {"patience": 2}],
    ["ReduceLROnPlateau", {"factor": 0.5, "patience": 1, "cooldown": 3, "threshold": 0.05}],
    [
        "ReduceLROnPlateau",
        {"mode": "max", "factor": 0.3, "patience": 0, "threshold": 0.2, "threshold_mode": "abs", "min_lr": 0.01},
    ],
    ["ReduceLROnPlateau", {"mode": "max", "patience": 3, "min_lr": [0.2, 0.001]}],
    ["ReduceLROnPlateau", {"mode": "min", "factor": 0.2, "patience": 0, "threshold_mode": "abs", "eps": 0.01}],
]
METRICS = [round(2.0 / (1 + 0.3 * k) + 0.3 * math.sin(1.7 * k), 6) for k in range(40)]


def build(library, opt, name, settings):
    """A scheduler of torch.optim.lr_scheduler, or of a library like it; functions of t are given as text."""
    settings = dict(settings)
    if name == "LambdaLR":
        texts = settings["lr_lambda"]
        functions = [eval(f"lambda t: {text}") for text in ([texts] if isinstance(texts, str) else texts)]
        settings["lr_lambda"] = functions[0] if isinstance(texts, str) else functions
    if name == "SequentialLR":
        settings["schedulers"] = [build(library, opt, *part) for part in settings["schedulers"]]
    return getattr(library, name)(opt, **settings)


def rates(name, settings):
    """The rates of two groups at t = 0, 1, ..., 40."""
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.5, 0.03)]
    opt = torch.optim.SGD(groups)
    scheduler = build(torch.optim.lr_scheduler, opt, name, settings)
    rows = [[group["lr"] for group in opt.param_groups]]
    for metric in METRICS:
        opt.step()
        scheduler.step(*[metric] if name == "ReduceLROnPlateau" else [])
        rows.append([group["lr"] for group in opt.param_groups])
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = []
    for optimizer, problem in itertools.product(SETTINGS, PROBLEMS):
        for chosen in SETTINGS[optimizer]:
            settings = {"lr": RATES[optimizer][problem], **chosen}
            for name in ("float32", "float64"):
                path = walk(optimizer, settings, problem, getattr(torch, name))
                cases.append((optimizer, settings, problem, name, path))
    notes = f"PyTorch {torch.__version__}, NumPy {np.__version__}"
    save("torch_paths", cases, notes)
    lines = [json.dumps([name, settings, rates(name, settings)]) for name, settings in SCHEDULES]
    text = ",\n".join(lines)
    (HERE / "torch_schedules.json").write_text(
        f'{{"notes": "{notes}",\n"metrics": {METRICS},\n"schedules": [\n{text}\n]}}\n'
    )
    print(len(cases), "paths,", len(lines), "schedules")
