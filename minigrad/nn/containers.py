"""Modules made of modules: one after the other, or round a shortcut.

Public: `Sequential`, `Residual`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .module import Module


class Sequential(Module):
    """One module after the other: each gets what the one before returned. They are named 0, 1, 2, ...

    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> net(mg.zeros((3, 2, 2))).shape
    (3, 2)
    """

    def __init__(self, *modules: Module) -> None:
        for k, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: argument {k} is no Module but {type(module).__name__} {module!r}")
            setattr(self, str(k), module)

    def __iter__(self) -> Iterator[Module]:
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> Module:
        """One of the modules, or with a slice a Sequential of some (the same modules, not copies)."""
        chosen = [*self][index]
        return chosen if isinstance(chosen, Module) else Sequential(*chosen)

    def forward(self, x: Any) -> Any:
        for module in vars(self).values():  # as in `__iter__`, spelt out: its generator costs a microsecond
            if isinstance(module, Module):
                x = module(x)
        return x


class Residual(Module):
    """x + f(x): a shortcut along which the gradient passes unchanged (He et al. 2016).

    `f` must keep the shape; where it does not, `shortcut` says what is added to it instead of x.
    """

    def __init__(self, f: Module, shortcut: Module | None = None) -> None:
        self.f = f
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        z, aside = self.f(x), x if self.shortcut is None else self.shortcut(x)
        if z.shape != aside.shape:
            raise ValueError(
                f"Residual: x has shape {aside.shape} and f(x) {z.shape}; give a shortcut that makes x of that shape"
            )
        return aside + z
