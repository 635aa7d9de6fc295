"""Attention: for each query a mean of the values, weighted by how well their keys match.

Public: `scaled_dot_product_attention`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.indexing import plain_key
from .activations import softmax
from .sparse import dropout


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(query keyᵀ · scale + mask) value: ``(..., L, E), (..., S, E), (..., S, V) -> (..., L, V)``.

    Attention as in Vaswani et al. 2017.

    Parameters
    ----------
    attn_mask
        What broadcasts to ``(..., L, S)``: booleans, True where a query may look at a key, or floats that are added. A
        query that may look at nothing gets 0.
    dropout_p
        The share of weights that is dropped.
    is_causal
        Let query i look at keys 0 … i only.
    scale
        1/√E unless said.
    """
    weights = attention_weights(query, key, attn_mask, is_causal, scale)
    return dropout(weights, dropout_p) @ value


def attention_weights(query: Any, key: Any, attn_mask: Any, is_causal: bool, scale: float | None = None) -> Any:
    """How much each query looks at each key: softmax(query keyᵀ · scale + mask), ``(..., L, S)``.

    Raises TypeError for a mask that is neither boolean nor of the scores' dtype, ValueError for shapes that do not fit.
    """
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"attention: queries {query.shape} and keys {key.shape} have different lengths (last axis)")
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.swapaxes(-1, -2)
    values = plain_key(scores)
    if is_causal:
        rows, columns = scores.shape[-2:]
        scores = scores + forbidding(np.arange(rows, like=values)[:, None] >= np.arange(columns, like=values), values)
    if attn_mask is not None:
        boolean = attn_mask.dtype.kind == "b"
        if not boolean and attn_mask.dtype != scores.dtype:
            raise TypeError(f"attention: attn_mask is {attn_mask.dtype}, wanted bool, or {scores.dtype} to be added")
        scores = scores + (forbidding(plain_key(attn_mask), values) if boolean else attn_mask)
    return softmax(scores)


def forbidding(allowed: Any, like: Any) -> Any:
    """What to add to scores: 0 where allowed, elsewhere -inf, of which softmax makes 0."""
    zeros = np.zeros(allowed.shape, like.dtype, like=like)
    return np.where(allowed, zeros, zeros - np.inf)
