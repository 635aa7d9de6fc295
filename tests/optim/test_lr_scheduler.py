"""Schedules: PyTorch's values at every step, the notes' formulas, composition, order, saving, pictures."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

import minigrad as mg
import optim
from optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    draw,
    linear_scaling,
)
from tests.golden.paths import HERE
from tests.optim.methods import same

GOLDEN = json.loads((HERE / "torch_schedules.json").read_text())
RATES = (0.5, 0.03)


def two_groups():
    params = [mg.tensor([1.0], requires_grad=True) for _ in RATES]
    opt = optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(params, RATES)])
    return opt


def advance(opt):
    """A step of the optimizer that changes nothing."""
    for p in opt.parameters():
        p.grad = mg.zeros(1)
    opt.step()


def build(opt, name, settings):
    settings = dict(settings)
    if name == "LambdaLR":
        texts = settings["lr_lambda"]
        functions = [eval(f"lambda t: {text}") for text in ([texts] if isinstance(texts, str) else texts)]
        settings["lr_lambda"] = functions[0] if isinstance(texts, str) else functions
    if name == "SequentialLR":
        settings["schedulers"] = [build(opt, *part) for part in settings["schedulers"]]
    return getattr(optim.lr_scheduler, name)(opt, **settings)


def follow(scheduler, steps, metrics=GOLDEN["metrics"], first=0):
    """The rates of the groups, now and after each step."""
    rows = [scheduler.get_last_lr()]
    for metric in metrics[first : first + steps]:
        advance(scheduler.optimizer)
        scheduler.step(*[metric] if isinstance(scheduler, ReduceLROnPlateau) else [])
        rows.append(scheduler.get_last_lr())
    return rows


def schedule(make, steps=20, lr=1.0):
    """The rates of one group that starts with `lr`."""
    p = mg.tensor([1.0], requires_grad=True)
    return [rate for (rate,) in follow(make(optim.SGD([p], lr=lr)), steps)]


golden = pytest.mark.parametrize(
    "name, settings, rates",
    GOLDEN["schedules"],
    ids=[f"{k} {name}" for k, (name, *_) in enumerate(GOLDEN["schedules"])],
)
MAKERS = {
    **{
        f"{k} {name}": lambda opt, name=name, s=s: build(opt, name, s)
        for k, (name, s, _) in enumerate(GOLDEN["schedules"])
    },
    "LinearWarmup": lambda opt: LinearWarmup(opt, 4),
    "LinearWarmup, cosine": lambda opt: LinearWarmup(opt, 4, after=CosineAnnealingLR(opt, 20)),
    "LinearWarmup, sequence": lambda opt: LinearWarmup(
        opt, 3, after=SequentialLR(opt, [StepLR(opt, 2), ExponentialLR(opt, gamma=0.5)], [6])
    ),
}
every_schedule = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@golden
def test_the_rates_are_pytorchs_at_every_step(name, settings, rates):
    ours = follow(build(two_groups(), name, settings), len(rates) - 1)
    np.testing.assert_allclose(ours, rates, rtol=1e-12, atol=1e-14)


def test_the_formulas_of_the_notes():
    t = np.arange(21)
    close = lambda make, expected: np.testing.assert_allclose(schedule(make, lr=0.8), expected, rtol=1e-13, atol=1e-15)
    close(lambda opt: StepLR(opt, 6, gamma=0.5), 0.8 * 0.5 ** np.floor(t / 6))
    close(lambda opt: ExponentialLR(opt, rate=0.3), 0.8 * np.exp(-0.3 * t))
    close(lambda opt: ExponentialLR(opt, gamma=0.9), 0.8 * 0.9**t)
    close(lambda opt: CosineAnnealingLR(opt, 20, eta_min=0.1), 0.1 + (0.8 - 0.1) * (1 + np.cos(np.pi * t / 20)) / 2)
    close(lambda opt: MultiStepLR(opt, [3, 9]), np.where(t < 3, 0.8, np.where(t < 9, 0.08, 0.008)))
    close(lambda opt: LinearWarmup(opt, 8), np.where(t < 8, 0.8 * t / 8, 0.8))
    warm = lambda opt: LinearWarmup(opt, 8, after=ExponentialLR(opt, gamma=0.9))
    close(warm, np.where(t < 8, 0.8 * t / 8, 0.8 * 0.9**t))


def test_warm_restarts_jump_back_to_the_full_rate():
    rates = schedule(lambda opt: CosineAnnealingWarmRestarts(opt, 3, T_mult=2), steps=22)
    assert [t for t, rate in enumerate(rates) if rate == 1.0] == [0, 3, 9, 21]


def test_a_batch_k_times_as_large_gets_k_times_the_rate():
    assert linear_scaling(0.1, 8192, 256) == pytest.approx(3.2)
    assert linear_scaling(0.1, 128, 256) == pytest.approx(0.05)


def test_a_schedule_of_ones_own_is_one_formula():
    class InverseRoot(LRScheduler):
        def rate(self, t, lr):
            return lr / math.sqrt(1 + t)

    assert schedule(InverseRoot, steps=3) == [1, 1 / math.sqrt(2), 1 / math.sqrt(3), 0.5]
    p = mg.tensor([1.0], requires_grad=True)
    with pytest.raises(NotImplementedError, match=r"LRScheduler: a schedule defines rate\(t, lr\)"):
        LRScheduler(optim.SGD([p]))


@every_schedule
def test_a_saved_schedule_goes_on_at_the_same_rates(make):
    whole = follow(make(two_groups()), 30)
    for stop in (1, 4, 13):
        first = make(two_groups())
        follow(first, stop)
        opt = two_groups()
        advance(opt)
        second = make(opt)
        second.load_state_dict(first.state_dict())
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        assert follow(second, 30 - stop, first=stop) == whole[stop:]
        assert same(second.state_dict(), make(two_groups()).state_dict()) is False


@every_schedule
def test_a_state_dict_can_be_saved_to_a_file(make, tmp_path):
    scheduler = make(two_groups())
    follow(scheduler, 5)
    mg.save(scheduler.state_dict(), tmp_path / "schedule.npz")
    other = make(two_groups())
    other.load_state_dict(mg.load(tmp_path / "schedule.npz"))
    assert other.state_dict() == scheduler.state_dict()


def test_saved_settings_are_taken_over():
    ours, theirs = StepLR(two_groups(), 5), StepLR(two_groups(), 2, gamma=0.7)
    ours.load_state_dict(theirs.state_dict())
    assert (ours.step_size, ours.gamma) == (2, 0.7)


def test_saved_settings_of_parts_are_taken_over():
    opt, other = two_groups(), two_groups()
    ours, theirs = StepLR(opt, 5), StepLR(other, 2, gamma=0.7)
    whole = LinearWarmup(opt, 3, after=ours)
    whole.load_state_dict(LinearWarmup(other, 4, after=theirs).state_dict())
    assert (whole.warmup_steps, ours.step_size, ours.gamma) == (4, 2, 0.7)


def test_a_state_dict_is_a_copy():
    opt = two_groups()
    scheduler = MultiStepLR(opt, [3, 5])
    saved = scheduler.state_dict()
    opt.add_param_group({"params": [mg.tensor([1.0], requires_grad=True)]})
    advance(opt)
    scheduler.step()
    assert (saved["t"], saved["base_lrs"]) == (0, [*RATES])


def test_a_group_added_later_joins_in_the_middle():
    opt = two_groups()
    scheduler = StepLR(opt, 3, gamma=0.5)
    follow(scheduler, 4)
    opt.add_param_group({"params": [mg.tensor([1.0], requires_grad=True)], "lr": 0.8})
    advance(opt)
    scheduler.step()
    assert scheduler.get_last_lr() == [0.25, 0.015, 0.4]


def test_parts_do_not_disturb_each_other_however_they_are_made():
    opt = two_groups()
    warm, rest = LinearWarmup(opt, 3), ExponentialLR(opt, gamma=0.5)  # warm has set the rate to 0
    rows = follow(SequentialLR(opt, [warm, rest], [5]), 7)
    expected = [0, 1 / 3, 2 / 3, 1, 1, 1, 0.5, 0.25]
    np.testing.assert_allclose([row[0] for row in rows], [0.5 * f for f in expected])


def test_a_schedule_drives_a_wrapped_optimizer():
    p = mg.tensor([1.0], requires_grad=True)
    opt = optim.SAM(optim.Lookahead(optim.SGD([p], lr=1.0)))
    scheduler = StepLR(opt, 1, gamma=0.5)
    opt.step(lambda: (p * p).sum())
    scheduler.step()
    assert opt.base.base.param_groups[0]["lr"] == 0.5


# --------------------------------------------------------------------------------------------------------- what is wrong


def test_stepping_before_the_optimizer_is_an_error():
    opt = two_groups()
    scheduler = StepLR(opt, 3)
    with pytest.raises(
        RuntimeError, match=r"StepLR.step: the optimizer has not been stepped.*call optimizer.step\(\) before"
    ):
        scheduler.step()
    assert scheduler.t == 0 and scheduler.get_last_lr() == [*RATES]


def test_stepping_a_part_is_an_error():
    opt = two_groups()
    part = StepLR(opt, 3)
    LinearWarmup(opt, 2, after=part)
    advance(opt)
    with pytest.raises(RuntimeError, match=r"StepLR.step: it is part of a LinearWarmup; step that one instead"):
        part.step()


NAN = float("nan")


def used(opt):
    scheduler = StepLR(opt, 3)
    advance(opt)
    scheduler.step()
    return scheduler


# fmt: off
BAD = {
    "not an optimizer":         (TypeError,  "StepLR: optimizer is a list",             lambda opt: StepLR([opt], 3)),
    "step_size 0":              (ValueError, "StepLR: step_size = 0; wanted an integer >= 1", lambda opt: StepLR(opt, 0)),
    "step_size 2.5":            (ValueError, "StepLR: step_size = 2.5",                 lambda opt: StepLR(opt, 2.5)),
    "gamma NaN":                (ValueError, "StepLR: gamma = nan",                     lambda opt: StepLR(opt, 3, NAN)),
    "gamma negative":           (ValueError, "MultiStepLR: gamma = -0.1",               lambda opt: MultiStepLR(opt, [3], -0.1)),
    "milestones not integers":  (ValueError, "MultiStepLR: milestones = [3, 'x']",      lambda opt: MultiStepLR(opt, [3, "x"])),
    "gamma and rate":           (ValueError, "ExponentialLR: gamma = 0.9, rate = 0.1; wanted just one", lambda opt: ExponentialLR(opt, 0.9, rate=0.1)),
    "neither gamma nor rate":   (ValueError, "wanted just one of them",                 lambda opt: ExponentialLR(opt)),
    "rate NaN":                 (ValueError, "ExponentialLR: rate = nan",               lambda opt: ExponentialLR(opt, rate=NAN)),
    "T_max 0":                  (ValueError, "CosineAnnealingLR: T_max = 0",            lambda opt: CosineAnnealingLR(opt, 0)),
    "eta_min negative":         (ValueError, "CosineAnnealingLR: eta_min = -1",         lambda opt: CosineAnnealingLR(opt, 3, -1)),
    "T_0 0":                    (ValueError, "CosineAnnealingWarmRestarts: T_0 = 0",    lambda opt: CosineAnnealingWarmRestarts(opt, 0)),
    "T_mult 1.5":               (ValueError, "CosineAnnealingWarmRestarts: T_mult = 1.5", lambda opt: CosineAnnealingWarmRestarts(opt, 3, 1.5)),
    "not a function":           (ValueError, "LambdaLR: lr_lambda",                     lambda opt: LambdaLR(opt, [0.1, 0.2])),
    "too few functions":        (ValueError, "LambdaLR: 1 functions for 2 parameter groups", lambda opt: LambdaLR(opt, [lambda t: 1.0])),
    "a function gone wrong":    (ValueError, "SGD: lr = nan",                           lambda opt: LambdaLR(opt, lambda t: NAN)),
    "warmup_steps 0":           (ValueError, "LinearWarmup: warmup_steps = 0",          lambda opt: LinearWarmup(opt, 0)),
    "after on another":         (ValueError, "LinearWarmup: its StepLR was made for another optimizer", lambda opt: LinearWarmup(opt, 3, StepLR(two_groups(), 2))),
    "after in use":             (ValueError, "LinearWarmup: its StepLR is in use already", lambda opt: LinearWarmup(opt, 3, used(opt))),
    "after a plateau":          (TypeError,  "LinearWarmup: got a ReduceLROnPlateau",   lambda opt: LinearWarmup(opt, 3, ReduceLROnPlateau(opt))),
    "after a number":           (TypeError,  "LinearWarmup: got a float",               lambda opt: LinearWarmup(opt, 3, 0.1)),
    "too few milestones":       (ValueError, "SequentialLR: milestones = []; wanted 1 rising", lambda opt: SequentialLR(opt, [StepLR(opt, 2), StepLR(opt, 3)], [])),
    "falling milestones":       (ValueError, "SequentialLR: milestones = [5, 3]",       lambda opt: SequentialLR(opt, [StepLR(opt, k) for k in (1, 2, 3)], [5, 3])),
    "one part twice":           (ValueError, "is in use already",                       lambda opt: SequentialLR(opt, [StepLR(opt, 2)] * 2, [5])),
    "mode":                     (ValueError, "ReduceLROnPlateau: mode = 'low'; wanted one of 'min', 'max'", lambda opt: ReduceLROnPlateau(opt, "low")),
    "factor 1":                 (ValueError, "ReduceLROnPlateau: factor = 1.0",         lambda opt: ReduceLROnPlateau(opt, factor=1.0)),
    "patience -1":              (ValueError, "ReduceLROnPlateau: patience = -1",        lambda opt: ReduceLROnPlateau(opt, patience=-1)),
    "min_lr text":              (ValueError, "ReduceLROnPlateau: min_lr",               lambda opt: ReduceLROnPlateau(opt, min_lr=[0.1, None])),
    "PyTorch's last_epoch":     (TypeError,  "last_epoch",                              lambda opt: StepLR(opt, 3, last_epoch=4)),
    "a foreign state dict":     (ValueError, "StepLR.load_state_dict: wanted a dict of base_lrs, gamma, step_size, t; got", lambda opt: StepLR(opt, 3).load_state_dict(ExponentialLR(opt, 0.9).state_dict())),
    "a state of fewer groups":  (ValueError, "base_lrs = [0.1, 0.1, 0.1]",              lambda opt: (s := StepLR(opt, 3)).load_state_dict({**s.state_dict(), "base_lrs": [0.1] * 3})),
    "a negative t":             (ValueError, "StepLR.load_state_dict: t = -1",          lambda opt: (s := StepLR(opt, 3)).load_state_dict({**s.state_dict(), "t": -1})),
    "linear_scaling by 0":      (ValueError, "linear_scaling: base_batch_size = 0",     lambda opt: linear_scaling(0.1, 32, 0)),
    "draw no steps":            (ValueError, "draw: steps = 0",                         lambda opt: draw(StepLR(opt, 3), 0)),
    "draw a plateau":           (TypeError,  "draw: the rates of ReduceLROnPlateau depend on the metric", lambda opt: draw(ReduceLROnPlateau(opt), 9)),
}
# fmt: on


@pytest.mark.parametrize("error, words, call", BAD.values(), ids=BAD)
def test_a_bad_call_names_the_culprit_and_changes_no_rate(error, words, call):
    opt = two_groups()
    with pytest.raises(error) as caught:
        call(opt)
    assert words in str(caught.value)
    assert [group["lr"] for group in opt.param_groups] == [*RATES]


# -------------------------------------------------------------------------------------------------------------- pictures


def test_a_drawing_shows_a_line_per_group_and_steps_nothing():
    opt = two_groups()
    scheduler = LinearWarmup(opt, 4, after=CosineAnnealingLR(opt, 20))
    ax = draw(scheduler, 21)
    assert scheduler.t == 0 and len(ax.lines) == 2
    np.testing.assert_allclose(
        ax.lines[0].get_ydata()[:6],
        [0, 0.125, 0.25, 0.375, 0.5 * (1 + math.cos(math.pi / 5)) / 2, 0.5 * (1 + math.cos(math.pi / 4)) / 2],
    )
    assert draw(StepLR(two_groups(), 3), 5, ax=ax, label="steps") is ax
    assert [line.get_label() for line in ax.lines] == ["LinearWarmup"] * 2 + ["steps"] * 2
    plt.close("all")
