"""Newton's method: jump to where the tangent is zero, or to where the quadratic that fits best has its minimum.

Public: `Newton`; for functions of one number `newton_root` and `newton_minimum`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor

from .checks import at_least
from .line_search import LINE_SEARCH, searcher
from .second_order import SecondOrder

EVALUATIONS = 25  # of a line search, beyond the first


class Newton(SecondOrder):
    r"""Jump to the minimum of the quadratic that fits the loss best at p: one iteration a step.

        p ← p - lr (H + λI)⁻¹ g

    with g the gradient and H the exact Hessian of all parameters, by differentiating twice. Near a minimum each step
    squares the error. Where H + λI is not positive definite that quadratic has no minimum, and the point where it is
    flat is a saddle or a maximum; there |H| + λI takes its place, |H| being H with its eigenvalues' absolute values, so
    that the step leads downhill and away from a saddle, by the more the flatter the saddle is.

    H has n² elements, takes n backward passes over a backward pass, and O(n³) to solve: for networks this is a lesson,
    not a method.

    Parameters
    ----------
    params
        Tensors: one group.
    lr
        How much of the jump to make; with a line search, the first share tried.
    damping
        λ, which makes steps shorter where H is nearly singular.
    line_search_fn
        None, ``"strong_wolfe"``, or a function as of `BFGS`. Far from a minimum Newton's method wants one.

    Raises
    ------
    MemoryError
        Where H would not fit, naming its size.
    ValueError
        For several parameter groups, for a loss that is not finite, where H is zero and there is no damping; nothing
        has been changed then.

    References
    ----------
    Nocedal, Wright, Numerical optimization, 2006, section 3.4. |H|: Dauphin, Pascanu, Gulcehre, Cho, Ganguli, Bengio,
    Identifying and attacking the saddle point problem in high-dimensional non-convex optimization, 2014.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> p = mg.tensor([5.0, -7.0], requires_grad=True)
    >>> opt = optim.Newton([p])
    >>> opt.step(lambda: 3 * p[0] ** 2 + 2 * p[0] * p[1] + p[1] ** 2 - 4 * p[0]).item()
    34.0
    >>> p.detach().round(4)
    tensor([ 1., -1.], dtype=float32, device='cpu')
    """

    rules = {"lr": at_least(0), "damping": at_least(0), "line_search_fn": LINE_SEARCH}

    def update(self, f, x, *, lr=1.0, damping=0.0, line_search_fn=None):
        self.refuse_matrix(x.size, x.dtype)
        loss, g = f(x)
        self.memory["t"] += 1
        if not g.any():
            return x
        d = -downhill(f.hessian(), g, damping)
        search, t = searcher(line_search_fn), lr
        if search is not None:
            t = float(search(f, x, d, lr, loss, g, EVALUATIONS)[0])
        return x + t * d


def downhill(H: Any, g: Any, damping: float) -> Any:
    """(H + λI)⁻¹ g; or (|H| + λI)⁻¹ g, where H + λI is not positive definite."""
    w, V = np.linalg.eigh(H)
    smallest = np.finfo(w.dtype).eps ** 0.5 * abs(w).max()  # of |H|: what is smaller is noise, and would be a huge step
    if float((w + damping).min()) <= 0:
        w = np.maximum(abs(w), smallest)
    w = w + damping
    if not w.all():
        raise ValueError("Newton.step: the Hessian is zero here, so there is no quadratic to jump on; give damping > 0")
    return V @ ((g @ V) / w)


# ------------------------------------------------------------------------------------------------------- of one number


def newton_root(
    f: Callable[[Tensor], Tensor],
    x0: float,
    tolerance: float = 1e-10,
    max_iter: int = 50,
    callback: Callable[[float], Any] | None = None,
) -> float:
    """Where f(x) = 0: follow the tangent at x down to zero, x ← x - f(x) / f'(x), until x hardly moves.

    Parameters
    ----------
    f
        Of a float64 Tensor with one number; its derivative is taken here.
    x0
        Where to begin. Which root is found depends on it, and whether any is.
    tolerance
        The end is where a step is no longer than this.
    max_iter
        Steps at most.
    callback
        Is shown x0, and every x after it.

    Raises
    ------
    ValueError
        Where a tangent is level, so that it never comes to zero, or x is not finite.
    RuntimeError
        Where x still moves after `max_iter` steps.

    Examples
    --------
    >>> newton_root(lambda x: x**2 - 2, 1.0)
    1.4142135623730951
    """
    x = float(x0)
    if callback is not None:
        callback(x)
    for _ in range(max_iter):
        p = mg.tensor(np.float64(x), requires_grad=True)
        with mg.enable_grad():
            y = f(p)
        (slope,) = mg.grad(y, p)
        if slope.item() == 0 and y.item() != 0:
            raise ValueError(f"newton_root: the tangent at x = {x:g} is level and never comes to zero; try another x0")
        step = y.item() / slope.item() if y.item() != 0 else 0.0
        x -= step
        if not math.isfinite(x):
            raise ValueError(f"newton_root: after a step of {step:g} x is {x}; try another x0")
        if callback is not None:
            callback(x)
        if abs(step) <= tolerance:
            return x
    raise RuntimeError(
        f"newton_root: after {max_iter} steps the last was still {step:g}, to x = {x:g}; is there a root near "
        f"x0 = {x0:g}? Try another x0, or a larger max_iter"
    )


def newton_minimum(
    f: Callable[[Tensor], Tensor],
    x0: float,
    tolerance: float = 1e-10,
    max_iter: int = 50,
    callback: Callable[[float], Any] | None = None,
) -> float:
    """Where f is lowest nearby: the root of its derivative, x ← x - f'(x) / f''(x).

    Arguments are those of `newton_root`.

    Raises
    ------
    ValueError, RuntimeError
        As `newton_root`, and where the root found is no minimum, because f'' is not positive there.

    Examples
    --------
    >>> newton_minimum(lambda x: x - mg.log(x), 0.5)
    1.0
    """

    def derivative(x: Tensor) -> Tensor:
        return mg.grad(f(x), x, create_graph=True)[0]

    x = newton_root(derivative, x0, tolerance, max_iter, callback)
    p = mg.tensor(np.float64(x), requires_grad=True)
    with mg.enable_grad():
        curvature = mg.grad(derivative(p), p)[0].item()
    if not curvature > 0:
        raise ValueError(
            f"newton_minimum: f' = 0 at x = {x:g}, but f'' = {curvature:g} there: no minimum; try another x0"
        )
    return x
