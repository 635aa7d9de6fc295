"""Is a gradient right? The derivative again, by nothing but calling the function: a difference quotient.

    df/dx ≈ (f(x + eps) - f(x - eps)) / (2 eps)

It is approximate and slow (two calls for every element of x) where `backward` is exact and fast, but it knows nothing
of rules, so it can judge them. The step is a compromise: truncation costs eps² f‴/6, rounding costs the last digits of
f divided by eps. In float64 and near eps = 1e-6 nine digits or so are left; in float32 at best four, at eps = 1e-2.

Public: `numeric_gradient`, `gradcheck`, `gradgradcheck`, `GradcheckError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .derivatives import as_leaf, as_list, evaluate, jacobians, one_hots, pull, shaped
from .engine import no_grad
from .tensor import Tensor, tensor

LONGEST_REPORT = 20  # lines that an error lists


class GradcheckError(RuntimeError):
    """What `gradcheck` found: two gradients that differ, or a function that cannot be checked."""


def numeric_gradient(fn: Callable[..., Any], inputs: Any, eps: float = 1e-6) -> Any:
    """The derivative of `fn` by central differences: (fn(x + eps) - fn(x - eps)) / (2 eps) for every element of x.

    Parameters
    ----------
    fn
        Takes the inputs, returns a Tensor, an array or a number. It is called twice per element of the inputs, under
        `no_grad`.
    inputs
        A Tensor of floats, or a tuple of them. A leaf that requires a gradient is moved in place while `fn` runs, so
        that `fn` may close over it, and put back.
    eps
        The step.

    Returns
    -------
    Tensor or tuple of Tensors
        One per input, of shape ``fn(...).shape + input.shape``: for a scalar function, the shape of the input.

    Examples
    --------
    >>> import numpy as np, minigrad as mg
    >>> x = mg.tensor(np.array([1.0, 2.0, 3.0]))
    >>> mg.autograd.numeric_gradient(lambda x: (x * x).sum(), x).numpy().round(6)
    array([2., 4., 6.])
    """
    xs = [as_leaf(x) for x in as_list(inputs)]

    def values() -> Any:
        y = fn(*xs)
        return y.data.copy() if isinstance(y, Tensor) else np.array(y)

    results = []
    with no_grad():
        shape = values().shape
        for x in xs:
            columns = np.zeros((*shape, x.size), x.dtype, like=x.data)
            for k, direction in enumerate(one_hots(x.data)):
                ahead, behind = ahead_and_behind(values, x.data, direction, eps)
                columns[..., k] = (ahead - behind) / (2 * eps)
            results.append(Tensor(columns.reshape((*shape, *x.shape))))
    return shaped(inputs, results)


def ahead_and_behind(values: Callable[[], Any], x: Any, direction: Any, eps: float) -> tuple[Any, Any]:
    """What `values` gives with the array x moved along a direction by eps and by -eps. x is put back, come what may."""
    here = x.copy()
    try:
        x[...] = here + eps * direction
        ahead = values()
        x[...] = here - eps * direction
        return ahead, values()
    finally:
        x[...] = here


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    fast: bool = False,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of `fn` with difference quotients, element by element.

    Parameters
    ----------
    fn
        Takes the inputs, returns a Tensor or a tuple of Tensors. It may also close over the inputs, as a loss does over
        a model's parameters: ``gradcheck(lambda *_: loss(model(x), y), tuple(model.parameters()))``.
    inputs
        One, or a tuple. Those that are Tensors with ``requires_grad=True`` are checked, and moved by eps while `fn`
        runs; the others are handed on as they are.
    eps, atol, rtol
        The step, and the tolerance: |analytic - numeric| <= atol + rtol |numeric|.
    fast
        Compare one number per input, vᵀ J u with random v and u, in place of all elements of the Jacobian J: two calls
        per input and one backward pass, whatever the sizes. It finds a wrong gradient, but not the element.
    raise_exception
        Raise GradcheckError with a report, or else return False.

    Raises
    ------
    GradcheckError
        Where the gradients differ (each line of the report names input, index, both values, their relative error, and a
        kink if one lies within eps); where `fn` depends on no input, gives another result the second time, or changes
        an input in place.
    TypeError
        For inputs of another dtype than float64, in which a difference quotient has no digits left to compare.
    ValueError
        Where no input needs a gradient.

    Examples
    --------
    >>> import numpy as np, minigrad as mg
    >>> x = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> mg.autograd.gradcheck(lambda x: mg.exp(x) / x, x)
    True
    >>> wrong = mg.op(np.square, x=lambda g, x: g * x)
    >>> mg.autograd.gradcheck(wrong, x)
    Traceback (most recent call last):
    minigrad.checking.GradcheckError: gradcheck: analytic and numeric gradient differ in 2 of 4 elements ...
      output 0 [0], input 0 [0]: analytic 1, numeric 2, relative error 5.0e-01
      output 0 [1], input 0 [1]: analytic 2, numeric 4, relative error 5.0e-01
    Where fn is smooth the numeric value is to be trusted: look for an op in it whose derivative rule is wrong.
    """
    check = Check("gradcheck", fn, inputs, eps, atol, rtol)

    def run() -> None:
        check.examine()
        check.compare(fast)

    return verdict(run, raise_exception)


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    fast: bool = False,
    raise_exception: bool = True,
) -> bool:
    """Compare second derivatives: `gradcheck` of the function from inputs to gradients, under ``create_graph=True``.

    The gradients are those of the outputs of `fn` weighted by random numbers, which are checked as inputs too.
    Parameters and errors are those of `gradcheck`.

    Examples
    --------
    >>> import numpy as np, minigrad as mg
    >>> x = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> mg.autograd.gradgradcheck(lambda x: mg.exp(x) / x, x)
    True
    """
    first = Check("gradgradcheck", fn, inputs, eps, atol, rtol)

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        given, weights = args[: len(first.args)], args[len(first.args) :]
        ys = [y for y in as_list(fn(*given)) if y.requires_grad]
        xs = [x for x in given if is_checked(x)]
        return tuple(pull("", ys, xs, weights, create_graph=True))

    def run() -> None:
        first.examine()
        weights = [random_like(y, first.random) for y in first.outputs() if y.requires_grad]
        inputs = (*first.args, *(tensor(w, requires_grad=True) for w in weights))
        second = Check("gradgradcheck", gradients, inputs, eps, atol, rtol)
        second.input_names[len(first.args) :] = [f"weight of output {k}" for k in range(len(weights))]
        second.output_name, second.random = "gradient", first.random
        second.compare(fast)

    return verdict(run, raise_exception)


