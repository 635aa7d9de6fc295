"""One line per row of the table of derivatives: the arguments to try it with. `case.py` says how to read a line.

To add one: find the row's room, write the call, and run ``pytest tests/ops -k NAME``.
"""

import operator

import numpy as np
import scipy.special
import scipy.stats

import minigrad as mg
from minigrad import functional as F
from minigrad.functional import activations, losses, normalization, recurrence
from minigrad.ops import elementwise, indexing, linalg, products, shapes, windows
from optim.distributed import Serial, collectives
from tests.ops.case import above_one, each, fixed, fraction, integer, positive, real, row, truth

axes = each(None, 1, -1, (0, 2))
keep = each(False, True)

IMAGES = np.random.default_rng(0).uniform(-2, 2, (2, 2, 5, 4))
POOLED = windows.max_pool(IMAGES, (2, 3), (2, 1), (1, 0))


def p_norm(x, p, axis):
    return (np.absolute(x) ** p).sum(axis) ** (1 / p)


def symmetric(a):
    return ((a + a.swapaxes(-1, -2)) / 2,)


def positive_definite(a):
    return (a @ a.swapaxes(-1, -2) + np.identity(a.shape[-1], a.dtype, like=a),)


def put(x, key, y):
    x = x.copy()
    x[key] = y
    return x


def put_sum(x, key, y):
    x = x.copy()
    np.add.at(x, key, y)
    return x


sigmoid = scipy.special.expit


def lstm_state(a, c):
    i, f, u, _ = np.split(a, 4, axis=-1)
    return sigmoid(f) * c + sigmoid(i) * np.tanh(u)


def lstm_output(a, c):
    return sigmoid(np.split(a, 4, axis=-1)[3]) * np.tanh(c)


def gru(a, b, h):
    (a1, a2, a3), (b1, b2, b3) = np.split(a, 3, axis=-1), np.split(b, 3, axis=-1)
    z = sigmoid(a2 + b2)
    return (1 - z) * np.tanh(a3 + sigmoid(a1 + b1) * b3) + z * h


def standardized(x, axis, eps):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


