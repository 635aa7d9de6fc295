"""What methods that use curvature share: they see all parameters as one vector x, and the closure as a function of it.

    class Method(SecondOrder):
        def update(self, f, x, *, lr=1.0):
            loss, g = f(x)
            return x - lr * g

`update` evaluates the loss and its gradient wherever it likes and returns where to go. What it remembers is in
`self.memory`, where arrays and numbers are replaced, never changed in place: so a step that fails can be undone whole.

Public: `SecondOrder`, `Objective`, `ModelMethod` for methods that look inside a network, and `watching`.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from minigrad import Tensor, autograd, nn

from .checks import as_count, as_saved, check_keys, is_finite, require_room
from .optimizer import Optimizer


class Objective:
    """The closure as a function of one vector: ``f(x)`` moves the parameters to x and gives loss and gradient.

    Running statistics (batch norm's) learn from the first evaluation of a step alone.

    Attributes
    ----------
    evaluations
        How often it was called.
    loss
        What the closure returned last; `first` is what it returned first.
    """

    def __init__(self, optimizer: Optimizer, closure: Callable[[], Tensor]) -> None:
        self.optimizer, self.closure = optimizer, closure
        self.params = [*optimizer.parameters()]
        self.evaluations = 0
        self.first: Tensor | None = None

    def __call__(self, x: Any) -> tuple[float, Any]:
        """The loss, a float, and its gradient, ``(n,)``: zeros for parameters that it does not depend on."""
        self.move(x)
        with nn.freeze_statistics() if self.evaluations else contextlib.nullcontext():
            self.loss = self.optimizer.gradients(self.closure)
        self.evaluations += 1
        g = self.vector([np.zeros_like(p.data) if p.grad is None else p.grad.data for p in self.params])
        if self.first is None:
            self.first = self.loss
            if not (is_finite(self.loss.item()) and np.isfinite(g).all()):
                raise ValueError(
                    f"{self.optimizer._name}.step: the loss is {self.loss.item()} where the step begins, or its "
                    "gradient is not finite; nothing was changed. mg.autograd.detect_anomaly() finds where it began"
                )
        return self.loss.item(), g

    def hessian(self) -> Any:
        """The second derivatives where the parameters are, ``(n, n)``."""
        with nn.freeze_statistics():
            blocks = autograd.hessian(lambda *_: self.closure(), tuple(self.params))
        rows = [[b.data.reshape(p.size, -1) for b in row] for p, row in zip(self.params, blocks)]
        H = np.concatenate([np.concatenate(row, axis=1) for row in rows])
        return 0.5 * (H + H.T)

    def vector(self, arrays: Iterable[Any]) -> Any:
        """One array per parameter, as one vector."""
        return np.concatenate([*arrays], axis=None)

    def split(self, v: Any) -> Iterator[Any]:
        """A vector's part for each parameter, in its shape."""
        start = 0
        for p in self.params:
            yield v[start : start + p.size].reshape(p.shape)
            start += p.size

    def move(self, x: Any) -> None:
        """Let the parameters be x."""
        for p, part in zip(self.params, self.split(x)):
            p.data[...] = part
            p.mark_changed()


class SecondOrder(Optimizer):
    """Base of the methods that see all parameters as one vector.

    `update` takes the objective and x, and returns the new x; its keyword-only arguments are the settings.

    Raises
    ------
    ValueError
        For a second parameter group, or parameters of several dtypes: there is one vector, and one rate for it.
        By `step`, for a loss that is not finite. Whatever a step raises, parameters and state are as before it.
    TypeError
        By `step` without a closure.
    """

    needs_closure = True
    remembers: ClassVar[dict[str, int]] = {}  # what `memory` may hold -> its axes, each of the length of x: 1 a vector

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Only the constructor's own: there is one group."""
        if self.param_groups:
            raise ValueError(f"{self._name}: takes one parameter group, as it sees all parameters as one vector")
        super().add_param_group(group)
        dtypes = {str(p.dtype) for p in self.parameters()}
        if len(dtypes) > 1:
            self.param_groups.clear()
            raise ValueError(f"{self._name}: parameters of {' and '.join(sorted(dtypes))}; wanted one dtype for all")

    @property
    def memory(self) -> dict[str, Any]:
        """What the method remembers of all parameters together: the state of the first; ``memory["t"]`` counts."""
        return self.state.setdefault(next(self.parameters()), {"t": 0})

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Move the parameters to where `update` says.

        What is decided by numbers (is the loss finite, is this point low enough?) makes a GPU wait, some ten times a
        step; docs/gpu.md has the counts.

        Parameters
        ----------
        closure
            Computes the loss and returns it, no more. It may be run several times.

        Returns
        -------
        The loss from before the step.
        """
        if not callable(closure):
            raise TypeError(
                f"{self._name}.step: wants a closure that returns the loss, to evaluate it where it needs to; got "
                f"{type(closure).__name__}"
            )
        f = Objective(self, closure)
        x = f.vector([p.data for p in f.params])
        state = {p: {k: [*v] if isinstance(v, list) else v for k, v in each.items()} for p, each in self.state.items()}
        try:
            update: Callable[..., Any] = self.update
            new = update(f, x, **{name: self.param_groups[0][name] for name in self.defaults})
            if not np.isfinite(new).all():
                raise ValueError(f"{self._name}.step: the step is not finite; try a smaller lr, or more damping")
        except BaseException:
            f.move(x)
            self.state.clear()
            self.state.update(state)
            raise
        f.move(new)
        return f.first

    def refuse_matrix(self, n: int, dtype: Any) -> None:
        """Raise MemoryError where an n × n matrix would not fit."""
        require_room(self._name, n, dtype, "LBFGS, or NaturalGradient with solver='cg', need no matrix")

    def loaded(self, what: str, entries: dict[str, Any], p: Tensor) -> dict[str, Any]:
        """As `Optimizer.loaded`: numbers, arrays with axes of the length of x, and lists of those."""
        check_keys(what, entries, {"t", *self.remembers}, optional=set(self.remembers))
        n = sum(p.size for p in self.parameters())

        def read(name: str, value: Any) -> Any:
            if isinstance(value, list):
                return [read(name, each) for each in value]
            shape = (n,) * self.remembers[name]
            return as_saved(f"{what}: {name}", value, Tensor(np.empty(shape, p.dtype, like=p.data)))

        return {k: as_count(f"{what}: t", v) if k == "t" else read(k, v) for k, v in entries.items()}


class ModelMethod(SecondOrder):
    """Base of the methods that take a network, to look inside while the closure runs it.

    Raises
    ------
    TypeError
        For something else than a Module.
    """

    keeps_graph = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _, *settings = inspect.signature(cls).parameters.values()
        first = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        cls.__signature__ = inspect.Signature([first, *settings])  # type: ignore[attr-defined]

    def __init__(self, model: nn.Module, *settings: Any, **named: Any) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"{self._name}: takes the model itself, an nn.Module, got {type(model).__name__}")
        self.model = model
        super().__init__([p for p in model.parameters() if p.requires_grad], *settings, **named)

    def only(self, calls: list[Any], name: str) -> Any:
        """The one call of a module. Raises RuntimeError where it was called never or twice."""
        if len(calls) != 1:
            raise RuntimeError(
                f"{self._name}.step: the closure called {name} {len(calls)} times; wanted once, on the whole batch"
            )
        return calls[0]


@contextlib.contextmanager
def watching(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, list[tuple[Any, Any]]]]:
    """For each module, the arguments and the output of each of its calls inside the ``with``."""
    seen: dict[nn.Module, list[tuple[Any, Any]]] = {module: [] for module in modules}
    handles = [
        module.register_forward_hook(lambda module, args, output: seen[module].append((args, output)))
        for module in seen
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
