"""Images seen through windows: convolution and pooling. The windows themselves are in `ops/windows.py`.

Public: `conv2d`, `max_pool2d`, `avg_pool2d`.
"""

from __future__ import annotations

from typing import Any

from ..ops import max_pool, unfold
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


def pooling(name: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[tuple[int, int], ...]:
    """The arguments of a pooling as pairs, checked."""
    kernel = pair(kernel_size, f"{name}: kernel_size", 1)
    stride = kernel if stride is None else pair(stride, f"{name}: stride", 1)
    padding = pair(padding, f"{name}: padding", 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: padding {padding} is more than half of the window {kernel}")
    return kernel, stride, padding
