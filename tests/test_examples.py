"""The examples do what they say: each is run as a reader would run it, and what it claims is looked at."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, tmp_path, **constants):
    """Run an example as a program, its pictures going to a folder of the test; some of its constants may be smaller."""
    source = (EXAMPLES / name).read_text()
    for constant, value in constants.items():
        source, count = re.subn(rf"^{constant} = .*$", f"{constant} = {value}", source, flags=re.MULTILINE)
        assert count == 1
    copy = tmp_path / name
    copy.write_text(source)
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
