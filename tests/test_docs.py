"""The pages show all that they promise. Their code is run as doctests; what only Sphinx can see, `make docs` checks."""

import functools
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import minigrad
import optim
from minigrad.row import Row

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def test_the_table_of_derivatives_shows_every_module_that_has_rows():
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(minigrad.__path__, "minigrad.")]
    rows = [f for module in modules for f in vars(module).values() if isinstance(getattr(f, "row", None), Row)]
    shown = re.findall(r"^```\{derivatives\} (.+)$", (DOCS / "derivatives.md").read_text(), re.MULTILINE)
    assert len(rows) > 100
    assert {f.__module__ for f in rows} == set(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_python_is_a_doctest(page):
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    for language, text in blocks:
        if language in ("", "python", "py", "pycon"):
            assert text.startswith(">>> ")
            assert text.endswith("\n\n"), "leave a blank line before the closing fence, or it is taken for output"


def test_all_that_the_map_of_the_notes_names_exists():
    names = re.findall(r"`([^`]+)`", (DOCS / "optim" / "map.md").read_text())
    assert len(names) > 100
    for name in names:
        path, _, test = name.partition("::")
        if "/" in path:
            assert (DOCS.parent / path).is_file(), path
            assert f"def {test}(" in (DOCS.parent / path).read_text() or not test, name
        else:
            modules = {"mg": minigrad, "nn": minigrad.nn, "optim": optim}
            head, *rest = name.split(".")
            functools.reduce(getattr, rest, modules[head])  # AttributeError where it is not
