"""Classic problems of unconstrained minimisation, most as Moré, Garbow and Hillstrom collected them (1981).

Each is written once, for arrays and Tensors alike: a function of one vector, the usual start, the lowest value.
"""

import numpy as np


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def beale(x):
    a, b = x[0], x[1]
    return (1.5 - a * (1 - b)) ** 2 + (2.25 - a * (1 - b**2)) ** 2 + (2.625 - a * (1 - b**3)) ** 2


def powell(x):
    """Powell's singular function, n a multiple of 4: the Hessian at the minimum is singular."""
    a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
    return ((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4).sum()


def wood(x):
    a, b, c, d = x[0], x[1], x[2], x[3]
    valleys = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
    return valleys + 10 * (b + d - 2) ** 2 + 0.1 * (b - d) ** 2


def helical_valley(x):
    a, b, c = x[0], x[1], x[2]
    turns = np.arctan(b / a) / (2 * np.pi) + 0.5 * (a < 0)
    return 100 * ((c - 10 * turns) ** 2 + (np.sqrt(a**2 + b**2) - 1) ** 2) + c**2


def trigonometric(x):
    n = len(x)
    each = n - np.cos(x).sum() + np.arange(1, n + 1) * (1 - np.cos(x)) - np.sin(x)
    return (each**2).sum()


def brown(x):
    return (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2


def dixon_price(x):
    return (x[0] - 1) ** 2 + (np.arange(2, len(x) + 1) * (2 * x[1:] ** 2 - x[:-1]) ** 2).sum()


def bowl(kappa, n=10):
    scales = np.geomspace(1, kappa, n)
    return lambda x: 0.5 * (scales * x**2).sum()


# name: (function, start, lowest value there is, or for the trigonometric one where that start leads)
CLASSICS = {
    "Rosenbrock 2": (rosenbrock, np.array([-1.2, 1.0]), 0.0),
    "Rosenbrock 10": (rosenbrock, np.tile([-1.2, 1.0], 5), 0.0),
    "Rosenbrock 50": (rosenbrock, np.tile([-1.2, 1.0], 25), 0.0),
    "Beale": (beale, np.array([1.0, 1.0]), 0.0),
    "Powell singular": (powell, np.array([3.0, -1.0, 0.0, 1.0]), 0.0),
    "extended Powell 20": (powell, np.tile([3.0, -1.0, 0.0, 1.0], 5), 0.0),
    "Wood": (wood, np.array([-3.0, -1.0, -3.0, -1.0]), 0.0),
    "helical valley": (helical_valley, np.array([-1.0, 0.0, 0.0]), 0.0),
    "trigonometric 10": (trigonometric, np.full(10, 0.1), 2.79506e-5),
    "Brown badly scaled": (brown, np.array([1.0, 1.0]), 0.0),
    "Dixon-Price 10": (dixon_price, np.ones(10), 0.0),
    "bowl, κ = 100": (bowl(1e2), np.ones(10), 0.0),
    "bowl, κ = 10⁴": (bowl(1e4), np.ones(10), 0.0),
    "bowl, κ = 10⁶": (bowl(1e6), np.ones(10), 0.0),
}
