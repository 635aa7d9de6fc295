"""`detect_anomaly` names the op, the line and the numbers behind the first NaN or infinity, and says nothing otherwise."""

import gc
import inspect
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import engine
from minigrad import functional as F
from minigrad.autograd import AnomalyError, detect_anomaly


def leaf(data, **options):
    return mg.tensor(data, requires_grad=True, **options)


def complaint(function, **options):
    """What detect_anomaly says about a function. It quotes the function's line: expect words on another line."""
    with pytest.raises(AnomalyError) as caught, detect_anomaly(**options):
        function()
    return str(caught.value)


def line_of(function, words):
    """How a traceback refers to the line of a function that contains these words."""
    lines, start = inspect.getsourcelines(function)
    number = next(k for k, line in enumerate(lines, start) if words in line)
    return f'test_anomaly.py", line {number}, in {function.__name__}\n    {lines[number - start].strip()}\n'


# ---------------------------------------------------------------------------------------------------------- in forward


def logarithm_of_zero():
    p = leaf([0.5, 0.0, 1.0])
    return -(mg.sqrt(p) * mg.log(p)).sum()


def overflow():
    return mg.exp(leaf([[1.0, 100.0]]))


def zero_by_zero():
    x = leaf(0.0)
    return x / x


def root_of_a_negative_number():
    return leaf([4.0, -1.0]) ** 0.5


def too_large_a_product():
    return leaf([[1e38, 1.0]]) @ leaf([[20.0], [0.0]])


@pytest.mark.parametrize(
    ("planted", "words", "said"),
    [
        (logarithm_of_zero, "mg.log(p)", ["log made -inf", "At [1] it computed with x = 0.0.", "log is -inf at 0"]),
        (
            overflow,
            "mg.exp",
            ["exp made inf", "At [0, 1] it computed with x = 100.0.", "exp overflows above 88 in float32"],
        ),
        (zero_by_zero, "x / x", ["divide made nan", "There it computed with x = 0.0, y = 0.0.", "0 / 0 gives nan"]),
        (root_of_a_negative_number, "** 0.5", ["power made nan", "At [1] it computed with x = -1.0, y = 0.5."]),
        (
            too_large_a_product,
            "@",
            ["matmul made inf", "x of shape (1, 2) from 1.0 to 9.9", "y of shape (2, 1) from 0.0 to 20"],
        ),
    ],
)
def test_a_bad_value_in_forward_is_named_with_its_op_its_line_and_its_operands(planted, words, said):
    text = complaint(planted)
    assert text.startswith("forward: ") and "out of numbers that were finite" in text
    assert line_of(planted, words) in text
    for words in said:
        assert words in text


def test_of_two_calls_on_a_line_the_one_that_went_wrong_is_underlined():
    def entropy():
        p = leaf([0.5, 1.0])
        return -(p * mg.log(p) + (1 - p) * mg.log(1 - p)).sum()

    lines = complaint(entropy).splitlines()
    carets = next(k for k, line in enumerate(lines) if set(line.strip()) == {"^"})
    start, end = lines[carets].index("^"), lines[carets].rindex("^") + 1
    assert lines[carets - 1][start:end] == "mg.log(1 - p)"


def test_the_line_is_the_users_also_where_our_own_functions_call_the_op():
    def loss():
        x = leaf([3e38, 3e38])
        return F.mse_loss(x, -x)

    assert line_of(loss, "F.mse_loss") in complaint(loss)


def test_numpys_way_of_calling_an_op_is_watched_as_well():
    def loss():
        return np.log(leaf(0.0))

    assert line_of(loss, "np.log") in complaint(loss)


def test_constants_are_watched_as_well():
    text = complaint(lambda: mg.log(mg.zeros(2)))
    assert "log made -inf" in text


def test_elements_of_joined_tensors_are_named_by_their_position():
    text = complaint(lambda: mg.concatenate([leaf([1.0]), leaf([np.nan])]))
    assert "concatenate was given nan in xs[1]" in text


def test_a_leaf_that_was_bad_before_is_said_to_be():
    text = complaint(lambda: leaf([[1.0, 2.0], [np.nan, 4.0]]) + 1)
    assert "forward: add was given nan in x." in text
    assert "x has shape (2, 2) and holds it at [1, 0].\nIt is a leaf, no op made it: look at the data" in text


def test_data_that_were_bad_before_are_said_to_be():
    text = complaint(lambda: leaf(1.0) * mg.tensor(np.inf))
    assert "multiply was given inf in y" in text and "It is data, or was computed outside of `detect_anomaly`" in text


