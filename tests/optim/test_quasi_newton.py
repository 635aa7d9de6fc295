"""LBFGS walks PyTorch's path; BFGS needs as few evaluations as SciPy's; both resume, and undo a step that fails."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn
from minigrad.backend import is_array
from tests.golden.classics import CLASSICS
from tests.golden.paths import load
from tests.optim.against_scipy import SCIPY, ratios, solve
from tests.optim.methods import bumpy, same, snapshot, start
from tests.optim.test_paths import TOLERANCE, walk

# ------------------------------------------------------------------------------------------- the path

PATHS = load("torch_lbfgs_paths")


@pytest.mark.parametrize("k", range(0, len(PATHS), 2), ids=lambda k: " ".join(map(str, PATHS[k][1:4])))
def test_lbfgs_walks_pytorchs_path_until_rounding_parts_them(k):
    name, settings, problem, dtype, path = PATHS[k]
    shaken = PATHS[k + 1][4]
    size = np.abs(path).max()
    error = np.abs(walk(name, settings, problem, dtype) - path).max(axis=1) / size
    # Rounding errors grow here. They may grow as they do in PyTorch, for a start that is one rounding error away.
    spread = np.maximum.accumulate(np.abs(shaken - path).max(axis=1)) / size
    assert (error < TOLERANCE[dtype] + 10 * spread).all()
    assert dtype == "float32" or spread.max() < 1e-6  # so that the comparison says something to the end


# ------------------------------------------------------------------------------------------- how many evaluations


@pytest.mark.parametrize("kind", [optim.BFGS, optim.LBFGS])
@pytest.mark.parametrize("name", CLASSICS)
def test_classic_problems_are_solved(kind, name):
    lowest = CLASSICS[name][2]
    _, slope, loss = solve(kind, name)
    assert slope < 1e-5 or loss - lowest < 1e-10
    assert loss - lowest < 1e-6


@pytest.mark.parametrize("kind", [optim.BFGS, optim.LBFGS])
def test_it_takes_few_more_evaluations_than_scipys(kind):
    assert set(SCIPY) == set(CLASSICS)
    found = ratios(kind)
    assert np.median([*found.values()]) <= 1.3, found
    assert max(found.values()) <= 5, found


def test_with_one_pair_bfgs_and_lbfgs_take_the_same_step():
    """Both begin with a multiple of I that the first pair gives; later pairs change it in LBFGS alone."""
    ends = []
    for kind in (optim.BFGS, optim.LBFGS):
        params = start()
        kind(params, max_iter=2, max_eval=50, line_search_fn="strong_wolfe").step(lambda params=params: bumpy(params))
        ends.append(snapshot(params))
    for p, q in zip(*ends):
        np.testing.assert_allclose(p, q, rtol=1e-12)


def quadratic(n, kappa, seed=0):
    """½ xᵀAx - bᵀx with eigenvalues from 1 to κ."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (Q * np.geomspace(1, kappa, n)) @ Q.T, rng.standard_normal(n)


def exact_on(A):
    """The line search that ends at the minimum of ½ xᵀAx - bᵀx on the line."""

    def search(f, x, d, t, loss, g, max_evaluations):
        t = -(g @ d) / (d @ A @ d)
        return t, *f(x + t * d)

    return search


@pytest.mark.parametrize("kind", [optim.BFGS, optim.LBFGS])
@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_a_quadratic_of_n_variables_takes_n_exact_steps(kind, n):
    A, b = quadratic(n, 50.0)
    p = mg.tensor(np.ones(n), requires_grad=True)
    opt = kind([p], max_iter=n, max_eval=1000, tolerance_change=0.0, line_search_fn=exact_on(A))
    opt.step(lambda: 0.5 * p @ A @ p - b @ p)
    np.testing.assert_allclose(p.data, np.linalg.solve(A, b), rtol=1e-9, atol=1e-9)


def test_bfgs_ends_with_the_inverse_of_the_hessian_of_a_quadratic():
    A, b = quadratic(6, 20.0)
    p = mg.tensor(np.ones(6), requires_grad=True)
    opt = optim.BFGS(
        [p], max_iter=7, max_eval=1000, tolerance_grad=0.0, tolerance_change=0.0, line_search_fn=exact_on(A)
    )
    opt.step(lambda: 0.5 * p @ A @ p - b @ p)
    opt.memory.pop("s")
    np.testing.assert_allclose(opt.memory["B"] @ A, np.eye(6), atol=1e-6)


