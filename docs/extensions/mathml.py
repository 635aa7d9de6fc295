r"""Formulas as MathML, which browsers draw by themselves: no JavaScript, no fonts, no LaTeX, nothing to fetch.

The translation is docutils' own, which Sphinx brings along. A formula that it cannot read is a warning, and with that
an error.

Public: `setup`, which Sphinx calls.
"""

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def write(translator, node, block):
    try:
        formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        formula = translator.encode(node.astext())
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer(
        "mathml",
        (lambda translator, node: write(translator, node, block=False), None),
        (lambda translator, node: write(translator, node, block=True), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
