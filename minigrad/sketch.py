"""What a picture of a graph consists of: vertices, the frames they stand in, and arrows between them.

A `Sketch` looks at the graph through its `Folding`: a node is drawn as itself, as the node that stands for it, or as
the closed box around it; a leaf likewise, or not at all, if only one closed box uses it. `graph.py` paints the result.

Public: `Sketch`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .engine import LEAF, Node
from .explain import argument
from .folding import Box, Call, Folding, Item

Path = tuple[Box, ...]  # the open boxes around something, outermost first


class Sketch:
    """The picture of the nodes in `order` (oldest first), framed by modules' `calls`, folded to `limit` vertices.

    Attributes
    ----------
    folding
        The boxes, and what stands for what.
    vertices
        What is drawn, and in which frames: ops, leaves, closed boxes.
    arrows
        (from, to, name of the argument): does it stay within one round of all that repeats? Else it leads from each
        round to the next.
    times
        How often a frame or vertex that repeats is there, in one round of the frames around it.
    ops, leaves
        Of a closed box, in one round of the frames around it: how often each op was computed, and the leaves that
        nothing else uses.
    """

    def __init__(self, order: list[Node], calls: list[Call], limit: int | None) -> None:
        self.order, self.folding = order, Folding(order, calls)
        self.draft()
        if limit is not None and len(self.vertices) > limit:
            self.fold(limit)

    def fold(self, limit: int) -> None:
        """Fold, step by step, until there are no more vertices than the limit."""
        folding, more = self.folding, True
        while more and len(self.vertices) > limit:  # repeats, the outermost first
            more = folding.fold_repeats()
            self.draft()
        if len(self.vertices) > limit:
            self.merge_like_leaves()
        if len(self.vertices) > limit:
            self.shorten(limit // 2)
        while len(self.vertices) > limit and folding.close_deepest():  # modules, the innermost first
            self.draft()
        most = limit // 4
        while len(self.vertices) > limit and most >= 2:
            self.shorten(most)
            most //= 2

    def shorten(self, most: int) -> None:
        """Leave out the middle of every stretch of more than `most` vertices."""
        self.folding.shorten(most)
        self.draft()

    def draft(self) -> None:
        """Find vertices and arrows, as the folding now is."""
        folding = self.folding
        places, rounds = folding.places(), {node: folding.rounds(node) for node in self.order}
        self.vertices: dict[Item, Path] = {}
        self.arrows: dict[tuple[Item, Item, str], bool] = {}
        self.ops: dict[Item, Counter[str]] = {}
        self.users: dict[Node, dict[Item, Path]] = {}
        uses: dict[Node, list[tuple[Node, Node]]] = {}  # of a leaf that is drawn: (leaf it stands for, node using that)

        def in_first_round(node: Node, path: Path) -> bool:
            return all(rounds[node].get(box, 0) == 0 for box in path)

        for node in self.order:
            target, path = places[folding.drawn(node)]
            self.vertices[target] = path
            if isinstance(target, Box) and in_first_round(node, path):
                self.ops.setdefault(target, Counter())[node.row.name] += 1
            for k, parent in enumerate(node.parents):
                if parent is None:
                    continue
                drawn = folding.drawn(parent)
                if parent.row is LEAF:
                    source: Item = drawn
                    same_round = True
                    self.users.setdefault(drawn, {})[target] = path
                    uses.setdefault(drawn, []).append((parent, node))
                else:
                    source, _ = places[drawn]
                    same_round = all(rounds[parent].get(item, n) == n for item, n in rounds[node].items())
                if source is not target or isinstance(target, Node):
                    arrow = source, target, port(node, k) if isinstance(target, Node) else ""
                    self.arrows[arrow] = self.arrows.get(arrow, False) or same_round

        self.times = dict(folding.times)
        self.leaves: dict[Item, list[Node]] = {}
        self.several = {leaf for leaf, pairs in uses.items() if len({parent for parent, _ in pairs}) > 1}
        for leaf, users in self.users.items():
            user, path = next(iter(users)), common(users.values())
            merged = {parent for parent, node in uses[leaf] if in_first_round(node, path)}
            if len(users) == 1 and isinstance(user, Box):
                self.leaves.setdefault(user, []).extend(merged)
                del self.arrows[leaf, user, ""]
            else:
                self.vertices[leaf] = path
                self.times[leaf] = len(merged)

    def is_one(self, node: Node) -> bool:
        """Does this node or leaf stand for itself alone?"""
        return node not in self.folding.round and node not in self.several

    def merge_like_leaves(self) -> None:
        """Draw four leaves or more of one shape, used by the same vertices, as one: a thousand leaves stacked, say."""
        alike: dict[Any, list[Node]] = {}
        for leaf, users in self.users.items():
            alike.setdefault((leaf.shape, leaf.dtype, frozenset(users)), []).append(leaf)
        for first, *others in alike.values():
            if len(others) >= 3:
                for leaf in others:
                    self.folding.merge_leaves(first, leaf)
        self.draft()


def port(node: Node, k: int) -> str:
    """The name of the argument that an arrow enters by, where there is a choice."""
    if node.row.variadic:
        return argument(node.row, k) if len(node.parents) <= 4 else ""
    return argument(node.row, k) if len(node.row.rules) > 1 else ""


def common(paths: Iterable[Path]) -> Path:
    """The frames that stand around all of these."""
    shared: list[Box] = []
    for boxes in zip(*paths):
        if any(box is not boxes[0] for box in boxes):
            break
        shared.append(boxes[0])
    return tuple(shared)
