"""Moving averages: of numbers, losses or gradients, whatever can be added and scaled.

    average = EWMA(0.9)
    for x in series:
        v = average.update(x)

They differ in how the past fades. A plain mean of k values lags (k - 1) / 2 of them behind; an `EWMA` remembers about
1 / (1 - α) values, and lags α / (1 - α) of them behind.

Public: `WMA`, `SMA`, `EWMA`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import Tensor

from .checks import as_count, below_one, check_keys, integer, is_finite, one_of, require


def kept(x: Any) -> Any:
    """What an average may keep of x: a number as it is, a copy of an array or of a Tensor's data."""
    x = x.data if isinstance(x, Tensor) else x
    return x.copy() if hasattr(x, "copy") else x


class WMA:
    """Weighted moving average v = Σ wᵢ xᵢ / Σ wᵢ over the last k values, the newest first.

    While there are fewer than k values, over those with their weights.

    Parameters
    ----------
    weights
        w₁ … w_k, the newest value's first.

    Raises
    ------
    ValueError
        For no weights, for one that is not a finite number, and where a first few add up to zero: no mean then.

    Examples
    --------
    >>> from optim.averages import WMA
    >>> average = WMA([3, 2, 1])
    >>> [average.update(x) for x in (6.0, 0.0, 6.0)]
    [6.0, 2.4, 4.0]
    """

    def __init__(self, weights: Sequence[float]) -> None:
        given = [*weights]
        if not given or not all(map(is_finite, given)) or 0 in itertools.accumulate(given):
            raise ValueError(f"WMA: weights = {weights!r}; wanted finite numbers that add up to no zero")
        self.weights = [float(w) for w in given]
        self.window: deque[Any] = deque(maxlen=len(self.weights))  # the newest first

    def update(self, x: Any) -> Any:
        """Take the next value in, and return the average."""
        self.window.appendleft(kept(x))
        return self.value

    @property
    def value(self) -> Any:
        """The average so far. Raises ValueError before the first value."""
        if not self.window:
            raise ValueError(f"{type(self).__name__}.value: no values yet; there is an average after the first update")
        used = self.weights[: len(self.window)]
        return sum(w * x for w, x in zip(used, self.window)) / sum(used)

    def over(self, series: Any) -> Any:
        """The average after each value of a series (n,) -> (n,), as one convolution with the weights."""
        n = len(series)
        sums = np.cumsum(np.pad(self.weights, (0, max(n - len(self.weights), 0))))[:n]
        return np.convolve(series, self.weights)[:n] / sums

    @classmethod
    def fitted(cls, noisy: Any, wanted: Any, k: int) -> WMA:
        """The weights with which the average over k values of one series comes closest to another, by least squares.

        The weights add up to 1. Both series are (n,), n > k; raises ValueError otherwise.
        """
        require("WMA.fitted: k", k, integer(1))
        if np.ndim(noisy) != 1 or np.shape(noisy) != np.shape(wanted) or len(noisy) <= k:
            raise ValueError(
                f"WMA.fitted: series of shape {np.shape(noisy)} and {np.shape(wanted)}; wanted (n,) both, n > k = {k}"
            )
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(noisy, float), k)[:, ::-1]  # newest first
        oldest = windows[:, -1:]  # its weight is what the others leave of 1
        solution = np.linalg.lstsq(windows[:, :-1] - oldest, np.asarray(wanted, float)[k - 1 :] - oldest[:, 0])[0]
        return WMA([*solution, 1 - solution.sum()])

    def state_dict(self) -> dict[str, Any]:
        """A copy of what it remembers."""
        return {"weights": list(self.weights), "window": [kept(x) for x in self.window]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there. Raises ValueError where the weights are not these."""
        where = f"{type(self).__name__}.load_state_dict"
        check_keys(where, state_dict, {"weights", "window"})
        if [*state_dict["weights"]] != self.weights or len(state_dict["window"]) > len(self.weights):
            raise ValueError(f"{where}: saved with weights {state_dict['weights']}, wanted {self.weights}")
        self.window = deque(map(kept, state_dict["window"]), maxlen=len(self.weights))


class SMA(WMA):
    """Simple moving average: the plain mean of the last k values.

    Raises ValueError unless k is an integer >= 1.

    Examples
    --------
    >>> from optim.averages import SMA
    >>> average = SMA(3)
    >>> [average.update(x) for x in (3.0, 5.0, 1.0, 6.0)]
    [3.0, 4.0, 3.0, 4.0]
    """

    def __init__(self, k: int) -> None:
        require("SMA: k", k, integer(1))
        super().__init__([1.0] * k)


class EWMA:
    r"""Exponentially weighted moving average: v ← αv + (1 - α)x.

    Written out, v = (1 - α)(x₀ + αx₁ + α²x₂ + …), the newest first: about the last 1 / (1 - α) values count.

    Parameters
    ----------
    alpha
        α, from 0 (the last value alone) to below 1.
    start
        ``"first"``: v₁ = x₁. ``"zero"``: v₀ = 0, so that the first averages are too small.
    bias_correction
        With the zero start, divide by 1 - αᵗ, what the weights add up to after t values.

    Raises
    ------
    ValueError
        For α outside [0, 1), an unknown start, and a correction where there is no bias.

    Examples
    --------
    >>> from optim.averages import EWMA
    >>> first, zero, corrected = EWMA(0.5), EWMA(0.5, "zero"), EWMA(0.5, "zero", bias_correction=True)
    >>> [(first.update(x), zero.update(x), round(corrected.update(x), 3)) for x in (4.0, 2.0)]
    [(4.0, 2.0, 4.0), (3.0, 2.0, 2.667)]
    """

    def __init__(self, alpha: float = 0.9, start: str = "first", bias_correction: bool = False) -> None:
        require("EWMA: alpha", alpha, below_one())
        require("EWMA: start", start, one_of("first", "zero"))
        if bias_correction and start == "first":
            raise ValueError("EWMA: bias_correction belongs to start='zero'; an average that starts at x₁ has no bias")
        self.alpha, self.start, self.bias_correction = float(alpha), start, bias_correction
        self.t = 0
        self.v: Any = 0.0

    def update(self, x: Any) -> Any:
        """Take the next value in, and return the average."""
        x = kept(x)
        self.t += 1
        if self.t == 1 and self.start == "first":
            self.v = x
        else:
            self.v = self.alpha * self.v + (1 - self.alpha) * x
        return self.value

    @property
    def value(self) -> Any:
        """The average so far. Raises ValueError before the first value."""
        if self.t == 0:
            raise ValueError("EWMA.value: no values yet; there is an average after the first update")
        return self.v / (1 - self.alpha**self.t) if self.bias_correction else self.v

    def state_dict(self) -> dict[str, Any]:
        """A copy of what it remembers."""
        return {"t": self.t, "v": kept(self.v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there. Raises ValueError for another average's."""
        check_keys("EWMA.load_state_dict", state_dict, {"t", "v"})
        self.t, self.v = as_count("EWMA.load_state_dict: t", state_dict["t"]), kept(state_dict["v"])
