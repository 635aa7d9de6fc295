"""Layers that look at images through windows.

Public: `Conv2d`, `MaxPool2d`, `AvgPool2d`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import creation
from .. import functional as F
from ..functional.convolution import pair, pooling
from . import init
from .module import Module
from .parameter import Parameter, check_input


class Conv2d(Module):
    """Cross-correlation with learned kernels: ``(N, in_channels, H, W) -> (N, out_channels, oh, ow)``.

    `weight` is ``(out_channels, in_channels / groups, kh, kw)``. It and the bias start uniform in ±1/√fan_in.
    Raises ValueError for channels that `groups` does not divide, and for sizes below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} must divide {in_channels} and {out_channels} channels")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "Conv2d: kernel_size", 1)
        self.stride, self.dilation = pair(stride, "Conv2d: stride", 1), pair(dilation, "Conv2d: dilation", 1)
        self.padding = pair(padding, "Conv2d: padding", 0)
        self.weight = Parameter(creation.zeros((out_channels, in_channels // groups, *self.kernel_size)))
        self.bias = Parameter(creation.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial values anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Any:
        check_input("Conv2d", x, self.weight)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        options = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        text += "".join(
            f", {name}={getattr(self, name)}" for name, usual in options.items() if getattr(self, name) != usual
        )
        return text + (", bias=False" if self.bias is None else "")


class Pool2d(Module):
    """What the poolings share: a window, how far it moves (by its own size unless said), zeros around the image."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        pooling(type(self).__name__, kernel_size, stride, padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(Pool2d):
    """The largest element of each window: ``(N, C, H, W) -> (N, C, oh, ow)``. `stride` is `kernel_size` unless said."""

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(Pool2d):
    """The mean of each window: ``(N, C, H, W) -> (N, C, oh, ow)``. `stride` is `kernel_size` unless said."""

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)
