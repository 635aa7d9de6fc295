"""The examples do what they say: each is run as a reader would run it, and what it claims is looked at."""

import math
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from tests.optim.distributed.launch import Job

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, tmp_path, **constants):
    """Run an example as a program, its pictures going to a folder of the test; some of its constants may be smaller."""
    source = (EXAMPLES / name).read_text()
    for constant, value in constants.items():
        source, count = re.subn(rf"^{constant} = .*$", f"{constant} = {value}", source, flags=re.MULTILINE)
        assert count == 1
    copy = tmp_path / name
    copy.write_text(source)
    with mock.patch.object(sys, "argv", [str(copy)]):
        runpy.run_path(str(copy), run_name="__main__")
    return tmp_path / "output"


def test_xor_is_learned_from_scratch(tmp_path, capsys):
    run("xor_from_scratch.py", tmp_path)
    guesses = [float(x) for x in re.findall(r"xor . = (-?\d\.\d+)", capsys.readouterr().out)]
    assert [round(g) for g in guesses] == [0, 1, 1, 0]


def test_digits_are_read_as_well_as_promised(tmp_path, capsys):
    output = run("digits.py", tmp_path)
    text = capsys.readouterr().out
    assert "agrees with difference quotients" in text
    accuracies = dict(re.findall(r"(\w+): test accuracy (\d+\.\d)%", text))
    assert float(accuracies["perceptron"]) >= 97
    assert float(accuracies["convolutional"]) >= 98
    pictures = {f"digits_{n}_{what}.png" for n in accuracies for what in ("learning", "mistakes")}
    assert pictures <= {path.name for path in output.iterdir()}


def test_the_boundary_between_the_moons_bends_and_in_the_end_bends_too_far(tmp_path, capsys):
    output = run("moons.py", tmp_path)
    steps = re.findall(r"step +(\d+): .*accuracy (.*)%, on unseen points (.*)%", capsys.readouterr().out)
    right = {int(step): (float(seen), float(unseen)) for step, seen, unseen in steps}
    assert right[5][0] < 90  # what a line can do
    assert right[100][1] > 95
    assert right[500][0] > right[500][1]
    assert {"moons.png", "moons.gif"} <= {path.name for path in output.iterdir()}


def test_deep_plain_networks_lose_their_gradient_and_each_cure_brings_it_back(tmp_path, capsys):
    output = run("deep_plain_vs_residual.py", tmp_path)
    lines = re.findall(r"(.*?) +gradient in layer 1: (\S+),.*: (\S+); .*accuracy (.*)%", capsys.readouterr().out)
    first, last, accuracy = ({line[0]: float(line[k]) for line in lines} for k in (1, 2, 3))
    assert first["plain"] < 1e-4 * last["plain"]
    assert accuracy["plain"] < 20
    for cured in ("2 plain layers", "Kaiming", "batch norm", "residual"):
        assert first[cured] > 0.1 * last[cured]
        assert accuracy[cured] > 70
    assert (output / "deep_plain_vs_residual.png").exists()


def nats(text):
    """What `char_lm.py` printed: the loss on unseen words, by the name of who was surprised."""
    return {name: float(loss) for name, loss in re.findall(r"(.+): (\S+) nats per letter of unseen words", text)}


def test_one_epoch_of_spelling_beats_counting_pairs(tmp_path, capsys):
    output = run("char_lm.py", tmp_path, EPOCHS=1)
    text = capsys.readouterr().out
    loss = nats(text)
    assert loss["recurrent"] < loss["counting pairs"] < 3.3
    assert loss["transformer"] < loss["counting pairs"]
    assert len(re.findall(r"invents [a-z]+, [a-z]+, ", text)) == 2
    assert (output / "char_lm.png").exists()


@pytest.mark.slow
def test_both_networks_learn_to_spell_and_of_few_words_the_recurrent_one_makes_more(tmp_path, capsys):
    run("char_lm.py", tmp_path)
    loss = nats(capsys.readouterr().out)
    assert loss["recurrent"] < loss["counting pairs"] - 0.4
    assert loss["transformer"] < loss["counting pairs"] - 0.2
    assert loss["recurrent"] < loss["transformer"] - 0.05


