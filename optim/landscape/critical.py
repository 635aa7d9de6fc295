"""Where the ground is level: a minimum, a maximum, a saddle, or no telling.

Public: `critical_point`, `CriticalPoint`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minigrad import Tensor

from ..checks import at_least, require
from .landscape import Landscape
from .spectrum import hessian_spectrum


@dataclass(frozen=True)
class CriticalPoint:
    """What a point is, and the numbers that say so.

    Attributes
    ----------
    kind
        ``"minimum"``, ``"maximum"``, ``"saddle"``, ``"degenerate"``; or ``"slope"``, where the gradient is not 0.
    gradient_norm
        ‖g‖₂.
    lowest, highest
        The outermost eigenvalues of the Hessian.
    down, up
        Their eigenvectors, ``(n,)``: the ways in which the ground bends down and up the most. From a saddle, `down` is
        the way out.
    """

    kind: str
    gradient_norm: float
    lowest: float
    highest: float
    down: Any
    up: Any


def critical_point(fn: Callable[..., Tensor], x: Any, tolerance: float = 1e-6) -> CriticalPoint:
    """What kind of point x is, by the gradient and the signs of the Hessian's outermost eigenvalues.

    Where g = 0, a small step e changes the loss by ½ eᵀHe. If all eigenvalues are positive that is up in every
    direction, a minimum; if all are negative, a maximum; with both signs, a saddle. If none has the other sign but some
    are 0, the second order does not tell: x⁴, -x⁴ and x³ look the same. That is called degenerate.

    Parameters
    ----------
    fn, x
        A function and a point, or a loss of no arguments and the network: see `optim.landscape.landscape`.
    tolerance
        What counts as 0: a gradient of this norm, an eigenvalue of this share of the largest in absolute value. For
        float32 take 1e-3.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `hessian_spectrum`, by Lanczos's method beyond 500 parameters.

    Examples
    --------
    >>> from optim.landscape.surfaces import monkey_saddle, rosenbrock, saddle
    >>> [critical_point(f, x).kind for f, x in [(rosenbrock, [1, 1]), (saddle, [0, 0]), (monkey_saddle, [0, 0])]]
    ['minimum', 'saddle', 'degenerate']
    """
    require("critical_point: tolerance", tolerance, at_least(0))
    _, g = Landscape("critical_point", fn, x).slope()
    norm = float((g @ g) ** 0.5)
    found = hessian_spectrum(fn, x, top=1, bottom=1, tolerance=min(tolerance, 1e-3))
    lowest, highest = float(found.eigenvalues[0]), float(found.eigenvalues[-1])
    zero = tolerance * max(abs(lowest), abs(highest))
    if norm > tolerance:
        kind = "slope"
    elif lowest > zero:
        kind = "minimum"
    elif highest < -zero:
        kind = "maximum"
    elif lowest < -zero and highest > zero:
        kind = "saddle"
    else:
        kind = "degenerate"
    return CriticalPoint(kind, norm, lowest, highest, found.vectors[0], found.vectors[-1])
