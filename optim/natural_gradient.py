"""The natural gradient: steepest descent where distance is between what the network says, not between its weights.

Public: `NaturalGradient`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor

from .checks import at_least, integer, one_of
from .likelihoods import LIKELIHOODS
from .second_order import ModelMethod, Objective, watching


class NaturalGradient(ModelMethod):
    r"""Precondition the gradient by the Fisher information: p ← p - lr (F + λI)⁻¹ g.

    Of all steps that change the distribution p(y | x) of the network's answers by as much (measured by the
    Kullback-Leibler divergence), -F⁻¹g is the one that lowers the loss most. Which numbers describe the network is then
    all the same: in other coordinates the same step comes out.

        F = 1/N Σ JᵀBJ          J = ∂z/∂p of one example

    where the outputs z fix p(y | x), and B is their Fisher information (`optim.likelihoods`), the covariance of
    ∂log p(y | z)/∂z. "exact": over the network's own answers y, which makes F also the Gauss-Newton matrix.
    "empirical": e eᵀ takes the place of B, with e the loss's gradient in z for the target that is there. That is no
    Fisher information, and Kunstner et al. show what goes wrong with it; it is here to be compared.

    Parameters
    ----------
    model
        The Module. The closure calls it once, on the whole batch, and returns the mean loss over the batch.
    lr
        The rate.
    damping
        λ. F is singular wherever some parameters make up for each other, as a softmax's do.
    fisher
        ``"exact"`` or ``"empirical"``.
    solver
        ``"dense"`` makes F, n × n, of n products Fv. ``"cg"`` only takes such products: it solves by conjugate
        gradients.
    likelihood
        ``"categorical"`` for outputs ``(N, C)`` that go into a cross-entropy; ``"bernoulli"`` for binary cross-entropy
        with logits, ``"gaussian"`` for half the sum of squares, and outputs ``(N, ...)``. F takes the place of the
        Hessian of just that loss; if the loss is a multiple of it (`mse_loss` is), so are the steps.
    cg_iter, cg_tolerance
        Conjugate gradients end after so many products, or where the residual is so small a part of g.

    Raises
    ------
    RuntimeError
        By `step`, where the closure calls the model twice, or never.
    MemoryError
        By `step`, where F would not fit.
    ValueError
        Where F is singular and there is no damping; for outputs that the likelihood is not for.

    References
    ----------
    Amari, Natural gradient works efficiently in learning, 1998. Martens, New insights and perspectives on the natural
    gradient method, 2020. Kunstner, Balles, Hennig, Limitations of the empirical Fisher approximation, 2019.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> from minigrad import functional as F, nn
    >>> model, x = nn.Linear(2, 1), mg.tensor([[1.0, 0.0], [0.0, 1000.0], [1.0, 1000.0], [2.0, 0.0]])
    >>> y = x @ mg.tensor([[2.0], [0.001]]) - 1
    >>> opt = optim.NaturalGradient(model, damping=0.0, likelihood="gaussian")
    >>> loss = opt.step(lambda: 0.5 * F.mse_loss(model(x), y))  # one step, as badly scaled as the inputs are
    >>> abs(model.weight.detach() - mg.tensor([[2.0, 0.001]])).max().item() < 1e-4
    True
    """

    rules = {
        "lr": at_least(0),
        "damping": at_least(0),
        "fisher": one_of("exact", "empirical"),
        "solver": one_of("dense", "cg"),
        "likelihood": one_of(*LIKELIHOODS),
        "cg_iter": integer(1),
        "cg_tolerance": at_least(0),
    }

    def update(
        self, f, x, *, lr=1.0, damping=1e-3, fisher="exact", solver="dense", likelihood="categorical", cg_iter=100,
        cg_tolerance=1e-6,
    ):  # fmt: skip
        if solver == "dense":
            self.refuse_matrix(x.size, x.dtype)
        with watching([self.model]) as calls:
            _, g = f(x)
        _, z = self.only(calls[self.model], "the model")
        self.memory["t"] += 1
        F = self.fisher_product(f, z, fisher, likelihood)
        if solver == "cg":
            return x - lr * conjugate_gradients(lambda v: F(v) + damping * v, g, cg_iter, cg_tolerance)
        I = np.identity(x.size, x.dtype, like=x)
        matrix = np.stack([F(v) for v in I]) + damping * I
        try:
            return x - lr * np.linalg.solve(matrix, g)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"NaturalGradient.step: the Fisher matrix of {x.size} parameters is singular, as some make up for each "
                "other; give damping > 0"
            ) from None

    def fisher_product(self, f: Objective, z: Tensor, fisher: str, likelihood: str) -> Callable[[Any], Any]:
        """The function v ↦ F v, at the outputs z: two passes each, J v and Jᵀ of what B makes of that."""
        batch = outputs(self._name, z, likelihood)
        if fisher == "exact":

            def B(u: Any) -> Any:
                return LIKELIHOODS[likelihood].product(batch, u)
        else:
            e = loss_scores(f.loss, z).reshape(batch.shape)

            def B(u: Any) -> Any:
                return e * (e * u).sum(axis=-1, keepdims=True)

        # u ↦ Jᵀu is linear in u: differentiated by u, whatever u is, it gives J v.
        u = mg.tensor(np.zeros_like(z.data), requires_grad=True)
        pulled = mg.grad(z, f.params, u, create_graph=True, allow_unused=True)
        rows = [(p, row) for p, row in zip(f.params, pulled) if row is not None and row.requires_grad]

        def product(v: Any) -> Any:
            parts = dict(zip(f.params, f.split(v)))
            (Jv,) = mg.grad([row for _, row in rows], u, [mg.tensor(parts[p]) for p, _ in rows], retain_graph=True)
            Bu = B(Jv.data.reshape(batch.shape)).reshape(z.shape) / len(batch)
            return f.vector(
                [
                    np.zeros_like(p.data) if g is None else g.data
                    for p, g in zip(f.params, mg.grad(z, f.params, mg.tensor(Bu), retain_graph=True, allow_unused=True))
                ]
            )

        return product


def outputs(name: str, z: Tensor, likelihood: str) -> Any:
    """The array of a network's outputs as ``(N, K)``. Raises ValueError where the likelihood is not for such."""
    if z.ndim < 1 or (likelihood == "categorical" and z.ndim != 2) or not z.size:
        raise ValueError(f"{name}: the model's output has shape {z.shape}; the likelihood {likelihood!r} wants (N, C)")
    return z.data.reshape(len(z), -1)


def loss_scores(loss: Tensor, z: Tensor) -> Any:
    """The gradient of each example's loss in its outputs, of the mean loss over a batch."""
    return mg.grad(loss, z, retain_graph=True)[0].data * len(z)


def conjugate_gradients(product: Callable[[Any], Any], b: Any, most: int, tolerance: float) -> Any:
    """x with A x = b, for A symmetric and positive definite of which only products A v are taken.

    Each direction is conjugate to all before, dᵢᵀA dⱼ = 0; so what one step has mended no later one spoils, and n steps
    are enough, fewer where eigenvalues are alike (Hestenes, Stiefel 1952). Where A is singular along one, the x so far.
    """
    x, r = np.zeros_like(b), b
    d, rr = r, float(r @ r)
    enough = tolerance**2 * rr
    for _ in range(most):
        if rr <= enough:
            break
        Ad = product(d)
        dAd = float(d @ Ad)
        if dAd <= 0:
            break
        step = rr / dAd
        x = x + step * d
        r = r - step * Ad
        before, rr = rr, float(r @ r)
        d = r + (rr / before) * d
    return x
