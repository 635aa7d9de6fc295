"""What one does to all gradients or all parameters at once.

Public: `clip_grad_norm_`, `clip_grad_value_`, `parameters_to_vector`, `vector_to_parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend
from ..ops import concatenate, reshape
from ..tensor import Tensor


def gradients(parameters: Tensor | Iterable[Tensor]) -> list[Any]:
    """The arrays of the gradients that are there."""
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad.data for p in parameters if p.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor, so that their norm, as one long vector, is at most `max_norm` (in place).

    A GPU is not waited for, unless by `error_if_nonfinite`, once.

    Parameters
    ----------
    norm_type
        p of the p-norm (Σ |g|ᵖ)^(1/p); `math.inf` for the largest element.
    error_if_nonfinite
        Raise RuntimeError where the norm is NaN or inf, before anything is changed. Otherwise such a norm makes every
        gradient NaN or 0, as in PyTorch.

    Returns
    -------
    The norm from before.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> p = mg.zeros(2, requires_grad=True)
    >>> p.grad = mg.tensor([3.0, 4.0])
    >>> nn.utils.clip_grad_norm_(p, max_norm=1.0).item()
    5.0
    >>> p.grad.data.round(5).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    if not max_norm >= 0 or not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: max_norm = {max_norm}, wanted >= 0; norm_type = {norm_type}, wanted > 0")
    grads = gradients(parameters)
    if not grads:
        return Tensor(np.zeros((), backend.default_dtype()))
    if norm_type == math.inf:
        norm = np.stack([np.absolute(g).max() for g in grads]).max()
    else:
        norm = np.stack([(np.absolute(g) ** norm_type).sum() for g in grads]).sum() ** (1 / norm_type)
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}, so they cannot be clipped")
    factor = np.minimum(max_norm / (norm + 1e-6), 1.0)
    for g in grads:
        g *= factor
    return Tensor(backend.as_array(norm))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold every element of every gradient within ±clip_value (in place)."""
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value = {clip_value}, wanted a number >= 0")
    for g in gradients(parameters):
        g[...] = np.clip(g, -clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after the other as one vector, on the record: its gradient flows back to them."""
    return concatenate([reshape(p, -1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write a vector's elements into the parameters, in place. Raises ValueError where their numbers differ."""
    parameters = [*parameters]
    sizes = [p.size for p in parameters]
    if vec.shape != (sum(sizes),):
        raise ValueError(f"vector_to_parameters: got shape {vec.shape}, the parameters have {sum(sizes)} elements")
    start = 0
    for p, size in zip(parameters, sizes):
        p.data[...] = vec.data[start : start + size].reshape(p.shape)
        p.mark_changed()
        start += size
