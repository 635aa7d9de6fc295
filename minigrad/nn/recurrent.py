"""Networks that read a sequence step by step, with a state that they carry along.

Public: `RNN`, `LSTM`, `GRU`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import creation
from .. import functional as F
from ..functional.recurrence import gru, lstm_output, lstm_state
from ..ops import concatenate, stack
from ..ops.indexing import plain_key
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, check_input

State = tuple[Any, ...]  # (h,), or for the LSTM (h, c); each (N, hidden_size)


class Recurrent(Module):
    """What the three share: the walk over time, layers and directions. A subclass writes one step of it, `cell`.

    ``x (L, N, input_size), hx -> output (L, N, D * hidden_size), state``; with `batch_first` x and output begin
    (N, L, ...). D is 2 if `bidirectional`: a second walk, from the end to the beginning, whose output is set beside the
    first's. The state `hx` is h, or (h, c), each ``(D * num_layers, N, hidden_size)``, and zeros unless given; the one
    returned is that after the last step. `dropout` is applied, in training, to the output of every layer but the last.

    Parameters are named as PyTorch's: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, then
    ``..._l0_reverse``, ``..._l1``; the rows of each are those of the gates, in the order that `cell` says. All start
    uniform in ±1/√hidden_size.
    """

    gates = 1
    parts = 1  # of the state
    weight_ih_l0: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        if num_layers < 1 or not 0 <= dropout <= 1:
            name = type(self).__name__
            raise ValueError(f"{name}: wanted num_layers >= 1 and dropout in [0, 1], got {num_layers} and {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.walks = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self.walks)
            for walk in self.walks:
                rows = self.gates * hidden_size
                shapes: dict[str, Any] = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)}
                for name, shape in (shapes | ({"bias_ih": rows, "bias_hh": rows} if bias else {})).items():
                    setattr(self, f"{name}_l{layer}{walk}", Parameter(creation.zeros(shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial values anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def cell(self, x: Any, h: State, weight: Any, bias: Any) -> State:
        """One step: the state after the input x, which comes multiplied by its weights already."""
        raise NotImplementedError

    def forward(self, x: Any, hx: Any = None) -> tuple[Any, Any]:
        name = type(self).__name__
        check_input(name, x, self.weight_ih_l0, self.input_size)
        if x.ndim != 3 or 0 in x.shape:
            raise ValueError(f"{name}: wanted an input with 3 axes, of time, batch and features; got {x.shape}")
        if self.batch_first:
            x = x.swapaxes(0, 1)
        before = iter(self.start(x, hx))
        after: list[State] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for walk in self.walks:
                names = (f"{p}_l{layer}{walk}" for p in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
                weight_ih, bias_ih, weight_hh, bias_hh = (getattr(self, p, None) for p in names)
                steps = unstack(F.linear(x, weight_ih, bias_ih))  # one large product for all steps, not many small ones
                h, hs = next(before), []
                for step in reversed(steps) if walk else steps:
                    h = self.cell(step, h, weight_hh, bias_hh)
                    hs.append(h[0])
                outputs.append(stack(hs[::-1] if walk else hs))
                after.append(h)
            x = concatenate(outputs, axis=-1) if self.bidirectional else outputs[0]
        last = tuple(stack(part) for part in zip(*after))
        return x.swapaxes(0, 1) if self.batch_first else x, last if self.parts > 1 else last[0]

    def start(self, x: Any, hx: Any) -> list[State]:
        """The state before the first step, by layer and direction. Raises ValueError or TypeError for a bad one."""
        shape = (self.num_layers * len(self.walks), x.shape[1], self.hidden_size)
        if hx is None:
            zeros = Tensor(np.zeros(shape[1:], x.dtype, like=plain_key(x)))
            return [(zeros,) * self.parts] * shape[0]
        parts = hx if isinstance(hx, tuple) else (hx,)
        if len(parts) != self.parts or any(part.shape != shape for part in parts):
            wanted = "a state" if self.parts == 1 else "a pair of states"
            raise ValueError(f"{type(self).__name__}: wanted {wanted} of shape {shape}, got {[p.shape for p in parts]}")
        for part in parts:
            check_input(type(self).__name__, part, self.weight_ih_l0)
        return [tuple(part[k] for part in parts) for k in range(shape[0])]

    def extra_repr(self) -> str:
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        options = [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join([str(self.input_size), str(self.hidden_size), *options])


def unstack(x: Any) -> list[Any]:
    """The elements along the first axis, by halves of halves.

    The gradient of an element is an array as large as what it was taken from: taken one by one from the whole, n
    elements would cost n² in backward, and so they cost n log n.
    """
    n = len(x)
    return [x[0]] if n == 1 else unstack(x[: n // 2]) + unstack(x[n // 2 :])


class RNN(Recurrent):
    """hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh) (Elman 1990), or relu; arguments and shapes: see `Recurrent`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)

    def cell(self, x: Any, state: State, weight: Any, bias: Any) -> State:
        z = x + F.linear(state[0], weight, bias)
        return (F.tanh(z) if self.nonlinearity == "tanh" else F.relu(z),)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), with the forget gate of Gers et al. 2000.

    The gates i, f, u, o are W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh, through tanh for u and sigmoid for the others; then
    cₜ = f cₜ₋₁ + i u and hₜ = o tanh(cₜ). Arguments and shapes: see `Recurrent`.
    """

    gates, parts = 4, 2

    def cell(self, x: Any, state: State, weight: Any, bias: Any) -> State:
        h, c = state
        a = x + F.linear(h, weight, bias)
        c = lstm_state(a, c)
        return lstm_output(a, c), c


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014).

    With a = W_ih xₜ + b_ih and b = W_hh hₜ₋₁ + b_hh, each in three parts: r = sigmoid(a₁ + b₁), z = sigmoid(a₂ + b₂),
    n = tanh(a₃ + r b₃) and hₜ = (1 - z) n + z hₜ₋₁. Arguments and shapes: see `Recurrent`.
    """

    gates = 3

    def cell(self, x: Any, state: State, weight: Any, bias: Any) -> State:
        (h,) = state
        return (gru(x, F.linear(h, weight, bias), h),)
