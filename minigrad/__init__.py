"""minigrad: reverse-mode automatic differentiation on NumPy, small enough to read in an evening.

>>> import minigrad as mg
>>> x = mg.tensor([1.0, 2.0], requires_grad=True)
>>> loss = (x * x).sum()
>>> loss.backward()
>>> x.grad
tensor([2., 4.], dtype=float32, device='cpu')

Read `engine.py` first, then `ops/elementwise.py`, then `tensor.py`.
"""

from . import engine, autograd, functional  # isort: skip (engine comes first: it and tensor import each other)
from .backend import default_dtype, get_rng_state, manual_seed, set_default_dtype, set_rng_state
from .creation import arange, eye, full, ones, rand, randn, zeros
from .engine import enable_grad, grad, no_grad, op
from .explain import explain
from .ops import *
from .ops import absolute as abs
from .saving import CheckpointError, load, save
from .tensor import Tensor, tensor

from . import cuda, data, graph, nn, training  # isort: skip (what is built of all the above)
