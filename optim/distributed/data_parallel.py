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
from collections.abc import Callable
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
from .communicator import Communicator, RankLost
from .replicas import averaged, compare, refuse_unlike
from .sharding import Shards, shard


class PartsLoss(Tensor):
    """The mean loss of a part, whose `backward` is `work`: that gets the plain one, and gives the loss its new value.

    `DataParallel.average` makes it everybody's, the gradient and the value of the whole. So every optimizer that
    evaluates a closure, once or often, is parallel without knowing it.
    """

    __slots__ = ("work",)

    def __init__(self, loss: Tensor, work: Callable[[Tensor, Callable[..., None]], Any]) -> None:
        super().__init__(loss.data, loss.node)
        self.work = work

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        if gradient is not None or create_graph:
            raise TypeError("DataParallel: a loss of all ranks has gradients of the first order, of the loss itself")
        self.data = self.work(self, partial(super().backward, retain_graph=retain_graph))


class DataParallel(Wrapper):
    """An optimizer whose gradients are means over the batch of all processes, around any first-order one or L-BFGS.

    It wraps the others, ``DataParallel(model, SAM(SGD(...)), comm)``, and is not wrapped. Its `state_dict` is the
    wrapped optimizer's, so that a run goes on with any number of processes.

    The loss has to be the mean over the examples of the part, each with the same weight. For another (classes with
    weights, ignored targets, a sum) set `share` after `shard`.

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
        (Layers of ghost batches are always local.)
    recover
        Go on without a process that died, on those left, where MPI can (``mpiexec --with-ft ulfm``). The step that it
        died in is made from the parts of the others.

    Attributes
    ----------
    comm
        The world; after a death, with `recover`, the smaller one, in which ranks are numbered anew.
    share
        The weight of this rank's loss: its part of the batch, between 0 and 1; on all ranks they add up to 1.

    Raises
    ------
    TypeError
        For a method that looks at more than losses and gradients (Newton, NaturalGradient, KFAC); for `recover` around
        one whose step is not just `gradients`, then `apply`.
    ValueError
        For an optimizer of other parameters than the model's; where the ranks' models are not alike; for `recover`
        where MPI cannot.

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
            if isinstance(base, DataParallel):
                raise TypeError("DataParallel: the optimizer is made parallel already")
            base = base.base
        if not isinstance(comm, Communicator):
            raise TypeError(f"DataParallel: comm is a {type(comm).__name__}, wanted a Communicator such as world()")
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
        refuse_unlike("DataParallel", {name: (a.shape, str(a.dtype)) for name, a in self.arrays().items()}, comm)
        self.examples, self.share = 1, 1 / comm.size  # of the batch; equal parts, until `shard` knows better
        self.unused = 0  # how many examples a batch had that was sharded, and not stepped on yet
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

    def shard(self, first: Any, *others: Any) -> Any:
        """Take a rank's own part of a batch: of each Tensor or array some consecutive items; of one, not in a tuple.

        Parts are disjoint, and as equal as can be. The steps that follow weight the part's loss by its size. A rank for
        which nothing is left takes part in them, and does not run its closure.

        Raises
        ------
        ValueError
            For nothing, or things of several lengths; for a batch of another size while the last one is not yet used;
            for fewer examples than ranks where batch norm is synchronised.
        """
        batch = (first, *others)
        parts, examples, n = shard("DataParallel.shard", batch, self.comm.rank, self.comm.size)
        if not n:
            raise ValueError("DataParallel.shard: a batch without examples has no gradient")
        if self.unused not in (0, n):
            raise ValueError(
                f"DataParallel.shard: a batch of {n} examples, while there was no step on the one of {self.unused}; "
                "the sizes of parts are their weights, so shard a batch right before its step"
            )
        if n < self.comm.size and self.synchronised():
            raise ValueError(
                f"DataParallel.shard: {n} examples for {self.comm.size} ranks, and batch norm over all of them wants "
                "at least one on each; drop the last batch, or use statistics='local'"
            )
        self.examples, self.share, self.unused = examples, examples / n, n
        self.buckets.batches += 1
        return parts

    def shards(self, loader: Any) -> Shards:
        """A loader's batches, this rank's part of each: for `fit`, with the same loader on every rank."""
        return Shards(loader, self.shard)

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
        if closure is None and self.comm.size > 1 and self.synchronised():
            raise TypeError(
                "DataParallel.step: batch norm over all ranks wants a closure, in which it knows of them; or make this "
                "with statistics='local'"
            )
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
        loss = self.base.gradients(self.shared(closure, self.alone))
        kept = self.buckets.kept
        for p in self.parameters():
            if p.grad is not None:
                kept[p] = kept[p] + p.grad.data if p in kept else p.grad.data
        self.kept_loss += self.share * loss.item()
        self.zero_grad()
        return loss

    def shared(self, closure: Callable[[], Tensor], work: Any = None) -> Callable[[], Any]:
        """The closure, with everybody's batch norm, and a loss whose backward is `work`, by default `average`."""

        def of_part() -> Any:
            self.unused = 0
            if self.share:
                with self.together():
                    loss = closure()
            else:  # nothing is left for this rank
                like = next(self.parameters())
                loss = mg.zeros((), like.dtype, requires_grad=True, device=like.device)
            return PartsLoss(loss, work or self.average) if isinstance(loss, Tensor) else loss

        return of_part

    def average(self, loss: Tensor, backward: Callable[..., None]) -> Any:
        """Run the backward of this rank's loss, and average gradients meanwhile. The mean of all losses, an array."""
        self.buckets.open()
        try:
            self.alone(loss, backward)
        finally:
            self.buckets.listening = False
        return np.full_like(loss.data, self.summed(loss.item()))

    def alone(self, loss: Tensor, backward: Callable[..., None]) -> Any:
        """Run the backward of this rank's loss, weighted."""
        backward(np.full_like(loss.data, self.share))
        return loss.data

    def average_now(self) -> None:
        """Average the gradients that are there."""
        self.unused = 0
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
        parted = self.comm.size > 1 and self.statistics == "synchronised"
        return nn.share_statistics(partial(total, comm=self.comm) if parted else None)

    def synchronised(self) -> list[BatchNorm]:
        """The layers whose statistics are the whole batch's."""
        layers = [m for m in self.model.modules() if isinstance(m, BatchNorm) and not isinstance(m, GhostBatchNorm)]
        return layers if self.statistics == "synchronised" else []

    def settle(self) -> None:
        """Average running statistics that each rank has of its own part."""
        known = {*self.synchronised()}
        own = [m for m in self.model.modules() if isinstance(m, BatchNorm) and m not in known]
        buffers = [b for m in own for b in m.buffers()]
        for b, array in zip(buffers, self.surely(lambda: averaged(buffers, self.share, self.comm))):
            b.data[...] = array

    def check_drift(self) -> None:
        """Raise RuntimeError unless every parameter and buffer is the same on all ranks, to the bit. All call it."""
        self.surely(lambda: compare("DataParallel.check_drift", self.arrays(), self.comm))

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
        self.share = self.examples / max(1.0, float(examples[0]))  # who had them all may be gone
        return work()

    # -------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Any]:
        """The base's: the run goes on with any number of processes, also without this wrapper."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As the base's. Every rank loads the same."""
        self.base.load_state_dict(state_dict)