# ------------------------------------------------------------------------------------------- state

MAKE = {
    "BFGS": lambda params: optim.BFGS(params, max_iter=2),
    "BFGS, fixed steps": lambda params: optim.BFGS(params, lr=0.1, max_iter=2, line_search_fn=None),
    "LBFGS": lambda params: optim.LBFGS(params, lr=0.1, max_iter=2, history_size=3),
    "LBFGS, Wolfe": lambda params: optim.LBFGS(params, max_iter=3, history_size=2, line_search_fn="strong_wolfe"),
}
every = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def steps(opt, params, count, first=0):
    path = []
    for k in range(first, first + count):
        opt.step(lambda k=k: bumpy(params, phase=0.1 * k))
        path.append(snapshot(params))
    return path


@every
def test_a_run_that_was_saved_and_resumed_is_bit_for_bit_one_that_was_not(make, tmp_path):
    params = start()
    whole = steps(make(params), params, 8)
    for stop in (1, 2, 5):
        first = start()
        opt = make(first)
        steps(opt, first, stop)
        mg.save(opt.state_dict(), tmp_path / "state.npz")
        second = [mg.tensor(array, requires_grad=True) for array in snapshot(first)]
        steps(opt, first, 1)
        resumed = make(second)
        resumed.load_state_dict(mg.load(tmp_path / "state.npz"))
        assert same(steps(resumed, second, 8 - stop, first=stop), whole[stop:])


@every
def test_copies_and_pickles_go_on_as_the_original(make):
    params = start()
    opt = make(params)
    steps(opt, params, 3)
    copies = [copy.deepcopy((params, opt)), pickle.loads(pickle.dumps((params, opt)))]
    path = steps(opt, params, 3, first=3)
    for twins, other in copies:
        assert same(steps(other, twins, 3, first=3), path)


@every
def test_float32_stays_float32_and_the_arrays_stay_the_same_objects(make):
    params = start(dtype=np.float32)
    arrays = [p.data for p in params]
    opt = make(params)
    steps(opt, params, 4)
    assert all(p.data is array and array.dtype == np.float32 for p, array in zip(params, arrays))
    remembered = [v for value in opt.memory.values() for v in (value if isinstance(value, list) else [value])]
    assert all(v.dtype == np.float32 for v in remembered if isinstance(v, np.ndarray))


def held(opt):
    """How many numbers there are in all arrays of what a method remembers."""
    values = [v for value in opt.memory.values() for v in (value if isinstance(value, list) else [value])]
    return sum(v.size for v in values if is_array(v))


def wide(n):
    """A loss of many parameters, and these."""
    p = mg.tensor(np.linspace(-1, 1, n), requires_grad=True)
    weights = np.linspace(1, 30, n)
    return p, lambda: (weights * p**2).sum() + (p**4).sum()


@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize("max_iter", [1, 3])
def test_lbfgs_keeps_two_vectors_for_each_step_of_its_history_and_no_more(m, max_iter):
    p, closure = wide(1000)
    opt = optim.LBFGS([p], max_iter=max_iter, max_eval=30, history_size=m, line_search_fn="strong_wolfe")
    sizes = [(opt.step(closure), held(opt))[1] for _ in range(8)]
    assert max(sizes) == sizes[-1] == 2 * m * 1000


