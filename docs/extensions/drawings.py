"""Pictures that a page's own code makes while the page is built.

    ```{drawing} figure
    What is to be seen.
    ```

The doctests of the page that stand above are run, and the Matplotlib figure that the name holds by then is shown.

Public: `setup`, which Sphinx calls.
"""

import contextlib
import doctest
import io
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class Drawing(SphinxDirective):
    required_arguments = 1
    has_content = True

    def run(self):
        page = Path(self.env.doc2path(self.env.docname))
        above = "\n".join(page.read_text().splitlines()[: self.lineno - 1])
        figure = variables_after(above, str(page))[self.arguments[0]]
        picture = f"_build/drawings/{self.env.docname.replace('/', '_')}_{self.arguments[0]}.png"
        path = Path(self.env.srcdir, picture)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        caption = "\n".join(self.content)
        return [
            nodes.figure(
                "",
                nodes.image(uri=f"/{picture}", alt=caption),
                nodes.caption(caption, "", *self.parse_inline(caption)[0]),
            )
        ]


def variables_after(text, name):
    """What a page's doctests leave behind. That they print what they promise is tested elsewhere."""
    variables = {}
    examples = doctest.DocTestParser().get_examples(text, name)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # a page may write files
        for example in examples:
            wanted = Exception if example.exc_msg else ()
            with contextlib.suppress(wanted), contextlib.redirect_stdout(io.StringIO()):
                if not example.options.get(doctest.SKIP):
                    exec(compile(example.source, name, "single"), variables)
    return variables


def setup(app):
    app.add_directive("drawing", Drawing)
    return {"parallel_read_safe": True}
