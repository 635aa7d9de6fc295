"""What `training.fit` saw: losses, validation, gradient norms, learning rates, and a picture of them.

Public: `History`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checkpoint import check_keys
from .nn.parameter import Parameter
from .tensor import Tensor


@dataclass
class History:
    """What `fit` saw, in lists.

    Attributes
    ----------
    loss, lr
        By step: the batch's loss, the learning rate of the first parameter group.
    gradient_norm
        By layer's name, then by step: the norm of the gradient of all its parameters together.
    epoch_end
        By epoch: how many steps were done by its end.
    validation_loss, validation_metric
        By epoch; empty where there was none.
    """

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    gradient_norm: dict[str, list[float]] = field(default_factory=dict)
    epoch_end: list[int] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_metric: list[float] = field(default_factory=list)

    def saw_step(self, loss: Tensor, rate: float, layers: dict[str, list[Parameter]]) -> None:
        """Note a step: its loss and rate, and the norm of the gradient that it left in each layer."""
        self.loss.append(loss.data)  # floats at the end of the epoch: on a GPU each would make the step wait
        self.lr.append(rate)
        for name, parameters in layers.items():
            squares = [np.vdot(p.grad.data, p.grad.data) for p in parameters if p.grad is not None]
            self.gradient_norm.setdefault(name, []).append(np.sqrt(sum(squares)))

    def saw_epoch(self, validated: tuple[float, float | None] | None) -> None:
        """Note the end of an epoch, and what validation gave."""
        start = self.epoch_end[-1] if self.epoch_end else 0
        for values in (self.loss, *self.gradient_norm.values()):
            values[start:] = map(float, values[start:])
        self.epoch_end.append(len(self.loss))
        if validated is not None:
            loss, metric = validated
            self.validation_loss.append(loss)
            if metric is not None:
                self.validation_metric.append(metric)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as lists of numbers."""
        norms = {name: [*map(float, values)] for name, values in self.gradient_norm.items()}
        lists = {name: [*map(float, values)] for name, values in vars(self).items() if name != "gradient_norm"}
        return {**lists, "epoch_end": [*self.epoch_end], "gradient_norm": norms}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Be what `state_dict` was taken of. Raises ValueError for anything else."""
        check_keys("History", state_dict, vars(self))
        vars(self).update(History(**state_dict).state_dict())

    def last(self) -> str:
        """The last epoch in a few words."""
        text = f"loss {self.epoch_loss():.4g}"
        if self.validation_loss:
            text += f", validation loss {self.validation_loss[-1]:.4g}"
        if self.validation_metric:
            text += f", metric {self.validation_metric[-1]:.4g}"
        return text

    def epoch_loss(self, epoch: int = -1) -> float:
        """The mean training loss of an epoch, of the last one unless said."""
        ends = [0, *self.epoch_end]
        epoch %= len(self.epoch_end)
        return float(np.mean(self.loss[ends[epoch] : ends[epoch + 1]]))

    def plot(self) -> Any:
        """Draw loss, validation metric, gradient norms and learning rate; returns the Matplotlib figure.

        Raises ImportError, naming the extra to install, where Matplotlib is missing.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("History.plot needs Matplotlib: pip install 'minigrad-course[plot]'") from None
        figure = Figure(figsize=(10, 6), layout="constrained")
        (losses, metrics), (norms, rates) = figure.subplots(2, 2, sharex=True)
        steps, ends = range(1, len(self.loss) + 1), self.epoch_end
        middles = [(start + end) / 2 for start, end in zip([0, *ends], ends)]
        losses.plot(steps, self.loss, linewidth=0.5, label="training, each step")
        losses.plot(middles, [self.epoch_loss(k) for k in range(len(ends))], ".-", label="training, mean of an epoch")
        losses.plot(ends[: len(self.validation_loss)], self.validation_loss, ".-", label="validation")
        losses.legend()
        metrics.plot(ends[: len(self.validation_metric)], self.validation_metric, ".-")
        for name, values in self.gradient_norm.items():
            norms.semilogy(steps, values, linewidth=0.5, label=name)
        norms.legend(fontsize="small")
        rates.plot(steps, self.lr, drawstyle="steps-mid")
        titles = ("loss", "validation metric", "gradient norm of each layer", "learning rate")
        for axes, title in zip((losses, metrics, norms, rates), titles):
            axes.set(title=title, xlabel="step")
        return figure
