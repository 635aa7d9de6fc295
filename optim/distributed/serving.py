"""The two sides of a parameter server: the worker, who knows gradients, and the server, who knows parameters.

    worker                                server
    pull:  header ---------------------->            waits, where the worker is too far ahead of the slowest
           <---------------------- version
           <------- parameters, a flat buffer for each dtype
    push:  header ---------------------->            version then - version now: how stale it is
           gradients, flat buffers ----->            the optimizer's step

A header is a few integers: what is wanted, the version that was pulled, how many examples the gradient is the mean of,
and for each parameter whether it has a gradient.

Public: `Push`, `Worker`; for `parameter_server.py` also `Part`, `Server` and `Mailbox`.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import Tensor

from ..optimizer import Optimizer
from .communicator import Communicator, Request, Serial
from .sharding import shard

PULL, PUSH, DONE = range(3)  # what a header wants
ASK, ANSWER, GRADIENTS = range(8101, 8104)  # tags: a header, what a server sends, what follows a PUSH


class Push(NamedTuple):
    """A gradient that came to a server: whose, the how manyth of that worker, and how many versions too late."""

    server: int
    worker: int
    clock: int
    staleness: int


class Part:
    """The parameters that one server holds, and how they lie in the flat buffers that travel: one for each dtype."""

    def __init__(self, rank: int, params: list[Tensor]) -> None:
        self.rank, self.params = rank, params
        kinds = defaultdict(list)
        for k, p in enumerate(params):
            kinds[p.dtype, p.device].append(k)
        self.kinds = [*kinds.values()]

    def pack(self, arrays: Iterable[Any]) -> list[Any]:
        """An array for each parameter as new flat buffers."""
        arrays = [*arrays]
        return [np.concatenate([arrays[k] for k in kind], axis=None) for kind in self.kinds]

    def room(self) -> list[Any]:
        """Flat buffers to receive in."""
        sizes = [sum(self.params[k].size for k in kind) for kind in self.kinds]
        first = [self.params[kind[0]].data for kind in self.kinds]
        return [np.empty(size, data.dtype, like=data) for size, data in zip(sizes, first)]

    def unpack(self, buffers: list[Any]) -> list[Any]:
        """What `pack` packed, as views into the buffers."""
        views: list[Any] = [None] * len(self.params)
        for kind, buffer in zip(self.kinds, buffers):
            ends = itertools.accumulate(self.params[k].size for k in kind)
            for k, end in zip(kind, ends):
                p = self.params[k]
                views[k] = buffer[end - p.size : end].reshape(p.shape)
        return views

    def values(self) -> list[Any]:
        """The parameters as flat buffers."""
        return self.pack(p.data for p in self.params)

    def write(self, buffers: list[Any]) -> None:
        """Let the parameters be what is in the buffers."""
        for p, view in zip(self.params, self.unpack(buffers)):
            p.data[...] = view
            p.mark_changed()

    def header(self, kind: int = PULL, version: int = 0, examples: int = 0) -> Any:
        """A message's few integers; also the room for one."""
        return np.array([kind, version, examples, *(p.grad is not None for p in self.params)], np.int64)


class Server:
    """One server at work: it answers pulls, and steps its own optimizer over its part by the gradients pushed to it.

    Parameters
    ----------
    clocks
        How many pushes a worker may be ahead of the slowest one when it pulls; None is any number.
    """

    def __init__(
        self,
        part: Part,
        optimizer: Optimizer,
        workers: Iterable[int],
        comm: Communicator,
        synchronous: bool,
        clocks: int | None,
    ) -> None:
        self.part, self.optimizer, self.comm = part, optimizer, comm
        self.synchronous, self.clocks = synchronous, clocks
        self.version = 0  # updates so far
        self.values = part.values()  # the parameters of this version
        self.clock = dict.fromkeys(workers, 0)  # pushes of each worker that is still at work
        self.waiting: list[int] = []  # workers whose pull is not answered yet
        self.pushed: dict[int, Any] = {}  # headers whose gradients are not applied yet
        self.pushes: list[Push] = []
        self.sent: dict[int, list[Request]] = {}  # answers that may still be under way

    def serve(self) -> None:
        """Listen until all workers are done."""
        while self.clock:
            self.listen()
        for worker in [*self.sent]:
            self.arrived(worker)

    def listen(self) -> None:
        """Take one message, whosever comes first, and do what can be done now."""
        header = self.part.header()
        worker = self.comm.receive(header, tag=ASK)
        kind, version = header[:2].tolist()
        if kind == PULL:
            self.waiting.append(worker)
        elif kind == PUSH:
            self.clock[worker] += 1
            self.pushed[worker] = header
            self.pushes.append(Push(self.part.rank, worker, self.clock[worker], self.version - version))
        else:
            del self.clock[worker]
        if self.pushed and (not self.synchronous or self.pushed.keys() >= self.clock.keys()):
            self.update()
        self.answer()

    def update(self) -> None:
        """Step by the mean of the gradients that have come, over all their examples: g = Σ n_k g_k / Σ n_k."""
        examples = {worker: int(header[2]) for worker, header in self.pushed.items()}
        total = sum(examples.values())
        for p in self.part.params:
            p.grad = None
        for worker in sorted(self.pushed):  # not as they came: a sum of floats depends on its order
            buffers = self.part.room()
            for buffer in buffers:
                self.comm.receive(buffer, worker, GRADIENTS)
            has = self.pushed.pop(worker)[3:]
            for p, g, there in zip(self.part.params, self.part.unpack(buffers), has.tolist()):
                if there:
                    g *= examples[worker] / total
                    p.grad = Tensor(g if p.grad is None else p.grad.data + g)
        if total:
            self.optimizer.apply()
            self.version += 1
            self.values = self.part.values()

    def answer(self) -> None:
        """Send the parameters to all who wait for them and are not too far ahead."""
        slowest = min(self.clock.values(), default=0)
        early = [w for w in self.waiting if self.clocks is not None and self.clock[w] - slowest > self.clocks]
        for worker in self.waiting:
            if worker not in early:
                self.arrived(worker)
                answer = [np.array([self.version], np.int64), *self.values]
                self.sent[worker] = [self.comm.start_send(array, worker, ANSWER) for array in answer]
        self.waiting = early

    def arrived(self, worker: int) -> None:
        """Return when the last answer has come to a worker; it has, if that worker has asked again."""
        for request in self.sent.pop(worker, []):
            request.wait()


