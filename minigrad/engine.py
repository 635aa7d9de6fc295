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
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, NoReturn

import numpy as np

from .backend import as_array, is_array
from .row import Row

# ------------------------------------------------------------------------------------------------------------ the graph

births = itertools.count()  # numbers nodes as they are born: a child is always younger than its parents


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
    """The one switch that recording looks at: None is off, True is on, a watcher is on and is shown every value."""

    recording: Any = True


mode = Mode()


@contextlib.contextmanager
def recording(state: Any) -> Iterator[None]:
    """Set the switch inside, for the current thread."""
    before, mode.recording = mode.recording, state
    try:
        yield
    finally:
        mode.recording = before


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: ``with no_grad():``, or ``@no_grad()`` on a function. Holds for the current thread."""
    with recording(None):
        yield


@contextlib.contextmanager
def enable_grad() -> Iterator[None]:
    """Record inside, also within a `no_grad`. A context manager and a decorator; holds for the current thread."""
    with recording(mode.recording or True):
        yield


# ------------------------------------------------------------------------------------------------------------ the table

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}  # NumPy's function to ours: how np.sin(tensor) finds its row


def op(forward: Callable[..., Any], **rules: Callable[..., Any]) -> Callable[..., Any]:
    """A differentiable function of a NumPy function and its derivatives.

    Parameters
    ----------
    forward
        Computes the one output from arrays. Its parameters without a rule are constants.
    **rules
        One per differentiable argument, named for it. A rule's first parameter is `g`, the gradient of the output; the
        others say what it needs: an argument by name, `z` the output, `x_shape` where only the shape of x matters. If
        the argument is `*xs`, its rule is called for each element, with its position `i`. What no rule names is not
        kept. A rule is written in NumPy and the table's own functions, and returns the argument's gradient; the engine
        sums it over broadcast axes and casts it.

    Raises
    ------
    TypeError
        Where a rule is for, or asks for, something that `forward` does not have.

    Examples
    --------
    >>> import numpy as np, minigrad as mg
    >>> sinc = mg.op(np.sinc, x=lambda g, x, z: g * (np.cos(np.pi * x) - z) / x)
    >>> x = mg.tensor(0.5, requires_grad=True)
    >>> sinc(x).backward()
    >>> x.grad
    tensor(-1.2732395, dtype=float32, device='cpu')
    """
    row = Row(forward, rules)
    compute, arity, variadic, bits, shapes_of = row.compute, len(row.names), row.variadic, row.bits, row.shapes_of
    unnamed = functools.cache(row.unnamed)

    def apply(*args: Any, **kwargs: Any) -> Any:
        if kwargs or variadic or len(args) != arity:
            args = row.bind(args, kwargs)
        # One loop builds the arrays to compute with, and the parents to remember.
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
                values.append(x if not bit or x.__class__ in PLAIN else operand(x, row))
                parents.append(None)
        if not tensors:
            return compute(*args)
        if variadic:
            values = [tuple(values), *args[1:]]
        try:
            z = compute(*values)
        except (TypeError, ValueError, IndexError) as error:
            refuse_operands(error, row, values)
        if z.__class__ is not np.ndarray:
            z = as_array(z)
        if z.dtype.kind not in "fiub":
            raise TypeError(f"{row.name}: the result would be {z.dtype}; Tensors hold floats, integers or booleans")

        state, node = mode.recording, None
        if mask and state is not None:
            values.append(z)
            for k in shapes_of:
                values.append([x.shape for x in values[k]] if variadic else getattr(values[k], "shape", ()))
            for k in unnamed(mask):
                values[k] = None
            node = Node(row, parents, values, z)
        if state is not True and state is not None:
            state.computed(row, args, z, node)
        return Tensor(z, node)

    apply.__name__ = apply.__qualname__ = row.name
    apply.__module__ = sys._getframe(1).f_globals["__name__"]
    borrowed = f"`numpy.{row.name}` on arrays and Tensors; differentiable in {', '.join(rules) or 'nothing'}."
    apply.__doc__ = borrowed if getattr(np, row.name, None) is forward else forward.__doc__
    apply.__signature__ = row.signature()  # type: ignore[attr-defined]
    apply.row = row  # type: ignore[attr-defined]
    TABLE.setdefault(forward, apply)
    return apply


PLAIN = {float, int, bool, np.ndarray}  # operands that need no second look


def operand(x: Any, row: Row) -> Any:
    """What stands beside a Tensor without being one: a list becomes an array, a scalar stays, the rest is refused."""
    if isinstance(x, (list, tuple)):
        return tensor(x).data
    if isinstance(x, (int, float, np.generic)) or is_array(x) or x is None:
        return x
    raise TypeError(f"{row.name}: cannot compute with {type(x).__name__} {x!r}; wanted a Tensor, an array or a number")


def refuse_operands(error: Exception, row: Row, values: list[Any]) -> NoReturn:
    """NumPy's error again, with the names and shapes of the arguments."""
    shapes = ", ".join(f"{n}: {v.dtype}{list(v.shape)}" for n, v in zip(row.names, values) if is_array(v))
    kinds = (np.linalg.LinAlgError, np.exceptions.AxisError, IndexError, TypeError, ValueError)
    kind = next(kind for kind in kinds if isinstance(error, kind))
    raise kind(f"{row.name}({shapes}): {error}") from error


