"""Drawing: paths over the ground they were walked on, and how the numbers went.

Public: `draw`, `draw_progress`, `draw_state`. Each returns a Matplotlib figure, ``figure.savefig("path.png")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..landscape.surfaces import Surface
from .recording import Trajectory

# Okabe and Ito's colours, which the colour-blind tell apart, less their yellow, which is lost on white paper. After
# seven paths they begin anew with another dash.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":")
ROUNDING = 1e-16  # heights and distances below it tell nothing

# What the letters of the formulas stand for. v is a velocity in SGD and NAG, which have no m.
WORDS = {
    "m": "first moment m: mean of the gradients",
    "v": "second moment v: mean of the squared gradients",
    "v_max": "largest second moment so far",
    "r": "second moment r: mean of the squared gradients",
    "G": "second moment G: sum of the squared gradients",
    "b": "momentum b: what the steps pushed so far",
    "slow": "slow weights",
    "s": "last step s",
    "g": "gradient g before it",
    "average": "average of the gradients",
}
VELOCITY = "velocity v: what the gradients pushed so far"


def draw(paths: Sequence[Trajectory], every: int = 10) -> Any:
    """Paths from above, over the contours of the surface that they share; a star marks each minimum.

    A dot marks every so many steps of a path: where dots are far apart it was fast. Lines of equal height are denser
    towards the bottom. What leaves the surface's domain is cut off.

    Raises ValueError for no paths, paths not recorded on one surface, or `every` < 1; ImportError, naming the extra to
    install, where Matplotlib is missing.
    """
    if every < 1:
        raise ValueError(f"draw: every = {every}, wanted a number of steps >= 1")
    surface = shared_surface("draw", paths)
    width, height = np.ptp(surface.domain, axis=1)
    figure = new_figure("draw", figsize=(4.5 * width / height + 3, 5))
    draw_ground(figure.subplots(), surface)
    for k, path in enumerate(paths):
        line = draw_path(figure.axes[0], path, k)
        line.set(marker="o", markersize=4, markevery=[i for i, step in enumerate(path.steps) if step % every == 0])
    figure.legend(loc="outside right upper", title=f"a dot every {every} steps" if every > 1 else "a dot every step")
    return figure


def draw_progress(paths: Sequence[Trajectory]) -> Any:
    """Height above the minimum, and distance to the nearest one, over the steps, both on a logarithmic scale.

    Where there is no minimum, the height itself and the distance to the saddle; where there is no surface, the loss and
    the norm of the gradient. What is beyond the surface's domain is left out, so that no runaway flattens the others;
    so is what is below 1e-16, rounding. Raises as `draw`, but paths without a surface are welcome.
    """
    if not paths:
        raise ValueError("draw_progress: got no paths")
    surfaces = {path.surface for path in paths}
    surface = shared_surface("draw_progress", paths) if surfaces != {None} else None
    figure = new_figure("draw_progress", figsize=(11, 4))
    left, right = figure.subplots(1, 2)
    draw_height(left, paths, surface)
    draw_distance(right, paths, surface)
    figure.legend(handles=left.lines, loc="outside right upper")
    return figure


def draw_state(path: Trajectory) -> Any:
    """What an optimizer remembered, a panel for each name of its state, over the steps.

    Of two parameters x and y a line each; of more, the band in which nine of ten numbers lie, and the median.
    Raises ValueError where nothing was recorded, as for plain gradient descent; ImportError as `draw`.
    """
    state = path.state
    if not state:
        raise ValueError(f"draw_state: no state was recorded of {path.name}; take steps, or draw one that has momentum")
    figure = new_figure("draw_state", figsize=(4.5 * len(state), 4))
    for axes, name in zip(figure.subplots(1, len(state), squeeze=False)[0], state):
        draw_memory(axes, path, name)
    return figure


# ------------------------------------------------------------------------------------------------------------ the parts


def new_figure(function: str, **options: Any) -> Any:
    """A figure that belongs to nobody: no window opens, nothing is to be closed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"{function} needs Matplotlib: pip install 'minigrad-course[plot]'") from None
    return Figure(layout="constrained", **options)


def shared_surface(function: str, paths: Sequence[Trajectory]) -> Surface:
    """The surface on which all paths lie. Raises ValueError where that is not so."""
    surfaces = {path.surface for path in paths}
    if len(surfaces) != 1 or None in surfaces:
        names = sorted("no surface" if s is None else s.name for s in surfaces) or ["no paths"]
        raise ValueError(f"{function}: wanted paths on one surface, as record makes them; got {', '.join(names)}")
    return surfaces.pop()  # type: ignore[return-value]


