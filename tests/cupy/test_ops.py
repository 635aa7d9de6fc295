"""Every row of the table, on the double: NumPy's numbers in values and two derivatives, nothing copied or waited for."""

from dataclasses import replace

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops import indexing, linalg, shapes
from tests.cupy.device import flat, same, there
from tests.cupy.double import counted
from tests.ops.cases import CASES

QUICK = {id(case) for case in {case.op: case for case in reversed(CASES)}.values()}  # the first case of each row
every = pytest.mark.parametrize(
    "case", [pytest.param(c, id=str(c), marks=[] if id(c) in QUICK else pytest.mark.slow) for c in CASES]
)

# What waits, or copies, and why: a move; a look for indices named twice; a look for singular matrices.
COSTLY = (shapes.moved, shapes.to, mg.index_put, linalg.det, linalg.slogdet, linalg.logabsdet)
INDEXED = (mg.index_put, mg.index_add, indexing.getitem, indexing.read, indexing.scatter, indexing.put, indexing.added)


def everything(case, xs):
    """The results, and the first and second derivatives of their squares."""

    def gradients(ys, create_graph):
        ys = [y for y in ys if isinstance(y, mg.Tensor) and y.requires_grad]
        found = mg.grad([(y * y).sum() for y in ys], leaves, create_graph=create_graph, allow_unused=True) if ys else ()
        return [g for g in found if g is not None]

    leaves = [x for x in xs if isinstance(x, mg.Tensor)]
    result = case(*xs)
    results = [*result] if isinstance(result, (tuple, list)) else [result]
    first = gradients(results, True)
    return [results, first, gradients(first, False)]


@every
def test_on_the_double_a_row_gives_numpys_numbers_and_is_free(case, double):
    expected = flat(everything(case, case.tensors()))
    xs, case = there(case.tensors()), replace(case, args=there(case.args))
    with counted() as counts:
        found = everything(case, xs)
    assert same(flat(found), expected)
    if case.op not in COSTLY:
        assert counts.to_host == 0
        keys = [k for k in case.args if isinstance(k, (list, tuple))]
        masks = any(getattr(k, "dtype", None) == np.bool_ for k in (*case.args, *(k for key in keys for k in key)))
        assert counts.waits == 0 or (case.op in INDEXED and masks)
        assert counts.to_device == 0 or any(
            isinstance(k, list) for k in (*case.args, *(k for key in keys for k in key))
        )
