"""What every method that uses curvature refuses, by name, with parameters and state left as they were."""

import copy

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import functional as F
from minigrad import nn
from tests.optim.methods import same, snapshot

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((20, 3)), RNG.integers(0, 4, 20)

METHODS = {
    "Newton": lambda model: optim.Newton(model.parameters(), damping=0.1),
    "Newton, strong Wolfe": lambda model: optim.Newton(model.parameters(), line_search_fn="strong_wolfe"),
    "BFGS": lambda model: optim.BFGS(model.parameters(), max_iter=2),
    "LBFGS": lambda model: optim.LBFGS(model.parameters(), lr=0.1, max_iter=2),
    "NaturalGradient": optim.NaturalGradient,
    "NaturalGradient, cg": lambda model: optim.NaturalGradient(model, solver="cg"),
    "KFAC": optim.KFAC,
}


def network():
    mg.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).to(np.float64)


def loss_of(model, factor=1.0):
    return F.cross_entropy(model(mg.tensor(X)), mg.tensor(LABELS)) * factor


def differentiated(model):
    loss = loss_of(model)
    loss.backward()
    return loss


def interrupted(model):
    loss_of(model)
    raise KeyboardInterrupt


# fmt: off
BAD = {  # the closure: what is raised, and what the message says
    "no closure":             (None,                                   TypeError,         "wants a closure that returns the loss.*got NoneType"),
    "a loss":                 (loss_of,                                TypeError,         "wants a closure that returns the loss.*got Tensor"),
    "differentiated already": (lambda model: lambda: differentiated(model), RuntimeError, "closure called backward itself.*return the loss alone"),
    "nothing returned":       (lambda model: lambda: None,             TypeError,         "returned NoneType, wanted the loss"),
    "many losses":            (lambda model: lambda: model(mg.tensor(X)), ValueError,     r"shape \(20, 4\).*one element"),
    "NaN":                    (lambda model: lambda: loss_of(model, np.nan), ValueError,  "loss is nan where the step begins.*detect_anomaly"),
    "infinity":               (lambda model: lambda: loss_of(model) + np.inf, ValueError,  "loss is inf where the step begins.*detect_anomaly"),
    "interrupted":            (lambda model: lambda: interrupted(model), KeyboardInterrupt, None),
}
# fmt: on


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_closure_is_refused_and_changes_nothing(method, bad):
    model = network()
    opt = METHODS[method](model)
    for _ in range(2):
        opt.step(lambda: loss_of(model))
    before, state = snapshot(model.parameters()), copy.deepcopy(opt.state_dict())
    make, error, words = BAD[bad]
    with pytest.raises(error, match=words):
        opt.step(make(model) if make else None)
    assert same(snapshot(model.parameters()), before)
    assert same(opt.state_dict(), state)


@pytest.mark.parametrize("kind", [optim.Newton, optim.BFGS, optim.LBFGS])
def test_several_groups_are_refused(kind):
    first, second = ([layer.weight, layer.bias] for layer in (nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=f"{kind.__name__}: takes one parameter group, as it sees all"):
        kind([{"params": first}, {"params": second}])
    opt = kind(first)
    with pytest.raises(ValueError, match=f"{kind.__name__}: takes one parameter group, as it sees all"):
        opt.add_param_group({"params": second})
    assert len(opt.param_groups) == 1


@pytest.mark.parametrize("kind", [optim.Newton, optim.NaturalGradient, optim.KFAC])
def test_negative_damping_is_refused_also_where_it_is_set_later(kind):
    model = network()
    takes = model.parameters() if kind is optim.Newton else model
    with pytest.raises(ValueError, match=f"{kind.__name__}: damping = -0.1; wanted a finite number >= 0"):
        kind(takes, damping=-0.1)
    opt = kind(network().parameters() if kind is optim.Newton else model, damping=0.1)
    with pytest.raises(ValueError, match=f"{kind.__name__}: damping = -0.1; wanted a finite number >= 0"):
        opt.param_groups[0]["damping"] = -0.1
    assert opt.param_groups[0]["damping"] == 0.1
