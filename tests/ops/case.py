"""What a line of `cases.py` means: arguments to draw, the cases that they make, and NumPy's answer to compare with.

    row(mg.arctan2, real, positive)                          elementwise: tried at four kinds of shapes
    row(mg.sum,     real(2, 3, 4), axis=each(None, 1, -2))   one case for each axis

`real`, `positive`, ... stand for arrays of random numbers; called with a shape, for one of that shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minigrad as mg

# What an elementwise row is tried at: its first argument's shape, its second's, its third's.
SHAPES = {
    "same": ((3, 4), (3, 4), (3, 4)),
    "broadcast": ((3, 1), (2, 1, 4), (4,)),
    "0-d": ((), (), ()),
    "empty": ((0, 3), (1, 3), (0, 1)),
}


@dataclass(frozen=True)
class Draw:
    """An argument to be drawn at random, uniform between two bounds. `fixed` says that it has no derivative."""

    low: float
    high: float
    dtype: Any = np.float64
    shape: tuple[int, ...] | None = None
    fixed: bool = False

    def __call__(self, *shape: int) -> Draw:
        return replace(self, shape=shape)

    def array(self, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).uniform(self.low, self.high, self.shape).astype(self.dtype)

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "0-d" if self.shape is not None else "any"


# fmt: off
real      = Draw(-2.0, 2.0)
positive  = Draw(0.5, 2.0)
fraction  = Draw(-0.9, 0.9)      # inside (-1, 1)
above_one = Draw(1.1, 3.0)
fixed     = Draw(-2.0, 2.0, fixed=True)
integer   = Draw(-3, 4, dtype=np.int64, fixed=True)
truth     = Draw(0, 2, dtype=np.bool_, fixed=True)
# fmt: on


class each(tuple):
    """Alternatives: one case is made of every one of them."""

    def __new__(cls, *alternatives: Any) -> each:
        return super().__new__(cls, alternatives)


class Unknown:
    """In the place of NumPy's function: there is none."""


@dataclass
class Case:
    """One way to call an op."""

    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numpy: Callable[..., Any] | None
    polynomial: bool
    prepare: Callable[..., Any]
    where: str = ""

    def __str__(self) -> str:
        said = [*map(describe, self.args), *(f"{k}={v}" for k, v in self.kwargs.items())]
        return f"{self.op.__name__}({', '.join(said)}){self.where and ' ' + self.where}"

    @property
    def draws(self) -> list[Draw]:
        return list(leaves(self.args))

    def arrays(self, dtype: Any = np.float64) -> list[np.ndarray]:
        """One array per argument that is drawn; floats of the dtype asked for."""
        found = [draw.array(seed) for seed, draw in enumerate(self.draws)]
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in found]

    def tensors(self, dtype: Any = np.float64) -> list[Any]:
        """The same as Tensors that require a gradient; what is fixed stays an array, and lies where they do."""
        return [
            mg.tensor(a).data if draw.fixed else mg.tensor(a, requires_grad=True)
            for a, draw in zip(self.arrays(dtype), self.draws)
        ]

    def __call__(self, *values: Any) -> Any:
        return self.op(*fill(self.args, iter(self.prepare(*values))), **self.kwargs)

    def by_numpy(self, *values: Any) -> Any:
        return self.numpy(*fill(self.args, iter(self.prepare(*values))), **self.kwargs)


def leaves(args: Any) -> Iterator[Draw]:
    """The draws among arguments, also in lists of them."""
    for arg in args:
        if isinstance(arg, Draw):
            yield arg
        elif isinstance(arg, list):
            yield from leaves(arg)


def fill(args: Any, values: Iterator[Any]) -> list[Any]:
    """Arguments with values in the places of draws."""
    return [
        next(values) if isinstance(arg, Draw) else fill(arg, values) if isinstance(arg, list) else arg for arg in args
    ]


def describe(arg: Any) -> str:
    if isinstance(arg, list):
        return f"[{', '.join(map(describe, arg))}]"
    return str(arg) if isinstance(arg, (Draw, int, float, str, tuple, type(None))) else type(arg).__name__


def numpys(op: Callable[..., Any]) -> Callable[..., Any] | None:
    """NumPy's function of the same name."""
    return getattr(np, op.__name__, None) or getattr(np.linalg, op.__name__, None)


def row(
    op: Callable[..., Any],
    *args: Any,
    numpy: Any = Unknown,
    polynomial: bool = False,
    prepare: Callable[..., Any] = lambda *values: values,
    **kwargs: Any,
) -> list[Case]:
    """All cases of one line of the table.

    Parameters
    ----------
    op, *args, **kwargs
        The call. Each argument may be `each(...)`, a draw, or a list of draws; draws without a shape get four kinds.
    numpy
        What computes the same from arrays; NumPy's function of the same name unless said.
    polynomial
        Is it one, in all its arguments together? Then its fourth derivative at 0 is compared too.
    prepare
        Makes arguments that the op accepts (symmetric matrices) of those that are drawn.
    """
    cases = []
    for chosen in itertools.product(*(arg if isinstance(arg, each) else (arg,) for arg in args)):
        for options in itertools.product(*(v if isinstance(v, each) else (v,) for v in kwargs.values())):
            case = Case(
                op, chosen, dict(zip(kwargs, options)), numpys(op) if numpy is Unknown else numpy, polynomial, prepare
            )
            if any(draw.shape is None for draw in case.draws):
                for where, shapes in SHAPES.items():
                    shaped = iter(shapes)
                    at_shape = [arg(*next(shaped)) if isinstance(arg, Draw) else arg for arg in chosen]
                    cases.append(replace(case, args=tuple(at_shape), where=where))
            else:
                cases.append(case)
    return cases
