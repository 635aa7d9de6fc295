"""Layers that normalize: by the batch, with running statistics for later, or each example by itself.

Public: `BatchNorm1d`, `BatchNorm2d`, `GhostBatchNorm1d`, `GhostBatchNorm2d`, `LayerNorm`, `freeze_statistics`,
`share_statistics`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import creation, ops
from .. import functional as F
from ..ops.indexing import plain_key
from ..tensor import Tensor
from .module import Module
from .parameter import Parameter, check_input


class Statistics(threading.local):
    """Are running statistics left alone, and which function sums over all that share a batch, in this thread?"""

    frozen = False
    total: Any = None


statistics = Statistics()


@contextlib.contextmanager
def freeze_statistics() -> Iterator[None]:
    """Inside, batch norm leaves its running statistics alone, also in training mode.

    For a second forward pass over a batch that was counted already, as in sharpness-aware minimization (SAM).
    """
    before, statistics.frozen = statistics.frozen, True
    try:
        yield
    finally:
        statistics.frozen = before


@contextlib.contextmanager
def share_statistics(total: Any) -> Iterator[None]:
    """Inside, batch norm takes its statistics over all processes that have a part of the batch.

    `total` sums an array, or a Tensor on the record, over them; None is each part by its own. Layers over virtual
    batches stay as they are: those are parts already.
    """
    before, statistics.total = statistics.total, total
    try:
        yield
    finally:
        statistics.total = before


class BatchNorm(Module):
    """What `BatchNorm1d` and `BatchNorm2d` share (Ioffe & Szegedy 2015).

    In training each channel is normalized by the mean and variance that it has in the batch, in evaluation by their
    running means. Those move a share `momentum` towards every batch's, the variance unbiased; ``momentum=None`` makes
    them the plain mean over all batches. Without `track_running_stats` the batch's own serve always; without `affine`
    there is no weight and no bias, without `bias` no bias.
    """

    axes: tuple[int, ...] = ()  # how many an input may have
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(creation.ones(num_features)) if affine else None
        self.bias = Parameter(creation.zeros(num_features)) if affine and bias else None
        tracked = track_running_stats
        self.register_buffer("running_mean", creation.zeros(num_features) if tracked else None)
        self.register_buffer("running_var", creation.ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", creation.zeros((), np.int64) if tracked else None)

    def forward(self, x: Any) -> Any:
        if x.ndim not in self.axes or x.shape[1] != self.num_features:
            wanted = " or ".join(str(("N", self.num_features, "L", "W")[:n]) for n in self.axes)
            raise ValueError(f"{type(self).__name__}: wanted an input of shape {wanted}, got {x.shape}")
        mine = self.running_mean if self.weight is None else self.weight
        if mine is not None:
            check_input(type(self).__name__, x, mine)
        by_batch, learns = self.training or self.running_mean is None, self.training and not statistics.frozen
        if by_batch and statistics.total is not None:
            mean, var, n = F.moments(x, statistics.total)
            z = F.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
            if learns:
                self.track(plain_key(mean), plain_key(var), plain_key(n))
            return z
        z = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, eps=self.eps)
        if learns:
            array, axes = plain_key(x), (0, *range(2, x.ndim))
            self.track(array.mean(axis=axes), array.var(axis=axes), x.size // self.num_features)
        return z

    def track(self, mean: Any, var: Any, n: Any) -> None:
        """Move the running statistics towards those of a batch of n values in each channel. A GPU is not waited for."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.data += 1
        share = 1 / self.num_batches_tracked.data.astype(mean.dtype) if self.momentum is None else self.momentum
        self.running_mean.data += share * (mean - self.running_mean.data)
        self.running_var.data += share * (var * (n / (n - 1)) - self.running_var.data)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(BatchNorm):
    """Each feature normalized over the batch: ``(N, C)`` or ``(N, C, L)``. Arguments: see `BatchNorm`."""

    axes = (2, 3)


class BatchNorm2d(BatchNorm):
    """Each channel of images normalized over the batch: ``(N, C, H, W)``. Arguments: see `BatchNorm`."""

    axes = (4,)


class GhostBatchNorm(BatchNorm):
    """What `GhostBatchNorm1d` and `GhostBatchNorm2d` share: batch norm over small virtual batches inside a large one.

    In training a batch is cut into pieces of `virtual_batch_size` (the last may be smaller), and each is normalized as
    if it had come alone, so that a large batch keeps the noise of small ones. The running statistics move once for
    every piece, in turn: after n of them μ is (1 - η)ⁿ μ + Σᵢ η (1 - η)ⁿ⁻ⁱ μᵢ with η the momentum. In evaluation it
    is `BatchNorm`.

    Hoffer, Hubara, Soudry, Train longer, generalize better: closing the generalization gap in large batch training of
    neural networks, 2017, algorithm 1 (whose exponents are read as those of one update after another).

    Raises ValueError for a virtual batch size below 1, and where a piece has one value per channel.
    """

    def __init__(self, num_features: int, virtual_batch_size: int, *arguments: Any, **named: Any) -> None:
        if not isinstance(virtual_batch_size, int) or virtual_batch_size < 1:
            raise ValueError(
                f"{type(self).__name__}: virtual_batch_size = {virtual_batch_size!r}, wanted an integer >= 1"
            )
        super().__init__(num_features, *arguments, **named)
        self.virtual_batch_size = virtual_batch_size

    def forward(self, x: Any) -> Any:
        size = self.virtual_batch_size
        if not self.training or len(x) <= size:
            with share_statistics(None):
                return super().forward(x)
        rest = len(x) % size
        if rest and x[-rest:].size == self.num_features:
            raise ValueError(
                f"{type(self).__name__}: of {len(x)} examples a piece with one value per channel is left over"
            )
        with share_statistics(None):
            pieces = [super(GhostBatchNorm, self).forward(x[i : i + size]) for i in range(0, len(x), size)]
        return ops.concatenate(pieces)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, virtual_batch_size={self.virtual_batch_size}"


class GhostBatchNorm1d(GhostBatchNorm):
    """`BatchNorm1d` over virtual batches: ``(N, C)`` or ``(N, C, L)``. Arguments: see `GhostBatchNorm`, `BatchNorm`."""

    axes = (2, 3)


class GhostBatchNorm2d(GhostBatchNorm):
    """`BatchNorm2d` over virtual batches: ``(N, C, H, W)``. Arguments: see `GhostBatchNorm`, `BatchNorm`."""

    axes = (4,)


class LayerNorm(Module):
    """Each example normalized over its last axes, `normalized_shape` (Ba et al. 2016)."""

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
    ) -> None:
        single = isinstance(normalized_shape, int)
        self.normalized_shape: tuple[int, ...] = (normalized_shape,) if single else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(creation.ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = Parameter(creation.zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        if self.weight is not None:
            check_input("LayerNorm", x, self.weight)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"
