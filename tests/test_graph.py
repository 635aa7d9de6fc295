"""Pictures of graphs: that they show what is there, fold what is too much, and tie no knots.

Most tests read the DOT text, which needs no `dot`; those that need it are skipped without.
"""

import doctest
import re
import shutil
import sys
from functools import cache
from graphlib import TopologicalSorter
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import graphviz
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import engine, nn
from minigrad import functional as F
from minigrad.folding import Box, longest_repeat
from minigrad.graph import drawing_class
from minigrad.sketch import Sketch

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's program dot is not installed")


def leaf(data, **options):
    return mg.tensor(data, requires_grad=True, **options)


class Vertex(NamedTuple):
    lines: list[str]  # of its label
    frames: tuple[str, ...]  # titles of the frames around it, outermost first
    attributes: str


class Picture:
    """What a DOT text says: vertices by their first line where that is unique, and arrows between first lines."""

    def __init__(self, drawing):
        self.vertices, self.arrows, self.dashed, self.caption = {}, [], [], None
        frames = []
        for line in drawing.source.splitlines()[1:-1]:
            line = line.strip()
            if line.startswith("subgraph"):
                frames.append("")
            elif line == "}":
                frames.pop()
            elif line.startswith("label=<"):
                frames[-1] = line[len("label=<") : -1]
            elif match := re.match(r"fontcolor=\S+ label=<(.*)>$", line):
                self.caption = match[1]
            elif match := re.match(r"(n\d+) \[label=<(.*)> (color=.*)\]", line):
                self.vertices[match[1]] = Vertex(re.sub("</?b>", "", match[2]).split("<br/>"), tuple(frames), match[3])
            elif match := re.match(r"(n\d+) -> (n\d+)(.*)$", line):
                port = re.search(r'label=" (\S+) "', match[3])
                arrow = self.vertices[match[1]].lines[0], self.vertices[match[2]].lines[0], port and port[1]
                (self.dashed if "dashed" in match[3] else self.arrows).append(arrow)

    def __getitem__(self, first_line):
        (found,) = [vertex for vertex in self.vertices.values() if vertex.lines[0] == first_line]
        return found


def picture(*args, **options):
    return Picture(mg.graph.draw(*args, **options))


def product_and_sum():
    """a b + a, at a = 2, b = -3: the value is -4, the gradients are b + 1 = -2 and a = 2."""
    return leaf(2.0), leaf(-3.0)


# --------------------------------------------------------------------------------------------------- what it shows


def test_ops_leaves_values_and_arguments_are_shown():
    a, b = product_and_sum()
    seen = picture(lambda: a * b + a, {"a": a, "b": b})
    assert [vertex.lines for vertex in seen.vertices.values()] == [
        ["a", "float32 = 2"],
        ["b", "float32 = -3"],
        ["multiply", "float32 = -6"],
        ["add", "float32 = -4"],
    ]
    assert sorted(seen.arrows) == [
        ("a", "add", "y"),
        ("a", "multiply", "x"),
        ("b", "multiply", "y"),
        ("multiply", "add", "x"),
    ]


def test_of_a_tensor_the_numbers_are_shown_that_are_still_known():
    a, b = product_and_sum()
    seen = picture(mg.exp(a * b) + a, {"a": a, "b": b})
    assert seen["multiply"].lines == ["multiply", "float32"]  # exp keeps what it computed, not what it was given
    assert seen["exp"].lines == ["exp", "float32 = 0.002479"]
    assert seen["add"].lines == ["add", "float32 = 2.002"]


def test_what_a_later_rule_kept_is_known_too():
    a, b = product_and_sum()
    assert picture(mg.sin(a * b), {"a": a})["multiply"].lines == ["multiply", "float32 = -6"]


def test_arrays_have_shape_and_dtype():
    x = leaf(np.ones((2, 3)))
    seen = picture(mg.tanh(x).sum(axis=1), {"x": x})
    assert seen["x"].lines == ["x", "(2, 3) float64"] and seen["sum"].lines == ["sum", "(2,) float64"]


def test_a_tensor_that_is_used_twice_has_two_arrows():
    x = leaf(3.0)
    assert picture(x * x, {"x": x}).arrows == [("x", "multiply", "x"), ("x", "multiply", "y")]


