"""The Tensor: an array, a gradient, and the memory of how it was made.

Here is how a Tensor is made and read, how Python's operators and NumPy's functions find their way into the table of
derivatives, and what is refused. What a Tensor can compute is in `ops/`; `ops/__init__.py` attaches the methods that
are only declared here. How it is differentiated is in `engine.py`.

Public: `Tensor`, `tensor`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy import ndarray

from . import backend, engine
from .backend import is_array

Axis = int | Sequence[int] | None


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """A new Tensor holding a copy of `data`.

    Parameters
    ----------
    data
        A number, a (nested) list of numbers, an array or a Tensor. Python floats become `default_dtype` (float32);
        arrays and NumPy's scalars keep their dtype.
    dtype
        Convert to this dtype.
    requires_grad
        Record what is computed from it, so that `backward` fills its `.grad`.
    device
        Where it is to lie: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; where `data` lie unless said.

    Raises
    ------
    TypeError
        For complex numbers, strings and objects, for a list of Tensors (use `stack` or `concatenate`), and where a
        gradient is asked of integers or booleans.
    ValueError
        For a ragged list, or an unknown device.
    ImportError, RuntimeError
        For a GPU, where CuPy is missing or finds none.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.tensor([1.0, 2.0], requires_grad=True)
    tensor([1., 2.], dtype=float32, device='cpu', requires_grad=True)
    """
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, Tensor) and first is not data:
        raise TypeError("tensor: got a list of Tensors; join them with mg.stack or mg.concatenate")
    if isinstance(data, Tensor):
        array = data.data.copy()
    elif is_array(data):
        array = data.copy()
    else:
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError(f"tensor: the list is ragged: {error}") from error
        if array.dtype == np.float64 and dtype is None and not isinstance(first, (np.generic, *backend.ARRAY_TYPES)):
            array = array.astype(backend.default_dtype())
    if dtype is not None:
        array = array.astype(check_dtype("tensor", np.dtype(dtype)))
    check_dtype("tensor", array.dtype)
    result = Tensor(array if device is None else backend.to_device(array, device))
    if requires_grad:
        result.requires_grad = True
    return result


def check_dtype(name: str, dtype: Any) -> Any:
    """The dtype, if a Tensor can hold it."""
    if dtype.kind not in "fiub":
        raise TypeError(f"{name}: got dtype {dtype}; Tensors hold floats, integers or booleans")
    return dtype


class Tensor:
    """An array that remembers how it was computed. Made by `mg.tensor`, by the functions of minigrad, or by operators.

    Attributes
    ----------
    data
        The array itself, shared and not copied. Edits through it are not seen: one made between forward and backward
        gives a wrong gradient without a word. Use ``with mg.no_grad(): p -= ...``.
    grad
        After `backward`, the gradient as a Tensor; None before, and None on everything but leaves.
    """

    __slots__ = ("__weakref__", "_grad", "data", "node")

    def __init__(self, data: Any, node: engine.Node | None = None) -> None:
        if data.__class__ is not ndarray and not is_array(data):
            raise TypeError(f"Tensor: wraps an array, got {type(data).__name__}; use mg.tensor")
        self.data = data
        self.node = node
        self._grad: Tensor | None = None

    # ------------------------------------------------------------------------------------------------ what it is

    shape = property(attrgetter("data.shape"), doc="Lengths of the axes.")
    ndim = property(attrgetter("data.ndim"), doc="Number of axes.")
    size = property(attrgetter("data.size"), doc="Number of elements.")
    dtype = property(attrgetter("data.dtype"), doc="Type of the elements.")
    device = property(lambda self: backend.device_of(self.data), doc="Where the data lie: 'cpu', 'cuda:0'.")

    @property
    def is_leaf(self) -> bool:
        """Was it made rather than computed on the record?"""
        return self.node is None or isinstance(self.node, engine.Leaf)

    @property
    def requires_grad(self) -> bool:
        """Is what is computed from it recorded? Can be set on leaves that hold floats."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise RuntimeError("requires_grad: can only be set on a leaf; use x.detach() to leave the graph")
        if wanted and self.data.dtype.kind != "f":
            raise TypeError(f"requires_grad: only floats have gradients, not {self.dtype}; use x.astype(np.float32)")
        if wanted != self.requires_grad:
            self.node = engine.Leaf(self) if wanted else None

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and not (
            isinstance(value, Tensor) and value.shape == self.shape and value.dtype == self.dtype
        ):
            raise TypeError(f"grad: wanted None or a Tensor of {self.dtype}{list(self.shape)}, got {value!r}")
        self._grad = value

    def __repr__(self) -> str:
        made = ""
        if self.node is not None:
            made = ", requires_grad=True" if self.is_leaf else f", op={self.node.row.name!r}"
        values = np.array2string(backend.to_device(self.data, "cpu"), separator=", ", prefix="tensor(")
        return f"tensor({values}, dtype={self.dtype}, device={self.device!r}{made})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # `==` compares elements, so identity is what a dictionary goes by

    # ------------------------------------------------------------------------------------------------ leaving the graph

    def detach(self) -> Tensor:
        """The same data, not copied, without the graph."""
        return Tensor(self.data)

    def numpy(self) -> Any:
        """The data as a NumPy array, not copied where they are on the CPU; from a GPU a copy, that is waited for."""
        return backend.to_device(self.data, "cpu")

    def item(self) -> Any:
        """The one element as a Python number. Raises ValueError where there are more, or none."""
        if self.size != 1:
            raise ValueError(f"item: wanted one element, this has shape {self.shape}")
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"bool: a Tensor of shape {self.shape} is neither true nor false; use x.any() or x.all()")
        return bool(self.item())

    def __getattr__(self, name: str) -> NoReturn:
        hint = f"; here that is {ELSEWHERE[name]}" if name in ELSEWHERE else ""
        raise AttributeError(f"a Tensor has no attribute {name!r}{hint}")

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise TypeError(f"index: only integers can be an index, this is {self.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.requires_grad:
            raise TypeError(
                "cannot make an array of a Tensor that needs a gradient: its graph would be lost; "
                "use x.detach().numpy(), or mg.stack for a list of Tensors"
            )
        if self.device != "cpu":
            raise TypeError(f"cannot make an array of a Tensor on {self.device}; x.numpy() copies it to the CPU")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __reduce__(self) -> Any:
        if self.node is not None and not self.is_leaf:
            raise TypeError(f"cannot copy or pickle what {self.node.row.name!r} made, with its graph; use x.detach()")
        return rebuild, (type(self), self.data, self.requires_grad, self._grad), getattr(self, "__dict__", None)

    # ------------------------------------------------------------------------------------------------ gradients

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the gradient of this Tensor to the `.grad` of every leaf that it was computed from.

        Parameters
        ----------
        gradient
            Of a later quantity with respect to this one, in its shape; may be left out where output has one element.
        retain_graph
            Keep the graph for another pass; same as `create_graph` unless said.
        create_graph
            Record the pass itself, so that every `.grad` can be differentiated again.

        Raises
        ------
        RuntimeError
            Where it needs no gradient, or has several elements and no `gradient` is given, or its graph was freed by an
            earlier pass, or a Tensor that the graph kept has changed in place since. Nothing has been changed then.
        """
        engine.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook` with this Tensor's gradient in every backward; what it returns, if anything, takes its place."""
        if self.node is None:
            raise RuntimeError("register_hook: this tensor needs no gradient")
        if self.node.hooks is None:
            self.node.hooks = {}
        return Handle(self.node.hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Handle:
        """Call `hook` with this leaf as soon as a backward has completed its `.grad`."""
        if not isinstance(self.node, engine.Leaf):
            raise RuntimeError("register_post_accumulate_grad_hook: wanted a leaf with requires_grad=True")
        if self.node.accumulated_hooks is None:
            self.node.accumulated_hooks = {}
        return Handle(self.node.accumulated_hooks, hook)

    def retain_grad(self) -> None:
        """Let `backward` fill `.grad` here too, although this Tensor was computed."""
        if not self.is_leaf:
            me = weakref.ref(self)

            def keep(g: Tensor) -> None:
                if (this := me()) is not None:
                    this._grad = Tensor(g.data.copy()) if this._grad is None else this._grad + g

            self.register_hook(keep)
        elif not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor needs no gradient")

    def mark_changed(self) -> None:
        """Say that `data` were changed in place: a graph that kept the old values will refuse to be differentiated."""
        if isinstance(self.node, engine.Leaf):
            self.node.birth = next(engine.births)

    # ------------------------------------------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method != "__call__":
            raise TypeError(f"np.{ufunc.__name__}.{method} is not differentiable here; use a function such as mg.sum")
        if out is not None:  # array -= tensor
            tensors = [x for x in inputs if isinstance(x, Tensor)]
            if any(isinstance(x, Tensor) for x in out) or any(x.requires_grad for x in tensors):
                raise TypeError(f"np.{ufunc.__name__}: out= loses the gradient; write y = np.{ufunc.__name__}(...)")
            return ufunc(*(x.data if isinstance(x, Tensor) else x for x in inputs), out=out, **kwargs)
        return find_row(ufunc)(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in FILLED and self.device != "cpu":  # NumPy hands these on with a device= that CuPy does not take
            return Tensor(backend.to_device(function(*args, **kwargs), self.device))
        if function in CREATION:  # np.zeros(shape, like=tensor)
            return Tensor(function(*args, **kwargs, like=self.data))
        return find_row(function)(*args, **kwargs)

    # ------------------------------------------------------------------------------------------------ changing in place

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError(
            "x[key] = value would cut the graph; write x = mg.index_put(x, key, value), or x = mg.where(mask, value, x)"
        )

    def _change(self, ufunc: Any, other: Any) -> Tensor:
        """`p -= step`: a leaf changes in place, which only `no_grad` allows; any other name is bound to the result."""
        if not isinstance(self.node, engine.Leaf):
            return find_row(ufunc)(self, other)
        if engine.mode.recording is not None:
            raise RuntimeError("a leaf that needs a gradient can only be changed in place under `with mg.no_grad():`")
        ufunc(self.data, other.data if isinstance(other, Tensor) else other, out=self.data)
        self.mark_changed()
        return self

    def __iadd__(self, other: Any) -> Tensor:
        return self._change(np.add, other)

    def __isub__(self, other: Any) -> Tensor:
        return self._change(np.subtract, other)

    def __imul__(self, other: Any) -> Tensor:
        return self._change(np.multiply, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._change(np.divide, other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._change(np.power, other)

    # ------------------------------------------------------------------------------------------------ attached by ops/

    if TYPE_CHECKING:
        # fmt: off
        def __add__(self, y: Any) -> Tensor: ...
        def __radd__(self, x: Any) -> Tensor: ...
        def __sub__(self, y: Any) -> Tensor: ...
        def __rsub__(self, x: Any) -> Tensor: ...
        def __mul__(self, y: Any) -> Tensor: ...
        def __rmul__(self, x: Any) -> Tensor: ...
        def __truediv__(self, y: Any) -> Tensor: ...
        def __rtruediv__(self, x: Any) -> Tensor: ...
        def __pow__(self, y: Any) -> Tensor: ...
        def __rpow__(self, x: Any) -> Tensor: ...
        def __matmul__(self, y: Any) -> Tensor: ...
        def __rmatmul__(self, x: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, y: Any) -> Tensor: ...
        def __or__(self, y: Any) -> Tensor: ...
        def __eq__(self, y: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, y: Any) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, y: Any) -> Tensor: ...
        def __le__(self, y: Any) -> Tensor: ...
        def __gt__(self, y: Any) -> Tensor: ...
        def __ge__(self, y: Any) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        T: Tensor
        def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor: ...
        def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor: ...
        def argsort(self, axis: int | None = -1) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def clip(self, min: Any = None, max: Any = None) -> Tensor: ...
        def copy(self) -> Tensor: ...
        def cumprod(self, axis: int | None = None) -> Tensor: ...
        def cumsum(self, axis: int | None = None) -> Tensor: ...
        def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor: ...
        def dot(self, b: Any) -> Tensor: ...
        def flatten(self) -> Tensor: ...
        def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def ravel(self) -> Tensor: ...
        def repeat(self, repeats: Any, axis: int | None = None) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def round(self, decimals: int = 0) -> Tensor: ...
        def squeeze(self, axis: Axis = None) -> Tensor: ...
        def std(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def swapaxes(self, axis1: int, axis2: int) -> Tensor: ...
        def to(self, device: str) -> Tensor: ...
        def take(self, indices: Any, axis: int | None = None) -> Tensor: ...
        def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def var(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor: ...
        # fmt: on


# What other libraries call it, for the message of `__getattr__`.
ELSEWHERE = {
    "view": "x.reshape(shape)",
    "permute": "x.transpose(axes)",
    "unsqueeze": "mg.expand_dims(x, axis)",
    "expand": "mg.broadcast_to(x, shape)",
    "float": "x.astype(np.float32)",
    "double": "x.astype(np.float64)",
    "long": "x.astype(int)",
    "type": "x.astype(dtype)",
    "tolist": "x.numpy().tolist()",
    "clone": "x.copy()",
    "cpu": 'x.to("cpu")',
    "cuda": 'x.to("cuda")',
    "norm": "mg.linalg.norm(x)",
    "abs": "abs(x)",
    "exp": "mg.exp(x)",
    "log": "mg.log(x)",
    "tanh": "mg.tanh(x)",
    "zero_": "x.grad = None, or optimizer.zero_grad()",
    "requires_grad_": "x.requires_grad = True",
}

FILLED = {np.ones, np.full, np.eye}
CREATION = {np.zeros, np.empty, np.arange, np.identity, *FILLED}


def find_row(function: Any) -> Callable[..., Any]:
    """Our function for one of NumPy's. Raises TypeError where the table has no row for it."""
    if function not in engine.TABLE:
        name = function.__name__
        raise TypeError(
            f"np.{name} has no row in minigrad's table of derivatives; use x.detach().numpy() if it needs no gradient, "
            f"or add a row: {name} = mg.op(np.{name}, x=lambda g, x: ...)"
        )
    return engine.TABLE[function]


def rebuild(kind: type[Tensor], data: Any, requires_grad: bool, grad: Tensor | None) -> Tensor:
    """A leaf from what copy and pickle saved."""
    result = kind.__new__(kind)
    Tensor.__init__(result, data)
    result.requires_grad = requires_grad
    result._grad = grad
    return result


class Handle:
    """What registering a hook returns: `remove()` takes the hook away again."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._key = hooks, next(engine.births)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._key, None)
