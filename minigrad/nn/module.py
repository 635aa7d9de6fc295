"""Module: a function with parameters, made of other such functions.

    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(2, 16)
            self.out = nn.Linear(16, 1)

        def forward(self, x):
            return self.out(self.hidden(x).tanh())

Nothing is registered anywhere: a module's parameters are the Parameters among its attributes, its children the Modules
among them, also inside lists, tuples and dicts (where PyTorch needs ModuleList and its kin). Names are dotted paths,
``hidden.weight``, as PyTorch's.

Public: `Module`.
"""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from .. import backend
from ..tensor import Handle, Tensor
from .parameter import Parameter
from .summary import summary


class LoadedKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found and did not want; both empty when it was strict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers and networks: say in `forward` what it computes, call it like a function.

    Attributes
    ----------
    training
        True in training; `eval` makes it False, here and in everything inside. Dropout and batch norm ask it.
    """

    training = True

    # What a module has none of until something is registered. Private: `members` does not look in here.
    _buffers: Mapping[str, bool] = MappingProxyType({})  # by name: is it saved?
    _forward_hooks: Mapping[int, Callable[..., Any]] = MappingProxyType({})
    _forward_pre_hooks: Mapping[int, Callable[..., Any]] = MappingProxyType({})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: write its method forward(self, x), then call the module")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, between the hooks."""
        if not self._forward_pre_hooks and not self._forward_hooks:
            return self.forward(*args, **kwargs)
        for pre_hook in [*self._forward_pre_hooks.values()]:
            result = pre_hook(self, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)
        output = self.forward(*args, **kwargs)
        for hook in [*self._forward_hooks.values()]:
            result = hook(self, args, output)
            if result is not None:
                output = result
        return output

    def __setattr__(self, name: str, value: Any) -> None:
        plain = isinstance(value, Tensor) and not isinstance(value, Parameter)
        if isinstance(vars(self).get(name), Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter, and in its place {type(value).__name__} would not be "
                "learned; assign nn.Parameter(value), or change it in place under `with mg.no_grad():`"
            )
        if name in self._buffers and not plain and value is not None:
            raise TypeError(f"{type(self).__name__}.{name} is a buffer: a Tensor or None, not {type(value).__name__}")
        super().__setattr__(name, value)

    # ------------------------------------------------------------------------------------------- what is inside

    def members(self) -> Iterator[tuple[str, Any]]:
        """The attributes with their names; of a list, tuple or dict its elements, as ``layers.0``."""
        for name, value in vars(self).items():
            if name not in PRIVATE:
                yield from unpacked(name, value)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, each once."""
        return once((name, value) for name, value in self.members() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules directly inside, each once."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module itself (named by the prefix) and all inside it, at any depth, each once, outer before inner."""
        return once(self._paths(prefix, ()))

    def modules(self) -> Iterator[Module]:
        """The module itself and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def _paths(self, prefix: str, above: tuple[Module, ...]) -> Iterator[tuple[str, Module]]:
        """Every way from here to a module inside: one that is shared comes once for each of its names."""
        yield prefix, self
        for name, value in self.members():
            if isinstance(value, Module) and value not in above:
                yield from value._paths(joined(prefix, name), (*above, self))

    def _tensors(self, wanted: Callable[[Module, str, Any], bool]) -> Iterator[tuple[str, Any]]:
        """The members that are wanted, of all modules inside, with their paths; one that is shared by each of them."""
        for path, module in self._paths("", ()):
            for name, value in module.members():
                if wanted(module, name, value):
                    yield joined(path, name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The Parameters inside, with their paths. One that is shared is listed once, under its first name."""
        return once(self._tensors(is_parameter))

    def parameters(self) -> Iterator[Parameter]:
        """The Parameters inside, each once: what an optimizer is made with."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers inside, with their paths, each once."""
        return once(self._tensors(is_buffer))

    def buffers(self) -> Iterator[Tensor]:
        """The buffers inside, each once: saved and moved with the module, not learned (running statistics)."""
        return (b for _, b in self.named_buffers())

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Make an attribute that is moved with the module and, if persistent, saved with it, but not learned.

        Raises TypeError for a value that is no Tensor or that needs a gradient, ValueError for a name that is taken.
        """
        if value is not None and (not isinstance(value, Tensor) or value.requires_grad):
            raise TypeError(
                f"register_buffer: {name!r} must be a Tensor that needs no gradient, or None; got {value!r}"
            )
        if not name.isidentifier() or (hasattr(self, name) and name not in self._buffers):
            raise ValueError(f"register_buffer: {name!r} is no name for an attribute, or is taken")
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, value)

    # ------------------------------------------------------------------------------------------- changing all of it

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` with every module inside once, inner before outer, and last with this one: for initial values."""
        for module in reversed([*self.modules()]):
            fn(module)
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode for this module and all inside, or with False evaluation mode."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: no dropout, batch norm by the running statistics."""
        return self.train(False)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside a ``with``; afterwards each module is in the mode that it was in."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Learn all parameters, or with False freeze them."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forget all gradients: every `.grad` becomes None."""
        for p in self.parameters():
            p.grad = None

    def to(self, where: Any) -> Self:
        """All parameters and buffers as another float dtype (``np.float64``) or on another device (``"cuda"``).

        The Tensors stay the same objects, so an optimizer keeps them. Integer buffers keep their dtype.
        Raises TypeError for a dtype that is no float.
        """
        device, dtype = (where, None) if isinstance(where, str) else (None, np.dtype(where))
        if dtype is not None and dtype.kind != "f":
            raise TypeError(f"to: parameters are floats, got dtype {dtype}")

        def moved(t: Tensor) -> Any:
            if device is not None:
                return backend.to_device(t.data, device)
            return t.data.astype(dtype) if t.dtype.kind == "f" else t.data

        for t in [*self.parameters(), *self.buffers()]:
            grad, data = t.grad, moved(t)
            t.grad, t.data = None, data
            if t.node is not None:
                t.node.dtype = data.dtype
            t.mark_changed()
            t.grad = None if grad is None else Tensor(moved(grad))
        return self

    # ------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of every parameter and saved buffer, by its path. What happens to the module later does not change it.

        >>> from minigrad import nn
        >>> list(nn.Sequential(nn.Linear(2, 3), nn.ReLU()).state_dict())
        ['0.weight', '0.bias']
        """
        return {name: Tensor(t.data.copy()) for name, t in self._tensors(is_saved)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Write a state_dict's values (Tensors or arrays) into this module's parameters and buffers, in place.

        Parameters
        ----------
        strict
            Whether the keys must be just those of `state_dict()`. If False, what fits is loaded, and the keys that are
            missing here or there are returned.

        Raises
        ------
        ValueError
            Naming keys that are missing or unexpected, or a value of another shape.
        TypeError
            For a value of another dtype or that is no array, or for no dict. Nothing has been changed then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: wanted a dict of Tensors or arrays, got {type(state_dict).__name__} {state_dict!r}; "
                "mg.load(path) reads one from a file"
            )
        mine = dict(self._tensors(is_saved))
        keys = LoadedKeys([k for k in mine if k not in state_dict], [k for k in state_dict if k not in mine])
        name = type(self).__name__
        if strict and (keys.missing_keys or keys.unexpected_keys):
            raise ValueError(
                f"load_state_dict: {name} misses {keys.missing_keys} and does not know {keys.unexpected_keys}; "
                "strict=False loads the rest"
            )
        values = {k: array_of(f"load_state_dict: {k!r}", state_dict[k]) for k in mine if k in state_dict}
        for k, value in values.items():
            if value.shape != mine[k].shape:
                raise ValueError(f"load_state_dict: {k!r} has shape {value.shape}, {name} wants {mine[k].shape}")
            if value.dtype != mine[k].dtype:
                raise TypeError(
                    f"load_state_dict: {k!r} is {value.dtype}, {name} wants {mine[k].dtype}; "
                    f"use astype(np.{mine[k].dtype})"
                )
        for k, value in values.items():
            mine[k].data[...] = backend.to_device(value, mine[k].device)
            mine[k].mark_changed()
        return keys

    # ------------------------------------------------------------------------------------------- hooks

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> Handle:
        """Call ``hook(module, args, output)`` after every `forward`; what it returns, if anything, is the output."""
        return Handle(vars(self).setdefault("_forward_hooks", {}), hook)

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple[Any, ...]], Any]) -> Handle:
        """Call ``hook(module, args)`` before every `forward`; what it returns, if anything, are the new arguments."""
        return Handle(vars(self).setdefault("_forward_pre_hooks", {}), hook)

    # ------------------------------------------------------------------------------------------- seeing it

    def extra_repr(self) -> str:
        """What `repr` shows of this module itself, between the parentheses."""
        return ""

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        extra = self.extra_repr()
        inside = [f"({name}): {module!r}" for name, module in self.members() if isinstance(module, Module)]
        if not inside:
            return f"{type(self).__name__}({extra})"
        body = "\n".join([extra, *inside] if extra else inside).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def summary(self, *inputs: Any) -> str:
        """A table of the layers inside: name, kind, shape of the output, number of parameters (shared ones once).

        Shapes of outputs need inputs to be tried with; they are run in evaluation mode, without a graph.

        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> print(nn.Sequential(nn.Linear(2, 16), nn.Tanh()).summary(mg.zeros((8, 2))))
        layer  kind        output   parameters
        -----  ----------  -------  ----------
               Sequential  (8, 16)           0
        0      Linear      (8, 16)          48
        1      Tanh        (8, 16)           0
        <BLANKLINE>
        48 parameters, of which 48 are learned
        """
        return summary(self, inputs)


