"""Recording: where an optimizer was after every step, and what it had in mind.

Public: `Trajectory`, `record`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor

from ..averaged import Averaged
from ..landscape.surfaces import Point, Surface
from ..lookahead import Lookahead
from ..wrapper import Wrapper


class Trajectory:
    """An optimizer, and a copy of all that it does from now on. In a training loop it takes the optimizer's place.

    Parameters
    ----------
    optimizer
        Any of `optim`. Where it is now is the first point.
    name
        What a legend calls it; its class, unless said.
    surface
        What it walks on, if that is known: then pictures can show the ground, and how far the minimum is.
    every
        Keep parameters and state after every so many steps: a network has many numbers, Adam three times as many.

    Attributes
    ----------
    loss, gradient_norm, lr
        Lists, by step: what the closure returned (NaN if there was none), the 2-norm of the gradient that the step was
        made of, the rate of the first parameter group.
    steps
        A list: after how many steps the points were kept: 0, every, 2 every, ...
    points
        All parameters, flat, side by side: an array ``(len(steps), n)``.
    state
        By the name in the formula, arrays ``(len(steps) - 1, n)``: there is none before the first step.

    Raises
    ------
    ValueError
        Unless `every` is an integer >= 1.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> from optim.trajectory import Trajectory
    >>> p = mg.tensor([2.0, 0.0], requires_grad=True)
    >>> path = Trajectory(optim.SGD([p], lr=0.25, momentum=0.5))
    >>> for _ in range(2):
    ...     loss = path.step(lambda: (p * p).sum())
    >>> path.loss, path.gradient_norm, path.lr
    ([4.0, 1.0], [4.0, 2.0], [0.25, 0.25])
    >>> path.points[:, 0].tolist(), path.state["v"][:, 0].tolist()
    ([2.0, 1.0, 0.0], [4.0, 4.0])
    """

    def __init__(self, optimizer: Any, name: str | None = None, surface: Surface | None = None, every: int = 1) -> None:
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"Trajectory: every = {every!r}, wanted an integer >= 1")
        self.optimizer, self.surface, self.every = optimizer, surface, every
        names = [type(each).__name__ for each in unwrapped(optimizer)]
        self.name = name or "(".join(names) + ")" * (len(names) - 1)
        self.loss: list[float] = []
        self.gradient_norm: list[float] = []
        self.lr: list[float] = []
        self.steps: list[int] = []
        self._points: list[Any] = []
        self._states: list[dict[str, Any]] = []
        self.keep()

    def __repr__(self) -> str:
        ground = "" if self.surface is None else f" on {self.surface.name}"
        return f"Trajectory({self.name}{ground}: {len(self.loss)} steps, {self._points[0].size} parameters)"

    @property
    def param_groups(self) -> Any:
        """The optimizer's own, so that `fit` can read the rate."""
        return self.optimizer.param_groups

    def parameters(self) -> list[Tensor]:
        """All parameters, group after group."""
        return [p for group in self.param_groups for p in group["params"]]

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Let the optimizer take a step, note it, and return the loss."""
        rate = self.param_groups[0]["lr"]
        loss = self.optimizer.step(closure)
        self.loss.append(math.nan if loss is None else loss.item())
        self.lr.append(rate)
        grads = [p.grad.data for p in self.parameters() if p.grad is not None]
        self.gradient_norm.append(math.sqrt(sum(float((g * g).sum()) for g in grads)))
        if len(self.loss) % self.every == 0:
            self.keep()
            self._states.append(self.state_now())
        return loss

    def keep(self) -> None:
        """Copy the parameters, all in one flat array."""
        self.steps.append(len(self.loss))
        self._points.append(flat(self.parameters()))

    def state_now(self) -> dict[str, Any]:
        """A copy of the optimizer's state, and of those that it wraps: flat arrays by name, 0 where there is none."""
        found: dict[str, dict[Tensor, Any]] = {}
        for p, entries in self.optimizer.state.items():
            for name, value in entries.items():
                if getattr(value, "shape", None) == p.shape:
                    found.setdefault(name, {})[p] = value
        for optimizer in unwrapped(self.optimizer):
            if isinstance(optimizer, Lookahead):
                found["slow"] = optimizer.slow
            elif isinstance(optimizer, Averaged):
                found["average"] = {p: average.value for p, average in optimizer.averages.items()}
        return {
            name: flat(Tensor(known.get(p, np.zeros_like(p.data))) for p in self.parameters())
            for name, known in found.items()
        }

    @property
    def points(self) -> Any:
        return np.stack(self._points)

    @property
    def state(self) -> dict[str, Any]:
        names = dict.fromkeys(name for state in self._states for name in state)
        nothing = np.zeros_like(self._points[0])
        return {name: np.stack([state.get(name, nothing) for state in self._states]) for name in names}

    def heights(self) -> Any:
        """The surface's height at every point, an array ``(len(steps),)``. Raises ValueError without a surface."""
        with np.errstate(all="ignore"):
            return self.ground()(self.points.T)

    def distances(self, places: Sequence[Point] | None = None) -> Any:
        """How far the nearest of these places is from every point, ``(len(steps),)``; of the minima, unless said.

        It is inf where there are none. Raises ValueError without a surface.
        """
        there = np.array(self.ground().minima if places is None else places).reshape(-1, 1, 2)
        with np.errstate(all="ignore"):
            return np.linalg.norm(self.points - there, axis=-1).min(axis=0, initial=math.inf)

    def ground(self) -> Surface:
        """The surface. Raises ValueError where there is none."""
        if self.surface is None:
            raise ValueError(f"{self.name} was recorded without a surface; use record(surface, ...)")
        return self.surface


def flat(tensors: Iterable[Tensor]) -> Any:
    """The elements of all of them, in one new array on the CPU."""
    return np.concatenate([t.numpy() for t in tensors], axis=None)


def unwrapped(optimizer: Any) -> list[Any]:
    """An optimizer, the one that it wraps, and so on."""
    return [optimizer, *unwrapped(optimizer.base)] if isinstance(optimizer, Wrapper) else [optimizer]


def record(
    surface: Surface,
    make: Callable[[list[Tensor]], Any],
    steps: int = 100,
    start: Sequence[float] | None = None,
    name: str | None = None,
) -> Trajectory:
    """The path of an optimizer on a surface, in float64.

    Parameters
    ----------
    make
        Makes the optimizer of a list of parameters: ``lambda params: optim.SGD(params, lr=0.1)``.
    start
        The surface's own first start, unless said.
    name
        What a legend calls it.

    Returns
    -------
    Trajectory
        Of so many steps; a path that runs away to infinity ends with the first point that is not finite.

    Examples
    --------
    >>> import optim
    >>> from optim.landscape.surfaces import bowl
    >>> from optim.trajectory import record
    >>> path = record(bowl(kappa=2), lambda params: optim.SGD(params, lr=0.5), steps=20)
    >>> path.points[:3].tolist()
    [[-3.5, 1.0], [-1.75, 0.0], [-0.875, 0.0]]
    >>> path.distances()[:3].round(4).tolist()
    [3.6401, 1.75, 0.875]
    """
    p = mg.tensor(np.array(surface.starts[0] if start is None else start, np.float64), requires_grad=True)
    path = Trajectory(make([p]), name, surface)
    with np.errstate(all="ignore"):  # overflow is a path's end, and no one's mistake
        for _ in range(steps):
            path.step(lambda: surface(p))
            if not np.isfinite(p.data).all():
                break
    return path
