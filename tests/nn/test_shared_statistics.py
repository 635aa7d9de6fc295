"""Batch norm whose batch is shared with others; here with one other that has the same part, so that every sum doubles."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.autograd import gradcheck, gradgradcheck
from minigrad.nn import functional as F


def doubled(x):
    return 2 * x


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (2, 3, 2, 3)])
def test_moments_are_those_of_both_parts(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    whole = np.concatenate([x, x])
    axes = (0, *range(2, x.ndim))
    mean, var, n = F.moments(x, doubled)
    np.testing.assert_allclose(mean, whole.mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(var, whole.var(axis=axes), rtol=1e-12)
    assert n == whole.size // 3


def test_the_layer_normalizes_a_part_by_the_whole_and_learns_the_wholes_statistics():
    x = np.random.default_rng(1).standard_normal((5, 3))
    parted, plain = nn.BatchNorm1d(3).to(np.float64), nn.BatchNorm1d(3).to(np.float64)
    sums = []

    def counted(x):
        sums.append(x)
        return 2 * x

    with nn.share_statistics(counted):
        z = parted(mg.tensor(x))
    whole = plain(mg.tensor(np.concatenate([x, x])))
    np.testing.assert_allclose(z.data, whole.data[:5], rtol=1e-12)
    for found, wanted in zip(parted.buffers(), plain.buffers(), strict=True):
        np.testing.assert_allclose(found.data, wanted.data, rtol=1e-12)
    assert len(sums) == 2  # of values with their count, and of squared distances


def test_what_flows_through_shared_statistics_has_derivatives_of_both_orders():
    rng = np.random.default_rng(2)
    x, w = mg.tensor(rng.standard_normal((3, 2)), requires_grad=True), mg.tensor(rng.standard_normal((3, 2)))

    def normalized(x):
        mean, var, _ = F.moments(x, doubled)
        return (w * F.batch_norm(x, mean, var)).sum()

    assert gradcheck(normalized, x)
    assert gradgradcheck(normalized, x)


def test_ghost_batches_and_what_comes_after_keep_to_themselves():
    ghost = nn.GhostBatchNorm1d(2, 2)
    x = mg.tensor(np.random.default_rng(3).standard_normal((4, 2)).astype(np.float32))

    def refused(x):
        raise AssertionError("asked for the others")

    with nn.share_statistics(refused):
        ghost(x)
        ghost(x[:2])
        ghost.eval()(x)
    nn.BatchNorm1d(2)(x)
