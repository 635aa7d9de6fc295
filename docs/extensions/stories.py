"""An example's story: the question and the text of its docstring, what it printed, what it drew.

    ```{story} moons
    moons.png
    ```

The docstring of examples/moons.py, up to its question mark, is the heading. What it printed is in
examples/output/moons.txt, where `make docs` puts it; the pictures are beside that.

Public: `setup`, which Sphinx calls.
"""

import ast
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

EXAMPLES = Path(__file__).parents[2] / "examples"


class Story(SphinxDirective):
    required_arguments = 1
    has_content = True

    def run(self):
        name = self.arguments[0]
        file = EXAMPLES / f"{name}.py"
        self.env.note_dependency(str(file))
        question, mark, story = ast.get_docstring(ast.parse(file.read_text())).partition("?")
        parts = [
            f"## {question}{mark}",
            story.strip(),
            f"```{{literalinclude}} ../examples/output/{name}.txt\n:language: text\n:caption: It prints\n```",
            *(f"![{question}](../examples/output/{picture})" for picture in self.content if picture),
        ]
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def setup(app):
    app.add_directive("story", Story)
    return {"parallel_read_safe": True}
