"""The table, elementwise: arithmetic, exponentials, trigonometry, extremes, comparisons.

A row is NumPy's function and one derivative per differentiable argument: `g` is the gradient of the output, `z` the
output, everything else an argument by its name. Rows without rules are constants. Broadcasting and dtypes are the
engine's business.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import op


def _power_x(g: Any, x: Any, y: Any) -> Any:
    # For xⁿ n falls through 2, 1, 0 from order to order; at 0 the rule must stop: 0 * x**(-1) is NaN at x = 0.
    if isinstance(y, (int, float)):
        return g * zero(x) if y == 0 else g * (y * x ** (y - 1))
    return g * (y * x ** np.where(y == 0, np.zeros_like(y), y - 1))


def _power_y(g: Any, x: Any, z: Any) -> Any:
    return g * z * np.log(x + (x == 0))  # 0ʸ is constant in y > 0: log 1 stands in for log 0


def _power(x: Any, y: Any) -> Any:
    """x to the power y. For a Python integer y >= 0 exact at every order, at x = 0 too; elsewhere IEEE's infinities."""
    return x**y  # the operator has fast paths for 2 and 0.5, the ufunc has none


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), computed so that exp never overflows."""
    e = np.exp(-np.absolute(x))
    return np.where(x >= 0, np.ones_like(e), e) / (1 + e)


def _where(condition: Any, x: Any, y: Any) -> Any:
    """Elements of x where condition holds, of y elsewhere.

    A NaN or inf in the gradient of the branch not taken is multiplied by 0, which leaves NaN. The remedy is to apply
    `where` twice: ``where(x > 0, log(where(x > 0, x, 1)), 0)``.
    """
    return np.where(condition, x, y)


def _astype(x: Any, dtype: Any) -> Any:
    """A copy with another dtype. The gradient comes back in the first one; integers and booleans have none."""
    return x.astype(dtype)


def ratio(x: Any, z: Any) -> Any:
    """x / z, and where z is 0 then 0, at every order: for slopes of lengths z in a coordinate x, and of angles."""
    return x * (z > 0) / (z + (z == 0))


def _logaddexp_x(g: Any, x: Any, z: Any) -> Any:
    return g * np.exp(x - np.where(z == -np.inf, np.zeros_like(z), z))  # -inf plus -inf: neither has a share


def _erf(x: Any) -> Any:
    """2/√π ∫ exp(-t²) dt from 0 to x. With SciPy, or without it, as exact, some 40 times slower."""
    return erf_of_arrays()(x)


@functools.cache
def erf_of_arrays() -> Callable[[Any], Any]:
    """SciPy's erf, or Python's taken element by element. Found when first asked for: importing SciPy takes its time."""
    try:
        from scipy.special import erf
    except ImportError:
        each = np.vectorize(math.erf, otypes=[np.float64])
        return lambda x: each(x).astype(np.result_type(x, np.float16))
    return erf


def _round(a: Any, decimals: int = 0) -> Any:
    """To the nearest number with so many decimals, halves to the even one, as `numpy.round`. The derivative is 0."""
    return np.round(a, decimals)


def _relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0."""
    return np.maximum(x, 0)


def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """a held between a_min and a_max, None being no bound. The derivative is 1 on the bounds."""
    return np.clip(a, a_min, a_max)


def _zero(x: Any) -> Any:
    """0, and still a function of x: its derivatives of every order can be asked for, and are 0."""
    return np.zeros(x.shape, x.dtype, like=x)


def _zeros_like(a: Any) -> Any:
    """Zeros of the shape and dtype of a."""
    return np.zeros(a.shape, a.dtype, like=a)


def _ones_like(a: Any) -> Any:
    """Ones of the shape and dtype of a."""
    return np.ones_like(a)


zero: Any  # its rule names it
# fmt: off

# arithmetic
zero        = op(_zero,         x=lambda g: zero(g))
add         = op(np.add,        x=lambda g: g,                    y=lambda g: g)
subtract    = op(np.subtract,   x=lambda g: g,                    y=lambda g: -g)
multiply    = op(np.multiply,   x=lambda g, y: g * y,             y=lambda g, x: g * x)
divide      = op(np.divide,     x=lambda g, y: g / y,             y=lambda g, y, z: -g * z / y)
negative    = op(np.negative,   x=lambda g: -g)
positive    = op(np.positive,   x=lambda g: g)
power       = op(_power,        x=_power_x,                       y=_power_y)
reciprocal  = op(np.reciprocal, x=lambda g, z: -g * z * z)
square      = op(np.square,     x=lambda g, x: 2 * g * x)
sqrt        = op(np.sqrt,       x=lambda g, z: g / (2 * z))
cbrt        = op(np.cbrt,       x=lambda g, z: g / (3 * z * z))

