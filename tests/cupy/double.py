"""A double of CuPy on the CPU: arrays that can do no more than CuPy's, and count what would cost a GPU's time.

    with pretended():                       # "cuda" is now the double
        x = mg.ones(3).to("cuda")
        with counted() as counts:
            (x * 2).sum().item()
        counts.waits                        # 1: item

It holds NumPy's arrays and computes with them, but lets them be met only as CuPy's could be: through NumPy's two
protocols, operators, and methods that are in `api.json`, with the arguments that are listed there. How CuPy's operators
and protocols decide was read from CuPy 14.2 itself, whose arrays can be asked that without a GPU. A subclass of ndarray
could not be that strict: NumPy converts it without asking.

Where it is stricter than CuPy: NumPy's arrays beside it are refused always, and so is a key that names an element twice
in an assignment, for which CuPy's result is undefined. What it cannot show: rounding, speed, memory, and mistakes of
CuPy's own.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from minigrad import backend

API = json.loads(Path(__file__).with_name("api.json").read_text(encoding="utf-8"))
SPECIAL = {"erf"}  # of cupyx.scipy.special, where CuPy looks for SciPy's ufuncs

SCALARS = (bool, int, float, complex, np.generic)


@dataclass
class Counts:
    """What a stretch of code cost."""

    to_device: int = 0  # arrays copied there, an index of the host's among them
    to_host: int = 0
    waits: int = 0  # how often the host waited for a value

    @property
    def nothing(self):
        return self == Counts()


counts = Counts()


def cost(**kinds):
    """Count it: ``cost(waits=1)``."""
    for kind, n in kinds.items():
        setattr(counts, kind, getattr(counts, kind) + n)


def lent():
    """May the call that is under way mix NumPy's arrays with these? Never here; `suite.py` lets its tests do so."""
    return False


@contextlib.contextmanager
def counted():
    """Counts of what happens inside."""
    global counts
    before, counts = counts, Counts()
    try:
        yield counts
    finally:
        counts = before


@functools.cache
def signature(text):
    """A signature of api.json, to bind arguments to."""
    return inspect.signature(eval(f"lambda {text[1:-1]}: None"))


