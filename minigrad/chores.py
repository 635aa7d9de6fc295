"""The chores that the engine does so that the rules of the table can stay formulas.

What stands beside a Tensor is made an operand (`operand`), what a rule returns is made a gradient (`fit`), what a node
kept is put back on the graph for a second derivative (`lift`), a leaf gets its `.grad` (`complete`), hooks are called,
and what would go wrong is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import engine
from .backend import as_array, device_of, is_array, to_device
from .row import Row
from .tensor import Tensor, tensor

if TYPE_CHECKING:
    from .engine import Node

PLAIN = {float, int, bool, np.ndarray}  # operands that need no second look


def operand(x: Any, row: Row) -> Any:
    """What stands beside a Tensor without being one: a list becomes an array, a scalar stays, the rest is refused."""
    if isinstance(x, (list, tuple)):
        return tensor(x).data
    if x is None or isinstance(x, (int, float, np.generic)) or is_array(x):
        return x
    raise TypeError(f"{row.name}: cannot compute with {type(x).__name__} {x!r}; wanted a Tensor, an array or a number")


def refuse_operands(error: Exception, row: Row, values: list[Any]) -> NoReturn:
    """NumPy's error again, with the names and shapes of the arguments; or, where they are apart, with their devices."""
    if row.variadic:
        named = [*((f"{row.names[0]}[{i}]", v) for i, v in enumerate(values[0])), *zip(row.names[1:], values[1:])]
    else:
        named = [*zip(row.names, values)]
    arrays = [(name, v) for name, v in named if is_array(v)]
    devices = {name: device_of(v) for name, v in arrays}
    if len({*devices.values()}) > 1:
        where = ", ".join(f"{name} is on {device}" for name, device in devices.items())
        raise ValueError(f"{row.name}: {where}; bring them together first, as with x.to({max(devices.values())!r})")
    shapes = ", ".join(f"{name}: {v.dtype}{list(v.shape)}" for name, v in arrays)
    kinds = (np.linalg.LinAlgError, np.exceptions.AxisError, IndexError, TypeError, ValueError)
    kind = next(kind for kind in kinds if isinstance(error, kind))
    raise kind(f"{row.name}({shapes}): {error}") from error


def fit(grad: Any, node: Node, parent: Node, create_graph: bool) -> Any:
    """What a rule returned, made a gradient: an array summed over broadcast axes and cast. Anything else is refused."""
    if create_graph and not isinstance(grad, Tensor):
        grad = Tensor(as_array(grad))
    grad = as_array(grad)
    if grad.shape != parent.shape:
        shape = grad.shape
        while grad.ndim > len(parent.shape):
            grad = as_array(grad.sum(axis=0))
        if grad.shape != parent.shape:
            stretched = [k for k, n in enumerate(parent.shape[: grad.ndim]) if n == 1]
            grad = as_array(grad.sum(axis=tuple(stretched), keepdims=True))
        if grad.shape != parent.shape:
            raise ValueError(f"op({node.row.name}): a rule returned shape {shape} for an argument of {parent.shape}")
    return grad if grad.dtype == parent.dtype else grad.astype(parent.dtype)


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


def run_hooks(node: Any, g: Any) -> Any:
    """Show a copy of a gradient to a Tensor's hooks, which may keep it; what one returns takes its place."""
    seen = g if isinstance(g, Tensor) else Tensor(g.copy())
    for hook in [*node.hooks.values()]:
        result = hook(seen)
        if result is not None:
            if not isinstance(result, Tensor) or result.shape != node.shape:
                raise TypeError(f"register_hook: a hook returns None or a Tensor of shape {node.shape}, not {result!r}")
            seen = result
    return seen if isinstance(g, Tensor) else seen.data


def refuse_constants(xs: list[Any]) -> None:
    """A gradient with respect to what was never on the record is a mistake."""
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor) or x.node is None:
            raise RuntimeError(f"grad: input {k} needs no gradient; make it with requires_grad=True")


