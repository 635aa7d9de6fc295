"""What must not be done with an optimizer: each bad call names the culprit, and nothing has changed after it.

One table: the exception, words its message must hold, and the call. `p` (2,) and `q` (3,) are parameters; `sgd`, `adam`,
`nag`, `lookahead` (round `inner`), `sam` and `averaged` are optimizers of them that have made two steps.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from optim.averages import EWMA, SMA, WMA
from tests.optim.methods import same, snapshot, start


def fresh():
    p, q = start(shapes=[(2,), (3,)])
    s = SimpleNamespace(p=p, q=q, both=[p, q], n=mg.tensor([1, 2]), loss=lambda: (p * p).sum() + (q * q).sum())
    s.sgd = optim.SGD(s.both, lr=0.1, momentum=0.9)
    s.adam = optim.Adam([{"params": [p]}, {"params": [q], "lr": 0.2}])
    s.nag = optim.NAG(s.both, lr=0.1)
    s.inner = optim.SGD(s.both, lr=0.1)
    s.lookahead = optim.Lookahead(s.inner, k=3)
    s.sam = optim.SAM(optim.SGD(s.both, lr=0.1))
    s.averaged = optim.Averaged(optim.SGD(s.both, lr=0.1), lambda: SMA(3))
    s.optimizers = [s.sgd, s.adam, s.nag, s.lookahead, s.sam, s.averaged]
    for opt in s.optimizers:
        opt.step(s.loss)
        opt.step(s.loss)
    return s


def state(s):
    grads = [None if t.grad is None else t.grad.data.copy() for t in s.both]
    return [snapshot(s.both), grads, [opt.state_dict() for opt in s.optimizers]]


def closure_that_differentiates(s):
    def closure():
        loss = s.loss()
        loss.backward()
        return loss

    s.sgd.step(closure)


def closure_that_fails(s):
    def closure():
        s.loss().backward()
        raise ZeroDivisionError("the user's own")

    s.sgd.step(closure)


def closure_without_recording(s):
    def closure():
        with mg.no_grad():
            return s.loss()

    s.adam.step(closure)


def loaded(opt, **changes):
    """Load a state dict of its own with something wrong in it."""
    opt.load_state_dict({**opt.state_dict(), **changes})


def wrong_shape(s):
    saved = s.sgd.state_dict()
    saved["state"][1]["v"] = np.zeros(4)
    s.sgd.load_state_dict(saved)


def missing_state(s):
    saved = s.adam.state_dict()
    del saved["state"][0]["m"]
    s.adam.load_state_dict(saved)


def foreign_state(s):
    saved = s.sgd.state_dict()
    saved["state"][0]["exp_avg"] = np.zeros(2)
    s.sgd.load_state_dict(saved)


def negative_clock(s):
    saved = s.sgd.state_dict()
    saved["state"][0]["t"] = -1
    s.sgd.load_state_dict(saved)


def bad_setting_in_group(s):
    saved = s.adam.state_dict()
    saved["param_groups"][1]["betas"] = (0.9, 1.0)
    s.adam.load_state_dict(saved)


def state_of_nobody(s):
    saved = s.sgd.state_dict()
    saved["state"][7] = saved["state"][0]
    s.sgd.load_state_dict(saved)


def slow_weights_of_wrong_shape(s):
    saved = s.lookahead.state_dict()
    saved["memory"]["slow"][0] = np.zeros(9)
    s.lookahead.load_state_dict(saved)


def broken_base_of_a_wrapper(s):
    saved = s.lookahead.state_dict()
    saved["memory"]["t"] = 7
    saved["base"]["param_groups"][0]["lr"] = -1.0
    s.lookahead.load_state_dict(saved)


def averages_of_another_kind(s):
    saved = s.averaged.state_dict()
    saved["memory"]["averages"][0] = EWMA().state_dict()
    s.averaged.load_state_dict(saved)


def group(s, **changes):
    s.adam.param_groups[1].update(changes)


class OwnStep(optim.Optimizer):
    """Takes gradients within its step."""

    def update(self, p, g, *, lr=1.0): ...

    def step(self, closure): ...


NAN, INF = float("nan"), float("inf")
# fmt: off
BAD = {
    "a negative rate":           (ValueError, "SGD: lr = -0.1; wanted a finite number >= 0",     lambda s: optim.SGD(s.both, lr=-0.1)),
    "a rate that is NaN":        (ValueError, "Adam: lr = nan",                                  lambda s: optim.Adam(s.both, lr=NAN)),
    "an infinite rate":          (ValueError, "Adagrad: lr = inf",                               lambda s: optim.Adagrad(s.both, lr=INF)),
    "a rate that is text":       (TypeError,  "SGD: lr = '0.1'; wanted a value such as 0.001",   lambda s: optim.SGD(s.both, lr="0.1")),
    "a rate that is a bool":     (TypeError,  "SGD: lr = True",                                  lambda s: optim.SGD(s.both, True)),
    "a rate that is a Tensor":   (TypeError,  "SGD: lr = tensor",                                lambda s: optim.SGD(s.both, lr=mg.tensor(0.1))),
    "β₁ of 1":                   (ValueError, "Adam: betas = (1.0, 0.9)",                        lambda s: optim.Adam(s.both, betas=(1.0, 0.9))),
    "a negative β₂":             (ValueError, "AdamW: betas = (0.9, -0.1); wanted 0 <= value",   lambda s: optim.AdamW(s.both, betas=(0.9, -0.1))),
    "one β":                     (TypeError,  "RAdam: betas = 0.9; wanted a value such as (0.9", lambda s: optim.RAdam(s.both, betas=0.9)),
    "three β":                   (TypeError,  "LAMB: betas",                                     lambda s: optim.LAMB(s.both, betas=(0.9, 0.9, 0.9))),
    "an α of 1":                 (ValueError, "RMSprop: alpha = 1.0",                            lambda s: optim.RMSprop(s.both, alpha=1.0)),
    "a negative ε":              (ValueError, "Adam: eps = -1e-08",                              lambda s: optim.Adam(s.both, eps=-1e-8)),
    "a negative decay":          (ValueError, "NAG: weight_decay = -0.1",                        lambda s: optim.NAG(s.both, weight_decay=-0.1)),
    "a decay that is NaN":       (ValueError, "SGD: weight_decay = nan",                         lambda s: optim.SGD(s.both, weight_decay=NAN)),
    "a negative momentum":       (ValueError, "SGD: momentum = -0.9",                            lambda s: optim.SGD(s.both, momentum=-0.9)),
    "a flag that is a number":   (TypeError,  "SGD: nesterov = 1; wanted a value such as False", lambda s: optim.SGD(s.both, momentum=0.9, nesterov=1)),
    "nesterov without momentum": (ValueError, "nesterov=True wants momentum > 0",                lambda s: optim.SGD(s.both, nesterov=True)),
    "nesterov with dampening":   (ValueError, "and dampening = 0",                               lambda s: optim.SGD(s.both, momentum=0.9, dampening=0.1, nesterov=True)),
    "an unknown momentum form":  (ValueError, "momentum_form = 'heavy'; wanted one of 'accumulate', 'velocity', 'ewma'", lambda s: optim.SGD(s.both, momentum_form="heavy")),
    "dampening of a velocity":   (ValueError, "dampening belongs to the form 'accumulate'",      lambda s: optim.SGD(s.both, momentum=0.9, dampening=0.1, momentum_form="velocity")),
    "a threshold below 4":       (ValueError, "RAdam: rho_threshold = 3",                        lambda s: optim.RAdam(s.both, rho_threshold=3.0)),
    "bounds the wrong way":      (ValueError, "LAMB: norm_bounds = (2.0, 1.0)",                  lambda s: optim.LAMB(s.both, norm_bounds=(2.0, 1.0))),
    "a negative accumulator":    (ValueError, "initial_accumulator_value = -1",                  lambda s: optim.Adagrad(s.both, initial_accumulator_value=-1.0)),
    "an unknown setting":        (TypeError,  "Adam: unknown setting 'beta1'; it takes lr, betas, eps", lambda s: optim.Adam(s.both, beta1=0.9)),
    "PyTorch's foreach":         (TypeError,  "SGD: unknown setting 'foreach'",                  lambda s: optim.SGD(s.both, foreach=True)),
    "PyTorch's capturable":      (TypeError,  "RMSprop: unknown setting 'capturable'",           lambda s: optim.RMSprop(s.both, capturable=False)),
    "too many by position":      (TypeError,  "NAG: takes params, lr, momentum",                 lambda s: optim.NAG(s.both, 0.1, 0.9, 0.0, False, 7)),
    "a setting given twice":     (TypeError,  "SGD: lr is given by position and by name",        lambda s: optim.SGD(s.both, 0.1, lr=0.2)),

    "no parameters":             (ValueError, "SGD: got no parameters",                          lambda s: optim.SGD([])),
    "a used-up generator":       (ValueError, "was model.parameters() used up before?",          lambda s: optim.SGD(x for x in [])),
    "one Tensor":                (TypeError,  "a list of Tensors or of dicts, got one Tensor",   lambda s: optim.SGD(s.p)),
    "a parameter twice":         (ValueError, "SGD: parameter 2 of shape (2,) is given twice",   lambda s: optim.SGD([s.p, s.q, s.p])),
    "a parameter in two groups": (ValueError, "of shape (2,) is given twice",                    lambda s: optim.SGD([{"params": [s.p]}, {"params": [s.q, s.p]}])),
    "integers":                  (TypeError,  "parameter 1 is int64; only floats",               lambda s: optim.SGD([s.p, s.n])),
    "an array":                  (TypeError,  "parameter 0 is a ndarray, wanted a Tensor",       lambda s: optim.SGD([np.ones(2)])),
    "what was computed":         (ValueError, "parameter 0 was computed",                        lambda s: optim.SGD([s.p * 2])),
    "a group without params":    (ValueError, "with the key 'params', got the keys ['lr']",      lambda s: optim.SGD([{"lr": 0.1}])),
    "an empty group":            (ValueError, "a parameter group without parameters",            lambda s: s.adam.add_param_group({"params": []})),
    "a known parameter added":   (ValueError, "parameter 0 of shape (3,) is given twice",        lambda s: s.adam.add_param_group({"params": [s.q]})),
    "a bad rate in a group":     (ValueError, "SGD: lr = -1",                                    lambda s: optim.SGD([{"params": [s.p]}, {"params": [s.q], "lr": -1}])),
    "a bad rate set later":      (ValueError, "Adam: lr = nan",                                  lambda s: group(s, lr=NAN)),
    "an unknown name set later": (TypeError,  "Adam: unknown setting 'learning_rate'",           lambda s: group(s, learning_rate=0.1)),
    "params set later":          (TypeError,  "add_param_group",                                 lambda s: group(s, params=[s.p])),

    "a closure that called backward": (RuntimeError, "SGD.step: the closure called backward itself; let it compute and return the loss alone", closure_that_differentiates),
    "a closure that fails":      (ZeroDivisionError, "the user's own",                           closure_that_fails),
    "a closure without a loss":  (TypeError,  "SGD.step: the closure returned NoneType, wanted the loss", lambda s: s.sgd.step(lambda: None)),
    "a closure of a number":     (TypeError,  "the closure returned float",                      lambda s: s.sgd.step(lambda: s.loss().item())),
    "a closure of many losses":  (ValueError, "a Tensor of shape (2,)",                          lambda s: s.sgd.step(lambda: s.p * s.p)),
    "a closure under no_grad":   (ValueError, "requires_grad=False",                             closure_without_recording),
    "NAG without a closure":     (TypeError,  "NAG.step: wants a closure",                       lambda s: s.nag.step()),
    "SAM without a closure":     (TypeError,  "SAM.step: wants a closure",                       lambda s: s.sam.step()),
    "a wrapper of one that needs a closure": (TypeError, "Lookahead.step: wants a closure",      lambda s: optim.Lookahead(s.sam).step()),

    "not a state dict":          (ValueError, "SGD.load_state_dict: wanted a dict of param_groups, state; got list", lambda s: s.sgd.load_state_dict([1])),
    "a foreign dict":            (ValueError, "wanted a dict of param_groups, state; got weight", lambda s: s.sgd.load_state_dict({"weight": 1})),
    "another optimizer's":       (ValueError, "SGD.load_state_dict: group 0: wanted a dict of dampening, lr", lambda s: s.sgd.load_state_dict(optim.Adam(s.both).state_dict())),
    "too few groups":            (ValueError, "Adam.load_state_dict: 1 parameter groups, wanted 2", lambda s: s.adam.load_state_dict(optim.Adam(s.both).state_dict())),
    "too few parameters":        (ValueError, "1 parameters in group 0, wanted 2",               lambda s: s.sgd.load_state_dict(optim.SGD([s.p]).state_dict())),
    "a state of another shape":  (ValueError, "state of parameter 1: v has shape (4,); its parameter has (3,)", wrong_shape),
    "a state that is missing":   (ValueError, "state of parameter 0: wanted a dict of m, t, v, v_max; got", missing_state),
    "a state that is foreign":   (ValueError, "got t, v, exp_avg",                               foreign_state),
    "a state of no parameter":   (ValueError, "state of parameter 7, which is in no group",      state_of_nobody),
    "a negative clock":          (ValueError, "state of parameter 0: t = -1; wanted an integer >= 0", negative_clock),
    "a bad setting in it":       (ValueError, "Adam: betas = (0.9, 1.0)",                        bad_setting_in_group),
    "a base's for its wrapper":  (ValueError, "Lookahead.load_state_dict: wanted a dict of base, memory, settings", lambda s: s.lookahead.load_state_dict(s.inner.state_dict())),
    "another wrapper's":         (ValueError, "Lookahead.load_state_dict: settings: wanted a dict of alpha, k", lambda s: s.lookahead.load_state_dict(s.sam.state_dict())),
    "slow weights of another shape": (ValueError, "slow weights of parameter 0 has shape (9,)",  slow_weights_of_wrong_shape),
    "a wrapper's bad base":      (ValueError, "SGD: lr = -1.0",                                  broken_base_of_a_wrapper),
    "averages of another kind":  (ValueError, "SMA.load_state_dict",                             averages_of_another_kind),
    "a bad wrapper setting":     (ValueError, "Lookahead: k = 0",                                lambda s: loaded(s.lookahead, settings={"k": 0, "alpha": 0.5})),

    "a wrapper of parameters":   (TypeError,  "Lookahead: base is a list, wanted an optimizer",  lambda s: optim.Lookahead(s.both)),
    "a wrapper of a step of its own": (TypeError, "Averaged: OwnStep takes gradients within its step", lambda s: optim.Averaged(OwnStep(s.both), lambda: SMA(2))),
    "k = 0":                     (ValueError, "Lookahead: k = 0; wanted",                        lambda s: optim.Lookahead(s.inner, k=0)),
    "k = 2.5":                   (TypeError,  "Lookahead: k = 2.5",                              lambda s: optim.Lookahead(s.inner, k=2.5)),
    "α of 0":                    (ValueError, "Lookahead: alpha = 0.0; wanted 0 < alpha <= 1",   lambda s: optim.Lookahead(s.inner, alpha=0.0)),
    "a negative ρ":              (ValueError, "SAM: rho = -0.05",                                lambda s: optim.SAM(s.inner, rho=-0.05)),
    "η without adaptive":        (ValueError, "SAM: eta belongs to adaptive=True",               lambda s: optim.SAM(s.inner, eta=0.1)),
    "an average, not its maker": (TypeError,  "Averaged: make_average is <optim.averages",       lambda s: optim.Averaged(s.inner, SMA(3))),
    "SMA of 0":                  (ValueError, "SMA: k = 0; wanted an integer >= 1",              lambda s: SMA(0)),
    "SMA of 2.5":                (ValueError, "SMA: k = 2.5",                                    lambda s: SMA(2.5)),
    "WMA of nothing":            (ValueError, "WMA: weights = []",                               lambda s: WMA([])),
    "WMA of text":               (ValueError, "WMA: weights = ['x']",                            lambda s: WMA(["x"])),
    "fitted to another length":  (ValueError, "WMA.fitted: series of shape (9,) and (8,)",       lambda s: WMA.fitted(np.ones(9), np.ones(8), 3)),
    "fitted to too little":      (ValueError, "wanted (n,) both, n > k = 9",                     lambda s: WMA.fitted(np.ones(9), np.ones(9), 9)),
    "fitted for k = 0":          (ValueError, "WMA.fitted: k = 0; wanted an integer >= 1",       lambda s: WMA.fitted(np.ones(9), np.ones(9), 0)),
    "EWMA of text":              (ValueError, "EWMA: alpha = 'x'",                               lambda s: EWMA("x")),
    "WMA of NaN":                (ValueError, "WMA: weights = [1.0, nan]",                       lambda s: WMA([1.0, NAN])),
    "WMA that adds up to 0":     (ValueError, "add up to no zero",                               lambda s: WMA([1.0, -1.0])),
    "EWMA of 1":                 (ValueError, "EWMA: alpha = 1",                                 lambda s: EWMA(1)),
    "EWMA from nowhere":         (ValueError, "EWMA: start = 'last'",                            lambda s: EWMA(0.9, "last")),
    "correction of no bias":     (ValueError, "bias_correction belongs to start='zero'",         lambda s: EWMA(0.9, bias_correction=True)),
    "the value of no values":    (ValueError, "SMA.value: no values yet",                        lambda s: SMA(3).value),
    "the EWMA of no values":     (ValueError, "EWMA.value: no values yet",                       lambda s: EWMA().value),
}
# fmt: on


@pytest.mark.parametrize("error, words, call", BAD.values(), ids=BAD)
def test_a_bad_call_names_the_culprit_and_changes_nothing(error, words, call):
    s = fresh()
    s.loss().backward()
    before = state(s)
    with pytest.raises(error) as caught:
        call(s)
    assert words in str(caught.value)
    assert same(state(s), before)


def test_an_update_whose_signature_cannot_be_read_is_refused_when_it_is_written():
    with pytest.raises(TypeError, match=r"Forgot.update: lr is neither state nor a setting.*settings follow a \*"):

        class Forgot(optim.Optimizer):
            def update(self, p, g, lr=0.1):
                p -= lr * g

    with pytest.raises(TypeError, match="NoDefault.update: rate is neither state nor a setting"):

        class NoDefault(optim.Optimizer):
            def update(self, p, g, v, *, t, rate):
                p -= rate * g


def test_a_model_in_the_place_of_its_parameters_is_told_what_to_give():
    net = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"Adam: .*use model.parameters\(\)"):
        optim.Adam(net)
    with pytest.raises(ValueError, match="plain Tensor and no nn.Parameter"):
        optim.Adam(nn.Tanh().parameters())
