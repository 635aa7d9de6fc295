"""Gradients on their way to their sum over all ranks, while backward is still at work.

Backward completes the gradients of the last layers first. As soon as all of a bucket's are there, their sum over the
ranks starts, in the background; small ones travel together, since a message costs as much as many bytes.

Public: `Buckets`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad import Tensor

from .communicator import Communicator, RankLost, Request

# Bytes that travel together. A smaller message costs little less (tests/benchmarks/communication.py prints both), a
# larger one starts later.
SIZE = 2**20


class Bucket:
    """Some parameters, whose gradients travel together; a large one travels alone, where it lies."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params = params
        self.kinds = [(p.shape, p.dtype) for p in params]
        self.array: Any = None  # what is under way
        self.flat: Any = None
        if len(params) > 1:
            like = params[0].data
            self.flat = np.zeros(sum(p.size for p in params), like.dtype, like=like)
            ends = itertools.accumulate(p.size for p in params)
            self.parts = [self.flat[end - p.size : end].reshape(p.shape) for p, end in zip(params, ends)]
        self.missing = set(params)
        self.request: Request | None = None

    def start(self, comm: Communicator) -> None:
        """Let the gradients go; one that is not there counts as zero."""
        arrays = [np.zeros_like(p.data) if p.grad is None else p.grad.data for p in self.params]
        if self.flat is not None:
            np.concatenate(arrays, axis=None, out=self.flat)
        self.array = arrays[0] if self.flat is None else self.flat
        self.request = comm.start_all_reduce(self.array)

    def finish(self) -> None:
        """Wait for the sums, and let them be the gradients."""
        self.settle()
        for p, part in zip(self.params, [self.array] if self.flat is None else self.parts):
            p.grad = Tensor(part if self.flat is None else part.copy())

    def settle(self) -> None:
        """Wait until nothing is under way."""
        request, self.request = self.request, None
        if request is not None:
            request.wait()


class Buckets:
    """All parameters in buckets, which start in the same order on every rank: each when it and those before are full.

    What the hooks of a parameter see is this rank's own part of its gradient.

    `kept` may hold gradients that are to be added before the sum.
    """

    def __init__(self, params: Iterable[Tensor], comm: Communicator) -> None:
        self.comm = comm
        self.kept: dict[Tensor, Any] = {}
        self.listening = False
        self.batches = 0  # how many this rank has had: all have to be at the same
        self.buckets = [Bucket(group) for group in grouped(reversed([*params]))]
        self.of = {p: bucket for bucket in self.buckets for p in bucket.params}
        self.has_gradient: dict[Tensor, bool] = {}
        self.next = 0  # the first bucket that has not started
        for p in self.of:
            if p.requires_grad:
                p.register_post_accumulate_grad_hook(self.arrived)

    def open(self) -> None:
        """From now on, gradients that backward completes go to their sums."""
        for bucket in self.buckets:
            with contextlib.suppress(RankLost):
                bucket.settle()  # of a pass that an error ended
            bucket.missing = {p for p in bucket.params if p.requires_grad}
        self.listening, self.next = True, 0

    def arrived(self, p: Tensor) -> None:
        """A parameter's gradient is complete: start what is full now."""
        if self.listening:
            self.of[p].missing.discard(p)
            while self.next < len(self.buckets) and not self.buckets[self.next].missing:
                self.start_next()

    def start_next(self) -> None:
        """Start the next bucket, full or not."""
        bucket = self.buckets[self.next]
        self.next += 1
        for p, (shape, dtype) in zip(bucket.params, bucket.kinds):
            if p.shape != shape or p.dtype != dtype:
                raise RuntimeError(
                    f"DataParallel: a parameter is {p.dtype}{list(p.shape)} now, and was {dtype}{list(shape)}; make it "
                    "after changing the model"
                )
            if p in self.kept:
                p.grad = Tensor(self.kept[p] if p.grad is None else p.grad.data + self.kept[p])
            self.has_gradient[p] = p.grad is not None
        bucket.start(self.comm)

    def close(self, loss: float) -> float:
        """Start what has not started, and wait for all: every `.grad` is the sum of all ranks'. Returns the losses'.

        A parameter that has no gradient on any rank has none afterwards.
        """
        self.listening = False
        while self.next < len(self.buckets):
            self.start_next()
        sums = np.array([self.batches, loss, *self.has_gradient.values()], np.float64)
        self.comm.all_reduce(sums)
        if sums[0] != self.batches * self.comm.size:
            raise RuntimeError(
                f"DataParallel: rank {self.comm.rank} is at its batch {self.batches}, others are not; all have to "
                "shard the same batches and take the same steps, also where one has nothing to do or meets an error"
            )
        for bucket in self.buckets:
            bucket.finish()
        for p, somewhere in zip(self.has_gradient, sums[2:]):
            if not somewhere:
                p.grad = None
        self.kept.clear()
        return float(sums[1])


def grouped(params: Iterable[Tensor]) -> list[list[Tensor]]:
    """Parameters of one dtype and device together, up to `SIZE` bytes, larger ones alone; first what is full first."""
    groups: list[list[Tensor]] = []
    open_ones: dict[Any, list[Tensor]] = {}
    place: dict[Tensor, int] = {}
    for p in params:
        group = open_ones.get((p.dtype, p.device))
        if group is None or sum(q.data.nbytes for q in group) + p.data.nbytes > SIZE:
            group = []
            groups.append(group)
            if p.data.nbytes < SIZE:
                open_ones[p.dtype, p.device] = group
        group.append(p)
        place[p] = len(place)
    return sorted(groups, key=lambda group: place[group[-1]])