def style(k: int) -> dict[str, Any]:
    """The k-th line's colour and dash."""
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS) % len(DASHES)]}


def finite(values: Any) -> Any:
    """The values, with NaN for infinity, which Matplotlib would stumble over."""
    return np.where(np.isfinite(values), values, np.nan)


def draw_ground(axes: Any, surface: Surface) -> None:
    """Contours of a surface, dense where it is low, and its minima; x and y to one scale, as gradients need it."""
    x, y, z = surface.grid(200)
    levels = np.unique(np.quantile(z, np.linspace(0, 1, 24) ** 1.5))
    axes.contourf(x, y, z, levels, colors=[str(grey) for grey in np.linspace(0.7, 1, len(levels) - 1)])
    axes.contour(x, y, z, levels, colors="0.6", linewidths=0.4)
    axes.set(title=surface.name, xlabel="x", ylabel="y", xlim=surface.domain[0], ylim=surface.domain[1], aspect="equal")
    for point in surface.minima:
        axes.plot(*point, marker="*", markersize=14, color="white", markeredgecolor="black", zorder=3)


def draw_path(axes: Any, path: Trajectory, k: int) -> Any:
    """The k-th path, as a line from its start. Returns the line."""
    x, y = finite(path.points).T
    (line,) = axes.plot(x, y, **style(k), linewidth=1.5, label=path.name, zorder=2.5)
    return line


def draw_height(axes: Any, paths: Sequence[Trajectory], surface: Surface | None) -> None:
    """How far down each path came."""
    if surface is None:
        axes.set(title="loss")
        draw_values(axes, paths, lambda path: (range(1, len(path.loss) + 1), path.loss))
        return
    heights = surface.grid()[2]
    if surface.minima:
        lowest = min(surface(np.array(point)) for point in surface.minima)
        axes.set(title="height above the minimum", yscale="log")
        draw_values(axes, paths, lambda path: (path.steps, path.heights() - lowest), ROUNDING, heights.max() - lowest)
    else:
        axes.set(title="height")
        draw_values(axes, paths, lambda path: (path.steps, path.heights()), heights.min(), heights.max())


def draw_distance(axes: Any, paths: Sequence[Trajectory], surface: Surface | None) -> None:
    """How far the minimum is, or the saddle; where neither is known, how large the gradient."""
    axes.set(yscale="log")
    if surface is None or not (surface.minima or surface.saddles):
        axes.set(title="norm of the gradient")
        draw_values(axes, paths, lambda path: (range(1, len(path.loss) + 1), path.gradient_norm))
        return
    axes.set(title=f"distance to the nearest {'minimum' if surface.minima else 'saddle'}")
    places, diagonal = surface.minima or surface.saddles, np.hypot(*np.ptp(surface.domain, axis=1))
    draw_values(axes, paths, lambda path: (path.steps, path.distances(places)), ROUNDING, diagonal)


def draw_values(
    axes: Any, paths: Sequence[Trajectory], values: Any, lowest: float = -np.inf, highest: float = np.inf
) -> None:
    """A line for each path, ``values(path)`` being steps and heights; what is beyond the limits is left out."""
    for k, path in enumerate(paths):
        steps, heights = values(path)
        inside = np.greater_equal(heights, lowest) & np.less_equal(heights, highest)  # NaN is not
        axes.plot(steps, np.where(inside, heights, np.nan), **style(k), label=path.name)
    axes.set(xlabel="step")
    axes.grid(alpha=0.3)


def draw_memory(axes: Any, path: Trajectory, name: str) -> None:
    """One name of the state, over the steps."""
    values, steps = finite(path.state[name]), path.steps[1:]
    axes.set(title=VELOCITY if name == "v" and "m" not in path.state else WORDS.get(name, name), xlabel="step")
    axes.title.set_fontsize("medium")
    axes.grid(alpha=0.3)
    if values.shape[1] == 2:
        for k, coordinate in enumerate("xy"):
            axes.plot(steps, values[:, k], **style(k), label=coordinate)
    else:
        low, median, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
        axes.fill_between(steps, low, high, alpha=0.3, color=COLOURS[0], label="nine of ten")
        axes.plot(steps, median, color=COLOURS[0], label="median")
    axes.legend()
