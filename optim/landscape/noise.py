"""How far the gradient of a batch is from that of all data.

Public: `gradient_noise`, `GradientNoise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad.data import take
from minigrad.training import loss_of

from ..checks import every, integer, require
from .landscape import Landscape


@dataclass(frozen=True)
class GradientNoise:
    """What was measured of a gradient's noise.

    Attributes
    ----------
    batch_sizes
        m.
    variance
        For each m, the mean of ‖ĝ - g‖² over the draws: the variance of the batch's gradient, summed over parameters.
    trace
        tr Σ, of the covariance of single examples' gradients; the variance should be tr Σ / m.
    gradient_norm
        ‖g‖₂ of all data.
    """

    batch_sizes: Any
    variance: Any
    trace: float
    gradient_norm: float

    @property
    def noise_scale(self) -> float:
        """B = tr Σ / ‖g‖², the batch size at which noise and gradient are equally long; infinite where g = 0."""
        return self.trace / self.gradient_norm**2 if self.gradient_norm else float("inf")

    @property
    def exponent(self) -> float:
        """The slope of log variance against log m, by least squares; -1 in theory. Wants two batch sizes, and noise."""
        return float(np.polyfit(np.log(self.batch_sizes), np.log(self.variance), 1)[0])

    def draw(self) -> Any:
        """A Matplotlib figure: the variance against m, with tr Σ / m, the squared norm of the gradient, and B.

        Raises ImportError, naming the extra to install, where Matplotlib is missing.
        """
        from ..trajectory.drawing import COLOURS, new_figure

        figure = new_figure("GradientNoise.draw", figsize=(7, 4.5))
        axes = figure.subplots()
        m = np.asarray(self.batch_sizes, float)
        axes.loglog(m, self.trace / m, color=COLOURS[0], label="tr Σ / m")
        axes.loglog(m, self.variance, "o", color=COLOURS[1], label="measured, ‖ĝ - g‖²")
        axes.axhline(self.gradient_norm**2, color=COLOURS[2], linestyle="--", label="‖g‖²")
        if m.min() <= self.noise_scale <= m.max():
            axes.axvline(self.noise_scale, color="0.5", linestyle=":", label=f"noise scale B = {self.noise_scale:.3g}")
        axes.set(xlabel="batch size m", ylabel="squared length", title="noise of the gradient")
        axes.grid(alpha=0.3)
        axes.legend()
        return figure


def gradient_noise(
    model: nn.Module,
    loss_fn: Callable[..., Tensor],
    dataset: Any,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
    draws: int = 100,
    seed: int = 0,
) -> GradientNoise:
    """The variance of a batch's gradient against its size, and the noise scale.

    The gradient ĝ of a batch of m examples, drawn independently, is the mean of theirs: its expectation is g, that of
    all data, and its covariance Σ / m, where Σ is that of one example's gradient. So

        E ‖ĝ - g‖² = tr Σ / m,        B = tr Σ / ‖g‖²

    tr Σ and g are exact, of one gradient for each example of the data; the left side is measured on random batches.
    Twice the batch halves the variance, but takes only 1 / √2 off the error: the law of diminishing returns.

    The network is in evaluation mode meanwhile: dropout would add noise of its own, and batch norm would make every
    example's gradient depend on its batch.

    Parameters
    ----------
    model
        The network, where it is now.
    loss_fn
        ``loss_fn(model(*inputs), target)`` is the mean loss of a batch ``(*inputs, target)``, as in training.
    dataset
        As of a `DataLoader`.
    batch_sizes
        m, each with `draws` batches: drawn with replacement, so m may be as large as one likes.
    draws
        How many batches of each size.
    seed
        Of the batches.

    Raises
    ------
    ValueError, TypeError
        For bad settings, a data set of fewer than two examples; as `optim.landscape.landscape.Landscape`.

    References
    ----------
    McCandlish, Kaplan, Amodei, OpenAI Dota team, An empirical model of large-batch training, 2018, section 2.2.
    Goodfellow, Bengio, Courville, Deep learning, 2016, section 8.1.3.

    Examples
    --------
    >>> import numpy as np, minigrad as mg
    >>> from minigrad.data import TensorDataset
    >>> line = nn.Linear(1, 1, bias=False).to(np.float64)
    >>> line.weight.data[...] = 0.0
    >>> data = TensorDataset(np.array([[1.0], [1.0]]), np.array([[1.0], [2.0]]))  # their gradients are -2 and -4
    >>> noise = gradient_noise(line, nn.functional.mse_loss, data, batch_sizes=[1, 4], draws=2000)
    >>> noise.trace, noise.gradient_norm, noise.variance.round(1)
    (1.0, 3.0, array([1. , 0.2]))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"gradient_noise: model is an nn.Module, got {type(model).__name__}")
    require("gradient_noise: batch_sizes", [*batch_sizes] or None, every(integer(1)))
    require("gradient_noise: draws", draws, integer(1))
    n = len(dataset)
    if n < 2:
        raise ValueError(f"gradient_noise: the data set has {n} examples; wanted two at least")
    batch = take(dataset, np.arange(1))
    here = Landscape("gradient_noise", lambda: loss_of(model, loss_fn, batch), model)

    def gradient(indices: Any) -> Any:
        nonlocal batch
        batch = take(dataset, indices)
        return here.slope()[1]

    # The mean of the gradients so far, and the sum of their squared distances from it (Welford 1962).
    g, squares = np.zeros(here.n, like=here.params[0].data), 0.0
    for k in range(n):
        each = gradient(np.array([k]))
        before, g = g, g + (each - g) / (k + 1)
        squares += float((each - before) @ (each - g))
    rng = np.random.default_rng(seed)
    distances = [
        [float(((gradient(rng.integers(n, size=m)) - g) ** 2).sum()) for _ in range(draws)] for m in batch_sizes
    ]
    sizes, norm = np.array([*batch_sizes]), float((g @ g) ** 0.5)
    return GradientNoise(sizes, np.mean(distances, axis=1), squares / n, norm)