def test_an_infinity_written_in_the_code_is_taken_for_a_mistake_unless_told_otherwise():
    def masked():
        scores = mg.where(mg.tensor([True, False]), leaf([1.0, 2.0]), -np.inf)
        F.softmax(scores).sum().backward()

    assert "where was given -inf in y" in complaint(masked) and "use detect_anomaly(inf=False)" in complaint(masked)
    with detect_anomaly(inf=False):
        masked()


def test_with_inf_false_a_nan_is_still_found():
    def difference():
        x = leaf(np.inf)
        return x - x

    assert "subtract made nan out of numbers that were not nan" in complaint(difference, inf=False)


def test_an_op_that_mends_what_was_bad_is_let_pass():
    with detect_anomaly():
        assert mg.where(mg.tensor([True, False]), leaf([1.0, np.nan]), 0.0).sum().item() == 1.0


# --------------------------------------------------------------------------------------------------------- in backward


def root_at_zero():
    x = leaf([4.0, 0.0])
    return mg.sqrt(x).sum()


def power_at_zero():
    return (leaf([[0.0]]) ** 0.5).sum()


def division():
    return (leaf([1.0, 1.0]) / leaf([1.0, 1e-30])).sum()  # 1 / 1e-30 is finite, 1 / 1e-60 is not in float32


def own_op():
    return sinc(leaf([1.0, 0.0])).sum()


sinc = mg.op(np.sinc, x=lambda g, x, z: g * (np.cos(np.pi * x) - z) / x)


@pytest.mark.parametrize(
    ("planted", "words", "said"),
    [
        (
            root_at_zero,
            "mg.sqrt",
            ["sqrt made inf", "At [1] the gradient for x is g / (2 * z) = inf, where g = 1.0, z = 0.0."],
        ),
        (
            power_at_zero,
            "** 0.5",
            ["power made inf", "for x is power_x(g, x, y) = inf, where g = 1.0, x = 0.0, y = 0.5."],
        ),
        (
            division,
            "/ leaf",
            ["divide made -inf", "At [1] the gradient for y is -g * z / y = -inf, where g = 1.0, y = 1"],
        ),
        (
            own_op,
            "sinc(",
            ["sinc made nan", "is g * (np.cos(np.pi * x) - z) / x = nan, where g of shape (2,) from 1.0"],
        ),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_bad_gradient_is_named_with_the_op_whose_rule_made_it_and_the_line_that_called_that(
    planted, words, said, create_graph
):
    text = complaint(lambda: planted().backward(create_graph=create_graph))
    assert text.startswith("backward: the rule of ") and "out of a gradient that was finite" in text
    assert line_of(planted, words) in text
    for words in said:
        assert words in text


def test_the_branch_that_where_did_not_take_is_named_and_the_remedy_is_one():
    def once():
        x = leaf([4.0, 0.0])
        return mg.where(x > 0, mg.sqrt(x), 0.0).sum()

    def twice():
        x = leaf([4.0, 0.0])
        return mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1.0)), 0.0).sum()

    text = complaint(lambda: once().backward())
    assert line_of(once, "mg.sqrt") in text
    assert "sqrt made nan" in text and "g = 0.0, z = 0.0" in text and "second `where`" in text
    with detect_anomaly():
        twice().backward()


def test_where_one_tensor_is_both_arguments_the_rule_that_went_wrong_is_named():
    skewed = mg.op(lambda x, y: x + y, x=lambda g: g, y=lambda g: g * np.inf)
    x = leaf(2.0)
    text = complaint(lambda: skewed(x, x).backward())
    assert "the gradient for y is g * np.inf = inf, where g = 1.0." in text


def test_of_an_op_on_any_number_of_tensors_the_one_whose_rule_went_wrong_is_named():
    skewed = mg.op(lambda *xs: np.stack(xs), xs=lambda g, i: g[i] / (1 - i))
    text = complaint(lambda: skewed(leaf(1.0), leaf(2.0), leaf(3.0)).sum().backward())
    assert "There the gradient for xs[1] is g[i] / (1 - i) = inf" in text


