"""Functions run by several processes at once: `launch(4, function)` is what it returned on each of the four ranks.

    def total(comm):
        x = np.ones(3)
        comm.all_reduce(x)
        return {"x": x}

    def test_sums():
        assert [r["x"].tolist() for r in launch(2, total)] == [[2, 2, 2]] * 2

A function is found again by its name, so it stands at the top of a module, takes the communicator (and `options`,
numbers and strings), and returns what `mg.save` takes. This file is also the program that the processes run.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import minigrad as mg
from optim.distributed.start import SETTINGS, mpiexec

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**SETTINGS, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}


class Job:
    """Processes that mpiexec started, in a session of their own, so that all can be found and ended."""

    def __init__(self, n, *program, options=(), cwd=ROOT):
        command = [mpiexec(), "-n", str(n), *options, sys.executable, "-m", "mpi4py", *map(str, program)]
        self.process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **ENVIRONMENT}, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def members(self):
        """The numbers of all its processes that are alive; mpiexec itself is the first."""
        table = subprocess.run(
            ["ps", "-A", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True
        ).stdout
        rows = (line.split() for line in table.splitlines())
        return sorted(int(pid) for pid, session, state in rows if int(session) == self.process.pid and state[0] != "Z")

    def end(self):
        """End all that is left of it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()  # mpiexec ends its processes
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def finish(self, timeout=60):
        """Its exit status, and all that it printed; TimeoutError, with that, where it hangs. Nothing of it is left."""
        try:
            output, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            self.end()
            raise TimeoutError(
                f"{self.process.args}\nhangs after {timeout} s:\n{self.process.communicate()[0]}"
            ) from error
        finally:
            self.end()
        return self.process.returncode, output


def launch(n, function, timeout=60, options=(), **settings):
    """What ``function(comm, **settings)`` returned on each of n ranks, by rank."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"{function.__module__}:{function.__name__}"
        status, output = Job(n, "-m", __name__, name, folder, json.dumps(settings), options=options).finish(timeout)
        assert status == 0, output
        return [mg.load(Path(folder) / f"{rank}.npz") for rank in range(n)]


def main(name, folder, settings):
    """One rank's part."""
    from optim import distributed

    module, _, function = name.partition(":")
    comm = distributed.world()
    rank = comm.rank
    result = getattr(importlib.import_module(module), function)(comm, **json.loads(settings))
    mg.save(result, Path(folder) / f"{rank}.npz")


if __name__ == "__main__":
    main(*sys.argv[1:])
