"""One step of a gated recurrent network: what becomes of the state.

The gates are taken before their sigmoid or tanh, side by side in the last axis. As compositions these are some fifteen
small ops a step; as one op each they take a third of the time.

Public: `lstm_state`, `lstm_output`, `gru`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import op


def split(x: Any, parts: int) -> list[Any]:
    """The last axis cut into equal parts."""
    n = x.shape[-1] // parts
    return [x[..., k * n : (k + 1) * n] for k in range(parts)]


def gate(x: Any) -> Any:
    """sigmoid(x) as ½ + ½ tanh(½ x): four times faster, and with fewer digits where it is nearly 0."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _lstm_state(a: Any, c: Any) -> Any:
    """f c + i u, where a holds the gates i, f, u, o: ``(..., 4n), (..., n) -> (..., n)``."""
    i, f, u, _ = split(a, 4)
    return gate(f) * c + gate(i) * np.tanh(u)


def _lstm_state_a(g: Any, a: Any, c: Any) -> Any:
    i, f, u, _ = split(a, 4)
    i, f, u = gate(i), gate(f), np.tanh(u)
    return np.concatenate([g * u * (i - i * i), g * c * (f - f * f), g * i * (1 - u * u), np.zeros_like(g)], axis=-1)


def _lstm_output(a: Any, c: Any) -> Any:
    """o tanh(c), where a holds the gates i, f, u, o: ``(..., 4n), (..., n) -> (..., n)``."""
    return gate(split(a, 4)[3]) * np.tanh(c)


def _lstm_output_a(g: Any, a: Any, c: Any) -> Any:
    o, zeros = gate(split(a, 4)[3]), np.zeros_like(g)
    return np.concatenate([zeros, zeros, zeros, g * np.tanh(c) * (o - o * o)], axis=-1)


def _lstm_output_c(g: Any, a: Any, c: Any) -> Any:
    t = np.tanh(c)
    return g * gate(split(a, 4)[3]) * (1 - t * t)


def gru_gates(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """The gates r = sigmoid(a₁ + b₁) and z = sigmoid(a₂ + b₂), and the new state n = tanh(a₃ + r b₃)."""
    (a1, a2, a3), (b1, b2, b3) = split(a, 3), split(b, 3)
    r = gate(a1 + b1)
    return r, gate(a2 + b2), np.tanh(a3 + r * b3)


def _gru(a: Any, b: Any, h: Any) -> Any:
    """(1 - z) n + z h, of what the input (a) and the state (b) say to the gates: ``(..., 3n) twice, (..., n)``."""
    _, update, n = gru_gates(a, b)
    return n + update * (h - n)


def _gru_a(g: Any, a: Any, b: Any, h: Any) -> Any:
    r, update, n = gru_gates(a, b)
    dn = g * (1 - update) * (1 - n * n)
    return np.concatenate([dn * split(b, 3)[2] * (r - r * r), g * (h - n) * (update - update * update), dn], axis=-1)


def _gru_b(g: Any, a: Any, b: Any, h: Any) -> Any:
    r, update, n = gru_gates(a, b)
    dn = g * (1 - update) * (1 - n * n)
    return np.concatenate(
        [dn * split(b, 3)[2] * (r - r * r), g * (h - n) * (update - update * update), dn * r], axis=-1
    )


# fmt: off
lstm_state  = op(_lstm_state,  a=_lstm_state_a,  c=lambda g, a: g * gate(split(a, 4)[1]))
lstm_output = op(_lstm_output, a=_lstm_output_a, c=_lstm_output_c)
gru         = op(_gru,         a=_gru_a,         b=_gru_b,         h=lambda g, a, b: g * gru_gates(a, b)[1])
# fmt: on
