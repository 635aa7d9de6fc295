"""The double refuses what CuPy refuses and counts what would cost time: planted mistakes, one of each kind."""

import numpy as np
import pytest

import minigrad as mg
from tests.cupy.double import Array, counted, own

HOST = np.arange(6.0).reshape(2, 3)


def device(a=HOST):
    return Array(np.array(a))


# What a rule or a step might do by mistake, on an array x of the device, and what becomes of it.
# fmt: off
REFUSED = {
    "an array of the host's beside it":      (lambda x: x * HOST, TypeError, "Unsupported type"),
    "the same, the other way round":         (lambda x: np.add(HOST, x), TypeError, "Unsupported type"),
    "the same, among arrays to be joined":   (lambda x: np.concatenate([x, HOST]), TypeError, "Unsupported type"),
    "the same, assigned":                    (lambda x: x.__setitem__(..., HOST), ValueError, "cannot be used"),
    "a conversion":                          (lambda x: np.asarray(x), TypeError, "Implicit conversion"),
    "a conversion within NumPy":             (lambda x: np.vectorize(abs)(x), TypeError, "Implicit conversion"),
    "a function that CuPy lacks":            (lambda x: np.nanquantile(x, 0.5), TypeError, "no implementation"),
    "a keyword that CuPy lacks":             (lambda x: np.argsort(x, stable=True), TypeError, "stable"),
    "a sum over a mask":                     (lambda x: np.sum(x, where=True), TypeError, "where"),
    "a maximum with an initial value":       (lambda x: x.max(initial=0), TypeError, "initial"),
    "a ufunc's keyword":                     (lambda x: np.exp(x, where=True), TypeError, "Unsupported"),
    "a ufunc's reduce":                      (lambda x: np.maximum.reduce(x), NotImplementedError, "maximum.reduce"),
    "a ufunc's accumulate":                  (lambda x: np.logaddexp.accumulate(x), NotImplementedError, "accumulate"),
    "np.add.at with a tuple as key":         (lambda x: np.add.at(x, (0, 1), 1.0), TypeError, "NotImplemented"),
    "np.ones by like=":                      (lambda x: np.ones(3, like=x), TypeError, "device"),
    "np.eye by like=":                       (lambda x: np.eye(3, like=x), TypeError, "device"),
    "a method that CuPy lacks":              (lambda x: x.setflags(write=False), AttributeError, "setflags"),
    "an element named twice, assigned":      (lambda x: x.__setitem__(Array(np.array([0, 0])), 1.0), ValueError, "twice"),
    "adding integers where they repeat":     (lambda x: x.astype(np.int64).scatter_add(0, 1), TypeError, "scatter_add"),
    "array -= tensor":                       (lambda x: x.__isub__(mg.zeros(3)), TypeError, "Unsupported type"),
    "two devices":                           (lambda x: x + Array(HOST, 1), ValueError, "same as the current device"),
}
COUNTED = {
    "a value that decides":        (lambda x: 1 if x.max() > 3 else 0, (0, 0, 1)),
    "item":                        (lambda x: x.sum().item(), (0, 0, 1)),
    "float":                       (lambda x: float(x.sum()), (0, 0, 1)),
    "a printed value":             (lambda x: f"{x!r}", (0, 0, 1)),
    "a copy to the host":          (lambda x: x.get(), (0, 1, 1)),
    "a list as index":             (lambda x: x[[0, 1]], (1, 0, 0)),
    "an index of the host's":      (lambda x: x[np.array([0])], (1, 0, 0)),
    "elements chosen by a mask":   (lambda x: x[x > 2], (0, 0, 1)),
    "a number set under a mask":   (lambda x: x.__setitem__(x > 2, 0.0), (0, 0, 0)),
    "arithmetic":                  (lambda x: np.exp(x @ x.T).sum(axis=0) * 2 - x[0, 0], (0, 0, 0)),
}
# fmt: on


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cupy_refuses_is_refused(kind):
    mistake, error, words = REFUSED[kind]
    with pytest.raises(error, match=words):
        mistake(device())


@pytest.mark.parametrize("kind", COUNTED)
def test_what_costs_time_is_counted(kind):
    f, expected = COUNTED[kind]
    x = device()
    with counted() as counts:
        f(x)
    assert (counts.to_device, counts.to_host, counts.waits) == expected


def test_reductions_stay_arrays():
    assert all(isinstance(z, Array) and z.shape == () for z in (device().sum(), device()[0, 0], np.max(device())))


def test_an_element_is_a_view():
    x = device()
    x[0, 1][...] = 7.0
    assert x.get()[0, 1] == 7


def test_indices_out_of_range_wrap_around():
    x = device(np.arange(3.0))
    assert x[Array(np.array([3, -4, 1]))].get().tolist() == [0, 2, 1]


def test_a_singular_matrix_gives_nan():
    assert np.isnan(np.linalg.inv(device(np.zeros((2, 2)))).get()).all()
    assert np.isnan(np.linalg.cholesky(device(-np.eye(2))).get()).all()


# ---------------------------------------------------------------------------------------- an array beside a Tensor


@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv", "pow", "matmul", "gt", "eq"])
def test_an_array_of_the_device_beside_a_tensor_asks_the_tensor(op, double):
    a = mg.tensor(np.arange(1.0, 5.0).reshape(2, 2), device="cuda")
    t = mg.tensor(np.full((2, 2), 2.0), requires_grad=True, device="cuda")
    z = getattr(a.data, f"__{op}__")(t)
    assert isinstance(z, mg.Tensor)
    assert np.array_equal(z.numpy(), getattr(a.numpy(), f"__{op}__")(t.numpy()))


def test_numpys_functions_take_the_two_together(double):
    a, t = mg.ones(3).to("cuda").data, mg.ones(3, requires_grad=True, device="cuda")
    assert isinstance(np.multiply(a, t), mg.Tensor)
    assert isinstance(np.concatenate([a, t]), mg.Tensor)


def test_cupys_own_functions_and_updates_in_place_refuse_a_tensor_beside_an_array(double):
    a, t = mg.ones(3).to("cuda").data, mg.ones(3, device="cuda")
    with pytest.raises(TypeError, match="Unsupported type.*Tensor"):
        own(np.multiply)(a, t)
    assert np.array_equal(own(np.multiply)(a, t.data).get(), [1, 1, 1])
    with pytest.raises(TypeError):
        a -= t
    a -= t.data
    assert not a.get().any()