def test_the_best_step_of_a_difference_quotient_is_where_theory_puts_it(tmp_path, capsys):
    output = run("numeric_gradient.py", tmp_path)
    rows = re.findall(r"(float..)  (\w+) +(\S+) +(\S+)\n", capsys.readouterr().out)
    for name, quotient, step, error in rows[:4]:
        u = {"float32": 2.0**-24, "float64": 2.0**-53}[name]
        power = {"ahead": 1 / 2, "central": 1 / 3}[quotient]  # of u: the best step; the rest is what f loses by it
        assert u**power / 5 < float(step) < 5 * u**power
        assert u ** (1 - power) / 10 < float(error) < 10 * u ** (1 - power)
    assert rows[4][1] == "backward" and float(rows[4][3]) < 4 * 2.0**-24
    assert (output / "numeric_gradient.png").exists()


def test_curvature_saves_steps_and_its_cost_grows_as_said(tmp_path, capsys):
    output = run("newton_and_friends.py", tmp_path)
    text = capsys.readouterr().out
    steps = {}
    for problem, lines in re.findall(r"(.*), until the loss is below.*\n((?:  .*\n)+)", text):
        steps[problem] = {name: int(k) for name, k in re.findall(r"  (\w.*?) +>? ?(\d+) steps", lines)}
    for problem, taken in steps.items():
        assert taken["natural gradient"] <= 2
        assert taken["Newton"] == 1 or problem == "Rosenbrock"
        assert 10 < taken["L-BFGS"] < 60
        assert 10 < taken["BFGS"] < 90
        assert taken["gradient descent"] > 600
    hessian, solving = map(float, re.search(r"grow as n to the \S+, (\S+), (\S+)", text).groups())
    assert 0.8 < hessian < 2.5  # the limit is 2; little work is as dear as none
    assert 1.5 < solving < 3.8
    assert {"newton_and_friends.png", "newton_cost.png"} <= {path.name for path in output.iterdir()}


def test_kfac_takes_half_of_adams_steps_at_most(tmp_path, capsys):
    output = run("kfac_digits.py", tmp_path)
    mean, spread = re.search(r"steps for 200 of Adam's: (\S+) ± (\S+);", capsys.readouterr().out).groups()
    assert float(mean) <= 100
    assert float(spread) < 30
    assert (output / "kfac_digits.png").exists()


def story(name, tmp_path):
    """The functions of an example that takes longer, to be called with less to do; pictures go to the test's folder."""
    copy = tmp_path / name
    copy.write_text((EXAMPLES / name).read_text())
    return SimpleNamespace(**runpy.run_path(str(copy)), output=tmp_path / "output")


def test_in_a_half_pipe_momentum_and_own_rates_arrive_and_turning_it_costs_the_latter(tmp_path, capsys):
    race = story("race.py", tmp_path)
    race.main({key: race.SURFACES[key] for key in ("bowl", "turned_bowl")}, steps=100)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:15]]
    steps = {name: (cells[0], cells[1] if cells[0] == "-" else cells[3]) for name, *cells in lines}
    assert len(steps) == 13
    assert steps["SGD"] == ("-", "-")
    assert int(steps["momentum"][0]) < 80 and int(steps["momentum"][1]) < 80
    assert int(steps["RMSprop"][0]) < 30 and steps["RMSprop"][1] == "-"
    files = {path.name for path in race.output.iterdir()}
    kinds = [f"race_{key}_{family}" for key in ("bowl", "turned_bowl") for family in ("one_rate", "own_rates")]
    assert {f"{kind}{end}" for kind in kinds for end in (".png", "_progress.png", ".gif")} <= files
    assert "race_adam_moments.gif" in files


@pytest.mark.slow
def test_each_surface_of_the_race_stops_whom_it_should(tmp_path):
    race = story("race.py", tmp_path)
    results = race.main()
    steps = {key: {name: race.arrived(path) for name, (path, _) in runs.items()} for key, runs in results.items()}
    assert steps["rosenbrock"]["momentum"] < 300 < steps["rosenbrock"]["SGD"]
    assert steps["plateau"]["Adam"] < 150 and steps["plateau"]["SGD"] == math.inf
    assert steps["saddle"]["Adam"] < steps["saddle"]["SGD"] < steps["saddle"]["SAM"]
    assert min(steps["rastrigin"].values()) == math.inf
    assert all(path.points[-1, 0] > 0 for path, _ in results["double_well"].values())
    assert "nobody" in "".join(race.lessons(results))


