"""The problems of the reference paths, and how the paths are stored.

A problem is written once, in operators that PyTorch, JAX and minigrad share, so that all three walk on the same surface.
A file holds one flat array per dtype and a list of cases that says which part of it is whose.
"""

import json
from pathlib import Path

import numpy as np

STEPS = 50
HERE = Path(__file__).parent

# 8 points of a smooth curve, for a network of 2-4-1; made by arithmetic, so that there is no random stream to agree on.
INPUTS = np.array([[np.cos(0.7 * k), np.sin(1.3 * k)] for k in range(8)])
TARGETS = np.array([[np.sin(2.0 * x) * y] for x, y in INPUTS])
# An orthogonal matrix times 1, 0.1, 0.03: the quadratic is half as wide as high along no axis, and its κ is 1000.
Q = np.linalg.qr(np.array([[3.0, 1.0, 2.0], [1.0, -2.0, 1.0], [0.5, 1.0, -1.0]]))[0]
A = np.array([1.0, 0.1, 0.001**0.5])[:, None] * Q


def quadratic(params, constant, tanh):
    (x,) = params
    return 0.5 * ((constant(A) @ x) ** 2).sum()


def rosenbrock(params, constant, tanh):
    (x,) = params
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def mlp(params, constant, tanh):
    w1, b1, w2, b2 = params
    return ((tanh(constant(INPUTS) @ w1 + b1) @ w2 + b2 - constant(TARGETS)) ** 2).mean()


def grid(*shape):
    """A start with nothing special about it."""
    return np.cos(1.0 + np.arange(np.prod(shape))).reshape(shape)


# name: (loss, starting point, the steps that are stored)
PROBLEMS = {
    "quadratic": (quadratic, [np.array([1.0, -2.0, 1.5])], range(1, STEPS + 1)),
    "rosenbrock": (rosenbrock, [np.array([-1.2, 1.0])], range(1, STEPS + 1)),
    "mlp": (mlp, [grid(2, 4), 0.1 * grid(4), 0.5 * grid(4, 1), np.full(1, -0.2)], (1, 2, 3, 5, 10, 20, 30, 40, 50)),
}


def save(name, cases, notes):
    """Write paths: `cases` are (optimizer, settings, problem, dtype, path), a path one row of all parameters per step."""
    index, flat = [], {"float32": [], "float64": []}
    for optimizer, settings, problem, dtype, path in cases:
        assert np.isfinite(path).all() and path.dtype == dtype, (optimizer, settings, problem, dtype)
        index.append([optimizer, settings, problem, dtype])
        flat[dtype].append(path.ravel())
    arrays = {dtype: np.concatenate(parts) for dtype, parts in flat.items() if parts}
    text = json.dumps({"notes": notes, "cases": index})
    np.savez_compressed(HERE / f"{name}.npz", index=np.frombuffer(text.encode(), np.uint8), **arrays)


def load(name):
    """What `save` was given, as a list."""
    with np.load(HERE / f"{name}.npz") as file:
        index = json.loads(file["index"].tobytes())["cases"]
        flat = {dtype: file[dtype] for dtype in file.files if dtype != "index"}
    read = dict.fromkeys(flat, 0)
    cases = []
    for optimizer, settings, problem, dtype in index:
        _, start, stored = PROBLEMS[problem]
        width = sum(part.size for part in start)
        begin, read[dtype] = read[dtype], read[dtype] + width * len(stored)
        cases.append((optimizer, settings, problem, dtype, flat[dtype][begin : read[dtype]].reshape(-1, width)))
    return cases
