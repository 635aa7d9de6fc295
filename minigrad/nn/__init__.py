"""Networks: modules, layers, losses, initial values. Names, arguments, shapes and state_dict keys are PyTorch's.

>>> import minigrad as mg
>>> from minigrad import nn
>>> net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
>>> net(mg.zeros((5, 2))).shape
(5, 1)

Read `module.py` first.
"""

import sys

from .. import functional
from . import init, utils
from .activations import (
    ELU,
    GELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .attention import MultiheadAttention
from .containers import Residual, Sequential
from .convolution import AvgPool2d, Conv2d, MaxPool2d
from .linear import Flatten, Linear
from .losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, L1Loss, MSELoss, NLLLoss
from .module import Module
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    LayerNorm,
    freeze_statistics,
    share_statistics,
)
from .parameter import Parameter
from .recurrent import GRU, LSTM, RNN
from .sparse import Dropout, Embedding

sys.modules[f"{__name__}.functional"] = functional  # so that `import minigrad.nn.functional as F` works too
