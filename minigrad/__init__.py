"""minigrad: reverse-mode automatic differentiation on NumPy, small enough to read in an evening.

>>> import minigrad as mg
>>> x = mg.tensor([1.0, 2.0], requires_grad=True)
>>> loss = (x * x).sum()
>>> loss.backward()
>>> x.grad
tensor([2., 4.], dtype=float32, device='cpu')

Read `engine.py` first, then `ops/elementwise.py`, then `tensor.py`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import engine, ops  # isort: skip (engine comes first: it and tensor import each other)
from .backend import default_dtype, get_rng_state, manual_seed, set_default_dtype, set_rng_state
from .creation import arange, eye, full, ones, rand, randn, zeros
from .engine import enable_grad, grad, no_grad, op
from .explain import explain
from .ops import *
from .ops import absolute as abs
from .tensor import Tensor, tensor

if TYPE_CHECKING:
    from . import autograd, cuda, data, functional, graph, nn, saving, training
    from .saving import CheckpointError, load, save

# What is built of all the above is loaded when it is first asked for: half of an import's time would go there (measured
# beyond that of NumPy's own: 38 ms with all of it, 19 without).
LATER = {name: "" for name in ("autograd", "cuda", "data", "functional", "graph", "nn", "saving", "training")}
LATER |= dict.fromkeys(("CheckpointError", "load", "save"), "saving")


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
    if LATER[name]:
        return getattr(importlib.import_module(f".{LATER[name]}", __name__), name)
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
