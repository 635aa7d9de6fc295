"""What must not be done with Tensors: each bad call names the culprit and leaves everything as it was.

One table: the exception, words its message must hold, and the call. `x` is float64 (2,) and needs a gradient, `w` is (2, 3),
`c` needs none, `n` holds integers, `y` is computed from x.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F


def fresh():
    x = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    w = mg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    spent = (x * x).sum()
    spent.backward()
    x.grad = None
    return SimpleNamespace(
        x=x, w=w, c=mg.tensor(np.array([3.0, 4.0])), n=mg.tensor([1, 2]), y=x * x, loss=(x * x).sum(), spent=spent
    )


def state(s):
    return [
        (t.data.copy(), t.requires_grad, None if t.grad is None else t.grad.data.copy()) for t in (s.x, s.w, s.c, s.n)
    ]


class Foreign:
    """An object minigrad knows nothing of."""


def assign(s):
    s.x[0] = 1.0


def augment(s):
    s.x -= 1.0


def set_item_of_constant(s):
    s.c[0] = 1.0


def set_requires_grad_inside(s):
    s.y.requires_grad = False


def set_grad_of_wrong_shape(s):
    s.x.grad = mg.ones(3, dtype=np.float64)


def set_grad_to_an_array(s):
    s.x.grad = np.ones(2)


def in_place_too_large(s):
    with mg.no_grad():
        s.x -= np.ones((3, 2))


def hook_of_wrong_shape(s):
    s.loss.register_hook(lambda g: mg.ones(5))
    s.loss.backward()


def wrong_rule(s):
    mg.op(lambda a: a * 1.0, a=lambda g: np.ones(7))(s.x).sum().backward()


# fmt: off
BAD = {
    # making
    "complex numbers":              (TypeError, ["complex128", "tensor"],        lambda s: mg.tensor(1j)),
    "strings":                      (TypeError, ["dtype", "tensor"],             lambda s: mg.tensor(["a"])),
    "objects":                      (TypeError, ["object"],                      lambda s: mg.tensor([None])),
    "a ragged list":                (ValueError, ["ragged"],                     lambda s: mg.tensor([[1.0], [1.0, 2.0]])),
    "a list of Tensors":            (TypeError, ["mg.stack", "concatenate"],     lambda s: mg.tensor([s.x, s.x])),
    "an array of Tensors":          (TypeError, ["needs a gradient", "stack"],   lambda s: np.array([s.x, s.x])),
    "asarray of a recorded Tensor": (TypeError, ["detach"],                      lambda s: np.asarray(s.y)),
    "integers with gradients":      (TypeError, ["only floats", "int64"],        lambda s: mg.tensor([1], requires_grad=True)),
    "an unknown device":            (ValueError, ["tpu"],                        lambda s: mg.tensor(1.0, device="tpu")),
    "an unknown dtype":             (TypeError, ["complex64"],                   lambda s: mg.tensor(1.0, dtype=np.complex64)),
    "wrapping a list":              (TypeError, ["mg.tensor", "list"],           lambda s: mg.Tensor([1.0])),
    "a default dtype of integers":  (TypeError, ["set_default_dtype", "int64"],  lambda s: mg.set_default_dtype(np.int64)),
    "a negative seed":              (ValueError, ["manual_seed", "-1"],          lambda s: mg.manual_seed(-1)),
    "a seed that is no number":     (ValueError, ["manual_seed", "'a'"],         lambda s: mg.manual_seed("a")),

    # computing
    "shapes that do not broadcast": (ValueError, ["add", "[2]", "[2, 3]"],       lambda s: s.x + s.w),
    "a product that does not fit":  (ValueError, ["matmul", "[2, 3]"],           lambda s: s.w @ s.w),
    "a foreign operand":            (TypeError, ["multiply", "Foreign"],         lambda s: s.x * Foreign()),
    "a string operand":             (TypeError, ["add", "str"],                  lambda s: s.x + "a"),
    "a complex result":             (TypeError, ["multiply", "complex"],         lambda s: s.x * 1j),
    "an axis that is not there":    (ValueError, ["sum", "axis 5"],              lambda s: s.x.sum(axis=5)),
    "an unknown argument":          (TypeError, ["sum", "'dim'", "axis"],        lambda s: s.x.sum(dim=0)),
    "dtype= in a reduction":        (TypeError, ["sum", "'dtype'"],              lambda s: np.sum(s.x, dtype=np.float32)),
    "where= in a reduction":        (TypeError, ["sum", "'where'"],              lambda s: np.sum(s.x, where=np.array([True, False]))),
    "an argument twice":            (TypeError, ["sum", "'axis'", "twice"],      lambda s: mg.sum(s.x, 0, axis=0)),
    "too many arguments":           (TypeError, ["exp", "2 arguments"],          lambda s: mg.exp(s.x, s.x)),
    "a missing argument":           (TypeError, ["multiply", "'y'", "missing"],  lambda s: mg.multiply(s.x)),
    "a shape of another size":      (ValueError, ["reshape", "[2]"],             lambda s: s.x.reshape(3)),
    "an index out of range":        (IndexError, ["getitem", "9"],               lambda s: s.x[9]),
    "a float as index":             (IndexError, ["getitem"],                    lambda s: s.x[1.0]),
    "a Tensor of floats as index":  (TypeError, ["index", "float64"],            lambda s: [1, 2, 3][s.c[0]]),
    "an unknown pad mode":          (ValueError, ["pad", "reflect"],             lambda s: mg.pad(s.x, 1, mode="reflect")),
    "length of a scalar":           (TypeError, ["0-d"],                         lambda s: len(s.loss)),
    "truth of several elements":    (ValueError, ["x.any()", "(2,)"],            lambda s: bool(s.x)),
    "item of several elements":     (ValueError, ["item", "(2,)"],               lambda s: s.x.item()),
    "copying a result":             (TypeError, ["multiply", "detach"],          lambda s: __import__("copy").deepcopy(s.y)),

    # NumPy
    "a function without a row":     (TypeError, ["np.fft", "row"],               lambda s: np.fft.fft(s.x)),
    "a ufunc without a row":        (TypeError, ["np.spacing", "mg.op"],         lambda s: np.spacing(s.x)),
    "a ufunc's method":             (TypeError, ["np.add.reduce", "mg.sum"],     lambda s: np.add.reduce(s.x)),
    "out= a Tensor":                (TypeError, ["np.add", "out="],              lambda s: np.add(s.c, 1.0, out=s.c)),
    "array -= recorded Tensor":     (TypeError, ["np.subtract", "gradient"],     lambda s: np.ones(2).__isub__(s.x)),

    # changing
    "assignment":                   (TypeError, ["index_put", "where"],          assign),
    "assignment into a constant":   (TypeError, ["index_put"],                   set_item_of_constant),
    "-= on a recorded leaf":        (RuntimeError, ["no_grad"],                  augment),
    "-= with a larger shape":       (ValueError, ["broadcast"],                  in_place_too_large),
    "requires_grad of a result":    (RuntimeError, ["leaf", "detach"],           set_requires_grad_inside),
    "grad of another shape":        (TypeError, ["grad", "[2]"],                 set_grad_of_wrong_shape),
    "grad that is no Tensor":       (TypeError, ["grad", "array"],               set_grad_to_an_array),

    # differentiating
    "backward of a vector":         (RuntimeError, ["(2,)", "one element"],      lambda s: s.y.backward()),
    "backward twice":               (RuntimeError, ["retain_graph=True", "sum"], lambda s: s.spent.backward()),
    "backward of a constant":       (RuntimeError, ["requires_grad=True"],       lambda s: s.c.sum().backward()),
    "a gradient of another shape":  (ValueError, ["(2,)", "(3,)"],               lambda s: s.y.backward(np.ones(3))),
    "a gradient that is a string":  (TypeError, ["str"],                         lambda s: s.y.backward("a")),
    "grad of a constant":           (RuntimeError, ["input 0"],                  lambda s: mg.grad(s.loss, s.c)),
    "grad of an unused input":      (RuntimeError, ["input 1", "allow_unused"],  lambda s: mg.grad(s.loss, [s.x, s.w])),
    "grad with too few weights":    (ValueError, ["2 outputs", "1 grad_outputs"], lambda s: mg.grad([s.y, s.y], s.x, [np.ones(2)])),
    "a hook on a constant":         (RuntimeError, ["register_hook"],            lambda s: s.c.register_hook(print)),
    "a leaf's hook on a result":    (RuntimeError, ["leaf"],                     lambda s: s.y.register_post_accumulate_grad_hook(print)),
    "a hook of another shape":      (TypeError, ["register_hook", "()"],         hook_of_wrong_shape),
    "retain_grad of a constant":    (RuntimeError, ["retain_grad"],              lambda s: s.c.retain_grad()),

    # defining ops
    "a rule for no argument":       (TypeError, ["op(exp)", "['x', 'q']"],       lambda s: mg.op(np.exp, x=lambda g: g, q=lambda g: g)),
    "a rule that asks too much":    (TypeError, ["op(exp)", "'w'"],              lambda s: mg.op(np.exp, x=lambda g, w: g)),
    "a rule without g":             (TypeError, ["op(exp)", "takes g"],          lambda s: mg.op(np.exp, x=lambda x: x)),
    "a rule of a wrong shape":      (ValueError, ["(7,)", "(2,)"],               wrong_rule),

    # networks' functions
    "classes that are floats":      (TypeError, ["cross_entropy", "integers"],   lambda s: F.cross_entropy(s.w, s.c)),
    "a class out of range":         (ValueError, ["cross_entropy", "0 … 2"],     lambda s: F.cross_entropy(s.w, [0, 3])),
    "too few targets":              (ValueError, ["cross_entropy", "(2,)"],      lambda s: F.cross_entropy(s.w, [0])),
    "an unknown reduction":         (ValueError, ["reduction", "'avg'"],         lambda s: F.cross_entropy(s.w, [0, 1], reduction="avg")),
    "losses of different shapes":   (ValueError, ["mse_loss", "(2, 3)"],         lambda s: F.mse_loss(s.w, s.x)),
    "kernels that do not fit":      (ValueError, ["conv2d", "(1, 2, 5, 5)"],     lambda s: F.conv2d(mg.zeros((1, 2, 5, 5)), mg.zeros((4, 3, 3, 3)))),
    "a stride of zero":             (ValueError, ["stride", "0"],                lambda s: F.conv2d(mg.zeros((1, 1, 5, 5)), mg.zeros((1, 1, 3, 3)), stride=0)),
    "a window larger than the image": (ValueError, ["window", "(9, 9)"],         lambda s: F.max_pool2d(mg.zeros((1, 1, 5, 5)), 9)),
}
# fmt: on


@pytest.mark.parametrize("name", BAD)
def test_a_bad_call_names_the_culprit_and_changes_nothing(name):
    kind, words, call = BAD[name]
    s = fresh()
    before = state(s)
    recording = mg.engine.mode.recording
    with pytest.raises(kind) as caught:
        call(s)
    for word in words:
        assert word in str(caught.value)
    assert mg.engine.mode.recording is recording
    for (data, needs, grad), (data_now, needs_now, grad_now) in zip(before, state(s), strict=True):
        assert np.array_equal(data, data_now)
        assert needs == needs_now
        assert (grad is None) == (grad_now is None)


def test_there_are_enough_bad_calls():
    assert len(BAD) >= 60
