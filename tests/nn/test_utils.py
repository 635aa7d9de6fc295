"""Clipping, and parameters as one vector. The norms themselves are compared with PyTorch's in `test_golden.py`."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


def parameters(*grads):
    ps = []
    for g in grads:
        ps.append(mg.zeros(np.shape(g), requires_grad=True))
        ps[-1].grad = None if g is None else mg.tensor(g)
    return ps


def test_a_gradient_within_the_norm_is_left_as_it_is():
    (p,) = parameters([0.3, 0.4])
    g = p.grad
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == pytest.approx(0.5)
    assert p.grad is g and g.data.tolist() == np.array([0.3, 0.4], np.float32).tolist()


def test_parameters_without_gradient_are_passed_over():
    p, q = parameters([3.0, 4.0], None)
    assert nn.utils.clip_grad_norm_(iter([p, q]), 1.0).item() == 5.0 and q.grad is None
    assert nn.utils.clip_grad_norm_([q], 1.0).item() == 0.0
    nn.utils.clip_grad_value_([q], 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clipping_can_refuse_a_norm_that_is_not_finite_and_then_changes_nothing(bad):
    p, q = parameters([3.0, bad], [1.0])
    with pytest.raises(RuntimeError, match="norm of the gradients is (nan|inf)"):
        nn.utils.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    assert p.grad.data[0] == 3.0 and q.grad.data[0] == 1.0


def test_clipping_by_value_holds_each_element():
    p, q = parameters([-3.0, 0.5], [2.0])
    nn.utils.clip_grad_value_([p, q], 1.0)
    assert p.grad.data.tolist() == [-1.0, 0.5] and q.grad.data.tolist() == [1.0]
    nn.utils.clip_grad_value_(p, 0.25)
    assert p.grad.data.tolist() == [-0.25, 0.25]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: nn.utils.clip_grad_norm_(p, -1.0), "max_norm = -1.0"),
        (lambda p: nn.utils.clip_grad_norm_(p, math.nan), "max_norm = nan"),
        (lambda p: nn.utils.clip_grad_norm_(p, 1.0, norm_type=0), "norm_type = 0"),
        (lambda p: nn.utils.clip_grad_value_(p, -1.0), "clip_value = -1.0"),
        (lambda p: nn.utils.vector_to_parameters(mg.ones(3), p), r"\(3,\).* 2 elements"),
    ],
)
def test_bad_calls_change_nothing(call, words):
    ps = parameters([3.0, 4.0])
    with pytest.raises(ValueError, match=words):
        call(ps)
    assert ps[0].grad.data.tolist() == [3.0, 4.0] and ps[0].data.tolist() == [0, 0]


def test_a_vector_of_parameters_goes_there_and_back_in_place_and_its_gradient_too():
    net = nn.Linear(2, 3)
    arrays = [p.data for p in net.parameters()]
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.data.tolist() == [*net.weight.data.ravel(), *net.bias.data]
    (vector * np.arange(9, dtype=np.float32)).sum().backward()
    assert net.weight.grad.data.tolist() == [[0, 1], [2, 3], [4, 5]] and net.bias.grad.data.tolist() == [6, 7, 8]
    nn.utils.vector_to_parameters(mg.arange(9, dtype=np.float32), net.parameters())
    assert [p.data is a for p, a in zip(net.parameters(), arrays)] == [True, True]
    assert net.weight.data.tolist() == [[0, 1], [2, 3], [4, 5]] and net.bias.data.tolist() == [6, 7, 8]


def test_writing_a_vector_between_forward_and_backward_is_noticed():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    loss = net(mg.ones((1, 2))).sum()
    nn.utils.vector_to_parameters(mg.zeros(13), net.parameters())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