# fmt: off
TABLE = [
    # ---------------------------------------------------------------- elementwise: arithmetic
    row(elementwise.zero,  real, numpy=np.zeros_like),
    row(mg.add,            real, real, polynomial=True),
    row(mg.subtract,       real, real, polynomial=True),
    row(mg.multiply,       real, real, polynomial=True),
    row(mg.divide,         real, positive),
    row(mg.negative,       real),
    row(mg.positive,       real),
    row(mg.power,          positive, real),
    row(mg.power,          real, each(0, 1, 2, 3, 4, 5), polynomial=True),
    row(mg.power,          positive, each(0.5, -1, -0.7, 1.5)),
    row(mg.power,          each(1.5, 2), real),
    row(mg.reciprocal,     positive),
    row(mg.square,         real, polynomial=True),
    row(mg.sqrt,           positive),
    row(mg.cbrt,           positive),

    # exponentials and logarithms
    row(mg.exp,            real),
    row(mg.expm1,          real),
    row(mg.log,            positive),
    row(mg.log1p,          positive),
    row(mg.log2,           positive),
    row(mg.log10,          positive),
    row(mg.logaddexp,      real, real),
    row(mg.erf,            real, numpy=scipy.special.erf),
    row(mg.sigmoid,        real, numpy=lambda x: 1 / (1 + np.exp(-x))),

    # trigonometry
    row(mg.sin,            real),
    row(mg.cos,            real),
    row(mg.tan,            fraction),
    row(mg.arcsin,         fraction),
    row(mg.arccos,         fraction),
    row(mg.arctan,         real),
    row(mg.arctan2,        real, real),
    row(mg.hypot,          real, real),
    row(mg.sinh,           real),
    row(mg.cosh,           real),
    row(mg.tanh,           real),
    row(mg.arcsinh,        real),
    row(mg.arccosh,        above_one),
    row(mg.arctanh,        fraction),

    # kinks
    row(mg.absolute,       real),
    row(mg.maximum,        real, real),
    row(mg.minimum,        real, real),
    row(mg.relu,           real, numpy=lambda x: np.maximum(x, 0)),
    row(mg.clip,           real, each(-1.0, None), each(0.5, 1)),
    row(mg.where,          truth, real, real),
    row(mg.astype,         real, np.float64, numpy=lambda x, dtype: x.astype(dtype)),
    row(mg.sign,           real),
    row(mg.floor,          real),
    row(mg.ceil,           real),
    row(mg.round,          real, decimals=each(0, 1)),

    # constants
    row(mg.equal,          integer, integer),
    row(mg.not_equal,      integer, integer),
    row(mg.less,           real, real),
    row(mg.less_equal,     integer, integer),
    row(mg.greater,        real, real),
    row(mg.greater_equal,  integer, integer),
    row(mg.logical_and,    truth, truth),
    row(mg.logical_or,     truth, truth),
    row(mg.logical_not,    truth),
    row(mg.bitwise_and,    truth, truth),
    row(mg.bitwise_or,     integer, integer),
    row(mg.invert,         truth),
    row(mg.zeros_like,     real),
    row(mg.ones_like,      real),
    row(mg.isnan,          real),
    row(mg.isinf,          real),
    row(mg.isfinite,       real),

    # ---------------------------------------------------------------- reductions
    row(mg.sum,            real(2, 3, 4), axis=axes, keepdims=keep, polynomial=True),
    row(mg.sum,            each(real(), real(0, 3)), keepdims=keep),
    row(mg.mean,           real(2, 3, 4), axis=axes, keepdims=keep),
    row(mg.mean,           real(), axis=each(None, ()), keepdims=keep),
    row(mg.max,            real(2, 3, 4), axis=axes, keepdims=keep),
    row(mg.max,            real(), axis=each(None, ()), keepdims=keep),
    row(mg.min,            real(2, 3, 4), axis=axes, keepdims=keep),
    row(mg.min,            real(), axis=each(None, ()), keepdims=keep),
    row(mg.var,            real(2, 3, 4), axis=axes, ddof=each(0, 1), keepdims=keep, polynomial=True),
    row(mg.var,            real(), axis=each(None, ())),
    row(mg.std,            real(2, 3, 4), axis=axes, ddof=each(0, 1), keepdims=keep),
    row(mg.logsumexp,      real(2, 3, 4), axis=axes, keepdims=keep, numpy=scipy.special.logsumexp),
    row(mg.logsumexp,      real(), numpy=scipy.special.logsumexp),
    row(mg.prod,           real(2, 3, 2), axis=axes, keepdims=keep, polynomial=True),
    row(mg.prod,           each(real(), real(0, 3)), axis=each(None, ()), keepdims=keep),
    row(mg.cumsum,         real(2, 3, 4), axis=each(None, 0, -1), polynomial=True),
    row(mg.cumsum,         each(real(), real(0, 3))),
    row(mg.cumprod,        real(2, 5), axis=each(None, 0, -1), polynomial=True),
    row(mg.cumprod,        each(real(), real(0, 3))),

    # constants
    row(mg.argmax,         real(2, 3), axis=each(None, 0, -1), keepdims=keep),
    row(mg.argmin,         real(2, 3), axis=each(None, 0, -1), keepdims=keep),
    row(mg.argsort,        real(2, 3), axis=each(None, 0, -1)),
    row(mg.any,            truth(2, 3), axis=each(None, 1, (0, 1)), keepdims=keep),
    row(mg.all,            truth(2, 3), axis=each(None, 1, (0, 1)), keepdims=keep),
    row(mg.count_nonzero,  truth(2, 3), axis=each(None, 1, (0, 1)), keepdims=keep),

    # ---------------------------------------------------------------- shapes
    row(mg.reshape,        real(2, 6), each((3, 4), (-1, 2, 2), 12)),
    row(mg.reshape,        each(real(), real(0, 3)), -1),
    row(mg.ravel,          each(real(), real(0, 3), real(2, 3))),
    row(mg.squeeze,        real(1, 3, 1, 2), axis=each(None, 0, -2, (0, 2))),
    row(mg.expand_dims,    each(real(), real(0, 3), real(2, 3)), axis=each(0, -1, (0, 1))),
    row(mg.transpose,      each(real(), real(2, 3, 4), real(0, 2, 3))),
    row(mg.transpose,      real(2, 3, 4), axes=each((2, 0, 1), (0, -1, 1))),
    row(mg.swapaxes,       each(real(2, 3, 4), real(0, 2, 3)), 0, each(0, -1)),
    row(mg.moveaxis,       real(2, 3, 4), 0, each(-1, 1)),
    row(mg.moveaxis,       real(2, 3, 4), (0, 1), each((2, 0), (-1, -2))),
    row(mg.broadcast_to,   each(real(3, 1), real(), real(4)), each((2, 3, 4), (3, 4), (0, 3, 4))),
    row(mg.flip,           each(real(), real(0, 3), real(2, 3))),
    row(mg.flip,           real(2, 3), axis=each(0, -1, (0, 1))),
    row(mg.roll,           real(2, 3, 4), each(1, -5), axis=each(None, 1)),
    row(mg.roll,           real(2, 3, 4), (1, 2), axis=(0, -1)),
    row(mg.roll,           each(real(), real(0, 3)), 1),
    row(mg.split,          real(6, 2), each(3, [1, 3], [0, 4, 4]), axis=each(0, -2), polynomial=True),
    row(mg.tile,           real(2, 3), each(2, (2, 1), (2, 1, 3)), polynomial=True),
    row(mg.tile,           each(real(), real(0, 3)), 2),
    row(mg.copy,           each(real(), real(0, 3), real(2, 3))),
    row(mg.pad,            real(2, 3), each(1, (1, 2), ((0, 1), (2, 0))), constant_values=each(0, 1.5)),
    row(mg.pad,            each(real(), real(0, 3)), 1),
    row(mg.concatenate,    [real(2, 3), real(1, 3), real(0, 3)], axis=each(0, -2, None)),
    row(shapes.moved,      real(2, 3), device="cpu", back="cpu", numpy=lambda x, device, back: x, polynomial=True),
    row(shapes.to,         real(2, 3), device="cpu", numpy=lambda x, device: x),
    row(shapes.joined,     real(2, 3), real(2, 1), axis=-1, bounds=[0, 3, 4], numpy=lambda x, y, axis, bounds: np.concatenate((x, y), axis)),
    row(mg.stack,          [real(2, 3), real(2, 3)], axis=each(0, 1, -1)),
    row(mg.stack,          [real(), real(), real()]),

    # ---------------------------------------------------------------- indexing
    row(mg.getitem,        real(3, 4), each(1, (..., None, 2), np.array([0, 0, 2])), numpy=operator.getitem),
    row(mg.index_put,      real(3, 4), each(1, (slice(None), [3, 0])), real(), numpy=put),
    row(mg.index_add,      real(3, 4), each([0, 0, 1], 2), each(real(4), real()), numpy=put_sum),
    row(indexing.read,     real(3, 4), each(1, (slice(None), slice(None, None, -2)), [0, 0, 2]), numpy=operator.getitem),
    row(indexing.scatter,  real(2), each([0, 0], slice(1, 3)), (4,), numpy=lambda y, k, shape: put_sum(np.zeros(shape), k, y)),
    row(indexing.put,      real(3, 4), (slice(None), 1), each(real(3), real()), numpy=put),
    row(indexing.added,    real(3, 4), each([0, 0, 1], 2), each(real(4), real()), numpy=put_sum),
    row(mg.take,           real(3, 4), each(1, [[0, 2], [2, 2]]), axis=each(None, 0, -1)),
    row(mg.repeat,         real(2, 3), each(2, 0, [1, 0, 2]), axis=-1),
    row(mg.repeat,         each(real(2, 3), real()), 2),
    row(mg.sort,           real(3, 4), axis=each(None, 0, -1)),
    row(mg.diagonal,       real(3, 4), offset=each(0, 1, -2, 7)),
    row(mg.diagonal,       real(2, 3, 4), 1, each(0, -1), 1),
    row(mg.diag,           each(real(3), real(0), real(3, 4)), k=each(0, 2, -1)),
    row(mg.trace,          real(3, 4), offset=each(0, 1, -2)),
    row(mg.trace,          real(2, 3, 4), 0, 1, 2),
    row(mg.triu,           each(real(3), real(3, 4), real(2, 3, 3)), k=each(0, 1, -1)),
    row(mg.tril,           each(real(3), real(3, 4), real(2, 3, 3)), k=each(0, 1, -1)),
    row(mg.take_along_axis, real(2, 3), np.array([[2, 2, 0, 1], [0, 0, 0, 1]]), axis=1),
    row(mg.take_along_axis, real(3, 3), np.array([[2, 0, 1]]), axis=each(0, 1)),
    row(mg.take_along_axis, real(2, 3), np.array([5, 0, 0]), axis=None),

    # ---------------------------------------------------------------- products
    row(mg.matmul,         each(real(3), real(2, 3), real(4, 2, 3), real(0, 3)), each(real(3), real(3, 2), real(4, 3, 2)),
                           polynomial=True),
    row(mg.matmul,         real(2, 1, 2, 3), each(real(4, 3, 2), real(3)), polynomial=True),
    row(mg.linear,         each(real(3), real(2, 3), real(2, 2, 3), real(0, 3)), real(4, 3), each(real(4), None),
                           numpy=lambda x, w, b: x @ w.T + (0 if b is None else b), polynomial=True),
    row(mg.einsum,         each("ij->ji", "ij", "ij->", "ij->j", "...i->...", "i...", "ba"), real(2, 3), polynomial=True),
    row(mg.einsum,         each("ii", "ii->i", "ii->", "ij->i"), real(3, 3), polynomial=True),
    row(mg.einsum,         each("iijk->kj", "ii...", "...jk->...k", "i...k->..."), real(2, 2, 3, 2), polynomial=True),
    row(mg.einsum,         each("ij,jk->ik", "ij,jk", "ij,kl->", "...j,j...->...", " i j , j k -> k i j "), real(2, 3), real(3, 2),
                           polynomial=True),
    row(mg.einsum,         "...ij,...jk->...ik", real(2, 1, 2, 3), each(real(4, 3, 2), real(3, 1)), polynomial=True),
    row(mg.einsum,         each("i,j,k->kij", "i,i,i", "i,j,i->j"), real(2), real(2), real(2), polynomial=True),
    row(mg.einsum,         each(",", ",->"), real(), real(), polynomial=True),
    row(mg.einsum,         "ij,jk", real(0, 3), real(3, 2)),
    row(products.contract, real(2, 3), real(3, 2), subscripts="ij,jk->ki", numpy=lambda x, y, subscripts: np.einsum(subscripts, x, y)),
    row(mg.tensordot,      real(2, 3, 2), real(3, 2, 2), axes=each(0, 2, (0, -1), ([1, 0], [0, 2])), polynomial=True),
    row(mg.tensordot,      each(real(), real(0, 3)), real(), axes=0),
    row(mg.dot,            each(real(), real(3), real(2, 3), real(2, 2, 3)), each(real(), real(3), real(3, 2), real(2, 3, 2)),
                           polynomial=True),
    row(mg.inner,          each(real(), real(3), real(2, 3)), each(real(), real(3), real(2, 2, 3)), polynomial=True),
    row(mg.outer,          each(real(), real(3), real(2, 3), real(0)), each(real(2), real(2, 2)), polynomial=True),
    row(mg.kron,           each(real(), real(3), real(2, 3)), each(real(), real(2), real(2, 2), real(2, 2, 1)), polynomial=True),

    # ---------------------------------------------------------------- linear algebra
    row(linalg.norm,       each(real(3), real(2, 3), real(2, 2, 3), real(), real(0)), keepdims=keep),
    row(linalg.norm,       real(2, 3, 4), each(None, 2, 1, 3, 1.5, 4, np.inf, -np.inf), axis=each(1, -1), keepdims=keep),
    row(linalg.norm,       real(2, 3, 4), each(None, "fro", 1, -1, np.inf, -np.inf), axis=each((0, 1), (-1, 0)), keepdims=keep),
    row(linalg.norm,       real(3, 2), each("fro", 1, np.inf)),
    row(linalg.vector_norm, real(2, 3), each(1, 2, 2.5, 3), axis=each(None, 1, (0, 1)), numpy=p_norm),
    row(linalg.inv,        each(real(3, 3), real(2, 2, 2), real(0, 0))),
    row(linalg.solve,      each(real(3, 3), real(2, 3, 3)), each(real(3), real(3, 2), real(2, 3, 1))),
    row(linalg.det,        each(real(3, 3), real(2, 2, 2), real(1, 1))),
    row(linalg.slogdet,    each(real(3, 3), real(2, 2, 2))),
    row(linalg.logabsdet,  real(3, 3), numpy=lambda a: np.linalg.slogdet(a)[1]),
    row(linalg.sign_of_det, real(2, 3, 3), numpy=lambda a: np.linalg.slogdet(a)[0]),
    row(linalg.cholesky,   each(real(3, 3), real(2, 2, 2)), prepare=positive_definite),
    row(linalg.eigh,       each(real(3, 3), real(2, 2, 2)), prepare=symmetric),
    row(linalg.packed_eigh, real(3, 3), prepare=symmetric, numpy=None),

    # ---------------------------------------------------------------- windows
    row(windows.unfold,    real(2, 2, 5, 4), (2, 2), each((1, 1), (2, 1)), each((0, 0), (1, 0)), each((1, 1), (1, 2)),
                           polynomial=True),
    row(windows.fold,      real(1, 2, 2, 2, 3, 2), (2, 1, 5, 4), (2, 2), (2, 1), (1, 0), (1, 2), polynomial=True),
    row(windows.max_pool,  real(2, 2, 5, 4), (2, 3), (2, 1), (1, 0)),
    row(windows.to_winners, real(2, 2, 3, 2), IMAGES, POOLED, (2, 3), (2, 1), (1, 0)),
    row(windows.of_winners, real(2, 2, 5, 4), IMAGES, POOLED, (2, 3), (2, 1), (1, 0)),

    # ---------------------------------------------------------------- functional
    row(F.leaky_relu,      real, negative_slope=each(0.01, 0.2), numpy=lambda x, negative_slope: np.maximum(x, negative_slope * x)),
    row(F.elu,             real, alpha=each(1.0, 0.5), numpy=lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1))),
    row(F.softplus,        real, beta=each(1.0, 3.0), numpy=lambda x, beta: np.log(1 + np.exp(beta * x)) / beta),
    row(F.silu,            real, numpy=lambda x: x / (1 + np.exp(-x))),
    row(activations.normal_cdf, real, numpy=scipy.stats.norm.cdf),
    row(activations.gelu_tanh,  real),
    row(F.softmax,         each(real(2, 3), real(0, 3), real(3)), axis=-1, numpy=scipy.special.softmax),
    row(F.softmax,         real(2, 3), axis=0, numpy=scipy.special.softmax),
    row(F.log_softmax,     each(real(2, 3), real(0, 3), real(3)), axis=-1, numpy=scipy.special.log_softmax),
    row(F.log_softmax,     real(2, 3), axis=0, numpy=scipy.special.log_softmax),
    row(losses.mean_square, real(2, 3), real(2, 3), numpy=lambda x, target: np.mean((x - target) ** 2)),
    row(losses.log_loss,   each(real(2, 3), real(1, 3)), fixed(2, 3), numpy=lambda x, p: -(p * scipy.special.log_softmax(x, -1)).sum(-1)),
    row(losses.clamped_log, positive, numpy=np.log),
    row(normalization.standardize, each(real(4, 3), real(3)), (0,), each(1e-5, 0.1), numpy=standardized),
    row(normalization.standardize, real(2, 3, 4), each((0, 2), (-1,)), 1e-5, numpy=standardized),
    row(recurrence.lstm_state,  real(2, 12), real(2, 3), numpy=lstm_state),
    row(recurrence.lstm_output, real(2, 12), real(2, 3), numpy=lstm_output),
    row(recurrence.gru,         real(2, 9), real(2, 9), real(2, 3), numpy=gru),

    # ---------------------------------------------------------------- over processes, here a world of one
    row(collectives.total,          real, Serial(), numpy=lambda x, comm: x, polynomial=True),
    row(collectives.replicate,      real, Serial(), numpy=lambda x, comm: x, polynomial=True),
    row(collectives.sum_over_ranks, real, Serial(), numpy=lambda x, comm: x, polynomial=True),
]
# fmt: on

CASES = [case for line in TABLE for case in line]
