"""The world of processes that `mpiexec` started, through mpi4py.

    mpiexec -n 4 python -m mpi4py train.py

With ``-m mpi4py`` an exception on one rank ends all of them; without, the others would wait for it forever.

A sum that is under way is a blocking one in a thread of its own: MPI's own non-blocking all-reduce moves on only while
it is called, and took twice to three times as long (Open MPI 5, two ranks, 4 and 80 MB).

Public: `world`, `MPI`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import numpy as np

from minigrad.backend import device_of, to_device, world_of

from .communicator import Communicator, RankLost, Request, Serial, check_array, check_op, check_rank

# What launchers tell the processes that they start: Open MPI, MPICH and Intel MPI, Slurm's srun (by PMI or PMIx).
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK")
MAY_LOSE = "OMPI_MCA_mpi_ft_enable"  # set to 1 by Open MPI's mpiexec --with-ft ulfm


def world(direct: bool = False) -> Communicator:
    """All processes that were started together; a world of one, which needs no MPI, where this one was started alone.

    The first call is one that all make together, as it takes a moment of each; later ones give the same world.

    Parameters
    ----------
    direct
        Hand arrays of a GPU to MPI as they are, which an MPI that knows CUDA can take. Otherwise a copy of them
        travels, through the host's memory.

    Raises
    ------
    ImportError
        Where there are several processes, and mpi4py is missing.
    """
    return everybody(direct) if any(name in os.environ for name in LAUNCHED) else Serial()


@functools.cache
def everybody(direct: bool) -> Communicator:
    """MPI's world."""
    try:
        from mpi4py import MPI as mpi
    except ImportError as error:
        raise ImportError(
            "processes that mpiexec started need mpi4py to talk: pip install 'minigrad-course[mpi]', which brings an "
            f"MPI, or 'minigrad-course[distributed]' for the one that is installed ({error})"
        ) from error
    return MPI(mpi.COMM_WORLD, direct)


