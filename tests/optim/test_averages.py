"""Moving averages of numbers, arrays and Tensors."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.backend import is_array
from optim.averages import EWMA, SMA, WMA
from tests.optim.methods import same

SERIES = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0])


def over(average, series=SERIES):
    return np.array([average.update(x) for x in series])


def test_a_simple_average_is_the_mean_of_the_last_k():
    np.testing.assert_allclose(over(SMA(3)), [SERIES[max(0, t - 2) : t + 1].mean() for t in range(8)])


def test_a_weighted_average_weighs_the_newest_by_the_first_weight():
    w = np.array([5.0, 2.0, 1.0])
    expected = [np.average(SERIES[max(0, t - 2) : t + 1][::-1], weights=w[: t + 1]) for t in range(8)]
    np.testing.assert_allclose(over(WMA(w)), expected)


@pytest.mark.parametrize("weights", [[1.0], [5.0, 2.0, 1.0], [1.5, -0.25], [1.0] * 12])
def test_a_weighted_average_is_a_convolution(weights):
    np.testing.assert_allclose(WMA(weights).over(SERIES), over(WMA(weights)), rtol=1e-13)


def test_an_exponential_average_that_starts_with_the_first_value():
    v, expected = SERIES[0], [SERIES[0]]
    for x in SERIES[1:]:
        v = 0.8 * v + (1 - 0.8) * x
        expected.append(v)
    np.testing.assert_allclose(over(EWMA(0.8)), expected)


def test_an_exponential_average_written_out_weighs_by_powers():
    a = 0.8
    expected = [(1 - a) * sum(a**i * SERIES[t - i] for i in range(t + 1)) for t in range(8)]
    np.testing.assert_allclose(over(EWMA(a, start="zero")), expected)
    normalized = [e / ((1 - a) * sum(a**i for i in range(t + 1))) for t, e in enumerate(expected)]
    np.testing.assert_allclose(over(EWMA(a, start="zero", bias_correction=True)), normalized)


def test_every_average_of_a_constant_is_that_constant_but_the_biased_one():
    seven = np.full(10, 7.0)
    for average in (SMA(4), WMA([3, 2, 1]), EWMA(0.9), EWMA(0.9, "zero", bias_correction=True)):
        np.testing.assert_allclose(over(average, seven), seven)
    np.testing.assert_allclose(over(EWMA(0.9, "zero"), seven), 7 * (1 - 0.9 ** np.arange(1, 11)))


def test_averages_lag_behind_a_ramp_by_half_their_length_or_by_alpha_over_one_minus_alpha():
    ramp = np.arange(400.0)
    assert ramp[-1] - over(SMA(9), ramp)[-1] == pytest.approx((9 - 1) / 2)
    assert ramp[-1] - over(EWMA(0.9), ramp)[-1] == pytest.approx(0.9 / (1 - 0.9))


def test_fitted_weights_find_the_average_that_made_a_series():
    rng = np.random.default_rng(0)
    noisy = rng.standard_normal(200)
    made = WMA([0.5, 0.3, 0.2]).over(noisy)
    np.testing.assert_allclose(WMA.fitted(noisy, made, 3).weights, [0.5, 0.3, 0.2], atol=1e-12)


def test_one_fitted_weight_is_one():
    assert WMA.fitted(SERIES, SERIES**2, 1).weights == [1.0]


def test_fitted_weights_come_closer_than_any_other_average_of_their_length():
    rng = np.random.default_rng(1)
    clean = np.sin(np.arange(300) / 8)
    noisy = clean + 0.3 * rng.standard_normal(300)
    error = lambda average: np.mean((average.over(noisy) - clean)[4:] ** 2)
    best = WMA.fitted(noisy, clean, 5)
    assert sum(best.weights) == pytest.approx(1)
    assert error(best) < min(error(SMA(5)), error(WMA([5, 4, 3, 2, 1])), error(WMA([1, 0, 0, 0, 0])))


@pytest.mark.parametrize("make", [lambda: SMA(3), lambda: WMA([3, 2, 1]), EWMA, lambda: EWMA(0.9, "zero")])
def test_arrays_are_averaged_elementwise_in_their_dtype_and_may_change_afterwards(make):
    array, columns = make(), [make(), make()]
    for x in SERIES:
        pair = np.array([x, 2 * x], np.float32)
        v = array.update(pair)
        pair[...] = np.nan  # the average has its own copy
        assert v.dtype == np.float32 and np.array_equal(v, array.value)
        np.testing.assert_allclose(v, [columns[0].update(x), columns[1].update(2 * x)], rtol=1e-5)


def test_a_tensor_counts_as_its_data():
    p = mg.tensor([1.0, 2.0], requires_grad=True)
    average = SMA(2)
    average.update(p)
    assert np.array_equal(average.update(p * 3), [2, 4]) and is_array(average.value)


@pytest.mark.parametrize("make", [lambda: SMA(3), lambda: WMA([3, 2, 1]), EWMA, lambda: EWMA(0.9, "zero", True)])
def test_a_saved_average_goes_on(make):
    average, resumed = make(), make()
    for x in SERIES[:5]:
        average.update(np.array([x, -x]))
    resumed.load_state_dict(average.state_dict())
    for x in SERIES[5:]:
        assert same(resumed.update(np.array([x, -x])), average.update(np.array([x, -x])))
