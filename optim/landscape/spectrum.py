"""The eigenvalues of the Hessian: how sharply the ground bends, and which way.

Public: `hessian_spectrum`, `Spectrum`, `condition_number`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor

from ..checks import at_least, integer, one_of, require, require_room
from .landscape import Landscape

DENSE = 500  # up to so many parameters the whole Hessian is computed, unless said otherwise
LOOKS = 10  # every so many products Lanczos looks whether it has found what is wanted


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a Hessian, in ascending order: all n, or those at the ends.

    Attributes
    ----------
    n
        The Hessian is n × n.
    eigenvalues
        All; or, by Lanczos, the `bottom` lowest and the `top` highest.
    vectors
        Their unit eigenvectors, one a row: ``(len(eigenvalues), n)``.
    errors
        For each, how far from it a true eigenvalue can be.
    products
        How many Hessian-vector products it took.
    nodes, weights
        The whole spectrum in short: the share weights[i] of all n eigenvalues lies near nodes[i].
    """

    n: int
    eigenvalues: Any
    vectors: Any
    errors: Any
    products: int
    nodes: Any
    weights: Any

    def density(self, at: Any, width: float) -> Any:
        """The share of eigenvalues per unit near each point, every eigenvalue being blurred to a Gaussian of `width`.

        Raises ValueError unless `width` is a finite number > 0.
        """
        require("density: width", width, (lambda w: at_least(0)[0](w) and w > 0, "a finite number > 0"))
        z = (np.asarray(at, float)[..., None] - self.nodes) / width
        return np.exp(-(z**2) / 2) @ self.weights / (width * (2 * np.pi) ** 0.5)

    def draw(self) -> Any:
        """A Matplotlib figure: the density on a logarithmic scale, and below it a tick for each eigenvalue.

        Raises ImportError, naming the extra to install, where Matplotlib is missing.
        """
        from ..trajectory.drawing import COLOURS, new_figure

        figure = new_figure("Spectrum.draw", figsize=(8, 4.5))
        curve, ticks = figure.subplots(2, 1, sharex=True, height_ratios=(6, 1))
        low, high = min(self.nodes), max(self.nodes)
        width = (high - low or abs(high) or 1.0) / 100
        at = np.linspace(low - 4 * width, high + 4 * width, 1001)
        height = self.density(at, width)
        curve.semilogy(at, height, color=COLOURS[0], label=f"density, blurred to ± {width:.2g}")
        curve.set(ylabel="share of eigenvalues\nper unit", title=f"Hessian of {self.n:,} parameters")
        curve.set(ylim=(max(height.max() * 1e-9, 1e-2 / (self.n * width)), 3 * height.max()))
        curve.grid(alpha=0.3)
        k = len(self.eigenvalues)
        label = "every eigenvalue" if k == self.n else f"the {k} outermost eigenvalues"
        ticks.eventplot(self.eigenvalues, lineoffsets=0.5, linelengths=0.8, colors=COLOURS[1], label=label)
        ticks.set(xlabel="eigenvalue λ: curvature of the loss along its eigenvector", yticks=[], ylim=(0, 1))
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def hessian_spectrum(
    fn: Callable[..., Tensor],
    x: Any,
    method: str | None = None,
    top: int = 10,
    bottom: int = 1,
    tolerance: float = 1e-3,
    probes: int = 1,
    limit: int = 500,
    seed: int = 0,
) -> Spectrum:
    """Eigenvalues and eigenvectors of the Hessian of a loss: all of a small one, the outermost of a network's.

    ``"dense"`` computes the whole matrix, n products, and hands it to LAPACK. ``"lanczos"`` never forms it. From a
    random unit vector q₁ the product H q₁, then H q₂ and so on, each made orthogonal to all before it, span a space in
    which H is a small tridiagonal matrix T:

        H qₖ = βₖ₋₁ qₖ₋₁ + αₖ qₖ + βₖ qₖ₊₁

    T's eigenvalues approach those of H, the outermost first: some ten of 10⁵ take about as many dozens of products. In
    exact arithmetic the three terms would be orthogonal by themselves. In floating point they lose it as soon as an
    eigenvalue is found, and find it again and again; so each vector is made orthogonal to every earlier one, twice.
    An eigenvalue λ = s T s of T is within r = βₖ |sₖ| of one of H, and nearer, r² / gap, if it is alone there.

    The squares of the first components of T's eigenvectors are the weights of a quadrature rule for H's density.

    Parameters
    ----------
    fn, x
        A function and a point, or a loss of no arguments and the network: see `optim.landscape.landscape`.
    method
        None is ``"dense"`` up to 500 parameters, ``"lanczos"`` beyond.
    top, bottom
        How many of the highest and lowest eigenvalues Lanczos shall find.
    tolerance
        Of each its error, relative to itself; of the lowest, relative to the largest in absolute value, as they may be
        near 0.
    probes
        For the density: how many random vectors to average over. Each takes as many products as the first.
    limit
        How many products Lanczos may take for each.
    seed
        Of the random vectors.

    Returns
    -------
    Spectrum

    Raises
    ------
    RuntimeError
        Where Lanczos has not found what is wanted within the limit.
    ValueError, TypeError
        For bad settings; as `optim.landscape.landscape.Landscape`.

    References
    ----------
    Golub, Van Loan, Matrix computations, 2013, section 10.1 to 10.3. Parlett, The symmetric eigenvalue problem, 1998.
    Density: Lin, Saad, Yang, Approximating spectral densities of large matrices, 2016. Ghorbani, Krishnan, Xiao, An
    investigation into neural net optimization via Hessian eigenvalue density, 2019.

    Examples
    --------
    >>> from optim.landscape.surfaces import saddle
    >>> hessian_spectrum(saddle, [0.0, 0.0]).eigenvalues
    array([-2.,  2.])
    """
    require("hessian_spectrum: method", method, one_of(None, "dense", "lanczos"))
    for name, value, low in (("top", top, 0), ("bottom", bottom, 0), ("probes", probes, 1), ("limit", limit, 1)):
        require(f"hessian_spectrum: {name}", value, integer(low))
    require("hessian_spectrum: tolerance", tolerance, at_least(0))
    here = Landscape("hessian_spectrum", fn, x)
    if (method or ("dense" if here.n <= DENSE else "lanczos")) == "dense":
        return dense(here)
    if top + bottom < 1:
        raise ValueError("hessian_spectrum: top = 0 and bottom = 0; wanted at least one eigenvalue")

    n, rng = here.n, np.random.default_rng(seed)
    top, bottom = min(top, n), min(bottom, n)

    def missing(values: Any, errors: Any) -> Any:
        """Which of the wanted are not near enough to the truth, as positions."""
        allowed = tolerance * abs(values)
        allowed[:bottom] = tolerance * abs(values).max()
        return np.flatnonzero((errors > allowed) & wanted(values))

    def wanted(values: Any) -> Any:
        """The lowest and the highest."""
        k = np.arange(len(values))
        return (k < bottom) | (k >= len(values) - top)

    def enough(values: Any, errors: Any) -> bool:
        return len(values) >= min(top + bottom, n) and not missing(values, errors).size

    values, errors, S, Q = lanczos(here.product, here.normal, rng, min(n, limit), enough)
    if not enough(values, errors):
        worst = missing(values, errors)[-1:]
        known = ", ".join(f"{values[i]:.6g} ± {errors[i]:.1g}" for i in worst) or "too few"
        raise RuntimeError(
            f"hessian_spectrum: after {len(values)} products an eigenvalue is known as {known}, not yet to the "
            f"tolerance {tolerance:g}; allow more (limit), ask for fewer (top, bottom), or tolerate more"
        )
    runs, m = [(values, S[0] ** 2)], len(values)
    for _ in range(probes - 1):
        more, _, first, _ = lanczos(here.product, here.normal, rng, m, lambda values, errors: False)
        runs.append((more, first[0] ** 2))
    ends = wanted(values)
    vectors = here.there(S.T[ends]) @ Q
    nodes, weights = map(np.concatenate, zip(*runs))
    return Spectrum(n, values[ends], vectors, errors[ends], m * probes, nodes, weights / probes)


