"""What is recorded is what happened, and what is drawn is what was recorded."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset
from minigrad.training import fit
from optim import trajectory
from optim.landscape.surfaces import Surface, bowl, himmelblau, rosenbrock, saddle
from optim.trajectory import Trajectory, animate, draw, draw_progress, draw_state, drawing, record


def momentum(params):
    return optim.SGD(params, lr=0.005, momentum=0.5)


def adam(params):
    return optim.Adam(params, lr=0.1)


# ------------------------------------------------------------------------------------------------------------ recording


def test_points_and_velocity_are_those_of_the_formula_written_out():
    path = record(bowl(100), momentum, steps=30)
    p, v = np.array([-3.5, 1.0]), np.zeros(2)
    points, velocities = [p], []
    for _ in range(30):
        v = 0.5 * v + np.array([1, 100]) * p
        p = p - 0.005 * v
        points.append(p)
        velocities.append(v)
    np.testing.assert_allclose(path.points, points, rtol=1e-12)
    assert [*path.state] == ["v"]
    np.testing.assert_allclose(path.state["v"], velocities, rtol=1e-12)
    assert path.steps == [*range(31)]


def test_the_moments_of_adam_are_weighted_sums_of_the_gradients_on_the_way():
    path = record(bowl(100), adam, steps=20)
    gradients = path.points[:-1] * [1, 100]
    for t in range(1, 21):
        weights = 0.1 * 0.9 ** np.arange(t - 1, -1, -1)
        np.testing.assert_allclose(path.state["m"][t - 1], weights @ gradients[:t], rtol=1e-10, atol=1e-12)
        weights = 0.001 * 0.999 ** np.arange(t - 1, -1, -1)
        np.testing.assert_allclose(path.state["v"][t - 1], weights @ gradients[:t] ** 2, rtol=1e-10)


def test_loss_and_gradient_norm_belong_to_the_point_before_the_step():
    path = record(bowl(100), momentum, steps=10)
    x, y = path.points[:-1].T
    np.testing.assert_allclose(path.loss, 0.5 * x**2 + 50 * y**2)
    np.testing.assert_allclose(path.gradient_norm, np.hypot(x, 100 * y))
    np.testing.assert_allclose(path.heights()[:-1], path.loss)
    np.testing.assert_allclose(path.distances(), np.hypot(*path.points.T))


def test_the_rate_is_noted_as_a_schedule_changes_it():
    p = mg.tensor([1.0], requires_grad=True)
    opt = optim.SGD([p], lr=0.5)
    path = Trajectory(opt)
    for rate in (0.5, 0.25, 0.125):
        opt.param_groups[0]["lr"] = rate
        path.step(lambda: (p * p).sum())
    assert path.lr == [0.5, 0.25, 0.125]


def test_the_distance_is_to_the_nearest_of_several_minima():
    path = record(himmelblau, adam, steps=0, start=(3.0, 1.0))
    np.testing.assert_allclose(path.distances(), [1.0])  # (3, 2) is one of four
    assert record(saddle, adam, steps=2).distances().tolist() == [np.inf] * 3


def test_what_wrappers_remember_is_recorded_beside_what_their_base_does():
    def make(params):
        return optim.SAM(optim.Lookahead(optim.SGD(params, lr=0.001, momentum=0.5), k=2, alpha=0.5))

    path = record(bowl(100), make, steps=4)
    assert path.name == "SAM(Lookahead(SGD))"
    assert {*path.state} == {"v", "slow"}
    slow = path.state["slow"]
    np.testing.assert_array_equal(slow[0], path.points[0])  # where it began, until the second step
    np.testing.assert_array_equal(slow[1], path.points[2])  # then it is where the parameters were put back to
    np.testing.assert_array_equal(slow[2], path.points[2])
    np.testing.assert_array_equal(slow[3], path.points[4])

    path = record(bowl(100), lambda ps: optim.Averaged(optim.SGD(ps, lr=0.001), lambda: optim.averages.SMA(2)), 3)
    gradients = path.points[:-1] * [1, 100]
    wanted = [gradients[0], (gradients[0] + gradients[1]) / 2, (gradients[1] + gradients[2]) / 2]
    np.testing.assert_allclose(path.state["average"], wanted)


def test_plain_gradient_descent_has_no_state():
    path = record(bowl(), lambda params: optim.SGD(params, lr=0.001), steps=3)
    assert path.state == {}
    assert repr(path) == "Trajectory(SGD on bowl, κ = 100: 3 steps, 2 parameters)"


def test_a_path_that_runs_away_ends_and_is_no_error():
    path = record(rosenbrock, lambda params: optim.SGD(params, lr=1.0), steps=1000, name="too fast")
    assert path.name == "too fast"
    assert len(path.loss) < 20
    assert np.isfinite(path.points[:-1]).all() and not np.isfinite(path.points[-1]).all()
    assert len(path.heights()) == len(path.distances()) == len(path.points)


def test_a_start_may_be_chosen_and_given_in_integers():
    assert record(rosenbrock, adam, steps=0, start=(2, 2)).points.tolist() == [[2.0, 2.0]]


def network():
    """A small network, a loader, and what they are trained with."""
    x = np.random.default_rng(0).standard_normal((32, 3)).astype(np.float32)
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return model, DataLoader(TensorDataset(x, x[:, :1] ** 2), batch_size=8)


def test_in_a_training_loop_a_trajectory_takes_the_place_of_its_optimizer():
    model, loader = network()
    alone = fit(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), loader, epochs=2)
    final = [p.numpy().copy() for p in model.parameters()]

    model, loader = network()
    path = Trajectory(optim.Adam(model.parameters(), lr=0.01))
    history = fit(model, nn.MSELoss(), path, loader, epochs=2)
    assert path.loss == history.loss == alone.loss
    assert path.lr == history.lr == [0.01] * 8
    assert path.points.shape == (9, 21)
    assert path.state["m"].shape == path.state["v"].shape == (8, 21)
    np.testing.assert_array_equal(path.points[-1], np.concatenate([p.ravel() for p in final]))
    assert path.points.dtype == np.float32


def test_of_a_network_every_fourth_point_can_be_kept():
    model, loader = network()
    path = Trajectory(optim.Adam(model.parameters()), every=4)
    fit(model, nn.MSELoss(), path, loader, epochs=2)
    assert len(path.loss) == 8
    assert path.steps == [0, 4, 8]
    assert path.points.shape == (3, 21) and path.state["m"].shape == (2, 21)


def test_a_parameter_without_gradient_has_zeros_for_state():
    a, b = mg.tensor([1.0], requires_grad=True), mg.tensor([2.0, 3.0], requires_grad=True)
    path = Trajectory(optim.SGD([a, b], lr=0.1, momentum=0.9))
    path.step(lambda: (b * b).sum())
    path.step(lambda: (a * b).sum())
    assert path.state["v"][0].tolist() == [0.0, 4.0, 6.0]
    assert path.gradient_norm[0] == pytest.approx(np.sqrt(52))


def test_state_that_comes_later_is_zero_before():
    p = mg.tensor([1.0], requires_grad=True)
    opt = optim.SGD([p], lr=0.1)
    path = Trajectory(opt)
    path.step(lambda: (2 * p).sum())
    opt.param_groups[0]["momentum"] = 0.5
    path.step(lambda: (2 * p).sum())
    assert path.state["v"].tolist() == [[0.0], [2.0]]


def test_a_step_without_a_closure_has_no_loss():
    p = mg.tensor([3.0], requires_grad=True)
    path = Trajectory(optim.SGD([p], lr=0.5))
    (p * p).sum().backward()
    assert path.step() is None
    assert np.isnan(path.loss) and path.gradient_norm == [6.0]
    assert path.points.tolist() == [[3.0], [0.0]]


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_every_is_a_number_of_steps(every):
    with pytest.raises(ValueError, match="Trajectory: every = .*, wanted an integer >= 1"):
        Trajectory(adam([mg.tensor([1.0], requires_grad=True)]), every=every)


def test_heights_and_distances_need_a_surface():
    path = Trajectory(adam([mg.tensor([1.0], requires_grad=True)]))
    with pytest.raises(ValueError, match="Adam was recorded without a surface; use record"):
        path.heights()
    with pytest.raises(ValueError, match="Adam was recorded without a surface; use record"):
        path.distances()


# -------------------------------------------------------------------------------------------------------------- drawing


def lines_of(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_picture_holds_every_point_of_every_path_and_names_it():
    paths = [record(rosenbrock, momentum, 15), record(rosenbrock, adam, 25)]
    figure = draw(paths)
    (axes,) = figure.axes
    for path in paths:
        assert len(lines_of(axes)[path.name]) == len(path.points)
    np.testing.assert_array_equal(lines_of(axes)["Adam"], paths[1].points)
    assert legend_of(figure) == ["SGD", "Adam"]
    assert (axes.get_xlim(), axes.get_ylim()) == rosenbrock.domain
    assert axes.get_title() == "Rosenbrock"
    stars = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "*"]
    assert stars == [[[1.0, 1.0]]]


def test_a_dot_marks_every_so_many_steps():
    figure = draw([record(rosenbrock, adam, 25)], every=10)
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "Adam"]
    assert line.get_markevery() == [0, 10, 20]
    assert figure.legends[0].get_title().get_text() == "a dot every 10 steps"

    p = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    path = Trajectory(adam([p]), surface=rosenbrock, every=5)  # of which only every fifth was kept
    for _ in range(20):
        path.step(lambda: rosenbrock(p))
    (line,) = [line for line in draw([path], every=10).axes[0].lines if line.get_label() == "Adam"]
    assert line.get_markevery() == [0, 2, 4]


def test_paths_are_told_apart_by_colour_and_then_by_dash():
    looks = [(drawing.style(k)["color"], drawing.style(k)["linestyle"]) for k in range(21)]
    assert len({*looks}) == 21


def test_progress_is_height_above_the_minimum_and_distance_to_it():
    path = record(bowl(100), momentum, 20)
    figure = draw_progress([path])
    heights, distances = figure.axes
    np.testing.assert_array_equal(lines_of(heights)["SGD"], np.stack([path.steps, path.heights()], axis=1))
    np.testing.assert_array_equal(lines_of(distances)["SGD"], np.stack([path.steps, path.distances()], axis=1))
    assert heights.get_yscale() == distances.get_yscale() == "log"
    assert [axes.get_title() for axes in figure.axes] == ["height above the minimum", "distance to the nearest minimum"]
    assert legend_of(figure) == ["SGD"]


def test_a_runaway_does_not_flatten_the_others():
    paths = [record(rosenbrock, adam, 20), record(rosenbrock, lambda params: optim.SGD(params, lr=1.0), 20)]
    for axes in draw_progress(paths).axes:
        assert axes.get_ylim()[1] < 1e5
    draw(paths).draw_without_rendering()


def test_without_a_minimum_progress_is_the_height_and_the_distance_to_the_saddle():
    path = record(saddle, adam, 5)
    left, right = draw_progress([path]).axes
    np.testing.assert_array_equal(lines_of(left)["Adam"][:, 1], path.heights())
    np.testing.assert_allclose(lines_of(right)["Adam"][:, 1], np.hypot(*path.points.T))
    assert (left.get_title(), right.get_title()) == ("height", "distance to the nearest saddle")


def test_with_neither_minimum_nor_saddle_progress_is_the_height_and_the_gradient():
    slope = Surface("slope", lambda x, y: x + 2 * y, ((-1.0, 1.0), (-1.0, 1.0)), ((0.0, 0.0),))
    path = record(slope, adam, 5)
    left, right = draw_progress([path]).axes
    np.testing.assert_array_equal(lines_of(left)["Adam"][:, 1], path.heights())
    np.testing.assert_allclose(lines_of(right)["Adam"][:, 1], np.sqrt(5))
    assert right.get_title() == "norm of the gradient"


def test_a_path_that_hits_the_minimum_leaves_out_the_rest():
    path = record(bowl(1), lambda params: optim.SGD(params, lr=0.99), 20)  # 100 times nearer with every step
    for axes in draw_progress([path]).axes:
        assert 1e-16 < np.nanmin(lines_of(axes)["SGD"][:, 1]) < 1e-11


def test_without_a_surface_progress_is_the_loss():
    model, loader = network()
    path = Trajectory(optim.Adam(model.parameters()), every=4)
    fit(model, nn.MSELoss(), path, loader, epochs=2)
    left, right = draw_progress([path]).axes
    np.testing.assert_array_equal(lines_of(left)["Adam"], np.stack([range(1, 9), path.loss], axis=1))
    np.testing.assert_array_equal(lines_of(right)["Adam"][:, 1], path.gradient_norm)
    assert left.get_title() == "loss"


def test_the_state_has_a_panel_for_each_of_its_names_and_a_line_for_each_coordinate():
    path = record(rosenbrock, adam, 20)
    figure = draw_state(path)
    assert [axes.get_title() for axes in figure.axes] == [
        "first moment m: mean of the gradients",
        "second moment v: mean of the squared gradients",
    ]
    for axes, name in zip(figure.axes, "mv"):
        for k, coordinate in enumerate("xy"):
            np.testing.assert_array_equal(lines_of(axes)[coordinate][:, 1], path.state[name][:, k])


def test_the_letter_v_is_a_velocity_where_there_is_no_first_moment():
    (axes,) = draw_state(record(rosenbrock, momentum, 5)).axes
    assert axes.get_title().startswith("velocity v")


def test_every_state_of_every_optimizer_has_words():
    kinds = [kind for kind in vars(optim).values() if isinstance(kind, type) and issubclass(kind, optim.Optimizer)]
    first_order = [kind for kind in kinds if "update" in vars(kind)]
    assert len(first_order) >= 8
    assert {name for kind in first_order for name in kind.state_names} <= {*drawing.WORDS}


def test_of_a_networks_state_the_median_is_drawn():
    model, loader = network()
    path = Trajectory(optim.Adam(model.parameters()))
    fit(model, nn.MSELoss(), path, loader, epochs=1)
    axes = draw_state(path).axes[1]
    np.testing.assert_allclose(lines_of(axes)["median"][:, 1], np.median(path.state["v"], axis=1))


def test_pictures_refuse_what_they_cannot_show():
    here, there = record(rosenbrock, adam, 1), record(saddle, adam, 1)
    nowhere = Trajectory(adam([mg.tensor([1.0], requires_grad=True)]))
    for function in (draw, draw_progress, lambda paths: animate(paths, "x.gif")):
        with pytest.raises(ValueError, match="got Rosenbrock, saddle"):
            function([here, there])
        with pytest.raises(ValueError, match="got Rosenbrock, no surface"):
            function([here, nowhere])
        with pytest.raises(ValueError, match="no paths"):
            function([])
    with pytest.raises(ValueError, match="draw: every = 0, wanted a number of steps >= 1"):
        draw([here], every=0)
    with pytest.raises(ValueError, match="draw_state: no state was recorded of SGD"):
        draw_state(record(rosenbrock, lambda params: optim.SGD(params), 2))


def test_without_matplotlib_recording_works_and_pictures_name_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = record(rosenbrock, adam, 2)
    for function in (lambda: draw([path]), lambda: draw_progress([path]), lambda: draw_state(path)):
        with pytest.raises(ImportError, match=r"draw\w* needs Matplotlib: pip install 'minigrad-course\[plot\]'"):
            function()
    with pytest.raises(ImportError, match=r"animate needs Matplotlib: pip install 'minigrad-course\[plot\]'"):
        animate([path], tmp_path / "film.gif")
    assert not [*tmp_path.iterdir()]


# ------------------------------------------------------------------------------------------------------------ animating


def frames_of(file):
    with Image.open(file) as film:
        for k in range(film.n_frames):
            film.seek(k)
            yield np.asarray(film.convert("RGB"), int), film.info["duration"]


def count(picture, colour):
    """How many pixels have about this colour."""
    return (np.abs(picture - 255 * np.array(to_rgb(colour))).max(axis=-1) < 40).sum()


@pytest.mark.parametrize("make, panels", [(adam, 3), (momentum, 2), (lambda params: optim.SGD(params, lr=1e-3), 2)])
def test_a_film_of_one_path_has_a_panel_for_each_moment_and_its_lines_grow(make, panels, tmp_path):
    film = animate([record(rosenbrock, make, 30)], tmp_path / "film.gif", frames=4, fps=10)
    pictures, durations = zip(*frames_of(film))
    assert film == tmp_path / "film.gif"
    assert durations == (100,) * 4
    assert pictures[0].shape == (320, round(320 * (1 + 1.2 * (panels - 1))), 3)
    blue = [count(picture, drawing.COLOURS[0]) for picture in pictures]
    assert blue == sorted(blue) and blue[0] < blue[1] < blue[-1]


def test_a_film_of_several_paths_shows_each_in_its_colour(tmp_path):
    paths = [record(rosenbrock, make, 30) for make in (momentum, adam, lambda params: optim.NAG(params, lr=1e-3))]
    *_, (picture, _) = frames_of(animate(paths, tmp_path / "film.gif", frames=3))
    assert all(count(picture, colour) > 20 for colour in drawing.COLOURS[:3])


def test_a_moving_line_shows_what_had_happened_by_the_step():
    path = record(rosenbrock, adam, 10)
    figure = drawing.new_figure("test")
    line = drawing.draw_path(figure.subplots(), path, 0)
    moving = trajectory.animating.Moving(line, path.steps)
    figure.draw_without_rendering()
    for step, shown in ((0, 1), (4, 5), (4.9, 5), (10, 11)):
        moving.show_until(step)
        np.testing.assert_array_equal(line.get_xydata(), path.points[:shown])


def test_a_film_that_cannot_be_made_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    path = record(rosenbrock, adam, 2)
    with pytest.raises(ValueError, match=r"animate: film.avi ends in '.avi', wanted '.gif' or '.mp4'"):
        animate([path], tmp_path / "film.avi")
    with pytest.raises(ValueError, match=r"animate: frames = 0, fps = 12; wanted both >= 1"):
        animate([path], tmp_path / "film.gif", frames=0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"animate: .mp4 needs the program ffmpeg"):
        animate([path], tmp_path / "film.mp4")
    assert not [*tmp_path.iterdir()]


def test_ffmpeg_gets_every_picture_in_the_size_that_it_is_told(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda command, input, check: calls.append((command, input)))
    odd = dataclasses.replace(rosenbrock, domain=((0.0, 1.003125), (0.0, 1.0)))  # 1089 pixels wide, which h264 refuses
    animate([record(odd, adam, 5)], tmp_path / "film.mp4", frames=3, fps=7)
    ((command, film),) = calls
    width, height = map(int, command[command.index("-video_size") + 1].split("x"))
    assert (width, height) == (1088, 320)
    assert len(film) == 3 * width * height * 3
    assert command[command.index("-framerate") + 1] == "7"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
def test_an_mp4_is_written_where_ffmpeg_is(tmp_path):
    film = animate([record(rosenbrock, adam, 5)], tmp_path / "film.mp4", frames=3)
    assert film.read_bytes()[4:8] == b"ftyp"
