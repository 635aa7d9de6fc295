"""The base class of every optimizer: an optimizer is its formula, and the formula's signature declares the rest.

    class Momentum(Optimizer):
        def update(self, p, g, v, *, t, lr=1e-3, momentum=0.9):
            v *= momentum
            v += g
            p -= lr * v

The names after `p, g` are the state: arrays like p, zero at first. The keyword-only ones are the hyper-parameters and
their defaults; `t` counts the steps from 1. From this signature come the constructor, what `help` shows, parameter
groups, validation, and `state_dict`. `update` changes p and the state in place and leaves g as it is.

What is slow in NumPy is hidden here: large parameters are fed to `update` flat and in blocks that fit the processor's
cache, small ones are gathered, updated as one, and written back. An elementwise formula cannot tell the difference.

Public: `Optimizer`, and for those who write one, `descent`, `shifted`, `at_least`, `below_one`, `one_of`.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import numbers
import operator
from collections import Counter, UserDict
from collections.abc import Callable, Iterator, Set
from functools import partial
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from minigrad import Tensor

# Elements that `update` gets at once. Adam on 20 parameters of (500, 500) float32, one thread: 15 ms in blocks of 4k,
# 9.6 in blocks of 16k, 8.3 of 32k, 8.4 of 64k; on four of a million elements 53 ms whole, 11 ms in blocks.
BLOCK = 2**15
# Parameters up to this size are gathered, because a call of `update` costs more than the copies: Adam on 40 parameters
# of 8k elements takes 0.53 ms together and 0.70 alone, of 1k elements 0.10 and 0.40; of 16k it takes 1.1 either way.
SMALL = 2**13

# ------------------------------------------------------------------------------------------ what a setting may be

Rule = tuple[Callable[[Any], bool], str]  # is the value allowed, and what was wanted in words


def at_least(low: float) -> Rule:
    """A finite number >= low."""
    return lambda x: low <= x < math.inf, f"a finite number >= {low}"


def below_one() -> Rule:
    """A number in [0, 1), or several."""
    return lambda x: all(0 <= b < 1 for b in (x if isinstance(x, tuple) else (x,))), "0 <= value < 1"


def one_of(*choices: Any) -> Rule:
    """One of these values."""
    return lambda x: x in choices, "one of " + ", ".join(map(repr, choices))


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


ACCEPTED: dict[type, Any] = {bool: (bool, np.bool_), int: numbers.Integral, float: numbers.Real}


class Group(UserDict):
    """Parameters, and the settings they share: a dict that checks what is set and makes it a plain Python value."""

    def __init__(self, kind: type[Optimizer], params: list[Tensor], settings: dict[str, Any]) -> None:
        self.kind = kind
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
        if isinstance(params, (Tensor, dict)):
            raise TypeError(f"{self._name}: params is a list of Tensors or of dicts, got one {type(params).__name__}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: got no parameters; was model.parameters() used up before?")
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
        allowed, wanted = cls.rules.get(
            name, (lambda x: not isinstance(x, float) or math.isfinite(x), "a finite number")
        )
        if not allowed(result):
            raise ValueError(f"{cls.__name__}: {name} = {value!r}; wanted {wanted}")
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
        return itertools.chain.from_iterable(group["params"] for group in self.param_groups)

    # -------------------------------------------------------------------------------------------------- a step

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take the gradients of a loss and update every parameter that has one: `gradients`, then `apply`.

        Parameters
        ----------
        closure
            Computes the loss and returns it, no more; its gradients are taken here. Without one, call
            ``loss.backward()`` first.

        Returns
        -------
        The closure's loss, from before the update; None without a closure.
        """
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
            settings = {name: group.data[name] for name in self.defaults}
            names = [name if settings.get(self.optional.get(name, ""), True) else None for name in self.state_names]
            ready = [p for p in group.data["params"] if p.grad is not None]
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
            loss.backward()
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

    # -------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that a run needs to go on: ``{"state": {number: ...}, "param_groups": [...]}``.

        Parameters go by their number, counted through the groups; inside, the state has the names of the formula.
        """
        number = {p: k for k, p in enumerate(self.parameters())}
        state = {
            number[p]: {name: value if name == "t" else value.copy() for name, value in entries.items()}
            for p, entries in self.state.items()
        }
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
            p, what = of_number[key], f"{where}: state of parameter {key}"
            check_keys(what, entries, {"t", *self.state_names}, optional=set(self.optional))
            state[p] = {
                name: as_count(f"{what}: t", value) if name == "t" else as_saved(f"{what}: {name}", value, p)
                for name, value in entries.items()
            }
        for old, loaded in zip(self.param_groups, groups):
            old.data.update(loaded.data)
        self.state.clear()
        self.state.update(state)
        self._plans.clear()


def check_keys(where: str, found: Any, wanted: Set[str], optional: Set[str] = frozenset()) -> None:
    """Raise ValueError unless `found` is a dict of just the wanted keys, some of them optional."""
    if not isinstance(found, dict) or not wanted - optional <= set(found) <= wanted:
        got = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{where}: wanted a dict of {', '.join(sorted(wanted))}; got {got or 'an empty one'}")


def as_count(where: str, value: Any) -> int:
    """A saved count of steps. Raises ValueError where it is none."""
    if not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{where} is {value!r}; wanted an integer >= 0")
    return int(value)


def as_saved(where: str, value: Any, p: Tensor) -> Any:
    """A copy of a saved array, as one of p's dtype and device. Raises ValueError where its shape is not p's."""
    array = mg.tensor(value, p.dtype, device=p.device).data
    if array.shape != p.shape:
        raise ValueError(f"{where} has shape {array.shape}; its parameter has {p.shape}")
    return np.ascontiguousarray(array).reshape(p.shape)


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


# ---------------------------------------------------------------------------------------------------- parts of a step


class Plan:
    """Which parameters of a group are updated by which calls. Made at the first step, kept while it fits.

    It holds only parameters that have a gradient.
    """

    def __init__(
        self, optimizer: Optimizer, ready: list[Tensor], names: list[str | None], start: dict[str, float]
    ) -> None:
        self.ready, self.names = ready, names
        self.arrays = [p.data for p in ready]
        self.states = [optimizer.state.setdefault(p, {"t": 0}) for p in ready]
        self.bunches: list[Alone | Together] = []
        packs: dict[Any, list[Tensor]] = {}
        filled: Counter[Any] = Counter()
        for p, state in zip(ready, self.states):
            for name in filter(None, names):
                if name not in state:
                    state[name] = np.full(p.shape, start.get(name, 0.0), p.dtype, like=p.data)
                elif (state[name].shape, state[name].dtype) != (p.shape, p.dtype):
                    raise RuntimeError(
                        f"{optimizer._name}: a parameter is {p.dtype}{list(p.shape)} now, but its {name} is "
                        f"{state[name].dtype}{list(state[name].shape)}; make the optimizer after changing the model"
                    )
            if optimizer.elementwise and p.size <= SMALL:
                # Only those of one dtype, device and count of steps can share a call; and a pack is full at one block.
                key = (p.dtype, p.device, state["t"])
                packs.setdefault((*key, filled[key] // BLOCK), []).append(p)
                filled[key] += p.size
            else:
                self.bunches.append(Alone(p, state, names, whole=not optimizer.elementwise))
        rooms: dict[Any, Any] = {}  # where p is gathered: one room for all packs of a kind, as large as the largest
        for (dtype, device, _, _), pack in sorted(packs.items(), key=lambda item: -sum(p.size for p in item[1])):
            size = sum(p.size for p in pack)
            room = rooms.setdefault((dtype, device), np.empty(size, dtype, like=pack[0].data))
            self.bunches.append(Together(pack, [optimizer.state[p] for p in pack], names, room[:size]))

    def fits(self, ready: list[Tensor], names: list[str | None]) -> bool:
        """Are the same parameters stepped, with the same state, in the arrays that were planned with?"""
        return (
            names == self.names
            and len(ready) == len(self.ready)
            and all(map(operator.is_, ready, self.ready))
            and all(p.data is array for p, array in zip(ready, self.arrays))
        )


class Alone:
    """One parameter, updated where it lies, block after block."""

    def __init__(self, p: Tensor, state: dict[str, Any], names: list[str | None], whole: bool) -> None:
        self.param, self.state = p, state
        self.whole = whole or not p.data.flags.c_contiguous  # flattened, it would be a copy
        arrays = [p.data, *(None if name is None else state[name] for name in names)]
        self.p, *self.states = map(self.cut, arrays)

    def cut(self, array: Any) -> Any:
        """The blocks of an array, as views; of no array, as many None as are asked for."""
        if array is None:
            return itertools.repeat(None)
        if self.whole:
            return [array]
        flat = array.reshape(-1)
        return [flat[i : i + BLOCK] for i in range(0, flat.size, BLOCK)]

    def run(self, kernel: Callable[..., None]) -> None:
        """Call the kernel on each block."""
        for p, g, *state in zip(self.p, self.cut(self.param.grad.data), *self.states):  # type: ignore[union-attr]
            kernel(p, g, *state)


class Together:
    """Small parameters: gathered, updated as one, written back. Their state lies side by side and stays there."""

    def __init__(self, params: list[Tensor], states: list[dict[str, Any]], names: list[str | None], room: Any) -> None:
        self.params, self.state = params, states[0]
        self.arrays = [p.data for p in params]
        self.p, self.views = room, self.share(room)
        self.states: list[Any] = [None] * len(names)
        for k, name in enumerate(names):
            if name is not None:
                self.states[k] = np.concatenate([state[name] for state in states], axis=None)
                for state, view in zip(states, self.share(self.states[k])):
                    state[name] = view

    def share(self, flat: Any) -> list[Any]:
        """Each parameter's part of a flat array, in the parameter's shape."""
        ends = itertools.accumulate(p.size for p in self.params)
        return [flat[end - p.size : end].reshape(p.shape) for p, end in zip(self.params, ends)]

    def run(self, kernel: Callable[..., None]) -> None:
        """Call the kernel once, on copies of all parameters, and write them back."""
        np.concatenate(self.arrays, axis=None, out=self.p)
        g = np.concatenate([p.grad.data for p in self.params], axis=None)  # type: ignore[union-attr]
        kernel(self.p, g, *self.states)
        for array, new in zip(self.arrays, self.views):
            array[...] = new
