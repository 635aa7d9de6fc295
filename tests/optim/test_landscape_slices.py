"""Slices are the loss along the line and the plane that they name, and random directions move every filter alike."""

import io

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.functional import cross_entropy
from optim.landscape import random_direction, slice_1d, slice_2d, surfaces


def network():
    mg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)
    )


def loss_of(model):
    rng = np.random.default_rng(0)
    x, y = mg.tensor(rng.standard_normal((8, 1, 4, 4)).astype(np.float32)), mg.tensor(rng.integers(3, size=8))
    return lambda: cross_entropy(model(x), y)


def test_a_slice_of_a_surface_is_the_surface_along_the_line():
    x, d = np.array([0.3, -0.2]), np.array([2.0, 1.0])
    cut = slice_1d(surfaces.rosenbrock, x, d, span=(-0.5, 1.0), points=7)
    np.testing.assert_allclose(cut.axes[0], np.linspace(-0.5, 1, 7))
    np.testing.assert_allclose(cut.loss, [surfaces.rosenbrock(x + a * d) for a in cut.axes[0]])


def test_a_plane_through_a_surface_is_the_surface_itself():
    cut = slice_2d(surfaces.himmelblau, [0.0, 0.0], ([1.0, 0.0], [0.0, 1.0]), span=5.0, points=11)
    np.testing.assert_allclose(cut.loss, surfaces.himmelblau.grid(11)[2])


def test_every_filter_moves_by_its_own_length_and_biases_stay():
    model = network()
    ds = random_direction([*model.parameters()], np.random.default_rng(0))
    for p, d in zip(model.parameters(), ds):
        assert d.shape == p.shape
        if p.ndim == 1:
            assert not d.any()
        for theta, moved in zip(p.data, d) if p.ndim > 1 else ():
            np.testing.assert_allclose(np.linalg.norm(moved), np.linalg.norm(theta), rtol=1e-5)


def test_rescaling_a_network_that_computes_the_same_does_not_change_its_slice():
    def twin(scale):
        mg.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).to(np.float64)
        model[0].weight.data *= scale
        model[2].weight.data /= scale
        return model

    rng = np.random.default_rng(0)
    x, y = mg.tensor(rng.standard_normal((8, 5))), mg.tensor(rng.integers(3, size=8))
    one, other = (slice_1d(lambda m=m: cross_entropy(m(x), y), m, points=9).loss for m in (twin(1.0), twin(10.0)))
    assert np.ptp(one) > 1e-2
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_middle_of_a_slice_is_the_loss_in_evaluation_mode():
    model = network()
    loss = loss_of(model)
    cut, plane = slice_1d(loss, model, points=3), slice_2d(loss, model, points=3)
    with model.evaluating():
        expected = loss().item()
    assert cut.loss[1] == plane.loss[1, 1] == expected
    again = slice_1d(loss, model, points=3)
    np.testing.assert_array_equal(cut.loss, again.loss)
    assert (slice_1d(loss, model, points=3, seed=1).loss != cut.loss).any()


def test_from_one_network_to_another_a_slice_ends_at_the_other():
    one, other = network(), network()
    for p in other.parameters():
        p.data += 0.1
    way = tuple(q.data - p.data for p, q in zip(one.parameters(), other.parameters()))
    cut = slice_1d(loss_of(one), one, way, span=(0, 1), points=2)
    with other.evaluating():
        np.testing.assert_allclose(cut.loss[1], loss_of(other)().item(), rtol=1e-5)


def test_the_random_direction_given_is_the_random_direction():
    model = network()
    given = random_direction([*model.parameters()], np.random.default_rng(3))
    one, other = slice_1d(loss_of(model), model, given, points=5), slice_1d(loss_of(model), model, points=5, seed=3)
    np.testing.assert_array_equal(one.loss, other.loss)


def test_pictures_name_their_axes():
    figure = slice_1d(surfaces.saddle, [0.0, 0.0], [1.0, 0.0]).draw()
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("α, along the direction given", "loss")
    figure.savefig(io.BytesIO())
    model = network()
    figure = slice_2d(loss_of(model), model, points=5).draw()
    axes, bar = figure.axes
    assert axes.get_ylabel() == "β, along a random direction (filter-normalised)"
    assert bar.get_ylabel() == "loss"
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: slice_1d(surfaces.saddle, [0.0, 0.0]), "no parameter has filters"),
        (lambda: slice_1d(surfaces.saddle, [0.0, 0.0], [1.0]), "direction has shape"),
        (lambda: slice_1d(surfaces.saddle, [0.0, 0.0], [1.0, 1.0], span=0), "span = 0; wanted"),
        (lambda: slice_1d(surfaces.saddle, [0.0, 0.0], [1.0, 1.0], span=(1, -1)), "span = "),
        (lambda: slice_1d(surfaces.saddle, [0.0, 0.0], [1.0, 1.0], points=1), "points = 1"),
        (lambda: slice_2d(surfaces.saddle, [0.0, 0.0], [[1.0, 1.0]]), "directions are two"),
    ],
)
def test_a_bad_setting_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
