"""New Tensors out of nothing: constants, ranges, random numbers.

Public: `zeros`, `ones`, `full`, `arange`, `eye`, `randn`, `rand`. Floats are `default_dtype` (float32) unless said;
random numbers come from the one stream that `manual_seed` starts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backend
from .tensor import Tensor, tensor

Shape = int | tuple[int, ...]


def _made(array: Any, dtype: Any, requires_grad: bool, device: str | None) -> Tensor:
    if isinstance(dtype, int):
        raise TypeError(f"got {dtype} for a dtype; a shape is one argument: mg.zeros((2, 3))")
    if dtype is None and array.dtype == np.float64:
        dtype = backend.default_dtype()
    return tensor(array, dtype, requires_grad, device)


def zeros(shape: Shape, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """A Tensor of zeros."""
    return _made(np.zeros(shape), dtype, requires_grad, device)


def ones(shape: Shape, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """A Tensor of ones."""
    return _made(np.ones(shape), dtype, requires_grad, device)


def full(
    shape: Shape, fill_value: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """A Tensor of one value."""
    return _made(np.full(shape, fill_value), dtype, requires_grad, device)


def arange(*bounds: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """`arange(stop)`, `arange(start, stop)` or `arange(start, stop, step)`, as `numpy.arange`; of integers, int64."""
    return _made(np.arange(*bounds), dtype, requires_grad, device)


def eye(
    n: int, m: int | None = None, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """The (n, m) matrix with ones on its diagonal."""
    return _made(np.eye(n, m), dtype, requires_grad, device)


def randn(*shape: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """Standard normal numbers: `randn(2, 3)` or `randn((2, 3))`.

    >>> import minigrad as mg
    >>> mg.manual_seed(0)
    >>> mg.randn(2)
    tensor([ 0.12573022, -0.13210486], dtype=float32, device='cpu')
    """
    return _made(backend.generator().standard_normal(_shape(shape)), dtype, requires_grad, device)


def rand(*shape: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """Numbers uniform in [0, 1): `rand(2, 3)` or `rand((2, 3))`."""
    return _made(backend.generator().random(_shape(shape)), dtype, requires_grad, device)


def _shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
