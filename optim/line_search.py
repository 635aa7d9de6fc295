"""How far to go: the strong Wolfe line search, one for all methods that ask.

Along a direction d that leads downhill, φ(t) = f(x + td) falls at first. A step t is good (Wolfe 1969) where it

    φ(t) ≤ φ(0) + c₁ t φ'(0)         has made the loss fall as much as the slope promised, up to a factor, and
    |φ'(t)| ≤ c₂ |φ'(0)|             has come to where the slope is less: it was not cut short, nor went too far.

The second makes yᵀs > 0 for s = td and y the change of the gradient, which quasi-Newton methods live on.

Public: `strong_wolfe`, `Point`, and for those who write a method, `searcher`, `require_downhill`, `LINE_SEARCH`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .checks import Rule

# (f, x, d, t, loss, g, max_evaluations) -> t, loss and gradient at x + td
Search = Callable[..., tuple[float, float, Any]]
LINE_SEARCH: Rule = (lambda s: s in (None, "strong_wolfe") or callable(s), "None, 'strong_wolfe' or a function")


class Point(NamedTuple):
    """A place on the line: the step t, φ(t), the gradient there, and φ'(t)."""

    t: float
    loss: float
    g: Any
    slope: float


def strong_wolfe(
    f: Callable[[Any], tuple[float, Any]],
    x: Any,
    d: Any,
    t: float,
    loss: float,
    g: Any,
    max_evaluations: int = 25,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
) -> tuple[float, float, Any]:
    """A step along d that fulfils the strong Wolfe conditions, or the best one found.

    First steps grow until one has passed a good one; then the interval in which a good one must lie shrinks. Both guess
    by the minimum of the cubic that has the values and slopes at two points.

    Parameters
    ----------
    f
        Gives the loss and its gradient at a point.
    x, d
        Where the line begins, and its direction: ``(n,)``.
    t
        The first step to try.
    loss, g
        f(x).
    max_evaluations
        After the first, so many more calls of f.
    c1, c2
        Of the conditions, 0 < c₁ < c₂ < 1.
    tolerance_change
        An interval in which no element of x can change by more is not searched further.

    Returns
    -------
    (t, loss, g)
        The step, and f(x + td). Where no step made the loss fall, t is 0.

    Raises
    ------
    ValueError
        Where d does not lead downhill.

    References
    ----------
    Nocedal, Wright, Numerical optimization, 2006, algorithms 3.5 and 3.6, with the safeguards of Schmidt's minFunc, as
    in PyTorch's LBFGS, whose path this follows. Here a trial where the loss is not finite halves the step.

    Examples
    --------
    >>> import numpy as np
    >>> f = lambda x: (float(x @ x), 2 * x)
    >>> x, d = np.array([3.0, 4.0]), np.array([-3.0, -4.0])
    >>> strong_wolfe(f, x, d, 0.01, *f(x))[:2]
    (0.1, 20.25)
    """
    slope = float(g @ d)
    require_downhill("line search", slope)

    def at(t: float) -> Point:
        with np.errstate(over="ignore", invalid="ignore"):  # how far is tried is no choice of the closure's
            loss, g = f(x + t * d)
            return Point(t, loss, g, float(g @ d))

    def too_high(p: Point) -> bool:
        return not p.loss <= loss + c1 * p.t * slope  # true of NaN

    start = previous = Point(0.0, loss, g, slope)
    trial, tries = at(t), 0
    while tries < max_evaluations:
        if not math.isfinite(trial.loss):
            trial = at(0.5 * (previous.t + trial.t))
        elif too_high(trial) or (tries > 1 and trial.loss >= previous.loss):
            break
        elif abs(trial.slope) <= -c2 * slope:
            return trial[:3]
        elif trial.slope >= 0:
            break
        else:
            t = cubic_minimum(previous, trial, trial.t + 0.01 * (trial.t - previous.t), 10 * trial.t)
            previous, trial = trial, at(t)
        tries += 1
    else:
        return (trial if trial.loss < loss else start)[:3]

    low, high = (previous, trial) if previous.loss <= trial.loss else (trial, previous)
    width = float(abs(d).max())
    near_end = False
    while tries < max_evaluations and abs(high.t - low.t) * width >= tolerance_change:
        left, right = sorted((low.t, high.t))
        t = cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            near_end = False
        elif near_end or not left < t < right:  # a second guess at an end of the interval, which hardly shrinks it
            t = right - margin if right - t < t - left else left + margin
            near_end = False
        else:
            near_end = True
        trial, tries = at(t), tries + 1
        if too_high(trial) or trial.loss >= low.loss:
            high = trial
            if high.loss < low.loss:
                low, high = high, low
        elif abs(trial.slope) <= -c2 * slope:
            return trial[:3]
        else:
            if trial.slope * (high.t - low.t) >= 0:
                high = low
            low = trial
    return low[:3]


def require_downhill(name: str, slope: float) -> None:
    """Raise ValueError unless φ'(0) = gᵀd < 0; `name` is who wants to go along d."""
    if not slope < 0:
        raise ValueError(
            f"{name}: the direction does not lead downhill, its slope gᵀd is {slope:g}, wanted < 0; -g always does, "
            "and so does -(H + λI)⁻¹g for a damping λ that makes H + λI positive definite"
        )


def cubic_minimum(a: Point, b: Point, lowest: float, highest: float) -> float:
    """Where the cubic through two points, with their slopes, is lowest between two bounds; else the middle of these."""
    a, b = sorted((a, b), key=lambda p: p.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return 0.5 * (lowest + highest)
    d2 = math.sqrt(square)
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(t, lowest), highest)


def searcher(line_search_fn: Any) -> Search | None:
    """The function that a setting names: `strong_wolfe`, the user's own, or None."""
    return strong_wolfe if line_search_fn == "strong_wolfe" else line_search_fn
