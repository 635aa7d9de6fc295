"""Layers that mix features: weighted sums.

Public: `Linear`, `Flatten`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import creation
from .. import functional as F
from . import init
from .module import Module
from .parameter import Parameter, check_input


class Linear(Module):
    """x Wᵀ + b: ``(..., in_features) -> (..., out_features)``; `weight` is ``(out_features, in_features)``.

    Both start uniform in ±1/√in_features, as PyTorch's.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(creation.zeros((out_features, in_features)))
        self.bias = Parameter(creation.zeros(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial values anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Any:
        check_input("Linear", x, self.weight, self.in_features)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` made one: ``(N, C, H, W) -> (N, C * H * W)``."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        start, end = self.start_dim % x.ndim, self.end_dim % x.ndim
        if start > end:
            raise ValueError(f"Flatten: start_dim={self.start_dim} comes after end_dim={self.end_dim} in {x.shape}")
        return x.reshape((*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
