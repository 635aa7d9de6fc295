"""The table of derivatives, rendered from the code: every row of a module, its arguments, and the text of its rules.

    ```{derivatives} minigrad.ops.elementwise
    ```

A rule written as a lambda is shown as it stands there; a longer one with its whole source.

Public: `setup`, which Sphinx calls.
"""

import importlib
import inspect

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from minigrad.explain import rule_text
from minigrad.row import Row


class Derivatives(SphinxDirective):
    required_arguments = 1

    def run(self):
        module = importlib.import_module(self.arguments[0])
        self.env.note_dependency(module.__file__)  # the page is built again when the table changes
        rows = {}  # by function, so that one with two names is shown once, under its first
        for name, f in vars(module).items():
            if isinstance(getattr(f, "row", None), Row) and f.__module__ == module.__name__:
                rows.setdefault(f.row, name)
        lines = [line for row, name in rows.items() for line in lines_of(name, row)]
        constants = [name for row, name in rows.items() if not row.rules]
        result = [table(["function", "argument", "rule: the gradient of the argument, given g"], lines)]
        if constants:
            names = [part for name in constants for part in (nodes.literal(text=name), nodes.Text(", "))]
            result.append(nodes.paragraph("", "No derivative, and none needed: ", *names[:-1], nodes.Text(".")))
        return result


def lines_of(name, row):
    """A line of the table per rule of a row; the function's name stands beside all of them."""
    arguments = [argument for argument in row.names if argument in row.rules]
    for k, argument in enumerate(arguments):
        cells = [code(f"*{argument}" if row.variadic else argument), rule(row, argument)]
        if k == 0:
            also = "" if row.name == name else f" ({row.name})"  # what graphs and messages call it
            cells.insert(0, code(name + also, morerows=len(arguments) - 1))
        yield nodes.row("", *cells)


def rule(row, argument):
    """The text of a rule: a lambda's formula, or the source of a function."""
    function = row.rules[argument]
    if function.__name__ == "<lambda>":
        return code(rule_text(row, row.names.index(argument)))
    return nodes.entry("", nodes.literal_block(text=inspect.getsource(function).rstrip(), language="python"))


def code(text, **options):
    """A cell of the table with a word of code in it."""
    return nodes.entry("", nodes.paragraph("", "", nodes.literal(text=text)), **options)


def table(head, lines):
    """A docutils table of rows."""
    titles = nodes.row("", *(nodes.entry("", nodes.paragraph("", title)) for title in head))
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (18, 12, 70)), cols=len(head))
    group += [nodes.thead("", titles), nodes.tbody("", *lines)]
    return nodes.table("", group, classes=["derivatives", "colwidths-given"])


def setup(app):
    app.add_directive("derivatives", Derivatives)
    return {"parallel_read_safe": True}
