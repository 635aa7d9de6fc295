"""The ground floor: which array library holds the numbers, on which device, from which random stream.

Public: `default_dtype`, `set_default_dtype`, `manual_seed`, `get_rng_state`, `set_rng_state`, `generator`, `uniform`;
`is_array`, `as_array`, `device_of`, `to_device`, `add_at`; `World`, `register`.

The one idea: a *world* is an array type. NumPy's own dispatch (``np.sin(array)``, ``np.zeros(n, like=array)``) already
finds the right library for an array, so the rest of minigrad only asks here what that dispatch does not carry. No other
file names CuPy, and CuPy is imported when the first array goes to a GPU.
"""

from __future__ import annotations

import contextlib
import math
import os
from typing import Any

import numpy as np

# A world's array type. Everything that is not one of these, and is not a Tensor, is a constant.
ARRAY_TYPES: tuple[type, ...] = (np.ndarray,)
NUMBERS = (np.generic, float, int)

_default_dtype = np.dtype(np.float32)
_generator: np.random.Generator | None = None  # made when first asked for: loading numpy.random takes 10 ms


def keep_freed_memory() -> None:
    """Let glibc's allocator keep freed blocks instead of handing each back to the kernel.

    A training step frees and allocates the same large arrays every time. By default glibc maps a block over 128 KiB on
    its own and unmaps it when it is freed, so that the kernel zeroes the pages again at the next step: half of the time
    of a NumPy training step (measured: a multi-layer perceptron 3.5 to 1.4 ms, a small CNN 13 to 7.1 ms, attention 16
    to 7.7 ms). glibc raises that limit to the size of the largest mapped block ever freed, 32 MiB at most; so one such
    block, never touched, is made and dropped. Elsewhere this does nothing. ``MINIGRAD_KEEP_MEMORY=0`` turns it off.
    """
    if os.environ.get("MINIGRAD_KEEP_MEMORY", "1") != "0":
        np.empty(2**25 - 2**16, np.uint8)


def is_array(x: Any) -> bool:
    """Is x an array of any world (and not a Tensor, a scalar or a list)?"""
    return isinstance(x, ARRAY_TYPES) or (type(x).__module__ == "cupy" and isinstance(x, world_of(x).array))


def as_array(x: Any) -> Any:
    """A number, Python's or NumPy's, as a 0-d array; everything else unchanged."""
    return np.asarray(x) if isinstance(x, NUMBERS) else x


# ------------------------------------------------------------------------------------------------------------- devices


class World:
    """Arrays that do not lie in the host's memory, and what NumPy's dispatch does not do with them.

    `name` is what its devices are called (``"cuda"``, also with a number, ``"cuda:1"``), `array` its arrays' type. A
    subclass says where an array lies, and how it gets there and back.
    """

    name: str
    array: type

    def device_of(self, array: Any) -> str:
        """Name and number, ``"cuda:0"``."""
        raise NotImplementedError

    def put(self, array: np.ndarray, number: int | None) -> Any:
        """A copy of a NumPy array on the device of that number; None is the current one."""
        raise NotImplementedError

    def get(self, array: Any) -> np.ndarray:
        """A copy as a NumPy array. Waits until all that is under way on the device is done."""
        raise NotImplementedError

    def add_at(self, array: Any, key: Any, values: Any) -> None:
        """What ``np.add.at`` does."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until all that is under way on the current device is done."""
        raise NotImplementedError


class CuPy(World):
    """NVIDIA's GPUs, through CuPy. Raises ImportError where CuPy is missing, RuntimeError where it finds no GPU."""

    name = "cuda"

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise ImportError(
                "a device 'cuda' needs CuPy: pip install 'minigrad-course[gpu]' for CUDA 12, or "
                f"'minigrad-course[gpu-cuda13]' for CUDA 13 ({error})"
            ) from error
        try:
            self.count = int(cupy.cuda.runtime.getDeviceCount())
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise RuntimeError(
                f"a device 'cuda' needs an NVIDIA GPU and its driver; CuPy is installed, but finds none: {error}"
            ) from error
        self.cupy = cupy
        self.array = cupy.ndarray

    def device_of(self, array: Any) -> str:
        return f"cuda:{array.device.id}"

    def put(self, array: np.ndarray, number: int | None) -> Any:
        if number is not None and number >= self.count:
            raise ValueError(f"there is no device 'cuda:{number}'; CuPy finds {self.count}")
        with contextlib.nullcontext() if number is None else self.cupy.cuda.Device(number):
            return self.cupy.asarray(array)

    def get(self, array: Any) -> np.ndarray:
        return array.get()

    def add_at(self, array: Any, key: Any, values: Any) -> None:
        array.scatter_add(key, values)  # np.add.at reaches CuPy (14.2) only with one array as key, not with a tuple

    def synchronize(self) -> None:
        self.cupy.cuda.Device().synchronize()


WORLDS: dict[str, World] = {}  # all but NumPy, by name


def register(world: World) -> None:
    """Let a world's arrays be arrays of minigrad, and its devices be known by its name."""
    global ARRAY_TYPES
    WORLDS[world.name] = world
    ARRAY_TYPES = (np.ndarray, *(w.array for w in WORLDS.values()))


