"""The world of processes that `mpiexec` started, through mpi4py.

    mpiexec -n 4 python -m mpi4py train.py

With ``-m mpi4py`` an exception on one rank ends all of them; without, the others would wait for it forever.

Public: `world`, `MPI`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backend import to_device

from .communicator import Communicator, RankLost, Request, Serial, check_op, check_rank

# What launchers tell the processes that they start: Open MPI, MPICH and Intel MPI, Slurm's srun (by PMI or PMIx).
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK")
MAY_LOSE = "OMPI_MCA_mpi_ft_enable"  # set to 1 by Open MPI's mpiexec --with-ft ulfm


def world(direct: bool = False) -> Communicator:
    """All processes that were started together; a world of one, which needs no MPI, where this one was started alone.

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
    if not any(name in os.environ for name in LAUNCHED):
        return Serial()
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
    """

    def __init__(self, comm: Any, direct: bool = False) -> None:
        from mpi4py import MPI as mpi

        self.mpi, self.direct = mpi, direct
        self.comm = comm.Dup()
        self.comm.Set_errhandler(mpi.ERRORS_RETURN)  # mpi4py makes them exceptions; `lost` sorts out who has died
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
            raise RankLost(f"rank {self.rank}: another process has died ({error})") from error

    # ------------------------------------------------------------------------------------------------ transfers

    def broadcast(self, array: Any, root: int = 0) -> None:
        check_rank("broadcast: root", root, self)
        buffer = self.buffer(array)
        with self.lost():
            self.comm.Bcast(buffer, root)
        fill(array, buffer)

    def all_reduce(self, array: Any, op: str = "sum") -> None:
        check_op(op)
        buffer = self.buffer(array)
        with self.lost():
            self.comm.Allreduce(self.mpi.IN_PLACE, buffer, self.ops[op])
        fill(array, buffer)

    def start_all_reduce(self, array: Any, op: str = "sum") -> Request:
        check_op(op)
        buffer = self.buffer(array)
        with self.lost():
            return Transfer(self, self.comm.Iallreduce(self.mpi.IN_PLACE, buffer, self.ops[op]), buffer, array)

    def start_send(self, array: Any, to: int, tag: int = 0) -> Request:
        check_rank("send: to", to, self)
        buffer = self.buffer(array)
        with self.lost():
            return Transfer(self, self.comm.Isend(buffer, to, tag), buffer)

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
        """What MPI reads and writes: the array itself, or a copy of it on the host. Raises TypeError for no array."""
        if self.direct and not isinstance(array, np.ndarray):
            mg.cuda.synchronize()  # MPI does not know the GPU's queue: what the array waits for has to be done
            return array
        host = to_device(array, "cpu")
        return host if host.flags.c_contiguous else np.ascontiguousarray(host)

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
        self.comm.Revoke()  # those who wait for the dead hear of it, too
        return MPI(self.comm.Shrink(), self.direct)


class Transfer(Request):
    """A transfer that MPI works at. When it is done, `array` gets what came into `buffer`."""

    def __init__(self, world: MPI, request: Any, buffer: Any, array: Any = None) -> None:
        self.world, self.request, self.buffer, self.array = world, request, buffer, array

    def poll(self) -> bool:
        with self.world.lost():
            return bool(self.request.Test())

    def wait(self) -> None:
        with self.world.lost():
            self.request.Wait()
        if self.array is not None:
            fill(self.array, self.buffer)


def fill(array: Any, buffer: Any) -> None:
    """Let the array be what the buffer is, unless it is that already."""
    if buffer is not array:
        array[...] = to_device(buffer, mg.Tensor(array).device)
