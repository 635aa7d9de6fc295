"""The Tensor: made, read, copied, taken apart, and met by NumPy."""

import ast
import copy
import inspect
import pickle
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops import METHODS


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        ([[1, 2.5]], np.float32),
        ([], np.float32),
        (3, np.int64),
        ([1, 2], np.int64),
        ([True, False], np.bool_),
        (np.float64(1.5), np.float64),
        ([np.float64(1.5)], np.float64),
        (np.ones(2), np.float64),
        (np.ones(2, np.float16), np.float16),
        (mg.tensor(np.ones(2)), np.float64),
    ],
)
def test_tensor_chooses_the_dtype(data, dtype):
    assert mg.tensor(data).dtype == dtype


def test_set_default_dtype_holds_for_lists_and_creation():
    mg.set_default_dtype(np.float64)
    try:
        assert mg.tensor([1.0]).dtype == mg.zeros(2).dtype == mg.randn(2).dtype == np.float64
    finally:
        mg.set_default_dtype(np.float32)
    assert mg.tensor([1.0]).dtype == mg.zeros(2).dtype == np.float32


def test_tensor_copies_its_data():
    a = np.ones(2)
    x = mg.tensor(a)
    a[:] = 5
    assert np.array_equal(x, [1, 1])


def test_creation_functions_follow_numpy():
    assert np.array_equal(mg.arange(2, 8, 3), [2, 5])
    assert mg.arange(3).dtype == np.int64
    assert np.array_equal(mg.eye(2, 3), np.eye(2, 3))
    assert np.array_equal(mg.full((2, 1), 7.0), [[7], [7]])
    assert mg.ones((2, 0)).shape == (2, 0)
    assert mg.randn(2, 3).shape == mg.randn((2, 3)).shape == mg.rand(2, 3).shape == (2, 3)
    assert mg.randn().shape == ()
    assert mg.zeros(2, requires_grad=True).requires_grad


def test_manual_seed_repeats_what_is_drawn():
    mg.manual_seed(3)
    first = mg.randn(4).numpy(), mg.rand(4).numpy()
    mg.manual_seed(3)
    assert np.array_equal(mg.randn(4), first[0])
    assert np.array_equal(mg.rand(4), first[1])


def test_repr_shows_values_dtype_device_and_the_op_that_made_it():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], dtype=float32, device='cpu', requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 4.], dtype=float32, device='cpu', op='multiply')"
    assert repr(mg.tensor(3)) == "tensor(3, dtype=int64, device='cpu')"


def test_python_numbers_come_out_of_one_element():
    x = mg.tensor([[2.5]])
    assert (float(x), int(x), bool(x), x.item(), f"{x:.2f}") == (2.5, 2, True, 2.5, "2.50")
    assert [10, 20, 30][mg.tensor(1)] == 20
    assert f"{mg.tensor([1, 2])}" == "tensor([1, 2], dtype=int64, device='cpu')"


def test_length_iteration_and_unpacking_go_along_the_first_axis():
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x
    (first * second).sum().backward()
    assert len(x) == 2
    assert np.array_equal(x.grad, [[3, 4], [1, 2]])


def test_equality_is_elementwise_and_hash_is_identity():
    x, y = mg.tensor([1, 2]), mg.tensor([1, 3])
    assert np.array_equal(x == y, [True, False])
    assert len({x, y, x}) == 2


def test_comparisons_are_masks_and_indices():
    x = mg.tensor([1.0, -2.0, 3.0], requires_grad=True)
    mask = x > 0
    assert mask.dtype == bool
    assert not mask.requires_grad
    x[mask].sum().backward()
    assert np.array_equal(x.grad, [1, 0, 1])
    assert x[mg.argmax(x)].item() == 3
    assert np.array_equal(mg.where(mask & (x < 2), x, -x), [1, 2, -3])
    assert np.array_equal(~mask, [False, True, False])


@pytest.mark.parametrize("with_grad", [False, True])
def test_copy_and_pickle_carry_data_gradient_and_need(with_grad):
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    if with_grad:
        (x * x).sum().backward()
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert np.array_equal(y.data, x.data)
        assert y.requires_grad
        assert y.data is not x.data
        assert (y.grad is None) == (not with_grad)
        assert not with_grad or np.array_equal(y.grad, x.grad)
        (y * 2).sum().backward()
    assert x.grad is None or np.array_equal(x.grad, [2, 4])