def test_gradients_are_those_of_backward_and_leave_no_trace():
    a, b = product_and_sum()
    seen_by_hook = []
    a.register_hook(seen_by_hook.append)
    loss = a * b + a
    seen = picture(loss, {"a": a, "b": b}, gradients=True)
    gradients = {vertex.lines[0]: vertex.lines[2] for vertex in seen.vertices.values()}
    assert gradients == {"a": "gradient -2", "b": "gradient 2", "multiply": "gradient 1", "add": "gradient 1"}
    assert a.grad is None and b.grad is None and seen_by_hook == []
    loss.backward()
    assert (a.grad.item(), b.grad.item()) == (-2.0, 2.0)


def test_results_can_have_names_as_well():
    x = leaf(1.0)
    y = x * 2.0
    assert picture(y + 1.0, {"y": y})["y: multiply"].lines[1] == "float32"


def test_letters_that_mean_something_in_dot_are_harmless_in_names():
    x = leaf(1.0)
    seen = picture(x * 2.0, {'a<b> & "c"': x, "n<o>": leaf(1.0)})
    assert seen.vertices["n0"].lines[0] == 'a&lt;b&gt; &amp; "c"'
    assert seen.caption == "The result does not depend on n&lt;o&gt;."


def test_an_op_without_a_name_is_harmless_as_well():
    double = mg.op(lambda x: 2 * x, x=lambda g: 2 * g)
    y = double(leaf(np.ones(2)))
    assert picture(y)["&lt;lambda&gt;"].lines[1] == "(2,) float64"
    for step in (mg.sin, mg.cos, mg.exp, double, double, mg.sin, mg.tanh, double):
        y = step(y)
    (gap,) = [vertex for vertex in picture(y, limit=6).vertices.values() if vertex.lines[0] == "…"]
    assert "&lt;lambda&gt;" in gap.lines[1]


def test_parameters_that_the_loss_does_not_depend_on_are_listed():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    seen = picture(model[0](mg.ones((1, 2))).sum(), model)
    assert seen.caption == "The result does not depend on 1.weight, 1.bias."
    many = {f"p{k}": leaf(1.0) for k in range(12)}
    assert picture(leaf(1.0) * 2.0, many).caption.endswith("p8, p9 and 2 more.")
    assert picture(model(mg.ones((1, 2))).sum(), model).caption is None


class Residual(nn.Module):
    def __init__(self, size):
        self.inner = nn.Linear(size, size)

    def forward(self, x):
        return x + mg.tanh(self.inner(x))


class Deep(nn.Module):
    def __init__(self, size, depth):
        self.start = nn.Linear(size, size)
        self.layers = [Residual(size) for _ in range(depth)]

    def forward(self, x):
        x = self.start(x)
        for layer in self.layers:
            x = layer(x)
        return x.mean()


class Tied(nn.Module):
    """One weight, used by two modules inside."""

    def __init__(self):
        self.there, self.back = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.back.weight = self.there.weight

    def forward(self, x):
        return self.back(self.there(x))


def test_a_leaf_that_two_modules_use_stands_in_the_frame_around_both():
    model = Tied()
    seen = picture(lambda: model(mg.ones((1, 3))).sum(), model)
    assert seen["there.weight"].frames == ("Tied",)


def test_what_a_module_did_is_in_its_frame_and_names_are_short_there():
    model = Deep(3, 1)
    seen = picture(lambda: model(mg.ones((2, 3))) * 2.0, model)
    inside = [(vertex.lines[0], vertex.frames) for vertex in seen.vertices.values()]
    start, block = ("Deep", "start: Linear"), ("Deep", "layers.0: Residual")
    inner = (*block, "inner: Linear")
    assert inside == [
        ("weight", start), ("bias", start), ("linear", start), ("weight", inner), ("bias", inner), ("linear", inner),
        ("tanh", block), ("add", block), ("mean", ("Deep",)), ("multiply", ()),
    ]  # fmt: skip


def test_a_module_whose_result_is_not_used_has_no_frame_and_takes_nothing_from_others():
    used, unused = nn.Linear(2, 2), nn.Linear(2, 2)
    both = nn.Sequential(used, unused)
    x = mg.ones((1, 2))
    seen = picture(lambda: (used(x), unused(x))[0].sum(), both)
    assert [vertex.frames for vertex in seen.vertices.values()] == [("0: Linear",)] * 3 + [()]
    assert seen["sum"].frames == ()
    assert seen.caption == "The result does not depend on 1.weight, 1.bias."


