"""Would CuPy take every call that the source makes of NumPy? Read from the source alone, against CuPy's frozen API.

    python -m tests.cupy.conformance            prints each call that CuPy would not take, and where it stands

The double sees only what a test runs; this sees every line. It reads the files whose arrays can lie on a GPU, and knows
what an array is by how it is used: ``np.f(...)`` wherever it stands, and methods that only arrays have. What is meant
for the host alone is listed in `HOST`, with its reason.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from tests.cupy.double import API, SPECIAL, signature

ROOT = Path(__file__).parent.parent.parent

# Files whose arrays never lie on a device, as what they compute is small, drawn, or saved.
# fmt: off
HOST_FILES = {
    "minigrad/backend.py":        "is where worlds part",
    "minigrad/saving.py":         "writes what to_device brought to the host",
    "minigrad/folding.py":        "counts rounds of a picture",
    "minigrad/graph.py":          "draws",
    "minigrad/sketch.py":         "draws",
    "minigrad/history.py":        "keeps numbers to plot",
    "minigrad/data.py":           "orders and splits indices, which are the host's",
    "minigrad/checking.py":       "compares numbers with difference quotients",
    "minigrad/derivatives.py":    "builds the matrices of a small check",
    "minigrad/anomaly.py":        "shows the numbers that it found",
    "minigrad/explain.py":        "prints",
    "minigrad/creation.py":       "makes arrays on the host and moves them",
    "minigrad/nn/init.py":        "draws on the host and moves",
    "optim/averages.py":          "fits weights to a series of numbers",
    "optim/checks.py":            "looks at settings",
    "optim/distributed/mpi.py":   "brings to the host what MPI is to send",
}
HOST_FOLDERS = ("optim/landscape", "optim/trajectory", "optim/lr_scheduler")

# Calls of the host's in files that are not: (file, what is called) and why.
HOST = {
    ("minigrad/ops/shapes.py", "np.asarray"):                "pad_width: numbers",
    ("minigrad/ops/elementwise.py", "np.vectorize"):         "erf without SciPy, on the CPU",
    ("minigrad/tensor.py", "np.array"):                      "what a user gives; and what a user asks to be NumPy's",
    ("minigrad/tensor.py", "np.array2string"):               "repr",
    ("optim/distributed/serving.py", "np.array"):            "headers: a few integers",
    ("optim/distributed/parameter_server.py", "np.array"):   "integers that were written down",
    ("minigrad/functional/losses.py", "np.asarray"):         "a list of classes",
    ("minigrad/nn/utils.py", "np.zeros"):                    "the norm of no gradients at all",
    ("optim/distributed/buckets.py", "np.array"):            "losses and flags",
    ("optim/distributed/replicas.py", "np.array"):           "a checksum",
    ("optim/distributed/data_parallel.py", "np.array"):      "how many examples",
    ("optim/distributed/pipeline.py", "np.array"):           "times; what a state gathered on the host is copied to",
    ("optim/distributed/pipeline.py", "np.zeros"):           "headers, times and the loss",
    ("optim/distributed/pipeline.py", "np.empty"):           "a state is gathered on the host",
    ("minigrad/functional/activations.py", "np.polynomial.chebyshev.cheb2poly"): "coefficients",
}
# fmt: on

# No functions of arrays: types, constants, and what NumPy asks itself.
NOT_CALLED = {"can_cast", "promote_types"}
ARRAY_METHODS = {name for name in dir(np.ndarray) if not name.startswith("_")}
# Names of methods that other objects have too: only their presence in CuPy is asked, where the object is no array.
SHARED = {*dir(dict), *dir(list), *dir(str), *dir(set), "item", "dump", "fill"}
MODULES = {"backend.to_device"}  # a module's function, with a name that arrays have too
WITHOUT_DEVICE = {"ones", "full", "eye"}  # NumPy 2 adds device= when it hands these over by like=, and CuPy lacks that


def files():
    """The files that are read."""
    for path in sorted([*ROOT.glob("minigrad/**/*.py"), *ROOT.glob("optim/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if name not in HOST_FILES and not name.startswith(HOST_FOLDERS):
            yield name, path.read_text(encoding="utf-8")


def dotted(node):
    """``np.linalg.inv`` as text, of an expression that is such a name; else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return None


def binds(text, call, leading=0):
    """Can a call's arguments be those of a signature? `leading` are arguments before the call's own (self)."""
    keywords = {k.arg: None for k in call.keywords if k.arg and k.arg != "like"}
    starred = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
    try:
        bind = signature(text).bind_partial if starred else signature(text).bind
        bind(*[None] * (leading + sum(not isinstance(a, ast.Starred) for a in call.args)), **keywords)
    except TypeError as error:
        return str(error)
    return None


