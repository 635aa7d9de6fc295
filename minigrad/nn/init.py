"""Initial values of parameters, written in place; the names, arguments and distributions are PyTorch's.

A layer with weights of variance σ² multiplies the variance of what passes forward by σ² fan_in, and that of gradients
passing back by σ² fan_out. Xavier's σ keeps the two near 1 together, Kaiming's the one that is asked for, with `gain`
making up for what the activation takes away.

Public: `uniform_`, `normal_`, `constant_`, `zeros_`, `ones_`, `xavier_uniform_`, `xavier_normal_`, `kaiming_uniform_`,
`kaiming_normal_`, `orthogonal_`, `calculate_gain`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor


def fill(tensor: Tensor, values: Any) -> Tensor:
    """Write values into a Tensor, in its dtype and on its device, and say that it has changed."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"nn.init: wanted a Tensor or Parameter, got {type(tensor).__name__}")
    tensor.data[...] = backend.to_device(np.asarray(values, tensor.dtype), tensor.device)
    tensor.mark_changed()
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in [a, b)."""
    return fill(tensor, a + (b - a) * backend.generator().random(tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal, with this mean and standard deviation."""
    return fill(tensor, mean + std * backend.generator().standard_normal(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    return fill(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return fill(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return fill(tensor, 1.0)


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output sums, and how many outputs an input reaches; weights are ``(out, in, kh, kw)``."""
    if tensor.ndim < 2:
        raise ValueError(f"nn.init: a tensor of shape {tensor.shape} has no fan in and fan out; wanted 2 axes or more")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What makes up for an activation: √2 for relu, √(2 / (1 + slope²)) for leaky_relu, 5/3 for tanh, ¾ for selu.

    `param` is the slope of leaky_relu, 0.01 unless said. Raises ValueError for an unknown name.
    """
    gains = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: got {nonlinearity!r}, wanted one of {[*gains, 'leaky_relu']}")
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(-a, a) with a = gain √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, σ²) with σ = gain √(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))))


def kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """gain / √fan (He et al. 2015)."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"nn.init: mode is 'fan_in' or 'fan_out', got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """U(-b, b) with b = gain √(3 / fan) (He et al. 2015); `a` is the slope of leaky_relu."""
    bound = math.sqrt(3) * kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """N(0, σ²) with σ = gain / √fan (He et al. 2015); `a` is the slope of leaky_relu."""
    return normal_(tensor, 0.0, kaiming_std(tensor, a, mode, nonlinearity))


def orthogonal_(tensor: Tensor, gain: float = 1) -> Tensor:
    """A random orthogonal matrix times gain (Saxe et al. 2014); the axes after the first are flattened into one.

    The shorter of rows and columns is orthonormal. Q of a QR decomposition is uniform only with the signs of R's
    diagonal multiplied in.
    """
    fans(tensor)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(backend.generator().standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r))
    return fill(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape))