# ------------------------------------------------------------------------------------------------------------- the walk


def walk(roots: list[Node]) -> tuple[list[Node], dict[Node, int], set[Node]]:
    """The computed nodes behind the roots, youngest first; how often each leaf is used; and all of these as one set.

    Raises RuntimeError for a graph that was freed, or that kept a value which has changed since.
    """
    order: list[Node] = []
    uses: dict[Node, int] = {}
    seen: set[Node] = set()
    changed = False
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.row is LEAF:
            continue
        order.append(node)
        if node.parents is None:
            raise RuntimeError(
                f"backward: the graph behind {node.row.name!r} was freed by an earlier backward; "
                "to pass twice, call the first with retain_graph=True"
            )
        for parent in node.parents:
            if parent is not None:
                if parent.row is LEAF:
                    uses[parent] = uses.get(parent, 0) + 1
                    changed = changed or parent.birth > node.birth
                if parent not in seen:
                    stack.append(parent)
    order.sort(key=attrgetter("birth"), reverse=True)
    if changed:
        refuse_stale(order)
    return order, uses, seen


def refuse_stale(order: list[Node]) -> None:
    """Raise RuntimeError where a node kept the value of a leaf that changed later, directly or through a view of it."""
    changes: dict[Node, int] = {}  # views of leaves, and when these last changed
    for node in reversed(order):
        for k, parent in enumerate(node.parents):
            changed = parent.birth if isinstance(parent, Leaf) else changes.get(parent, -1)
            if changed > node.birth:
                if node.values[0 if node.row.variadic else k] is not None:
                    raise RuntimeError(
                        f"backward: a tensor of shape {parent.shape} was changed in place after {node.row.name!r} used "
                        "it; call backward before changing it, or compute the loss again afterwards"
                    )
                if node.row.view:
                    changes[node] = changed


def narrow(order: list[Node], wanted: set[Node]) -> tuple[list[Node], set[Node]]:
    """The nodes that lie on a way to a wanted one, youngest first, and the set of all that is worth a gradient."""
    useful = set(wanted)
    for node in reversed(order):
        if not useful.isdisjoint(node.parents):
            useful.add(node)
    return [node for node in order if node in useful], useful


