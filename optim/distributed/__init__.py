"""Training on several processes: replicas with a part of each batch, a server of parameters, a network cut in pieces.

    mpiexec -n 4 python -m mpi4py train.py

The same program runs on one process too, without MPI. Read `communicator.py` first: all that processes say to each
other is there.
"""

from .communicator import Communicator, RankLost, Request, Serial
from .data_parallel import DataParallel
from .mpi import MPI, world
from .parameter_server import ParameterServer, Push, Worker
from .start import mpiexec, start

__all__ = [
    "MPI", "Communicator", "DataParallel", "ParameterServer", "Push", "RankLost", "Request", "Serial", "Worker",
    "mpiexec", "start", "world",
]  # fmt: skip