def test_every_optimizer_learns_the_digits_at_a_rate_that_suits_it(tmp_path, capsys):
    comparison = story("compare_optimizers.py", tmp_path)
    suitable = {"Adam": 0.01, "AdamW": 0.01, "RAdam": 0.03, "Adagrad": 0.03, "RMSprop": 0.003, "LAMB": 0.01}
    comparison.main.__globals__["best_rate"] = lambda make, data, epochs: suitable.get(
        next(name for name in comparison.METHODS if comparison.METHODS[name] is make), 0.3
    )
    results = comparison.main(seeds=[0], epochs=10)
    assert len(results) == 13
    for name, (_, ((history, seconds, test),)) in results.items():
        assert test > 0.9, name
        assert len(seconds) == len(history.validation_metric) == 10
    assert "one would compare rates" in capsys.readouterr().out
    assert (comparison.output / "compare_optimizers.png").exists()


@pytest.mark.slow
def test_the_optimizers_differ_in_speed_and_hardly_in_the_end(tmp_path):
    comparison = story("compare_optimizers.py", tmp_path)
    results = comparison.main()
    epochs = {name: np.mean([comparison.until_target(run[0]) for run in runs]) for name, (_, runs) in results.items()}
    tests = {name: np.mean([run[2] for run in runs]) for name, (_, runs) in results.items()}
    assert max(epochs.values()) > 2.5 * min(epochs.values())
    assert max(epochs["Nesterov"], epochs["Adam"], epochs["momentum"]) < 0.6 * epochs["SGD"]
    assert max(tests.values()) - min(tests.values()) < 0.03
    assert len({lr for lr, _ in results.values()}) >= 4


def test_without_its_correction_adams_first_steps_are_as_long_as_the_formula_says(tmp_path, capsys):
    adam = story("first_steps_of_adam.py", tmp_path)
    lengths, results = adam.main(seeds=[0], epochs=3)
    t = np.arange(1, 2001)
    np.testing.assert_allclose(lengths["not corrected"], (1 - 0.9**t) / np.sqrt(1 - 0.999**t), rtol=1e-5)
    np.testing.assert_allclose(lengths["corrected"], 1, rtol=1e-5)
    early = {setting: max(history.loss[:50]) for setting, (history,) in results.items()}
    assert early[0.05, "not corrected"] > 2 * early[0.05, "corrected"]
    text = capsys.readouterr().out
    assert "step 1 is 3.16 times the rate" in text and "step 12 is the longest, 6.57 times" in text
    names = {path.name for path in adam.output.iterdir()}
    assert {
        "first_steps_of_adam.png",
        "first_steps_of_adam_rosenbrock.png",
        "first_steps_of_adam_rosenbrock.gif",
    } <= names


@pytest.mark.slow
def test_long_first_steps_help_at_a_small_rate_and_wreck_the_network_at_a_large_one(tmp_path, capsys):
    run("first_steps_of_adam.py", tmp_path)
    text = capsys.readouterr().out
    verdicts = dict(re.findall(r"at rate (\S+), .*: (.*)", text))
    assert verdicts["0.001"] == "long first steps help"
    assert verdicts["0.05"] == "long first steps hurt"


def test_averages_leave_the_noise_and_the_lag_that_their_weights_say(tmp_path, capsys):
    averages = story("averages.py", tmp_path)
    found, missed, tests = averages.main(seeds=[0], steps=150, epochs=1, rates=(0.1,))
    alone = {"SMA(5)": (1 / 5, 2), "SMA(20)": (1 / 20, 9.5), "EWMA(0.5)": (1 / 3, 1), "EWMA(0.9)": (1 / 19, 9)}
    alone["WMA(10 ... 1)"] = (sum(w * w for w in range(11)) / 55**2, 3)
    for name, (expected, left, lag, measured) in found.items():
        np.testing.assert_allclose(
            [expected, lag, measured], [alone[name][0], alone[name][1], alone[name][1]], rtol=1e-6
        )
        assert 0.6 * expected < left < 1.4 * expected
    assert missed["SMA(5)"][0] < 0.7 * missed["no average"][0]
    assert tests.keys() == {"no average", *averages.AVERAGES}
    assert (averages.output / "averages.png").exists()


