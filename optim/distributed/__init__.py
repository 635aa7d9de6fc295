"""Training on several processes: replicas with a part of each batch, a server of parameters, a network cut in pieces.

    mpiexec -n 4 python -m mpi4py train.py

The same program runs on one process too, without MPI. Read `communicator.py` first: all that processes say to each
other is there.
"""

from .collectives import replicate, sum_over_ranks
from .communicator import Communicator, RankLost, Request, Serial
from .data_parallel import DataParallel
from .mpi import MPI, world
from .parameter_server import ParameterServer, Push, Worker
from .pipeline import Pipeline
from .schedule import Work, bubble, cut, ideal_bubble
from .start import mpiexec, start
from .tensor_parallel import ColumnParallelLinear, RowParallelLinear

__all__ = [
    "MPI", "ColumnParallelLinear", "Communicator", "DataParallel", "ParameterServer", "Pipeline", "Push", "RankLost",
    "Request", "RowParallelLinear", "Serial", "Work", "Worker", "bubble", "cut", "ideal_bubble", "mpiexec", "replicate",
    "start", "sum_over_ranks", "world",
]  # fmt: skip
