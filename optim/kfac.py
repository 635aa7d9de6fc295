"""K-FAC: the natural gradient of a network, by a Fisher matrix that comes apart into small ones.

Public: `KFAC`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad.ops import unfold

from .checks import as_count, as_saved, at_least, below_one, check_keys, integer, one_of
from .likelihoods import LIKELIHOODS
from .natural_gradient import loss_scores, outputs
from .second_order import ModelMethod, watching


class KFAC(ModelMethod):
    r"""Precondition each layer's gradient by the inverses of two small matrices.

    A linear layer s = W ā, ā being its input and a 1 for the bias, has for one example the gradient g āᵀ, g being that
    of -log p(y | x) in s. Its block of the Fisher matrix is E[āāᵀ ⊗ ggᵀ], and if inputs and gradients were independent,

        F ≈ A ⊗ G          A = E[ā āᵀ]          G = E[g gᵀ]

    whose inverse is A⁻¹ ⊗ G⁻¹: for a layer of 256 × 256 two matrices of 256 × 256 instead of one of 65536 × 65536. So

        V = (G + √λ/π I)⁻¹ ∇W (A + π √λ I)⁻¹          π² = (tr A / dim A) / (tr G / dim G)
        v ← αv + νV          W ← W - lr·v          ν = min(1, √(κ / (lr² Σ V · ∇W)))

    A and G are running averages over steps. The damping λ is split between the factors so that it weighs on both alike.
    ν holds the step's length, measured by F, at √κ at most. In a convolution the input is a patch; A sums and G
    averages over all places of the image.

    Parameters
    ----------
    model
        The Module. Its parameters are those of `Linear` layers, with inputs ``(N, in_features)``, and of `Conv2d`
        without groups, each called once. The closure calls the model once, on the whole batch, and returns the mean
        loss over the batch.
    lr
        The rate.
    damping
        λ. The larger, the shorter the steps, and the nearer to the gradient's direction.
    likelihood
        ``"categorical"`` for a cross-entropy of outputs ``(N, C)``, ``"bernoulli"`` for binary cross-entropy with
        logits, ``"gaussian"`` for half the sum of squares.
    fisher
        Over which y the gradients g are averaged: ``"sampled"``, one drawn for each example from the network's own
        answer, at the cost of a second backward pass; ``"exact"``, all of them, K passes for K outputs;
        ``"empirical"``, the target, which makes G no part of a Fisher matrix.
    momentum
        α.
    decay
        How much of the averages A and G stays, at most; at step t never more than 1 - 1/t, so that they start as means.
    factor_every, inverse_every
        Steps from one update of the averages to the next, and of their inverses.
    kl_clip
        κ; 0 is no bound.

    Raises
    ------
    TypeError
        For a model with parameters in a layer that it does not know, naming it.
    RuntimeError
        By `step`, where a layer is called twice, or never.

    References
    ----------
    Martens, Grosse, Optimizing neural networks with Kronecker-factored approximate curvature, 2015, section 6.3 for π.
    Grosse, Martens, A Kronecker-factored approximate Fisher matrix for convolution layers, 2016. ν: Ba, Grosse,
    Martens, Distributed second-order optimization using Kronecker-factored approximations, 2017.

    Examples
    --------
    >>> import numpy as np, minigrad as mg, optim
    >>> from minigrad import functional as F, nn
    >>> mg.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> x, y = mg.randn(64, 2), mg.tensor(np.arange(64) % 2)
    >>> x = x + 2 * y[:, None].astype(np.float32)
    >>> opt = optim.KFAC(model, lr=0.3, damping=0.01)
    >>> losses = [opt.step(lambda: F.cross_entropy(model(x), y)).item() for _ in range(30)]
    >>> losses[0] > 0.5, losses[-1] < 0.2
    (True, True)
    """

    rules = {
        "lr": at_least(0),
        "damping": at_least(0),
        "likelihood": one_of(*LIKELIHOODS),
        "fisher": one_of("sampled", "exact", "empirical"),
        "momentum": below_one(),
        "decay": below_one(),
        "factor_every": integer(1),
        "inverse_every": integer(1),
        "kl_clip": at_least(0),
    }

    def __init__(self, model: nn.Module, *settings: Any, **named: Any) -> None:
        super().__init__(model, *settings, **named)
        self.layers = [layer for _, layer in self.known(model)]

    def known(self, model: nn.Module) -> Iterator[tuple[str, Any]]:
        """The layers that learn, with their names. Raises TypeError for one that is not known."""
        for name, layer in model.named_modules():
            learned = [p for _, p in layer.members() if isinstance(p, nn.Parameter) and p.requires_grad]
            if not learned:
                continue
            kind = type(layer).__name__
            if not isinstance(layer, (nn.Linear, nn.Conv2d)):
                raise TypeError(
                    f"KFAC: layer {name!r}, a {kind}, has parameters, and only Linear and Conv2d come apart into "
                    "factors; requires_grad_(False) on that layer leaves it as it is"
                )
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                raise TypeError(f"KFAC: layer {name!r} is a Conv2d of {layer.groups} groups; wanted groups=1")
            if len(learned) < (1 if layer.bias is None else 2):
                raise TypeError(f"KFAC: of layer {name!r}, weight or bias is frozen; freeze both, or none")
            yield name, layer

    def update(
        self, f, x, *, lr=0.03, damping=1e-2, likelihood="categorical", fisher="sampled", momentum=0.9, decay=0.95,
        factor_every=1, inverse_every=5, kl_clip=1e-3,
    ):  # fmt: skip
        with watching([self.model, *self.layers]) as calls:
            f(x)
        t = self.state.get(self.layers[0].weight, {"t": 0})["t"] + 1
        if (t - 1) % factor_every == 0:
            _, z = self.only(calls[self.model], "the model")
            inputs, sums = zip(*(self.only(calls[layer], f"a {type(layer).__name__}") for layer in self.layers))
            kept = min(1 - 1 / ((t - 1) // factor_every + 1), decay)
            for layer, (a,), gs in zip(self.layers, inputs, self.gradients_of_sums(f, z, sums, fisher, likelihood)):
                self.average(layer, {"A": input_factor(layer, a.data), "G": output_factor(gs)}, kept)

        V, length = {}, 0.0
        for layer in self.layers:
            state = self.state[layer.weight]
            if (t - 1) % inverse_every == 0:
                state["A_inverse"], state["G_inverse"] = inverses(state["A"], state["G"], damping)
            dW = joined(layer.weight.grad.data, None if layer.bias is None else layer.bias.grad.data)
            V[layer] = state["G_inverse"] @ dW @ state["A_inverse"]
            length += float((V[layer] * dW).sum())
        nu = min(1.0, (kl_clip / (lr * lr * length)) ** 0.5) if kl_clip and lr * length else 1.0
        moves = {}
        for layer in self.layers:
            state = self.state[layer.weight]
            state["t"], state["v"] = t, momentum * state.get("v", 0.0) + nu * V[layer]
            moves.update(parted(layer, state["v"]))
        return x - lr * f.vector([moves[p] for p in f.params])

    def gradients_of_sums(
        self, f: Any, z: Tensor, sums: tuple[Tensor, ...], fisher: str, likelihood: str
    ) -> Iterator[list[Any]]:
        """For each layer, gradients in its output s of -log p(y | x), in the shape of s; one for each backward pass."""
        batch = outputs(self._name, z, likelihood)
        scores = {
            "sampled": lambda: [LIKELIHOODS[likelihood].draw(batch)],
            "exact": lambda: [*LIKELIHOODS[likelihood].roots(batch)],
            "empirical": lambda: [loss_scores(f.loss, z)],
        }[fisher]()
        passes = [mg.grad(z, sums, mg.tensor(e.reshape(z.shape)), retain_graph=True) for e in scores]
        return ([g.data for g in of_layer] for of_layer in zip(*passes))

    def average(self, layer: Any, factors: dict[str, Any], kept: float) -> None:
        """Move a layer's running averages towards the factors of this batch."""
        state = self.state.setdefault(layer.weight, {"t": 0})
        for name, new in factors.items():
            state[name] = new if kept == 0 else kept * state[name] + (1 - kept) * new

    # ------------------------------------------------------------------------------------------------- saving

    def loaded(self, what: str, entries: dict[str, Any], p: Tensor) -> dict[str, Any]:
        """As `Optimizer.loaded`: what is remembered of a layer is with its weight."""
        layer = next((layer for layer in self.layers if layer.weight is p), None)
        if layer is None:
            raise ValueError(f"{what}: that is no weight of a layer")
        m, n = len(p), p.size // len(p) + (layer.bias is not None)
        shapes = {"A": (n, n), "A_inverse": (n, n), "G": (m, m), "G_inverse": (m, m), "v": (m, n)}
        check_keys(what, entries, {"t", *shapes})
        return {
            name: as_saved(f"{what}: {name}", entries[name], Tensor(np.empty(shape, p.dtype, like=p.data)))
            for name, shape in shapes.items()
        } | {"t": as_count(f"{what}: t", entries["t"])}


