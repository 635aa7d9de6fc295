"""Training: one short loop, what it saw, and when to stop.

    history = fit(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), loader, epochs=10,
                  validation=test_loader, metric=accuracy)
    history.plot()

Public: `fit`, `evaluate`, `accuracy`, `EarlyStopping`; and from rooms of their own `History`, `save_checkpoint`,
`load_checkpoint`.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from . import ops
from .checkpoint import check_keys
from .checkpoint import load_checkpoint as load_checkpoint  # "as": also found here
from .checkpoint import save_checkpoint as save_checkpoint
from .engine import no_grad
from .history import History
from .nn.module import Module
from .nn.parameter import Parameter
from .tensor import Tensor


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

    @property
    def over(self) -> bool:
        """Is it time to stop?"""
        return self.waited >= self.patience

    def saw_epoch(self, history: History, model: Module) -> None:
        """Compare the epoch that has just ended with the best one before."""
        if history.validation_metric:
            score = history.validation_metric[-1] * (1 if self.higher_is_better else -1)
        else:
            score = -history.validation_loss[-1]
        self.waited += 1
        if score > self.best + self.min_delta:  # never true of NaN
            self.best, self.waited = score, 0
            self.best_state = model.state_dict() if self.restore_best else None

    def restore(self, model: Module) -> None:
        """Give the model the parameters of its best epoch."""
        if self.best_state is not None:
            model.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """The best score, the epochs waited since, and the parameters of the best epoch."""
        return {"best": self.best, "waited": self.waited, "best_state": self.best_state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises ValueError for anything else."""
        check_keys("EarlyStopping", state_dict, ("best", "waited", "best_state"))
        self.best, self.waited, self.best_state = (state_dict[name] for name in ("best", "waited", "best_state"))


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
    with model.evaluating(), no_grad():
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
    early_stopping
        Ends the training when validation has not got better for a while, and goes back to the best epoch.
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
        For early stopping or a metric without validation, an unknown `scheduler_each`, an optimizer of another model.
    TypeError
        For something else in the optimizer's place.
    """
    if validation is None and (early_stopping is not None or metric is not None):
        raise ValueError("fit: metric and early_stopping look at a validation set; give validation=loader")
    if scheduler_each not in ("epoch", "step"):
        raise ValueError(f"fit: scheduler_each is 'epoch' or 'step', got {scheduler_each!r}")
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(f"fit: optimizer is {optimizer!r}; wanted one that was made, as optim.Adam(model.parameters())")
    if not {p for group in optimizer.param_groups for p in group["params"]} & {*model.parameters()}:
        raise ValueError("fit: the optimizer has none of the model's parameters; was it made for another model?")
    history = History() if history is None else history
    layers = own_parameters(model)
    model.train()
    with progress_bar((epochs - len(history.epoch_end)) * len(loader), progress) as bar:
        for _ in range(len(history.epoch_end), epochs):
            if early_stopping is not None and early_stopping.over:
                break
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
            history.saw_epoch(None if validation is None else evaluate(model, loss_fn, validation, metric))
            if bar is not None:
                bar.set_postfix_str(history.last())
            if early_stopping is not None:
                early_stopping.saw_epoch(history, model)
            if any([callback(history) is True for callback in callbacks]):  # a list: each is called
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
