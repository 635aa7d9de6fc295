"""Model parallelism: a network cut across processes, micro-batches in flight between them.

    pipe = distributed.Pipeline(model, comm, micro_batches=8)
    optimizer = optim.Adam(pipe.parameters())               # each rank has a stage, and an optimizer for that
    for x, y in loader:                                     # the same batches on every rank
        optimizer.zero_grad()
        loss = pipe.backward(loss_fn, x, y)
        optimizer.step()

Stage s cannot begin before stage s - 1 has given it something. So the batch is cut, too: while a stage works on one
micro-batch, the stage before works on the next. First all go forward, then all backward in reverse (Huang et al.,
GPipe: Efficient Training of Giant Neural Networks using Pipeline Parallelism, 2019). Gradients add up over the
micro-batches and are exact.

Public: `Pipeline`. Where it is cut, and how its time is told, is in `schedule.py`.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.backend import to_device
from minigrad.nn.module import LoadedKeys
from minigrad.ops import concatenate

from .communicator import Communicator, Request
from .replicas import refuse_unlike
from .schedule import KINDS, Work, cut
from .sharding import part_of


class Pipeline(nn.Module):
    """A Sequential cut across the ranks of a world, of which this one has its `stage`.

    All ranks make the same model; parameters and buffers become those of rank 0. In a world of one it is the plain
    model, in micro-batches. What an optimizer does parameter by parameter is as it was; what takes all parameters at
    once (clipping by the norm, L-BFGS) sees those of a stage.

    Batch norm normalizes each micro-batch by itself, and moves its running statistics once for each: it becomes
    `GhostBatchNorm` with virtual batches of that size. Dropout draws other masks than in one process.

    Parameters
    ----------
    model
        An nn.Sequential of at least as many layers as there are ranks. No two stages may share a parameter.
    comm
        The world.
    micro_batches
        Into how many equal parts (to one example) each batch is cut. More of them leave less of the time idle, see
        `ideal_bubble`; four for each rank leave little.
    costs
        What each layer costs, in any unit; contiguous layers become stages so that the dearest stage is as cheap as can
        be (`cut`). By default the number of a layer's parameters, that is, memory is divided; where layers that take
        long have few (convolutions), give times or multiply-adds.

    Attributes
    ----------
    stage
        This rank's layers, a Sequential.
    bounds
        Stage s has the layers `bounds[s]` to `bounds[s + 1] - 1`.
    timeline
        What this rank did in the last `backward`: a list of `Work`, on the clock of this process.

    Raises
    ------
    TypeError
        For a model that is no Sequential, or that has a forward of its own.
    ValueError
        For fewer layers than ranks, costs or micro-batches that are none, a parameter in two stages, and where the
        ranks' models are not alike. On all ranks, before anything was changed.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> from optim import distributed
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    >>> pipe = distributed.Pipeline(model, distributed.world(), micro_batches=4)
    >>> loss = pipe.backward(nn.CrossEntropyLoss(), mg.ones((10, 4)), mg.zeros(10, dtype=int))
    >>> [work.kind[0] for work in pipe.timeline]
    ['f', 'f', 'f', 'f', 'l', 'b', 'b', 'b', 'b']
    """

    def __init__(
        self, model: nn.Sequential, comm: Communicator, micro_batches: int, costs: Sequence[float] | None = None
    ) -> None:
        if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
            raise TypeError(
                f"Pipeline: the model is a {type(model).__name__}, wanted an nn.Sequential: "
                "what comes after what has to be known to cut it"
            )
        if not isinstance(micro_batches, int) or isinstance(micro_batches, bool) or micro_batches < 1:
            raise ValueError(f"Pipeline: micro_batches = {micro_batches!r}, wanted an integer >= 1")
        layers = [*model]
        if costs is not None and len(costs) != len(layers):
            raise ValueError(f"Pipeline: {len(costs)} costs for {len(layers)} layers; wanted one for each")
        if costs is None:
            costs = [sum(p.size for p in layer.parameters()) for layer in layers]
        self.bounds = cut(costs, comm.size)
        stages = [nn.Sequential(*layers[a:b]) for a, b in itertools.pairwise(self.bounds)]
        refuse_shared(stages)
        state = [(f"{k}.{name}", t) for k, layer in enumerate(layers) for name, t in saved(layer)]
        self.layout = [(name, t.shape, t.dtype) for name, t in state]
        refuse_unlike("Pipeline", (self.bounds, micro_batches, self.layout), comm)

        self.comm, self.micro_batches = comm, micro_batches
        self.first, self.last = comm.rank == 0, comm.rank == comm.size - 1
        self.stage = stages[comm.rank]
        self.timeline: list[Work] = []
        self.told: dict[Any, Any] = {}  # what the next rank knows of what it gets
        self.coming: dict[Any, Any] = {}  # what this one knows
        self.sending: list[Request] = []
        for _, tensor in state:
            comm.broadcast(tensor.data)
            tensor.mark_changed()

    # ------------------------------------------------------------------------------------------------ a step

    def backward(self, loss_fn: Any, x: mg.Tensor, y: Any) -> float:
        """Add the gradient of a batch's loss to the `.grad` of this stage's parameters. All ranks call it together.

        The last stage has all outputs before the first goes backward, so the loss is that of the whole batch, and any
        loss will do: a mean, a sum, one with weights.

        Parameters
        ----------
        loss_fn
            ``loss_fn(output, y)`` is one number; output is what the model gives for x.
        x, y
            A batch. The first rank computes with x, the last with y; x has the same shape and dtype on all.

        Returns
        -------
        The loss, on every rank.

        Raises
        ------
        TypeError
            For an x that is no Tensor.
        ValueError
            For fewer examples than micro-batches, or a loss that is not one number.
        RuntimeError
            Where a stage gives something else than it did for the same shape before.
        """
        if getattr(loss_fn, "reduction", None) == "none":
            raise ValueError("Pipeline.backward: loss_fn has reduction='none'; wanted a loss that is one number")
        check_batch("backward", x)
        if len(x) < self.micro_batches:
            raise ValueError(
                f"Pipeline.backward: {len(x)} examples for {self.micro_batches} micro-batches; give larger batches "
                "(drop_last=True where the last is small), or fewer micro_batches"
            )
        loss, self.timeline = np.zeros(()), []
        with mg.enable_grad():
            passed = self.all_forward(x, self.micro_batches)
            if self.last:
                with self.noted("loss", -1):
                    loss[...], gradients = self.head(loss_fn, [z for _, z in passed], y)
            for k in reversed(range(self.micro_batches)):
                x, z = passed.pop()  # nobody else has the graph between them: it goes when it was differentiated
                if not z.requires_grad:
                    continue  # nothing is learned in this stage, nor before
                g = gradients[k] if self.last else self.gradient_from_next(z)
                with self.noted("backward", k):
                    z.backward(g)
                if not self.first and x.requires_grad:
                    self.send(x.grad, self.comm.rank - 1)
        self.finish_sending()
        self.comm.broadcast(loss, self.comm.size - 1)
        return float(loss)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        """What the whole model gives for a batch, on every rank, without a graph. All ranks call it together."""
        check_batch("forward", x)
        timeline, self.timeline = self.timeline, []
        with mg.no_grad():
            z = concatenate([z for _, z in self.all_forward(x, min(self.micro_batches, len(x)))])
        self.finish_sending()
        self.timeline = timeline
        header = described(z)
        self.comm.broadcast(header, self.comm.size - 1)
        if not self.last:
            z = empty_as(header, x)
        self.comm.broadcast(z.data, self.comm.size - 1)
        return z

    def all_forward(self, x: mg.Tensor, micro_batches: int) -> list[tuple[Any, Any]]:
        """What goes into this stage and what comes out of it, of each micro-batch."""
        passed = []
        for k in range(micro_batches):
            part = x[part_of(len(x), k, micro_batches)]
            into = self.receive(part)
            self.poll_sending()
            with self.noted("forward", k):
                z = self.stage(into)
            if not self.last:
                self.hand_on(part, z)
            passed.append((into, z))
        return passed

    def head(self, loss_fn: Any, outputs: list[Any], y: Any) -> tuple[float, Any]:
        """The loss of the whole batch, and its gradient with respect to what the model gave for each micro-batch."""
        ends = [z.detach() for z in outputs]
        for end in ends:
            end.requires_grad = True
        loss = loss_fn(concatenate(ends), y)
        if not isinstance(loss, mg.Tensor) or loss.size != 1:
            what = f"a Tensor of shape {loss.shape}" if isinstance(loss, mg.Tensor) else repr(loss)
            raise ValueError(f"Pipeline.backward: loss_fn gave {what}; wanted a Tensor of one number")
        return loss.item(), mg.grad(loss, ends)

    @contextlib.contextmanager
    def noted(self, kind: str, micro_batch: int) -> Iterator[None]:
        """Write into the timeline what is done inside."""
        start = perf_counter()
        yield
        self.timeline.append(Work(kind, micro_batch, start, perf_counter()))

    # ------------------------------------------------------------------------------------------------ between stages

    def receive(self, part: mg.Tensor) -> mg.Tensor:
        """What goes into this stage: a part of the batch, or what the stage before made of it."""
        if self.first:
            return part
        key = known_by(part)
        if key not in self.coming:
            self.coming[key] = np.zeros(HEADER, np.int64)
            self.comm.receive(self.coming[key], self.comm.rank - 1)
        x = empty_as(self.coming[key], part)
        self.comm.receive(x.data, self.comm.rank - 1)
        return x

    def hand_on(self, part: mg.Tensor, z: Any) -> None:
        """Send to the next stage what this one made of a part of the batch; the first time, say before what it is."""
        header, key = described(z), known_by(part)
        if key not in self.told:
            self.told[key] = header
            self.sending.append(self.comm.start_send(header, self.comm.rank + 1))
        elif (self.told[key] != header).any():
            before = empty_as(self.told[key], z)
            raise RuntimeError(
                f"Pipeline: stage {self.comm.rank} gave {z.dtype} {z.shape}, requires_grad={z.requires_grad}, and told "
                f"the next one {before.dtype} {before.shape}, requires_grad={before.requires_grad}, for the same shape "
                "of input; a Pipeline made anew tells it anew"
            )
        self.send(z, self.comm.rank + 1)

    def gradient_from_next(self, z: mg.Tensor) -> mg.Tensor:
        """The gradient of the loss with respect to what this stage gave."""
        g = np.empty(z.shape, z.dtype, like=z.data)
        self.poll_sending()
        self.comm.receive(g, self.comm.rank + 1)
        return mg.Tensor(g)

    def send(self, tensor: Any, to: int) -> None:
        """Start to send, and go on."""
        self.sending.append(self.comm.start_send(tensor.data, to))

    def poll_sending(self) -> None:
        """Let what is being sent go on, and forget what has arrived."""
        self.sending = [request for request in self.sending if not request.poll()]

    def finish_sending(self) -> None:
        """Return when all has been sent."""
        for request in self.sending:
            request.wait()
        self.sending = []

    # ------------------------------------------------------------------------------------------------ the whole

    def state_dict(self) -> dict[str, mg.Tensor]:
        """The whole model's, with the plain model's names, on every rank's host. All ranks call it together."""
        mine, whole = dict(self.own()), {}
        for name, shape, dtype in self.layout:
            owner = bisect.bisect(self.bounds, int(name.partition(".")[0])) - 1
            if owner == self.comm.rank:
                array = np.array(to_device(mine[name].data, "cpu"))
            else:
                array = np.empty(shape, dtype)
            self.comm.broadcast(array, owner)
            whole[name] = mg.Tensor(array)
        return whole

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Write a plain model's state into the stages: each rank takes its own. See `Module.load_state_dict`."""
        names = [name for name, *_ in self.layout]
        keys = LoadedKeys([k for k in names if k not in state_dict], [k for k in state_dict if k not in names])
        if strict and (keys.missing_keys or keys.unexpected_keys):
            raise ValueError(
                f"load_state_dict: the Pipeline misses {keys.missing_keys} and does not know {keys.unexpected_keys}; "
                "strict=False loads the rest"
            )
        here = {name: local for (name, _), (local, _) in zip(self.own(), saved(self.stage))}
        self.stage.load_state_dict({here[k]: state_dict[k] for k in here if k in state_dict}, strict=False)
        return keys

    def own(self) -> list[tuple[str, Any]]:
        """What is saved of this stage, with the whole model's names."""
        start = self.bounds[self.comm.rank]
        return [(f"{start + k}.{name}", t) for k, layer in enumerate(self.stage) for name, t in saved(layer)]

    def timelines(self) -> list[list[Work]]:
        """Every rank's timeline, the earliest start being 0. All ranks call it together.

        Clocks are compared where all leave a barrier, on one machine to some microseconds.
        """
        self.comm.barrier()
        now = perf_counter()
        rows = [[KINDS.index(work.kind), work.micro_batch, work.start - now, work.end - now] for work in self.timeline]
        tables = []
        for rank in range(self.comm.size):
            count = np.array(len(rows))
            self.comm.broadcast(count, rank)
            table = np.array(rows).reshape(-1, 4) if rank == self.comm.rank else np.zeros((int(count), 4))
            self.comm.broadcast(table, rank)
            tables.append(table)
        zero = min((min(table[:, 2].tolist()) for table in tables if len(table)), default=0.0)
        return [
            [Work(KINDS[int(kind)], int(k), a - zero, b - zero) for kind, k, a, b in table.tolist()] for table in tables
        ]

    def extra_repr(self) -> str:
        a, b = self.bounds[self.comm.rank : self.comm.rank + 2]
        return (
            f"layers {a} to {b - 1} of {self.bounds[-1]} on rank {self.comm.rank} of {self.comm.size}, "
            f"micro_batches={self.micro_batches}"
        )