def input_factor(layer: Any, a: Any) -> Any:
    """A = E[ā āᵀ] over the batch; for a convolution summed over places."""
    if isinstance(layer, nn.Conv2d):
        columns = unfold(a, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        rows = columns.reshape(layer.weight.size // len(layer.weight), -1).T
    elif a.ndim == 2:
        rows = a
    else:
        raise ValueError(f"KFAC: a Linear layer had an input of shape {a.shape}; wanted (N, in_features)")
    ones = None if layer.bias is None else np.zeros(len(rows), a.dtype, like=a) + 1
    rows = joined(rows, ones)
    return rows.T @ rows / len(a)


def output_factor(gs: list[Any]) -> Any:
    """G = E[g gᵀ] over the batch, for a convolution averaged over places, summed over the list."""
    rows = [g.swapaxes(0, 1).reshape(g.shape[1], -1) for g in gs]
    return sum(row @ row.T for row in rows) / rows[0].shape[1]


def inverses(A: Any, G: Any, damping: float) -> tuple[Any, Any]:
    """(A + π√λ I)⁻¹ and (G + √λ/π I)⁻¹. Raises ValueError where one is singular."""
    I_A, I_G = np.identity(len(A), A.dtype, like=A), np.identity(len(G), G.dtype, like=G)
    sizes = float(A.trace()) / len(A), float(G.trace()) / len(G)
    pi = (sizes[0] / sizes[1]) ** 0.5 if min(sizes) > 0 else 1.0
    try:
        return np.linalg.inv(A + pi * damping**0.5 * I_A), np.linalg.inv(G + damping**0.5 / pi * I_G)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"KFAC.step: a factor of {len(A)} inputs or {len(G)} outputs is singular; give damping > 0"
        ) from None


def joined(weight: Any, bias: Any) -> Any:
    """(W b) as one matrix, ``(out, in + 1)``."""
    W = weight.reshape(len(weight), -1)
    return W if bias is None else np.concatenate([W, bias[:, None]], axis=1)


def parted(layer: Any, W: Any) -> dict[Tensor, Any]:
    """The parts of a joined matrix for a layer's parameters."""
    if layer.bias is None:
        return {layer.weight: W}
    return {layer.weight: W[:, :-1], layer.bias: W[:, -1]}