def test_a_module_of_one_op_needs_no_frame_and_gives_the_op_its_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    seen = picture(lambda: model(mg.ones((1, 2))).sum(), model)
    assert seen["1: relu"].frames == ("Sequential",)


def test_of_a_tensor_the_parameters_are_named_but_not_framed():
    model = nn.Sequential(nn.Linear(2, 2))
    seen = picture(model(mg.ones((1, 2))).sum(), model)
    assert seen["0.weight"].frames == ()


def test_a_model_is_left_as_it_was_also_after_an_error():
    model = Deep(3, 2)
    x = mg.ones((2, 3))
    before = mg.graph.draw(lambda: model(x), model).source
    with pytest.raises(ValueError, match="broke"):
        mg.graph.draw(lambda: (model(x), broken()), model)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert engine.mode.recording is True
    assert mg.graph.draw(lambda: model(x), model).source == before


def broken():
    raise ValueError("broke")


@pytest.mark.parametrize(
    ("loss", "params", "options", "error", "words"),
    [
        (lambda: leaf(1.0), None, {}, RuntimeError, "draw: wanted a Tensor computed from one with requires_grad=True"),
        (lambda: mg.ones(1) * 2.0, None, {}, RuntimeError, "draw: wanted a Tensor computed"),
        (lambda: 3.0, None, {}, RuntimeError, "draw: wanted a Tensor computed.*got 3.0"),
        (lambda: lambda: None, None, {}, RuntimeError, "draw: wanted a Tensor computed.*got None"),
        (lambda: leaf([1.0, 2.0]) * 2.0, None, {"gradients": True}, RuntimeError, "draw: the output has shape"),
        (lambda: leaf(1.0) * 2.0, 3, {}, TypeError, "draw: params wants names and Tensors.*got 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(loss, params, options, error, words):
    with pytest.raises(error, match=words):
        mg.graph.draw(loss(), params, **options)


def test_a_graph_that_was_freed_is_refused():
    loss = leaf(1.0) * 2.0
    loss.backward()
    with pytest.raises(RuntimeError, match="draw: backward has freed the graph"):
        mg.graph.draw(loss)


# ------------------------------------------------------------------------------------------------------- folding it


@cache
def chain():
    x = leaf(np.ones(3))
    for _ in range(2500):
        x = mg.tanh(x * 1.01)
    return x.sum(), None


@cache
def recurrence():
    w, u, b = leaf(np.eye(4) / 2), leaf(np.ones((4, 3))), leaf(np.zeros(4))
    h = mg.zeros(4, dtype=np.float64)
    for _ in range(1000):
        h = mg.tanh(w @ h + u @ np.ones(3) + b)
    return h.sum(), {"w": w, "u": u, "b": b}


@cache
def irregular():
    rng = np.random.default_rng(0)
    pool = [leaf(np.ones(3)) for _ in range(20)]
    for _ in range(6300):
        i, j = rng.integers(max(0, len(pool) - 30), len(pool), 2)
        pool.append([mg.add, mg.subtract, mg.maximum, mg.arctan2][rng.integers(4)](pool[i], pool[j]))
    return mg.stack(pool[-30:]).sum(), None


@cache
def wide():
    return mg.stack([mg.square(leaf(np.ones(2))) for _ in range(2500)]).sum(), None


@cache
def modules():
    model = Deep(4, 1250)
    x = mg.ones((2, 4))
    return lambda: model(x), model


FIVE_THOUSAND = pytest.mark.parametrize("make", [chain, recurrence, irregular, wide, modules])


@FIVE_THOUSAND
def test_five_thousand_nodes_become_forty_vertices_at_most(make):
    loss, params = make()
    seen = picture(loss, params)
    assert 2 < len(seen.vertices) <= 40
    assert len(picture(loss, params, limit=12).vertices) <= 12


def test_a_loop_is_drawn_once_with_its_number_of_rounds_and_an_arrow_to_the_next():
    loss, params = recurrence()
    seen = picture(loss, params)
    framed = [vertex.lines[0] for vertex in seen.vertices.values() if vertex.frames == ("× 999",)]
    assert framed == ["matmul", "matmul", "add", "add", "tanh"]  # the first round, on a constant, stands outside
    assert seen.dashed == [("tanh", "matmul", "y")]


def test_modules_that_repeat_are_drawn_once():
    loss, model = modules()
    seen = picture(loss, model)
    repeated = [vertex for vertex in seen.vertices.values() if vertex.frames[1:2] == ("layers.0: Residual × 1250",)]
    assert [vertex.lines[0] for vertex in repeated] == ["weight", "bias", "linear", "tanh", "add"]  # one in each round
    assert seen.dashed == [("add", "linear", "x"), ("add", "add", "x")]


def test_a_module_that_is_closed_says_what_is_in_it():
    loss, model = modules()
    seen = picture(loss, model, limit=6)
    assert seen["layers.0: Residual × 1250"].lines[1:] == [
        "→ (2, 4) float32",
        "3,750 ops: 1,250 linear, 1,250 tanh, 1,250 add",
        "2,500 leaves, 25,000 numbers",  # 1250 times a weight of 16 and a bias of 4
    ]


def test_leaves_that_each_round_has_of_its_own_are_one_by_argument():
    total = leaf(0.0)
    for _ in range(100):
        total = total + leaf(1.0) * leaf(2.0)
    seen = picture(total)
    rounds = [vertex.lines[0] for vertex in seen.vertices.values() if vertex.frames == ("× 98",)]
    assert rounds == ["leaf", "leaf", "add", "multiply"]

    assert all(vertex.lines[1] == "float32" for vertex in seen.vertices.values() if vertex.frames)  # no value


def test_a_closed_module_in_a_loop_says_what_is_in_it_in_one_round():
    loss, model = modules()
    assert picture(loss, model, limit=8)["inner: Linear"].lines[1:] == [
        "→ (2, 4) float32", "linear", "2 leaves, 20 numbers",
    ]  # fmt: skip


def test_what_comes_to_a_loop_from_outside_is_no_arrow_to_the_next_round():
    x = leaf(1.0)
    outside = [f(x) for f in (mg.sin, mg.cos, mg.exp, mg.tanh, mg.sinh, mg.cosh)]
    total = mg.square(x)
    for y in outside:
        total = total + y
    seen = picture(total, limit=10)
    assert seen.dashed == [("add × 5", "add × 5", "x")]
    assert {start for start, end, _ in seen.arrows if end == "add × 5"} == {
        "square",
        "sin",
        "cos",
        "exp",
        "tanh",
        "sinh",
    }


def test_leaves_of_one_op_are_one_where_there_are_many():
    loss, _ = wide()
    assert [vertex.lines[0] for vertex in picture(loss).vertices.values()] == [
        "leaf × 2500", "square × 2500", "expand_dims × 2500", "concatenate", "sum",
    ]  # fmt: skip


def test_many_leaves_of_one_op_are_one_and_few_stay_apart():
    many, a, b = [leaf([1.0]) for _ in range(100)], leaf([1.0]), leaf([2.0])
    seen = picture(mg.concatenate(many) * (a - b))
    assert sorted(vertex.lines[0] for vertex in seen.vertices.values()) == [
        "concatenate", "leaf", "leaf", "leaf × 100", "multiply", "subtract",
    ]  # fmt: skip


class Irregular(nn.Module):
    def forward(self):
        return irregular.__wrapped__()[0]  # computed anew, inside this call


def test_of_a_module_without_a_pattern_the_middle_is_left_out_and_the_rest_is_shown():
    model = Irregular()
    seen = picture(model, model)
    assert [vertex.frames for vertex in seen.vertices.values() if vertex.lines[0] == "…"] == [("Irregular",)]
    assert len(seen.vertices) > 20


def test_stretches_are_shortened_until_the_limit_holds():
    x = mg.ones((1, 2))
    for k in range(2, 32):  # no two layers of the same shape
        x = F.linear(x, leaf(np.ones((k + 1, k))), leaf(np.ones(k + 1)))
    assert len(picture(x, limit=12).vertices) <= 12


def test_the_middle_of_what_has_no_pattern_is_left_out():
    loss, _ = irregular()
    (gap,) = [vertex for vertex in picture(loss).vertices.values() if vertex.lines[0] == "…"]
    assert re.match(r"5,[01]\d\d ops: ", gap.lines[1])


def test_the_result_is_drawn_itself_also_at_the_end_of_a_loop():
    x = y = leaf(1.0)
    for _ in range(100):
        y = y * 1.0
    seen = picture(y, {"x": x})
    assert [vertex.lines for vertex in seen.vertices.values()] == [
        ["x", "float32 = 1"], ["multiply", "float32"], ["multiply × 98", "float32"], ["multiply", "float32 = 1"],
    ]  # fmt: skip


def test_what_stands_for_several_shows_neither_value_nor_gradient():
    loss, params = recurrence()
    seen = picture(loss, params, gradients=True)
    for vertex in seen.vertices.values():
        assert ("gradient" in vertex.lines[-1]) == (vertex.frames == ()), vertex


def test_without_a_limit_nothing_is_folded():
    x = leaf(1.0)
    for _ in range(300):
        x = x * 1.0
    assert len(picture(x, limit=None).vertices) == 301


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abcabcabcabc", (0, 3, 4)),
        ("xabcabcabcabcy", (1, 3, 4)),
        ("xbcabcabcabcabcy", (3, 3, 4)),  # bc comes first: the rest of a round is left in front
        ("aaaaaaaa", (0, 1, 8)),
        ("aaaxabababab", (4, 2, 4)),
        ("abcabcabc", (0, 0, 0)),  # three are not many
        ("abcdef", (0, 0, 0)),
        ("a", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_the_repeat_that_saves_most_is_found(text, expected):
    assert longest_repeat([ord(letter) for letter in text]) == expected


# A program: blocks that run several times, each a few binary ops on recent values, or on a leaf of its own.
steps = st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 6), st.booleans())
blocks = st.tuples(st.integers(1, 9), st.booleans(), st.lists(steps, min_size=1, max_size=5))
programs = st.lists(blocks, min_size=1, max_size=5)


class Steps(nn.Module):
    """Runs a block's ops once."""

    def __init__(self, ops):
        self.ops = ops

    def forward(self, pool):
        for op, i, j, fresh in self.ops:
            other = leaf(np.ones(2)) if fresh else pool[-1 - j % len(pool)]
            pool.append((mg.add, mg.multiply, mg.maximum, mg.subtract)[op](pool[-1 - i % len(pool)], other))
        return pool[-1]


class Program(nn.Module):
    """Runs blocks, some as modules, some without a frame of their own."""

    def __init__(self, blocks):
        self.blocks = [(times, framed, Steps(ops)) for times, framed, ops in blocks]

    def forward(self):
        pool = [leaf(np.ones(2)), leaf(np.zeros(2))]
        for times, framed, block in self.blocks:
            for _ in range(times):
                if framed:
                    block(pool)
                else:
                    block.forward(pool)
        return pool[-1].sum()


@given(programs, st.sampled_from([12, 20, 40, None]))
def test_folding_keeps_every_arrow_ties_no_knot_and_holds_the_limit(blocks, limit):
    program = Program(blocks)
    with mg.graph.calls_inside(program) as calls:
        loss = program()
    order = engine.walk([loss.node])[0][::-1]
    sketch = Sketch(order, calls, limit)
    places = sketch.folding.places()

    def vertex(node):
        drawn = sketch.folding.drawn(node)
        return places[drawn][0] if drawn in places else drawn

    edges = [(parent, node, k) for node in order for k, parent in enumerate(node.parents) if parent is not None]
    arrows = {(start, end) for start, end, _ in sketch.arrows}
    for parent, node, _ in edges:
        start, end = vertex(parent), vertex(node)
        hidden = isinstance(end, Box) and (start is end or start not in sketch.vertices)
        assert hidden or (start, end) in arrows
    solid = TopologicalSorter()
    for (start, end, _), same_round in sketch.arrows.items():
        if same_round:
            solid.add(end, start)
    solid.prepare()  # raises CycleError
    if limit is None:
        assert len(sketch.arrows) == len(edges) and all(sketch.arrows.values())
        assert set(sketch.vertices) == {node for edge in edges for node in edge[:2]}
    else:
        assert len(sketch.vertices) <= limit


# ------------------------------------------------------------------------------------------------ files and notebooks


def test_without_the_package_graphviz_one_line_says_which_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    drawing_class.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"draw: the package graphviz is missing.*\[viz\]") as caught:
            mg.graph.draw(leaf(1.0) * 2.0)
    finally:
        drawing_class.cache_clear()
    assert "\n" not in str(caught.value)


def test_without_dot_there_is_the_text_and_how_to_get_dot(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    drawing = mg.graph.draw(leaf(1.0) * 2.0)
    assert drawing.write(tmp_path / "graph.svg") == tmp_path / "graph.dot"
    assert (tmp_path / "graph.dot").read_text() == drawing.source
    assert not (tmp_path / "graph.svg").exists()
    assert re.search(r"need Graphviz's program `dot` \(apt install graphviz.*\n?.*graph.dot", capsys.readouterr().out)
    (text,) = drawing._repr_mimebundle_().items()
    assert text[0] == "text/plain" and "apt install graphviz" in text[1] and text[1].endswith(drawing.source)


def test_dot_text_can_be_asked_for(tmp_path, capsys):
    drawing = mg.graph.draw(leaf(1.0) * 2.0)
    assert drawing.write(str(tmp_path / "graph.dot")) == tmp_path / "graph.dot"
    assert (tmp_path / "graph.dot").read_text() == drawing.source and capsys.readouterr().out == ""


def test_other_formats_are_refused_before_a_file_is_made(tmp_path):
    with pytest.raises(ValueError, match=r"write: .*graph.txt' should end in .svg, .png, .pdf or .dot"):
        mg.graph.draw(leaf(1.0) * 2.0).write(tmp_path / "graph.txt")
    assert [*tmp_path.iterdir()] == []


def test_a_picture_is_a_graphviz_digraph():
    assert isinstance(mg.graph.draw(leaf(1.0) * 2.0), graphviz.Digraph)


@needs_dot
@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_with_dot_files_are_written(suffix, start, tmp_path):
    drawing = mg.graph.draw(leaf(1.0) * 2.0)
    before = drawing.source
    path = drawing.write(tmp_path / f"graph.{suffix}")
    assert drawing.source == before
    assert path.name == f"graph.{suffix}" and path.read_bytes().startswith(start)


@needs_dot
def test_with_dot_a_notebook_shows_the_picture():
    bundle = mg.graph.draw(leaf(1.0) * 2.0)._repr_mimebundle_(include=None, exclude=None)
    assert list(bundle) == ["image/svg+xml"] and "multiply" in bundle["image/svg+xml"]


@needs_dot
@FIVE_THOUSAND
def test_five_thousand_nodes_fit_on_a_page_legibly_and_without_overlap(make, tmp_path):
    loss, params = make()
    drawing = mg.graph.draw(loss, params)
    svg = drawing.write(tmp_path / "graph.svg").read_text()
    width, height = (float(re.search(rf'{side}="([\d.]+)pt"', svg)[1]) for side in ("width", "height"))
    assert width <= 7.5 * 72 + 1 and height <= 10.5 * 72 + 1
    shrunk = float(re.search(r"scale\(([\d.]+)", svg)[1])
    assert shrunk * 11 >= 5.5  # points
    plain = drawing.pipe(format="plain", encoding="utf-8").splitlines()
    boxes = [[float(number) for number in line.split()[2:6]] for line in plain if line.startswith("node")]
    for a, b in combinations(boxes, 2):
        apart = [abs(a[k] - b[k]) >= (a[k + 2] + b[k + 2]) / 2 - 1e-3 for k in (0, 1)]  # centre x, y, width, height
        assert any(apart)


@needs_dot
def test_real_networks_are_accepted_by_dot():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    images = mg.ones((2, 1, 8, 8))
    drawing = mg.graph.draw(lambda: F.cross_entropy(model(images), mg.tensor([0, 2])), model, gradients=True)
    assert "0: Conv2d" in drawing.pipe(format="svg", encoding="utf-8")


def test_the_pictures_in_the_docs_are_what_the_code_above_them_draws():
    docs = Path(__file__).parent.parent / "docs"
    text = (docs / "seeing.md").read_text()
    world = {}
    for example in doctest.DocTestParser().get_examples(text[: text.index("### Thousands")]):
        if "SKIP" not in example.source:
            exec(example.source, world)
    numbers = world["drawing"]
    for example in doctest.DocTestParser().get_examples(
        text[text.index("### Thousands") : text.index("graph_folded.svg")]
    ):
        exec(example.source, world)
    for drawing, name in ((numbers, "graph_numbers.svg"), (world["drawing"], "graph_folded.svg")):
        seen = Picture(drawing)
        labels = [line for vertex in seen.vertices.values() for line in (*vertex.lines, *vertex.frames)]
        labels += [port for _, _, port in seen.arrows if port]
        shown = re.findall(r"<text.*?>(.*?)</text>", (docs / "images" / name).read_text())
        words = [set(" ".join(each).replace("&#45;", "-").replace("&#160;", " ").split()) for each in (labels, shown)]
        assert words[0] == words[1]