@pytest.mark.slow
def test_averaged_gradients_bear_a_rate_that_single_ones_do_not(tmp_path):
    _, missed, tests = story("averages.py", tmp_path).main()
    assert np.mean(missed["EWMA(0.9)"]) < 0.5 * np.mean(missed["no average"])
    assert np.mean(missed["WMA, fitted"]) < np.mean(missed["WMA(10 ... 1)"])
    calm, wild = (({name: np.mean(values[k]) for name, values in tests.items()}) for k in (0, 1))
    assert max(calm.values()) - min(calm.values()) < 3  # no clear effect
    assert wild["EWMA(0.9)"] > wild["no average"] + 30


def test_the_loss_stays_when_rate_and_batch_grow_together(tmp_path, capsys):
    schedules = story("schedules.py", tmp_path)
    scaled = schedules.scaling([0], epochs=5, batch_sizes=(32, 128))
    loss = {setting: losses[0] for setting, (losses, _) in scaled.items()}
    assert 0.8 < loss["k times the rate", 128] / loss["k times the rate", 32] < 1.25
    assert loss["the same rate", 128] > 3 * loss["the same rate", 32]
    warm = schedules.warm_up([0], epochs=15, rates=(0.1, 0.2))
    assert warm["with", 0.2][1] > warm["without", 0.2][1] + 20
    large = schedules.large_batch([0], epochs=15, rates=(0.03, 0.07))
    assert large["LAMB", 0.07][1] > large["Adam", 0.07][1] + 20
    schedules.OUTPUT.mkdir()
    schedules.show(scaled, warm, large)
    schedules.report("linear scaling", scaled)
    assert "k times the rate, 128" in capsys.readouterr().out
    assert (schedules.output / "schedules.png").exists()


@pytest.mark.slow
def test_schedules_do_what_the_story_says(tmp_path):
    decayed, scaled, warm, large = story("schedules.py", tmp_path).main()
    loss = {setting: losses.mean() for setting, (losses, _) in (decayed | scaled).items()}
    test = {setting: tests.mean() for setting, (_, tests) in (warm | large).items()}
    assert loss["cosine"] < 0.5 * loss["constant"]
    for size in (32, 64, 128, 256):
        assert 0.8 < loss["k times the rate", size] / loss["k times the rate", 16] < 1.25
    assert loss["k times the rate", 512] > 1.25 * loss["k times the rate", 16]
    assert loss["the same rate", 512] > 20 * loss["the same rate", 16]
    assert test["with", 0.2] > test["without", 0.2] + 40
    assert test["LAMB", 0.07] > test["Adam", 0.07] + 40


def test_sam_leaves_the_sharp_well_and_finds_networks_in_flatter_places(tmp_path, capsys):
    flat = story("sharp_and_flat.py", tmp_path)
    wells = flat.wells(radii=(0.0, 0.1), runs=5, steps=250)
    assert wells[0.0][:2] == (5, 0) and wells[0.1][1] >= 3
    assert wells[0.0][2] == pytest.approx(100, rel=1e-3) and wells[0.1][2] < 50
    found = flat.networks([0], steps=100)
    assert found[0.2, "batch 400, SAM 0.5"][0, 3] < 0.5 * found[0.2, "batch 400"][0, 3]
    flat.OUTPUT.mkdir()
    flat.show(found, flat.between(0, steps=50))
    print(flat.table(found), *flat.lessons(found))
    assert capsys.readouterr().out.count("sharpness ×") == 12
    assert (flat.output / "sharp_and_flat.png").exists()


