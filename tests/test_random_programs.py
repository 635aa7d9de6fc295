"""Programs nobody thought of: 5 to 40 ops drawn at random, differentiated twice, against difference quotients.

A program is a list of values that grows: each op takes some at random and adds its result; the loss is a weighted sum of all,
so that nothing that was computed goes unused. Every value is squashed by tanh, so that nothing grows and a difference
quotient has digits left to compare.
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F

N = 3  # every value is an (N, N) matrix

# fmt: off
UNARY = [
    mg.sin, mg.cos, mg.tanh, mg.sigmoid, mg.arctan, mg.negative, mg.square, F.softplus, F.silu, F.gelu,
    lambda x: mg.exp(mg.tanh(x)),
    lambda x: mg.log(x * x + 1.0),
    lambda x: mg.sqrt(x * x + 0.5),
    lambda x: x ** 3,
    lambda x: F.softmax(x, axis=1),
    lambda x: F.log_softmax(x, axis=0),
    lambda x: x.T,
    lambda x: x.reshape(-1)[::-1].reshape(N, N),
    lambda x: x[mg.tensor([2, 0, 0])],
    lambda x: x[:, 1:] @ x[:-1],
    lambda x: mg.where(mg.tensor(np.tri(N) > 0), x, 0.5),
    lambda x: mg.concatenate([x[1:], x[:1] * 2.0]),
    lambda x: mg.stack([x[0], x[1] * x[2], x[2]], axis=1),
    lambda x: x - x.mean(axis=0, keepdims=True),
    lambda x: x * x.sum(axis=1, keepdims=True),
    lambda x: x.sum(axis=0) + x.mean(),
    lambda x: mg.cumsum(x, axis=1),
    lambda x: x / mg.linalg.norm(x + 0.1, axis=1, keepdims=True),
    lambda x: mg.einsum("ij,kj->ik", x, x),
    lambda x: mg.linalg.inv(mg.tanh(x) * 0.2 + np.eye(N)),
    lambda x: mg.index_add(x, (slice(None), [0, 0]), x[:, 1:]),
    lambda x: mg.pad(x, ((1, 0), (0, 1)))[:N, 1:],
]
BINARY = [
    mg.add, mg.subtract, mg.multiply, mg.matmul, mg.logaddexp, mg.hypot,
    lambda x, y: x / (y * y + 1.0),
    lambda x, y: x * y[0] + y[:, :1],
    lambda x, y: F.linear(x, y, y[1]),
    lambda x, y: mg.outer(x[0], y[:, 1]),
    lambda x, y: (x * x + 1.0) ** mg.tanh(y),
]
# fmt: on


def program(seed):
    """A function of two matrices, and points and directions to try it at."""
    random = np.random.default_rng(seed)
    ops = [
        (UNARY[random.integers(len(UNARY))], random.integers(2**30, size=1))
        if random.random() < 0.6
        else (BINARY[random.integers(len(BINARY))], random.integers(2**30, size=2))
        for _ in range(random.integers(5, 41))
    ]
    weights = random.standard_normal((len(ops) + 2, N, N))

    def run(a, b):
        values = [a, b]
        for fn, picks in ops:
            z = fn(*(values[int(k) % len(values)] for k in picks))
            values.append(mg.broadcast_to(2.0 * mg.tanh(z / 2.0), (N, N)))
        return sum((mg.sum(w * v) for w, v in zip(weights, values, strict=True)), start=mg.tensor(0.0))

    return run, random.standard_normal((2, N, N)), random.standard_normal((2, N, N)), random.standard_normal((2, N, N))


def slopes(run, point):
    """The gradients at a point, as one array."""
    a, b = (mg.tensor(p, requires_grad=True) for p in point)
    return np.stack([g.data for g in mg.grad(run(a, b), [a, b])])


def check(seed):
    run, point, v, u = program(seed)
    a, b = (mg.tensor(p, requires_grad=True) for p in point)
    grads = mg.grad(run(a, b), [a, b], create_graph=True)
    assert np.array_equal(np.stack([g.data for g in grads]), slopes(run, point)), (
        "a recorded pass differs from a plain one"
    )
    first = sum((g.data * d).sum() for g, d in zip(grads, v, strict=True))
    along = mg.sum(grads[0] * u[0]) + mg.sum(grads[1] * u[1])
    again = mg.grad(along, [a, b], allow_unused=True)  # a gradient may be constant
    second = sum((g.data * d).sum() for g, d in zip(again, v, strict=True) if g is not None)

    # Four points cancel the error of order h²; the second h is for the one program in a thousand that bends too much.
    assert any(agree(run, point, v, u, first, second, h) for h in (2e-4, 5e-5))


def agree(run, point, v, u, first, second, h):
    """Do the derivatives along v, of the loss and of its slope along u, agree with difference quotients of step h?"""
    around = [point + k * h * v for k in (-2, -1, 1, 2)]
    values = np.array([run(*map(mg.tensor, p)).item() for p in around])
    bends = np.array([(slopes(run, p) * u).sum() for p in around])
    quotient = np.array([1, -8, 8, -1]) / (12 * h)
    near = pytest.approx(quotient @ values, rel=1e-6, abs=1e-6 * np.abs(values).max())
    return first == near and second == pytest.approx(quotient @ bends, rel=1e-5, abs=1e-5 * np.abs(bends).max())


@pytest.mark.parametrize("seed", range(100))
def test_a_random_program_has_the_right_first_and_second_derivatives(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 1100))
def test_a_thousand_random_programs_have_the_right_derivatives(seed):
    check(seed)
