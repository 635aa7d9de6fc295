"""Write down what an installed CuPy offers, to tests/cupy/api.json. It needs the wheel, but no GPU.

    python -m tests.cupy.make_api

Functions and methods with their signatures, ufuncs with those of their methods that work. What a ufunc refuses it
refuses before it looks for a GPU; so an empty array, which needs none either, is enough to ask.
"""

import inspect
import json
from pathlib import Path

API = Path(__file__).with_name("api.json")


def signature(function):
    """As text: from Python, or for what is compiled from the first line of its documentation."""
    try:
        parameters = inspect.signature(function).parameters.values()
        plain = [p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else None) for p in parameters]
        return str(inspect.Signature(plain))
    except ValueError:
        return documented(function)


def documented(function):
    """``f(self, axis=None, out=None) -> x`` as ``(self, axis=None, out=None)``: names matter, and which have defaults."""
    line = (function.__doc__ or "").split("\n")[0]
    if "(" not in line:
        return None
    names = line[line.index("(") + 1 : line.rindex(")")].split(",")
    plain = [n.partition("=")[0].strip().split()[-1] + ("=None" if "=" in n else "") for n in names if n.strip()]
    return f"({', '.join(plain)})"


def works(ufunc, method, array):
    """Is there more to a ufunc's method than a refusal?"""
    arguments = {"reduce": (array,), "accumulate": (array,), "at": (array, slice(None), array)}
    try:
        getattr(ufunc, method)(*arguments[method])
    except NotImplementedError:
        return False
    except Exception:  # it went on, and missed the GPU, or what an empty array has not
        return True
    return True


def api():
    """All of it, as JSON holds it."""
    import cupy

    empty = cupy.ndarray.__new__(cupy.ndarray, (0,), _no_init=True)
    found = {"cupy": cupy.__version__, "functions": {}, "ufuncs": {}, "methods": {}, "attributes": []}
    for prefix, module in [("", cupy), ("linalg.", cupy.linalg)]:
        for name, value in vars(module).items():
            if name.startswith("_") or inspect.ismodule(value) or inspect.isclass(value) or not callable(value):
                continue
            if isinstance(value, cupy.ufunc):
                methods = [m for m in ("accumulate", "at", "reduce") if works(value, m, empty)]
                found["ufuncs"][prefix + name] = {"nin": value.nin, "methods": methods}
            else:
                found["functions"][prefix + name] = signature(value)
    for name in dir(cupy.ndarray):
        value = getattr(cupy.ndarray, name)
        if name.startswith("_"):
            continue
        if callable(value):
            found["methods"][name] = documented(value)
        else:
            found["attributes"].append(name)
    for kind in ("functions", "ufuncs", "methods"):
        found[kind] = dict(sorted(found[kind].items()))
    return found


def as_text(found):
    """JSON with one line per name, so that a new version shows as the lines that changed."""
    parts = []
    for key, value in found.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            parts.append(f'  "{key}": {{\n{lines}\n  }}')
        else:
            parts.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    API.write_text(as_text(api()), encoding="utf-8")
