"""A loss as a function of one vector: what every tool here looks at.

    here = Landscape("my_tool", fn, x)
    loss, g = here.slope()                  # at the point where it is
    Hv = here.product(v)
    with here.moved(e): ...                 # at x + e, and back again

`fn` and `x` are those of `mg.autograd`: a function of a point, and the point (a Tensor, an array, numbers; for a
function of several arrays a tuple of them). Or x is a network, and `fn` takes nothing and returns its loss on data
that stay the same:

    hessian_spectrum(lambda: cross_entropy(model(images), labels), model)

A landscape must hold still. A network is looked at in evaluation mode, without dropout, batch norm using its running
statistics; each module's own mode is as before afterwards. A loss that is not the same at two looks (a batch drawn
anew, random numbers) is refused. Parameters, their `.grad` and buffers are left as they were, to the last bit.

Public: `Landscape`.
"""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad.derivatives import as_leaf, as_list, gradients, pull

SAME = 1e-5  # relative difference of two looks that rounding explains, sums on a GPU being in no fixed order


class Landscape:
    """A scalar function near a point, as a function of vectors ``(n,)`` of float64, whatever the dtype of x.

    Attributes
    ----------
    params
        The leaves that the function depends on: x, or the parameters of a network that are learned.
    n
        How many numbers they have together.
    loss
        The height at x.

    Raises
    ------
    TypeError, ValueError
        Where x is neither a point nor a network with parameters; where `fn` does not return one number, or one that is
        not finite or not the same twice. `name` is the tool that the message speaks of.
    """

    def __init__(self, name: str, fn: Callable[..., Tensor], x: Any) -> None:
        self.name = name
        if isinstance(x, nn.Module):
            self.fn: Callable[..., Tensor] = lambda *_: fn()
            self.mode: Callable[[], Any] = x.evaluating
            self.params: list[Tensor] = [p for p in x.parameters() if p.requires_grad]
        else:
            self.fn, self.mode = fn, contextlib.nullcontext
            self.params = [as_point(name, each) for each in as_inputs(x)]
        self.n = sum(p.size for p in self.params)
        if not self.n:
            raise ValueError(f"{name}: x has nothing to move; wanted a point, or a network with parameters that learn")
        self.slopes: list[Tensor] | None = None
        self.loss, again = self.height(), self.height()
        if not math.isfinite(self.loss):
            raise ValueError(f"{name}: the loss at x is {self.loss}; mg.autograd.detect_anomaly() finds where it began")
        if not math.isclose(self.loss, again, rel_tol=SAME, abs_tol=1e-12):
            raise ValueError(
                f"{name}: the loss at one point is {self.loss!r}, then {again!r}; wanted a function that holds still: "
                "take one batch for all looks, and draw no random numbers"
            )

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Inside, nothing moves but what the caller moves: evaluation mode, statistics frozen."""
        with self.mode(), nn.freeze_statistics():
            yield

    def height(self) -> float:
        """The loss where the parameters are."""
        try:
            with self.still(), mg.no_grad():  # under which nothing can be differentiated
                loss = self.fn(*self.params)
        except RuntimeError as error:
            if str(error).startswith("backward: "):
                raise RuntimeError(f"{self.name}: fn called backward itself; it only returns the loss") from error
            raise
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"{self.name}: fn returns the loss, a Tensor with one number; got {got}")
        return float(loss.item())

    def slope(self) -> tuple[float, Any]:
        """The loss where the parameters are and its gradient, ``(n,)``."""
        with self.still(), mg.enable_grad():
            loss = self.fn(*self.params)
        return float(loss.item()), self.vector(pull(self.name, [loss], self.params, [np.ones_like(loss.data)]))

    def product(self, v: Any) -> Any:
        """H v, ``(n,)``: one backward pass over the graph of the gradient, which is recorded at the first call."""
        if self.slopes is None:
            with self.still():
                self.slopes = gradients(self.name, self.fn, self.params)
        return self.vector(pull("", self.slopes, self.params, self.parts(v), retain_graph=True))

    def hessian(self) -> Any:
        """H, ``(n, n)``: n products, and made symmetric to the last bit."""
        H = np.stack([self.product(e) for e in self.there(np.eye(self.n))])
        return (H + H.T) / 2

    # ------------------------------------------------------------------------------------------------------- vectors

    def vector(self, tensors: Iterable[Tensor]) -> Any:
        """One Tensor per parameter, as one vector."""
        return np.concatenate([t.data for t in tensors], axis=None).astype(np.float64)

    def parts(self, v: Any) -> list[Any]:
        """A vector's part for each parameter, in its shape and dtype."""
        ends = np.cumsum([p.size for p in self.params]).tolist()
        return [v[end - p.size : end].reshape(p.shape).astype(p.dtype) for p, end in zip(self.params, ends)]

    def direction(self, what: str, v: Any) -> Any:
        """v as a vector: given as one, or as one array for each parameter. Raises ValueError for anything else."""
        arrays = [mg.tensor(each, np.float64, device=self.params[0].device).data for each in as_inputs(v)]
        shapes, wanted = [a.shape for a in arrays], [p.shape for p in self.params]
        if shapes not in (wanted, [(self.n,)]):
            raise ValueError(f"{self.name}: {what} has shape {shapes}; wanted ({self.n},), or one for each of {wanted}")
        vector = np.concatenate(arrays, axis=None)
        if not np.isfinite(vector).all():
            raise ValueError(f"{self.name}: {what} is not finite")
        return vector

    def normal(self, rng: np.random.Generator) -> Any:
        """A random vector, where the parameters are, of independent standard normal numbers."""
        return self.there(rng.standard_normal(self.n))

    def there(self, array: Any) -> Any:
        """A copy of an array on the parameters' device."""
        return mg.tensor(array, device=self.params[0].device).data

    @contextlib.contextmanager
    def moved(self, e: Any) -> Iterator[None]:
        """Inside, the parameters are at x + e; afterwards at x again, to the last bit."""
        saved = [p.data.copy() for p in self.params]
        self.slopes = None
        try:
            for p, part in zip(self.params, self.parts(self.vector(self.params) + e)):
                p.data[...] = part
                p.mark_changed()
            yield
        finally:
            self.slopes = None
            for p, data in zip(self.params, saved):
                p.data[...] = data
                p.mark_changed()


def as_inputs(x: Any) -> list[Any]:
    """One point or several, as a list: numbers are the coordinates of one, arrays and Tensors are points themselves."""
    if isinstance(x, (tuple, list)) and all(isinstance(each, numbers.Real) for each in x):
        return [x]
    return [*x] if isinstance(x, list) and any(getattr(each, "ndim", 0) for each in x) else as_list(x)


def as_point(name: str, x: Any) -> Tensor:
    """A leaf to differentiate by: x itself if it is one, else a copy, numbers and integers as float64."""
    try:
        return as_leaf(x if isinstance(x, Tensor) or getattr(x, "dtype", None) == np.float32 else np.asarray(x, float))
    except (TypeError, ValueError):
        wanted = "a point (a Tensor, an array, numbers) or the nn.Module itself"
        raise TypeError(f"{name}: x is {wanted}, not {type(x).__name__}") from None
