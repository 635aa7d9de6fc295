"""Data parallelism: every process has a replica of the model, and a part of each batch of its own.

    comm = distributed.world()
    optimizer = distributed.DataParallel(model, optim.Adam(model.parameters()), comm)
    for x, y in loader:                                # the same batches on every rank
        x, y = optimizer.shard(x, y)                   # this rank's part
        optimizer.step(lambda: loss_fn(model(x), y))

The gradient of a mean over a batch is the mean of its parts' gradients, each weighted by its size. With it every
replica takes the same step, so they stay the same: the path is that of one process with the whole batch.

Public: `DataParallel`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad.nn.normalization import BatchNorm, GhostBatchNorm

from ..checks import one_of
from ..optimizer import Optimizer
from ..quasi_newton import QuasiNewton
from ..second_order import SecondOrder
from ..wrapper import Wrapper
from .buckets import Buckets
from .collectives import total
from .communicator import Communicator, RankLost, part_of


class SharedLoss(Tensor):
    """A part's mean loss, whose `backward` is everybody's: it takes the gradient, and gets the value, of the whole.

    So every optimizer that evaluates a closure, once or often, is parallel without knowing it.
    """

    __slots__ = ("parallel",)

    def __init__(self, loss: Tensor, parallel: DataParallel) -> None:
        super().__init__(loss.data, loss.node)
        self.parallel = parallel

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        if gradient is not None or create_graph:
            raise TypeError("DataParallel: a loss of all ranks has gradients of the first order, of the loss itself")
        self.data = self.parallel.average(self, partial(super().backward, retain_graph=retain_graph))


class DataParallel(Wrapper):
    """An optimizer whose gradients are means over the batch of all processes, around any first-order one or L-BFGS.

    It wraps the others, ``DataParallel(model, SAM(SGD(...)), comm)``, and is not wrapped. Its `state_dict` is the
    wrapped optimizer's, so that a run goes on with any number of processes.

    Parameters
    ----------
    model
        The replica. Parameters and buffers become those of rank 0.
    base
        An optimizer of the model's parameters.
    comm
        The world: `distributed.world()`.
    statistics
        Of batch norm: ``"synchronised"``, over the whole batch as one process has them, at two small sums per layer and
        pass; or ``"local"``, each part by its own, as ghost batches. Running ones are then averaged after every step.
    recover
        Go on without a process that died, on those left, where MPI can (``mpiexec --with-ft ulfm``). The step that it
        died in is made from the parts of the others.

    Raises
    ------
    TypeError
        For a method that looks at more than losses and gradients (Newton, NaturalGradient, KFAC); for `recover` around
        one whose step is not just `gradients`, then `apply`.
    ValueError
        For an optimizer of other parameters than the model's; for `recover` where MPI cannot.

    References
    ----------
    Dean et al., Large scale distributed deep networks, 2012; for buckets and overlap Li et al., PyTorch distributed:
    experiences on accelerating data parallel training, 2020.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> from minigrad import nn
    >>> from optim import distributed
    >>> model, x = nn.Linear(2, 1), mg.ones((8, 2))
    >>> opt = distributed.DataParallel(model, optim.SGD(model.parameters(), lr=0.1), distributed.world())
    >>> opt.shard(x).shape  # a world of one has the whole batch
    (8, 2)
    """

    whole_steps = True
    rules = {"statistics": one_of("synchronised", "local"), "recover": one_of(False, True)}
    statistics: str
    recover: bool

    def __init__(
        self,
        model: nn.Module,
        base: Optimizer,
        comm: Communicator,
        statistics: str = "synchronised",
        recover: bool = False,
    ) -> None:
        super().__init__(base, statistics=statistics, recover=recover)
        while isinstance(base, Wrapper):
            base = base.base
        self.innermost = base
        if isinstance(base, SecondOrder) and not isinstance(base, QuasiNewton):
            raise TypeError(
                f"DataParallel: {base._name} wants more than losses and gradients; wanted a first-order method or LBFGS"
            )
        if recover and type(base).step is not Optimizer.step:
            raise TypeError(
                f"DataParallel: recover=True wants a step that is one gradient and an update, not {base._name}"
            )
        if recover and not comm.survives:
            raise ValueError(
                "DataParallel: recover=True wants an MPI that goes on without a process: mpiexec --with-ft ulfm"
            )
        if not {*self.parameters()} <= {*model.parameters()}:
            raise ValueError("DataParallel: the optimizer has parameters that are not the model's")
        self.model, self.comm = model, comm
        self.examples, self.share = 1, 1 / comm.size  # of the batch; equal parts, until `shard` knows better
        self.kept_loss = 0.0  # of what was accumulated
        for array in self.arrays().values():
            comm.broadcast(array)
        for p in self.parameters():
            p.mark_changed()
        self.buckets = Buckets(self.parameters(), comm)

    def arrays(self) -> dict[str, Any]:
        """All that has to be the same on every rank: parameters and buffers, by name."""
        return {name: t.data for name, t in (*self.model.named_parameters(), *self.model.named_buffers())}

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Not here: which gradients travel together was decided when this was made."""
        raise TypeError("DataParallel: add parameter groups to the optimizer before it is made parallel")

    # -------------------------------------------------------------------------------------------------- the batch

    def shard(self, *batch: Any) -> Any:
        """Take a rank's own part of a batch: of each Tensor or array some consecutive items; of one, not in a tuple.

        Parts are disjoint, and as equal as can be. The next step weights this part's loss by its size. A rank for which
        nothing is left takes part in the step, and does not run its closure.
        """
        n = len(batch[0])
        if not n or any(len(x) != n for x in batch):
            raise ValueError(f"DataParallel.shard: wanted things of one length, not 0; got {[len(x) for x in batch]}")
        if n < self.comm.size and self.synchronised():
            raise ValueError(
                f"DataParallel.shard: {n} examples for {self.comm.size} ranks, and batch norm over all of them wants "
                "at least one on each; drop the last batch, or use statistics='local'"
            )
        part = part_of(n, self.comm.rank, self.comm.size)
        self.examples = part.stop - part.start
        self.share = self.examples / n
        parts = tuple(x[part] for x in batch)
        return parts if len(parts) > 1 else parts[0]

    def shards(self, loader: Any) -> Shards:
        """A loader's batches, this rank's part of each: for `fit`, with the same loader on every rank."""
        return Shards(loader, self)

    # -------------------------------------------------------------------------------------------------- the gradient

    def gradients(self, closure: Callable[[], Tensor]) -> Tensor:
        """Set every `.grad` to the gradient of the mean over all ranks of the losses, and return that mean.

        Clip here: ``gradients(closure)``, `nn.utils.clip_grad_norm_`, then ``apply()``.
        """
        return self.surely(lambda: self.base.gradients(self.shared(closure)))

    def apply(self) -> None:
        """As the base's."""
        self.base.apply()
        self.settle()

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """As the base's, with the mean over all ranks of the losses and of their gradients.

        Without a closure, what `backward` left in `.grad` is averaged now, in no time of its own; with one, while
        backward is at work.
        """
        if isinstance(closure, Tensor) or (closure is None and self.needs_closure):
            return self.base.step(closure)  # which refuses it
        if closure is None and self.recover:
            raise TypeError("DataParallel.step: recover=True wants a closure, to take a gradient again")
        if type(self.innermost).step is not Optimizer.step and closure is not None:
            loss = self.base.step(self.shared(closure))
            self.settle()
            return loss
        loss = None
        if closure is None:
            self.average_now()
        else:
            loss = self.gradients(closure)
        self.apply()
        return loss

    def accumulate(self, closure: Callable[[], Tensor]) -> Tensor:
        """Keep the gradient of a loss on this rank, to be added to those of the next step; nothing is sent.

        For batches that do not fit: of k parts, ``accumulate`` the loss divided by k of all but the last, and ``step``
        with that of the last. Returns this rank's loss.

        Raises TypeError around a method that takes gradients elsewhere than at the parameters (SAM, NAG, L-BFGS), and
        with `recover`: what a process has kept dies with it.
        """
        if self.recover:
            raise TypeError("DataParallel.accumulate: recover=True cannot bring back what a lost process had kept")
        if self.needs_closure:
            raise TypeError(
                f"DataParallel.accumulate: {self.innermost._name} takes gradients of one loss several times"
            )
        loss = self.base.gradients(self.of_part(closure))
        for p in self.parameters():
            if p.grad is not None:
                g, kept = self.share * p.grad.data, self.buckets.kept
                kept[p] = kept[p] + g if p in kept else g
        self.kept_loss += self.share * loss.item()
        self.zero_grad()
        return loss

    def shared(self, closure: Callable[[], Tensor]) -> Callable[[], Any]:
        """The closure, with a loss that is everybody's."""

        def everybodys() -> Any:
            loss = self.of_part(closure)()
            return SharedLoss(loss, self) if isinstance(loss, Tensor) else loss

        return everybodys

    def of_part(self, closure: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """The closure, with everybody's statistics; without any examples a loss of 0 instead."""

        def of_mine() -> Tensor:
            if not self.share:
                like = next(self.parameters())
                return mg.zeros((), like.dtype, requires_grad=True, device=like.device)
            with self.together():
                return closure()

        return of_mine

    def average(self, loss: Tensor, backward: Callable[..., None]) -> Any:
        """Run the backward of this rank's loss, and average gradients meanwhile. The mean of all losses, an array."""
        self.buckets.open()
        backward(np.full_like(loss.data, self.share))
        return np.full_like(loss.data, self.summed(loss.item()))

    def average_now(self) -> None:
        """Average the gradients that are there."""
        self.buckets.open()
        for p in self.parameters():
            if p.grad is not None:
                p.grad.data *= self.share
        self.summed(0.0)

    def summed(self, loss: float) -> float:
        """Bring the sums to their end; the mean of all losses, with what was accumulated."""
        mean = self.buckets.close(self.share * loss + self.kept_loss)
        self.kept_loss = 0.0
        return mean

    # -------------------------------------------------------------------------------------------------- the replicas

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Inside, batch norm's statistics are the whole batch's, if that is wanted."""
        alone = self.comm.size == 1 or self.statistics == "local"
        return nn.share_statistics(None if alone else partial(total, comm=self.comm))

    def synchronised(self) -> list[nn.Module]:
        """The layers whose statistics are the whole batch's."""
        alone = self.statistics == "local"
        return [
            m for m in self.model.modules() if isinstance(m, BatchNorm) and not (alone or isinstance(m, GhostBatchNorm))
        ]

    def settle(self) -> None:
        """Average running statistics that each rank has of its own part; of what is counted, take the most."""
        same = {id(b) for m in self.synchronised() for b in m.buffers()}
        buffers = [b for b in self.model.buffers() if id(b) not in same]

        def settled() -> list[Any]:
            arrays = [b.data.copy() for b in buffers]
            for array in arrays:
                self.comm.all_reduce(array, "sum" if array.dtype.kind == "f" else "max")
            return [array / self.comm.size if array.dtype.kind == "f" else array for array in arrays]

        for b, array in zip(buffers, self.surely(settled)):
            b.data[...] = array

    def check_drift(self) -> None:
        """Raise RuntimeError unless every parameter and buffer is the same on all ranks, to the bit. All call it."""
        for name, array in self.arrays().items():
            low, high = array.copy(), array.copy()
            self.comm.all_reduce(low, "min")
            self.comm.all_reduce(high, "max")
            if not ((low == high) | (low != low)).all():
                raise RuntimeError(
                    f"DataParallel.check_drift: {name!r} differs between ranks, by up to {abs(high - low).max()}; "
                    "all have to take the same steps, and to change nothing else"
                )

    def surely(self, work: Callable[[], Any]) -> Any:
        """What all do together; with `recover`, again by those who are left, until it has worked for all of them."""
        if not self.recover:
            return work()
        while True:
            try:
                result, fine = work(), True
            except RankLost:
                result, fine = None, False
            if self.comm.agree(fine):
                return result
            self.comm = self.buckets.comm = self.comm.shrink()
            work = partial(self.reweighted, work)

    def reweighted(self, work: Callable[[], Any]) -> Any:
        """Weight the parts anew, as some were lost; then do the work."""
        examples = np.array([self.examples], np.float64)
        self.comm.all_reduce(examples)
        self.share = self.examples / float(examples[0])
        return work()

    # -------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Any]:
        """The base's: the run goes on with any number of processes, also without this wrapper."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As the base's. Every rank loads the same."""
        self.base.load_state_dict(state_dict)


class Shards:
    """One rank's part of every batch that a loader gives."""

    def __init__(self, loader: Any, parallel: DataParallel) -> None:
        self.loader, self.parallel = loader, parallel

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self.loader:
            parts = self.parallel.shard(*batch)
            yield parts if isinstance(parts, tuple) else (parts,)
