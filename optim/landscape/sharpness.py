"""How high the ground can rise nearby: what tells a sharp minimum from a flat one.

Public: `sharpness`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import Tensor

from ..checks import at_least, integer, one_of, require
from .landscape import Landscape


def sharpness(
    fn: Callable[..., Tensor], x: Any, rho: float = 0.05, method: str = "ascent", steps: int = 20, seed: int = 0
) -> float:
    r"""How much the loss L rises, at most, within the distance ρ of x.

        max L(x + e) - L(x)  over  ‖e‖₂ <= ρ

    ``"first-order"`` goes where SAM goes, to e = ρ g / ‖g‖: the answer if the ground were a slope, and one gradient.
    At a minimum g = 0 and it sees nothing. ``"ascent"`` goes on from there by projected gradient ascent, in a random
    direction where g = 0,

        e ← P(e + α ρ g(x + e) / ‖g(x + e)‖),   P(e) = e min(1, ρ / ‖e‖)

    α being 1, and halved whenever that would not lead higher. At a minimum the answer is about ½ ρ² λ_max. What is
    found is a lower bound: no search shows that nothing is higher.

    Parameters
    ----------
    fn, x
        A function and a point, or a loss of no arguments and the network: see `optim.landscape.landscape`.
    rho
        ρ, in the units of the parameters. To compare networks whose weights have other scales, choose it by them.
    method
        ``"ascent"`` or ``"first-order"``.
    steps
        Of the ascent; each takes one gradient.
    seed
        Of the random direction.

    Raises
    ------
    ValueError, TypeError
        For bad settings; as `optim.landscape.landscape.Landscape`.

    References
    ----------
    Foret, Kleiner, Mobahi, Neyshabur, Sharpness-aware minimization, 2021. Keskar, Mudigere, Nocedal, Smelyanskiy, Tang,
    On large-batch training for deep learning: generalization gap and sharp minima, 2017. That sharpness depends on
    the scale of the weights: Dinh, Pascanu, Bengio, Bengio, Sharp minima can generalize for deep nets, 2017.

    Examples
    --------
    >>> from optim.landscape.surfaces import bowl
    >>> round(sharpness(bowl(100), [0.0, 0.0], rho=0.1), 6)  # ½ · 0.1² · 100
    0.5
    """
    require("sharpness: rho", rho, at_least(0))
    require("sharpness: method", method, one_of("first-order", "ascent"))
    require("sharpness: steps", steps, integer(1))
    here = Landscape("sharpness", fn, x)
    loss, g = here.slope()
    if method == "first-order":
        with here.moved(rho * unit(g)):
            return here.height() - loss
    if not g.any():
        g = here.normal(np.random.default_rng(seed))
    e, highest, alpha = np.zeros_like(g), loss, 1.0
    for _ in range(steps):
        trial = e + alpha * rho * unit(g)
        trial = trial * min(1.0, rho / (norm(trial) or 1.0))
        with here.moved(trial):
            height, slope = here.slope()
        if height > highest:
            e, highest, g = trial, height, slope
        else:
            alpha /= 2
    return highest - loss


def norm(v: Any) -> float:
    """‖v‖₂."""
    return float((v @ v) ** 0.5)


def unit(v: Any) -> Any:
    """v at length 1; zeros stay zeros."""
    return v / (norm(v) or 1.0)
