"""Write `optax_paths.npz`: fifty steps of what PyTorch does not have, or has in one variant only.

LAMB, Lookahead, SAM, and ε inside the root (Adagrad, RMSprop, Adam), as optax computes them in JAX, on the problems of
`paths.py`. Run from the root of the checkout where both are installed: ``python -m tests.golden.make_optax_paths``. The
file in the repository was made by optax 0.2.8 and JAX 0.10.2; both versions are stored in it.

Settings are stored under minigrad's names; those of a wrapper hold those of its base: {"base": ["SGD", {...}], "k": 5}.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

from tests.golden.make_torch_paths import product
from tests.golden.paths import PROBLEMS, STEPS, save

jax.config.update("jax_enable_x64", True)

SGD, MOMENTUM = ["SGD", {}], ["SGD", {"momentum": 0.9}]
ADAM, LAMB = ["Adam", {}], ["LAMB", {"weight_decay": 0.1}]
SETTINGS = {
    "Adagrad": product(initial_accumulator_value=[0.1, 0.5], eps=[1e-3], eps_inside_root=[True]),
    "RMSprop": product(alpha=[0.9], eps=[1e-3], centered=[False, True], eps_inside_root=[True]),
    "Adam": product(betas=[(0.9, 0.999), (0.8, 0.98)], eps=[1e-3], eps_inside_root=[True]),
    "LAMB": product(weight_decay=[0.0, 0.1], betas=[(0.9, 0.999), (0.8, 0.98)], eps=[1e-6, 1e-2]),
    "Lookahead": product(base=[SGD, MOMENTUM, ADAM, LAMB], k=[1, 3, 5], alpha=[0.5, 0.8]),
    "SAM": product(base=[SGD, MOMENTUM, ADAM, LAMB], rho=[0.01, 0.05]),
}
RATES = {
    "SGD": {"quadratic": 0.2, "rosenbrock": 1e-4, "mlp": 0.1},
    "Adagrad": {"quadratic": 0.3, "rosenbrock": 0.1, "mlp": 0.05},
    "RMSprop": {"quadratic": 0.02, "rosenbrock": 0.01, "mlp": 0.005},
    "Adam": {"quadratic": 0.1, "rosenbrock": 0.05, "mlp": 0.02},
    "LAMB": {"quadratic": 0.05, "rosenbrock": 0.02, "mlp": 0.02},
}


def transformation(name, settings):
    """The same update as one of optax's."""
    s = {"betas": (0.9, 0.999), "eps": 1e-8, **settings}
    b1, b2 = s["betas"]
    match name:
        case "SGD":
            return optax.sgd(s["lr"], momentum=s.get("momentum"))
        case "Adagrad":
            return optax.adagrad(s["lr"], initial_accumulator_value=s["initial_accumulator_value"], eps=s["eps"])
        case "RMSprop":
            return optax.rmsprop(s["lr"], decay=s["alpha"], eps=s["eps"], centered=s["centered"], eps_in_sqrt=True)
        case "Adam" if "eps_inside_root" in s:
            return optax.adam(s["lr"], b1=b1, b2=b2, eps=0.0, eps_root=s["eps"])
        case "Adam":
            return optax.adam(s["lr"], b1=b1, b2=b2, eps=s["eps"])
        case "LAMB":
            eps = settings.get("eps", 1e-6)
            return optax.lamb(s["lr"], b1=b1, b2=b2, eps=eps, weight_decay=s["weight_decay"])
        case "Lookahead":
            return optax.lookahead(transformation(*s["base"]), s["k"], s["alpha"])
        case "SAM":
            ascent = optax.chain(contrib.normalize(), optax.sgd(s["rho"]))
            return contrib.sam(transformation(*s["base"]), ascent, opaque_mode=True)


def walk(name, settings, problem, dtype):
    """All parameters after each stored step, one row each."""
    loss_of, start, stored = PROBLEMS[problem]
    params = [jnp.asarray(part, dtype) for part in start]
    gradient = jax.jit(jax.grad(lambda params: loss_of(params, lambda array: jnp.asarray(array, dtype), jnp.tanh)))
    method = transformation(name, settings)
    slow_and_fast = name == "Lookahead"
    if slow_and_fast:
        params = optax.LookaheadParams.init_synced(params)
    state = method.init(params)
    extra = {"grad_fn": lambda params, _: gradient(params)} if name == "SAM" else {}
    step = jax.jit(lambda g, state, params: method.update(g, state, params, **extra))
    rows = []
    for k in range(1, STEPS + 1):
        updates, state = step(gradient(params.fast if slow_and_fast else params), state, params)
        params = optax.apply_updates(params, updates)
        if k in stored:
            rows.append(np.concatenate([np.ravel(p) for p in (params.fast if slow_and_fast else params)]))
    return np.array(rows)


if __name__ == "__main__":
    cases = []
    for name, problem in itertools.product(SETTINGS, PROBLEMS):
        for chosen in SETTINGS[name]:
            settings = dict(chosen)
            if "base" in settings:
                base, own = settings["base"]
                settings["base"] = [base, {"lr": RATES[base][problem], **own}]
            else:
                settings["lr"] = RATES[name][problem]
            for dtype in ("float32", "float64"):
                cases.append((name, settings, problem, dtype, walk(name, settings, problem, dtype)))
    save("optax_paths", cases, f"optax {optax.__version__}, JAX {jax.__version__}")
    print(len(cases), "paths")
