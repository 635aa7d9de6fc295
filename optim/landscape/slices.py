"""Cuts through a loss of many parameters, along one direction or two.

Public: `slice_1d`, `slice_2d`, `Slice`, `random_direction`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import Tensor

from ..checks import integer, is_finite, require
from .landscape import Landscape

Span = float | tuple[float, float]


@dataclass(frozen=True)
class Slice:
    """A loss on a line or a plane through x.

    Attributes
    ----------
    axes
        One or two arrays: how far along each direction, in units of its length.
    loss
        The heights: ``(points,)``, or ``(points, points)`` with the first direction along the rows,
        ``loss[j, i]`` at ``axes[0][i], axes[1][j]``, as contour pictures want them.
    names
        What the directions are called.
    """

    axes: tuple[Any, ...]
    loss: Any
    names: tuple[str, ...]

    def draw(self, ax: Any = None, label: str = "loss") -> Any:
        """A Matplotlib figure: a curve, or contours with the bar that gives their heights; a cross marks x.

        Parameters
        ----------
        ax
            Where to draw, Matplotlib's Axes; a new figure if not said.
        label
            For the legend.

        Raises
        ------
        ImportError
            Naming the extra to install, where Matplotlib is missing.
        """
        from ..trajectory.drawing import finite, new_figure

        figure = new_figure("Slice.draw", figsize=(6.5, 4.5)) if ax is None else ax.figure
        ax = figure.subplots() if ax is None else ax
        heights = finite(self.loss)
        if len(self.axes) == 1:
            ax.plot(self.axes[0], heights, label=label)
            ax.set(xlabel=self.names[0], ylabel="loss")
            ax.grid(alpha=0.3)
        else:
            levels = np.unique(np.nanquantile(heights, np.linspace(0, 1, 20)))
            filled = ax.contourf(*self.axes, heights, levels, cmap="viridis")
            ax.plot(0, 0, "X", color="white", markeredgecolor="black", markersize=9, label="here")
            figure.colorbar(filled, ax=ax, label=label, format="%.4g")
            ax.set(xlabel=self.names[0], ylabel=self.names[1], aspect="equal")
            ax.locator_params(nbins=5)
        ax.legend()
        return figure


def slice_1d(
    fn: Callable[..., Tensor], x: Any, direction: Any = None, span: Span = 1.0, points: int = 51, seed: int = 0
) -> Slice:
    """The loss at x + α d, for α from end to end of the span.

    Parameters
    ----------
    fn, x
        A function and a point, or a loss of no arguments and the network: see `optim.landscape.landscape`.
    direction
        d, a vector ``(n,)`` or one array for each parameter: an eigenvector, a gradient, the way to another minimum.
        None is a random one, filter-normalised: see `random_direction`.
    span
        (lowest, highest) α; one number a is (-a, a).
    points
        How many α.
    seed
        Of the random direction.

    Raises
    ------
    ValueError, TypeError
        For bad settings; as `optim.landscape.landscape.Landscape`.

    Examples
    --------
    >>> from optim.landscape.surfaces import saddle
    >>> slice_1d(saddle, [0.0, 0.0], direction=[0.0, 1.0], points=5).loss
    array([-1.  , -0.25,  0.  , -0.25, -1.  ])
    """
    here = Landscape("slice_1d", fn, x)
    alphas = steps("slice_1d", span, points)
    d, name = chosen(here, "direction", direction, np.random.default_rng(seed))
    return Slice((alphas,), heights(here, [alpha * d for alpha in alphas]), (f"α, along {name}",))


def slice_2d(
    fn: Callable[..., Tensor], x: Any, directions: Any = None, span: Span = 1.0, points: int = 25, seed: int = 0
) -> Slice:
    """The loss at x + α d₁ + β d₂, for α and β from end to end of the span: points² looks.

    Arguments are those of `slice_1d`; `directions` are two, or None for two random ones. Those are not made orthogonal:
    in many dimensions they nearly are.

    Raises
    ------
    ValueError, TypeError
        As `slice_1d`.

    References
    ----------
    Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, 2018.
    """
    here = Landscape("slice_2d", fn, x)
    alphas = steps("slice_2d", span, points)
    rng = np.random.default_rng(seed)
    if directions is None:
        directions = (None, None)
    if not isinstance(directions, Sequence) or len(directions) != 2:
        raise ValueError("slice_2d: directions are two, (d1, d2), or None for two random ones")
    (d1, name1), (d2, name2) = (chosen(here, "directions", d, rng) for d in directions)
    losses = heights(here, [alpha * d1 + beta * d2 for beta in alphas for alpha in alphas])
    names = (f"α, along {name1}", f"β, along {name2}")
    return Slice((alphas, alphas), losses.reshape(points, points), names)


def random_direction(params: Sequence[Tensor], rng: np.random.Generator) -> list[Any]:
    """A random direction in which every filter moves by its own length, as one array for each parameter.

        d ← ‖θ‖ d / ‖d‖   filter by filter, d standard normal

    A filter is what makes one output: a row of a linear layer's weight, ``(out, in)``, an element of the first axis of
    a convolution's. Without this, a network with small weights (behind batch norm, or a ReLU, where a scale does not
    matter) would look sharper than the same one with large weights. Biases, and weights of batch norm, parameters of
    one axis or none, stay where they are.

    Raises ValueError where that leaves nothing to move.

    Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, 2018, section 4.
    """
    ds = []
    for p in params:
        d = rng.standard_normal(p.shape)
        theta = p.detach().to("cpu").numpy()
        axes = (*range(1, p.ndim),)
        lengths = [np.sqrt((a.astype(float) ** 2).sum(axis=axes, keepdims=True)) for a in (theta, d)]
        ds.append(d * lengths[0] / lengths[1] if p.ndim > 1 else np.zeros(p.shape))
    if not any(d.any() for d in ds):
        raise ValueError("random_direction: no parameter has filters (two axes or more); give a direction of your own")
    return ds


def chosen(here: Landscape, what: str, direction: Any, rng: np.random.Generator) -> tuple[Any, str]:
    """A direction as a vector, and what to call it."""
    if direction is not None:
        return here.direction(what, direction), "the direction given"
    d = here.direction(what, tuple(random_direction(here.params, rng)))
    return d, "a random direction (filter-normalised)"


def steps(name: str, span: Any, points: int) -> Any:
    """Equally spaced numbers from end to end of the span."""
    require(f"{name}: points", points, integer(2))
    low, high = (-span, span) if is_finite(span) else span
    if not (is_finite(low) and is_finite(high) and low < high):
        raise ValueError(f"{name}: span = {span!r}; wanted a number > 0, or (lowest, highest)")
    return np.linspace(low, high, points)


def heights(here: Landscape, moves: Sequence[Any]) -> Any:
    """The loss at x + e for each e."""

    def at(e: Any) -> float:
        with here.moved(e):
            return here.height()

    return np.array([at(e) for e in moves])
