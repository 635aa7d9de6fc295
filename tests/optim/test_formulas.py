"""The formulas of the lecture notes and papers, each variant written out in a few lines and compared step by step.

The paths of PyTorch and optax are in `test_paths.py`; here is what they do not have, and what makes two forms one.
"""

import math

import numpy as np
import pytest

import minigrad as mg
import optim

GRADIENTS = [np.array([0.5, -2.0, 0.01]) * (1 + k % 3) * (-1) ** (k // 4) for k in range(12)]
START = np.array([1.0, -2.0, 3.0])
E, A, D = 0.1, 0.9, 1e-3  # ε, α (or ρ, β), δ


def path(make, gradients=GRADIENTS, rates=None):
    """θ after each step on given gradients; `make` makes the optimizer of a list of parameters."""
    p = mg.tensor(START, requires_grad=True)
    opt = make([p])
    points = []
    for k, g in enumerate(gradients):
        if rates:
            opt.param_groups[0]["lr"] = rates[k]
        p.grad = mg.tensor(g)
        opt.step()
        points.append(p.data.copy())
    return np.array(points)


def written(step, **state):
    """θ after each step of a formula written here: step(θ, g, t, state) -> θ."""
    theta, points = START.copy(), []
    state = {name: np.zeros(3) + value for name, value in state.items()}
    for t, g in enumerate(GRADIENTS, start=1):
        theta = step(theta, g, t, state)
        points.append(theta.copy())
    return np.array(points)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


# ------------------------------------------------------------------------------------------------------------- momentum


def test_gradient_descent_is_theta_minus_rate_times_gradient():
    close(path(lambda ps: optim.SGD(ps, lr=E)), written(lambda th, g, t, s: th - E * g))


def test_momentum_as_a_velocity():
    def step(th, g, t, s):
        s["v"] = A * s["v"] - E * g
        return th + s["v"]

    close(path(lambda ps: optim.SGD(ps, lr=E, momentum=A, momentum_form="velocity")), written(step, v=0))


def test_momentum_as_a_moving_average():
    def step(th, g, t, s):
        s["v"] = A * s["v"] + (1 - A) * g
        return th - E * s["v"]

    close(path(lambda ps: optim.SGD(ps, lr=E, momentum=A, momentum_form="ewma")), written(step, v=0))


def test_momentum_as_a_running_sum():
    def step(th, g, t, s):
        s["v"] = A * s["v"] + g
        return th - E * s["v"]

    close(path(lambda ps: optim.SGD(ps, lr=E, momentum=A)), written(step, v=0))


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_three_forms_of_momentum_walk_one_path_while_the_rate_is_constant(nesterov):
    total = path(lambda ps: optim.SGD(ps, lr=E, momentum=A, nesterov=nesterov))
    velocity = path(lambda ps: optim.SGD(ps, lr=E, momentum=A, nesterov=nesterov, momentum_form="velocity"))
    mean = path(lambda ps: optim.SGD(ps, lr=E / (1 - A), momentum=A, nesterov=nesterov, momentum_form="ewma"))
    close(total, velocity)
    close(total, mean)


def test_when_the_rate_falls_a_velocity_keeps_the_old_steps_and_a_sum_does_not():
    rates = [E] * 6 + [0.0] * 6
    total = path(lambda ps: optim.SGD(ps, lr=E, momentum=A), rates=rates)
    velocity = path(lambda ps: optim.SGD(ps, lr=E, momentum=A, momentum_form="velocity"), rates=rates)
    close(total[:6], velocity[:6])
    assert (total[6:] == total[5]).all()
    close(velocity[6] - velocity[5], A * (velocity[5] - velocity[4]))


@pytest.mark.parametrize("form", ["accumulate", "velocity", "ewma"])
def test_without_momentum_every_form_is_gradient_descent(form):
    assert (path(lambda ps: optim.SGD(ps, lr=E, momentum_form=form)) == path(lambda ps: optim.SGD(ps, lr=E))).all()


def test_the_first_momentum_step_is_not_dampened():
    ours = path(lambda ps: optim.SGD(ps, lr=E, momentum=A, dampening=0.5))
    close(ours[0], START - E * GRADIENTS[0])
    close(ours[1], ours[0] - E * (A * GRADIENTS[0] + 0.5 * GRADIENTS[1]))


def quartic(p):
    return ((p - 0.3) ** 4).sum() + (p * p).sum()


def quartic_slope(th):
    return 4 * (th - 0.3) ** 3 + 2 * th


def test_nag_takes_its_gradient_at_the_look_ahead_point():
    p = mg.tensor(START / 3, requires_grad=True)
    opt = optim.NAG([p], lr=0.02, momentum=A)
    theta, v = START / 3, np.zeros(3)
    for _ in range(20):
        loss = opt.step(lambda: quartic(p))
        ahead = theta + A * v
        assert math.isclose(loss.item(), ((ahead - 0.3) ** 4).sum() + (ahead**2).sum())
        v = A * v - 0.02 * quartic_slope(ahead)
        theta = theta + v
        close(p.data, theta)


@pytest.mark.parametrize("form", ["accumulate", "velocity"])
def test_the_rearranged_nesterov_walks_the_look_ahead_points_of_nag(form):
    p, q = mg.tensor(START / 3, requires_grad=True), mg.tensor(START / 3, requires_grad=True)
    literal = optim.NAG([p], lr=0.02, momentum=A, weight_decay=0.1)
    rearranged = optim.SGD([q], lr=0.02, momentum=A, weight_decay=0.1, nesterov=True, momentum_form=form)
    for _ in range(30):
        literal.step(lambda: quartic(p))
        rearranged.step(lambda: quartic(q))
        close(p.data + A * literal.state[p]["v"], q.data)


# ------------------------------------------------------------------------------------------------- adaptive, as the notes


@pytest.mark.parametrize("inside", [True, False])
def test_adagrad_with_delta_inside_or_outside_the_root(inside):
    def step(th, g, t, s):
        s["G"] = s["G"] + g * g
        return th - E * g / (np.sqrt(s["G"] + D) if inside else np.sqrt(s["G"]) + D)

    close(path(lambda ps: optim.Adagrad(ps, lr=E, eps=D, eps_inside_root=inside)), written(step, G=0))


def test_adagrad_starts_from_its_initial_accumulator_value():
    def step(th, g, t, s):
        s["G"] = s["G"] + g * g
        return th - E / (1 + (t - 1) * 0.2) * g / (np.sqrt(s["G"]) + D)

    make = lambda ps: optim.Adagrad(ps, lr=E, eps=D, lr_decay=0.2, initial_accumulator_value=0.7)
    close(path(make), written(step, G=0.7))


@pytest.mark.parametrize("inside", [True, False])
def test_rmsprop_with_delta_inside_or_outside_the_root(inside):
    def step(th, g, t, s):
        s["r"] = A * s["r"] + (1 - A) * g * g
        return th - E * g / (np.sqrt(s["r"] + D) if inside else np.sqrt(s["r"]) + D)

    close(path(lambda ps: optim.RMSprop(ps, lr=E, alpha=A, eps=D, eps_inside_root=inside)), written(step, r=0))


def test_centered_rmsprop_survives_gradients_without_variance():
    p = mg.tensor(np.zeros(1000), requires_grad=True)
    opt = optim.RMSprop([p], lr=1e-6, alpha=0.3, eps=1e-3, centered=True)
    for _ in range(60):
        p.grad = mg.tensor(np.linspace(-1, 1, 1000))
        opt.step()
        assert np.isfinite(p.data).all()
    r, m = opt.state[p]["r"], opt.state[p]["m"]
    assert (r - m * m).min() < 0  # 0 in exact arithmetic, and a little below it in ours


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("corrected", [False, True])
def test_adam_with_both_places_of_delta_with_and_without_bias_correction(inside, corrected):
    def step(th, g, t, s):
        s["m"] = A * s["m"] + (1 - A) * g
        s["v"] = 0.99 * s["v"] + (1 - 0.99) * g * g
        m = s["m"] / (1 - A**t) if corrected else s["m"]
        v = s["v"] / (1 - 0.99**t) if corrected else s["v"]
        return th - E * m / (np.sqrt(v + D) if inside else np.sqrt(v) + D)

    make = lambda ps: optim.Adam(ps, lr=E, betas=(A, 0.99), eps=D, eps_inside_root=inside, bias_correction=corrected)
    close(path(make), written(step, m=0, v=0))


def test_adams_first_step_is_its_rate_and_without_correction_a_multiple_of_it():
    first = path(lambda ps: optim.Adam(ps, lr=E, eps=0.0))[0] - START
    close(np.abs(first), np.full(3, E))
    uncorrected = path(lambda ps: optim.Adam(ps, lr=E, eps=0.0, bias_correction=False))[0] - START
    close(np.abs(uncorrected), np.full(3, E * (1 - 0.9) / math.sqrt(1 - 0.999)))
    blown_up = path(lambda ps: optim.Adam(ps, lr=E, betas=(0.0, 0.9999), eps=0.0, bias_correction=False))[0] - START
    close(np.abs(blown_up), np.full(3, 100 * E))


def test_amsgrad_divides_by_the_largest_raw_second_moment_so_far():
    def step(th, g, t, s):
        s["m"] = A * s["m"] + (1 - A) * g
        s["v"] = 0.5 * s["v"] + 0.5 * g * g
        s["top"] = np.maximum(s["top"], s["v"])
        return th - E * (s["m"] / (1 - A**t)) / (np.sqrt(s["top"] / (1 - 0.5**t)) + D)

    close(path(lambda ps: optim.Adam(ps, lr=E, betas=(A, 0.5), eps=D, amsgrad=True)), written(step, m=0, v=0, top=0))


def test_adamw_decays_by_the_rate_times_lambda_theta():
    def step(th, g, t, s):
        s["m"] = A * s["m"] + (1 - A) * g
        s["v"] = 0.99 * s["v"] + (1 - 0.99) * g * g
        return th - E * (s["m"] / (1 - A**t) / (np.sqrt(s["v"] / (1 - 0.99**t)) + D) + 0.2 * th)

    close(path(lambda ps: optim.AdamW(ps, lr=E, betas=(A, 0.99), eps=D, weight_decay=0.2)), written(step, m=0, v=0))


@pytest.mark.parametrize("threshold", [4.0, 5.0])
def test_radam_of_the_paper_and_of_pytorch_differ_by_when_they_begin_to_adapt(threshold):
    b2 = 0.9
    rho_inf = 2 / (1 - b2) - 1
    adapted = []

    def step(th, g, t, s):
        s["m"] = A * s["m"] + (1 - A) * g
        s["v"] = b2 * s["v"] + (1 - b2) * g * g
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        adapted.append(rho > threshold)
        if not adapted[-1]:
            return th - E * s["m"] / (1 - A**t)
        r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        return th - E * r * s["m"] / (1 - A**t) / (np.sqrt(s["v"]) + D) * math.sqrt(1 - b2**t)

    expected = written(step, m=0, v=0)
    close(path(lambda ps: optim.RAdam(ps, lr=E, betas=(A, b2), eps=D, rho_threshold=threshold)), expected)
    assert adapted.count(False) == (4 if threshold == 4.0 else 5)  # ρ is 1, 1.95, 2.86, 3.74, 4.58, 5.39, ...


# --------------------------------------------------------------------------------------------------------------- LAMB


def lamb(th, g, t, s, decay=0.0, bounds=(0, math.inf), corrected=True):
    s["m"] = A * s["m"] + (1 - A) * g
    s["v"] = 0.99 * s["v"] + (1 - 0.99) * g * g
    m = s["m"] / (1 - A**t) if corrected else s["m"]
    v = s["v"] / (1 - 0.99**t) if corrected else s["v"]
    u = m / (np.sqrt(v) + D) + decay * th
    return th - E * np.clip(np.linalg.norm(th), *bounds) / np.linalg.norm(u) * u


@pytest.mark.parametrize("settings", [{}, {"decay": 0.3}, {"corrected": False}, {"bounds": (0.5, 2.0)}])
def test_lamb_moves_a_layer_by_a_fraction_of_its_size(settings):
    names = {"decay": "weight_decay", "corrected": "bias_correction", "bounds": "norm_bounds"}
    given = {names[name]: value for name, value in settings.items()}
    expected = written(lambda *a: lamb(*a, **settings), m=0, v=0)
    close(path(lambda ps: optim.LAMB(ps, lr=E, betas=(A, 0.99), eps=D, **given)), expected)


def test_lamb_measures_each_layer_by_itself_and_starts_one_that_is_zero():
    big, zero = mg.tensor([30.0, 40.0], requires_grad=True), mg.tensor([0.0, 0.0], requires_grad=True)
    opt = optim.LAMB([big, zero], lr=0.1)
    opt.step(lambda: big[0] + zero[1])
    np.testing.assert_allclose(big.data, [25, 40], rtol=1e-6)  # 0.1 of 50, all of it along the gradient
    np.testing.assert_allclose(zero.data, [0, -0.1], rtol=1e-5)  # the factor is 1
    still = mg.tensor([1.0, 1.0], requires_grad=True)
    opt = optim.LAMB([still], lr=0.1)
    opt.step(lambda: (still * 0).sum())
    assert (still.data == 1).all()  # no direction: no step, and no division by zero


# ---------------------------------------------------------------------------------------------------------- weight decay

COUPLED = ["SGD", "NAG", "Adagrad", "RMSprop", "Adam", "RAdam"]


@pytest.mark.parametrize("name", COUPLED)
def test_weight_decay_is_the_gradient_of_the_penalty(name):
    p, q = mg.tensor(START, requires_grad=True), mg.tensor(START, requires_grad=True)
    decayed, plain = getattr(optim, name)([p], weight_decay=0.3, lr=0.01), getattr(optim, name)([q], lr=0.01)
    for _ in range(10):
        decayed.step(lambda: quartic(p))
        plain.step(lambda: quartic(q) + 0.5 * 0.3 * (q * q).sum())
        close(p.data, q.data)


@pytest.mark.parametrize("name", [*COUPLED, "AdamW", "LAMB"])
def test_to_maximize_is_to_minimize_the_negative(name):
    p, q = mg.tensor(START, requires_grad=True), mg.tensor(START, requires_grad=True)
    settings = {"lr": 0.01, "weight_decay": 0.1}
    up, down = getattr(optim, name)([p], maximize=True, **settings), getattr(optim, name)([q], **settings)
    for _ in range(10):
        up.step(lambda: -quartic(p))
        down.step(lambda: quartic(q))
        close(p.data, q.data)
