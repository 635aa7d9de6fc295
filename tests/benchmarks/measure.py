"""Measuring: processor time of steps that take turns and of whole programs, peaks of memory.

Processor time rather than wall time: on a machine that others use as well, it is what a quiet one would show.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.benchmarks.workload import Step, Workload

TURNS, TURN = 3, 0.02  # in a round each step has so many turns, of about so many seconds
LONG = 0.2  # if a single call of some step takes longer than this, all have one turn
ROOT = Path(__file__).resolve().parents[2]
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def seconds(step: Step, calls: int) -> float:
    """Processor time per call."""
    start = time.process_time()
    for _ in range(calls):
        step()
    return (time.process_time() - start) / calls


def race(steps: dict[str, Step], rounds: int, collector: bool) -> dict[str, list[float]]:
    """Seconds per call of each step, its fastest turn in every round.

    The garbage collector runs between turns, and during them only if `collector` says so; `timeit` has it off too.
    """
    once = {name: seconds(step, 1) for name, step in steps.items()}
    calls = {name: max(1, round(TURN / t)) for name, t in once.items()}
    turns = TURNS if max(once.values()) < LONG else 1
    times: dict[str, list[float]] = {name: [] for name in steps}
    gc.freeze()  # nothing that is here already needs to be looked at again
    for _ in range(rounds):
        best = dict.fromkeys(steps, float("inf"))
        for _ in range(turns):
            for name, step in steps.items():
                gc.collect()
                if not collector:
                    gc.disable()
                best[name] = min(best[name], seconds(step, calls[name]))
                gc.enable()
        for name in steps:
            times[name].append(best[name])
    return times


def program_seconds(program: str) -> float:
    """Processor time of a fresh Python that runs a program, start and end included. Unix only."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # what is compiled once is not compiled again
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peaks(kind: type[Workload], name: str) -> tuple[int, int]:
    """The most bytes that a call of a step has beyond its inputs: traced, and resident; in a process of its own.

    What Python and NumPy allocate can be traced, to the byte. PyTorch's memory is only seen from outside, as what is
    resident, on Linux; elsewhere that is 0.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_peaks_here, kind, name).result()


def _peaks_here(kind: type[Workload], name: str) -> tuple[int, int]:
    getattr(kind(), name)()()  # what only the first call costs: imports, buffers of the BLAS
    step = getattr(kind(), name)()
    gc.collect()
    tracemalloc.start()
    step()
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if not RESET.exists():
        return traced, 0
    step = getattr(kind(), name)()
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # what was freed so far goes back to the kernel, or it would be used unseen
        libc.malloc_trim(0)
    RESET.write_text("5")  # the highest so far is forgotten
    before = resident("VmRSS")
    step()
    return traced, resident("VmHWM") - before


def resident(field: str) -> int:
    """Bytes in memory: VmRSS now, VmHWM at most."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
