"""The graph as a picture: which ops made a loss, of which parameters, in which module, in which shapes.

    mg.graph.draw(loss, {"x": x, "w": w})                   # shows itself in a notebook
    mg.graph.draw(loss, model).write("graph.svg")           # parameters by their names
    mg.graph.draw(lambda: loss_fn(model(x), y), model)      # and a frame round what each module did

What has more than `limit` vertices is folded: `folding.py` says how, `sketch.py` what remains to be drawn. The picture
is a `graphviz.Digraph`, which is DOT text; only to turn that into SVG, PNG or PDF is Graphviz's program `dot` needed.

Public: `draw`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

from . import engine
from .backend import is_array
from .chores import start
from .engine import LEAF, Node, recording, walk
from .explain import names_of, passed_back, show
from .folding import Box, Call, Item
from .row import Row
from .sketch import Sketch
from .tensor import Tensor

NO_DOT = (
    "Pictures need Graphviz's program `dot` (apt install graphviz, brew install graphviz, conda install graphviz, or "
    "https://graphviz.org/download); without it there is the graph as DOT text."
)

ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # in a label, < begins a tag

# fmt: off
FONT   = "Helvetica,Arial,sans-serif"
PAGE   = {"newrank": "true", "nodesep": "0.2", "ranksep": "0.25", "fontname": FONT, "fontsize": "11"}
VERTEX = {"fontname": FONT, "fontsize": "11", "height": "0.3", "margin": "0.12,0.06"}
ARROW  = {"fontname": FONT, "fontsize": "9", "fontcolor": "#777777", "color": "#666666", "arrowsize": "0.6"}
NEXT   = {"style": "dashed", "constraint": "false"}
OP     = {"shape": "box", "style": "rounded,filled", "color": "#5b7fae", "fillcolor": "#e8f0fb"}
LOSS   = {"shape": "box", "style": "rounded,filled", "color": "#b0562a", "fillcolor": "#fbeadf", "penwidth": "2"}
PARAM  = {"shape": "box", "style": "filled",         "color": "#6a9a5b", "fillcolor": "#eaf5e4"}
CLOSED = {"shape": "box", "style": "filled",         "color": "#8a8a8a", "fillcolor": "#f3f3f3", "peripheries": "2"}
FRAME  = {"style": "rounded", "color": "#9a9a9a", "labeljust": "l", "margin": "9"}
# fmt: on


def draw(loss: Any, params: Any = None, *, gradients: bool = False, limit: int | None = 40) -> Any:
    """The graph of a result as a picture, inputs on top.

    A blue box is an op, with the shape and dtype of what it computed; a green one a leaf; the red one is the result. A
    single number is shown with its value where that is known: everywhere if `loss` is given as a function, else where a
    rule kept it. Constants, which need no gradient, are not part of the graph.

    Parameters
    ----------
    loss
        A Tensor computed on the record, of any shape. Or a function without arguments that computes it: then `draw`
        watches it run, knows every number and, if `params` is a Module, puts a frame round what each module did.
    params
        Names for leaves and results: a dict of Tensors, a Module, or its `named_parameters()`. The picture says on
        which of these leaves the loss does not depend.
    gradients
        Make a backward pass, too, and show each gradient: up to four numbers, or the norm of more. It leaves no trace:
        the graph stays, every `.grad` stays as it is, no hook is run.
    limit
        Fold what has more vertices than this, so that it fits on a page; None never folds. What repeats four times or
        more is shown once, with × and how often; a dashed arrow leads to the next round. If that is not enough, the
        middle of long stretches is left out, and modules are closed, innermost first. A vertex that stands for several
        shows no value and no gradient.

    Returns
    -------
    graphviz.Digraph
        With one method more: ``write(path)`` writes .svg, .png, .pdf or .dot, by the suffix, and returns the path;
        where `dot` is not installed it writes DOT text instead, and says so.

    Raises
    ------
    ImportError
        Without the package graphviz (the extra `viz`).
    RuntimeError
        For a result that was not computed on the record, or whose graph was freed by backward.
    TypeError
        For params that are no names and Tensors.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.tensor(3.0, requires_grad=True)
    >>> print(mg.graph.draw(x * x, {"x": x}).source)
    digraph {
    ...
        n0 [label=<<b>x</b><br/>float32 = 3> ...]
        n1 [label=<<b>multiply</b><br/>float32 = 9> ...]
        n0 -> n1 [label=" x "]
        n0 -> n1 [label=" y "]
    }
    """
    picture = drawing_class()(graph_attr=PAGE, node_attr=VERTEX, edge_attr=ARROW)
    names, watcher, calls = names_of("draw", params), Watcher(), []
    if callable(loss):
        with recording(watcher), calls_inside(params) as calls:
            loss = loss()
    if not isinstance(loss, Tensor) or loss.node is None or loss.node.row is LEAF:
        raise RuntimeError(f"draw: wanted a Tensor computed from one with requires_grad=True, got {loss!r}")
    if loss.node.parents is None:
        raise RuntimeError("draw: backward has freed the graph; draw before it, or call backward(retain_graph=True)")
    order, _, nodes = walk([loss.node])
    numbers = known_numbers(order, loss) | watcher.numbers
    received = passed_back(*start("draw", loss, None, False))[1] if gradients else {}
    if limit is not None:
        picture.attr(size="7.5,10.5")  # inches: what is still larger is shrunk to a page

    Painter(Sketch(order[::-1], calls, limit), names, numbers, received).paint(picture, loss.node)
    unused = [name for node, name in names.items() if node.row is LEAF and node not in nodes]
    if unused:
        listed = ", ".join(unused[:10]).translate(ESCAPED) + (f" and {len(unused) - 10} more" if unused[10:] else "")
        picture.attr(label=f"<The result does not depend on {listed}.>", fontcolor="#b00020")
    return picture


# ------------------------------------------------------------------------------------------------- what can be known


class Watcher:
    """A watcher of the engine that keeps every single number that is computed."""

    def __init__(self) -> None:
        self.numbers: dict[Node, float] = {}

    def computed(self, row: Row, args: Any, z: Any, node: Node | None) -> None:
        if node is not None and z.size == 1:
            self.numbers[node] = z.item()

    def differentiated(self, node: Node, parent: Node, g: Any, grad: Any) -> None:
        """A backward pass inside the function that is drawn has nothing to show."""


@contextlib.contextmanager
def calls_inside(model: Any) -> Iterator[list[Call]]:
    """The calls of a Module and of all inside it, as intervals of the counter that numbers nodes."""
    calls: list[Call] = []
    begun: list[int] = []
    handles = []
    for path, module in model.named_modules() if hasattr(model, "named_modules") else ():

        def end(module: Any, args: Any, output: Any, path: str = path) -> None:
            calls.append((begun.pop(), next(engine.births), path, type(module).__name__))

        handles.append(module.register_forward_pre_hook(lambda module, args: begun.append(next(engine.births))))
        handles.append(module.register_forward_hook(end))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def known_numbers(order: list[Node], loss: Tensor) -> dict[Node, float]:
    """The single numbers still to be had: the result, leaves, and what a node kept of itself or of its inputs."""
    found: dict[Any, Any] = {}
    for node in order:
        if found.get(node) is None:
            found[node] = node.values[node.row.places["z"]]
        kept = (node.values[0] or ()) if node.row.variadic else node.values
        for parent, value in zip(node.parents, kept):
            if parent is not None and found.get(parent) is None:
                found[parent] = value
    for leaf in {parent for node in order for parent in node.parents if parent and parent.row is LEAF}:
        if (tensor := leaf.tensor()) is not None:
            found[leaf] = tensor.data
    found[loss.node] = loss.data
    return {node: x.item() for node, x in found.items() if is_array(x) and x.size == 1}


# -------------------------------------------------------------------------------------------------------- painting it


class Painter:
    """Puts a sketch into DOT, with names, numbers and gradients where there are any."""

    def __init__(self, sketch: Sketch, names: Any, numbers: dict[Node, float], received: dict[Node, Any]) -> None:
        self.sketch, self.names, self.numbers, self.received = sketch, names, numbers, received
        self.leaves: dict[Box, list[Node]] = {}
        for item, path in sketch.vertices.items():
            if isinstance(item, Node) and item.row is LEAF:
                self.leaves.setdefault(path[-1] if path else sketch.folding.root, []).append(item)
        self.ids: dict[Item, str] = {}
        self.frames = 0

    def paint(self, picture: Any, loss: Node) -> None:
        """Add all vertices, in their frames, and all arrows."""
        self.fill(picture, self.sketch.folding.root, loss)
        for (source, target, port), same_round in self.sketch.arrows.items():
            picture.edge(
                self.ids[source], self.ids[target], f" {port} " if port else None, **({} if same_round else NEXT)
            )

    def fill(self, graph: Any, frame: Box, loss: Node) -> None:
        """Put into a frame the leaves and items that are in it."""
        for item in [*self.leaves.get(frame, ()), *frame.inside]:
            if isinstance(item, Box) and not item.closed:
                self.frames += 1
                with graph.subgraph(name=f"cluster_{self.frames}", graph_attr=FRAME) as inner:
                    inner.attr(label=f"<{(self.title(item, frame) + self.times(item)).strip()}>")
                    self.fill(inner, item, loss)
            else:
                self.ids[item] = f"n{len(self.ids)}"
                style = CLOSED if isinstance(item, Box) else PARAM if item.row is LEAF else LOSS if item is loss else OP
                lines = self.box_lines(item, frame) if isinstance(item, Box) else self.node_lines(item, frame)
                graph.node(self.ids[item], f"<{'<br/>'.join(lines)}>", **style)

    def times(self, item: Item) -> str:
        """How many an item stands for, if that is more than itself."""
        return f" × {n}" if (n := self.sketch.times.get(item, 1)) > 1 else ""

    def title(self, box: Box, frame: Box) -> str:
        """A module's path, as seen from the frame that it is in, and its class."""
        return f"{short(box.path, frame)}: {box.kind}" if box.path else box.kind

    def node_lines(self, node: Node, frame: Box) -> list[str]:
        """A vertex for an op or a leaf: its name, its shape and dtype, its value, its gradient."""
        name = short(self.names.get(node) or self.sketch.folding.paths.get(node, ""), frame)
        if node.row is LEAF:
            name = f"<b>{name}</b>" if name else "leaf"
        else:
            name = f"<b>{name}{': ' if name else ''}{node.row.name.translate(ESCAPED)}</b>"
        lines = [name + self.times(node), kind(node)]
        if self.sketch.is_one(node):
            if node in self.numbers:
                lines[1] += f" = {self.numbers[node]:.4g}"
            if node in self.received:
                lines.append(f"gradient {show(self.received[node][1])}")
        return lines

    def box_lines(self, box: Box, frame: Box) -> list[str]:
        """A vertex for a closed box: what it is, what comes out, how much is in it."""
        lines = [f"<b>{self.title(box, frame) or '…'}</b>{self.times(box)}"]
        if box.kind:
            lines.append(f"→ {kind([*box.nodes()][-1])}")
        ops, leaves = self.sketch.ops[box], self.sketch.leaves.get(box, [])
        most = ", ".join(f"{n:,} {op}" if n > 1 else op for op, n in ops.most_common(3)).translate(ESCAPED)
        lines.append(f"{ops.total():,} ops: {most}{', …' if len(ops) > 3 else ''}" if ops.total() > 1 else most)
        if leaves:
            count = "1 leaf" if len(leaves) == 1 else f"{len(leaves):,} leaves"
            lines.append(f"{count}, {sum(math.prod(leaf.shape) for leaf in leaves):,} numbers")
        return lines


