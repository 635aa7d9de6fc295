"""Convolutions and pooling: against their definitions, written as loops, and against each other."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.autograd import gradcheck, gradgradcheck

random = np.random.default_rng(0)


def real(*shape):
    return mg.tensor(random.standard_normal(shape), requires_grad=True)


GEOMETRIES = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"stride": (2, 1), "padding": (0, 1)},
    {"dilation": 2, "padding": 2},
    {"groups": 2},
    {"stride": 2, "padding": 1, "groups": 2},
]


@pytest.mark.parametrize("settings", GEOMETRIES, ids=str)
def test_conv2d_is_the_sum_over_each_window(settings):
    x, w, b = real(2, 4, 6, 5), real(6, 4 // settings.get("groups", 1), 3, 2), real(6)
    pairs = {k: v if isinstance(v, tuple) else (v, v) for k, v in settings.items()}
    (s, t), (p, q), (d, e) = (
        pairs.get(k, v) for k, v in [("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1))]
    )
    groups = settings.get("groups", 1)
    z = F.conv2d(x, w, b, **settings)
    image = np.pad(x.data, ((0, 0), (0, 0), (p, p), (q, q)))
    for n, o, i, j in np.ndindex(z.shape):
        first = o // (6 // groups) * (4 // groups)
        window = image[n, first : first + 4 // groups, i * s : i * s + 2 * d + 1 : d, j * t : j * t + e + 1 : e]
        assert z.data[n, o, i, j] == pytest.approx((window * w.data[o]).sum() + b.data[o])


def test_conv1d_is_numpys_correlation():
    x, w = real(1, 1, 9), real(1, 1, 4)
    assert np.allclose(F.conv1d(x, w).data[0, 0], np.correlate(x.data[0, 0], w.data[0, 0], "valid"))
    assert np.allclose(
        F.conv1d(x, w, stride=2, padding=3).data[0, 0], np.correlate(x.data[0, 0], w.data[0, 0], "full")[::2]
    )


@pytest.mark.parametrize("settings", GEOMETRIES, ids=str)
def test_conv_transpose2d_is_the_adjoint_of_conv2d(settings):
    image = real(2, 4, 7, 7)
    w = real(6, 4 // settings.get("groups", 1), 3, 3)
    y = F.conv2d(image, w, **settings)
    back = F.conv_transpose2d(y.detach(), w, **settings)
    missing = tuple(a - b for a, b in zip(image.shape[2:], back.shape[2:], strict=True))
    back = F.conv_transpose2d(y.detach(), w, output_padding=missing, **settings)
    (expected,) = mg.grad(y, image, y.detach())
    assert np.allclose(back, expected)


def test_conv_transpose2d_spreads_each_pixel_by_the_kernel():
    x = mg.tensor(np.array([[[[1.0, 2.0]]]]))
    w = mg.tensor(np.array([[[[1.0, 10.0], [100.0, 1000.0]]]]))
    assert F.conv_transpose2d(x, w).data.tolist() == [[[[1, 12, 20], [100, 1200, 2000]]]]
    assert F.conv_transpose2d(x, w, stride=2, bias=mg.tensor(np.array([0.5]))).data.tolist() == [
        [[[1.5, 10.5, 2.5, 20.5], [100.5, 1000.5, 200.5, 2000.5]]]
    ]


@pytest.mark.parametrize("size", [1, 3, (2, 5), (7, 1), (9, 8)])
def test_adaptive_average_pooling_takes_the_mean_of_each_window(size):
    x = real(2, 3, 7, 5)
    z = F.adaptive_avg_pool2d(x, size)
    rows, columns = size if isinstance(size, tuple) else (size, size)
    for i, j in np.ndindex(rows, columns):
        window = x.data[:, :, 7 * i // rows : -(-7 * (i + 1) // rows), 5 * j // columns : -(-5 * (j + 1) // columns)]
        assert np.allclose(z.data[:, :, i, j], window.mean(axis=(2, 3)))


@pytest.mark.parametrize(
    ("fn", "shapes"),
    [
        (lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1, groups=2), [(2, 4, 5), (2, 2, 3), (2,)]),
        (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), [(1, 2, 2, 3), (2, 2, 3, 3), (2,)]),
        (lambda x, w, b: F.conv_transpose2d(x, w, b, groups=2, dilation=2), [(1, 2, 2, 2), (2, 1, 2, 2), (2,)]),
        (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(1, 2, 5, 4)]),
    ],
)
def test_first_and_second_derivatives_agree_with_difference_quotients(fn, shapes):
    inputs = tuple(real(*shape) for shape in shapes)
    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs)


def test_float32_stays_float32():
    x, w = mg.ones((1, 2, 4, 4), requires_grad=True), mg.ones((2, 1, 3, 3), requires_grad=True)
    for z in (F.conv_transpose2d(x, w), F.adaptive_avg_pool2d(x, 3), F.conv1d(x[:, :, 0], w[:, :, 0].swapaxes(0, 1))):
        assert z.dtype == np.float32
        assert mg.grad(z.sum(), x)[0].dtype == np.float32


# fmt: off
BAD = [
    (lambda: F.conv1d(mg.zeros((1, 2, 5, 5)), mg.zeros((1, 2, 3))),                             "conv1d"),
    (lambda: F.conv1d(mg.zeros((1, 2, 5)), mg.zeros((1, 3, 3))),                                "do not fit"),
    (lambda: F.conv_transpose2d(mg.zeros((1, 2, 5, 5)), mg.zeros((3, 2, 3, 3))),                "do not fit"),
    (lambda: F.conv_transpose2d(mg.zeros((1, 2, 5, 5)), mg.zeros((2, 2, 3, 3)), output_padding=1), "output_padding"),
    (lambda: F.conv_transpose2d(mg.zeros((1, 2, 1, 1)), mg.zeros((2, 2, 1, 1)), padding=1),     "leaves nothing"),
    (lambda: F.adaptive_avg_pool2d(mg.zeros((1, 2, 5, 5)), 0),                                  "output_size"),
    (lambda: F.adaptive_avg_pool2d(mg.zeros((1, 2, 5, 5)), (1, 2, 3)),                          "output_size"),
]
# fmt: on


@pytest.mark.parametrize(("call", "words"), BAD)
def test_what_does_not_fit_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
