"""How a graph of thousands of nodes becomes a picture of forty: a module is one box, and what repeats is shown once.

Nodes are numbered as they are born: in the list of all, oldest first, every arrow points forward. Whatever is folded
here is a stretch of that list, be it a module's call, one round of a loop or just the middle; so between boxes, too,
every arrow points forward, and no fold can tie a knot.

Public: `Box`, `Folding`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

import numpy as np

from .engine import LEAF, Node

Item = Union[Node, "Box"]
Call = tuple[int, int, str, str]  # the births at which a module's call began and ended, its path and kind

LONGEST = 500  # items in a round of a loop, at most: looking for longer ones would take too long


class Box:
    """A stretch of the graph: open, it is a frame round its items; closed, it is drawn as one.

    ``inside`` lists the items, oldest first. Of a module's call, `path` and `kind` are the module's path and class; of
    other boxes they are empty.
    """

    def __init__(self, inside: list[Item], path: str = "", kind: str = "") -> None:
        self.inside, self.path, self.kind = inside, path, kind
        self.closed = False

    def nodes(self) -> Iterator[Node]:
        """The nodes at any depth, oldest first."""
        stack = self.inside[::-1]
        while stack:
            item = stack.pop()
            if isinstance(item, Box):
                stack += item.inside[::-1]
            else:
                yield item


def nodes_of(item: Item) -> Iterator[Node]:
    """The nodes of a box, or the node itself."""
    return item.nodes() if isinstance(item, Box) else iter([item])


class Folding:
    """A tree of boxes over a graph, and which of the nodes stands for which.

    Attributes
    ----------
    root
        The box of all.
    paths
        The module's path, for the only node that a module's call computed: it needs no box.
    times
        How often an item that is shown once is there.
    stands_for
        For a node or leaf that is not drawn, one that is drawn in its place (or for which, in turn, another stands).
    round
        For a node and an item that repeats, in which of its rounds the node lies.
    """

    def __init__(self, order: list[Node], calls: list[Call]) -> None:
        self.root = plant(order, calls)
        self.paths = unwrap(self.root)
        self.result = order[-1]  # which is drawn itself, also where it ends a loop
        self.times: dict[Item, int] = {}
        self.stands_for: dict[Node, Node] = {}
        self.round: dict[Node, dict[Item, int]] = {}
        self._signatures: dict[Any, int] = {}
        self._signed: dict[Item, int] = {}
        self._level = [self.root]  # boxes in which `fold_repeats` has not looked yet, all equally deep

    def drawn(self, node: Node) -> Node:
        """The node, or the one that stands for it."""
        while node in self.stands_for:
            node = self.stands_for[node]
        return node

    def rounds(self, node: Node) -> dict[Item, int]:
        """In which round of every repeat, outer and inner, a node lies."""
        found: dict[Item, int] = {}
        while True:
            found = {**self.round.get(node, {}), **found}
            if node not in self.stands_for:
                return found
            node = self.stands_for[node]

    def places(self) -> dict[Node, tuple[Item, tuple[Box, ...]]]:
        """For every node that is drawn, as what (itself, or the closed box around it), and in which open boxes."""
        found: dict[Node, tuple[Item, tuple[Box, ...]]] = {}
        stack: list[tuple[Item, tuple[Box, ...]]] = [(item, ()) for item in self.root.inside]
        while stack:
            item, path = stack.pop()
            if not isinstance(item, Box) or item.closed:
                found |= dict.fromkeys(nodes_of(item), (item, path))
            else:
                stack += [(each, (*path, item)) for each in item.inside]
        return found

    # -------------------------------------------------------------------------------------------- what repeats, once

    def fold_repeats(self) -> bool:
        """Fold what repeats four times or more, in the outermost boxes where that was not tried; False after the last.

        A repeat is the same ops on the same shapes, again and again. What is drawn is its first round.
        """
        self.signature(self.root)
        for box in self._level:
            box.inside = self._folded(box.inside)
        self._level = [item for box in self._level for item in box.inside if isinstance(item, Box)]
        return bool(self._level)

    def _folded(self, items: list[Item]) -> list[Item]:
        done: list[Item] = []
        parts = [items]
        while parts:
            part = parts.pop()
            start, length, times = longest_repeat([self.signature(item) for item in part])
            if not times:
                done += part
                continue
            end = start + length * times
            first = part[start : start + length]
            shown = first[0] if length == 1 else Box(first)
            self.times[shown] = times
            for k in range(times):
                self._let_stand(shown, k, first, part[start + k * length : start + (k + 1) * length])
            parts += [part[end:], [shown], part[:start]]
        return done

    def _let_stand(self, shown: Item, k: int, first: list[Item], rest: list[Item]) -> None:
        """The first round stands for round k, node by node, and its leaves for the leaves there."""
        for mine, other in zip(first, rest):
            for node, twin in zip(nodes_of(mine), nodes_of(other)):
                self.round.setdefault(twin, {})[shown] = k
                if k > 0:
                    self.stands_for[twin] = node
                    for a, b in zip(node.parents, twin.parents):
                        if a is not None and b is not None and a.row is LEAF and b.row is LEAF:
                            self.merge_leaves(a, b)

    def merge_leaves(self, a: Node, b: Node) -> None:
        """Let one leaf stand for another."""
        a, b = self.drawn(a), self.drawn(b)
        if a is not b:
            self.stands_for[b] = a

    def signature(self, item: Item) -> int:
        """A number that items have in common if they are the same ops on the same shapes, leaves being leaves."""
        stack = [item]
        while stack:
            top = stack[-1]
            inside = top.inside if isinstance(top, Box) else []
            unsigned = [each for each in inside if each not in self._signed]
            if unsigned:
                stack += unsigned
                continue
            stack.pop()
            if isinstance(top, Box):
                key: Any = (top.kind, *(self._signed[each] for each in inside))
            else:
                inputs = tuple(p and (p.row is LEAF, p.shape) for p in top.parents)
                key = (top.row, top.shape, top.dtype, inputs, top is self.result)
            self._signed[top] = self._signatures.setdefault(key, len(self._signatures))
        return self._signed[item]

    # -------------------------------------------------------------------------------------------- what is too much

    def shorten(self, most: int) -> None:
        """In every box with more than `most` items, the middle becomes one closed box."""
        boxes = [self.root]
        while boxes:
            box = boxes.pop()
            if len(box.inside) > most:
                head, tail = most // 2, len(box.inside) - (most - most // 2 - 1)
                middle = Box(box.inside[head:tail])
                middle.closed = True
                box.inside = [*box.inside[:head], middle, *box.inside[tail:]]
            boxes += [item for item in box.inside if isinstance(item, Box) and not item.closed]

    def close_deepest(self) -> bool:
        """Close the open boxes that are nested deepest. False if there was none."""
        level, deepest = [self.root], list[Box]()
        while level:
            level = [item for box in level for item in box.inside if isinstance(item, Box) and not item.closed]
            deepest = level or deepest
        for box in deepest:
            box.closed = True
        return bool(deepest)


def plant(order: list[Node], calls: list[Call]) -> Box:
    """The nodes, oldest first, in boxes for the calls of modules during which they were born."""
    root = Box([])
    open_boxes = [(root, float("inf"))]
    waiting = sorted(calls, reverse=True)
    for node in order:
        while node.birth > open_boxes[-1][1]:
            open_boxes.pop()
        while waiting and waiting[-1][0] < node.birth:
            _, end, path, kind = waiting.pop()
            if end > node.birth:  # else no node of this graph was born in that call
                box = Box([], path, kind)
                open_boxes[-1][0].inside.append(box)
                open_boxes.append((box, end))
        open_boxes[-1][0].inside.append(node)
    return root


def unwrap(root: Box) -> dict[Node, str]:
    """Take away every box round a single op on no leaf, such as an activation; return the paths that these had."""
    paths: dict[Node, str] = {}
    boxes = [root]
    while boxes:
        box = boxes.pop()
        for k, item in enumerate(box.inside):
            if not isinstance(item, Box):
                continue
            first = item.inside[0]
            if len(item.inside) > 1 or isinstance(first, Box) or any(p and p.row is LEAF for p in first.parents):
                boxes.append(item)
            else:
                box.inside[k], paths[first] = first, item.path
    return paths


def longest_repeat(signatures: list[int]) -> tuple[int, int, int]:
    """The repeat of four rounds or more that saves most: (its start, items in a round, rounds). (0, 0, 0) for none."""
    s, best, saved = np.array(signatures), (0, 0, 0), 0
    for length in range(1, min(len(s) // 2, LONGEST) + 1):
        same = np.concatenate(([False], s[length:] == s[:-length], [False]))  # as the item one round later?
        starts, ends = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2).T
        if len(starts):
            k = int((ends - starts).argmax())
            times = int(ends[k] - starts[k]) // length + 1
            if times >= 4 and (times - 1) * length > saved:
                # Where rounds do not fill the stretch, the rest comes first: loops rather begin than end irregularly.
                saved, rest = (times - 1) * length, int(ends[k] - starts[k]) % length
                best = int(starts[k]) + rest, length, times
    return best
