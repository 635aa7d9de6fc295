"""Some of many: the elements that survive dropout, the rows of a table of embeddings.

Public: `dropout`, `embedding`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..ops.indexing import plain_key


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each element becomes 0 with probability p, and the others are multiplied by 1 / (1 - p) (Srivastava et al. 2014).

    The mean stays what it was, so that nothing is to be done when not training. Raises ValueError for p outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p = {p}, wanted a probability")
    if not training or p == 0:
        return x
    kept = backend.uniform(x.shape, plain_key(x)) >= p  # the mask is an argument of `*`: a constant
    return x * (kept.astype(x.dtype) * (1 / (1 - p) if p < 1 else 0.0))


def embedding(index: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """weight[index]: the rows of a table, ``(...), (n, d) -> (..., d)``.

    Rows taken at `padding_idx` get no gradient. Raises TypeError for indices that are not integers, and on the CPU
    ValueError for one outside 0 … n - 1: on a GPU, which would have to be waited for, such an index wraps around.
    """
    index, n = plain_key(index), weight.shape[0]
    if not backend.is_array(index) or index.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices are integers in a Tensor, got {getattr(index, 'dtype', type(index))}")
    on_host = backend.device_of(index) == "cpu"
    if on_host and index.size and (index.min() < 0 or index.max() >= n):
        raise ValueError(f"embedding: indices are 0 … {n - 1}, got {index.min()} … {index.max()}")
    rows = weight[index]
    if padding_idx is None:
        return rows
    return np.where((index != padding_idx)[..., None], rows, plain_key(rows))
