"""How fast something converges, measured on its errors.

Public: `convergence_rate`, `Rate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SUPERLINEAR = 1.3  # an order above it, errors being noisy, is not linear


@dataclass(frozen=True)
class Rate:
    """How errors e₁, e₂, ... fall.

    Attributes
    ----------
    kind
        ``"sublinear"``, eₜ ≈ C / tᵖ; ``"linear"``, eₜ ≈ C ρᵗ; ``"superlinear"``, eₜ₊₁ ≈ C eₜ^q.
    value
        p, ρ or q.
    """

    kind: str
    value: float

    def __str__(self) -> str:
        x = f"{self.value:.3g}"
        return {"sublinear": f"1 / t^{x}", "linear": f"{x}^t", "superlinear": f"order {x}"}[self.kind]


def convergence_rate(errors: Sequence[float], tail: float = 0.5) -> Rate:
    """Which law a sequence of errors follows towards its end, and with which number.

    On a logarithmic scale each law is a straight line: of log e against log t the first, with slope -p; against t the
    second, with slope log ρ; of log eₜ₊₁ against log eₜ the third, with slope q. The third is believed where q > 1.3;
    of the others, the one that fits better, by least squares.

    Parameters
    ----------
    errors
        e₁, e₂, ...: losses less the lowest loss, or distances to the minimum. What is 0 or less, and all that comes
        after, is left out.
    tail
        The share of the errors to look at: the last half, unless said.

    Raises
    ------
    ValueError
        Where fewer than four errors are left, or one is not finite.

    Examples
    --------
    >>> for errors in ([3 / t for t in range(1, 100)], [0.9**t for t in range(100)], [0.5 ** 2**t for t in range(6)]):
    ...     print(convergence_rate(errors))
    1 / t^1
    0.9^t
    order 2
    """
    e = np.array([float(error) for error in errors])  # also of Tensors, wherever they lie
    if not np.isfinite(e).all() or not 0 < tail <= 1:
        raise ValueError(f"convergence_rate: wanted finite errors and 0 < tail <= 1, got tail = {tail}, errors {e}")
    gone = np.flatnonzero(e <= 0)
    e = e[: gone[0]] if gone.size else e
    start = min(int(len(e) * (1 - tail)), max(len(e) - 4, 0))
    e, t = np.log(e[start:]), np.arange(start + 1, len(e) + 1)
    if len(e) < 4:
        raise ValueError(f"convergence_rate: {len(e)} positive errors are too few to tell a law; wanted four")
    if e[-1] < e[0] and np.polyfit(e[:-1], e[1:], 1)[0] > SUPERLINEAR:
        return Rate("superlinear", float(np.polyfit(e[:-1], e[1:], 1)[0]))
    (power, misfit_power), (factor, misfit_factor) = line(np.log(t), e), line(t, e)
    return Rate("sublinear", -power) if misfit_power < misfit_factor else Rate("linear", float(np.exp(factor)))


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The slope of the straight line that fits best, and the sum of squares that it misses by."""
    slope, height = np.polyfit(x, y, 1)
    return float(slope), float(((slope * x + height - y) ** 2).sum())
