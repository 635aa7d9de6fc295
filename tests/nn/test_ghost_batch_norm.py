"""Ghost batch norm: BatchNorm on each virtual batch, one after another."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.autograd import gradcheck, gradgradcheck

random = np.random.default_rng(0)
KINDS = [(nn.GhostBatchNorm1d, nn.BatchNorm1d, (7, 3)), (nn.GhostBatchNorm2d, nn.BatchNorm2d, (7, 3, 2, 4))]


@pytest.mark.parametrize(("ghost", "plain", "shape"), KINDS)
def test_in_training_it_is_batch_norm_on_each_virtual_batch(ghost, plain, shape):
    x = mg.tensor(random.standard_normal(shape), requires_grad=True)
    g, b = ghost(3, 3).to(np.float64), plain(3).to(np.float64)
    for layer in (g, b):
        layer.weight.data[:] = [1.0, 2.0, 3.0]
    if len(shape) == 2:
        x = x[:6]  # a last piece of one example has no variance
    z = g(x)
    pieces = [b(x[i : i + 3]) for i in range(0, len(x), 3)]
    assert np.allclose(z, mg.concatenate(pieces), rtol=1e-13)
    for name, value in b.state_dict().items():
        assert np.allclose(g.state_dict()[name], value), name


def test_running_statistics_are_the_sum_of_the_paper():
    x = mg.tensor(random.standard_normal((8, 2)))
    layer = nn.GhostBatchNorm1d(2, 2, momentum=0.3).to(np.float64)
    layer(x)
    means = x.data.reshape(4, 2, 2).mean(axis=1)
    expected = sum(0.3 * 0.7 ** (3 - i) * mean for i, mean in enumerate(means))  # it starts at 0
    assert np.allclose(layer.running_mean, expected)
    assert layer.num_batches_tracked.item() == 4


@pytest.mark.parametrize(("ghost", "plain", "shape"), KINDS)
def test_in_evaluation_and_for_small_batches_it_is_batch_norm(ghost, plain, shape):
    x = mg.tensor(random.standard_normal(shape))
    g, b = ghost(3, 100).to(np.float64), plain(3).to(np.float64)
    assert np.array_equal(g(x), b(x))
    g.virtual_batch_size = 2
    assert np.array_equal(g.eval()(x), b.eval()(x))


def test_first_and_second_derivatives_agree_with_difference_quotients():
    layer = nn.GhostBatchNorm1d(2, 3).to(np.float64)
    x = mg.tensor(random.standard_normal((6, 2)), requires_grad=True)
    with nn.freeze_statistics():
        assert gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))
        assert gradgradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def test_statistics_stay_under_freeze_statistics():
    layer = nn.GhostBatchNorm1d(3, 2)
    with nn.freeze_statistics():
        layer(mg.randn(6, 3))
    assert layer.num_batches_tracked.item() == 0


def test_bad_sizes_are_refused():
    for size in (0, -1, 2.5):
        with pytest.raises(ValueError, match="virtual_batch_size"):
            nn.GhostBatchNorm1d(3, size)
    with pytest.raises(ValueError, match="one value per channel"):
        nn.GhostBatchNorm1d(3, 1)(mg.randn(5, 3))
    layer = nn.GhostBatchNorm1d(3, 2)
    with pytest.raises(ValueError, match="5 examples .* one value per channel"):
        layer(mg.randn(5, 3))
    assert layer.num_batches_tracked.item() == 0


def test_it_says_what_it_is():
    assert "virtual_batch_size=2" in repr(nn.GhostBatchNorm1d(3, 2))
