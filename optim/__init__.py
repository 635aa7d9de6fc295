"""Optimisation algorithms that read like their formulas, for minigrad's Tensors.

>>> import minigrad as mg, optim
>>> p = mg.tensor([3.0, -4.0], requires_grad=True)
>>> opt = optim.SGD([p], lr=0.1, momentum=0.9)
>>> losses = [opt.step(lambda: (p * p).sum()).item() for _ in range(100)]
>>> losses[0], losses[-1] < 1e-2
(25.0, True)

Read `optimizer.py` for what all share, then any other file for one formula.
"""

from . import averages, distributed, landscape, lr_scheduler, trajectory
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .averaged import Averaged
from .kfac import KFAC
from .lamb import LAMB
from .lookahead import Lookahead
from .natural_gradient import NaturalGradient
from .newton import Newton, newton_minimum, newton_root
from .optimizer import Optimizer
from .quasi_newton import BFGS, LBFGS
from .radam import RAdam
from .rmsprop import RMSprop
from .sam import SAM
from .sgd import NAG, SGD
from .wrapper import Wrapper

__all__ = [
    "BFGS", "KFAC", "LAMB", "LBFGS", "NAG", "SAM", "SGD", "Adagrad", "Adam", "AdamW", "Averaged", "Lookahead",
    "NaturalGradient", "Newton", "Optimizer", "RAdam", "RMSprop", "Wrapper", "averages", "distributed", "landscape",
    "lr_scheduler", "newton_minimum", "newton_root", "trajectory",
]  # fmt: skip
