"""Landscapes to walk on: functions of two numbers, each with one difficulty, and all that is known of them.

    p = mg.tensor(beale.starts[0], requires_grad=True)
    opt = optim.Adam([p], lr=0.05)
    opt.step(lambda: beale(p))

Public: the class `Surface`; `bowl`, which makes one of any condition number; `rosenbrock`, `beale`, `himmelblau`,
`rastrigin`, `saddle`, `monkey_saddle`, `plateau`, `double_well`; and `ALL` of these, with the bowl of κ = 100, by name.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Point = tuple[float, float]


@dataclass(frozen=True)
class Surface:
    """A function of two numbers, and what is known of it. Called with a point or with many, it gives the height.

    Attributes
    ----------
    name
        What to write over a picture.
    formula
        The height as a function of x and y: numbers, arrays or Tensors.
    domain
        (lowest, highest) x, and y: where it is worth looking at.
    starts
        Points from which its difficulty shows.
    minima
        Where it is lowest; nowhere, if it falls without end.
    saddles
        Where the gradient is 0 and yet some directions lead down.

    Raises
    ------
    ValueError
        When called with something other than two coordinates, ``(2, ...) -> (...)``.

    Examples
    --------
    >>> import numpy as np, minigrad as mg
    >>> from optim.landscape.surfaces import rosenbrock
    >>> p = mg.tensor([0.0, 1.0], requires_grad=True)
    >>> rosenbrock(p)
    tensor(101., dtype=float32, device='cpu', op='add')
    >>> rosenbrock(np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    array([101., 100.,   0.])
    """

    name: str
    formula: Callable[[Any, Any], Any]
    domain: tuple[Point, Point]
    starts: tuple[Point, ...]
    minima: tuple[Point, ...] = ()
    saddles: tuple[Point, ...] = ()

    def __call__(self, p: Any) -> Any:
        if len(p) != 2:
            raise ValueError(f"{self.name}: wanted two coordinates, a point of shape (2, ...), got {len(p)}")
        x, y = p
        return self.formula(x, y)

    def grid(self, n: int = 100) -> tuple[Any, Any, Any]:
        """x, y and the height at n × n points of the domain, arrays ``(n, n)`` as contour pictures want them."""
        x, y = np.meshgrid(*(np.linspace(low, high, n) for low, high in self.domain))
        return x, y, self.formula(x, y)


@functools.cache  # so that two bowls of one κ are the same surface
def bowl(kappa: float = 100.0, angle: float = 0.0) -> Surface:
    """½ (u² + κ v²), u and v being x and y turned by `angle` (in radians): a half-pipe where κ is large.

    The Hessian has the eigenvalues 1 and κ everywhere, and κ is its condition number. A gradient step that does not
    overshoot across the pipe is too short along it. Turned, the bowl is just as hard for gradient descent, but no
    longer easy for methods with a rate for each coordinate.

    Raises ValueError unless κ is a finite number >= 1.
    """
    if not 1 <= kappa < math.inf:
        raise ValueError(f"bowl: kappa = {kappa!r}, wanted a finite number >= 1")
    cos, sin = math.cos(angle), math.sin(angle)
    return Surface(
        name=f"bowl, κ = {kappa:g}" + (f", turned by {angle:.2g}" if angle else ""),
        formula=lambda x, y: 0.5 * (cos * x + sin * y) ** 2 + 0.5 * kappa * (cos * y - sin * x) ** 2,
        domain=((-4.0, 4.0), (-2.0, 2.0)),
        starts=((-3.5, 1.0), (3.0, -1.5)),
        minima=((0.0, 0.0),),
    )


# A narrow valley along y = x², nearly flat on its floor (Rosenbrock 1960).
rosenbrock = Surface(
    name="Rosenbrock",
    formula=lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    domain=((-2.0, 2.0), (-1.0, 3.0)),
    starts=((-1.2, 1.0), (-0.5, 2.5)),
    minima=((1.0, 1.0),),
)

# Plains and, towards the corners, walls of 10⁵ (Beale 1958).
beale = Surface(
    name="Beale",
    formula=lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
    domain=((-4.5, 4.5), (-4.5, 4.5)),
    starts=((1.0, 1.5), (-3.0, -3.0)),
    minima=((3.0, 0.5),),
    saddles=((0.0, 1.0),),
)

# Four minima of equal depth: the start decides (Himmelblau 1972).
himmelblau = Surface(
    name="Himmelblau",
    formula=lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    domain=((-5.0, 5.0), (-5.0, 5.0)),
    starts=((-1.0, -1.0), (0.5, -4.5)),
    minima=(
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286169),
        (3.5844283403304917, -1.8481265269644034),
    ),
    saddles=(
        (0.08667750455539634, 2.884254701174776),
        (-3.0730257507643897, -0.08135304428796751),
        (3.385154183607021, 0.07385187983774928),
        (-0.12796134673068005, -1.9537149802445766),
    ),
)

# A bowl full of holes, one at every pair of integers, of which only that at 0 is the deepest (Rastrigin 1974).
rastrigin = Surface(
    name="Rastrigin",
    formula=lambda x, y: 20 + x**2 - 10 * np.cos(2 * np.pi * x) + y**2 - 10 * np.cos(2 * np.pi * y),
    domain=((-5.12, 5.12), (-5.12, 5.12)),
    starts=((-3.4, 2.6), (1.6, 0.7)),
    minima=((0.0, 0.0),),
)

# Down along y, up along x. From (1, 0) plain gradient descent ends at 0, where the gradient is none.
saddle = Surface(
    name="saddle",
    formula=lambda x, y: x**2 - y**2,
    domain=((-1.5, 1.5), (-1.5, 1.5)),
    starts=((1.2, 1e-3), (1.2, 0.0)),
    saddles=((0.0, 0.0),),
)

# Three ways down and three up: room for two legs and a tail. At 0 the Hessian is 0, and tells nothing.
monkey_saddle = Surface(
    name="monkey saddle",
    formula=lambda x, y: x**3 - 3 * x * y**2,
    domain=((-1.5, 1.5), (-1.5, 1.5)),
    starts=((1.0, 1e-2), (1.2, 0.4)),
    saddles=((0.0, 0.0),),
)

# A pit in a plain on which the gradient nearly vanishes, though there is far to go.
plateau = Surface(
    name="plateau",
    formula=lambda x, y: 1 - np.exp(-(x**2) / 8 - y**2 / 2),
    domain=((-9.0, 9.0), (-4.5, 4.5)),
    starts=((-7.0, 2.0), (4.0, -3.0)),
    minima=((0.0, 0.0),),
)


def _sharp_or_flat(x: Any, y: Any) -> Any:
    """1 / (1/sharp + 1/flat), of two bowls: near the bottom of either the other hardly counts."""
    sharp, flat = 50 * ((x - 1) ** 2 + y**2), (x + 1) ** 2 + y**2
    return sharp * flat / (sharp + flat)


# Two minima of equal depth 0. At (1, 0) the Hessian is 100 times the identity, at (-1, 0) it is 2 times.
double_well = Surface(
    name="sharp and flat well",
    formula=_sharp_or_flat,
    domain=((-2.5, 2.0), (-1.5, 1.5)),
    starts=((1.2, 0.1), (1.5, 1.0)),
    minima=((1.0, 0.0), (-1.0, 0.0)),
    # The pass between them, where sharp'/sharp² + flat'/flat² = 0: ((1 + x) / (1 - x))³ = 50.
    saddles=(((50 ** (1 / 3) - 1) / (50 ** (1 / 3) + 1), 0.0),),
)

ALL = {
    "bowl": bowl(),
    "rosenbrock": rosenbrock,
    "beale": beale,
    "himmelblau": himmelblau,
    "rastrigin": rastrigin,
    "saddle": saddle,
    "monkey_saddle": monkey_saddle,
    "plateau": plateau,
    "double_well": double_well,
}