def differentiate(
    seeds: list[tuple[Node, Any]],
    order: list[Node],
    uses: dict[Node, int],
    useful: set[Node],
    create_graph: bool,
    retain_graph: bool | None,
    wanted: set[Node],
) -> dict[Node, Any]:
    """Carry gradients from the roots to every leaf's `.grad`; or, if some nodes are wanted, return theirs instead."""
    retain = create_graph if retain_graph is None else retain_graph
    before = mode.recording
    watcher = None if before is True else before
    mode.recording = (before or True) if create_graph else None
    sums: dict[Node, Any] = {}  # gradients so far, of nodes not yet reached
    owned: set[Node] = set()  # those whose sum was allocated here: what comes later is added into it
    found: dict[Node, Any] = {}
    node = None
    try:
        for root, seed in seeds:
            sums[root] = as_array(sums[root] + seed) if root in sums else seed
            if root.row is LEAF and not wanted:
                complete(root, sums.pop(root).copy())
        for node in order:
            g = sums.pop(node)
            if node.hooks:
                g = run_hooks(node, g)
            if node in wanted:
                found[node] = g
            values = lift(node) if create_graph else node.values
            for parent, step in zip(node.parents, node.row.steps):  # the steps of *xs are endless
                if parent not in useful:
                    continue
                grad = step(g, values)
                if grad.__class__ is not np.ndarray or grad.shape != parent.shape or grad.dtype is not parent.dtype:
                    grad = fit(grad, node, parent, create_graph)
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
                        total = sums.pop(parent)
                        complete(parent, total if parent in owned or is_new(total, g, values) else total.copy())
            if not retain:
                node.parents = node.values = None
        for leaf in wanted & sums.keys():
            found[leaf] = run_hooks(leaf, sums[leaf]) if leaf.hooks else sums[leaf]
    except Exception as error:
        error.add_note(f"raised by backward, in the gradient of {node.row.name!r}" if node else "raised by backward")
        raise
    finally:
        mode.recording = before
    return found


def lift(node: Node) -> list[Any]:
    """A node's kept values as Tensors with their place in the graph, so that what a rule computes is recorded."""

    def again(value: Any, parent: Node | None = None) -> Any:
        return Tensor(value, parent) if is_array(value) else value

    values, z_at = node.values, node.row.places["z"]
    if node.row.variadic:
        first = values[0] and tuple(map(again, values[0], node.parents))
        inputs = [first, *values[1:z_at]]
    else:
        inputs = list(map(again, values, node.parents))
    return [*inputs, again(values[z_at], node), *values[z_at + 1 :]]


def fit(grad: Any, node: Node, parent: Node, create_graph: bool) -> Any:
    """What a rule returned, made a gradient: an array summed over broadcast axes and cast. Anything else is refused."""
    if create_graph and not isinstance(grad, Tensor):
        grad = Tensor(as_array(grad))
    grad = as_array(grad)
    if grad.shape != parent.shape:
        padded = (1,) * (grad.ndim - len(parent.shape)) + parent.shape
        stretched = tuple(k for k, n in enumerate(padded) if n == 1)
        if len(padded) != grad.ndim or any(n != grad.shape[k] for k, n in enumerate(padded) if n != 1):
            raise ValueError(
                f"op({node.row.name}): a rule returned shape {grad.shape} for an argument of {parent.shape}"
            )
        grad = as_array(grad.sum(axis=stretched)).reshape(parent.shape)
    return grad if grad.dtype == parent.dtype else grad.astype(parent.dtype)


def is_new(grad: Any, g: Any, values: list[Any]) -> bool:
    """Does nothing else refer to the array a rule returned? If so, it may become a leaf's `.grad` without a copy."""
    return is_array(grad) and grad.base is None and grad is not g and all(grad is not v for v in values)


def run_hooks(node: Any, g: Any) -> Any:
    """Show a gradient to a Tensor's hooks; what one returns takes its place."""
    seen = g if isinstance(g, Tensor) else Tensor(g)
    for hook in [*node.hooks.values()]:
        result = hook(seen)
        if result is not None:
            if not isinstance(result, Tensor) or result.shape != node.shape:
                raise TypeError(f"register_hook: a hook returns None or a Tensor of shape {node.shape}, not {result!r}")
            seen = result
    return seen if isinstance(g, Tensor) else seen.data


