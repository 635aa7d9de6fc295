"""Is there a GPU, and what one asks of it. Arrays get there by `x.to("cuda")`; docs/gpu.md tells the rest.

Public: `is_available`, `device_count`, `device`, `synchronize`.
"""

from __future__ import annotations

from typing import Any

from .backend import CuPy, world_named


def is_available() -> bool:
    """Can arrays go to a GPU: is CuPy installed, and does it find one? Never raises.

    >>> import minigrad as mg
    >>> mg.cuda.is_available() in (True, False)
    True
    """
    return device_count() > 0


def device_count() -> int:
    """How many GPUs there are; 0 also where CuPy or the driver is missing or broken."""
    try:
        return CuPy().count
    except Exception:  # a driver that does not fit, a library that cannot be loaded: CuPy has many ways to fail
        return 0


def device(number: int) -> Any:
    """``with mg.cuda.device(1):`` makes that GPU the current one: ``"cuda"`` means it, and all is computed there.

    CuPy computes on the current GPU; arrays on another want this around whatever is done with them. Raises as
    `x.to("cuda")`.
    """
    return CuPy().cupy.cuda.Device(number)


def synchronize() -> None:
    """Wait until the current GPU has done all it was told. Without this a clock measures only the telling.

    Raises as `x.to("cuda")`.
    """
    world_named(CuPy.name).synchronize()
