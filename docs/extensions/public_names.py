"""What the reference shows of a module, and how it reads our docstrings.

Shown is what a module's docstring lists after "Public:", or what a package imports to make it public; not what a module
merely imports, nor helpers. In a docstring an indented block after a blank line is code, and |x| is an absolute value.

Public: `setup`, which Sphinx calls.
"""

import re
import sys
import types

import minigrad


def skip(app, what, name, obj, skipped, options):
    """Called by autodoc for each member of a module or class: True leaves it out, None lets autodoc decide."""
    if what != "module":
        return None
    home = getattr(obj, "__module__", None) or ""
    if isinstance(obj, types.ModuleType) or not home.startswith(("minigrad", "optim")):
        return True  # np, Any, Path
    if home.startswith("minigrad.ops"):  # the table has a page of its own, without the helpers of its rules
        return app.env.docname == "api/tensors" or getattr(minigrad, name, None) is not obj or None
    listed = re.search(r"Public: (.*?)(\n\n|$)", sys.modules[home].__doc__ or "", re.DOTALL)
    return (listed is not None and f"`{name}`" not in listed[1]) or None


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
            line = "``".join(part.replace("|", "\\|") if i % 2 == 0 else part for i, part in enumerate(line.split("``")))
        result.append(line)
    lines[:] = result


def setup(app):
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", read, priority=400)  # napoleon comes at 500
    return {"parallel_read_safe": True}
