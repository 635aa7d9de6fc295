"""Reverse-mode automatic differentiation: a table of derivatives and one walk over a graph.

    multiply = op(np.multiply, x=lambda g, y: g * y,
                               y=lambda g, x: g * x)

`op` makes a differentiable function of a NumPy function and one rule per differentiable argument. Called with a Tensor
that needs a gradient, it computes what NumPy computes and leaves behind a `Node`: its row of the table, the nodes of
its parents, and the arrays that the rules name. `walk` sorts the nodes by birth, youngest first, and `differentiate`
calls each rule once. That is all of it.

The mode is the argument's type. A rule is plain NumPy: given arrays it computes at NumPy's speed; given Tensors, as
under `create_graph`, it records a graph of its own, which can be differentiated again.

Public: `op`, `backward`, `grad`, `no_grad`, `enable_grad`. Tensors are in `tensor.py`, the table itself in `ops/`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from numpy import ndarray

from . import chores
from .backend import as_array
from .row import Row
from .tensor import Tensor

# ------------------------------------------------------------------------------------------------------------ the graph

births = itertools.count()  # numbers nodes as they are born: what is computed is younger than what it came from


class Node:
    """How a Tensor was made. It holds arrays and nodes, never a Tensor, so that no graph is part of a cycle."""

    __slots__ = ("__weakref__", "birth", "dtype", "hooks", "parents", "row", "shape", "values")

    def __init__(self, row: Row, parents: Any, values: Any, z: Any) -> None:
        self.row = row
        self.parents = parents  # one per differentiable argument; None once a backward pass has freed the node
        self.values = values  # [arguments..., z, shapes...], with None in the place of what no rule names
        self.shape = z.shape
        self.dtype = z.dtype
        self.birth = next(births)
        self.hooks: dict[int, Any] | None = None  # functions of the gradient, by number


class Leaf(Node):
    """Where a graph ends: a Tensor that was not computed. Its `birth` moves to the moment its data last changed."""

    __slots__ = ("accumulated_hooks", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(LEAF, [], [], tensor.data)
        self.tensor = weakref.ref(tensor)
        self.accumulated_hooks: dict[int, Any] | None = None  # functions of the Tensor, run when its `.grad` is set


def leaf() -> None:
    """The row of a Tensor that was not computed: no arguments, no rules."""


LEAF = Row(leaf, {})


class Mode(threading.local):
    """The one switch that recording looks at: None is off, True is on, a watcher is on and is shown every value.

    A watcher has methods ``computed(row, args, z, node)`` and ``differentiated(node, parent, g, grad)`` (`anomaly.py`).
    """

    recording: Any = True


mode = Mode()


@contextlib.contextmanager
def recording(state: Any) -> Iterator[None]:
    """Set the switch inside; True leaves a watcher on. Holds for the current thread."""
    before = mode.recording
    mode.recording = (before or True) if state is True else state
    try:
        yield
    finally:
        mode.recording = before


def no_grad() -> Any:
    """Record nothing inside: ``with no_grad():``, or ``@no_grad()`` on a function. Holds for the current thread."""
    return recording(None)


def enable_grad() -> Any:
    """Record inside, also within a `no_grad`. A context manager and a decorator; holds for the current thread."""
    return recording(True)


# ------------------------------------------------------------------------------------------------------------ the table

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}  # NumPy's function to ours: how np.sin(tensor) finds its row
BUILT_IN: set[Callable[..., Any]] = set()  # those of `ops/`, whose place no user's row takes


def op(forward: Callable[..., Any], **rules: Callable[..., Any]) -> Callable[..., Any]:
    """A differentiable function of a NumPy function and its derivatives.

    Parameters
    ----------
    forward
        Computes the one output from arrays. Its parameters without a rule are constants.
    **rules
        One per differentiable argument, named for it (a ufunc's arguments get the rules' names, in their order). A
        rule's first parameter is `g`, the gradient of the output; the others say what it needs: an argument by name,
        `z` the output, `x_shape` where only the shape of x matters. If the argument is `*xs`, its rule is called for
        each element, with its position `i`. What no rule names is not kept. A rule is written in NumPy and the table's
        own functions, and returns the argument's gradient; the engine sums it over broadcast axes and casts it.

    Raises
    ------
    TypeError
        Where a rule is for, or asks for, something that `forward` does not have.

    Examples
    --------
    >>> import math, numpy as np, minigrad as mg
    >>> exp2 = mg.op(np.exp2, x=lambda g, z: g * z * math.log(2))
    >>> x = mg.tensor(3.0, requires_grad=True)
    >>> exp2(x).backward()
    >>> round(x.grad.item() / math.log(2), 4)
    8.0
    """
    row = Row(forward, rules)
    compute, arity, variadic, bits, shapes_of = row.compute, len(row.names), row.variadic, row.bits, row.shapes_of
    unnamed = functools.cache(row.unnamed)

    def apply(*args: Any, **kwargs: Any) -> Any:
        if kwargs or variadic or len(args) != arity:
            args = row.bind(args, kwargs)
        # One loop builds the arrays to compute with and the parents to remember. `bits` is 1, 2, 4, ... for arguments
        # that have a rule and 0 for constants, so that `mask` says which of them need a gradient.
        values: list[Any] = []
        parents: list[Node | None] = []
        mask, tensors = 0, False
        for x, bit in zip(args[0] if variadic else args, bits):
            if isinstance(x, Tensor):
                tensors = True
                values.append(x.data)
                node = x.node if bit else None
                parents.append(node)
                if node is not None:
                    mask |= bit
            else:
                values.append(x if not bit or x.__class__ in chores.PLAIN else chores.operand(x, row))
                parents.append(None)
        if not tensors:
            return compute(*args)
        if variadic:
            values = [tuple(values), *args[1:]]
        try:
            z = compute(*values)
        except (TypeError, ValueError, IndexError) as error:
            chores.refuse_operands(error, row, values)
        if z.__class__ is not ndarray:
            z = as_array(z)
        kind = z.dtype.kind
        if kind not in "fiub":
            raise TypeError(f"{row.name}: the result would be {z.dtype}; Tensors hold floats, integers or booleans")

        state, node = mode.recording, None
        if mask and state is not None and kind == "f":
            values.append(z)
            for k in shapes_of:
                values.append([x.shape for x in values[k]] if variadic else getattr(values[k], "shape", ()))
            for k in unnamed(mask):
                values[k] = None  # what no rule names that will run is not kept alive
            node = Node(row, parents, values, z)
        if state is not True and state is not None:
            state.computed(row, args, z, node)
        return Tensor(z, node)

    row.sign(apply)
    if forward not in BUILT_IN:
        TABLE[forward] = apply
    return apply


# ------------------------------------------------------------------------------------------------------------- the walk


def walk(roots: list[Node]) -> tuple[list[Node], dict[Node, int], set[Node]]:
    """The computed nodes behind the roots, youngest first; how often each leaf is used; and all of these as one set.

    Raises RuntimeError for a graph that was freed, or that kept a value which has changed since.
    """
    uses: dict[Node, int] = {}
    seen = set(roots)
    changed = False
    order = [root for root in seen if root.row is not LEAF]
    for node in order:  # which grows as we go
        if node.parents is None:
            chores.refuse_freed(node)
        for parent in node.parents:
            if parent is None:
                continue
            if parent.row is LEAF:
                uses[parent] = uses.get(parent, 0) + 1
                changed = changed or parent.birth > node.birth
            elif parent not in seen:
                seen.add(parent)
                order.append(parent)
    seen.update(uses)
    order.sort(key=attrgetter("birth"), reverse=True)
    if changed:
        chores.refuse_stale(order)
    return order, uses, seen


def narrow(order: list[Node], wanted: set[Node]) -> tuple[list[Node], set[Node]]:
    """The nodes that lie on a way to a wanted one, youngest first, and the set of all that is worth a gradient."""
    useful = set(wanted)
    for node in reversed(order):
        if not useful.isdisjoint(node.parents):
            useful.add(node)
    return [node for node in order if node in useful], useful


def differentiate(seeds: Any, plan: Any, wanted: set[Node], create_graph: bool, retain: bool | None) -> dict[Node, Any]:
    """Carry gradients from the roots to every leaf's `.grad`; or, if some nodes are wanted, return theirs instead."""
    order, uses, useful = plan
    before = mode.recording
    watcher = None if before is True else before
    sums: dict[Node, Any] = {}  # gradients so far, of nodes not yet reached
    owned: set[Node] = set()  # those whose sum was allocated here: what comes later is added into it
    given = {id(seed) for _, seed in seeds}  # arrays that are somebody's: no leaf may have them for its `.grad`
    found: dict[Node, Any] = {}
    mode.recording = (before or True) if create_graph else None  # as `recording` does, which takes a microsecond
    try:
        for root, seed in seeds:
            sums[root] = as_array(sums[root] + seed) if root in sums else seed
            if root.row is LEAF and not wanted:
                chores.complete(root, sums.pop(root), None, [], given)
        for node in order:
            g = sums.pop(node)
            if node.hooks:
                g = chores.run_hooks(node, g)
                given.add(id(g))
            if node in wanted:
                found[node] = g
            values = chores.lift(node) if create_graph else node.values
            for parent, step in zip(node.parents, node.row.steps):  # a *xs row's steps never end
                if parent not in useful:
                    continue
                grad = step(g, values)
                if grad.__class__ is not ndarray or grad.shape != parent.shape or grad.dtype is not parent.dtype:
                    grad = chores.fit(grad, node, parent, create_graph)
                if watcher is not None:
                    watcher.differentiated(node, parent, g, grad)

                if parent not in sums:
                    sums[parent] = grad
                elif parent in owned:
                    sums[parent] += grad
                else:
                    sums[parent] = as_array(sums[parent] + grad)
                    owned.add(parent)

                if parent.row is LEAF and not wanted:
                    uses[parent] -= 1
                    if uses[parent] == 0:
                        chores.complete(parent, sums.pop(parent), g, values, given)
            if not (create_graph if retain is None else retain):
                node.parents = node.values = None
        for node in wanted & sums.keys():
            found[node] = chores.run_hooks(node, sums[node]) if node.hooks else sums[node]
    finally:
        mode.recording = before
    return found


