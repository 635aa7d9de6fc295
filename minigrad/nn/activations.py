"""Activations as layers; the functions are in `functional`.

Public: `Identity`, `ReLU`, `Sigmoid`, `Tanh`, `Softmax`, `LogSoftmax`.
"""

from __future__ import annotations

from typing import Any

from .. import functional
from .module import Module


class Identity(Module):
    """x itself."""

    def forward(self, x: Any) -> Any:
        return x


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return functional.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Any:
        return functional.sigmoid(x)


class Tanh(Module):
    """tanh x."""

    def forward(self, x: Any) -> Any:
        return functional.tanh(x)


class Softmax(Module):
    """exp(x) / Σ exp(x) along the axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return functional.softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """log of `Softmax`, without overflow."""

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(x, axis=self.dim)
