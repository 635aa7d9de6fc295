"""Write `sympy_hessians.json`: gradients and Hessians by SymPy, which differentiates formulas, not programs.

Every function is written out in single numbers, as one would on paper; the test writes it in vectors, matrices and the
ops of the table. Derivatives are taken symbolically, and evaluated at rational points to 30 digits.

Run from the root of the checkout where SymPy is installed: ``python -m tests.golden.make_sympy_hessians``. The version
that made the file is stored in it.
"""

import json
from pathlib import Path

import sympy as sp
from sympy import Rational as R
from sympy import atan, cos, exp, log, pi, sin, sqrt, tanh

DIGITS = 30


def rosenbrock(a, b, c, d):
    return (
        100 * (b - a**2) ** 2
        + (1 - a) ** 2
        + 100 * (c - b**2) ** 2
        + (1 - b) ** 2
        + 100 * (d - c**2) ** 2
        + (1 - c) ** 2
    )


def beale(x, y):
    return (R(3, 2) - x * (1 - y)) ** 2 + (R(9, 4) - x * (1 - y**2)) ** 2 + (R(21, 8) - x * (1 - y**3)) ** 2


def himmelblau(x, y):
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def rastrigin(x, y):
    return 20 + x**2 + y**2 - 10 * cos(2 * pi * x) - 10 * cos(2 * pi * y)


def plateau(x, y):
    return 1 - exp(-(x**2) / 8 - y**2 / 2)


def double_well(x, y):
    return 1 / (1 / (50 * (x - 1) ** 2 + 50 * y**2) + 1 / ((x + 1) ** 2 + y**2))


def log_sum_exp(a, b, c):
    return log(exp(a) + exp(b) + exp(c))


def product(a, b, c, d):
    return a * b * c * d


def powers(a, b):
    return a**b + b**a


def norm(a, b, c):
    """‖A x‖ for A = (1 2 0; 0 1 -1)."""
    return sqrt((a + 2 * b) ** 2 + (b - c) ** 2)


def waves(a, b, c):
    return sin(a * b) * cos(b * c) + tanh(a - c)


def helical_valley(a, b, c):
    return 100 * ((c - 10 * atan(b / a) / (2 * pi)) ** 2 + (sqrt(a**2 + b**2) - 1) ** 2) + c**2


def trace_of_cube(a, b, c, d):
    """tr X³ for X = (a b; c d)."""
    X = sp.Matrix([[a, b], [c, d]])
    return (X * X * X).trace()


def log_det(a, b, c):
    """log det of the symmetric matrix (a b; b c)."""
    return log(a * c - b**2)


def inverse(a, b, c, d):
    """uᵀ X⁻¹ v for X = (a b; c d), u = (1, 2), v = (3, -1)."""
    return (sp.Matrix([[1, 2]]) * sp.Matrix([[a, b], [c, d]]).inv() * sp.Matrix([3, -1]))[0]


def cross_entropy(a, b, c, d, e, f):
    """Softmax regression of the inputs (1, 2) and (-1, 1), of classes 0 and 2, with the weights (a b; c d; e f)."""
    total = 0
    for x, y, label in ((1, 2, 0), (-1, 1, 2)):
        z = [a * x + b * y, c * x + d * y, e * x + f * y]
        total += log(sum(map(exp, z))) - z[label]
    return total / 2


def network(a, b, c, d, e, f):
    """Mean square error of e tanh(a x + b) + f tanh(c x + d) at three points of a parabola."""
    return sum((e * tanh(a * x + b) + f * tanh(c * x + d) - x**2) ** 2 for x in (-1, R(1, 2), 2)) / 3


# The points are generic: no coordinate is 0, no two are alike.
POINTS = {
    rosenbrock: [(R(-6, 5), 1, R(1, 2), R(-1, 4)), (R(9, 10), R(4, 5), R(7, 10), R(1, 2))],
    beale: [(1, R(3, 2)), (R(14, 5), R(2, 5))],
    himmelblau: [(-1, R(1, 2)), (R(31, 10), R(19, 10))],
    rastrigin: [(R(-17, 5), R(13, 5)), (R(1, 10), R(-1, 5))],
    plateau: [(R(-5, 2), 1), (R(1, 2), R(-1, 3))],
    double_well: [(R(6, 5), R(1, 10)), (R(-3, 4), R(1, 2))],
    log_sum_exp: [(R(1, 2), -1, 2), (30, R(57, 2), R(-7, 3))],
    product: [(R(1, 2), -3, 2, R(5, 4)), (R(-1, 3), R(1, 7), 4, R(-3, 2))],
    powers: [(R(3, 2), R(5, 2)), (R(1, 4), R(7, 5))],
    norm: [(1, -2, R(1, 2)), (R(-1, 100), R(1, 50), R(1, 25))],
    waves: [(R(1, 2), R(-4, 3), R(9, 5)), (2, R(3, 2), R(-1, 4))],
    helical_valley: [(R(3, 2), R(1, 2), R(-1, 3)), (R(1, 5), -1, 2)],
    trace_of_cube: [(1, -2, R(1, 2), 3), (R(-1, 2), R(4, 3), 2, R(1, 5))],
    log_det: [(2, R(1, 2), 1), (R(1, 3), R(-1, 4), R(5, 2))],
    inverse: [(2, R(1, 2), -1, 1), (R(1, 2), -3, R(3, 4), R(-1, 5))],
    cross_entropy: [(R(1, 2), -1, R(1, 3), 2, R(-3, 2), R(3, 4)), (3, R(1, 4), -2, R(5, 3), R(1, 5), -1)],
    network: [(1, R(-1, 2), R(-2, 3), R(1, 4), R(3, 2), -1), (R(1, 5), R(1, 3), R(5, 4), -1, R(-1, 2), R(7, 4))],
}


def numbers(array):
    """Exact values, rounded once: to the float that is nearest."""
    return [numbers(each) for each in array] if isinstance(array, list) else float(sp.N(array, DIGITS))


if __name__ == "__main__":
    lines = []
    for fn, points in POINTS.items():
        x = sp.symbols(f"x:{len(points[0])}", positive=fn is powers)
        f = fn(*x)
        g = [sp.diff(f, a) for a in x]
        for point in points:
            at = dict(zip(x, point))
            found = {
                "f": f.subs(at),
                "g": [each.subs(at) for each in g],
                "H": [[sp.diff(each, b).subs(at) for b in x] for each in g],
            }
            entry = {"function": fn.__name__, "x": numbers([*point])} | {k: numbers(v) for k, v in found.items()}
            lines.append(json.dumps(entry))
    text = ",\n".join(lines)
    path = Path(__file__).with_name("sympy_hessians.json")
    path.write_text(f'{{"notes": "SymPy {sp.__version__}",\n"cases": [\n{text}\n]}}\n')
    print(len(lines), "points")
