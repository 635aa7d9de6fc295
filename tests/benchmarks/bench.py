"""Time minigrad against NumPy by hand, and against PyTorch where it is installed; `make bench` runs it.

    python tests/benchmarks/bench.py [--only WORDS] [--rounds N]

Every workload is one computation written for each of the three (`workload.py`), and is timed only after two calls of
each have given the same numbers. One thread each. In a round all take turns, thrice, and the fastest turn counts. The
table gives minigrad's time or memory, and the median of the rounds' ratios with the lowest and the highest; "hold" is
what minigrad is asked to keep to.
"""

import os
import sys
from pathlib import Path

# One thread each; once the libraries are loaded, it is too late to say so.
os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR")})
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, whether it is installed or not

import argparse
import platform
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np

from tests.benchmarks import derivatives, graphs, networks, optimizers
from tests.benchmarks.measure import peaks, program_seconds, race
from tests.benchmarks.workload import Workload, check, implementations, torch

Row = list[str]
HEADINGS = ["workload", "minigrad", "÷ NumPy by hand", "÷ PyTorch", "hold", ""]
NOT_INSTALLED = "not installed"
MOST_GROWTH = 1.3  # a search or a sort at every node would make it 4

# ------------------------------------------------------------------------------------------------------------- the rows


def time_row(title: str, workload: Workload, rounds: int) -> Row:
    """Time per operation, call or step."""
    steps = implementations(workload)
    check(title, steps, workload.tolerance)
    times = race(steps, rounds, workload.collector)
    over = {name: [mine / other for mine, other in zip(times["minigrad"], times[name])] for name in times}
    mine = duration(median(times["minigrad"]) / workload.work)
    by_torch = spread(over["torch"]) if torch else NOT_INSTALLED
    hold = f"≤ {workload.hold} × PyTorch" if workload.hold else ""
    held = verdict(median(over["torch"]) if torch else None, workload.hold)
    return [title, mine, spread(over["numpy"]), by_torch, hold, held]


def memory_row(title: str, kind: type[Workload], rounds: int) -> Row:
    """The most memory that one step takes, beyond its inputs. It is the same in every round."""
    (traced, resident), (by_numpy, _) = peaks(kind, "minigrad"), peaks(kind, "numpy")
    by_torch = peaks(kind, "torch")[1] if torch else 0
    over = {
        "NumPy": traced / by_numpy,
        "PyTorch": resident / by_torch if by_torch else None,
        "the inputs": (kind.input_bytes + traced) / kind.input_bytes if kind.input_bytes else None,
    }
    against, most = kind.hold_memory
    mine = f"{over['the inputs']:.2f} × the inputs" if kind.input_bytes else f"{traced / 2**20:.1f} MiB"
    columns = ["none by hand" if by_numpy < 2**20 else f"{over['NumPy']:.2f}"]
    columns.append(NOT_INSTALLED if torch is None else f"{over['PyTorch']:.2f}" if by_torch else "Linux only")
    return [title, mine, *columns, f"≤ {most} × {against}", verdict(over[against], most)]


def growth_row(title: str, kind: Callable[[int], Workload], rounds: int) -> Row:
    """Time per node in a graph of 4n nodes over that in one of n: 1 if the engine is linear."""
    n = 10_000
    rows = []
    for name in ["minigrad", "numpy"] + ["torch"] * (torch is not None):
        times = race({str(k): getattr(kind(k * n), name)() for k in (1, 4)}, rounds, collector=False)
        rows.append([four / one / 4 for one, four in zip(times["1"], times["4"])])
    own, *others = map(spread, rows)
    others = [f"theirs: {other}" for other in others] + [NOT_INSTALLED] * (torch is None)
    return [title, own, *others, f"≤ {MOST_GROWTH}", verdict(median(rows[0]), MOST_GROWTH)]


def import_row(title: str, rounds: int) -> Row:
    """What a program pays before its first gradient, beyond NumPy's own import."""
    use = "x = lib.tensor(2.0, requires_grad=True); (x * x).backward()"
    programs = {"numpy": "import numpy", "minigrad": f"import minigrad as lib; {use}"}
    if torch:
        programs["torch"] = f"import torch as lib; {use}"
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(program_seconds(program))
    extra = median(mine - numpy for mine, numpy in zip(times["minigrad"], times["numpy"]))
    over = {name: [mine / other for mine, other in zip(times["minigrad"], times[name])] for name in programs}
    by_torch = spread(over["torch"]) if torch else NOT_INSTALLED
    return [title, f"+ {extra * 1e3:.0f} ms", spread(over["numpy"]), by_torch, "≤ + 30 ms", verdict(extra, 0.03)]


def rows() -> dict[str, Callable[[int], Row]]:
    """By title, in the order of the table, what makes each row."""
    result: dict[str, Callable[[int], Row]] = {}
    for kind in (
        *(graphs.Ops, networks.SmallMLP, networks.LargeMLP, networks.CNN, networks.TransformerBlock),
        *(optimizers.AdamLarge, optimizers.AdamSmall, derivatives.HessianVector, derivatives.RosenbrockHessian),
        *(graphs.Chain, graphs.ChainCollected, graphs.Elementwise),
    ):
        result[kind.title] = lambda title, rounds, kind=kind: time_row(title, kind(), rounds)
        if kind.hold_memory is not None:
            result[f"{kind.title}: memory"] = partial(memory_row, kind=kind)
    result["import and one backward, beyond `import numpy`"] = import_row
    result["time per node, 40,000 ÷ 10,000 nodes deep"] = partial(growth_row, kind=graphs.Chain)
    result["time per node, 40,000 ÷ 10,000 nodes wide"] = partial(growth_row, kind=graphs.Fan)
    return result


# ---------------------------------------------------------------------------------------------------------- as text


def verdict(value: float | None, most: float | None) -> str:
    """Does the value, if there is one, keep to what it is asked to?"""
    return "" if value is None or most is None else "holds" if value <= most else "MISSED"


def spread(values: list[float]) -> str:
    """The median, and the lowest and the highest."""
    digits = 2 if max(values) < 10 else 0
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low}–{high})"


def duration(value: float) -> str:
    """Seconds, in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def machine() -> str:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    versions = f"Python {platform.python_version()}, NumPy {np.__version__} ({blas['name']} {blas['version']})"
    pytorch = f"PyTorch {torch.__version__}" if torch else "PyTorch not installed (pip install torch, to compare)"
    return f"{cpu}, {platform.system()}; {versions}; {pytorch}; one thread each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORDS", help="rows whose title holds these words")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds of each row (7)")
    options = parser.parse_args()
    chosen = {title: make for title, make in rows().items() if options.only.lower() in title.lower()}
    if not chosen:
        parser.error(f"no row's title holds {options.only!r}; there are: {'; '.join(rows())}")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: wanted 1 or more")
    if torch:
        torch.set_num_threads(1)

    print(machine(), end="\n\n")
    table = [HEADINGS, ["---"] * len(HEADINGS)]
    for k, (title, make) in enumerate(chosen.items(), start=1):
        if sys.stderr.isatty():
            print(f"\r\033[K{k}/{len(chosen)} {title}", end="", file=sys.stderr, flush=True)
        table.append(make(title, rounds=options.rounds))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    widths = [max(map(len, column)) for column in zip(*table)]
    for row in table:
        cells = [cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths)]
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
