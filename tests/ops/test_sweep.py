"""Every row of the table, at every case of `cases.py`, asked the same questions."""

import pkgutil
from importlib import import_module

import numpy as np
import pytest

import minigrad as mg
from minigrad import engine, ops
from minigrad.autograd import gradcheck, gradgradcheck
from minigrad.row import Row
from tests.ops.cases import CASES


def everything():
    """Each row, each public function of `minigrad.ops`, and each that answers one of NumPy's; and where it is."""
    found = {}
    for module in [mg, *(import_module(m.name) for m in pkgutil.walk_packages(mg.__path__, "minigrad."))]:
        for name, value in vars(module).items():
            public = module is ops and callable(value) and value.__module__.startswith("minigrad.ops.")
            if isinstance(getattr(value, "row", None), Row) or public:
                found.setdefault(value, f"{module.__name__}.{name}")
    for value in engine.TABLE.values():
        if "about_values" not in value.__qualname__:
            found.setdefault(value, f"{value.__module__}.{value.__name__}")
    return found


EVERYTHING = everything()  # asked now: tests and doctests plant rows of their own
ANSWERING_NUMPY = dict(engine.TABLE)
COVERED = {case.op for case in CASES}

every = pytest.mark.parametrize("case", CASES, ids=str)
differentiable = pytest.mark.parametrize(
    "case", [c for c in CASES if not hasattr(c.op, "row") or c.op.row.rules], ids=str
)
polynomial = pytest.mark.parametrize("case", [c for c in CASES if c.polynomial], ids=str)


def as_arrays(result):
    """What an op returned, one Tensor or array or several, as a list of arrays."""
    several = result if isinstance(result, (tuple, list)) else [result]
    return [x.data if isinstance(x, mg.Tensor) else x for x in several]


def gradients(case, xs, create_graph=False):
    """Of the outputs, weighted at random, with respect to all of xs that require one."""
    result = case(*xs)
    ys = [y for y in (result if isinstance(result, (tuple, list)) else [result]) if y.requires_grad]
    weights = [mg.tensor(np.random.default_rng(9).uniform(1, 2, y.shape), y.dtype) for y in ys]
    return mg.grad(ys, [x for x in xs if isinstance(x, mg.Tensor)], weights, create_graph=create_graph)


# --------------------------------------------------------------------------------------------------- nothing is left out


def test_every_row_has_a_case():
    missing = [name for function, name in EVERYTHING.items() if function not in COVERED]
    assert not missing, (
        f"add a line to tests/ops/cases.py, such as row({missing[0]}, real(2, 3)), for each of {missing}"
    )


RULES = [(f, name) for f in EVERYTHING if hasattr(f, "row") for name in f.row.rules]


@pytest.mark.parametrize(("function", "argument"), RULES, ids=lambda x: EVERYTHING.get(x, x))
def test_the_cases_of_a_row_would_find_a_wrong_rule(function, argument, monkeypatch):
    row = function.row
    if row.variadic:
        rule = row.steps.rule
        monkeypatch.setattr(row.steps, "rule", lambda g, *named: rule(g, *named) * 1.01 + 0.01)
    else:
        k = row.names.index(argument)
        step = row.steps[k]
        wrong = [*row.steps]
        wrong[k] = lambda g, values: step(g, values) * 1.01 + 0.01
        monkeypatch.setattr(row, "steps", wrong)
    cases = [case for case in CASES if case.op is function]
    assert cases, f"add a line to tests/ops/cases.py for {EVERYTHING[function]}"
    assert not all(gradcheck(case, tuple(case.tensors()), raise_exception=False) for case in cases)


# ------------------------------------------------------------------------------------------------------------- the values


@every
def test_arrays_and_tensors_give_what_numpy_gives(case):
    from_arrays = as_arrays(case(*case.arrays()))
    result = case(*case.tensors())
    from_tensors = as_arrays(result)
    assert all(isinstance(x, (np.ndarray, np.generic)) for x in from_arrays)
    if case.draws and not all(draw.fixed for draw in case.draws):
        several = result if isinstance(result, (tuple, list)) else [result]
        assert all(isinstance(x, mg.Tensor) for x in several)
    for array, tensor in zip(from_arrays, from_tensors, strict=True):
        assert array.dtype == tensor.dtype
        assert np.array_equal(array, tensor)
    if case.numpy is not None:
        for array, expected in zip(from_arrays, as_arrays(case.by_numpy(*case.arrays())), strict=True):
            assert array.shape == np.shape(expected)
            assert np.allclose(array, expected, rtol=1e-12, atol=1e-12)


