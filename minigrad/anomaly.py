"""Where did the first NaN come from? The line of your code, the op, and the numbers that it met.

    with mg.autograd.detect_anomaly():
        loss = -mg.log(p).mean()
        loss.backward()

A NaN spreads: one log(0) makes the loss NaN, and the next update every weight. Looked for at the end it is everywhere;
`detect_anomaly` looks at every value as it is made, and stops at the first. It is a watcher of the engine, which asks
for one anyway, so that it costs nothing where it is not used.

Public: `detect_anomaly`, `AnomalyError`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import traceback
import weakref
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NoReturn

import numpy as np

from . import engine
from .backend import as_array, is_array
from .engine import LEAF, Node, recording
from .explain import argument, rule_text
from .row import Row
from .tensor import Tensor

HOME = os.path.dirname(__file__) + os.sep  # a line of code in here is not the user's

# What usually is behind it, by op.
REMEDIES = {
    "log": "log is -inf at 0 and nan below: keep its argument above 0, or use a loss that takes scores (logits).",
    "sqrt": "sqrt has slope inf at 0 and is nan below: keep its argument above 0, as in sqrt(x + 1e-12).",
    "power": "Powers below 1 have slope inf at 0, negative ones are inf there, fractional ones of x < 0 are nan.",
    "divide": "A divisor of 0 gives inf, 0 / 0 gives nan: keep it away from 0, as in x / (y + 1e-8).",
    "exp": "exp overflows above 88 in float32, above 709 in float64: subtract the maximum first, as softmax does.",
}
UNTAKEN = (
    "g is 0 there: if `where` did not take this value, its slope must be made finite all the same, by a second `where` "
    "around the argument: where(x > 0, sqrt(where(x > 0, x, 1)), 0)."
)


class AnomalyError(RuntimeError):
    """A NaN or an infinity, found by `detect_anomaly`. The message says where it was made and of what."""


@contextlib.contextmanager
def detect_anomaly(inf: bool = True) -> Iterator[None]:
    """Inside, the first NaN or infinity in any result or gradient raises an error that says where it came from.

    Forward and backward both belong inside: only then is the line known that called the op whose rule went wrong. A
    rule has gone wrong if it made a bad gradient of a good one. Every value is read once more, so use it to search, not
    to train. What is computed under `no_grad` is not watched. NumPy's own warnings are silenced inside. Holds for the
    current thread; works as a decorator, too.

    Parameters
    ----------
    inf
        Whether infinities count. With False only NaN does, for code that means its infinities (a mask of -inf).

    Raises
    ------
    AnomalyError
        From the op or the backward that made, or was given, the first bad value. Leaves whose gradient was complete by
        then keep it in `.grad`.
    RuntimeError
        Where recording is off, for there nothing could be watched.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 0.0], requires_grad=True)
    >>> with mg.autograd.detect_anomaly():
    ...     mg.sqrt(x).sum().backward()
    Traceback (most recent call last):
    minigrad.anomaly.AnomalyError: backward: the rule of sqrt made inf out of a gradient that was finite.
    ...
    At [1] the gradient for x is g / (2 * z) = inf, where g = 1.0, z = 0.0.
    sqrt has slope inf at 0 and is nan below: keep its argument above 0, as in sqrt(x + 1e-12).
    """
    if engine.mode.recording is None:
        raise RuntimeError(
            "detect_anomaly: recording is off here, so nothing can be watched; use it outside of no_grad"
        )
    with np.errstate(all="ignore"), recording(Detector(inf)):
        yield


class Detector:
    """The watcher: remembers where each node was called from, and raises at the first bad value."""

    def __init__(self, inf: bool) -> None:
        self.inf, self.fine = inf, "finite" if inf else "not nan"
        self.calls: weakref.WeakKeyDictionary[Node, tuple[CodeType, int]] = weakref.WeakKeyDictionary()

    def bad(self, x: Any) -> Any:
        """Where an array is not a number to go on with; None if it is one everywhere."""
        if not is_array(x) or x.dtype.kind != "f":
            return None
        where = ~np.isfinite(x) if self.inf else np.isnan(x)
        return where if where.any() else None

    def computed(self, row: Row, args: Any, z: Any, node: Node | None) -> None:
        """An op has computed z of its arguments."""
        frame = users_frame()
        if node is not None:
            self.calls[node] = frame.f_code, frame.f_lasti
        where = self.bad(z)
        # What a rule computes on the way may be bad and masked in the end: there only its result counts, see below.
        if where is None or in_a_rule():
            return
        call = frame.f_code, frame.f_lasti
        operands = named_operands(row, args)
        for name, operand in operands.items():
            x = array_in(operand)
            if (already := self.bad(x)) is not None:
                at = first(already)
                says = f"forward: {row.name} was given {x[at]} in {name}."
                complain(says, call, f"{name} has shape {x.shape} and holds it {there(at).lower()}.", origin(operand))
        at = first(where)
        values = spelled(operands, at if is_elementwise(row) else None, z.shape)
        says = f"forward: {row.name} made {z[at]} out of numbers that were {self.fine}."
        complain(says, call, f"{there(at)} it computed with {values}.", REMEDIES.get(row.name, ""))

    def differentiated(self, node: Node, parent: Node, g: Any, grad: Any) -> None:
        """A node's rule has made `grad`, for one of its parents, of the gradient g."""
        g, grad = array_in(g), array_in(grad)
        where = self.bad(grad)
        if where is None:
            return
        row, call = node.row, self.calls.get(node)
        if (already := self.bad(g)) is not None:
            says = f"backward: the gradient that reached {row.name} is {g[first(already)]}, and no rule made it."
            complain(says, call, "It was given to backward, or returned by a hook, or is a sum that grew too large.")
        k, at = self.culprit(node, parent, g), first(where)
        elementwise = is_elementwise(row) and node.shape == parent.shape
        needs = row.needs[0 if row.variadic else k]
        kept = {name: node.values[place] for name, place in row.places.items() if place in needs}
        values = spelled({"g": g, **kept}, at if elementwise else None, node.shape)
        says = f"backward: the rule of {row.name} made {grad[at]} out of a gradient that was {self.fine}."
        formula = f"{argument(row, k)} is {rule_text(row, k)} = {grad[at]}"
        remedy = UNTAKEN if elementwise and g[at] == 0 else REMEDIES.get(row.name, "")
        complain(says, call, f"{there(at)} the gradient for {formula}, where {values}.", remedy)

    def culprit(self, node: Node, parent: Node, g: Any) -> int:
        """Which of the arguments that are this parent has the rule that went wrong: for x * x it may be either."""
        rules = [(k, step) for k, (p, step) in enumerate(zip(node.parents, node.row.steps)) if p is parent]
        return next((k for k, step in rules if self.bad(as_array(step(g, node.values))) is not None), rules[0][0])


