"""Training: one short loop, what it saw, and when to stop.

    history = fit(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), loader, epochs=10,
                  validation=test_loader, metric=accuracy)
    history.plot()

Public: `fit`, `evaluate`, `accuracy`, `History`, `EarlyStopping`.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from . import ops
from .engine import no_grad
from .nn.module import Module, Parameter, evaluating
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
        self.loss.append(loss.data)  # numbers at the end of the epoch: on a GPU each would make the step wait
        self.lr.append(rate)
        for name, parameters in layers.items():
            squares = [np.vdot(p.grad.data, p.grad.data) for p in parameters if p.grad is not None]
            self.gradient_norm.setdefault(name, []).append(sum(squares))

    def saw_epoch(self, validated: tuple[float, float | None] | None) -> None:
        """Note the end of an epoch, and what validation gave."""
        start = self.epoch_end[-1] if self.epoch_end else 0
        self.loss[start:] = map(float, self.loss[start:])
        for norms in self.gradient_norm.values():
            norms[start:] = [math.sqrt(square) for square in norms[start:]]
        self.epoch_end.append(len(self.loss))
        if validated is not None:
            loss, metric = validated
            self.validation_loss.append(loss)
            if metric is not None:
                self.validation_metric.append(metric)

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
        (losses, metrics), (norms, rates) = figure.subplots(2, 2)
        steps, ends = range(1, len(self.loss) + 1), self.epoch_end
        losses.plot(steps, self.loss, linewidth=0.5, label="training, each step")
        losses.plot(ends, [self.epoch_loss(k) for k in range(len(ends))], label="training, mean of each epoch")
        if self.validation_loss:
            losses.plot(ends, self.validation_loss, label="validation")
        losses.legend()
        metrics.plot(ends[: len(self.validation_metric)], self.validation_metric)
        for name, values in self.gradient_norm.items():
            norms.semilogy(steps, values, linewidth=0.5, label=name)
        norms.legend(fontsize="small")
        rates.plot(steps, self.lr)
        titles = ("loss", "validation metric", "gradient norm of each layer", "learning rate")
        for axes, title in zip((losses, metrics, norms, rates), titles):
            axes.set(title=title, xlabel="step")
        return figure


class EarlyStopping:
    """Stops `fit` when the validation metric has not got better for some epochs, and goes back to the best epoch.

    Without a metric the validation loss is compared, and lower is better.

    Parameters
    ----------
    patience
        Epochs to wait for something better.
    higher_is_better
        Of the metric: True for an accuracy, False for an error.
    min_delta
        How much better it has to be to count.
    restore_best
        Whether the model gets back, at the end of `fit`, the parameters of its best epoch.
    """

    def __init__(
        self, patience: int = 5, higher_is_better: bool = True, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        if patience < 1 or min_delta < 0:
            raise ValueError(f"EarlyStopping: wanted patience >= 1 and min_delta >= 0, got {patience} and {min_delta}")
        self.patience, self.higher_is_better = patience, higher_is_better
        self.min_delta, self.restore_best = min_delta, restore_best
        self.best, self.waited = -math.inf, 0
        self.best_state: dict[str, Tensor] | None = None

    def enough(self, history: History, model: Module) -> bool:
        """Look at the epoch that has just ended: is it time to stop?"""
        if history.validation_metric:
            score = history.validation_metric[-1] * (1 if self.higher_is_better else -1)
        else:
            score = -history.validation_loss[-1]
        self.waited += 1
        if score > self.best + self.min_delta:  # never true of NaN
            self.best, self.waited = score, 0
            self.best_state = model.state_dict() if self.restore_best else None
        return self.waited >= self.patience

    def restore(self, model: Module) -> None:
        """Give the model the parameters of its best epoch."""
        if self.best_state is not None:
            model.load_state_dict(self.best_state)


def accuracy(output: Tensor, target: Tensor) -> float:
    """The share of examples whose highest score is the right class's: ``(N, C), (N,) -> [0, 1]``."""
    return float((output.argmax(axis=1) == target).mean())


def loss_of(model: Module, loss_fn: Callable[..., Tensor], batch: Any) -> Tensor:
    """The loss of a batch, whose last element is the target and whose others are the model's arguments."""
    *inputs, target = batch
    return loss_fn(model(*inputs), target)


