"""Every method follows, step by step, the path of a library that no one here wrote (PyTorch, optax)."""

import numpy as np
import pytest

import minigrad as mg
import optim
from tests.golden.paths import PROBLEMS, load

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # relative to the largest |θ| on the path


def build(name, settings, params):
    """The optimizer; a wrapper's settings hold those of its base."""
    settings = dict(settings)
    base = settings.pop("base", None)
    return getattr(optim, name)(params if base is None else build(*base, params), **settings)


def walk(name, settings, problem, dtype, device="cpu"):
    """The parameters after each of the steps that the golden path stores."""
    loss_of, start, stored = PROBLEMS[problem]
    params = [mg.tensor(part, dtype=dtype, requires_grad=True, device=device) for part in start]
    opt = build(name, settings, params)
    sign = -1 if settings.get("maximize") else 1
    rows = []
    for step in range(1, max(stored) + 1):
        opt.step(lambda: sign * loss_of(params, lambda array: mg.tensor(array, dtype=dtype, device=device), mg.tanh))
        if step in stored:
            rows.append(np.concatenate([p.numpy().ravel() for p in params]))
    return np.array(rows)


def cases(name):
    grouped = {}
    for optimizer, settings, problem, dtype, path in load(name):
        grouped.setdefault((optimizer, problem, dtype), []).append((settings, path))
    return [pytest.param(*key, found, id=" ".join(key)) for key, found in grouped.items()]


def check(optimizer, problem, dtype, found, device="cpu", tolerance=TOLERANCE):
    for settings, path in found:
        error = np.abs(walk(optimizer, settings, problem, dtype, device) - path).max() / np.abs(path).max()
        assert error < tolerance[dtype], f"{optimizer}({settings}) on {problem} in {dtype}: off by {error:.1e}"


@pytest.mark.parametrize("optimizer, problem, dtype, found", cases("torch_paths"))
def test_the_path_is_pytorchs(optimizer, problem, dtype, found):
    check(optimizer, problem, dtype, found)


@pytest.mark.parametrize("optimizer, problem, dtype, found", cases("optax_paths"))
def test_the_path_is_optaxs(optimizer, problem, dtype, found):
    check(optimizer, problem, dtype, found)