PRIVATE = ("_buffers", "_forward_hooks", "_forward_pre_hooks")


def once(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Names and objects, each object under its first name only."""
    seen: set[int] = set()
    for name, x in pairs:
        if id(x) not in seen:
            seen.add(id(x))
            yield name, x


def unpacked(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value by its name, or the elements of a list, tuple or dict by theirs."""
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, element in value.items():
            yield from unpacked(f"{name}.{key}", element)
    else:
        yield name, value


def joined(path: str, name: str) -> str:
    """A dotted path one step longer."""
    return f"{path}.{name}" if path else name


def is_parameter(module: Module, name: str, value: Any) -> bool:
    """Is a member learned?"""
    return isinstance(value, Parameter)


def is_buffer(module: Module, name: str, value: Any) -> bool:
    """Is a member a buffer that holds something?"""
    return name in module._buffers and value is not None


def is_saved(module: Module, name: str, value: Any) -> bool:
    """Does a member belong into the state_dict?"""
    return isinstance(value, Parameter) or (value is not None and module._buffers.get(name, False))


def array_of(name: str, value: Any) -> Any:
    """A Tensor's data, an array, or a number as an array. Raises TypeError for anything else."""
    value = value.data if isinstance(value, Tensor) else backend.as_array(value)
    if not backend.is_array(value):
        raise TypeError(f"{name} must be a Tensor or an array, got {type(value).__name__}")
    return value
