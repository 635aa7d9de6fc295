"""The table, windows: what a kernel sees of an image, and the largest element of each window.

`unfold` copies every window of an image into a column, `fold` adds columns back to where they came from: each is the
other's gradient, and a convolution is a matrix product between them (`functional.conv2d`). Images are (N, C, H, W); the
columns are (C, kh, kw, N, oh, ow), so that the product needs no transposed copy and its result is an image again,
stored channels first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engine import op

Pair = tuple[int, int]
Shape = tuple[int, ...]


def output_size(shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> Pair:
    """How many windows fit: ⌊(n + 2p - d(k - 1) - 1) / s⌋ + 1 along each axis. Raises ValueError where none does."""
    axes = zip(shape[2:], kernel, stride, padding, dilation)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    if len(shape) != 4 or min(size) < 1:
        raise ValueError(f"images of shape (N, C, H, W) = {shape} have no window of {kernel} with padding {padding}")
    return size[0], size[1]


def offsets(kernel: Pair, stride: Pair, dilation: Pair, size: Pair) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """For each element (i, j) of the kernel, the pixels of an image that it meets, as a key."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + stride[0] * (size[0] - 1) + 1, stride[0])
            yield i, j, (..., rows, slice(left, left + stride[1] * (size[1] - 1) + 1, stride[1]))


def framed(x: Any, padding: Pair, value: float = 0.0) -> Any:
    """Images with a frame of one value, stored channels first."""
    if padding == (0, 0):
        return x
    n, c, h, w = x.shape
    (p, q), out = padding, np.empty((c, n, h + 2 * padding[0], w + 2 * padding[1]), x.dtype, like=x)
    out.fill(value)
    out[:, :, p : p + h, q : q + w] = x.swapaxes(0, 1)
    return out.swapaxes(0, 1)


def _unfold(x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """Every window of every image: ``(N, C, H, W) -> (C, kh, kw, N, oh, ow)``."""
    size = output_size(x.shape, kernel, stride, padding, dilation)
    images = framed(x, padding).swapaxes(0, 1)
    z = np.empty((x.shape[1], *kernel, x.shape[0], *size), x.dtype, like=x)
    for i, j, pixels in offsets(kernel, stride, dilation, size):
        z[:, i, j] = images[pixels]
    return z


def _fold(y: Any, shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """Windows added back to images of a shape: ``(C, kh, kw, N, oh, ow) -> (N, C, H, W)``, stored channels first."""
    (n, c, h, w), (p, q) = shape, padding
    z = np.zeros((c, n, h + 2 * p, w + 2 * q), y.dtype, like=y)
    for i, j, pixels in offsets(kernel, stride, dilation, (y.shape[4], y.shape[5])):
        z[pixels] += y[:, i, j]
    return z[:, :, p : p + h, q : q + w].swapaxes(0, 1)


def _max_pool2d(x: Any, kernel: Pair, stride: Pair, padding: Pair) -> Any:
    """The largest element of every window: ``(N, C, H, W) -> (N, C, oh, ow)``."""
    size = output_size(x.shape, kernel, stride, padding)
    images = framed(x, padding, -np.inf)
    views = [images[pixels] for _, _, pixels in offsets(kernel, stride, (1, 1), size)]
    z = views[0].copy(order="K")
    for view in views[1:]:
        np.maximum(z, view, out=z)
    return z


def winners(x: Any, top: Any, kernel: Pair, stride: Pair, padding: Pair) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """For each element of the kernel, its pixels, and where they are the first to equal their window's maximum, `top`.

    k² strided comparisons; `argmax` over copied windows took twice as long over the whole step of a CNN.
    """
    images = framed(x, padding, -np.inf)
    free = ~np.zeros(top.shape, bool, like=top)
    for _, _, pixels in offsets(kernel, stride, (1, 1), top.shape[2:]):
        won = (images[pixels] == top) & free
        free ^= won
        yield pixels, won


def _to_winners(y: Any, x: Any, top: Any, kernel: Pair, stride: Pair, padding: Pair) -> Any:
    """Each window's value of y added to the pixel that won it: ``(N, C, oh, ow) -> (N, C, H, W)``."""
    (n, c, h, w), (p, q) = x.shape, padding
    out = np.zeros((c, n, h + 2 * p, w + 2 * q), y.dtype, like=y).swapaxes(0, 1)
    for pixels, won in winners(x, top, kernel, stride, padding):
        out[pixels] += y * won
    return out[:, :, p : p + h, q : q + w]


def _of_winners(y: Any, x: Any, top: Any, kernel: Pair, stride: Pair, padding: Pair) -> Any:
    """The value that y has at the pixel that won each window: ``(N, C, H, W) -> (N, C, oh, ow)``."""
    images = framed(y, padding)
    out = np.zeros(top.shape, y.dtype, like=y)
    for pixels, won in winners(x, top, kernel, stride, padding):
        out += images[pixels] * won
    return out


fold: Callable[..., Any]  # each of these pairs needs the other
to_winners: Callable[..., Any]
of_winners: Callable[..., Any]
# fmt: off
unfold     = op(_unfold, x=lambda g, x_shape, kernel, stride, padding, dilation:
                           fold(g, x_shape, kernel, stride, padding, dilation))
fold       = op(_fold,   y=lambda g, kernel, stride, padding, dilation:
                           unfold(g, kernel, stride, padding, dilation))
max_pool   = op(_max_pool2d, x=lambda g, x, z, kernel, stride, padding:
                               to_winners(g, x, z, kernel, stride, padding))
to_winners = op(_to_winners, y=lambda g, x, top, kernel, stride, padding:
                               of_winners(g, x, top, kernel, stride, padding))
of_winners = op(_of_winners, y=lambda g, x, top, kernel, stride, padding:
                               to_winners(g, x, top, kernel, stride, padding))
# fmt: on
