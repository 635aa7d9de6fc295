"""Shapes, axes and indices that no one thought of: hypothesis draws them, NumPy and difference quotients judge."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import minigrad as mg
from minigrad.autograd import gradcheck, gradgradcheck

shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
full_shapes = npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3)


def leaf(shape, seed=0):
    return mg.tensor(np.random.default_rng(seed).uniform(0.5, 2, shape), requires_grad=True)


def check(fn, *xs):
    """The value is NumPy's on plain arrays; one projected derivative of each order is the numeric one."""
    y = fn(*xs)
    assert isinstance(y, mg.Tensor)
    expected = fn(*(x.data for x in xs))
    assert y.shape == np.shape(expected)
    assert np.allclose(y.detach(), expected, rtol=1e-12)
    assert gradcheck(fn, xs, fast=True)
    assert gradgradcheck(fn, xs, fast=True)


def axes_of(ndim, draw, flat=True):
    """None, an axis, or several."""
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(st.integers(0, ndim - 1), unique=True, min_size=1).map(tuple)
    return draw(st.one_of(*([st.none()] if flat else []), one, several)) if ndim else None


@pytest.mark.parametrize(
    "op", [np.add, np.multiply, np.divide, np.maximum, np.hypot, np.arctan2, np.power, np.logaddexp]
)
@settings(max_examples=25)
@given(drawn=npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
def test_any_two_shapes_that_broadcast(op, drawn):
    x, y = drawn.input_shapes
    check(op, leaf(x), leaf(y, 1))


@settings(max_examples=25)
@given(drawn=npst.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=3))
def test_where_of_any_three_shapes_that_broadcast(drawn):
    condition, x, y = drawn.input_shapes
    mask = mg.tensor(np.random.default_rng(2).random(condition) < 0.5)
    check(lambda x, y: np.where(mask, x, y), leaf(x), leaf(y, 1))


@pytest.mark.parametrize("op", [np.sum, np.mean, np.max, np.min, np.var, np.prod, np.std])
@settings(max_examples=25)
@given(data=st.data(), shape=full_shapes, keepdims=st.booleans())
def test_reductions_over_any_axes(op, data, shape, keepdims):
    axis = axes_of(len(shape), data.draw)
    if op is np.std:  # of one element it is 0, a kink
        axes = range(len(shape)) if axis is None else np.atleast_1d(axis)
        assume(np.prod([shape[k] for k in axes]) > 1)
    check(lambda x: op(x, axis=axis, keepdims=keepdims), leaf(shape))


@pytest.mark.parametrize("op", [np.cumsum, np.cumprod, np.sort])
@settings(max_examples=25)
@given(data=st.data(), shape=npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
def test_scans_along_any_axis(op, data, shape):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    check(lambda x: op(x, axis=axis), leaf(shape))


@settings(max_examples=100)
@given(data=st.data(), shape=full_shapes)
def test_basic_indices_of_any_form(data, shape):
    key = data.draw(npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    check(lambda x: x[key], leaf(shape))


@settings(max_examples=100)
@given(data=st.data(), shape=full_shapes)
def test_integer_array_indices_of_any_form_and_in_company(data, shape):
    few = npst.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3)
    parts = []
    for n in shape:
        integers = npst.arrays(np.int64, few, elements=st.integers(-n, n - 1))
        lists = st.lists(st.integers(-n, n - 1), min_size=1, max_size=3)
        mask = npst.arrays(np.bool_, n)
        parts.append(
            data.draw(st.one_of(st.integers(-n, n - 1), st.slices(n), integers, lists, lists.map(tuple), mask))
        )
    key = tuple(parts[: data.draw(st.integers(1, len(parts)))])
    x = leaf(shape)
    try:
        x.data[key]
    except IndexError:  # these arrays do not broadcast
        assume(False)
    check(lambda x: x[key], x)


@settings(max_examples=50)
@given(data=st.data(), shape=full_shapes)
def test_boolean_masks_of_any_number_of_axes(data, shape):
    n = data.draw(st.integers(1, len(shape)))
    key = data.draw(npst.arrays(np.bool_, shape[:n]))
    check(lambda x: x[key], leaf(shape))
    check(lambda x: x[mg.tensor(key)] if isinstance(x, mg.Tensor) else x[key], leaf(shape))


@settings(max_examples=50)
@given(data=st.data(), shape=full_shapes)
def test_index_put_and_index_add_at_any_basic_key(data, shape):
    key = data.draw(npst.basic_indices(shape, allow_newaxis=False))
    x, y = leaf(shape), leaf(np.zeros(shape)[key].shape, 1)
    check(lambda x, y: mg.index_put(x, key, y), x, y)
    check(lambda x, y: mg.index_add(x, key, y), x, y)
    assert np.array_equal(mg.index_put(x, key, y).detach()[key], y.detach())


@settings(max_examples=100)
@given(drawn=npst.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=3, min_side=0, max_side=3))
def test_matmul_of_any_batches_matrices_and_vectors(drawn):
    x, y = drawn.input_shapes
    check(np.matmul, leaf(x), leaf(y, 1))


@settings(max_examples=50)
@given(data=st.data(), shape=shapes)
def test_any_transposition(data, shape):
    axes = data.draw(st.permutations(range(len(shape))))
    check(lambda x: np.transpose(x, axes), leaf(shape))
    assume(shape)
    source = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    check(lambda x: np.moveaxis(x, source, axes[: len(source)]), leaf(shape))


@settings(max_examples=50)
@given(data=st.data(), shape=full_shapes)
def test_joining_padding_rolling_and_repeating_along_any_axis(data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = data.draw(st.integers(0, 3))
    other = list(shape)
    other[axis] = n
    x = leaf(shape)
    check(lambda x, y: np.concatenate((x, y, x), axis), x, leaf(other, 1))
    check(lambda x, y: np.stack((x, y), axis), x, leaf(shape, 1))
    check(lambda x: np.roll(x, n, axis), x)
    check(lambda x: np.repeat(x, n, axis), x)
    check(lambda x: np.flip(x, axis), x)
    widths = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=len(shape), max_size=len(shape))
    )
    check(lambda x: np.pad(x, widths), x)
    reps = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple))
    check(lambda x: np.tile(x, reps), x)


@settings(max_examples=100)
@given(data=st.data())
def test_einsum_of_any_letters(data):
    sizes = {"i": 2, "j": 3, "k": 1}
    terms = data.draw(st.lists(st.text("ijk", max_size=3), min_size=1, max_size=3))
    output = data.draw(st.permutations(sorted(set("".join(terms)))))
    subscripts = ",".join(terms) + "->" + "".join(output[: data.draw(st.integers(0, len(output)))])
    xs = [leaf([sizes[c] for c in term], seed) for seed, term in enumerate(terms)]
    check(lambda *xs: np.einsum(subscripts, *xs), *xs)


@settings(max_examples=50)
@given(data=st.data(), shape=full_shapes, other=full_shapes)
def test_tensordot_over_any_pairs_of_axes(data, shape, other):
    n = data.draw(st.integers(0, min(len(shape), len(other))))
    of_a = data.draw(st.permutations(range(len(shape))))[:n]
    of_b = data.draw(st.permutations(range(len(other))))[:n]
    other = list(other)
    for j, k in zip(of_a, of_b):
        other[k] = shape[j]
    check(lambda a, b: np.tensordot(a, b, axes=(of_a, of_b)), leaf(shape), leaf(other, 1))
