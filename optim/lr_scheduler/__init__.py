"""Schedules of the learning rate. Each is a formula: the rate at step t, from the rate ε₀ that the optimizer was given.

    opt = optim.SGD(model.parameters(), lr=0.1)
    scheduler = CosineAnnealingLR(opt, T_max=100)
    for epoch in range(100):
        ...                          # opt.step(...) over the batches
        scheduler.step()

Making a scheduler sets the rate of t = 0, every `step` that of the next t; whether t counts epochs or batches is up to
the caller. Arguments, defaults and values are PyTorch's, but every rate is computed from ε₀, not from the one before.

Public: `LRScheduler`, `StepLR`, `MultiStepLR`, `ExponentialLR`, `CosineAnnealingLR`, `CosineAnnealingWarmRestarts`,
`LambdaLR`, `SequentialLR`, `LinearWarmup`, `ReduceLROnPlateau`, `linear_scaling`, `draw`.
"""

from ..checks import at_least, integer, require
from .composed import LinearWarmup, SequentialLR
from .drawing import draw
from .formulas import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    MultiStepLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler


def linear_scaling(lr: float, batch_size: int, base_batch_size: int) -> float:
    """The rate for a batch k times as large: k times the rate (Goyal et al. 2017). Goes with a warm-up.

    >>> linear_scaling(0.1, batch_size=1024, base_batch_size=256)
    0.4
    """
    require("linear_scaling: lr", lr, at_least(0))
    require("linear_scaling: batch_size", batch_size, integer(1))
    require("linear_scaling: base_batch_size", base_batch_size, integer(1))
    return lr * batch_size / base_batch_size
