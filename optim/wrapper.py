"""The base class of optimizers around another: they change how gradients are taken, or what follows a step.

A step is `gradients`, then `apply`; each wrapper overrides one of the two and calls its base's. So they nest in any
order: ``SAM(Lookahead(SGD(model.parameters(), lr=0.1)))``.

Public: `Wrapper`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from minigrad import Tensor

from .checks import check_keys
from .optimizer import Optimizer


class Wrapper(Optimizer):
    """An optimizer around a base, whose parameters, groups and state are its own.

    What the constructor of a subclass takes after `base`, with a default, is a setting: checked by `rules`, kept as an
    attribute, saved with the state.

    Raises
    ------
    TypeError
        Where `base` is not an optimizer, or one whose step is not just `gradients`, then `apply` (a line search).
    """

    whole_steps: ClassVar[bool] = False  # True: also around methods that take gradients within their step

    def __init_subclass__(cls) -> None:
        _, _, *settings = inspect.signature(cls.__init__).parameters.values()
        cls.defaults = {p.name: p.default for p in settings if p.default is not p.empty}

    def __init__(self, base: Optimizer, **settings: Any) -> None:
        if not isinstance(base, Optimizer):
            raise TypeError(f"{self._name}: base is a {type(base).__name__}, wanted an optimizer")
        if type(base).step is not Optimizer.step and not self.whole_steps:
            raise TypeError(f"{self._name}: {base._name} takes gradients within its step, and cannot be wrapped")
        self.base = base
        self.param_groups, self.state = base.param_groups, base.state
        self.needs_closure = self.needs_closure or base.needs_closure
        values = {name: self.checked(name, value) for name, value in settings.items()}
        self.check(values)
        vars(self).update(values)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in self.defaults)
        return f"{self._name}({settings}) around\n{self.base!r}"

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """As the base's."""
        self.base.add_param_group(group)

    def gradients(self, closure: Callable[[], Tensor]) -> Tensor:
        """As the base's."""
        return self.base.gradients(closure)

    def apply(self) -> None:
        """As the base's."""
        self.base.apply()

    # -------------------------------------------------------------------------------------------------- saving

    def memory(self) -> dict[str, Any]:
        """A copy of what the wrapper itself remembers, parameters by number. Here nothing."""
        return {}

    def remembered(self, memory: dict[str, Any], params: dict[int, Tensor]) -> dict[str, Any]:
        """The attributes that `memory` was made of. Raises ValueError where it does not fit, and changes nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that a run needs to go on: the base's, and beside it this wrapper's settings and memory."""
        settings = {name: getattr(self, name) for name in self.defaults}
        return {"base": self.base.state_dict(), "settings": settings, "memory": self.memory()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, bit for bit; raises as `Optimizer.load_state_dict`."""
        where = f"{self._name}.load_state_dict"
        check_keys(where, state_dict, {"base", "settings", "memory"})
        check_keys(f"{where}: settings", state_dict["settings"], set(self.defaults))
        check_keys(f"{where}: memory", state_dict["memory"], set(self.memory()))
        settings = {name: self.checked(name, value) for name, value in state_dict["settings"].items()}
        self.check(settings)
        remembered = self.remembered(state_dict["memory"], dict(enumerate(self.parameters())))
        self.base.load_state_dict(state_dict["base"])  # the last that can fail, and it changes nothing then
        vars(self).update(settings, **remembered)
