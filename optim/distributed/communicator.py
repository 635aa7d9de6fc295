"""What processes that train together say to each other: one narrow interface, and what it is for one process alone.

    comm = distributed.world()             # all processes that mpiexec started; without it, a world of one
    comm.broadcast(weights)                # everybody's array becomes that of rank 0
    comm.all_reduce(gradient)              # everybody's array becomes the sum of all

Every process runs the same program; its number, `rank`, tells it which part is its own. Arrays are changed in place and
travel as they lie in memory, never pickled. What all ranks call together (`broadcast`, `all_reduce`, `barrier`) has to
come in the same order on each.

Public: `Communicator`, `Serial`, `Request`, `RankLost`. MPI is in `mpi.py`; nothing else here knows it.
"""

from __future__ import annotations

from typing import Any

from minigrad.backend import is_array


class RankLost(RuntimeError):
    """Another process of the world has died. Raised where MPI can go on without it (``mpiexec --with-ft ulfm``)."""


class Request:
    """A transfer that is under way. This one is done: there was nothing to transfer."""

    def poll(self) -> bool:
        """Is it done?"""
        return True

    def wait(self) -> None:
        """Return when it is done; the array may not be touched before."""


class Communicator:
    """A world of `size` processes, seen from the one with number `rank`.

    A method that starts a transfer returns a `Request`; until that is done, its array belongs to the transfer. Arrays
    are NumPy's or a GPU's, of one shape and dtype on all ranks.
    """

    rank: int
    size: int
    survives = False  # may the others go on where a process dies? If so they get RankLost, and can `shrink`

    def broadcast(self, array: Any, root: int = 0) -> None:
        """Make everybody's array that of rank `root`."""
        raise NotImplementedError

    def all_reduce(self, array: Any, op: str = "sum") -> None:
        """Make everybody's array the elementwise ``"sum"``, ``"min"`` or ``"max"`` of all, the same on each rank."""
        self.start_all_reduce(array, op).wait()

    def start_all_reduce(self, array: Any, op: str = "sum") -> Request:
        """`all_reduce`, under way."""
        raise NotImplementedError

    def send(self, array: Any, to: int, tag: int = 0) -> None:
        """Send an array to a rank that receives it; returns when the array may be changed again."""
        self.start_send(array, to, tag).wait()

    def start_send(self, array: Any, to: int, tag: int = 0) -> Request:
        """`send`, under way."""
        raise NotImplementedError

    def receive(self, array: Any, source: int | None = None, tag: int = 0) -> int:
        """Fill an array with what `source` sends under this tag; None is whoever comes first. Returns who it was."""
        raise NotImplementedError

    def barrier(self) -> None:
        """Return when all have come here."""
        raise NotImplementedError

    def split(self, color: int) -> Communicator:
        """A world of those alone who give the same number, in the order of their ranks here. All call it together."""
        raise NotImplementedError

    def agree(self, fine: bool) -> bool:
        """Was everybody fine? The same answer on all ranks, also where some have died: then it is False."""
        raise NotImplementedError

    def shrink(self) -> Communicator:
        """A world of those that are still there, in the order of their ranks here, after `RankLost`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank} of {self.size})"


class Serial(Communicator):
    """A world of one: every sum is the array itself, and there is nobody to send to.

    >>> import numpy as np
    >>> from optim.distributed import Serial
    >>> comm, x = Serial(), np.array([1.0, 2.0])
    >>> comm.all_reduce(x)
    >>> comm.rank, comm.size, x
    (0, 1, array([1., 2.]))
    """

    rank, size = 0, 1

    def broadcast(self, array: Any, root: int = 0) -> None:
        check_rank("broadcast: root", root, self)
        check_array("broadcast", array)

    def start_all_reduce(self, array: Any, op: str = "sum") -> Request:
        check_op(op)
        check_array("all_reduce", array)
        return Request()

    def start_send(self, array: Any, to: int, tag: int = 0) -> Request:
        raise ValueError(f"send: to = {to}; a world of one process has nobody to send to")

    def receive(self, array: Any, source: int | None = None, tag: int = 0) -> int:
        raise ValueError(f"receive: source = {source}; a world of one process has nobody to receive from")

    def barrier(self) -> None:
        """Nobody is waited for."""

    def split(self, color: int) -> Communicator:
        return self

    def agree(self, fine: bool) -> bool:
        return fine

    def shrink(self) -> Communicator:
        return self


OPS = ("sum", "min", "max")


def check_op(op: str) -> None:
    """Raise ValueError for an op that `all_reduce` does not know."""
    if op not in OPS:
        raise ValueError(f"all_reduce: op = {op!r}; wanted one of {', '.join(OPS)}")


def check_array(method: str, x: Any) -> None:
    """Raise TypeError for what is no array: what travels is changed in place."""
    if not is_array(x):
        raise TypeError(
            f"{method}: wanted an array, which is changed in place, got {type(x).__name__}; of a Tensor give its data, "
            "of a number np.array([number])"
        )


def check_rank(what: str, rank: Any, comm: Communicator) -> None:
    """Raise ValueError for a number that is no rank's."""
    if not isinstance(rank, int) or not 0 <= rank < comm.size:
        raise ValueError(f"{what} = {rank!r}; wanted a rank, 0 to {comm.size - 1}")
