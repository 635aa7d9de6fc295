"""The ground floor: which array library holds the numbers, on which device, from which random stream.

Public: `default_dtype`, `set_default_dtype`, `manual_seed`, `get_rng_state`, `set_rng_state`, `generator`.

The one idea: a *world* is an array type. NumPy's own dispatch (``np.sin(array)``, ``np.zeros(n, like=array)``) already
finds the right library for an array, so the rest of minigrad only asks here what that dispatch does not carry.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

# A world's array type. Everything that is not one of these, and is not a Tensor, is a constant.
ARRAY_TYPES: tuple[type, ...] = (np.ndarray,)

_default_dtype = np.dtype(np.float32)
_generator = np.random.default_rng()


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
    return isinstance(x, ARRAY_TYPES)


def as_array(x: Any) -> Any:
    """A number, Python's or NumPy's, as a 0-d array; everything else unchanged."""
    return np.asarray(x) if isinstance(x, (np.generic, float, int)) else x


def device_of(array: Any) -> str:
    """``"cpu"`` for NumPy's arrays."""
    return "cpu"


def to_device(array: Any, device: str) -> Any:
    """The same numbers as an array on `device`. Raises ValueError for a device that is not here."""
    if device == "cpu":
        return array
    raise ValueError(f"to: unknown device {device!r}; this version of minigrad computes on 'cpu'")


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
    return _generator


def manual_seed(seed: int) -> None:
    """Start the random stream anew, so that everything drawn after this line is the same in every run."""
    global _generator
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"manual_seed: got {seed!r}, wanted an integer >= 0")
    _generator = np.random.default_rng(int(seed))


def get_rng_state() -> dict[str, Any]:
    """Where the random stream stands: a dictionary of numbers and strings, which `mg.save` takes.

    >>> import minigrad as mg
    >>> state = mg.get_rng_state()
    >>> first = mg.randn(3)
    >>> mg.set_rng_state(state)
    >>> bool((mg.randn(3) == first).all())
    True
    """
    return dict(_generator.bit_generator.state)


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
