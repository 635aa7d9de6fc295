"""How Sphinx builds the book. `make docs` runs it, with warnings as errors; nothing is fetched from a network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

project = "minigrad"
author = "the minigrad authors"
copyright = author  # the licence is MIT, see LICENSE

# mathml, derivatives, drawings, public_names and stories are ours, in docs/extensions
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "derivatives",
    "drawings",
    "public_names",
    "stories",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "minigrad"
html_show_copyright = False
html_show_sphinx = False
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["book.css"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
highlight_options = {"python": {"stripnl": True}}  # the empty line that ends a doctest in a page is not for readers
default_role = "literal"  # `x` in a docstring is code

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False  # a method that only overrides is told of where it is introduced
autodoc_typehints = "none"  # shapes and dtypes are in the text; the types say Any where three kinds of array may come
add_module_names = False
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
