"""A backward pass told line by line: what reached each node, by which rule it went on, and where to.

    a = mg.tensor(3.0, requires_grad=True)
    b = a + a
    c = b + b
    mg.explain(c, {"a": a, "b": b, "c": c})

    node  op    shape  gradient   sends to its inputs
    c     add   ()     1          x: g = 1 → b,  y: g = 1 → b
    b     add   ()     1 + 1 = 2  x: g = 2 → a,  y: g = 2 → a
    a     leaf  ()     2 + 2 = 4

A rule's text is read from the source of the table, so what is printed is what ran.

Public: `explain`. The graph and anomaly detection also use `rule_text`, `names_of` and `passed_back`.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .chores import start
from .engine import LEAF, Node, differentiate, recording, walk
from .row import Row
from .tensor import Tensor


def explain(loss: Any, params: Any = None, limit: int = 50) -> None:
    """Print the backward pass of a small graph, one line a node, youngest first: the order in which the engine goes.

    A line has the node's name, op, shape, its gradient (as a sum, where several paths led to it), and what each rule
    made of that: the rule's formula, its result and the input that it went to. Of an array of more than four elements
    the norm is shown (the root of the sum of squares). The graph stays, every `.grad` stays as it is, no hook is run.

    Parameters
    ----------
    loss
        A Tensor of one element, computed on the record, or a function without arguments that computes it.
    params
        Names to use: a dict of Tensors, a Module, or its `named_parameters()`. What has no name gets a number.
    limit
        How many nodes to print at most. `mg.graph.draw` folds graphs that are larger.

    Raises
    ------
    RuntimeError
        As `backward`: for a loss that needs no gradient or has several elements, or whose graph was freed.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> mg.explain((x * x).sum(), {"x": x})
    node  op        shape  gradient             sends to its inputs
    #2    sum       ()     1                    a: spread(g, a_shape, axis) = [1, 1] → #1
    #1    multiply  (2,)   [1, 1]               x: g * y = [1, 2] → x,  y: g * x = [1, 2] → x
    x     leaf      (2,)   [1, 2] + [1, 2] = [2, 4]
    """
    root, seed = start("explain", loss() if callable(loss) else loss, None, False)
    order, received, sent = passed_back(root, seed)
    names = names_of("explain", params)
    leaves = sorted((node for node in received if node.row is LEAF), key=lambda leaf: leaf.birth)
    labels = {node: names.get(node, f"#{len(order) - k}") for k, node in enumerate(order)}
    labels |= {leaf: names.get(leaf, f"leaf {k}") for k, leaf in enumerate(leaves, 1)}

    lines = [("node", "op", "shape", "gradient", "sends to its inputs")]
    for node in [*order, *leaves][:limit]:
        parts, total = received[node]
        gradient = show(total) if len(parts) < 2 else f"{plus(parts)} = {show(total)}"
        to = [f"{argument(node.row, k)}: {rule_text(node.row, k)} = {show(g)} → {labels[p]}" for k, p, g in sent[node]]
        lines.append((labels[node], node.row.name, str(node.shape), gradient, ",  ".join(to)))
    widths = [max(len(line[k]) for line in lines) for k in range(4)]
    for line in lines:
        print("  ".join([*(text.ljust(width) for text, width in zip(line, widths)), line[4]]).rstrip())
    if len(received) > limit:
        print(f"… and {len(received) - limit} more: limit={len(received)} prints them, mg.graph.draw(loss) folds them")


class Tape:
    """A watcher that keeps every gradient that a rule sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[Node, Node, Any]] = []

    def computed(self, row: Row, args: Any, z: Any, node: Node | None) -> None:
        """Nothing is kept of what is computed."""

    def differentiated(self, node: Node, parent: Node, g: Any, grad: Any) -> None:
        self.sent.append((node, parent, grad))


def passed_back(root: Node, seed: Any) -> tuple[list[Node], dict[Node, Any], dict[Node, Any]]:
    """One backward pass that leaves no trace.

    Returns the computed nodes, youngest first; for every node the gradients that it received and their sum; and for
    every node what it sent, as (position of the argument, parent, gradient).
    """
    order, uses, nodes = walk([root])
    tape = Tape()
    hooks = {node: node.hooks for node in nodes}
    try:
        for node in nodes:
            node.hooks = None  # a hook is somebody's code, which may add to a .grad
        with recording(tape):
            totals = differentiate([(root, seed)], (order, uses, nodes), nodes, False, True)
    finally:
        for node in nodes:
            node.hooks = hooks[node]
    received: dict[Node, Any] = {node: ([], totals[node]) for node in nodes}
    arguments = {node: iter([k for k, parent in enumerate(node.parents) if parent is not None]) for node in order}
    sent: dict[Node, Any] = {node: [] for node in nodes}
    for node, parent, grad in tape.sent:
        received[parent][0].append(grad)
        sent[node].append((next(arguments[node]), parent, grad))
    return order, received, sent


# ---------------------------------------------------------------------------------------------------------------- words


def rule_text(row: Row, k: int) -> str:
    """The formula of the rule for a row's k-th argument, as it stands in the table; of a longer rule its name."""
    rule = row.rules[row.names[0 if row.variadic else k]]
    code = getattr(rule, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return f"{rule.__name__.lstrip('_')}({', '.join(inspect.signature(rule).parameters)})"
    # Every instruction knows the piece of source it was compiled from; together they are the body of the lambda.
    spans = [(top, left, bottom, right) for top, bottom, left, right in code.co_positions() if right]
    if not spans:
        return f"rule for {argument(row, k)}"
    (top, left), (bottom, right) = min(span[:2] for span in spans), max(span[2:] for span in spans)
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(top, bottom + 1)]  # columns count bytes
    lines[-1] = lines[-1][:right]
    lines[0] = lines[0][left:]
    return " ".join(b" ".join(lines).decode().split()) or f"rule for {argument(row, k)}"


def argument(row: Row, k: int) -> str:
    """The name of a row's k-th differentiable argument: x, or xs[2]."""
    return f"{row.names[0]}[{k}]" if row.variadic else row.names[k]


def show(x: Any) -> str:
    """A number, up to four numbers, or the norm of more."""
    if x.size == 1:
        return f"{x.item():.4g}"
    if x.size <= 4 and x.ndim == 1:
        return f"[{', '.join(f'{v:.4g}' for v in x.tolist())}]"
    return f"norm {float(np.sqrt((x * x).sum())):.4g}"


def plus(parts: list[Any]) -> str:
    """A sum written out, or its first and last terms."""
    shown = [show(part) for part in parts]
    return " + ".join(shown if len(shown) <= 4 else [shown[0], shown[1], f"… {len(shown) - 3} more …", shown[-1]])


def names_of(function: str, params: Any) -> dict[Node, str]:
    """Names for nodes, from a dict of Tensors, a Module, or pairs of names and Tensors. TypeError for anything else."""
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    pairs: Iterable[Any] = params.items() if isinstance(params, Mapping) else params or ()
    names: dict[Node, str] = {}
    try:
        for name, t in pairs:
            if not isinstance(name, str) or not isinstance(t, Tensor):
                raise TypeError
            if t.node is not None:
                names[t.node] = name
    except (TypeError, ValueError):
        raise TypeError(
            f"{function}: params wants names and Tensors: a dict, a Module, or its named_parameters(); got {params!r}"
        ) from None
    return names