# exponentials and logarithms
exp         = op(np.exp,        x=lambda g, z: g * z)
expm1       = op(np.expm1,      x=lambda g, z: g * z + g)
log         = op(np.log,        x=lambda g, x: g / x)
log1p       = op(np.log1p,      x=lambda g, x: g / (1 + x))
log2        = op(np.log2,       x=lambda g, x: g / (x * math.log(2)))
log10       = op(np.log10,      x=lambda g, x: g / (x * math.log(10)))
logaddexp   = op(np.logaddexp,  x=_logaddexp_x,                   y=lambda g, y, z: _logaddexp_x(g, y, z))

sigmoid     = op(_sigmoid,      x=lambda g, z: g * (z - z * z))
erf         = op(_erf,          x=lambda g, x: g * np.exp(-x * x) * (2 / math.sqrt(math.pi)))

# trigonometry
sin         = op(np.sin,        x=lambda g, x: g * np.cos(x))
cos         = op(np.cos,        x=lambda g, x: -g * np.sin(x))
tan         = op(np.tan,        x=lambda g, z: g + g * z * z)
arcsin      = op(np.arcsin,     x=lambda g, x: g / np.sqrt(1 - x * x))
arccos      = op(np.arccos,     x=lambda g, x: -g / np.sqrt(1 - x * x))
arctan      = op(np.arctan,     x=lambda g, x: g / (1 + x * x))
arctan2     = op(np.arctan2,    y=lambda g, y, x: g * ratio(x, x * x + y * y),
                                x=lambda g, y, x: -g * ratio(y, x * x + y * y))
hypot       = op(np.hypot,      x=lambda g, x, z: g * ratio(x, z),
                                y=lambda g, y, z: g * ratio(y, z))
sinh        = op(np.sinh,       x=lambda g, x: g * np.cosh(x))
cosh        = op(np.cosh,       x=lambda g, x: g * np.sinh(x))
tanh        = op(np.tanh,       x=lambda g, z: g - g * z * z)
arcsinh     = op(np.arcsinh,    x=lambda g, x: g / np.sqrt(x * x + 1))
arccosh     = op(np.arccosh,    x=lambda g, x: g / np.sqrt(x * x - 1))
arctanh     = op(np.arctanh,    x=lambda g, x: g / (1 - x * x))

# kinks: 0 at |0| and sign(0), ties share equally, clip is 1 on its bounds
absolute    = op(np.absolute,   x=lambda g, x: g * np.sign(x))
maximum     = op(np.maximum,    x=lambda g, x, y: g * (x > y) + 0.5 * g * (x == y),
                                y=lambda g, x, y: g * (y > x) + 0.5 * g * (x == y))
minimum     = op(np.minimum,    x=lambda g, x, y: g * (x < y) + 0.5 * g * (x == y),
                                y=lambda g, x, y: g * (y < x) + 0.5 * g * (x == y))
relu        = op(_relu,         x=lambda g, z: g * (z > 0))
clip        = op(_clip,         a=lambda g, a, z: g * (a == z))
where       = op(_where,        x=lambda g, condition: np.where(condition, g, np.zeros_like(g)),
                                y=lambda g, condition: np.where(condition, np.zeros_like(g), g))
astype      = op(_astype,       x=lambda g: g)  # the engine casts it back
sign        = op(np.sign,       x=lambda g: np.zeros_like(g))
floor       = op(np.floor,      x=lambda g: np.zeros_like(g))
ceil        = op(np.ceil,       x=lambda g: np.zeros_like(g))
round       = op(_round,        a=lambda g: np.zeros_like(g))

# constants: no derivative, and none needed
equal, not_equal            = op(np.equal), op(np.not_equal)
less, less_equal            = op(np.less), op(np.less_equal)
greater, greater_equal      = op(np.greater), op(np.greater_equal)
logical_and, logical_or     = op(np.logical_and), op(np.logical_or)
logical_not                 = op(np.logical_not)
bitwise_and, bitwise_or     = op(np.bitwise_and), op(np.bitwise_or)
invert                      = op(np.invert)
zeros_like, ones_like       = op(_zeros_like), op(_ones_like)
isnan, isinf, isfinite      = op(np.isnan), op(np.isinf), op(np.isfinite)
# fmt: on
