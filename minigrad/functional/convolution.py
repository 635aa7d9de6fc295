"""Images seen through windows: convolution and pooling. The windows themselves are in `ops/windows.py`.

Public: `conv1d`, `conv2d`, `conv_transpose2d`, `max_pool2d`, `avg_pool2d`, `adaptive_avg_pool2d`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Tensor
from ..ops import fold, max_pool, unfold
from ..ops.windows import output_size


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """(n, n) of n. Raises ValueError for anything but one or two integers that are large enough."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) != 2 or not all(isinstance(v, int) and v >= least for v in values):
        raise ValueError(f"{name}: wanted an integer >= {least} or a pair of them, got {value!r}")
    return values


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Cross-correlation of images with kernels: ``(N, C, H, W), (O, C/groups, kh, kw), (O,) -> (N, O, oh, ow)``.

    Every window becomes a column (`unfold`), so that the whole convolution is one matrix product. The result is stored
    channels first, behind an (N, O, oh, ow) view: what comes next finds it as it likes it.

    Raises ValueError for shapes that do not fit.
    """
    n, c, _, _ = x.shape if x.ndim == 4 else (0, -1, 0, 0)
    out_channels, per_group, *kernel = weight.shape
    if c != per_group * groups or out_channels % groups:
        raise ValueError(
            f"conv2d: images {x.shape} and kernels {weight.shape} do not fit: wanted (N, C, H, W) and "
            f"(O, C / {groups}, kh, kw), O a multiple of groups={groups}"
        )
    stride, padding = pair(stride, "conv2d: stride", 1), pair(padding, "conv2d: padding", 0)
    dilation = pair(dilation, "conv2d: dilation", 1)
    size = output_size(x.shape, tuple(kernel), stride, padding, dilation)
    columns = unfold(x, tuple(kernel), stride, padding, dilation)
    if groups == 1:
        z = weight.reshape(out_channels, -1) @ columns.reshape(c * kernel[0] * kernel[1], -1)
    else:
        z = weight.reshape(groups, out_channels // groups, -1) @ columns.reshape(groups, -1, n * size[0] * size[1])
    z = z.reshape((out_channels, n, *size))
    if bias is not None:
        z = z + bias.reshape(-1, 1, 1, 1)
    return z.swapaxes(0, 1)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Any:
    """Cross-correlation along one axis: ``(N, C, L), (O, C/groups, k), (O,) -> (N, O, l)``. An image of one row.

    Raises ValueError for shapes that do not fit.
    """
    if x.ndim != 3 or weight.ndim != 3:
        raise ValueError(f"conv1d: wanted (N, C, L) and (O, C / groups, k), got {x.shape} and {weight.shape}")
    row, kernel = x[:, :, None, :], weight[:, :, None, :]
    return conv2d(row, kernel, bias, (1, stride), (0, padding), (1, dilation), groups)[:, :, 0]


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The gradient of `conv2d` as a function: ``(N, C, H, W), (C, O/groups, kh, kw), (O,) -> (N, O, oh, ow)``.

    Every pixel is multiplied by the kernel, and the products are added where they fall (`fold`). With the same weight,
    stride, padding and dilation it takes the result's shape of a `conv2d` back to the image's, oh = s(H - 1) - 2p +
    d(kh - 1) + 1; where several images give that shape, `output_padding` adds what is missing.

    Raises ValueError for shapes that do not fit, and an output_padding that is not below stride or dilation.
    """
    n, c, *size = x.shape if x.ndim == 4 else (0, -1, 0, 0)
    in_channels, per_group, *kernel = weight.shape
    if c != in_channels or in_channels % groups:
        raise ValueError(
            f"conv_transpose2d: images {x.shape} and kernels {weight.shape} do not fit: wanted (N, C, H, W) and "
            f"(C, O / {groups}, kh, kw), C a multiple of groups={groups}"
        )
    s, d = pair(stride, "conv_transpose2d: stride", 1), pair(dilation, "conv_transpose2d: dilation", 1)
    p, more = pair(padding, "conv_transpose2d: padding", 0), pair(output_padding, "conv_transpose2d: output_padding", 0)
    if any(m >= max(a, b) for m, a, b in zip(more, s, d)):
        raise ValueError(f"conv_transpose2d: output_padding {more} is not below stride {s} or dilation {d}")
    h, w = (s[k] * (size[k] - 1) - 2 * p[k] + d[k] * (kernel[k] - 1) + 1 + more[k] for k in (0, 1))
    if min(h, w) < 1:
        raise ValueError(f"conv_transpose2d: padding {p} leaves nothing of images {x.shape} and kernels {weight.shape}")
    pixels = x.swapaxes(0, 1).reshape(groups, c // groups, -1)
    columns = weight.reshape(groups, c // groups, -1).swapaxes(1, 2) @ pixels
    channels = groups * per_group
    z = fold(columns.reshape(channels, *kernel, n, *size), (n, channels, h, w), tuple(kernel), s, p, d)
    return z if bias is None else z + bias.reshape(-1, 1, 1)


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest element of each window, ``(N, C, H, W) -> (N, C, oh, ow)``; of equals the first gets the gradient.

    Raises ValueError for shapes that do not fit, and for a padding of more than half the window.
    """
    kernel, stride, padding = pooling("max_pool2d", kernel_size, stride, padding)
    return max_pool(x, kernel, stride, padding)


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window, the zeros of the padding included: ``(N, C, H, W) -> (N, C, oh, ow)``.

    Raises ValueError as `max_pool2d`.
    """
    kernel, stride, padding = pooling("avg_pool2d", kernel_size, stride, padding)
    return unfold(x, kernel, stride, padding, (1, 1)).mean(axis=(1, 2)).swapaxes(0, 1)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """Means over as many windows as are asked for: ``(N, C, H, W) -> (N, C, oh, ow)``, whatever H and W are.

    Window i of n covers the pixels ⌊iH/n⌋ … ⌈(i+1)H/n⌉ - 1, so that neighbours may share some. Raises ValueError for a
    bad size.
    """
    size = pair(output_size, "adaptive_avg_pool2d: output_size", 1)
    down, across = (means(n, length, x) for n, length in zip(size, x.shape[-2:]))
    return down @ x @ across.T


def means(n: int, length: int, x: Any) -> Any:
    """The matrix that takes a line of pixels to the means of its n windows, in the dtype and the world of x."""
    like = x.data if isinstance(x, Tensor) else x
    matrix = np.zeros((n, length), like.dtype, like=like)
    for i in range(n):
        start, end = i * length // n, -(-(i + 1) * length // n)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def pooling(name: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[tuple[int, int], ...]:
    """The arguments of a pooling as pairs, checked."""
    kernel = pair(kernel_size, f"{name}: kernel_size", 1)
    stride = kernel if stride is None else pair(stride, f"{name}: stride", 1)
    padding = pair(padding, f"{name}: padding", 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: padding {padding} is more than half of the window {kernel}")
    return kernel, stride, padding