@pytest.mark.slow
def test_large_batches_end_sharper_and_generalise_worse_unless_sam_is_there(tmp_path):
    flat = story("sharp_and_flat.py", tmp_path)
    wells, found = flat.main()
    assert wells[0.0][:2] == (20, 0) and wells[0.1][1] > 12
    sharp = {setting: rows[:, 3].mean() for setting, rows in found.items()}
    test = {setting: rows[:, 1].mean() for setting, rows in found.items()}
    for wrong in (0.0, 0.2):
        assert sharp[wrong, "batch 16"] < 0.3 * sharp[wrong, "batch 400"]
        assert sharp[wrong, "batch 400, SAM 0.5"] < 0.3 * sharp[wrong, "batch 400"]
        assert test[wrong, "batch 16"] > test[wrong, "batch 400"] + 1
    assert test[0.2, "batch 400, SAM 0.5"] > test[0.2, "batch 400"] + 5
    ghosts = test[0.0, "norm, batch 400, ghosts 20"] - test[0.0, "norm, batch 400"]
    assert -0.5 < ghosts < 1.5  # no clear effect


def test_near_a_saddle_each_method_takes_the_steps_that_the_story_says(tmp_path, capsys):
    output = run("saddles.py", tmp_path)
    text = capsys.readouterr().out
    assert re.findall(r"at 0: (\w+);", text) == ["saddle", "degenerate", "saddle"]
    taken = {}
    for ground, lines in re.findall(r"(.*):\n((?:  .*\n)+)", text):
        taken[ground] = {
            name: float(k or "inf") for name, k in re.findall(r"  (\w.*?)  +(?:(\d+) steps|still.*)", lines)
        }
    assert set(taken["x² - y², from the ridge y = 0"].values()) == {float("inf")}
    beside, network = taken["x² - y², from a hair beside it"], taken["a network, from weights near 0"]
    # y grows by 1 + 0.05 · 2 a step, from 1e-6 to sqrt(0.1), where x² is gone; Newton's method doubles it.
    assert beside["gradient descent"] == math.ceil(math.log(0.1**0.5 / 1e-6) / math.log(1.1))
    assert beside["Newton"] == math.ceil(math.log2(0.1**0.5 / 1e-6))
    for steps in (beside, network):
        assert steps["Adam"] < steps["Newton"] < steps["momentum 0.9"] < steps["gradient descent"]
    assert taken["monkey saddle, from a hair beside it"]["gradient descent"] == float("inf")
    assert (output / "saddles.png").exists()


CONDITIONED = re.compile(r"κ = +(\d+), (\w.*?) *: +(\d+) steps; a step leaves (\S+) of the error, in theory (\S+)")


def test_steps_grow_with_the_condition_number_and_with_its_root(tmp_path, capsys):
    output = run("condition_number.py", tmp_path, KAPPAS="(1, 10, 100, 1000)")
    text = capsys.readouterr().out
    for kappa, method, steps, measured, theory in CONDITIONED.findall(text):
        root = float(kappa) if method == "gradient descent" else float(kappa) ** 0.5
        factor = (root - 1) / (root + 1)
        assert float(theory) == pytest.approx(factor, abs=1e-4)
        assert math.log(float(measured)) == pytest.approx(math.log(factor), rel=0.1)
        assert 0.9 < int(steps) / (math.log(1e-6) / math.log(factor)) < 1.5
    kappas = [float(k.replace(",", "")) for k in re.findall(r"diabetes.*κ = +(\S+)", text)]
    assert kappas[0] > 10 * kappas[1] > 100 * kappas[2]
    assert (output / "condition_number.png").exists()


@pytest.mark.slow
def test_the_worst_conditioned_bowl_takes_65_times_more_steps_without_momentum(tmp_path, capsys):
    run("condition_number.py", tmp_path)
    steps = {(int(kappa), method): int(k) for kappa, method, k, *_ in CONDITIONED.findall(capsys.readouterr().out)}
    assert 50 < steps[10000, "gradient descent"] / steps[10000, "momentum"] < 100


