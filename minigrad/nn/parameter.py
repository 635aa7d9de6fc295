"""What a module learns, and what its layers ask of their input.

Public: `Parameter`.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor, tensor


class Parameter(Tensor):
    """A Tensor that a Module learns: it needs a gradient, and `Module.parameters` finds it.

    Shares the data of a Tensor, copies an array or a list.

    >>> from minigrad import nn
    >>> nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else tensor(data).data)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def check_input(layer: str, x: Any, weight: Tensor, features: int | None = None) -> None:
    """Refuse an input that is no Tensor of the weight's dtype, or whose last axis has another length than `features`.

    scikit-learn's arrays are float64: computing on in silence would make everything that follows float64.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        raise TypeError(f"{layer}: the input is {type(x).__name__}, wanted a Tensor: mg.tensor(x)")
    if dtype != weight.dtype:
        other = f", or module.to(np.{dtype}) for a network in {dtype}" if dtype.kind == "f" else ""
        raise TypeError(
            f"{layer}: the input is {dtype}, the weight {weight.dtype}; use x.astype(np.{weight.dtype}){other}"
        )
    if features is not None and x.shape[-1:] != (features,):
        raise ValueError(f"{layer}: wanted an input of shape (..., {features}), got {x.shape}")
