"""Every method of first order, in the settings that matter, for the sweeps over all of them; and small ways to drive one.

A method is a function of the parameters that makes an optimizer. `test_invariants.py` fails for a class without one.
"""

import numpy as np

import minigrad as mg
import optim
from minigrad.backend import is_array, to_device
from optim.averages import EWMA, SMA, WMA

KERNELS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "SGD, momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    "SGD, dampening": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1),
    "SGD, nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "SGD, velocity": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, momentum_form="velocity"),
    "SGD, ewma": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, momentum_form="ewma"),
    "NAG": lambda params: optim.NAG(params, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adagrad": lambda params: optim.Adagrad(params, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.01),
    "RMSprop, centered": lambda params: optim.RMSprop(params, lr=0.01, centered=True, momentum=0.5),
    "Adam": lambda params: optim.Adam(params, lr=0.1),
    "Adam, amsgrad": lambda params: optim.Adam(params, lr=0.1, amsgrad=True, eps_inside_root=True, maximize=True),
    "AdamW": lambda params: optim.AdamW(params, lr=0.1, weight_decay=0.1),
    "RAdam": lambda params: optim.RAdam(params, lr=0.1, betas=(0.9, 0.99)),
    "LAMB": lambda params: optim.LAMB(params, lr=0.1, weight_decay=0.1),
}
WRAPPERS = {
    "Lookahead": lambda params: optim.Lookahead(optim.SGD(params, lr=0.1, momentum=0.9), k=3),
    "SAM": lambda params: optim.SAM(optim.Adam(params, lr=0.1), rho=0.1),
    "ASAM": lambda params: optim.SAM(optim.SGD(params, lr=0.1), rho=0.5, adaptive=True, eta=0.01),
    "Averaged": lambda params: optim.Averaged(optim.SGD(params, lr=0.1), lambda: SMA(3)),
    "Lookahead of SAM": lambda params: optim.Lookahead(optim.SAM(optim.AdamW(params, lr=0.1), rho=0.1), k=4, alpha=0.3),
    "SAM of Lookahead": lambda params: optim.SAM(optim.Lookahead(optim.RMSprop(params, lr=0.01), k=2), rho=0.1),
    "SAM of NAG": lambda params: optim.SAM(optim.NAG(params, lr=0.01), rho=0.1),
    "SAM of Averaged of LAMB": lambda params: optim.SAM(
        optim.Averaged(optim.LAMB(params, lr=0.1), lambda: EWMA(0.5, "zero", bias_correction=True))
    ),
    "Averaged of Lookahead": lambda params: optim.Averaged(
        optim.Lookahead(optim.Adam(params, lr=0.1), k=5), lambda: WMA([3, 2, 1])
    ),
}
ALL = {**KERNELS, **WRAPPERS}

SHAPES = [(3,), (2, 4), (), (5, 1)]


def start(seed=0, shapes=SHAPES, dtype=np.float64):
    """Parameters of these shapes."""
    rng = np.random.default_rng(seed)
    return [mg.tensor(np.asarray(rng.standard_normal(shape), dtype), requires_grad=True) for shape in shapes]


def bumpy(params, phase=0.0):
    """A loss that differs from step to step (by `phase`), couples all parameters, and is bounded both ways."""
    total = sum((p * p).sum() * (0.3 + 0.2 * k) for k, p in enumerate(params))
    return mg.sin(total + phase) + sum(mg.cos(3 * p + phase).sum() for p in params)


def walk(opt, params, steps, first=0):
    """Take steps; the parameters after each."""
    path = []
    for k in range(first, first + steps):
        opt.step(lambda k=k: bumpy(params, phase=0.1 * k))
        path.append(snapshot(params))
    return path


def snapshot(params):
    """Copies of the parameters' arrays, on the host."""
    return [p.numpy().copy() for p in params]


def same(a, b):
    """Bit for bit, through nested lists, tuples and dicts?"""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if is_array(a):
        a, b = to_device(a, "cpu"), to_device(b, "cpu") if is_array(b) else b
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b