def dense(here: Landscape) -> Spectrum:
    """All eigenvalues, of the matrix itself. Raises MemoryError, naming its size, where it would not fit."""
    require_room(here.name, here.n, np.float64, "hessian_spectrum(method='lanczos') needs no matrix")
    values, V = np.linalg.eigh(here.hessian())
    values = mg.tensor(values, device="cpu").data
    rounding = np.full(here.n, np.finfo(here.params[0].dtype).eps * abs(values).max())
    return Spectrum(here.n, values, V.T, rounding, here.n, values, np.full(here.n, 1 / here.n))


def lanczos(
    product: Callable[[Any], Any],
    normal: Callable[[np.random.Generator], Any],
    rng: np.random.Generator,
    steps: int,
    enough: Callable[[Any, Any], bool],
) -> tuple[Any, Any, Any, Any]:
    """T's eigenvalues, their errors, eigenvectors (columns), and the orthonormal basis (rows), when `enough` says so.

    Where the space is exhausted (β = 0), a new random vector goes on in what is left: so multiple eigenvalues come too,
    and n steps find everything.
    """
    w = normal(rng)
    Q = np.empty((steps, len(w)), like=w)
    T = np.zeros((steps, steps))
    for k in range(steps):
        Q[k] = w / np.sqrt(w @ w)
        w = product(Q[k])
        T[k, k] = float(Q[k] @ w)
        w = orthogonal(w, Q[: k + 1])
        beta = float(np.sqrt(w @ w))
        if beta <= 1e-14 * len(w) ** 0.5 * abs(T).max():
            beta, w = 0.0, orthogonal(normal(rng), Q[: k + 1])
        m = k + 1
        if m % LOOKS == 0 or m == steps:
            values, S = np.linalg.eigh(T[:m, :m])
            errors = bounds(values, beta * abs(S[-1]))
            if enough(values, errors):
                break
        if m < steps:
            T[k, m] = T[m, k] = beta
    return values, errors, S, Q[:m]


