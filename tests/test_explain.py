"""What `mg.explain` prints, and that it leaves no trace."""

import ast

import numpy as np
import pytest

import minigrad as mg
from minigrad import engine, nn
from minigrad.explain import rule_text


def leaf(data, **options):
    return mg.tensor(data, requires_grad=True, **options)


def explained(capsys, *args, **options):
    """The printed lines after the header, each as its columns: node, op, shape, gradient, the rest."""
    assert mg.explain(*args, **options) is None
    header, *lines = capsys.readouterr().out.splitlines()
    starts = [header.index(word) for word in ("node", "op", "shape", "gradient", "sends")]
    return [[line[i:j].strip() for i, j in zip(starts, [*starts[1:], None])] for line in lines]


def test_each_node_waits_for_all_its_gradients_and_then_goes_once(capsys):
    a = leaf(3.0)
    b = a + a
    c = b + b
    assert explained(capsys, c, {"a": a, "b": b, "c": c}) == [
        ["c", "add", "()", "1", "x: g = 1 → b,  y: g = 1 → b"],
        ["b", "add", "()", "1 + 1 = 2", "x: g = 2 → a,  y: g = 2 → a"],
        ["a", "leaf", "()", "2 + 2 = 4", ""],
    ]


def test_the_numbers_are_the_derivatives_by_hand(capsys):
    x, y = leaf(2.0), leaf(5.0)
    lines = explained(capsys, mg.square(x * y), {"x": x, "y": y})  # z = (xy)²: 2xy = 20, then 20 y = 100 and 20 x = 40
    assert [line[3] for line in lines] == ["1", "20", "100", "40"]
    assert lines[1][4] == "x: g * y = 100 → x,  y: g * x = 40 → y"


def test_lines_come_youngest_first_and_unnamed_nodes_are_numbered_by_age(capsys):
    x = leaf(0.5)
    assert [line[0] for line in explained(capsys, mg.exp(mg.sin(x * 2.0)))] == ["#3", "#2", "#1", "leaf 1"]


def test_an_array_of_many_elements_is_shown_by_its_norm(capsys):
    x = leaf(np.zeros(3)), leaf(np.zeros((3, 3)))
    assert explained(capsys, x[0].sum())[1][3] == "[1, 1, 1]"
    assert explained(capsys, x[1].sum())[1][3] == "norm 3"  # √(9 · 1²)


def test_a_sum_of_many_gradients_is_abridged(capsys):
    x = leaf(1.0)
    total = x * 1.0
    for factor in (2.0, 3.0, 4.0, 5.0, 6.0):
        total = total + x * factor
    assert explained(capsys, total)[-1][3] == "6 + 5 + … 3 more … + 1 = 21"


def test_arguments_of_joined_tensors_are_told_apart(capsys):
    x = leaf([1.0])
    lines = explained(capsys, mg.concatenate([x, x]).sum(), {"x": x})
    assert lines[1][4].startswith("xs[0]: part(g, i, axis, bounds) = 1 → x,  xs[1]: ")


def test_names_may_come_from_a_module(capsys):
    model = nn.Linear(2, 1)
    loss = model(mg.ones((1, 2))).sum()
    for params in (model, model.named_parameters(), dict(model.named_parameters())):
        assert {line[0] for line in explained(capsys, loss, params)} == {"#2", "#1", "weight", "bias"}


def test_it_leaves_gradients_hooks_and_the_graph_alone(capsys):
    x = leaf([1.0, 2.0])
    y = x * x
    y.retain_grad()
    seen = []
    x.register_hook(lambda g: seen.append(g))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t))
    loss = y.sum()
    mg.explain(loss)
    assert x.grad is None and y.grad is None and seen == []
    loss.backward()
    assert x.grad.numpy().tolist() == [2.0, 4.0] and y.grad.numpy().tolist() == [1.0, 1.0] and len(seen) == 2


def test_it_works_under_no_grad_and_leaves_the_mode_as_it_was():
    loss = leaf(1.0) * 2.0
    with mg.no_grad():
        mg.explain(loss)
        assert engine.mode.recording is None
    assert engine.mode.recording is True


def test_a_leaf_explains_itself_without_getting_a_gradient(capsys):
    x = leaf(1.0)
    assert explained(capsys, x) == [["leaf 1", "leaf", "()", "1", ""]]
    assert x.grad is None


def test_a_large_graph_is_cut_with_a_word(capsys):
    x = y = leaf(1.0)
    for _ in range(9):
        y = y * 1.0
    lines = explained(capsys, y, limit=4)
    assert len(lines) == 5
    mg.explain(y, limit=4)
    assert capsys.readouterr().out.endswith("… and 6 more: limit=10 prints them, mg.graph.draw(loss) folds them\n")
    assert x.grad is None


@pytest.mark.parametrize(
    ("loss", "params", "error", "words"),
    [
        (lambda: leaf([1.0, 2.0]) * 2.0, None, RuntimeError, r"explain: the output has shape \(2,\)"),
        (lambda: mg.ones(1) * 2.0, None, RuntimeError, "explain: the output was not computed"),
        (lambda: leaf(1.0) * 2.0, 3, TypeError, "explain: params wants names and Tensors.*got 3"),
        (lambda: leaf(1.0) * 2.0, [leaf(1.0)], TypeError, "explain: params wants names and Tensors"),
        (lambda: leaf(1.0) * 2.0, {"x": 1.0}, TypeError, "explain: params wants names and Tensors"),
    ],
)
def test_what_cannot_be_explained_is_refused(loss, params, error, words):
    with pytest.raises(error, match=words):
        mg.explain(loss(), params)


def test_a_graph_that_was_freed_is_refused():
    loss = leaf(1.0) * 2.0
    loss.backward()
    with pytest.raises(RuntimeError, match="freed"):
        mg.explain(loss)


# ------------------------------------------------------------------------------------------------- the text of a rule


def test_every_rule_of_the_table_has_a_text_that_is_an_expression():
    ours = [f for f in engine.TABLE.values() if hasattr(f, "row") and f.__module__.startswith("minigrad.")]
    rows = {function.row for function in ours}
    texts = [rule_text(row, row.names.index(name)) for row in rows for name in row.rules]
    assert len(texts) > 80
    for text in texts:
        assert isinstance(ast.parse(text, mode="eval").body, ast.expr), text


def test_a_rule_over_several_lines_and_beside_other_letters_is_found():
    # fmt: off
    twice = mg.op(lambda x, y: 2 * x + y, x=lambda g: (2 *
                                                         g), y=lambda g: {"é": g * 1.0}["é"])
    # fmt: on
    assert rule_text(twice.row, 0) == "2 * g"
    assert rule_text(twice.row, 1) == '{"é": g * 1.0}["é"]'


def test_a_rule_without_source_goes_by_its_argument():
    world = {"op": mg.op, "__name__": "made_by_exec"}
    exec("triple = op(lambda x: 3 * x, x=lambda g: 3 * g)", world)
    assert rule_text(world["triple"].row, 0) == "rule for x"
