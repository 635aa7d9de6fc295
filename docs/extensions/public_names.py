"""What the reference shows of a module, and how it reads our docstrings.

Shown is what the module's docstring lists after "Public:"; of a package without such a list, what it imports and what
is public where that comes from. In a docstring an indented block after a blank line is code, and |x| an absolute value.

Public: `setup`, which Sphinx calls.
"""

import re
import sys
import types

from sphinx.util import logging

import minigrad
import optim

logger = logging.getLogger(__name__)


def skip(app, what, name, obj, skipped, options):
    """Called by autodoc for each member of a module or class: True leaves it out, None lets autodoc decide."""
    if what != "module":
        return None
    home = getattr(obj, "__module__", None) or ""
    if isinstance(obj, types.ModuleType) or not home.startswith(("minigrad", "optim")):
        return True  # np, Any, Path
    if home.startswith("minigrad.ops") and app.env.docname == "api/tensors":
        return True  # the table has a page of its own
    listed = names(app.env.temp_data["autodoc:module"]) or names(home)
    if listed:
        return f"`{name}`" not in listed or None
    return (home.startswith("minigrad.ops") and getattr(minigrad, name, None) is not obj) or None  # a rule's helper


def names(module):
    """What a module's docstring says after "Public:"; "" where it says nothing."""
    return (re.findall(r"Public: (.*?)(?:\n\n|$)", sys.modules[module].__doc__ or "", re.DOTALL) or [""])[0]


def read(app, what, name, obj, options, lines):
    """Called by autodoc for each docstring, before it is taken for reStructuredText; changes its lines in place."""
    result, before, code = [], 0, None  # `code` is the indentation of the block of code that we are in
    for k, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip():
            if code is not None and indent < code:
                code = None
            if code is None and k and not lines[k - 1].strip() and indent > before:
                code = indent
                result += [" " * before + "::", ""]
            before = indent
        if code is None and ">>>" not in line:
            line = "``".join(
                part.replace("|", "\\|") if i % 2 == 0 else part for i, part in enumerate(line.split("``"))
            )
        result.append(line)
    lines[:] = result


def miss(app, env):
    """Warn of every function and class that a package makes public and no page shows."""
    shown = {full.rpartition(".")[2] for full, *_ in env.get_domain("py").get_objects()}
    for package in (minigrad, minigrad.autograd, minigrad.functional, minigrad.nn, optim):
        for name, obj in vars(package).items():
            ours = getattr(obj, "__module__", "").startswith(("minigrad", "optim"))
            if callable(obj) and ours and name[0] != "_" and obj.__name__ not in shown:
                logger.warning("%s.%s is in no page: has it a docstring?", package.__name__, name)


def setup(app):
    app.connect("autodoc-skip-member", skip)
    app.connect("env-check-consistency", miss)
    app.connect("autodoc-process-docstring", read, priority=400)  # napoleon comes at 500
    return {"parallel_read_safe": True}