def test_where_broadcasting_adds_gradients_the_ranges_of_the_operands_are_given():
    x, y = leaf([0.0]), leaf([1.0, 2.0, 3.0])
    text = complaint(lambda: (mg.sqrt(x) + y).sum().backward())
    assert "where g = 3.0, z = 0.0" in text  # sqrt itself broadcasts nothing
    text = complaint(lambda: (y / x).sum())
    assert "divide made inf" in text and "At [0] it computed with x = 1.0, y = 0.0." in text
    tiny = leaf([1e-30])
    text = complaint(lambda: (y / tiny).sum().backward())
    assert "At [0] the gradient for y is -g * z / y = -inf, where g of shape (3,) from 1.0 to 1.0, y = 1" in text
    assert ", z of shape (3,) from 1" in text


def test_a_bad_gradient_given_to_backward_is_no_rules_fault():
    def loss():
        (leaf([1.0, 2.0]) * 3.0).backward([1.0, np.nan])

    text = complaint(loss)
    assert "backward: the gradient that reached multiply is nan, and no rule made it." in text
    assert line_of(loss, "* 3.0") in text


def test_a_hook_that_returns_a_bad_gradient_is_no_rules_fault():
    def loss():
        y = leaf([1.0, 2.0]) * 3.0
        y.register_hook(lambda g: g * np.inf)
        y.sum().backward()

    with pytest.raises(AnomalyError, match="reached multiply is inf, and no rule made it"), detect_anomaly():
        loss()


def test_a_second_derivative_is_watched_and_leads_back_to_the_line_that_asked_for_the_first():
    def curvature():
        x = leaf([0.0])
        (slope,) = mg.grad((x**1.5).sum(), x, create_graph=True)  # 1.5 √x, whose slope is infinite at 0
        slope.sum().backward()

    text = complaint(curvature)
    assert "rule of power made inf" in text and line_of(curvature, "create_graph=True") in text


def test_a_rule_may_make_a_nan_on_its_way_if_it_masks_it_in_the_end():
    slope_one_at_zero = mg.op(
        lambda x: x * 1.0, x=lambda g, x: np.where(x == 0, g, g * x / np.where(x == 0, x * 0.0, x))
    )
    x = leaf([0.0, 2.0])
    with detect_anomaly():
        slope_one_at_zero(x).sum().backward(create_graph=True)  # recorded: what the rule computes are ops
    assert x.grad.numpy().tolist() == [1.0, 1.0]


def test_a_forward_outside_is_said_to_be_missing():
    loss = root_at_zero()
    text = complaint(loss.backward)
    assert "rule of sqrt" in text and "put the forward inside, too" in text


# ------------------------------------------------------------------------------------------------------ the with itself


def test_where_nothing_is_wrong_nothing_changes():
    def gradients():
        mg.manual_seed(0)
        w = mg.randn(4, 3, requires_grad=True)
        for _ in range(3):
            loss = F.cross_entropy(mg.tanh(mg.randn(5, 4) @ w), mg.tensor([0, 1, 2, 0, 1]))
            loss.backward(create_graph=True)
        return w.grad.numpy()

    plain = gradients()
    with detect_anomaly():
        watched = gradients()
    assert (plain == watched).all()


def test_it_ends_with_its_block_also_after_an_error():
    complaint(logarithm_of_zero)
    assert engine.mode.recording is True
    with pytest.warns(RuntimeWarning, match="overflow"):  # NumPy warns again
        assert overflow().data.max() == np.inf


def test_it_can_decorate_a_function():
    with pytest.raises(AnomalyError, match="exp made inf"):
        detect_anomaly()(overflow)()


def test_under_no_grad_it_says_that_it_cannot_watch():
    with mg.no_grad(), pytest.raises(RuntimeError, match="detect_anomaly: recording is off here"), detect_anomaly():
        pass


def test_what_is_computed_under_no_grad_inside_is_not_watched_and_is_reported_where_it_is_used():
    with detect_anomaly():
        with mg.no_grad():
            bad = mg.log(mg.zeros(1))
        with pytest.raises(
            AnomalyError, match="It is data, or was computed outside of `detect_anomaly` or under `no_grad`"
        ):
            leaf([1.0]) + bad


def test_other_threads_are_not_watched():
    found = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(mg.reciprocal(leaf(np.inf)) + np.inf))
        thread.start()
        thread.join()
    assert found[0].item() == np.inf


def test_it_keeps_no_graph_alive():
    gc.disable()
    try:
        with detect_anomaly():
            detector = engine.mode.recording
            loss = leaf(1.0) * 2.0
            assert len(detector.calls) == 1
            del loss
            assert len(detector.calls) == 0
    finally:
        gc.enable()