class MPI(Communicator):
    """A world of MPI's processes: a communicator of mpi4py's, with this package's names.

    Parameters
    ----------
    comm
        An intracommunicator, ``mpi4py.MPI.COMM_WORLD`` for all. A copy of it is used: messages do not mix with others.
    direct
        As for `world`.

    Raises
    ------
    RuntimeError
        For an MPI that several threads may not call at once.
    """

    def __init__(self, comm: Any, direct: bool = False) -> None:
        from mpi4py import MPI as mpi

        if mpi.Query_thread() < mpi.THREAD_MULTIPLE:
            raise RuntimeError("this MPI may be called by one thread alone; wanted one built for MPI_THREAD_MULTIPLE")
        self.mpi, self.direct = mpi, direct
        # Two copies: one for what this thread says, one for sums under way, which have an order of their own.
        self.comm, self.aside = comm.Dup(), comm.Dup()
        for each in (self.comm, self.aside):
            each.Set_errhandler(mpi.ERRORS_RETURN)  # mpi4py makes them exceptions; `lost` sorts out who has died
        self.background: Background | None = None
        self.rank, self.size = self.comm.rank, self.comm.size
        self.survives = os.environ.get(MAY_LOSE) == "1"
        self.ops = {"sum": mpi.SUM, "min": mpi.MIN, "max": mpi.MAX}

    @contextlib.contextmanager
    def lost(self) -> Iterator[None]:
        """Errors of MPI that say that a process has died, as `RankLost`."""
        try:
            yield
        except self.mpi.Exception as error:
            dead = (
                getattr(self.mpi, name, None) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED")
            )
            if error.Get_error_class() not in dead:
                raise
            self.revoke()
            raise RankLost(f"rank {self.rank}: another process has died ({error})") from error

    # ------------------------------------------------------------------------------------------------ transfers

    def broadcast(self, array: Any, root: int = 0) -> None:
        check_rank("broadcast: root", root, self)
        check_array("broadcast", array)
        buffer = self.buffer(array)
        with self.lost():
            self.comm.Bcast(buffer, root)
        fill(array, buffer)

    def all_reduce(self, array: Any, op: str = "sum") -> None:
        check_op(op)
        check_array("all_reduce", array)
        buffer = self.buffer(array)
        self.sum_up(self.comm, buffer, op)
        fill(array, buffer)

    def start_all_reduce(self, array: Any, op: str = "sum") -> Request:
        check_op(op)
        check_array("all_reduce", array)
        buffer = self.buffer(array)
        if self.background is None:
            self.background = Background()
        return Sum(self.background.submit(self.sum_up, self.aside, buffer, op), buffer, array)

    def sum_up(self, comm: Any, buffer: Any, op: str) -> None:
        """All-reduce a buffer."""
        with self.lost():
            comm.Allreduce(self.mpi.IN_PLACE, buffer, self.ops[op])

    def start_send(self, array: Any, to: int, tag: int = 0) -> Request:
        check_rank("send: to", to, self)
        buffer = self.buffer(array)
        with self.lost():
            return Sending(self, self.comm.Isend(buffer, to, tag), buffer)

    def receive(self, array: Any, source: int | None = None, tag: int = 0) -> int:
        if source is not None:
            check_rank("receive: source", source, self)
        buffer, status = self.buffer(array), self.mpi.Status()
        with self.lost():
            self.comm.Recv(buffer, self.mpi.ANY_SOURCE if source is None else source, tag, status)
        fill(array, buffer)
        return status.Get_source()

    def barrier(self) -> None:
        with self.lost():
            self.comm.Barrier()

    def buffer(self, array: Any) -> Any:
        """What MPI reads and writes: the array itself; of a GPU's, a copy on the host, unless MPI takes those."""
        direct = self.direct and not isinstance(array, np.ndarray)
        buffer = array if direct else to_device(array, "cpu")
        if not buffer.flags.c_contiguous:
            buffer = buffer.copy()
        if direct:
            world_of(array).synchronize()  # MPI does not know the GPU's queue: what it reads has to be done
        return buffer

    # ------------------------------------------------------------------------------------------------ other worlds

    def split(self, color: int) -> Communicator:
        with self.lost():
            return MPI(self.comm.Split(color, self.rank), self.direct)

    def agree(self, fine: bool) -> bool:
        if not self.survives:
            answer = np.array([fine], np.int8)
            self.all_reduce(answer, "min")
            return bool(answer[0])
        try:
            return bool(self.comm.Agree(int(fine)))
        except self.mpi.Exception:  # not all could be asked
            return False

    def shrink(self) -> Communicator:
        self.revoke()
        return MPI(self.comm.Shrink(), self.direct)

    def revoke(self) -> None:
        """End what is under way on all ranks: those who wait for one that has heard of a death would wait forever."""
        self.comm.Revoke()
        self.aside.Revoke()


class Background:
    """A thread that does one thing after another. It ends with the program, even in the middle of a sum.

    An executor's would be waited for: an error on one rank could not end the others before they had sent their parts.
    """

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self.run, daemon=True).start()

    def submit(self, work: Any, *args: Any) -> Future[None]:
        """Let it do ``work(*args)`` when all before is done."""
        future: Future[None] = Future()
        self.queue.put((future, work, args))
        return future

    def run(self) -> None:
        """What the thread does."""
        while True:
            future, work, args = self.queue.get()
            try:
                future.set_result(work(*args))
            except BaseException as error:
                future.set_exception(error)


class Sum(Request):
    """A sum that a thread works at. When it is done, `array` gets what is in `buffer`."""

    def __init__(self, future: Future[None], buffer: Any, array: Any) -> None:
        self.future, self.buffer, self.array = future, buffer, array

    def poll(self) -> bool:
        return self.future.done()

    def wait(self) -> None:
        self.future.result()
        fill(self.array, self.buffer)


class Sending(Request):
    """A message that MPI has not sent to the end; it keeps the buffer alive that long."""

    def __init__(self, world: MPI, request: Any, buffer: Any) -> None:
        self.world, self.request, self.buffer = world, request, buffer

    def poll(self) -> bool:
        with self.world.lost():
            return bool(self.request.Test())

    def wait(self) -> None:
        with self.world.lost():
            self.request.Wait()


def fill(array: Any, buffer: Any) -> None:
    """Let the array be what the buffer is, unless it is that already."""
    if buffer is not array:
        array[...] = to_device(buffer, device_of(array))