@every
def test_numpys_function_finds_the_row(case):
    function = case.numpy
    if function in ANSWERING_NUMPY and not all(draw.fixed for draw in case.draws):
        xs = case.tensors()
        for ours, theirs in zip(as_arrays(case(*xs)), as_arrays(case.by_numpy(*xs)), strict=True):
            assert np.array_equal(ours, theirs)


# -------------------------------------------------------------------------------------------------------- the derivatives


@differentiable
def test_the_gradient_is_the_numeric_one(case):
    assert gradcheck(case, tuple(case.tensors()))


@differentiable
def test_the_second_derivative_is_the_numeric_one(case):
    assert gradgradcheck(case, tuple(case.tensors()))


@differentiable
def test_a_recorded_gradient_equals_the_plain_one(case):
    xs = case.tensors()
    plain, recorded = gradients(case, xs), gradients(case, xs, create_graph=True)
    for p, r in zip(plain, recorded, strict=True):
        assert p.dtype == r.dtype
        assert np.allclose(p, r.detach(), rtol=1e-14, atol=1e-14)


@differentiable
def test_float32_stays_float32_in_values_and_gradients(case):
    if case.op is mg.astype:
        return  # it was asked for float64
    expected = [x.dtype for x in as_arrays(case(*case.arrays(np.float64)))]
    xs = case.tensors(np.float32)
    for x, wide in zip(as_arrays(case(*xs)), expected, strict=True):
        assert x.dtype == (np.float32 if wide == np.float64 else wide)
    for create_graph in (False, True):
        found = gradients(case, xs, create_graph)
        assert {g.dtype for g in found} <= {np.dtype(np.float32)}
        for g, wide in zip(found, gradients(case, case.tensors()), strict=True):
            assert np.allclose(g.data, wide.data, rtol=1e-4, atol=1e-4)


def scattered(a):
    """The same numbers, every second element of a larger array with its axes the other way round."""
    if a.ndim == 0:
        return a
    wide = np.zeros([2 * n for n in a.shape[::-1]], a.dtype, like=a)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)].T
    view[...] = a
    return view


@differentiable
def test_memory_layout_changes_nothing(case):
    together, apart = case.tensors(), []
    for x in together:
        if isinstance(x, mg.Tensor):
            x = mg.Tensor(scattered(x.data))
            x.requires_grad = True
        apart.append(x)
    for x, y in zip(as_arrays(case(*together)), as_arrays(case(*apart)), strict=True):
        assert np.allclose(x, y, rtol=1e-14, atol=1e-14)
    for x, y in zip(gradients(case, together), gradients(case, apart), strict=True):
        assert np.allclose(x, y, rtol=1e-13, atol=1e-13)


@polynomial
def test_four_derivatives_of_a_polynomial_at_zero_are_exact(case):
    """Along the line t ↦ t x all is one polynomial of t, whose coefficients a fit through 13 points gives exactly."""
    xs = case.arrays()
    weights = [np.random.default_rng(9).uniform(1, 2, y.shape) for y in as_arrays(case(*xs))]

    def along(t):
        ys = case(*(t * x for x in xs))
        return sum((w * y).sum() for w, y in zip(weights, ys if isinstance(ys, (tuple, list)) else [ys]))

    nodes = np.cos(np.pi * (np.arange(13) + 0.5) / 13)
    fitted = np.polynomial.Polynomial.fit(nodes, [along(t) for t in nodes], 12, domain=[-1, 1])
    t = mg.tensor(np.zeros(()), requires_grad=True)
    y = along(t)
    for order in range(1, 5):
        if y.requires_grad:
            (y,) = mg.grad(y, t, create_graph=True, allow_unused=True)
            y = mg.tensor(0.0) if y is None else y
        else:
            y = mg.tensor(0.0)
        assert np.allclose(y.detach(), fitted.deriv(order)(0.0), rtol=1e-9, atol=1e-9)
