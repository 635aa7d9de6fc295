"""Training with a parameter server: workers push gradients to it, and pull the parameters that it makes of them.

    server = distributed.ParameterServer(model, lambda params: optim.SGD(params, lr=0.1), distributed.world())

    def work(worker):
        for x, y in loader:
            x, y = worker.shard(x, y)
            worker.step(lambda: loss_fn(model(x), y))

    server.run(work)

The first ranks serve, the others work, and one process alone does both. What they say to each other is in `serving.py`.

Public: `ParameterServer`, `Worker`, `Push`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import Tensor, nn

from ..checks import integer, require
from ..optimizer import Optimizer
from ..wrapper import Wrapper
from .communicator import Communicator
from .serving import Mailbox, Part, Push, Server, Worker

__all__ = ["ParameterServer", "Push", "Worker"]


class ParameterServer:
    r"""Servers that keep the parameters, and workers that compute gradients.

    Synchronous: an update waits for a gradient of every worker and takes their mean over all examples, so that the
    parameters go the way that they go on one process with the whole batch, to rounding. It is as fast as the slowest
    worker. Asynchronous: each gradient is applied when it comes, an update of its own at the full rate. Nobody waits,
    but others have changed the parameters since a worker pulled them: its gradient is *stale* by so many versions.

    `max_staleness` bounds that by making the fast wait. A worker's clock counts its pushes. Who is more than s clocks
    ahead of the slowest one at work gets no parameters until that one has caught up (stale synchronous parallel). While
    a worker, at clock c, computes a gradient, each other one was at clock c - s at least when it pulled, and comes to
    c + s + 1 at most until it pushes; so of n workers

        staleness ≤ (n - 1) (2s + 1)      versions

    and not by less: a test reaches it. It counts in pushes, not in time: s = 0 lets nobody compute two gradients while
    another computes one.

    Several servers share the parameters, whole ones, so that each holds about the same number of elements; each runs an
    optimizer of its own over them. A norm over all parameters is then nowhere known: do not clip by it.

    Parameters
    ----------
    model
        The same Module on every rank; its parameters and buffers become those of rank 0 when `run` begins.
    make_optimizer
        Takes a list of parameters, returns an optimizer of just these. It steps on the server, by gradients that are
        there already: an optimizer that wants a closure is refused.
    comm
        The processes: `world()`.
    servers
        How many of them serve, the first ones; the others work. One process alone is both.
    synchronous
        Wait for every worker at every update.
    max_staleness
        s, in clocks, where not synchronous; None lets the fast run away.

    Attributes
    ----------
    optimizers
        One for each server, on every rank; each has its state on its own server alone, whose rank is its number here:
        ``server.optimizers[comm.rank].state_dict()`` there, before or after `run`.
    pushes
        `Push` (server, worker, clock, staleness) for each gradient of the last `run`, in the order in which each
        server took them, server after server; the same list on every rank.

    Raises
    ------
    TypeError, ValueError
        For any other thing, too many servers, or a bound where nothing is stale; nothing has been sent then.

    Notes
    -----
    Running statistics (batch norm) are no parameters: each worker has its own, and in the end all have the first one's.

    An exception in `work` ends all processes where they were started with ``python -m mpi4py``.

    References
    ----------
    Dean et al., Large scale distributed deep networks, 2012 (Downpour SGD). Ho et al., More effective distributed ML
    via a stale synchronous parallel parameter server, 2013. Li et al., Scaling distributed machine learning with the
    parameter server, 2014.

    Examples
    --------
    >>> import minigrad as mg, optim
    >>> from minigrad import nn
    >>> from optim import distributed
    >>> model = nn.Linear(1, 1)
    >>> server = distributed.ParameterServer(model, lambda params: optim.SGD(params, lr=0.1), distributed.world())
    >>> x = mg.tensor([[0.0], [1.0], [2.0]])
    >>> def work(worker):
    ...     for _ in range(200):
    ...         part = worker.shard(x)
    ...         worker.step(lambda: ((model(part) - 3 * part) ** 2).mean())
    >>> server.run(work)
    >>> model.weight.item(), sum(server.staleness)  # 3x; alone, nobody is late
    (2.99..., 0)
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: Callable[[list[Tensor]], Optimizer],
        comm: Communicator,
        servers: int = 1,
        synchronous: bool = True,
        max_staleness: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"ParameterServer: model is a {type(model).__name__}, wanted a Module")
        if not callable(make_optimizer):
            raise TypeError(
                f"ParameterServer: make_optimizer is a {type(make_optimizer).__name__}; wanted a function of a list of "
                "parameters, such as lambda params: optim.SGD(params, lr=0.1)"
            )
        if not isinstance(comm, Communicator):
            raise TypeError(f"ParameterServer: comm is a {type(comm).__name__}, wanted a Communicator such as world()")
        params: list[Tensor] = [*model.parameters()]
        most = min(max(comm.size - 1, 1), len(params))
        if not isinstance(servers, int) or not 1 <= servers <= most:
            raise ValueError(
                f"ParameterServer: servers = {servers!r}; wanted 1 to {most}, as there are {comm.size} processes, of "
                f"which one has to work, and {len(params)} parameters"
            )
        if max_staleness is not None:
            require("ParameterServer: max_staleness", max_staleness, integer(0))
            if synchronous:
                raise ValueError(
                    f"ParameterServer: max_staleness = {max_staleness} with synchronous=True, where nothing is stale; "
                    "wanted synchronous=False, or no bound"
                )
        self.model, self.synchronous, self.max_staleness = model, bool(synchronous), max_staleness
        self.comm = comm if comm.size > 1 else Mailbox()
        self.parts = [Part(rank, part) for rank, part in enumerate(dealt(params, servers))]
        self.workers = [*range(servers, comm.size)] or [0]
        self.optimizers = [make_optimizer(part.params) for part in self.parts]
        for part, optimizer in zip(self.parts, self.optimizers):
            check(optimizer, part.params)
        self.pushes: list[Push] = []

    @property
    def staleness(self) -> list[int]:
        """For each of `pushes`, how many updates its server made between that worker's pull and this push."""
        return [push.staleness for push in self.pushes]

    @property
    def bound(self) -> int | None:
        """The largest staleness that there can be; None where there is no bound."""
        if self.synchronous:
            return 0
        return None if self.max_staleness is None else (len(self.workers) - 1) * (2 * self.max_staleness + 1)

    def run(self, work: Callable[[Worker], Any]) -> None:
        """Call ``work(worker)`` on every worker, and serve until all have returned. All ranks call it together.

        Afterwards every rank has the final parameters. A worker that has returned is waited for no more; those still
        at work share the updates. Called again, the optimizers go on with the state that they have.
        """
        if not callable(work):
            raise TypeError(f"ParameterServer.run: work is a {type(work).__name__}, wanted a function of a worker")
        comm, rank = self.comm, self.comm.rank
        self.broadcast([0] * len(self.parts), 0)
        clocks = 0 if self.synchronous else self.max_staleness
        server = None
        if rank < len(self.parts):
            server = Server(self.parts[rank], self.optimizers[rank], self.workers, comm, self.synchronous, clocks)
        if rank in self.workers:
            number = self.workers.index(rank)
            worker = Worker(self.model.parameters(), number, len(self.workers), self.parts, comm, server)
            work(worker)
            worker.done()
        elif server is not None:
            server.serve()
        self.broadcast([part.rank for part in self.parts], self.workers[0])
        self.pushes = [push for part in self.parts for push in self.told(part.rank, server)]

    def broadcast(self, ranks: list[int], worker: int) -> None:
        """Make everybody's parameters those of these ranks, part by part, and the model's buffers those of a worker."""
        for part, rank in zip(self.parts, ranks):
            buffers = part.values()
            for buffer in buffers:
                self.comm.broadcast(buffer, rank)
            part.write(buffers)
        for statistic in self.model.buffers():
            self.comm.broadcast(statistic.data, worker)
            statistic.mark_changed()

    def told(self, rank: int, server: Server | None) -> list[Push]:
        """What the server of that rank wrote down, on every rank."""
        pushes = server.pushes if server is not None and self.comm.rank == rank else []
        count = np.array([len(pushes)], np.int64)
        self.comm.broadcast(count, rank)
        rows = np.array(pushes or [Push(0, 0, 0, 0)] * int(count[0]), np.int64)
        self.comm.broadcast(rows, rank)
        return [Push(*row) for row in rows.tolist()]

    def draw(self, ax: Any = None) -> Any:
        """A picture of how stale the pushes of the last `run` were, worker by worker; a line where the bound is.

        Parameters
        ----------
        ax
            Where to draw, matplotlib's Axes; a new figure if not said.

        Returns
        -------
        The Axes. Raises ImportError, naming the extra to install, where Matplotlib is missing.
        """
        from ..trajectory.drawing import COLOURS, new_figure

        if ax is None:
            ax = new_figure("ParameterServer.draw", figsize=(6, 3.5)).subplots()
        stale = [[push.staleness for push in self.pushes if push.worker == rank] for rank in self.workers]
        most = max([1, self.bound or 0, *self.staleness])
        width = -(-(most + 1) // 20)  # so that there are 20 groups of bars at most
        ax.hist(
            stale,
            [edge - 0.5 for edge in range(0, most + 1 + width, width)],
            weights=[[100 / len(values) for _ in values] for values in stale],
            label=[f"worker {rank}: {len(values)} pushes" for rank, values in zip(self.workers, stale)],
            color=[COLOURS[k % len(COLOURS)] for k in range(len(stale))],
        )
        if self.bound is not None:
            ax.axvline(self.bound + 0.5, color="black", linestyle="--", label=f"bound: {self.bound}")
        ax.locator_params(axis="x", integer=True)
        ax.set(xlabel="staleness of a push, in versions", ylabel="% of the worker's pushes")
        ax.legend()
        return ax


def dealt(params: list[Tensor], servers: int) -> list[list[Tensor]]:
    """The parameters dealt out to the servers: the largest first, each to whom has the fewest elements."""
    load = [0] * servers
    owner = {}
    for p in sorted(params, key=lambda p: -p.size):
        owner[p] = min(range(servers), key=lambda k: (load[k], k))
        load[owner[p]] += max(p.size, 1)  # an empty parameter counts, so that nobody is left without
    return [[p for p in params if owner[p] == k] for k in range(servers)]


def check(optimizer: Any, params: list[Tensor]) -> None:
    """Raise TypeError or ValueError for an optimizer that cannot step on a server."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"ParameterServer: make_optimizer returned a {type(optimizer).__name__}, wanted an optimizer")
    layers = [optimizer]
    while isinstance(layers[0], Wrapper):
        layers.insert(0, layers[0].base)
    for layer in layers:
        kind = type(layer)
        if layer.needs_closure or kind.step is not Optimizer.step or kind.gradients not in PLAIN:
            raise TypeError(
                f"ParameterServer: make_optimizer returned {kind.__name__}, whose step takes gradients of its own; "
                "workers take them here, at the parameters: wanted an optimizer that steps without a closure, as SGD "
                "and Adam"
            )
    if set(optimizer.parameters()) != set(params):
        raise ValueError(
            "ParameterServer: make_optimizer returned an optimizer of other parameters than those it was given; wanted "
            "all of these and no others: lambda params: optim.SGD(params, lr=0.1)"
        )


PLAIN = (Optimizer.gradients, Wrapper.gradients)  # the gradient of the loss, at the parameters