def test_while_it_steps_lbfgs_takes_little_more_memory_than_its_history():
    n, m = 20_000, 10
    p, closure = wide(n)
    opt = optim.LBFGS([p], max_iter=1, max_eval=30, history_size=m, tolerance_change=0.0, line_search_fn="strong_wolfe")
    tracemalloc.start()
    for _ in range(m + 5):
        opt.step(closure)
    assert held(opt) == 2 * m * n
    tracemalloc.reset_peak()
    opt.step(closure)
    kept, peak = (size / (8 * n) for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert kept <= 2 * m + 2  # the gradient too
    assert peak <= 2 * m + 16  # two of the pair to be undone; points, gradients and what the closure makes


def test_however_many_pairs_are_refused_lbfgs_goes_on_with_all_but_the_oldest_of_its_history():
    p = mg.tensor(np.array([1.0, -2.0, 3.0]), requires_grad=True)
    scales = np.array([1.0, 3.0, 10.0])
    opt = optim.LBFGS([p], lr=0.1, max_iter=1, history_size=3)
    for _ in range(6):
        opt.step(lambda: (scales * p * p).sum())
    opt.step(lambda: -(scales * p * p).sum())
    before = opt.state_dict()["state"][0]
    for _ in range(4):
        opt.step(lambda: -(scales * p * p).sum())  # where yᵀs < 0
        assert same(
            [opt.memory[name] for name in ("steps", "changes")], [before[name] for name in ("steps", "changes")]
        )
        assert len(opt.memory["steps"]) == 2


# ------------------------------------------------------------------------------------------- bad input


def test_running_statistics_learn_once_a_step():
    mg.manual_seed(0)
    norm = nn.BatchNorm1d(3).to(np.float64)
    x = mg.tensor(np.random.default_rng(0).standard_normal((8, 3)))
    opt = optim.LBFGS(norm.parameters(), line_search_fn="strong_wolfe")
    opt.step(lambda: ((norm(x) - 2 * x) ** 2).sum())
    assert norm.num_batches_tracked.item() == 1


@every
def test_what_a_step_refuses_leaves_everything_as_it_was(make):
    params = start()
    opt = make(params)
    steps(opt, params, 3)
    before, state = snapshot(params), opt.state_dict()
    calls = []

    def fails_late():
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return bumpy(params)

    with pytest.raises(TypeError, match="wants a closure"):
        opt.step()
    with pytest.raises(RuntimeError, match="called backward itself"):
        opt.step(lambda: [loss := bumpy(params), loss.backward()][0])
    with pytest.raises(ValueError, match=r"loss is nan where the step begins.*detect_anomaly"):
        opt.step(lambda: bumpy(params) * np.nan)
    with pytest.raises(KeyboardInterrupt):
        opt.step(fails_late)
    assert same(snapshot(params), before)
    assert same(opt.state_dict(), state)


def test_a_fixed_step_into_the_void_is_undone_and_names_the_line_search():
    p = mg.tensor(np.array([2.0]), requires_grad=True)
    opt = optim.LBFGS([p], lr=3.0)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="strong_wolfe"):
        opt.step(lambda: mg.sqrt(p).sum())
    assert p.item() == 2.0
    assert not opt.memory["t"]


@pytest.mark.parametrize("kind", [optim.BFGS, optim.LBFGS])
def test_bad_settings_are_refused(kind):
    p, q = start(shapes=[(2,), (3,)])
    with pytest.raises(ValueError, match="one parameter group"):
        kind([{"params": [p]}, {"params": [q]}])
    with pytest.raises(ValueError, match="float32 and float64"):
        kind([p, mg.zeros(2, requires_grad=True)])
    for bad in ({"lr": -1.0}, {"max_iter": 0}, {"max_eval": 0}, {"tolerance_grad": -1.0}, {"line_search_fn": "wolf"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            kind([p], **bad)
    opt = kind([p])
    with pytest.raises(TypeError, match="cannot be wrapped"):
        optim.Lookahead(opt)


def test_a_matrix_that_would_not_fit_is_refused_with_its_size():
    p = mg.zeros(10_000_000, requires_grad=True)
    with pytest.raises(MemoryError, match=r"n = 10,000,000.*GiB.*LBFGS"):
        optim.BFGS([p]).step(lambda: (p * p).sum())


@pytest.mark.parametrize("line_search_fn", ["strong_wolfe", None])
def test_a_direction_that_leads_uphill_is_refused_and_changes_nothing(line_search_fn):
    params = start()
    opt = optim.BFGS(params, max_iter=2, line_search_fn=line_search_fn, lr=0.1)
    steps(opt, params, 3)
    state = opt.state_dict()
    state["state"][0]["B"] *= -1  # now -Bg leads uphill
    for name in ("s", "g"):
        del state["state"][0][name]
    opt.load_state_dict(state)
    before = snapshot(params)
    with pytest.raises(ValueError, match=r"BFGS.step: the direction does not lead downhill, its slope .* wanted < 0"):
        opt.step(lambda: bumpy(params))
    assert same(snapshot(params), before)
    assert same(opt.state_dict(), state)


@pytest.mark.parametrize(
    "spoil", [{"steps": [np.zeros(2)]}, {"t": -1}, {"unknown": 3}, {"g": np.zeros((11, 11))}], ids=str
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(spoil):
    params = start()
    opt = MAKE["LBFGS"](params)
    steps(opt, params, 3)
    state = opt.state_dict()
    bad = copy.deepcopy(state)
    bad["state"][0].update(spoil)
    with pytest.raises(ValueError, match=r"LBFGS.load_state_dict"):
        opt.load_state_dict(bad)
    assert same(opt.state_dict(), state)