def backward(output: Tensor, gradient: Any, retain_graph: bool | None, create_graph: bool) -> None:
    """What `Tensor.backward` does; see there."""
    root, seed = chores.start("backward", output, gradient, create_graph)
    differentiate([(root, seed)], walk([root]), set(), create_graph, retain_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of outputs with respect to inputs, as a tuple. No `.grad` is changed.

    Parameters
    ----------
    outputs, inputs
        A Tensor or a sequence of Tensors. Inputs may be leaves or results on the way.
    grad_outputs
        One weight per output, of its shape; None is 1, for an output of one element.
    create_graph, retain_graph
        As in `backward`.
    allow_unused
        Give None for an input on which no output depends, instead of an error.

    Raises
    ------
    RuntimeError
        As `backward`, and for an input that needs no gradient or on which no output depends.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.tensor(3.0, requires_grad=True)
    >>> (slope,) = mg.grad(x**3, x, create_graph=True)
    >>> (curvature,) = mg.grad(slope, x)
    >>> slope.item(), curvature.item()
    (27.0, 18.0)
    """
    ys, xs = chores.as_sequence(outputs), chores.as_sequence(inputs)
    seeds = chores.start_all(ys, grad_outputs, create_graph)
    chores.refuse_constants(xs)
    wanted = {x.node for x in xs}
    order, uses, seen = walk([root for root, _ in seeds])
    unused = [k for k, x in enumerate(xs) if x.node not in seen]
    if unused and not allow_unused:
        raise RuntimeError(f"grad: no output depends on input {unused[0]}; allow_unused=True gives None for it")
    order, useful = narrow(order, wanted)
    found = differentiate(seeds, (order, uses, useful), wanted, create_graph, retain_graph) if wanted else {}
    gs = [found.get(x.node) for x in xs]
    return tuple(g if g is None or isinstance(g, Tensor) else Tensor(g) for g in gs)