def evaluate(
    model: Module, loss_fn: Callable[..., Tensor], loader: Iterable[Any], metric: Callable[..., float] | None = None
) -> tuple[float, float | None]:
    """The mean loss over a data set, and the metric of all its outputs and targets together (None without one).

    Runs in evaluation mode and records nothing; each module's own mode is as before afterwards.
    """
    total, count = 0.0, 0
    outputs, targets = [], []
    with evaluating(model), no_grad():
        for *inputs, target in loader:
            output = model(*inputs)
            total += loss_fn(output, target).item() * len(target)
            count += len(target)
            if metric is not None:
                outputs.append(output)
                targets.append(target)
    if not count:
        raise ValueError("evaluate: the loader gave no batch")
    return total / count, None if metric is None else float(metric(ops.concatenate(outputs), ops.concatenate(targets)))


def fit(
    model: Module,
    loss_fn: Callable[..., Tensor],
    optimizer: Any,
    loader: Any,
    epochs: int,
    validation: Any = None,
    metric: Callable[..., float] | None = None,
    scheduler: Any = None,
    scheduler_each: str = "epoch",
    early_stopping: EarlyStopping | None = None,
    callbacks: Iterable[Callable[[History], Any]] = (),
    history: History | None = None,
    progress: bool = True,
) -> History:
    """Train a model: for every batch of every epoch one step of the optimizer.

    Parameters
    ----------
    loss_fn
        ``loss_fn(model(*inputs), target)`` is the mean loss of a batch ``(*inputs, target)``.
    loader, validation
        Give batches each time they are iterated over; the second is evaluated after every epoch.
    metric
        ``metric(outputs, targets)`` of the whole validation set, as `accuracy`.
    scheduler, scheduler_each
        Its `step()` is called after every ``"epoch"``, or after every ``"step"`` of the optimizer.
    callbacks
        Called with the history after every epoch; one that returns True ends the training. What needs the validation
        metric goes here: ``lambda history: plateau.step(history.validation_metric[-1])``.
    history
        Of an earlier call, to go on from: `epochs` counts those too.
    progress
        Show a bar, where tqdm is installed and standard error is a terminal.

    Returns
    -------
    History
        Loss, learning rate and gradient norms by step, validation by epoch.

    Raises
    ------
    ValueError
        For early stopping or a metric without validation, an unknown `scheduler_each`.
    """
    if validation is None and (early_stopping is not None or metric is not None):
        raise ValueError("fit: metric and early_stopping look at a validation set; give validation=loader")
    if scheduler_each not in ("epoch", "step"):
        raise ValueError(f"fit: scheduler_each is 'epoch' or 'step', got {scheduler_each!r}")
    history = History() if history is None else history
    layers = own_parameters(model)
    model.train()
    with progress_bar((epochs - len(history.epoch_end)) * len(loader), progress) as bar:
        for _ in range(len(history.epoch_end), epochs):
            for batch in loader:
                rate = optimizer.param_groups[0]["lr"]
                loss = optimizer.step(partial(loss_of, model, loss_fn, batch))
                history.saw_step(loss, rate, layers)
                if scheduler is not None and scheduler_each == "step":
                    scheduler.step()
                if bar is not None:
                    bar.update()
            if scheduler is not None and scheduler_each == "epoch":
                scheduler.step()
            history.saw_epoch(validation and evaluate(model, loss_fn, validation, metric))
            if bar is not None:
                bar.set_postfix_str(history.last())
            stop = early_stopping is not None and early_stopping.enough(history, model)
            if any([callback(history) for callback in callbacks]) or stop:
                break
    if early_stopping is not None:
        early_stopping.restore(model)
    return history


def own_parameters(model: Module) -> dict[str, list[Parameter]]:
    """For every layer with parameters of its own, by name, those that are learned."""
    layers = {name: [p for _, p in m.members() if isinstance(p, Parameter)] for name, m in model.named_modules()}
    return {name: parameters for name, parameters in layers.items() if parameters}


def progress_bar(steps: int, wanted: bool) -> Any:
    """tqdm's bar where there is tqdm and someone to look at it; else a context that gives None."""
    if wanted and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            return tqdm(total=steps, unit="step")
    return contextlib.nullcontext()
