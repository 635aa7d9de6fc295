"""Is a function convex? Three conditions that say the same, each tried on random points of a box.

Public: `convexity`, `Convexity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, autograd

from ..checks import at_least, integer, one_of, require
from .surfaces import Surface


@dataclass(frozen=True)
class Convexity:
    """The answer: False with a witness, which proves it; or no witness found, which is evidence and proves nothing.

    Attributes
    ----------
    condition
        Which was tried.
    samples
        On how many samples, up to the first that failed.
    witness
        None, or a dict of the points that break the condition, and the numbers on its two sides.
    """

    condition: str
    samples: int
    witness: dict[str, Any] | None

    def __bool__(self) -> bool:
        return self.witness is None

    def __str__(self) -> str:
        if self.witness is None:
            return (
                f"no violation of the {self.condition} condition in {self.samples} samples: "
                "evidence that it is convex, not a proof"
            )
        numbers = ", ".join(f"{name} = {np.round(value, 6).tolist()}" for name, value in self.witness.items())
        return f"not convex: {FORMULAS[self.condition]} fails at {numbers}"


def convexity(
    fn: Callable[[Tensor], Tensor],
    domain: Any = None,
    condition: str = "definition",
    samples: int = 1000,
    tolerance: float = 1e-9,
    seed: int = 0,
) -> Convexity:
    """Look for a place where a function is not convex.

    On a convex set these say the same, the second of functions with a gradient, the third of those with a Hessian:

        definition     f(t x + (1 - t) y) <= t f(x) + (1 - t) f(y)     a chord lies above
        first-order    f(y) >= f(x) + gᵀ(y - x)                        a tangent lies below
        second-order   vᵀ H v >= 0                                     it bends down nowhere

    Each is tried at random points of a box. One failure is a proof that f is not convex, and the answer's `witness`
    shows it. **No failure is evidence, not a proof**: the points may have missed the place. Nor do all conditions see
    equally much: the second derivative of -|x| is 0 wherever there is one, so the third finds nothing; the others do.

    Parameters
    ----------
    fn
        Of a float64 Tensor ``(n,)``, giving a Tensor with one number. A `Surface` brings its domain.
    domain
        ((lowest, highest), ...) for each coordinate: the box.
    condition
        ``"definition"``, ``"first-order"`` or ``"second-order"``.
    samples
        How many to try: of pairs of points and a share t; of pairs; of points.
    tolerance
        A failure smaller than this, relative to the numbers compared (1 at least), is rounding.
    seed
        Of the points.

    Returns
    -------
    Convexity
        True if none failed; ``str`` tells it in words.

    Raises
    ------
    ValueError, TypeError
        For bad settings; where f is not finite at a point of the box, or not one number.

    References
    ----------
    Boyd, Vandenberghe, Convex optimization, 2004, sections 3.1.1, 3.1.3, 3.1.4.

    Examples
    --------
    >>> print(convexity(lambda p: (p**4).sum(), [(-1, 1)]))
    no violation of the definition condition in 1000 samples: evidence that it is convex, not a proof
    >>> found = convexity(lambda p: (p**3).sum(), [(-1, 1)], "second-order")
    >>> bool(found), bool(found.witness["x"] < 0), bool(found.witness["vᵀHv"] < 0)
    (False, True, True)
    """
    require("convexity: condition", condition, one_of(*FORMULAS))
    require("convexity: samples", samples, integer(1))
    require("convexity: tolerance", tolerance, at_least(0))
    low, high = box(fn.domain if domain is None and isinstance(fn, Surface) else domain)
    rng = np.random.default_rng(seed)
    for k in range(1, samples + 1):
        x, y, t = rng.uniform(low, high), rng.uniform(low, high), rng.uniform()
        witness, excess, scale = CONDITIONS[condition](fn, x, y, t)
        if excess > tolerance * max(1.0, scale):
            return Convexity(condition, k, witness)
    return Convexity(condition, samples, None)


# ------------------------------------------------------- the conditions: a witness, by how much it fails, and the scale

Answer = tuple[dict[str, Any], float, float]


def definition(fn: Callable[[Tensor], Tensor], x: Any, y: Any, t: float) -> Answer:
    """The chord from x to y, at the share t of x."""
    fx, fy, f = height(fn, x), height(fn, y), height(fn, t * x + (1 - t) * y)
    chord = t * fx + (1 - t) * fy
    return {"x": x, "y": y, "t": t, "f(tx + (1 - t)y)": f, "tf(x) + (1 - t)f(y)": chord}, f - chord, abs(fx) + abs(fy)


def first_order(fn: Callable[[Tensor], Tensor], x: Any, y: Any, t: float) -> Answer:
    """The tangent at x, looked at from y."""
    fx, fy = height(fn, x), height(fn, y)
    p = mg.tensor(x, requires_grad=True)
    with mg.enable_grad():
        (g,) = mg.grad(fn(p), p)
    tangent = fx + g.numpy() @ (y - x)
    return {"x": x, "y": y, "f(y)": fy, "f(x) + gᵀ(y - x)": tangent}, tangent - fy, abs(fx) + abs(tangent)


def second_order(fn: Callable[[Tensor], Tensor], x: Any, y: Any, t: float) -> Answer:
    """The direction in which f bends the least at x."""
    height(fn, x)
    values, V = np.linalg.eigh(autograd.hessian(fn, mg.tensor(x)).numpy())
    return {"x": x, "v": V[:, 0], "vᵀHv": values[0]}, -values[0], abs(values).max()


CONDITIONS = {"definition": definition, "first-order": first_order, "second-order": second_order}
FORMULAS = {
    "definition": "f(tx + (1 - t)y) <= tf(x) + (1 - t)f(y)",
    "first-order": "f(y) >= f(x) + gᵀ(y - x)",
    "second-order": "vᵀHv >= 0",
}


def height(fn: Callable[[Tensor], Tensor], x: Any) -> float:
    """f(x). Raises where it is not one finite number."""
    with mg.no_grad():
        f = fn(mg.tensor(x))
    if not isinstance(f, Tensor) or f.size != 1:
        got = f"shape {f.shape}" if isinstance(f, Tensor) else type(f).__name__
        raise TypeError(f"convexity: fn returns a Tensor with one number, got {got}")
    if not np.isfinite(f.item()):
        raise ValueError(f"convexity: f is {f.item()} at {x.tolist()}; give a domain on which it is finite")
    return float(f.item())


def box(domain: Any) -> Any:
    """The lowest and the highest corner, ``(n,)`` each."""
    sides = np.asarray([] if domain is None else domain, float)
    if sides.ndim != 2 or sides.shape[1] != 2 or not np.isfinite(sides).all() or not (sides[:, 0] < sides[:, 1]).all():
        raise ValueError(
            f"convexity: domain = {domain!r}; wanted ((lowest, highest), ...), finite, for each coordinate"
        )
    return sides.T
