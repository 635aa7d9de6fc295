"""Attention with several heads, each of which looks for something else.

Public: `MultiheadAttention`.
"""

from __future__ import annotations

from typing import Any

from .. import creation
from .. import functional as F
from ..functional.attention import attention_weights, forbidding
from ..ops.indexing import plain_key
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter, check_input


class MultiheadAttention(Module):
    """softmax(q kᵀ / √d) v in each of `num_heads` slices of the features (Vaswani et al. 2017).

    ``query (L, N, E), key (S, N, E), value (S, N, E) -> (L, N, E), weights (N, L, S)``; with `batch_first` N is first.
    `in_proj_weight` ``(3E, E)`` holds the projections of queries, keys and values, Xavier uniform at first; `out_proj`
    joins the heads. Biases start as 0. `dropout` is the share of attention weights dropped in training.

    Raises ValueError where `num_heads` does not divide `embed_dim`.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, *, batch_first: bool = False
    ) -> None:
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: num_heads={num_heads} must divide embed_dim={embed_dim}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.in_proj_weight = Parameter(creation.zeros((3 * embed_dim, embed_dim)))
        self.in_proj_bias = Parameter(creation.zeros(3 * embed_dim)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        init.xavier_uniform_(self.in_proj_weight)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Attend.

        Parameters
        ----------
        key_padding_mask
            ``(N, S)``, True for keys that nobody may look at.
        attn_mask
            ``(L, S)`` or ``(N * num_heads, L, S)``: booleans, True where a query may not look (the other way round than
            in `functional.scaled_dot_product_attention`, as in PyTorch), or floats that are added to the scores.
        need_weights, average_attn_weights
            Return the weights, as the mean over heads, or of each, ``(N, heads, L, S)``; else None.
        is_causal
            Let query i look at keys 0 … i only.
        """
        for x in (query, key, value):
            check_input("MultiheadAttention", x, self.in_proj_weight, self.embed_dim)
            if x.ndim != 3:
                raise ValueError(f"MultiheadAttention: wanted inputs with 3 axes, got {x.shape}")
        if not self.batch_first:
            query, key, value = (x.swapaxes(0, 1) for x in (query, key, value))
        q, k, v = (self.heads(x, part) for part, x in enumerate((query, key, value)))
        mask = self.mask(attn_mask, key_padding_mask, (*q.shape[:3], k.shape[2]))
        weights = attention_weights(q, k, mask, is_causal)
        z = F.dropout(weights, self.dropout, self.training) @ v
        z = self.out_proj(z.swapaxes(1, 2).reshape((*query.shape[:2], self.embed_dim)))
        if not self.batch_first:
            z = z.swapaxes(0, 1)
        if not need_weights:
            return z, None
        return z, weights.mean(axis=1) if average_attn_weights else weights

    def heads(self, x: Any, part: int) -> Any:
        """Queries (part 0), keys (1) or values (2) of every head: ``(N, L, E) -> (N, heads, L, E / heads)``.

        Rows of the weight are taken, rather than a third of one large product: its gradient is the smaller array.
        """
        e = self.embed_dim
        rows = slice(part * e, (part + 1) * e)
        z = F.linear(x, self.in_proj_weight[rows], None if self.in_proj_bias is None else self.in_proj_bias[rows])
        return z.reshape((*x.shape[:2], self.num_heads, e // self.num_heads)).swapaxes(1, 2)

    def mask(self, attn_mask: Any, key_padding_mask: Any, shape: tuple[int, ...]) -> Any:
        """Both masks as one that is added to scores of this shape, ``(N, heads, L, S)``; None if there is neither."""
        n, heads, length, keys = shape
        added = []
        if attn_mask is not None:
            added.append(attn_mask.reshape((n, heads, length, keys)) if attn_mask.ndim == 3 else attn_mask)
        if key_padding_mask is not None:
            added.append(key_padding_mask.reshape((n, 1, 1, keys)))
        like = self.in_proj_weight.data
        added = [forbidding(~plain_key(mask), like) if mask.dtype.kind == "b" else mask for mask in added]
        return sum(added[1:], start=added[0]) if added else None

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"
