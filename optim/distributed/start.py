"""Starting a program on several processes of this machine, as a reader who tries it would.

Public: `mpiexec`, `start`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# What Open MPI has to be told before it starts as root, or starts more processes than there are cores; those that wait
# give their core away. One thread each: the cores are shared already.
SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def mpiexec() -> str | None:
    """The program that starts processes: the one beside this Python, else the system's; None where there is none."""
    return shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def start(n: int, *program: Any) -> int:
    """Run a Python program on n processes of this machine, to its end: ``start(4, "train.py")``. Returns its status.

    It is ``mpiexec -n 4 python -m mpi4py train.py``, with what Open MPI wants to be told on a laptop or in a container.

    Raises
    ------
    RuntimeError
        Where there is no mpiexec.
    """
    command = mpiexec()
    if command is None:
        raise RuntimeError("start: there is no program mpiexec; pip install 'minigrad-course[mpi]' brings one")
    arguments = [command, "-n", str(n), sys.executable, "-m", "mpi4py", *map(str, program)]
    return subprocess.run(arguments, env={**os.environ, **SETTINGS}, check=False).returncode