# ------------------------------------------------------------------------------------------------ where, in whose code


def users_frame() -> FrameType:
    """The innermost line of the call stack that is not minigrad's own."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(HOME) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def in_a_rule() -> bool:
    """Is this op part of a derivative rule, run by a backward pass that is itself recorded?"""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is engine.differentiate.__code__:
            return True
        frame = frame.f_back
    return False


def complain(says: str, call: tuple[CodeType, int] | None, *more: str) -> NoReturn:
    """Raise the error: what happened, the user's line as a traceback would show it, the numbers, the usual mend."""
    if call is None:
        place = "It was called outside of `detect_anomaly`: put the forward inside, too, to see the line."
    else:
        code, instruction = call
        line, end_line, column, end_column = next(itertools.islice(code.co_positions(), instruction // 2, None))
        summary = traceback.FrameSummary(
            code.co_filename, line, code.co_name, end_lineno=end_line, colno=column, end_colno=end_column
        )
        place = "It was called here:\n" + traceback.StackSummary.from_list([summary]).format()[0].rstrip()
    raise AnomalyError("\n".join(filter(None, [says, place, *more])))


# --------------------------------------------------------------------------------------------------- what, in numbers


def named_operands(row: Row, args: Any) -> dict[str, Any]:
    """An op's arguments by their names, the elements of `*xs` as ``xs[0]``, ``xs[1]``."""
    operands = dict(zip(row.names, args))
    if row.variadic:
        xs = operands.pop(row.names[0])
        operands = {**{argument(row, k): x for k, x in enumerate(xs)}, **operands}
    return operands


def array_in(x: Any) -> Any:
    """A Tensor's array, a number as one, anything else unchanged."""
    return as_array(x.data if isinstance(x, Tensor) else x)


def first(where: Any) -> tuple[int, ...]:
    """The index of the first True, in row-major order."""
    return tuple(int(k) for k in np.unravel_index(int(where.argmax()), where.shape))


def there(at: tuple[int, ...]) -> str:
    """An index as the start of a sentence."""
    return f"At {list(at)}" if at else "There"


def is_elementwise(row: Row) -> bool:
    """Does an element of the result depend only on the operands' elements at its own index?"""
    if isinstance(row.forward, np.ufunc):
        return row.forward.signature is None  # matmul has one
    return row.forward.__module__ == f"{__package__}.ops.elementwise"


def spelled(values: dict[str, Any], at: tuple[int, ...] | None, shape: tuple[int, ...]) -> str:
    """``x = 0.0, y = 2.0``: the numbers that met at one index of an elementwise op; of other arrays their range."""
    texts = []
    for name, x in values.items():
        x = x.data if isinstance(x, Tensor) else x
        if not is_array(x):
            texts.append(f"{name} = {x!r}")
        elif x.size == 1:
            texts.append(f"{name} = {x.item()}")
        elif at is not None and x.ndim <= len(shape):
            texts.append(f"{name} = {np.broadcast_to(x, shape)[at]}")
        elif x.size:
            texts.append(f"{name} of shape {x.shape} from {x.min()} to {x.max()}")
    return ", ".join(texts)


def origin(x: Any) -> str:
    """Where an operand came from that was bad already."""
    if isinstance(x, Tensor) and x.node is not None and x.node.row is LEAF:
        return "It is a leaf, no op made it: look at the data, or at the last update (too large a step?)."
    if not isinstance(x, Tensor):
        return "It stands there as a number or array; if an infinity is meant, use detect_anomaly(inf=False)."
    return "It is data, or was computed outside of `detect_anomaly` or under `no_grad`: put that inside, too."