def test_convexity_is_kept_by_sums_and_maxima_and_lost_by_products(tmp_path, capsys):
    output = run("convexity.py", tmp_path, SAMPLES=100)
    text = capsys.readouterr().out
    rows = re.findall(r"^(\S.*?)  +(no witness|no) +(no witness|no) +(no witness|no)$", text, re.MULTILINE)
    convex = {name: answers.count("no witness") for name, *answers in rows}
    assert [name for name, count in convex.items() if count == 3] == [
        "(x - 1)²", "sum: (x - 1)² + (x + 1)²", "maximum of the two", "3 (x - 1)²", "exp(x²)", "logistic regression",
        "with weight decay",
    ]  # fmt: skip
    assert [name for name, count in convex.items() if count == 1] == ["minimum of the two", "-|x|"]
    assert "the sum: no violation" in text and "the product: not convex" in text
    minimum, swapped, top = map(float, re.search(r"minimum: (\S+); .*swapped: (\S+); .*up to (\S+)", text).groups())
    assert minimum == swapped < top / 3
    assert (output / "convexity.png").exists()


NOISY = re.compile(r"after +(\d+) epochs: variance falls as m\^(\S+); .*noise scale B = (\S+)")


def test_the_noise_of_a_gradient_falls_as_the_batch_grows(tmp_path, capsys):
    output = run("gradient_noise.py", tmp_path, DRAWS=20, **{"STEPS, EVERY": "500, 25"}, SIZES="(1, 8, 64)")
    text = capsys.readouterr().out
    exponents, scales = zip(*((float(p), float(b.replace(",", ""))) for _, p, b in NOISY.findall(text)))
    assert len(exponents) == 3 and all(-1.3 < p < -0.7 for p in exponents)
    assert scales[2] > 10 * scales[0]
    above = {
        name.strip(): float(e) for name, e in re.findall(r"^(.*?): after 500 steps (\S+) above", text, re.MULTILINE)
    }
    assert above["all data, rate 0.5"] < 1e-4 < above["batches of 8, rate 1 / (λ (t + 100))"]
    assert above["batches of 8, rate 0.5"] > 2 * above["batches of 8, rate 1 / (λ (t + 100))"]
    assert (output / "gradient_noise.png").exists()


@pytest.mark.slow
def test_sgd_falls_as_1_over_t_at_a_falling_rate_and_no_more_at_a_constant_one(tmp_path, capsys):
    run("gradient_noise.py", tmp_path)
    text = capsys.readouterr().out
    assert all(-1.1 < float(p) < -0.9 for _, p, _ in NOISY.findall(text))
    laws = dict(re.findall(r"^(.*?) *: after 5000 steps .*; (falls.*)$", text, re.MULTILINE))
    assert laws["batches of 8, rate 0.5"] == laws["batches of 8, rate 0.05"] == "falls no more"
    assert 0.7 < float(re.search(r"1 / t\^(\S+)", laws["batches of 8, rate 1 / (λ (t + 100))"])[1]) < 1.3
    assert re.fullmatch(r"falls as 0\.\d+\^t", laws["all data, rate 0.5"])


def test_the_landscape_of_a_network_is_flat_but_for_a_few_directions(tmp_path, capsys):
    output = run("landscape_of_a_network.py", tmp_path, **{"SEEDS, DEEP, RHO, LR": "1, 0.1, 0.1, 0.2"})
    text = capsys.readouterr().out
    assert len(re.findall(r"batches of \d+ .* ± ", text)) == 2
    share = re.search(r"and (\d+)% of all are below 1 % of the largest", text)[1]
    assert int(share) > 80
    assert {"landscape_of_a_network.png", "landscape_spectrum.png"} <= {path.name for path in output.iterdir()}


@pytest.mark.slow
def test_small_batches_end_in_flatter_minima_and_read_unseen_digits_alike(tmp_path, capsys):
    run("landscape_of_a_network.py", tmp_path)
    rows = re.findall(r"batches of \d+ +(\d+) ± \d+ +(\S+) ± \S+ +(\S+) ± \S+ +(\S+) ±", capsys.readouterr().out)
    small, large = (tuple(map(float, row)) for row in rows)
    assert small[0] < large[0] / 30
    assert small[1] < 0.8 * large[1]
    assert abs(small[3] - large[3]) < 1