def orthogonal(w: Any, Q: Any) -> Any:
    """What is left of w without its parts along the rows of Q. Twice: the first time cancellation leaves some."""
    for _ in range(2):
        w = w - (Q @ w) @ Q
    return w


def bounds(values: Any, r: Any) -> Any:
    """How far a true eigenvalue may be: r, or r² / gap where that is less, the gap being that to the neighbours."""
    gaps = np.diff(values, prepend=-np.inf, append=np.inf)
    gap = np.maximum(np.minimum(gaps[:-1], gaps[1:]) - r, 0)
    return np.where(gap > r, r**2 / np.where(gap > r, gap, 1), r)


def condition_number(fn: Callable[..., Tensor], x: Any) -> float:
    """κ = σ_max / σ_min of the Hessian: its largest absolute eigenvalue over its smallest; infinite if that is 0.

    Along a gradient step all curvatures get the same rate, so gradient descent takes about κ / 2 times as many steps as
    one direction alone would. Computes the whole Hessian: the smallest is no outermost eigenvalue, and Lanczos does
    not find it.

    Raises MemoryError where the Hessian would not fit; ValueError, TypeError as `hessian_spectrum`.

    >>> from optim.landscape.surfaces import bowl
    >>> round(condition_number(bowl(100), [1.0, 1.0]), 9)
    100.0
    """
    here = Landscape("condition_number", fn, x)
    sigma = abs(dense(here).eigenvalues)
    rounding = here.n * np.finfo(here.params[0].dtype).eps * sigma.max()
    return float(sigma.max() / sigma.min()) if sigma.min() > rounding else float("inf")
