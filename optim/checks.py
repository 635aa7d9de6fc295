"""What a setting may be, what a saved state must be, what memory has room for: refusals, before anything has changed.

Public: `Rule` and what makes one (`at_least`, `integer`, `below_one`, `one_of`, `every`, `finite`), `require`, `plain`;
`check_keys`, `as_count`, `as_saved`; `require_room`.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor

Rule = tuple[Callable[[Any], bool], str]  # is the value allowed, and what is wanted in words


def is_finite(x: Any) -> bool:
    """Is x a finite number?"""
    return isinstance(x, numbers.Real) and not isinstance(x, bool) and math.isfinite(x)


def at_least(low: float) -> Rule:
    """A finite number >= low."""
    return lambda x: is_finite(x) and x >= low, f"a finite number >= {low}"


def integer(low: int) -> Rule:
    """An integer >= low."""
    return lambda x: is_finite(x) and isinstance(x, numbers.Integral) and int(x) >= low, f"an integer >= {low}"


def below_one() -> Rule:
    """A number in [0, 1), or several."""
    return lambda x: all(is_finite(b) and 0 <= b < 1 for b in (x if isinstance(x, tuple) else (x,))), "0 <= value < 1"


def one_of(*choices: Any) -> Rule:
    """One of these values."""
    return lambda x: x in choices, "one of " + ", ".join(map(repr, choices))


def every(rule: Rule) -> Rule:
    """A list of what the rule allows."""
    return lambda xs: isinstance(xs, Sequence) and all(map(rule[0], xs)), f"a list, each {rule[1]}"


def finite() -> Rule:
    """If it is a number, a finite one: for settings that have no rule of their own."""
    return lambda x: not isinstance(x, float) or math.isfinite(x), "a finite number"


def require(name: str, value: Any, rule: Rule) -> None:
    """Raise ValueError unless the value is allowed."""
    allowed, wanted = rule
    if not allowed(value):
        raise ValueError(f"{name} = {value!r}; wanted {wanted}")


ACCEPTED: dict[type, Any] = {bool: (bool, np.bool_), int: numbers.Integral, float: numbers.Real}


def plain(value: Any, default: Any) -> Any:
    """`value` as the Python number (or tuple of them) that `default` is. Raises TypeError where it is something else.

    An `np.float64` beside a float32 array would make everything it touches float64, at three times the cost.
    """
    if isinstance(default, tuple):
        return tuple(plain(v, d) for v, d in zip(value, default, strict=True))
    kind: Any = type(default)
    if kind in ACCEPTED:
        if not isinstance(value, ACCEPTED[kind]) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"wanted {kind.__name__}, got {type(value).__name__}")
        return kind(value)
    return value


# ------------------------------------------------------------------------------------------------------ what was saved


def check_keys(where: str, found: Any, wanted: Set[str], optional: Set[str] = frozenset()) -> None:
    """Raise ValueError unless `found` is a dict of just the wanted keys, some of them optional."""
    if not isinstance(found, dict) or not wanted - optional <= set(found) <= wanted:
        got = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{where}: wanted a dict of {', '.join(sorted(wanted))}; got {got or 'an empty one'}")


def as_count(where: str, value: Any) -> int:
    """A saved count of steps. Raises ValueError where it is none."""
    require(where, value, integer(0))
    return int(value)


def as_saved(where: str, value: Any, p: Tensor) -> Any:
    """A copy of a saved array, as one of p's dtype and device. Raises ValueError where its shape is not p's."""
    array = mg.tensor(value, p.dtype, device=p.device).data
    if array.shape != p.shape:
        raise ValueError(f"{where} has shape {array.shape}; its parameter has {p.shape}")
    return array


# ------------------------------------------------------------------------------------------------- what would not fit


def require_room(name: str, n: int, dtype: Any, instead: str) -> None:
    """Raise MemoryError where an n × n matrix, and the copy that working with it takes, would not fit."""
    wanted, there = 2 * n * n * np.dtype(dtype).itemsize, memory_of_machine()
    if wanted > there:
        raise MemoryError(
            f"{name}: of n = {n:,} parameters the matrix has n² = {n * n:,} elements; with a copy to work on "
            f"{wanted / 2**30:,.0f} GiB, and this machine has {there / 2**30:,.0f}; {instead}"
        )


def memory_of_machine() -> int:
    """Bytes of memory that are built in; where the system does not say, 8 GiB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**33