# ---------------------------------------------------------------------------------------------------- what is sent

# Of a header: does it need a gradient? Its dtype's letter; its number of axes; their lengths, NumPy has 64 at most.
HEADER = 3 + 64


def described(z: Any) -> np.ndarray:
    """The header of a Tensor. Raises TypeError for what is none: a layer that gives several outputs cannot be cut."""
    if not isinstance(z, mg.Tensor):
        raise TypeError(f"Pipeline: a stage ends with a layer that gives {type(z).__name__}; wanted a Tensor")
    header = np.zeros(HEADER, np.int64)
    header[: 3 + z.ndim] = [z.requires_grad, ord(z.dtype.char), z.ndim, *z.shape]
    return header


def empty_as(header: np.ndarray, neighbour: mg.Tensor) -> mg.Tensor:
    """A Tensor for what the header describes, to be filled, on the neighbour's device."""
    needs, letter, ndim, *shape = header.tolist()
    z = mg.Tensor(np.empty(tuple(shape[:ndim]), np.dtype(chr(letter)), like=neighbour.data))
    z.requires_grad = bool(needs)
    return z


def known_by(part: mg.Tensor) -> Any:
    """What decides how that looks which a stage makes of a part of a batch, as far as all ranks can see."""
    return part.shape, part.dtype, mg.engine.mode.recording is None


# ---------------------------------------------------------------------------------------------------- what is refused


def check_batch(method: str, x: Any) -> None:
    """Raise TypeError or ValueError for what cannot be cut into micro-batches."""
    if not isinstance(x, mg.Tensor):
        raise TypeError(f"Pipeline.{method}: x is {type(x).__name__}, wanted a Tensor: mg.tensor(x)")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"Pipeline.{method}: x has shape {x.shape}; wanted a batch, examples along the first axis")


def saved(module: nn.Module) -> list[tuple[str, Any]]:
    """The Tensors that `state_dict` would copy."""
    return [*module._tensors(nn.module.is_saved)]


def refuse_shared(stages: list[nn.Sequential]) -> None:
    """Raise ValueError for a Tensor in two stages: its gradient would be two halves on two ranks."""
    seen: dict[int, int] = {}
    for s, stage in enumerate(stages):
        for name, t in saved(stage):
            if seen.setdefault(id(t), s) != s:
                raise ValueError(
                    f"Pipeline: stages {seen[id(t)]} and {s} share a tensor, in the latter {name!r} {t.shape}; "
                    "give costs that put both layers into one stage, or give each layer its own"
                )