def inside(x):
    """NumPy's array of an Array, also in lists and tuples of them; NumPy's own are refused."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(inside, x))
    if isinstance(x, np.ndarray) and not lent():
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return x._a if isinstance(x, Array) else x


def arrays_in(x):
    """The Arrays among arguments."""
    if isinstance(x, Array):
        yield x
    elif isinstance(x, (list, tuple)):
        for part in x:
            yield from arrays_in(part)


def number_of(arguments):
    """The device that arguments share."""
    numbers = {x._number for x in arrays_in(arguments)}
    if len(numbers) > 1:
        raise ValueError(f"Array device must be same as the current device: array devices = {sorted(numbers)}")
    return numbers.pop() if numbers else 0


def outside(x, number):
    """A result as Arrays: a number is a 0-d array."""
    if isinstance(x, tuple):
        return tuple(outside(part, number) for part in x)
    if isinstance(x, list):
        return [outside(part, number) for part in x]
    return Array(np.asarray(x), number) if isinstance(x, (np.ndarray, np.generic)) else x


class Array:
    """Stands for cupy.ndarray."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, a, number=0):
        self._a, self._number = a, number

    # ----------------------------------------------------------------------------------------------- what it has

    def __getattr__(self, name):
        if name in API["attributes"]:
            return outside(getattr(self._a, name), self._number)
        if name in API["methods"]:
            return functools.partial(self._method, name)
        raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")

    device = property(lambda self: SimpleNamespace(id=self._number))
    base = property(lambda self: None if self._a.base is None else Array(self._a.base, self._number))

    def _method(self, name, *args, **kwargs):
        signature(API["methods"][name]).bind(self, *args, **kwargs)
        number = number_of([self, *args, *kwargs.values()])
        kwargs = {k: inside(v) for k, v in kwargs.items()}
        if name in ("item", "tolist", "nonzero"):
            cost(waits=1)
        with np.errstate(all="ignore"):
            result = getattr(self._a, name)(*inside(args), **kwargs)
        return result if name in ("item", "tolist") else outside(result, number)

    def get(self):
        cost(waits=1, to_host=1)
        return self._a.copy()

    def scatter_add(self, slices, value):
        if self.dtype.name not in ("int32", "uint32", "uint64", "float16", "float32", "float64"):
            raise TypeError(f"scatter_add does not support {self.dtype}")
        with np.errstate(all="ignore"):
            np.add.at(self._a, self._key(slices), inside(value))

    # ----------------------------------------------------------------------------------------------- what waits

    def _value(self):
        cost(waits=1)
        return self._a

    def __bool__(self):
        return bool(self._value())

    def __float__(self):
        return float(self._value())

    def __int__(self):
        return int(self._value())

    def __index__(self):
        return self._value().__index__()

    def __repr__(self):
        return repr(self._value())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __array__(self, dtype=None, copy=None):
        if lent():
            return np.array(self._a, dtype)
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __reduce__(self):
        return Array, (self.get(), self._number)

    def __deepcopy__(self, memo):
        return self.copy()

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        return (self[i] for i in range(len(self._a)))

    # ----------------------------------------------------------------------------------------------- indexing

    def _key(self, key):
        """A key for NumPy. Integers of an array wrap around; the host's arrays are copied to the device; masks wait."""
        keys, axis, plain = key if isinstance(key, tuple) else (key,), 0, []
        used = sum(1 for k in keys if k is not None and k is not Ellipsis)
        for k in keys:
            if isinstance(k, (list, np.ndarray)):
                cost(to_device=1)
                k = Array(np.asarray(k), self._number)
            if isinstance(k, Array):
                number_of([self, k])
                k = k._a
                if k.dtype.kind in "iu" and k.ndim:
                    k = k % self._a.shape[axis] if self._a.shape[axis] else k
                elif k.dtype.kind == "b":
                    cost(waits=1)
                    axis += k.ndim - 1
            elif type(k).__module__.startswith("minigrad"):
                raise IndexError(f"Unsupported type {type(k)}")
            plain.append(k)
            axis += self._a.ndim - used if k is Ellipsis else k is not None
        return tuple(plain)

    def __getitem__(self, key):
        key = self._key(key)
        whole = any(k is Ellipsis for k in key)  # with ... even one element is a view of 0 dimensions
        return Array(self._a[key if whole else (*key, ...)], self._number)

    def __setitem__(self, key, value):
        if not isinstance(value, (Array, *SCALARS)) and not lent():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        number_of([self, value])
        masks = any(isinstance(k, Array) and k.dtype.kind == "b" for k in (key if isinstance(key, tuple) else (key,)))
        waits = counts.waits
        key = self._key(key)
        if masks and isinstance(value, SCALARS):
            counts.waits = waits  # a number is written through a mask without counting it
        if any(isinstance(k, np.ndarray) and k.dtype.kind in "iu" for k in key):
            times = np.zeros(self._a.shape, int)
            np.add.at(times, key, 1)
            if (times > 1).any():
                raise ValueError("the key names an element twice: which value CuPy would keep is undefined")
        with np.errstate(all="ignore"):
            self._a[key] = inside(value)

    # ----------------------------------------------------------------------------------------------- NumPy's protocols

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        name, known = ufunc.__name__, API["ufuncs"].get(ufunc.__name__)
        if known is None and name not in SPECIAL and name not in API["functions"]:
            return NotImplemented
        if method != "__call__" and (known is None or method not in known["methods"]):
            raise NotImplementedError(f"`cupy_{name}.{method}` is not supported yet")
        out = kwargs.pop("out", ())
        if out and isinstance(out[0], np.ndarray) and lent():
            return getattr(ufunc, method)(*inside(inputs), out=out, **kwargs)
        for x in (*inputs, *out):
            if not isinstance(x, (Array, np.ndarray, *SCALARS)) and not (isinstance(x, list) and lent()):
                return NotImplemented
        return call(ufunc, method, inputs, out[0] if out else None, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        path = [*function.__module__.split(".")[1:], function.__name__]
        name = ".".join(path)
        known = name in API["functions"] or name in API["ufuncs"]  # CuPy's sinc is a ufunc
        if not known or not all(issubclass(t, (Array, np.ndarray)) for t in types):
            return NotImplemented
        signature(API["functions"].get(name, "(*inputs, out=None, dtype=None)")).bind(*args, **kwargs)
        number = number_of([self, *args, *kwargs.values()])
        kwargs = {k: inside(v) for k, v in kwargs.items()}
        with np.errstate(all="ignore"):
            try:
                result = function(*inside(args), **kwargs)
            except np.linalg.LinAlgError:
                if args[0].shape[-1] != args[0].shape[-2]:
                    raise
                result = np.full(args[-1].shape, np.nan, args[0].dtype)  # CuPy says nothing, unless told to
        return outside(result, number)


def call(ufunc, method, inputs, out, kwargs):
    """A ufunc on Arrays and numbers, as CuPy's own would be called."""
    if any(isinstance(x, (np.ndarray, list)) for x in inputs) and lent():
        inputs = [Array(np.array(x)) if isinstance(x, (np.ndarray, list)) else x for x in inputs]
    if not set(kwargs) <= {"dtype", "axis", "keepdims"} or any(not isinstance(x, (Array, *SCALARS)) for x in inputs):
        wrong = next((type(x) for x in inputs if not isinstance(x, (Array, *SCALARS))), set(kwargs))
        raise TypeError(f"Unsupported type {wrong}")
    number = number_of([*inputs, *([] if out is None else [out])])
    with np.errstate(all="ignore"):
        result = getattr(ufunc, method)(*inside(inputs), **kwargs, **({} if out is None else {"out": out._a}))
    return outside(result, number) if out is None else out


def binary(ufunc, swapped=False):
    """An operator: NumPy's ufunc, which asks both operands."""

    def operator(x, y):
        if getattr(y, "__array_ufunc__", True) is None:
            return NotImplemented
        return ufunc(y, x) if swapped else ufunc(x, y)

    return operator


def in_place(ufunc):
    """An operator such as -=: CuPy's own ufunc, which asks no one."""
    return lambda x, y: call(ufunc, "__call__", (x, y), x, {})


# fmt: off
OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "rshift": np.right_shift, "lshift": np.left_shift,
}
COMPARISONS = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}
# fmt: on