@pytest.mark.slow
def test_digits_are_learned_on_several_processes_as_on_one(tmp_path):
    copy = tmp_path / "distributed_digits.py"
    copy.write_text((EXAMPLES / copy.name).read_text().replace("EPOCHS = 6", "EPOCHS = 3"))
    for n, options in ((2, ("--checkpoint", tmp_path / "run.npz")), (1, ())):
        status, text = Job(n, copy, *options).finish(timeout=300)
        assert status == 0, text
        assert float(re.search(r"test accuracy (\S+)%", text)[1]) > 95
        assert float(re.search(r"largest difference of a loss (\S+),", text)[1]) < 1e-4
    assert (tmp_path / "run.npz").exists()
    assert (tmp_path / "output" / "distributed_digits.png").exists()


WAY = re.compile(
    r"  (\w.*?) +(\d+) pushes in .* s; staleness (\S+) on average, at most (\d+)(?: of (\d+))?; loss (\S+)"
)


@pytest.mark.slow
def test_gradients_are_as_old_as_the_way_of_serving_allows(tmp_path):
    source = (EXAMPLES / "parameter_server.py").read_text()
    copy = tmp_path / "parameter_server.py"
    copy.write_text(re.sub(r"^PUSHES, ", "PUSHES, BATCH, LR = 90, 32, 0.15  # ", source, count=1, flags=re.MULTILINE))
    status, text = Job(4, copy, cwd=tmp_path).finish()
    assert status == 0, text
    ways = WAY.findall(text)
    assert [way[0] for way in ways] == 2 * ["synchronous", "asynchronous, s = 4", "asynchronous"]
    for name, pushes, average, most, bound, loss in ways:
        assert 90 <= int(pushes) <= 93 + 2
        assert float(average) <= int(most) <= int(bound or 95)
        assert bound == {"synchronous": "0", "asynchronous, s = 4": "18", "asynchronous": ""}[name]
        assert float(loss) < 1.5  # from 2.3
    assert int(ways[2][3]) > 2  # of the slow worker, who is one of three
    assert (tmp_path / "output" / "parameter_server.png").exists()


def test_alone_nobody_is_late(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("optim.distributed.mpiexec", lambda: None)
    run("parameter_server.py", tmp_path, **{"PUSHES, BATCH, LR": "30, 32, 0.15"})
    assert {way[3] for way in WAY.findall(capsys.readouterr().out)} == {"0"}


BUBBLE = re.compile(r"m = +(\d+): .* +(\S+)% of it idle, in theory +(\S+)%; parameters differ by (\S+)")


@pytest.mark.slow
def test_the_stages_of_a_pipeline_are_idle_as_theory_says_and_learn_what_one_process_does(tmp_path):
    copy = tmp_path / "pipeline.py"
    copy.write_text((EXAMPLES / copy.name).read_text())
    status, text = Job(4, copy, cwd=tmp_path).finish(timeout=120)
    assert status == 0, text
    rows = [[*map(float, row)] for row in BUBBLE.findall(text)]
    assert [m for m, *_ in rows] == [1, 2, 4, 8, 16, 32]
    for m, idle, theory, apart in rows:
        assert theory == pytest.approx(100 * 3 / (m + 3), abs=0.05)
        assert theory - 1 < idle < theory + 5 * m
        assert apart < 1e-12
    assert (tmp_path / "output" / "pipeline.png").exists()


def test_alone_a_pipeline_starts_four_processes_or_has_all_stages(tmp_path, capsys, monkeypatch):
    started = []
    monkeypatch.setattr("optim.distributed.mpiexec", lambda: "mpiexec")
    monkeypatch.setattr("optim.distributed.start", lambda n, program: started.append((n, program)))
    smaller = {"SECONDS": "0", "MICRO_BATCHES": "(1, 4, 16)"}
    with pytest.raises(SystemExit):
        run("pipeline.py", tmp_path, **smaller)
    assert started == [(4, str(tmp_path / "pipeline.py"))]
    monkeypatch.setattr("optim.distributed.mpiexec", lambda: None)
    output = run("pipeline.py", tmp_path, **smaller)
    text = capsys.readouterr().out
    assert "one process has all stages" in text
    assert [(m, theory) for m, _, theory, apart in BUBBLE.findall(text) if float(apart) < 1e-12] == [
        ("1", "0.0"), ("4", "0.0"), ("16", "0.0")
    ]  # fmt: skip
    assert (output / "pipeline.png").exists()
