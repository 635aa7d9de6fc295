"""Which optimizer gets down which landscape, and what stops the others?

Thirteen first-order methods race on ten surfaces of two numbers, each surface with one difficulty: a half-pipe, the
same turned, a curved valley, plains, many minima, saddles, a plateau, a sharp well beside a flat one. No method is
favoured by its rate: each runs with every rate of a grid, and its best run on that surface counts.

    python examples/race.py

It prints, for each method and surface, the steps until it was within 0.1 of a minimum and stayed there (at a saddle:
until it had got away, half a unit down), and the rate that did it. Pictures and films go to examples/output/race_*, by
surface and family: the paths, the heights, the race itself; and Adam with its two moments. A film is a GIF; where the
program ffmpeg is, the last is an MP4 as well.
"""

import math
import shutil
from functools import partial
from pathlib import Path

from tqdm import tqdm

import optim
from optim.landscape.surfaces import ALL, bowl, rosenbrock
from optim.trajectory import animate, draw, draw_progress, record

OUTPUT = Path(__file__).parent / "output"

SURFACES = {"bowl": ALL["bowl"], "turned_bowl": bowl(100, angle=math.pi / 6), **ALL}

# fmt: off
ONE_RATE = {
    "SGD":        optim.SGD,
    "momentum":   partial(optim.SGD, momentum=0.9),
    "Nesterov":   partial(optim.SGD, momentum=0.9, nesterov=True),
    "NAG":        optim.NAG,
    "Averaged":   lambda params, lr: optim.Averaged(optim.SGD(params, lr=lr), lambda: optim.averages.SMA(5)),
    "Lookahead":  lambda params, lr: optim.Lookahead(optim.SGD(params, lr=lr, momentum=0.9)),
    "SAM":        lambda params, lr: optim.SAM(optim.SGD(params, lr=lr)),
}
OWN_RATES = {
    "Adagrad":    optim.Adagrad,
    "RMSprop":    optim.RMSprop,
    "Adam":       optim.Adam,
    "AdamW":      optim.AdamW,
    "RAdam":      optim.RAdam,
    "LAMB":       optim.LAMB,
}
# fmt: on
FAMILIES = {"one_rate": ONE_RATE, "own_rates": OWN_RATES}  # for all coordinates, and for each coordinate
METHODS = ONE_RATE | OWN_RATES
RATES = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)


def arrived(path):
    """After how many steps it was at a minimum and stayed there, or was off the saddle; inf, if that never came."""
    if not path.surface.minima:
        away = path.heights() < -0.5
        return int(away.argmax()) if away.any() else math.inf
    far = ~(path.distances() < 0.1)  # NaN is far
    return math.inf if far[-1] else len(far) - int(far[::-1].argmax())


def best_run(surface, name, steps):
    """The run that arrives first, of all rates; if none does, the one that ends lowest. And its rate."""
    runs = [(record(surface, partial(METHODS[name], lr=lr), steps, name=name), lr) for lr in RATES]

    def rank(run):
        end = run[0].heights()[-1]
        return arrived(run[0]), end if math.isfinite(end) else math.inf

    return min(runs, key=rank)


def show(key, runs):
    """The paths, the heights and the film of a race, for each family."""
    for family, methods in FAMILIES.items():
        paths, file = [runs[name][0] for name in methods], f"race_{key}_{family}"
        draw(paths, every=5).savefig(OUTPUT / f"{file}.png", dpi=100)
        draw_progress(paths).savefig(OUTPUT / f"{file}_progress.png", dpi=100)
        animate(paths, OUTPUT / f"{file}.gif", frames=40)


def table(results):
    """Steps until arrival, and the rate: a line for each method, a column for each surface."""
    lines = [" " * 10 + "".join(f"{key:>15}" for key in results)]
    for name in METHODS:
        runs = [results[key][name] for key in results]
        cells = ["-" if math.isinf(arrived(path)) else f"{arrived(path)} at {lr:<5g}" for path, lr in runs]
        lines.append(f"{name:10}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


def lessons(results):
    """What the table says, surface by surface."""

    def steps(key, name):
        n = arrived(results[key][name][0])
        return f"{name} does not arrive" if math.isinf(n) else f"{name} arrives after {n}"

    def who(key):
        return ", ".join(name for name in METHODS if arrived(results[key][name][0]) < math.inf) or "nobody"

    wells = [name for name, (path, _) in results["double_well"].items() if path.points[-1, 0] > 0]
    return [
        f"In a half-pipe, a rate short enough for the walls is too short for the floor: {steps('bowl', 'SGD')}.",
        f"A memory helps: {steps('bowl', 'momentum')}; in a pipe that is turned, {steps('turned_bowl', 'momentum')}.",
        f"A rate for each coordinate helps where the pipe lies along one: {steps('bowl', 'RMSprop')};",
        f"    it helps less where the pipe is turned: {steps('turned_bowl', 'RMSprop')}.",
        f"Through the curved valley came: {who('rosenbrock')}.",
        f"Where gradients vanish, it helps to divide by them: {steps('plateau', 'SGD')}, {steps('plateau', 'Adam')}.",
        f"The deepest of many holes was found by {who('rastrigin')}: going downhill leads to the nearest.",
        f"In the sharp well beside the start ended {len(wells)} of {len(METHODS)}: SAM's ρ of 0.05 does not reach over",
        "    its rim, 0.43 away (examples/sharp_and_flat.py has a larger ρ).",
    ]


def main(surfaces=SURFACES, steps=300):
    OUTPUT.mkdir(exist_ok=True)
    results = {}
    for key in tqdm(surfaces, unit="surface", disable=None):
        results[key] = {name: best_run(surfaces[key], name, steps) for name in METHODS}
        show(key, results[key])
    print(f"steps until arrival, of at most {steps}, and the rate that was best:\n{table(results)}")

    moments = record(rosenbrock, partial(optim.Adam, lr=0.1), steps)
    for suffix in (".gif", ".mp4") if shutil.which("ffmpeg") else (".gif",):
        animate([moments], OUTPUT / f"race_adam_moments{suffix}")
    return results


if __name__ == "__main__":
    print("", *lessons(main()), sep="\n")
    print("\npictures and films: examples/output/race_*")
