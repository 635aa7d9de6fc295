"""A row of the table of derivatives, read from Python's own signatures.

    Row(np.multiply, {"x": lambda g, y: g * y, "y": lambda g, x: g * x})

The keyword says which argument a rule differentiates, the rule's parameter names say what it needs. Both are resolved
to positions here, once, when the row is defined, so that `engine` only picks from a list; `Row` says what it asks for.

Public: `Row`.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

# NumPy's options that change what a derivative is, or where its result goes: never passed on.
REFUSED = ("out", "where", "dtype", "initial", "casting", "order", "subok", "copy", "mean", "correction")

MISSING = object()  # the default of an argument that has none

Step = Callable[[Any, list[Any]], Any]  # a rule, called with the gradient and a node's kept values


class Row:
    """A forward function, and for each differentiable argument a rule and the positions of what it names.

    ``compute(*values)`` is the forward function taking all arguments by position, ``names`` are theirs. A node keeps
    a list [arguments..., z, shapes of arguments...], less what no rule names; ``steps`` pairs with that node's parents.

    Raises TypeError where a rule differentiates an argument that the forward does not have, or names something unknown.
    """

    def __init__(self, forward: Callable[..., Any], rules: dict[str, Callable[..., Any]]) -> None:
        self.name: str = getattr(forward, "__name__", "op").lstrip("_")
        self.forward, self.rules = forward, rules
        self.view = False  # does the output share memory with the first argument? `ops/shapes.py` says so
        self.variadic = False  # `*xs` counts as one argument, a tuple; its rule is called once per element
        self.defaults: dict[str, Any] = {}
        keywords: list[str] = []
        if isinstance(forward, np.ufunc):
            self.names = [*rules, *("x", "y", "w")[len(rules) : forward.nin]]
        else:
            self.names = self._read_signature(forward, keywords)
        if not set(rules) <= set(self.names) or (isinstance(forward, np.ufunc) and len(self.names) != forward.nin):
            raise TypeError(f"op({self.name}): rules for {[*rules]}, but its arguments are {self.names}")
        if not {"g", "z"}.isdisjoint(self.names):
            raise TypeError(f"op({self.name}): to rules, g is the gradient and z the output; rename that argument")
        if self.variadic and (self.names[:1] != [*rules] or len(keywords) != len(self.names) - 1):
            raise TypeError(
                f"op({self.name}): *{self.names[0]} wants a rule, comes first, and what follows is keywords"
            )

        self.fallbacks = [self.defaults.get(name, MISSING) for name in self.names]
        self.required = [k for k, default in enumerate(self.fallbacks) if default is MISSING]

        by_position = len(self.names) - len(keywords)
        if self.variadic:
            self.compute = lambda xs, *rest: forward(*xs, **dict(zip(keywords, rest)))
        elif keywords:
            self.compute = lambda *v: forward(*v[:by_position], **dict(zip(keywords, v[by_position:])))
        else:
            self.compute = forward

        wants = {name: [*inspect.signature(rule).parameters] for name, rule in rules.items()}
        named = set().union(*wants.values())
        shapes = [name for name in self.names if f"{name}_shape" in named]
        self.shapes_of = tuple(self.names.index(name) for name in shapes)
        self.places = {name: k for k, name in enumerate([*self.names, "z", *(f"{name}_shape" for name in shapes)])}
        self.needs = tuple(self._resolve(wants[name]) if name in rules else () for name in self.names)
        self.steps: Iterable[Any]  # a Step per argument, None for constants
        if self.variadic:
            self.steps = Each(rules[self.names[0]], self.needs[0], wants[self.names[0]])
            self.bits: Iterable[int] = itertools.repeat(1)
        else:
            self.steps = [pick(rules[n], needs) if n in rules else None for n, needs in zip(self.names, self.needs)]
            self.bits = [1 << k if name in rules else 0 for k, name in enumerate(self.names)]

    def _read_signature(self, forward: Callable[..., Any], keywords: list[str]) -> list[str]:
        names = []
        skipped = False
        for p in inspect.signature(forward).parameters.values():
            if p.kind is p.VAR_KEYWORD or (p.name in REFUSED and p.default is not p.empty):
                skipped = True  # what comes after it can only be given by name
                continue
            self.variadic |= p.kind is p.VAR_POSITIONAL
            if p.kind is p.KEYWORD_ONLY or skipped:
                keywords.append(p.name)
            if p.default is not p.empty:
                self.defaults[p.name] = False if p.default is np._NoValue else p.default
            names.append(p.name)
        return names

    def _resolve(self, wants: list[str]) -> tuple[int, ...]:
        known = [*self.places, "i"] if self.variadic else [*self.places]
        if wants[:1] != ["g"] or not set(wants[1:]) <= set(known):
            raise TypeError(f"op({self.name}): a rule takes g, then any of {known}; this one takes {wants}")
        return tuple(self.places[name] for name in wants[1:] if name in self.places)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in the forward's order, with defaults. Raises TypeError for unknown, double or missing ones."""
        if self.variadic:
            args = (args,)
        n = len(args)
        if n > len(self.names):
            raise TypeError(f"{self.name}: takes {', '.join(self.names)}; got {n} arguments by position")
        values = [*args, *self.fallbacks[n:]]
        for name, value in kwargs.items():
            if name in self.names:
                k = self.names.index(name)
                if k < n:
                    raise TypeError(f"{self.name}: argument {name!r} is given twice")
                values[k] = value
            elif name not in REFUSED or not (value is None or value is np._NoValue):
                hint = {"dim": " (NumPy's word is axis)", "keepdim": " (NumPy's word is keepdims)"}.get(name, "")
                raise TypeError(f"{self.name}: unknown argument {name!r}{hint}; it takes {', '.join(self.names)}")
        for k in self.required:
            if values[k] is MISSING:
                raise TypeError(f"{self.name}: argument {self.names[k]!r} is missing; it takes {', '.join(self.names)}")
        return tuple(values)

    def unnamed(self, mask: int) -> tuple[int, ...]:
        """Positions of what need not be kept, when the arguments whose bits are set in `mask` need a gradient."""
        named = {k for at, needs in enumerate(self.needs) if mask & 1 << at for k in needs}
        return tuple(k for k in range(len(self.places)) if k not in named)

    def sign(self, function: Any) -> None:
        """Give the function made of this row its name, signature and docstring, for `help` and for doctest."""
        P = inspect.Parameter
        first, other = (P.VAR_POSITIONAL, P.KEYWORD_ONLY) if self.variadic else (P.POSITIONAL_OR_KEYWORD,) * 2
        kinds = [first, *[other] * len(self.names)]
        parameters = [P(n, kind, default=self.defaults.get(n, P.empty)) for n, kind in zip(self.names, kinds)]
        differentiable = ", ".join(n for n, step in zip(self.names, self.steps) if step is not None) or "nothing"
        borrowed = f"`numpy.{self.name}` on arrays and Tensors; differentiable in {differentiable}."
        function.__name__ = function.__qualname__ = self.name
        function.__module__ = sys._getframe(2).f_globals["__name__"]  # of the one who called `op`
        function.__doc__ = borrowed if getattr(np, self.name, None) is self.forward else self.forward.__doc__
        function.__signature__ = inspect.Signature(parameters)
        function.row = self


def pick(rule: Callable[..., Any], needs: tuple[int, ...]) -> Step:
    """A rule as a function of (g, values). Spelt out where it is hot: the last case costs 100 ns more."""
    match needs:
        case ():
            return lambda g, values: rule(g)
        case (i,):
            return lambda g, values: rule(g, values[i])
        case (i, j):
            return lambda g, values: rule(g, values[i], values[j])
        case _:
            return lambda g, values: rule(g, *[values[k] for k in needs])


class Each:
    """The steps of a `*xs` row: the same rule for every element, told its position `i` if it asks."""

    def __init__(self, rule: Callable[..., Any], needs: tuple[int, ...], wants: list[str]) -> None:
        at = wants.index("i") - 1 if "i" in wants else None
        self.rule, self.needs, self.at = rule, needs, at

    def __iter__(self) -> Iterator[Step]:
        for i in itertools.count():
            yield partial(self._step, i)

    def _step(self, i: int, g: Any, values: list[Any]) -> Any:
        named = [values[k] for k in self.needs]
        if self.at is not None:
            named.insert(self.at, i)
        return self.rule(g, *named)
