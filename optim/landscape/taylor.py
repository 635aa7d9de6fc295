"""The quadratic that fits a loss best at a point, and how far it is wrong elsewhere.

Public: `taylor2`, `Taylor2`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad import Tensor

from .landscape import Landscape


def taylor2(fn: Callable[..., Tensor], x: Any) -> Taylor2:
    """The second-order Taylor polynomial of a loss J at x, as a function of the step δ.

        J(x + δ) ≈ J(x) + δᵀg + ½ δᵀHδ

    Along the gradient, δ = -εg, it falls by ε gᵀg and rises by ½ ε² gᵀHg: where gᵀHg is large, small steps already go
    up again, and the best one is ε = gᵀg / gᵀHg. The Hessian is never formed: each δ takes one product H δ.

    Parameters
    ----------
    fn, x
        A function and a point, or a loss of no arguments and the network: see `optim.landscape.landscape`.

    Raises
    ------
    ValueError, TypeError
        As `optim.landscape.landscape.Landscape`.

    References
    ----------
    Goodfellow, Bengio, Courville, Deep learning, 2016, section 4.3.1.

    Examples
    --------
    >>> from optim.landscape.surfaces import rosenbrock
    >>> model = taylor2(rosenbrock, [0.0, 0.0])
    >>> model([0.5, 0.25]), model.error([0.5, 0.25])  # the valley's floor bends, the model's does not
    (6.5, -6.25)
    """
    return Taylor2(Landscape("taylor2", fn, x))


class Taylor2:
    """A quadratic model; called with a step δ, as a vector ``(n,)`` or in the shape of x, it gives the height there.

    Attributes
    ----------
    loss
        J at x.
    g
        The gradient there, ``(n,)``.

    Raises
    ------
    ValueError
        For a δ of another shape, or not finite. When called after the parameters have moved: the model is of the point
        where it was made.
    """

    def __init__(self, here: Landscape) -> None:
        self.here = here
        self.x = here.vector(here.params)
        self.loss, self.g = here.slope()

    def __call__(self, delta: Any) -> float:
        d = self.step(delta)
        return self.loss + float(d @ self.g) + float(d @ self.here.product(d)) / 2

    def error(self, delta: Any) -> float:
        """J(x + δ) less what the model says: of third order in δ, where J is smooth."""
        model = self(delta)
        with self.here.moved(self.step(delta)):
            return self.here.height() - model

    def step(self, delta: Any) -> Any:
        """δ as a vector."""
        d = self.here.direction("delta", delta)
        if not (self.here.vector(self.here.params) == self.x).all():
            raise ValueError("taylor2: the parameters have moved since the model was made; make a new one here")
        return d
