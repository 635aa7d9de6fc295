"""The base class of every optimizer: an optimizer is its formula, and the formula's signature declares the rest.

    class Momentum(Optimizer):
        def update(self, p, g, v, *, t, lr=1e-3, momentum=0.9):
            v *= momentum
            v += g
            p -= lr * v

The names after `p, g` are the state: arrays like p, zero at first. The keyword-only ones are the hyper-parameters and
their defaults; `t` counts the steps from 1. From this signature come the constructor, what `help` shows, parameter
groups, validation, and `state_dict`. `update` changes p and the state in place and leaves g as it is.

Public: `Optimizer`, and for those who write one, `descent` and `shifted`. What makes a step fast is in `blocks.py`.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
from collections import UserDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from minigrad import Tensor

from .blocks import Plan
from .checks import Rule, as_count, as_saved, at_least, below_one, check_keys, finite, plain, require


class Group(UserDict):
    """Parameters, and the settings they share: a dict that checks what is set and makes it a plain Python value."""

    def __init__(self, kind: type[Optimizer], params: list[Tensor], settings: dict[str, Any]) -> None:
        self.kind = kind
        self.initial_lr: float | None = None  # the rate before a scheduler first changed it
        super().__init__({"params": params, **settings})
        kind.check({name: self[name] for name in kind.defaults})

    def __setitem__(self, name: str, value: Any) -> None:
        if name != "params":
            value = self.kind.checked(name, value)
        elif name in self:
            raise TypeError(f"{self.kind.__name__}: a group keeps its parameters; for more there is add_param_group")
        self.data[name] = value


# ------------------------------------------------------------------------------------------------------- the base class


class Optimizer:
    """Changes parameters so that a loss falls. A subclass writes `update`, the formula; all else is derived from it.

    Parameters
    ----------
    params
        Tensors (``model.parameters()``), or dicts ``{"params": Tensors, "lr": ...}``, parameter groups with settings of
        their own.
    *settings, **named
        The hyper-parameters of `update`, by position or by name; those of groups without their own.

    Attributes
    ----------
    param_groups
        The groups: dicts of ``"params"`` and every hyper-parameter. Set ``group["lr"]`` to change a rate in training.
    state
        For each parameter that has been stepped, ``{"t": steps, name: array like the parameter, ...}``. Read it, or
        change the arrays in place.

    Raises
    ------
    TypeError, ValueError
        For no parameters, for a parameter given twice, not float or not a leaf; for an unknown setting or a bad value.
    """

    elementwise: ClassVar[bool] = True  # False: `update` needs whole tensors, in their shape
    needs_closure: bool = False  # True: the gradient wanted is not the one at the parameters
    keeps_graph: ClassVar[bool] = False  # True: what the closure computed can be differentiated again in the step
    optional: ClassVar[dict[str, str]] = {}  # state that only some settings need -> the setting that turns it on
    initial: ClassVar[dict[str, str]] = {}  # state that does not start as zeros -> the setting that it starts as
    rules: ClassVar[dict[str, Rule]] = {
        "lr": at_least(0),
        "momentum": at_least(0),
        "betas": below_one(),
        "eps": at_least(0),
        "weight_decay": at_least(0),
    }

    update: Callable[..., None]
    # Read from the signature of `update`: the names of the state, the settings and their defaults, does it want t?
    state_names: ClassVar[list[str]] = []
    defaults: ClassVar[dict[str, Any]] = {}
    counts: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "update" not in vars(cls):
            return
        _, _, _, *given = inspect.signature(cls.update).parameters.values()
        for p in given:
            if (p.kind is p.KEYWORD_ONLY and p.name != "t") == (p.default is p.empty):
                raise TypeError(
                    f"{cls.__name__}.update: {p.name} is neither state nor a setting; state comes by position and has "
                    "no default, settings follow a * and have one: update(self, p, g, v, *, t, lr=0.1)"
                )
        settings = [p for p in given if p.kind is p.KEYWORD_ONLY and p.name != "t"]
        cls.state_names = [p.name for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]
        cls.defaults = {p.name: p.default for p in settings}
        cls.counts = "t" in [p.name for p in given]
        first = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        by_position = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in settings]
        cls.__signature__ = inspect.Signature([first, *by_position])  # type: ignore[attr-defined]

    def __init__(self, params: Any, *settings: Any, **named: Any) -> None:
        if len(settings) > len(self.defaults):
            raise TypeError(
                f"{self._name}: takes params, {', '.join(self.defaults)}; got {len(settings) + 1} by position"
            )
        given = dict(zip(self.defaults, settings))
        twice = [name for name in named if name in given]
        if twice:
            raise TypeError(f"{self._name}: {twice[0]} is given by position and by name")
        self._settings = {**self.defaults, **given, **named}
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._plans: dict[int, Plan] = {}
        if isinstance(params, (Tensor, dict)) or hasattr(params, "parameters") or not isinstance(params, Iterable):
            hint = ": use model.parameters()" if hasattr(params, "parameters") else ""
            raise TypeError(
                f"{self._name}: params is a list of Tensors or of dicts, got one {type(params).__name__}{hint}"
            )
        groups = list(params)
        if not groups:
            raise ValueError(
                f"{self._name}: got no parameters; was model.parameters() used up before? Or is what the model "
                "learns a plain Tensor and no nn.Parameter?"
            )
        for group in groups if all(isinstance(group, dict) for group in groups) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        groups = [", ".join(f"{name}={group[name]}" for name in self.defaults) for group in self.param_groups]
        return "\n".join(
            f"{self._name}({len(g['params'])} parameters, {text})" for g, text in zip(self.param_groups, groups)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_plans": {}}  # a plan shares memory with the state, which a copy or a pickle would part

    # -------------------------------------------------------------------------------------------------- settings

    @classmethod
    def checked(cls, name: str, value: Any) -> Any:
        """A setting's value as a plain Python value. Raises TypeError or ValueError for a bad one, naming it."""
        if name not in cls.defaults:
            raise TypeError(f"{cls.__name__}: unknown setting {name!r}; it takes {', '.join(cls.defaults)}")
        default = cls.defaults[name]
        try:
            result = plain(value, default)
        except (TypeError, ValueError):
            raise TypeError(f"{cls.__name__}: {name} = {value!r}; wanted a value such as {default!r}") from None
        require(f"{cls.__name__}: {name}", result, cls.rules.get(name, finite()))
        return result

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raise ValueError for settings that do not go together. Here all do."""

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; the others are those given to the constructor."""
        if "params" not in group:
            raise ValueError(
                f"{self._name}: a parameter group is a dict with the key 'params', got the keys {[*group]}"
            )
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if not params:
            raise ValueError(f"{self._name}: a parameter group without parameters")
        known = set(self.parameters())
        for k, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: parameter {k} is a {type(p).__name__}, wanted a Tensor")
            if p.dtype.kind != "f":
                raise TypeError(
                    f"{self._name}: parameter {k} is {p.dtype}; only floats can be optimised: p.astype(np.float32)"
                )
            if not p.is_leaf:
                raise ValueError(
                    f"{self._name}: parameter {k} was computed, and an update of it would be lost; use p.detach()"
                )
            if p in known:
                raise ValueError(f"{self._name}: parameter {k} of shape {p.shape} is given twice")
            known.add(p)
        settings = {name: value for name, value in group.items() if name != "params"}
        self.param_groups.append(Group(type(self), params, {**self._settings, **settings}))

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, group after group."""
        return itertools.chain.from_iterable([group.data["params"] for group in self.param_groups])

    # -------------------------------------------------------------------------------------------------- a step

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take the gradients of a loss and update every parameter that has one: `gradients`, then `apply`.

        A GPU is not waited for, unless a subclass says so.

        Parameters
        ----------
        closure
            Computes the loss and returns it, no more; its gradients are taken here. Without one, call
            ``loss.backward()`` first.

        Returns
        -------
        The closure's loss, from before the update; None without a closure.
        """
        if isinstance(closure, Tensor):
            raise TypeError(f"{self._name}.step: got a Tensor; call loss.backward() and step(), or give a closure")
        if closure is not None:
            loss = self.gradients(closure)
        elif self.needs_closure:
            raise TypeError(
                f"{self._name}.step: wants a closure that returns the loss, to take gradients where it needs them"
            )
        else:
            loss = None
        self.apply()
        return loss

    def apply(self) -> None:
        """The second half of a step: update every parameter that has a gradient, by the gradient that it has."""
        for k, group in enumerate(self.param_groups):
            settings = {**group.data}
            ready = [p for p in settings.pop("params") if p.grad is not None]
            names = [name if settings.get(self.optional.get(name, ""), True) else None for name in self.state_names]
            plan = self._plans.get(k)
            if plan is None or not plan.fits(ready, names):
                start = {name: settings[setting] for name, setting in self.initial.items()}
                self._plans[k] = plan = Plan(self, ready, names, start)
            for state in plan.states:
                state["t"] += 1
            for bunch in plan.bunches:
                if self.counts:
                    settings["t"] = bunch.state["t"]
                bunch.run(partial(self.update, **settings))
            for p in ready:
                p.mark_changed()

    def gradients(self, closure: Callable[[], Tensor]) -> Tensor:
        """Run the closure, set every parameter's `.grad` to the gradient of the loss it returns, and return that loss.

        Raises
        ------
        RuntimeError
            Where the closure called `backward` itself.
        TypeError, ValueError
            Where it returned something other than a loss: a Tensor of one element that needs a gradient.
        """
        before = [(p, p.grad) for p in self.parameters()]
        try:
            self.zero_grad()
            with mg.enable_grad():
                loss = closure()
            if any(p.grad is not None for p, _ in before):
                raise RuntimeError(
                    f"{self._name}.step: the closure called backward itself; let it compute and return the loss alone, "
                    "or call loss.backward() and then step() without a closure"
                )
            if not isinstance(loss, Tensor):
                raise TypeError(
                    f"{self._name}.step: the closure returned {type(loss).__name__}, wanted the loss, a Tensor"
                )
            if loss.size != 1 or not loss.requires_grad:
                raise ValueError(
                    f"{self._name}.step: the closure returned a Tensor of shape {loss.shape} with "
                    f"requires_grad={loss.requires_grad}; wanted a loss: one element, computed from the parameters"
                )
            loss.backward(retain_graph=self.keeps_graph)
        except BaseException:
            for p, grad in before:
                p.grad = grad
            raise
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or with ``set_to_none=False`` let those that are there be zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = Tensor(np.zeros_like(p.grad.data))

    @property
    def stepped(self) -> bool:
        """Has there been a step, here or in the run that was loaded? Where a subclass has a `step` of its own: True."""
        return bool(self.state) or type(self).step is not Optimizer.step

    # -------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that a run needs to go on: ``{"state": {number: ...}, "param_groups": [...]}``.

        Parameters go by their number, counted through the groups; inside, the state has the names of the formula.
        """
        number = {p: k for k, p in enumerate(self.parameters())}
        state = {number[p]: copy.deepcopy(entries) for p, entries in self.state.items()}
        groups = [{**group.data, "params": [number[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, bit for bit.

        Raises
        ------
        ValueError, TypeError
            Where it was taken from another kind of optimizer or other parameters. Nothing has been changed then.
        """
        where = f"{self._name}.load_state_dict"
        check_keys(where, state_dict, {"state", "param_groups"})
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(f"{where}: {len(saved)} parameter groups, wanted {len(self.param_groups)}")
        groups, order = [], []
        for k, (new, old) in enumerate(zip(saved, self.param_groups)):
            check_keys(f"{where}: group {k}", new, set(old))
            counts = len(new["params"]), len(old["params"])
            if counts[0] != counts[1]:
                raise ValueError(f"{where}: {counts[0]} parameters in group {k}, wanted {counts[1]}")
            order += new["params"]
            groups.append(Group(type(self), old["params"], {name: new[name] for name in self.defaults}))
        of_number = dict(zip(order, self.parameters(), strict=True))
        state = {}
        for key, entries in state_dict["state"].items():
            if key not in of_number:
                raise ValueError(f"{where}: state of parameter {key!r}, which is in no group")
            state[of_number[key]] = self.loaded(f"{where}: state of parameter {key}", entries, of_number[key])
        for old, loaded in zip(self.param_groups, groups):
            old.data.update(loaded.data)
        self.state.clear()
        self.state.update(state)
        self._plans.clear()

    def loaded(self, what: str, entries: dict[str, Any], p: Tensor) -> dict[str, Any]:
        """A copy of a parameter's saved state. Raises ValueError, which begins with `what`, where it does not fit p."""
        check_keys(what, entries, {"t", *self.state_names}, optional=set(self.optional))
        return {
            name: as_count(f"{what}: t", value) if name == "t" else as_saved(f"{what}: {name}", value, p)
            for name, value in entries.items()
        }


def descent(p: Any, g: Any, weight_decay: float, maximize: bool) -> Any:
    """What is descended: g, or -g to maximize, plus λp, the gradient of the penalty ½ λ ‖p‖² (λ is `weight_decay`)."""
    if maximize:
        g = -g
    return g + weight_decay * p if weight_decay else g


@contextlib.contextmanager
def shifted(shifts: dict[Tensor, Any]) -> Iterator[None]:
    """Parameters moved by these arrays inside, and put back exactly afterwards."""
    before = {p: p.data.copy() for p in shifts}
    try:
        for p, shift in shifts.items():
            p.data[...] += shift
            p.mark_changed()
        yield
    finally:
        for p, data in before.items():
            p.data[...] = data
            p.mark_changed()
