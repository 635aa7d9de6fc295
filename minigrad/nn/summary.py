"""A network as a table: `Module.summary`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine import no_grad
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module


def summary(network: Module, inputs: tuple[Any, ...]) -> str:
    """The table, with the shapes of outputs if there are inputs to run the network on."""
    shapes = output_shapes(network, inputs) if inputs else {}
    rows = [("layer", "kind", "output", "parameters")]
    counted: set[int] = set()
    for name, module in network.named_modules():
        own = {id(p): p.size for _, p in module.members() if isinstance(p, Parameter) and id(p) not in counted}
        counted |= {*own}
        rows.append((name, type(module).__name__, shapes.get(id(module), ""), f"{sum(own.values()):,}"))
    a, b, c, d = (max(len(row[k]) for row in rows) for k in range(4))
    rows.insert(1, ("-" * a, "-" * b, "-" * c, "-" * d))
    lines = [f"{name:{a}}  {kind:{b}}  {shape:{c}}  {count:>{d}}" for name, kind, shape, count in rows]
    sizes = [(p.size, p.requires_grad) for p in network.parameters()]
    total, learned = sum(size for size, _ in sizes), sum(size for size, is_learned in sizes if is_learned)
    return "\n".join([*lines, "", f"{total:,} parameters, of which {learned:,} are learned"])


def output_shapes(network: Module, inputs: tuple[Any, ...]) -> dict[int, str]:
    """The shape of what each module inside returns, by its id: one forward pass in evaluation mode, with hooks."""
    shapes: dict[int, str] = {}

    def note(module: Module, args: Any, output: Any) -> None:
        shapes[id(module)] = shape_of(output)

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with network.evaluating(), no_grad():
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def shape_of(output: Any) -> str:
    """The shape of what a module returned, or the shapes, if it is a tuple."""
    if isinstance(output, tuple):
        return f"({', '.join(map(shape_of, output))})"
    return str(output.shape) if hasattr(output, "shape") else type(output).__name__
