"""The table, linear algebra: `mg.linalg`, named as `numpy.linalg` is. All take stacks of matrices, ``(..., n, n)``.

The derivatives are those of Giles, *Collected matrix derivative results* (2008), and for `cholesky` of Murray,
*Differentiation of the Cholesky decomposition* (2016).

Public: `norm`, `inv`, `solve`, `det`, `slogdet`, `cholesky`, `eigh`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine import op
from .elementwise import absolute, not_equal, ratio
from .reductions import keep_axes, max, min, sum


def transposed(x: Any) -> Any:
    """The last two axes exchanged."""
    return x.swapaxes(-1, -2)


def _inv(a: Any) -> Any:
    """a⁻¹, with a a⁻¹ = 1. Raises LinAlgError where a matrix is singular."""
    return np.linalg.inv(a)


def _det(a: Any) -> Any:
    """The determinant. Asked for its derivative at a singular matrix, it raises LinAlgError."""
    return np.linalg.det(a)


def _solve(a: Any, b: Any) -> Any:
    """The x with a x = b: ``(..., n, n), (..., n, k) -> (..., n, k)``, or ``(..., n, n), (n,) -> (..., n)``."""
    return np.linalg.solve(a, b)


def _solve_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(b_shape) == 1:
        return np.linalg.solve(transposed(a), g[..., None])[..., 0]
    return np.linalg.solve(transposed(a), g)


def _solve_a(g: Any, a: Any, z: Any, b_shape: tuple[int, ...]) -> Any:
    h = _solve_b(g, a, b_shape)
    return -h[..., None] * z[..., None, :] if len(b_shape) == 1 else -h @ transposed(z)


def cofactors(a: Any, singular: Any) -> Any:
    """(a⁻¹)ᵀ, the derivative of log |det a|. Raises LinAlgError for a singular one; to see it, it waits for a GPU."""
    if singular.any():
        raise np.linalg.LinAlgError("det: a matrix is singular; the derivative needs the inverse, which it has not")
    return transposed(np.linalg.inv(a))


def _logabsdet(a: Any) -> Any:
    """log |det a|: it neither overflows nor underflows."""
    return np.linalg.slogdet(a)[1]


def _sign_of_det(a: Any) -> Any:
    """1, 0 or -1."""
    return np.linalg.slogdet(a)[0]


def _cholesky(a: Any) -> Any:
    """The lower triangular L with L Lᵀ = a, for symmetric positive definite a; only its lower triangle is read.

    The gradient is symmetric, as a is: that of ½ (a + aᵀ).
    """
    return np.linalg.cholesky(a)


def _cholesky_a(g: Any, z: Any) -> Any:
    """½ (S + Sᵀ) with S = L⁻ᵀ Φ(Lᵀ g) L⁻¹, where Φ takes the lower triangle and half of the diagonal."""
    p = transposed(z) @ g
    half = (np.tril(p) + np.tril(p, -1)) / 2
    s = np.linalg.solve(transposed(z), transposed(np.linalg.solve(transposed(z), half)))
    return (s + transposed(s)) / 2


def _eigh(a: Any) -> Any:
    """Eigenvalues, in ascending order, as a first row above the matrix whose columns are the eigenvectors."""
    w, v = np.linalg.eigh(a)
    return np.concatenate((w[..., None, :], v), -2)


def _eigh_a(g: Any, z: Any) -> Any:
    """V (diag(ḡ_w) + F ∘ Vᵀ ḡ_V) Vᵀ with F[i, j] = 1 / (w[j] - w[i]), and 0 where the two are equal; made symmetric."""
    w, v = z[..., 0, :], z[..., 1:, :]
    gaps = w[..., None, :] - w[..., :, None]
    f = (gaps != 0) / (gaps + (gaps == 0))
    unit = np.identity(v.shape[-1], g.dtype, like=g)
    s = v @ (unit * g[..., :1, :] + f * (transposed(v) @ g[..., 1:, :])) @ transposed(v)
    return (s + transposed(s)) / 2


def _vector_norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """(Σ |x|ᵖ)^(1/p) for p = ord > 0. The derivative is 0 where all elements are 0."""
    if ord == 2:
        return np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))
    return (np.absolute(x) ** ord).sum(axis=axis, keepdims=keepdims) ** (1 / ord)


def _vector_norm_x(g: Any, x: Any, z: Any, ord: float, axis: Any) -> Any:
    """(|x| / ‖x‖)^(p-1) with the sign of x: for even p a polynomial, whose own derivatives are right at 0 too."""
    r = ratio(x, keep_axes(z, x.shape, axis))
    powers = r ** (ord - 1) if ord % 2 == 0 else np.sign(r) * np.absolute(r) ** (ord - 1)
    return keep_axes(g, x.shape, axis) * powers


# fmt: off
inv          = op(_inv,          a=lambda g, z: -(transposed(z) @ g @ transposed(z)))
solve        = op(_solve,        a=_solve_a, b=_solve_b)
det          = op(_det,          a=lambda g, a, z: (g * z)[..., None, None] * cofactors(a, z == 0))
logabsdet    = op(_logabsdet,    a=lambda g, a, z: g[..., None, None] * cofactors(a, z == -np.inf))
sign_of_det  = op(_sign_of_det)
cholesky     = op(_cholesky,     a=_cholesky_a)
packed_eigh  = op(_eigh,         a=_eigh_a)
vector_norm  = op(_vector_norm,  x=_vector_norm_x)
# fmt: on


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


def slogdet(a: Any) -> SlogdetResult:
    """The sign of a determinant, a constant, and the logarithm of its absolute value, which has a gradient.

    >>> import minigrad as mg
    >>> sign, logabsdet = mg.linalg.slogdet(-mg.eye(3))
    >>> sign.item(), logabsdet.item()
    (-1.0, 0.0)
    """
    return SlogdetResult(sign_of_det(a), logabsdet(a))


def eigh(a: Any) -> EighResult:
    """Eigenvalues, ascending, and eigenvectors, as columns: ``(..., n, n) -> (..., n), (..., n, n)``. a is symmetric.

    Only the lower triangle is read; the gradient is symmetric, that of ½ (a + aᵀ). The sign of an eigenvector is what
    LAPACK makes it, so a loss should not depend on it. Where eigenvalues are equal, eigenvectors have no derivative,
    and what would be infinite is left out: there a loss may depend on the eigenvalues, and on what the vectors span.

    >>> import minigrad as mg
    >>> mg.linalg.eigh(mg.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.], dtype=float32, device='cpu')
    """
    z = packed_eigh(a)
    return EighResult(z[..., 0, :], z[..., 1:, :])


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors or matrices, as `numpy.linalg.norm`; its derivative at 0 is 0.

    Parameters
    ----------
    ord
        None: √Σx². For vectors p > 0 for (Σ|x|ᵖ)^(1/p), ±inf for the largest and smallest |x|, 0 for how many are
        not 0 (a constant). For matrices "fro" (the same as None), 1 and -1 (the largest and smallest sum of a column
        of |x|), inf and -inf (of a row).
    axis
        One axis for vectors, two for matrices. None with an ord: x is one vector, or one matrix.

    Raises
    ------
    ValueError
        For the norms of matrices that are made of singular values ("nuc", 2, -2), and for negative p.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.zeros(2, requires_grad=True)
    >>> mg.linalg.norm(x).backward()
    >>> x.grad
    tensor([0., 0.], dtype=float32, device='cpu')
    """
    axes = tuple(range(np.ndim(x))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if ord is None or (ord == "fro" and len(axes) == 2):
        return vector_norm(x, 2, axes, keepdims)
    extremes = {np.inf: max, -np.inf: min, 1: max, -1: min}
    if len(axes) == 2 and ord in extremes:
        sums = sum(absolute(x), axis=axes[1] if np.isinf(ord) else axes[0], keepdims=True)
        return extremes[ord](sums, axis=axes, keepdims=keepdims)
    if len(axes) == 1 and isinstance(ord, (int, float)) and (ord >= 0 or ord == -np.inf):
        if ord == 0:
            return sum(not_equal(x, 0).astype(x.dtype), axis=axes, keepdims=keepdims)
        if np.isinf(ord):
            return extremes[ord](absolute(x), axis=axes, keepdims=keepdims)
        return vector_norm(x, ord, axes, keepdims)
    raise ValueError(
        f"norm: ord={ord!r} over {len(axes)} axes; wanted None, over one axis a number >= 0 or -inf, over two 'fro', "
        "1, -1, inf or -inf"
    )
