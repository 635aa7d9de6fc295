"""Activations: what stands between two weighted sums, so that they are more than one.

Public: `leaky_relu`, `elu`, `softplus`, `silu`, `gelu`, `softmax`, `log_softmax`; `relu`, `sigmoid` and `tanh` are rows
of `ops/elementwise.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..engine import op
from ..ops import sigmoid


def _leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope x; the derivative at 0 is negative_slope (Maas et al. 2013)."""
    return np.where(x > 0, x, x * negative_slope)


def _elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: Any, beta: float = 1.0) -> Any:
    """log(1 + exp(beta x)) / beta, a smooth relu, computed so that exp never overflows."""
    return np.logaddexp(np.zeros_like(x), x * beta) / beta


def _silu(x: Any) -> Any:
    """x sigmoid(x), also called swish (Elfwing et al. 2018)."""
    return x * sigmoid(x)


def _silu_x(g: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s + x * (s - s * s))


# log(erfc(z) exp(z²) / t), a function of t = 2 / (2 + z) in (0, 1], by its Chebyshev coefficients: all 25 give the
# digits of float64, the first 10 those of float32. `tests/golden/make_normal_cdf.py` computes them.
# fmt: off
CHEBYSHEV = (
    -6.5132685989085476e-01,  6.4196979235649016e-01,  1.9476473204185836e-02, -9.5615147868086316e-03,
    -9.4659534448203687e-04,  3.6683949785276145e-04,  4.2523324806907770e-05, -2.0278578112534242e-05,
    -1.6242900046470256e-06,  1.3036558355805232e-06,  1.5626441722066140e-08, -8.5238095914926514e-08,
     6.5290544390988131e-09,  5.0593434955513333e-09, -9.9136415649215459e-10, -2.2736512229482214e-10,
     9.6467911016765638e-11,  2.3940381109624282e-12, -6.8860275861936335e-12,  8.9448785354066357e-13,
     3.1309298454206407e-13, -1.1271055171793047e-13,  3.8104049546332876e-16,  7.1342642444867095e-15,
    -1.6440519203795322e-15,
)
# fmt: on


@functools.cache
def polynomial(terms: int) -> list[float]:
    """The first terms of the series as a polynomial in 2t - 1, highest power first."""
    return np.polynomial.chebyshev.cheb2poly(CHEBYSHEV[:terms])[::-1].tolist()


def _normal_cdf(x: Any) -> Any:
    """Φ(x), the probability that a standard normal number is below x.

    In NumPy alone and in every world; ten times as fast as SciPy's erf in float32, twice in float64.
    """
    z = np.absolute(x) * math.sqrt(0.5)
    t = 2 / (2 + z)
    first, *others = polynomial(10 if x.dtype == np.float32 else 25)
    u = 2 * t - 1
    s = 0 * u + first
    for c in others:
        s *= u
        s += c
    tail = 0.5 * t * np.exp(s - z * z)
    return np.where(x < 0, tail, 1 - tail)


A, B = math.sqrt(2 / math.pi), 0.044715


def _gelu_tanh(x: Any) -> Any:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), within 0.0005 of x Φ(x)."""
    return 0.5 * x * (1 + np.tanh(A * (x + B * x * x * x)))


def _gelu_tanh_x(g: Any, x: Any) -> Any:
    t = np.tanh(A * (x + B * x * x * x))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (A + 3 * A * B * x * x))


def shifted(x: Any, axis: int) -> Any:
    """x less its maximum along an axis, so that exp never overflows; rows that are -inf throughout stay as they are."""
    top = x.max(axis=axis, keepdims=True)
    return x - np.where(np.isfinite(top), top, np.zeros_like(top))


def _softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / Σ exp(x) along an axis. An element at -inf gets 0, and so does every element of a row of -inf alone."""
    e = np.exp(shifted(x, axis))
    total = e.sum(axis=axis, keepdims=True)
    return e / (total + (total == 0))


def _log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log Σ exp(x) along an axis, without overflow."""
    x = shifted(x, axis)
    total = np.exp(x).sum(axis=axis, keepdims=True)
    return x - np.log(total + (total == 0))


# fmt: off
leaky_relu  = op(_leaky_relu,  x=lambda g, x, negative_slope: np.where(x > 0, g, g * negative_slope))
elu         = op(_elu,         x=lambda g, x, z, alpha: np.where(x > 0, g, g * (z + alpha)))
softplus    = op(_softplus,    x=lambda g, x, beta: g * sigmoid(x * beta))
silu        = op(_silu,        x=_silu_x)
normal_cdf  = op(_normal_cdf,  x=lambda g, x: g * np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))
gelu_tanh   = op(_gelu_tanh,   x=_gelu_tanh_x)
softmax     = op(_softmax,     x=lambda g, z, axis: z * (g - (g * z).sum(axis=axis, keepdims=True)))
log_softmax = op(_log_softmax, x=lambda g, z, axis: g - np.exp(z) * g.sum(axis=axis, keepdims=True))
# fmt: on


def gelu(x: Any, approximate: str = "none") -> Any:
    """x Φ(x), Φ being the standard normal distribution function (Hendrycks & Gimpel 2016).

    ``approximate="tanh"`` puts a tanh in the place of Φ, which is faster and differs by less than 0.0005.
    Raises ValueError for any other approximation.

    >>> from minigrad import functional as F
    >>> import minigrad as mg
    >>> round(F.gelu(mg.tensor(1.0)).item(), 6)
    0.841345
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is 'none' or 'tanh', got {approximate!r}")
    return x * normal_cdf(x) if approximate == "none" else gelu_tanh(x)
