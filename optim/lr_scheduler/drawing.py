"""A picture of a schedule.

Public: `draw`.
"""

from __future__ import annotations

from typing import Any

from ..checks import integer, require
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler


def draw(scheduler: LRScheduler, steps: int, ax: Any = None, label: str | None = None) -> Any:
    """A picture of the rates from t = 0 on, a line for each group; nothing is stepped.

    Parameters
    ----------
    scheduler
        Any whose rate depends on t alone.
    steps
        How many t.
    ax
        Where to draw, matplotlib's Axes; a new figure if not said.
    label
        For the legend; the scheduler's name if not said.

    Returns
    -------
    The Axes.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        raise TypeError(
            "draw: the rates of ReduceLROnPlateau depend on the metric; draw group['lr'] as it was recorded"
        )
    require("draw: steps", steps, integer(1))
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError("draw: wants matplotlib; install the extra 'plot'") from error
        ax = plt.figure(figsize=(6, 3), layout="constrained").add_subplot(xlabel="step", ylabel="learning rate")
    label = type(scheduler).__name__ if label is None else label
    lines = [scheduler.rates(t, scheduler.base_lrs) for t in range(steps)]
    ax.plot(range(steps), lines, label=[label] * len(scheduler.base_lrs) if len(scheduler.base_lrs) > 1 else label)
    return ax