def complete(leaf: Any, g: Any) -> None:
    """All of a leaf's gradient is there: add it to `.grad`, then run the hooks that wait for that."""
    if leaf.hooks:
        g = run_hooks(leaf, g)
    tensor = leaf.tensor()
    if tensor is not None:
        g = g if isinstance(g, Tensor) else Tensor(g)
        tensor._grad = g if tensor._grad is None else tensor._grad + g
        for hook in [*(leaf.accumulated_hooks or {}).values()]:
            hook(tensor)


def start(name: str, output: Any, gradient: Any, create_graph: bool) -> tuple[Node, Any]:
    """The root of a pass and the gradient it starts with. Raises RuntimeError or ValueError where that cannot be."""
    if not isinstance(output, Tensor) or output.node is None:
        raise RuntimeError(f"{name}: the output was not computed, on the record, from a tensor with requires_grad=True")
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(f"{name}: the output has shape {output.shape}, not one element: give its gradient too")
        gradient = np.ones(output.shape, output.dtype, like=output.data)
    if not isinstance(gradient, Tensor):
        gradient = Tensor(as_array(operand(gradient, output.node.row)))
    if gradient.shape != output.shape:
        raise ValueError(f"{name}: the output has shape {output.shape}, the gradient given for it {gradient.shape}")
    if gradient.dtype != output.dtype:
        gradient = gradient.astype(output.dtype)
    return output.node, gradient if create_graph else gradient.data


def backward(
    output: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add the gradient of `output` to the `.grad` of every leaf that it was computed from.

    Parameters
    ----------
    gradient
        Of a later quantity with respect to `output`, in its shape; may be left out where output has one element.
    retain_graph
        Keep the graph for another pass; same as `create_graph` unless said.
    create_graph
        Record the pass itself, so that every `.grad` can be differentiated again.

    Raises
    ------
    RuntimeError
        Where output needs no gradient, or has several elements and no `gradient` is given, or its graph was freed by an
        earlier pass, or a Tensor that the graph kept has changed in place since. Nothing has been changed then.
    """
    root, seed = start("backward", output, gradient, create_graph)
    order, uses, useful = walk([root])
    differentiate([(root, seed)], order, uses, useful, create_graph, retain_graph, wanted=set())


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
    ys, xs = as_sequence(outputs), as_sequence(inputs)
    weights = [None] * len(ys) if grad_outputs is None else as_sequence(grad_outputs)
    if len(weights) != len(ys):
        raise ValueError(f"grad: {len(ys)} outputs, but {len(weights)} grad_outputs")
    seeds = [start("grad", y, weight, create_graph) for y, weight in zip(ys, weights)]
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor) or x.node is None:
            raise RuntimeError(f"grad: input {k} needs no gradient; make it with requires_grad=True")
    wanted = {x.node for x in xs}
    order, uses, seen = walk([root for root, _ in seeds])
    unused = [k for k, x in enumerate(xs) if x.node not in seen]
    if unused and not allow_unused:
        raise RuntimeError(f"grad: no output depends on input {unused[0]}; allow_unused=True gives None for it")
    order, useful = narrow(order, wanted)
    found = differentiate(seeds, order, uses, useful, create_graph, retain_graph, wanted) if wanted else {}
    gs = [found.get(x.node) for x in xs]
    return tuple(g if g is None or isinstance(g, Tensor) else Tensor(g) for g in gs)


def as_sequence(tensors: Any) -> list[Any]:
    """One Tensor or several, as a list."""
    return [tensors] if isinstance(tensors, Tensor) or is_array(tensors) else [*tensors]


from .tensor import Tensor, tensor  # noqa: E402 (engine and Tensor are one floor: each needs the other)
