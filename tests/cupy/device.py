"""To a device and back: what the tests on the double share."""

import contextlib

import numpy as np

import minigrad as mg
from minigrad.backend import is_array, to_device
from tests.cupy.double import counted


def there(x, device="cuda"):
    """Tensors and arrays on a device, also in tuples and lists; what is neither stays."""
    if isinstance(x, (tuple, list)):
        return type(x)(there(part, device) for part in x)
    if isinstance(x, mg.Tensor):
        return mg.tensor(x, requires_grad=x.requires_grad, device=device)
    return to_device(x, device) if is_array(x) else x


def flat(x):
    """The Tensors and arrays in a result, as NumPy's arrays."""
    if isinstance(x, (tuple, list)):
        return [array for part in x for array in flat(part)]
    if isinstance(x, mg.Tensor):
        x = x.data
    return [to_device(x, "cpu")] if is_array(x) else [np.asarray(x)]


def same(a, b):
    """Bit for bit, and dtype for dtype?"""
    return len(a) == len(b) and all(
        x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b)
    )


@contextlib.contextmanager
def free():
    """What happens inside copies nothing between host and device, and waits for nothing."""
    with counted() as counts:
        yield
    assert counts.nothing, counts