class Worker(Optimizer):
    """An optimizer whose update happens elsewhere: `step` pulls the parameters, takes their gradient and pushes it.

    `ParameterServer.run` makes one for each worker. It has the methods of an optimizer, and its `step` wants a closure
    that returns the loss, the mean over this worker's examples.

    Attributes
    ----------
    number, count
        Which of how many workers this is, from 0.
    version
        How many updates the parameters had seen that were pulled last (those of the first server).
    examples
        How many examples the next gradient is the mean of, its weight in a synchronous update. `shard` sets it; where
        the data are dealt out in another way, set it yourself. At first 1: all workers weigh the same.
    """

    needs_closure = True

    def __init__(
        self, params: Any, number: int, count: int, parts: list[Part], comm: Communicator, here: Server | None
    ) -> None:
        super().__init__(params)
        self.number, self.count, self.examples = number, count, 1
        self.parts, self.comm, self.here = parts, comm, here
        self.versions = [0] * len(parts)
        self.pulled = False  # since the last push?

    def __repr__(self) -> str:
        return f"Worker({self.number} of {self.count})"

    @property
    def version(self) -> int:
        return self.versions[0]

    def shard(self, *batch: Any) -> Any:
        """A batch's part for this worker, of a batch that all workers have: ``x, y = worker.shard(x, y)``.

        The parts are slices of the first axis, in the order of the workers, and differ by one example at most; where
        there are more workers than examples some are empty. A worker whose part is empty computes no loss (`step`
        returns NaN), and its push weighs nothing.

        Raises
        ------
        ValueError
            For no arrays, or arrays of different lengths.
        """
        parts, self.examples, _ = shard("Worker.shard", batch, self.number, self.count)
        return parts

    def gradients(self, closure: Callable[[], Tensor]) -> Tensor:
        """Pull the parameters, and take the gradient of the closure's loss there."""
        self.pull()
        if self.examples:
            return super().gradients(closure)
        self.zero_grad()
        return mg.tensor(math.nan)  # the mean of nothing

    def apply(self) -> None:
        """Push the gradient that every parameter has. Raises RuntimeError where it was pushed already."""
        if not self.pulled:
            raise RuntimeError(
                "Worker.apply: nothing was pulled since the last push; call gradients(closure) before it"
            )
        self.push()

    # ------------------------------------------------------------------------------------------------- messages

    def pull(self) -> None:
        """Let every parameter be what its server says."""
        self.pulled = True
        self.ask(PULL)
        for k, part in enumerate(self.parts):
            version = np.array([0], np.int64)
            self.comm.receive(version, part.rank, ANSWER)
            self.versions[k] = int(version[0])
            buffers = part.room()
            for buffer in buffers:
                self.comm.receive(buffer, part.rank, ANSWER)
            part.write(buffers)

    def push(self) -> None:
        """Send every server its gradients."""
        self.pulled = False
        gradients = [
            [np.zeros_like(p.data) if p.grad is None else p.grad.data for p in part.params] for part in self.parts
        ]
        self.ask(PUSH, [part.pack(arrays) for part, arrays in zip(self.parts, gradients)])

    def done(self) -> None:
        """Let the servers wait for this worker no more."""
        self.ask(DONE)

    def ask(self, kind: int, data: list[list[Any]] | None = None) -> None:
        """Send every server a header and what follows it. All is under way before any of it is waited for.

        Otherwise two servers could wait for each other's worker.
        """
        requests = []
        for k, (part, version) in enumerate(zip(self.parts, self.versions)):
            requests.append(self.comm.start_send(part.header(kind, version, self.examples), part.rank, ASK))
            for buffer in data[k] if data is not None else []:
                requests.append(self.comm.start_send(buffer, part.rank, GRADIENTS))
        for request in requests:
            request.wait()
        if self.here is not None:
            self.here.listen()


class Mailbox(Serial):
    """A world of one that can talk to itself: what it sends lies there until it receives it."""

    def __init__(self) -> None:
        self.mail: dict[int, deque[Any]] = defaultdict(deque)

    def start_send(self, array: Any, to: int, tag: int = 0) -> Request:
        self.mail[tag].append(array.copy())
        return Request()

    def receive(self, array: Any, source: int | None = None, tag: int = 0) -> int:
        array[...] = self.mail[tag].popleft()
        return 0
