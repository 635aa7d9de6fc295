"""What a picture of a graph consists of: vertices, the frames they stand in, and arrows between them.

A `Sketch` looks at the graph through its `Folding`: a node is drawn as itself, as the node that stands for it, or as
the closed box around it; a leaf likewise, or not at all, if only one closed box uses it. `graph.py` paints the result.

Public: `Sketch`.
"""

from __future__ import annotations

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
        For how many nodes or leaves a vertex stands, or how often a box repeats; not there is once.
    hidden
        The leaves that only one closed box uses, by that box.
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
        most = limit
        while len(self.vertices) > limit and most > 3:  # long stretches; modules, innermost first; shorter stretches
            if most == limit or not folding.close_deepest():
                most //= 2
                folding.shorten(most)
            self.draft()

    def draft(self) -> None:
        """Find vertices and arrows, as the folding now is."""
        folding = self.folding
        places, rounds = folding.places(), {node: folding.rounds(node) for node in self.order}
        self.vertices: dict[Item, Path] = {}
        self.arrows: dict[tuple[Item, Item, str], bool] = {}
        self.users: dict[Node, dict[Item, Path]] = {}
        merged: dict[Node, set[Node]] = {}
        for node in self.order:
            target, path = places[folding.drawn(node)]
            self.vertices[target] = path
            for k, parent in enumerate(node.parents):
                if parent is None:
                    continue
                drawn = folding.drawn(parent)
                if parent.row is LEAF:
                    source: Item = drawn
                    same_round = True
                    self.users.setdefault(drawn, {})[target] = path
                    merged.setdefault(drawn, set()).add(parent)
                else:
                    source, _ = places[drawn]
                    same_round = all(rounds[parent].get(item, n) == n for item, n in rounds[node].items())
                if source is not target or isinstance(target, Node):
                    arrow = source, target, port(node, k) if isinstance(target, Node) else ""
                    self.arrows[arrow] = self.arrows.get(arrow, False) or same_round
        self.hidden: dict[Item, list[Node]] = {}
        self.times = dict(folding.times)
        for leaf, users in self.users.items():
            user = next(iter(users))
            if len(users) == 1 and isinstance(user, Box):
                self.hidden.setdefault(user, []).extend(merged[leaf])
                del self.arrows[leaf, user, ""]
            else:
                self.vertices[leaf] = common(users.values())
                self.times[leaf] = len(merged[leaf])

    def is_one(self, node: Node) -> bool:
        """Does this node or leaf stand for itself alone?"""
        return node not in self.folding.round and self.times.get(node, 1) == 1

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