# ------------------------------------------------------------------------------------------------------- how it is done


def verdict(run: Callable[[], None], raise_exception: bool) -> bool:
    """True if a check passes; if not, its error or False."""
    try:
        run()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def is_checked(x: Any) -> bool:
    """Is this input one to differentiate by?"""
    return isinstance(x, Tensor) and x.requires_grad


def random_like(x: Tensor, random: np.random.Generator) -> Any:
    """An array of normal numbers in the shape of x."""
    return tensor(random.standard_normal(x.shape), x.dtype, device=x.device).data


class Slopes(NamedTuple):
    """How fast the elements of one output change as one input moves along one direction."""

    output: str
    input: str
    analytic: Any  # this and the others are arrays in the shape of the output
    above: Any  # (f(x + eps) - f(x)) / eps
    below: Any  # (f(x) - f(x - eps)) / eps
    bend: Any  # how far apart these two are


class Check:
    """A function at a point, to be checked. Raises TypeError or ValueError for inputs that cannot be."""

    def __init__(self, name: str, fn: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float) -> None:
        self.name, self.fn, self.eps, self.atol, self.rtol = name, fn, eps, atol, rtol
        self.args = [as_leaf(x) if is_checked(x) else x for x in as_list(inputs)]
        self.checked = [(k, x) for k, x in enumerate(self.args) if is_checked(x)]
        self.input_names = [f"input {k}" for k in range(len(self.args))]
        self.output_name = "output"
        self.random = np.random.default_rng(0)  # the same numbers in every run
        for k, x in self.checked:
            if x.dtype != np.float64:
                raise TypeError(
                    f"{name}: input {k} is {x.dtype}, wanted float64: {x.dtype} has so few digits that the difference "
                    "of two nearby values is mostly rounding error; use x.astype(np.float64), model.to(np.float64)"
                )
        if not self.checked:
            raise ValueError(f"{name}: no input needs a gradient; make those to be checked with requires_grad=True")

    def outputs(self) -> list[Tensor]:
        """What the function returns now, with its graph."""
        return evaluate(self.name, self.fn, self.args)[1]

    def values(self) -> list[Any]:
        """What the function returns now: copies, for an output may be a view of an input."""
        return [y.data.copy() for y in self.outputs()]

    def examine(self) -> None:
        """Refuse a function that changes its inputs, is not repeatable, or depends on no input."""
        before = [x.data.copy() for _, x in self.checked]
        first = self.values()
        for (k, x), data in zip(self.checked, before):
            if not np.array_equal(x.data, data, equal_nan=True):
                x.data[...] = data
                raise GradcheckError(
                    f"{self.name}: fn changes input {k} in place, so that every call starts from another point (its "
                    "value has been put back); let fn compute a new tensor: x = x + 1, not x.data += 1"
                )
        outputs = self.outputs()
        for k, (y, other) in enumerate(zip(outputs, first)):
            # a difference of eps * atol between two calls would be one of atol in the quotient
            if y.shape != other.shape or not np.allclose(y.data, other, 1e-13, self.eps * self.atol, equal_nan=True):
                raise GradcheckError(
                    f"{self.name}: output {k} differs from one call of fn to the next though the inputs are equal, so "
                    "that differences mean nothing; does fn draw random numbers (dropout: model.eval(); others: seed "
                    "them inside fn) or remember earlier calls?"
                )
        try:
            pull(self.name, outputs, [x for _, x in self.checked], [np.ones_like(y.data) for y in outputs])
        except RuntimeError as error:
            raise GradcheckError(str(error)) from error

    def elements(self) -> Iterator[Slopes]:
        """All of the Jacobian: a backward pass per element of the outputs, two calls per element of the inputs."""
        analytic = [jacobians(y, [x for _, x in self.checked]) for y in self.outputs()]
        here = self.values()
        for i, (k, x) in enumerate(self.checked):
            for index, direction in zip(np.ndindex(x.shape), one_hots(x.data)):
                ahead, behind = ahead_and_behind(self.values, x.data, direction, self.eps)
                for j, f in enumerate(here):
                    above, below = (ahead[j] - f) / self.eps, (f - behind[j]) / self.eps
                    yield Slopes(
                        output=f"{self.output_name} {j}",
                        input=at(self.input_names[k], index),
                        analytic=analytic[j][i].data[(..., *index)],
                        above=above,
                        below=below,
                        bend=abs(above - below),
                    )

    def projections(self) -> Iterator[Slopes]:
        """One number per input, vᵀ J u: one backward pass, and two calls per input."""
        ys = self.outputs()
        v = [random_like(y, self.random) for y in ys]
        gradients = pull("", ys, [x for _, x in self.checked], v)

        def weighted() -> Any:
            return np.concatenate([(w * f).reshape(-1) for w, f in zip(v, self.values())])

        here = weighted()
        for (k, x), g in zip(self.checked, gradients):
            u = random_like(x, self.random)
            ahead, behind = ahead_and_behind(weighted, x.data, u, self.eps)
            above, below = (ahead - here) / self.eps, (here - behind) / self.eps
            yield Slopes(
                output=f"{self.output_name}s, weighted at random",
                input=f"{self.input_names[k]} along a random direction",
                analytic=(g.data * u).sum(),
                above=above.sum(),
                below=below.sum(),
                bend=np.sqrt(np.square(above - below).sum()),  # squares, so that two kinks do not cancel
            )

    def compare(self, fast: bool) -> None:
        """Raise GradcheckError where the analytic and the numeric derivative differ."""
        lines: list[str] = []
        elements, kinks = 0, 0
        for slopes in self.projections() if fast else self.elements():
            numeric = (slopes.above + slopes.below) / 2
            error = abs(slopes.analytic - numeric)
            elements += numeric.size
            for index in np.argwhere(~(error <= self.atol + self.rtol * abs(numeric))):
                i = tuple(map(int, index))
                relative = error[i] / max(abs(slopes.analytic[i]), abs(numeric[i]))
                line = f"  {at(slopes.output, i)}, {slopes.input}: analytic {slopes.analytic[i]:.9g}"
                line += f", numeric {numeric[i]:.9g}, relative error {relative:.1e}"
                # at a kink or a jump within eps, the slopes on both sides are as far apart as the derivative is off
                if 2 * slopes.bend[i] >= error[i]:
                    line += f" (a kink: the slope is {slopes.below[i]:.3g} below and {slopes.above[i]:.3g} above)"
                    kinks += 1
                lines.append(line)
        if not lines:
            return
        found = len(lines)
        if found > LONGEST_REPORT:
            lines[LONGEST_REPORT:] = [f"  ... and {found - LONGEST_REPORT} more"]
        if kinks:
            lines.append(
                "At a kink or a jump within eps no difference quotient is the derivative: move the input away from it, "
                "or use a smaller eps."
            )
        if kinks < found:
            lines.append(
                "Where fn is smooth the numeric value is to be trusted: look for an op in it whose derivative rule is "
                "wrong" + (", with fast=False for the elements." if fast else ".")
            )
        raise GradcheckError(
            f"{self.name}: analytic and numeric gradient differ in {found} of {elements} elements "
            f"(eps={self.eps:g}, atol={self.atol:g}, rtol={self.rtol:g})\n" + "\n".join(lines)
        )


def at(label: str, index: tuple[int, ...]) -> str:
    """A label with the index of an element, if it has one."""
    return f"{label} {[*index]}" if index else label