def test_detach_shares_the_data_and_numpy_hands_them_out():
    x = mg.tensor([1.0], requires_grad=True)
    assert x.detach().data is x.data
    assert x.numpy() is x.data
    assert not x.detach().requires_grad
    assert x.to("cpu") is x


def test_astype_is_differentiable_between_floats():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x.astype(np.float64)
    (y * y).sum().backward()
    assert y.dtype == np.float64
    assert x.grad.dtype == np.float32
    assert np.array_equal(x.grad, [2, 4])
    assert not x.astype(int).requires_grad


# ------------------------------------------------------------------------------------------------ NumPy


def test_numpy_functions_of_tensors_are_recorded():
    x = mg.tensor(np.array([0.5, 1.5]), requires_grad=True)
    y = np.sum(np.sin(x) * np.where(x > 1, x, 2.0)) + np.max(np.stack([x, np.zeros_like(x)]))
    y.backward()
    assert np.allclose(x.grad, [2 * np.cos(0.5), np.sin(1.5) + 1.5 * np.cos(1.5) + 1])


def test_arrays_and_tensors_mix_on_either_side():
    x = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    a = np.array([3.0, 4.0])
    for y in (a + x, a - x, a * x, a / x, a**x, a @ x, np.float64(2) * x, x - a):
        assert isinstance(y, mg.Tensor)
        assert y.requires_grad
    (a / x).sum().backward()
    assert np.allclose(x.grad, -a / x.data**2)


@pytest.mark.parametrize("other", [2, 2.0, True, np.float32(2), [1.0, 2.0], mg.tensor([1.0, 2.0])])
def test_float32_stays_float32(other):
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    for y in (x + other, other - x, x * other, x / other, other / x, x**2, mg.maximum(x, other)):
        assert y.dtype == np.float32
    mg.grad((x * other).sum(), x)


def test_an_array_takes_a_constant_tensor_in_place():
    a = np.ones(2)
    a -= mg.tensor([1.0, 2.0])
    assert type(a) is np.ndarray
    assert np.array_equal(a, [0, -1])


def test_zeros_like_a_tensor_is_a_tensor():
    x = mg.tensor([1.0, 2.0])
    for y in (np.zeros((2, 3), like=x), np.zeros_like(x), np.ones_like(x), np.full(2, 3.0, like=x)):
        assert isinstance(y, mg.Tensor)


def test_questions_about_values_get_plain_answers():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    assert np.shape(x) == (2,)
    assert np.ndim(x) == 1
    assert np.allclose(x, [1, 2])
    assert np.array_equal(x, x)


# ------------------------------------------------------------------------------------------------ in place


def test_a_student_steps_by_hand():
    p = mg.tensor([1.0, 2.0], requires_grad=True)
    data, same = p.data, p
    (p * p).sum().backward()
    with mg.no_grad():
        p -= 0.25 * p.grad
        p *= 2.0
        p += 1.0
        p /= 2.0
        p **= 2
    assert p is same
    assert p.data is data
    assert p.requires_grad
    assert np.allclose(p, [(1 * 0.5 * 2 + 1) ** 2 / 4, (2 * 0.5 * 2 + 1) ** 2 / 4])


def test_augmented_assignment_rebinds_what_is_no_leaf():
    x = mg.tensor([1.0], requires_grad=True)
    h = x * 2
    before = h
    h -= 1
    assert before.item() == 2
    assert h.item() == 1
    h.backward()
    assert x.grad.item() == 2
    c = mg.tensor([1.0])
    old = c
    c += 1
    assert (old.item(), c.item()) == (1, 2)


def test_requires_grad_can_be_switched_on_a_leaf():
    x = mg.tensor([1.0])
    x.requires_grad = True
    (x * 2).backward()
    assert x.grad.item() == 2
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_grad_can_be_set_and_cleared():
    x = mg.tensor([1.0], requires_grad=True)
    x.grad = mg.tensor([5.0])
    (x * 2).backward()
    assert x.grad.item() == 7
    x.grad = None
    assert x.grad is None


def test_every_method_that_the_class_declares_is_attached_and_the_other_way_round():
    tree = ast.parse(inspect.getsource(sys.modules["minigrad.tensor"]))  # mg.tensor is the function
    (body,) = (n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    declared = {n.name if isinstance(n, ast.FunctionDef) else n.target.id for n in body.body}
    assert declared == set(METHODS)
    for name in declared - {"T"}:
        assert callable(getattr(mg.Tensor, name))