def world_named(name: str) -> World:
    """The world of that name. CuPy registers itself here, when it is first asked for."""
    if name == CuPy.name and name not in WORLDS:
        register(CuPy())
    return WORLDS[name]


def world_of(array: Any) -> World:
    """The world that an array, not NumPy's, belongs to."""
    for world in WORLDS.values():
        if isinstance(array, world.array):
            return world
    return world_named(CuPy.name)


def place(device: str) -> tuple[str, int | None]:
    """A device's world and number: ``"cuda:1"`` is ("cuda", 1). Raises ValueError for one that cannot be read."""
    name, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if name not in ("cpu", CuPy.name, *WORLDS) or (colon and (name == "cpu" or not number.isdecimal())):
        raise ValueError(f"unknown device {device!r}; wanted 'cpu', 'cuda', or 'cuda:1' for one of several GPUs")
    return name, int(number) if colon else None


def check_device(device: str) -> None:
    """Raise, as `to_device` would, where a device cannot be had."""
    name, _ = place(device)
    if name != "cpu":
        world_named(name)


def device_of(array: Any) -> str:
    """``"cpu"`` for NumPy's arrays, ``"cuda:0"`` for those on the first GPU."""
    return "cpu" if isinstance(array, np.ndarray) else world_of(array).device_of(array)


def is_there(array: Any, device: str) -> bool:
    """Does an array lie on a device? ``"cuda"`` is any one GPU. Raises ValueError for a name that is no device's."""
    name, number = place(device)
    here = device_of(array)
    return here == device or (number is None and here.partition(":")[0] == name)


def to_device(array: Any, device: str) -> Any:
    """The same numbers as an array on `device`; the array itself where it is there. ``"cuda"`` is any one GPU.

    Raises
    ------
    ValueError
        For a name that is no device's.
    ImportError, RuntimeError
        Where CuPy is missing, or finds no GPU.
    """
    if is_there(array, device):
        return array
    name, number = place(device)
    world = None if name == "cpu" else world_named(name)
    host = array if isinstance(array, np.ndarray) else world_of(array).get(array)
    return host if world is None else world.put(host, number)


def add_at(array: Any, key: Any, values: Any) -> None:
    """``array[key] += values`` in which an element that the key names twice gets both."""
    if isinstance(array, np.ndarray):
        np.add.at(array, key, values)
    else:
        world_of(array).add_at(array, key, values)


# ----------------------------------------------------------------------------------------------------- dtype and chance


def default_dtype() -> np.dtype:
    """The dtype of Tensors made from Python numbers and of random Tensors: float32 unless changed."""
    return _default_dtype


def set_default_dtype(dtype: Any) -> None:
    """Let Tensors made from Python floats be float32 (the start) or float64. Raises TypeError for any other dtype."""
    global _default_dtype
    wanted = np.dtype(dtype)
    if wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"set_default_dtype: got {wanted}, wanted float32 or float64")
    _default_dtype = wanted


def generator() -> np.random.Generator:
    """The one random stream behind `randn`, `rand`, initial weights, dropout and shuffles."""
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator


def manual_seed(seed: int) -> None:
    """Start the random stream anew, so that everything drawn after this line is the same in every run."""
    global _generator
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"manual_seed: got {seed!r}, wanted an integer >= 0")
    _generator = np.random.default_rng(int(seed))


def uniform(shape: tuple[int, ...], like: Any) -> Any:
    """Numbers of float32 uniform in [0, 1), in the world and on the device of `like`; nothing is moved there.

    On a device they are made there, of one integer drawn from the stream: number i is `mixed` of that integer and i. So
    one seed, and one state to save, serves all worlds. (The state of CuPy's own generators cannot be read.)
    """
    if isinstance(like, np.ndarray):
        return generator().random(shape, np.float32)
    key = generator().integers(2**64, dtype=np.uint64)
    numbers = mixed(np.arange(math.prod(shape), dtype=np.uint64, like=like), key)
    return ((numbers >> np.uint64(40)).astype(np.float32) * 2.0**-24).reshape(shape)


def mixed(i: Any, key: np.uint64) -> Any:
    """Number i of the stream that starts at `key`, of 64 random bits: SplitMix64 (Steele, Lea, Flood 2014)."""
    z = (i + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def get_rng_state() -> dict[str, Any]:
    """Where the random stream stands: a dictionary of numbers and strings, which `mg.save` takes.

    >>> import minigrad as mg
    >>> state = mg.get_rng_state()
    >>> first = mg.randn(3)
    >>> mg.set_rng_state(state)
    >>> bool((mg.randn(3) == first).all())
    True
    """
    return dict(generator().bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Let the random stream go on from where `get_rng_state` found it. Raises ValueError for anything else."""
    global _generator
    stream = np.random.default_rng()
    try:
        stream.bit_generator.state = state
        if stream.bit_generator.state != state:
            raise ValueError("the stream cannot stand there")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"set_rng_state: got {state!r}, wanted what get_rng_state returned ({error!r})") from error
    _generator = stream


keep_freed_memory()