class Reader(ast.NodeVisitor):
    """Collects (line, what is wrong) of one file."""

    def __init__(self, file):
        self.file, self.found, self.called = file, [], set()

    def wrong(self, node, what):
        self.found.append((node.lineno, what))

    def visit_Call(self, node):
        self.called.add(id(node.func))
        name = dotted(node.func)
        if name and name.startswith("np."):
            self.numpy(node, name.removeprefix("np."))
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ARRAY_METHODS and name not in MODULES:
            self.method(node)
        elif name in ("float", "int", "bool") and self.file.startswith("minigrad/functional"):
            self.wrong(node, f"{name}(...) of an array waits for the device")
        self.generic_visit(node)

    def numpy(self, node, name):
        if (self.file, f"np.{name}") in HOST or name in NOT_CALLED or isinstance(getattr_path(name), type):
            return
        like = any(k.arg == "like" for k in node.keywords)
        if like and name in WITHOUT_DEVICE:
            self.wrong(node, f"np.{name}(like=...): NumPy hands CuPy a device= that it does not take")
        elif name in ("asarray", "array", "ascontiguousarray"):
            self.wrong(node, f"np.{name} cannot read a device's array")
        elif name in ("zeros", "ones", "full", "empty", "arange", "eye", "identity") and not like:
            self.wrong(node, f"np.{name} without like= makes an array of the host's")
        elif name in API["functions"]:
            if problem := binds(API["functions"][name], node):
                self.wrong(node, f"np.{name}: {problem}")
        elif name in API["ufuncs"]:
            extra = {k.arg for k in node.keywords} - {"out", "dtype"}
            if extra:
                self.wrong(node, f"np.{name}: CuPy's ufuncs have no {', '.join(map(str, extra))}=")
        else:
            self.unknown(node, name)

    def unknown(self, node, name):
        base, _, method = name.rpartition(".")
        if base in API["ufuncs"] and method in ("at", "reduce", "accumulate", "outer", "reduceat"):
            if method == "at":
                self.wrong(node, f"np.{name} reaches CuPy with plain arrays as key only: use backend.add_at")
            elif method not in API["ufuncs"][base]["methods"]:
                self.wrong(node, f"np.{name}: CuPy's {base} has no {method}")
        else:
            self.wrong(node, f"np.{name}: CuPy has no such function")

    def method(self, node):
        name = node.func.attr
        if name not in API["methods"]:
            if name not in SHARED:
                self.wrong(node, f".{name}(): CuPy's arrays have no such method")
        elif name not in SHARED and (problem := binds(API["methods"][name], node, leading=1)):
            self.wrong(node, f".{name}(): {problem}")

    def visit_Attribute(self, node):
        """A function of NumPy's that is named, not called: op(np.add)."""
        name = dotted(node)
        if name and name.startswith("np.") and id(node) not in self.called:
            short = name.removeprefix("np.")
            value = getattr_path(short)
            if isinstance(value, np.ufunc) and not {short} & {*API["ufuncs"], *API["functions"], *SPECIAL}:
                self.wrong(node, f"np.{short}: CuPy has no such function")
            return
        self.generic_visit(node)


def getattr_path(name):
    """What a dotted name is in NumPy, or None."""
    value = np
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def violations(file, source):
    """(line, what is wrong) of a file's text."""
    reader = Reader(file)
    reader.visit(ast.parse(source))
    return sorted(reader.found)


def of_rows(functions=None):
    """What is wrong with the rows of the table themselves: they hand NumPy's function all of its arguments."""
    from minigrad import engine

    for function in [engine.TABLE[f] for f in engine.BUILT_IN] if functions is None else functions:
        row = getattr(function, "row", None)
        if (
            row is None
            or isinstance(row.forward, np.ufunc)
            or (row.forward.__module__ or "").partition(".")[0] != "numpy"
        ):
            continue
        name = ".".join([*row.forward.__module__.split(".")[1:], row.forward.__name__])
        text = API["functions"].get(name)
        if text is None or not {*row.names[1:]} <= {*signature(text).parameters}:
            yield f"row {row.name}: hands numpy.{name} the arguments {row.names}, CuPy takes {text}"


if __name__ == "__main__":
    for _file, _source in files():
        for _line, _what in violations(_file, _source):
            print(f"{_file}:{_line}: {_what}")
    for _what in of_rows():
        print(_what)