for _name, _ufunc in OPERATORS.items():
    setattr(Array, f"__{_name}__", binary(_ufunc))
    setattr(Array, f"__r{_name}__", binary(_ufunc, swapped=True))
    if _name != "matmul":
        setattr(Array, f"__i{_name}__", in_place(_ufunc))
for _name, _ufunc in COMPARISONS.items():
    setattr(Array, f"__{_name}__", binary(_ufunc))
for _name, _ufunc in {"neg": np.negative, "abs": np.absolute, "invert": np.invert}.items():
    setattr(Array, f"__{_name}__", lambda x, ufunc=_ufunc: ufunc(x))


class Double(backend.World):
    """The double as a world of minigrad, under CuPy's name."""

    name = "cuda"
    array = Array

    def device_of(self, array):
        return f"cuda:{array.device.id}"

    def put(self, array, number):
        cost(to_device=1)
        return Array(np.array(array), number or 0)

    def get(self, array):
        return array.get()

    def add_at(self, array, key, values):
        array.scatter_add(key, values)

    def synchronize(self):
        cost(waits=1)


@contextlib.contextmanager
def pretended():
    """Inside, the device "cuda" is the double."""
    worlds, types = dict(backend.WORLDS), backend.ARRAY_TYPES
    backend.register(Double())
    try:
        yield
    finally:
        backend.WORLDS.clear()
        backend.WORLDS.update(worlds)
        backend.ARRAY_TYPES = types


def own(function):
    """CuPy's own function, ``cupy.multiply`` for `np.multiply`: it takes its arrays and numbers, and asks nobody else."""

    def called(*args):
        for x in args:
            if not isinstance(x, (Array, *SCALARS)):
                raise TypeError(f"Unsupported type {type(x)}")
        return function(*args)

    return called