def kind(node: Node) -> str:
    """Shape and dtype."""
    return f"{node.shape} {node.dtype}" if node.shape else str(node.dtype)


def short(name: str, frame: Box) -> str:
    """A dotted name as it is seen from within the module whose frame this is."""
    return name.removeprefix(f"{frame.path}.").translate(ESCAPED)


@functools.cache
def drawing_class() -> Any:
    """`graphviz.Digraph` with a way to write itself to a file, and to show itself also where there is no `dot`."""
    from pathlib import Path

    try:
        import graphviz
    except ImportError:
        raise ImportError("draw: the package graphviz is missing; in the checkout: pip install '.[viz]'") from None

    class Drawing(graphviz.Digraph):
        def write(self, path: Any) -> Path:
            """Write .svg, .png, .pdf or .dot, by the suffix; without `dot`, .dot in any case. Returns the path."""
            path = Path(path)
            kind = path.suffix[1:]
            if kind not in ("svg", "png", "pdf", "dot"):
                raise ValueError(f"write: {str(path)!r} should end in .svg, .png, .pdf or .dot")
            try:
                sharp = self.copy()
                if kind == "png":
                    sharp.attr(dpi="160")
                content = self.source.encode() if kind == "dot" else sharp.pipe(format=kind)
            except graphviz.ExecutableNotFound:
                path, content = path.with_suffix(".dot"), self.source.encode()
                print(f"{NO_DOT} It is in {path}.")
            path.write_bytes(content)
            return path

        def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, str]:
            try:
                return {"image/svg+xml": self.pipe(format="svg", encoding="utf-8")}
            except graphviz.ExecutableNotFound:
                return {"text/plain": f"{NO_DOT}\n\n{self.source}"}

    return Drawing
