"""Whole derivatives of functions: Jacobians, Hessians, and their products with vectors, without the matrix.

For y = f(x) the Jacobian is J[i, j] = ∂yᵢ/∂xⱼ; reverse mode computes vᵀ J in one pass, whatever the sizes. All else
here is made of such passes, over each other where a second derivative is wanted:

    vjp       vᵀ J       one pass
    jvp       J v        two: u ↦ uᵀ J is linear in u, and its own vjp is J v
    jacobian  J          one pass per element of y
    hvp       H v        two: H is the Jacobian of the gradient, and symmetric
    hessian   H          one pass per element of x, through the graph of the gradient

`x` is a Tensor, or a tuple of them for a function of several inputs; results then are tuples too. A leaf that requires
a gradient is used itself, so that `fn` may close over it, as a loss does over parameters; anything else is copied.
Recording is on while `fn` runs, also under `no_grad`. Results are constants: to differentiate them again, use `mg.grad`
with ``create_graph=True``.

Public: `vjp`, `jvp`, `jacobian`, `hvp`, `hessian`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .engine import Leaf, differentiate, enable_grad, grad, narrow, walk
from .tensor import Tensor, tensor

Function = Callable[..., Any]


def vjp(fn: Function, x: Any, v: Any) -> tuple[Any, Any]:
    """fn(x), and vᵀ J: how the sum of the outputs weighted by v changes with each element of x.

    Parameters
    ----------
    fn
        Takes x (or each of x, if that is a tuple), returns a Tensor or a tuple of Tensors.
    v
        Of the shape of fn(x); a tuple where that is one.

    Returns
    -------
    (output, product)
        What `fn` returned, and the product in the shape of x.

    Raises
    ------
    RuntimeError
        Where the output depends on none of the inputs. One input among several that is not used gets zeros.
    TypeError, ValueError
        For inputs that are not floats, for v of another shape or number than the outputs.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.autograd.vjp(mg.square, mg.tensor([1.0, 2.0, 3.0]), mg.tensor([1.0, 0.0, 2.0]))[1]
    tensor([ 2.,  0., 12.], dtype=float32, device='cpu')
    """
    xs = as_leaves(x)
    y, ys = evaluate("vjp", fn, xs)
    return shaped(y, [y.detach() for y in ys]), shaped(x, pull("vjp", ys, xs, vectors("vjp", v, ys)))


def jvp(fn: Function, x: Any, v: Any) -> tuple[Any, Any]:
    """fn(x), and J v: how the outputs change as x moves along v.

    Parameters
    ----------
    fn
        Takes x (or each of x, if that is a tuple), returns a Tensor or a tuple of Tensors.
    v
        Of the shape of x; a tuple where that is one (all inputs move at once).

    Returns
    -------
    (output, product)
        What `fn` returned, and the product in the same shape.

    Raises
    ------
    RuntimeError, TypeError, ValueError
        As `vjp`; v is compared with x.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.autograd.jvp(mg.square, mg.tensor([1.0, 2.0, 3.0]), mg.tensor([1.0, 0.0, 2.0]))[1]
    tensor([ 2.,  0., 12.], dtype=float32, device='cpu')
    """
    xs = as_leaves(x)
    vs = vectors("jvp", v, xs)
    y, ys = evaluate("jvp", fn, xs)
    us = [as_leaf(np.zeros_like(y.data)) for y in ys]  # the product is linear in u: any values do
    products = pull("", pull("jvp", ys, xs, us, create_graph=True), us, vs)
    return shaped(y, [y.detach() for y in ys]), shaped(y, products)


def jacobian(fn: Function, x: Any) -> Any:
    """J, of shape ``fn(x).shape + x.shape``; for x a tuple, one for each of it.

    Raises RuntimeError, TypeError or ValueError as `vjp`, and where `fn` returns several Tensors.

    >>> import minigrad as mg
    >>> mg.autograd.jacobian(mg.square, mg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]], dtype=float32, device='cpu')
    """
    xs = as_leaves(x)
    _, ys = evaluate("jacobian", fn, xs)
    if len(ys) != 1:
        raise TypeError(f"jacobian: fn returned {len(ys)} Tensors, wanted one; join them with mg.concatenate")
    pull("jacobian", ys, xs, [np.zeros_like(ys[0].data)], retain_graph=True)  # refuses what depends on no input
    return shaped(x, jacobians(ys[0], xs))


def hvp(fn: Function, x: Any, v: Any) -> Any:
    """H v, the Hessian of a scalar function times a vector, in the shape of x. The Hessian itself is never formed.

    For x a tuple so is v, and H is the Hessian in all of x at once. Raises RuntimeError, TypeError or ValueError as
    `vjp`, and where the output of `fn` has more than one element.

    >>> import minigrad as mg
    >>> mg.autograd.hvp(lambda x: (x**3).sum(), mg.tensor([1.0, 2.0]), mg.tensor([1.0, 10.0]))
    tensor([  6., 120.], dtype=float32, device='cpu')
    """
    xs = as_leaves(x)
    vs = vectors("hvp", v, xs)
    return shaped(x, pull("", gradients("hvp", fn, xs), xs, vs))


def hessian(fn: Function, x: Any) -> Any:
    """H, the second derivatives of a scalar function, of shape ``x.shape + x.shape``.

    For x a tuple the result is a tuple of tuples: ``H[i][j]`` is ∂²f/∂xᵢ∂xⱼ, of shape ``x[i].shape + x[j].shape``.
    Raises as `hvp`.

    >>> import minigrad as mg
    >>> mg.autograd.hessian(lambda x: x[0] * x[1] ** 2, mg.tensor([1.0, 2.0]))
    tensor([[0., 4.],
            [4., 2.]], dtype=float32, device='cpu')
    """
    xs = as_leaves(x)
    return shaped(x, [shaped(x, jacobians(g, xs)) for g in gradients("hessian", fn, xs)])


# ------------------------------------------------------------------------------------------------------- how it is done


def as_leaf(x: Any) -> Tensor:
    """A leaf to differentiate by: x itself if it is one, else a copy."""
    return x if isinstance(x, Tensor) and isinstance(x.node, Leaf) else tensor(x, requires_grad=True)


def several(x: Any) -> bool:
    """Is this a tuple, or a list of Tensors, rather than one Tensor, array, number or list of numbers?"""
    return isinstance(x, tuple) or (isinstance(x, list) and any(isinstance(each, Tensor) for each in x))


def as_list(x: Any) -> list[Any]:
    """One or several, as a list."""
    return [*x] if several(x) else [x]


def as_leaves(x: Any) -> list[Tensor]:
    """One input or several, as leaves."""
    return [*map(as_leaf, as_list(x))]


def shaped(form: Any, results: list[Any]) -> Any:
    """A tuple of results if the form they answer to is several, else the only one."""
    return tuple(results) if several(form) else results[0]


def evaluate(name: str, fn: Function, args: list[Any]) -> tuple[Any, list[Tensor]]:
    """What fn returns, as it is and as a list, recorded in any mode. Raises TypeError for what is not a Tensor."""
    with enable_grad():
        y = fn(*args)
    for each in as_list(y):
        if not isinstance(each, Tensor):
            raise TypeError(f"{name}: fn returns a Tensor or a tuple of them, not {type(each).__name__} {each!r}")
    return y, as_list(y)


def vectors(name: str, v: Any, wanted: list[Tensor]) -> list[Any]:
    """v as arrays like the Tensors wanted. Raises ValueError where number or shapes differ."""
    vs = [(v if isinstance(v, Tensor) else tensor(v)).data for v in as_list(v)]
    if [v.shape for v in vs] != [x.shape for x in wanted]:
        shapes = ", ".join(str(x.shape) for x in wanted)
        raise ValueError(f"{name}: v has shape {', '.join(str(v.shape) for v in vs)}, wanted {shapes}")
    return vs


def pull(name: str, ys: list[Tensor], xs: list[Tensor], weights: Sequence[Any], **options: Any) -> list[Tensor]:
    """Σ wᵢ ∂yᵢ/∂x for every x: zeros where no y depends on it. If no y depends on any x, `name` raises RuntimeError."""
    live = [(y, w) for y, w in zip(ys, weights) if y.requires_grad]
    found: tuple[Any, ...] = (None,) * len(xs)
    if live:
        found = grad([y for y, _ in live], xs, [w for _, w in live], allow_unused=True, **options)
    if name and all(g is None for g in found):
        raise RuntimeError(
            f"{name}: what fn returns does not depend on its input; does fn use the tensor that it is given, and never "
            "its .data, .numpy() or .detach()?"
        )
    return [Tensor(np.zeros_like(x.data)) if g is None else g for x, g in zip(xs, found)]


def gradients(name: str, fn: Function, xs: list[Tensor]) -> list[Tensor]:
    """The gradients of a scalar function, recorded. Raises ValueError for an output of several elements."""
    _, ys = evaluate(name, fn, xs)
    if len(ys) != 1 or ys[0].size != 1:
        shapes = ", ".join(str(y.shape) for y in ys)
        raise ValueError(f"{name}: wanted a scalar function, but fn returned shape {shapes}; take .sum() or .mean()")
    return pull(name, ys, xs, [np.ones_like(ys[0].data)], create_graph=True)


def jacobians(y: Tensor, xs: list[Tensor]) -> list[Tensor]:
    """∂y/∂x for every x, of shape y.shape + x.shape: one backward pass per element of y."""
    rows = [np.zeros((y.size, *x.shape), x.dtype, like=x.data) for x in xs]
    if y.node is not None:
        wanted = {x.node for x in xs if x.node is not None}
        order, uses, _ = walk([y.node])  # once for all passes
        order, useful = narrow(order, wanted)
        for k, direction in enumerate(one_hots(y.data)):
            found = differentiate([(y.node, direction)], (order, uses, useful), wanted, create_graph=False, retain=True)
            for row, x in zip(rows, xs):
                if x.node in found:
                    row[k] = found[x.node]
    return [Tensor(row.reshape((*y.shape, *x.shape))) for row, x in zip(rows, xs)]


def one_hots(x: Any) -> Iterator[Any]:
    """For each element of an array, in row-major order, an array like it that is 1 there and 0 elsewhere."""
    for k in range(x.size):
        direction = np.zeros(x.size, x.dtype, like=x)
        direction[k] = 1
        yield direction.reshape(x.shape)
