"""Layers that keep some of many: dropout, embeddings.

Public: `Dropout`, `Embedding`.
"""

from __future__ import annotations

from typing import Any

from .. import creation
from .. import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class Dropout(Module):
    """In training each element becomes 0 with probability p, and the others grow by 1 / (1 - p); else x itself."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p = {p}, wanted a probability")
        self.p = p

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Embedding(Module):
    """A learned vector for each of n things: integers ``(...) -> (..., embedding_dim)``.

    `weight` is ``(num_embeddings, embedding_dim)``, standard normal at first. The row of `padding_idx` starts as zeros
    and gets no gradient.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx = {padding_idx}, but there are {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(creation.zeros((num_embeddings, embedding_dim)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial values anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, index: Any) -> Any:
        return F.embedding(index, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