def refuse_freed(node: Node) -> NoReturn:
    """A second pass over a graph would find nothing kept there."""
    raise RuntimeError(
        f"backward: the graph behind {node.row.name!r} was freed by an earlier backward; "
        "to pass twice, call the first with retain_graph=True"
    )


def refuse_stale(order: list[Node]) -> None:
    """Raise RuntimeError where a node kept the value of a leaf that changed later, directly or through a view of it."""
    changes: dict[Node, int] = {}  # views of leaves, and when these last changed
    for node in reversed(order):
        for k, parent in enumerate(node.parents):
            changed = changes.get(parent, parent.birth if parent and parent.row is engine.LEAF else -1)
            if changed > node.birth:
                if node.values[0 if node.row.variadic else k] is not None:
                    raise RuntimeError(
                        f"backward: a tensor of shape {parent.shape} was changed in place after {node.row.name!r} used "
                        "it; call backward before changing it, or compute the loss again afterwards"
                    )
                if node.row.view:
                    changes[node] = changed


def complete(leaf: Any, total: Any, g: Any, values: list[Any], given: set[int]) -> None:
    """All of a leaf's gradient is there: add it to `.grad`, then run the hooks that wait for that.

    Every `.grad` is an array of its own. The array that a rule returned becomes it as it is, unless it is a view, or a
    value that the node kept, or already `given` to somebody; then a copy does. It may well be g, the gradient of the
    node's output, which rules yet to come will read: unless a hook could write into it before they do.
    """
    if leaf.hooks:
        total = run_hooks(leaf, total)
        given.add(id(total))
    tensor = leaf.tensor()
    if tensor is None:
        return
    if tensor._grad is not None:
        tensor._grad = tensor._grad + total
    else:
        taken = id(total) in given or (total is g and leaf.accumulated_hooks)
        for value in values:  # a third of what `any` takes
            taken = taken or value is total
        if taken or isinstance(total, Tensor) or total.base is not None:
            total = total.copy()
        given.add(id(total))
        tensor._grad = total if isinstance(total, Tensor) else Tensor(total)
    if leaf.accumulated_hooks:
        for hook in [*leaf.accumulated_hooks.values()]:
            hook(tensor)


def start(name: str, output: Any, gradient: Any, create_graph: bool) -> tuple[Node, Any]:
    """The root of a pass and the gradient it starts with. Raises RuntimeError or ValueError where that cannot be."""
    if not isinstance(output, Tensor) or output.node is None:
        raise RuntimeError(f"{name}: the output was not computed, on the record, from a tensor with requires_grad=True")
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(f"{name}: the output has shape {output.shape}, not one element: give its gradient too")
        seed = np.empty_like(output.data)
        seed.fill(1)
        return output.node, Tensor(seed) if create_graph else seed
    if is_array(gradient):
        gradient = Tensor(gradient)
    elif not isinstance(gradient, Tensor):  # numbers, which lie nowhere yet
        gradient = Tensor(to_device(as_array(operand(gradient, output.node.row)), output.device))
    if gradient.shape != output.shape:
        raise ValueError(f"{name}: the output has shape {output.shape}, the gradient given for it {gradient.shape}")
    if gradient.device != output.device:
        raise ValueError(f"{name}: the output is on {output.device}, the gradient given for it on {gradient.device}")
    if gradient.dtype != output.dtype:
        gradient = gradient.astype(output.dtype)
    return output.node, gradient if create_graph else gradient.data


def start_all(outputs: list[Any], gradients: Any, create_graph: bool) -> list[tuple[Node, Any]]:
    """The roots of a pass from several outputs, each with the gradient that it starts with."""
    weights = [None] * len(outputs) if gradients is None else as_sequence(gradients)
    if len(weights) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs, but {len(weights)} grad_outputs")
    return [start("grad", y, weight, create_graph) for y, weight in zip(outputs, weights)]


def as_sequence(tensors: Any) -> list[Any]:
    """One Tensor or several, as a list."""
    return [tensors] if isinstance(tensors, Tensor) or is_array(tensors) else [*tensors]
