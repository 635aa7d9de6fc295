# Everything is done from here; `make` alone lists it. The only requirements are python3 (3.11 or newer), git and make.
# Another Python: make train PYTHON=python3.12 (after make clean, if an environment was already made).

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

# One BLAS thread per process: at these sizes two are slower than one, and the tests run on every core anyway.
PINNED := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1
PYTEST := $(PINNED) MPLBACKEND=agg $(PY) -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help train test test-slow bench docs lint types format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/examples.stamp ## learn real handwritten digits (examples/digits.py)
	$(PINNED) $(PY) examples/digits.py

test: lint types ## everything that a change must pass: lint, types, tests, doctests (at most 5 minutes)
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/dev.stamp ## the long runs, and all tests once more on the double of a GPU
	$(PYTEST) -m slow
	$(PYTEST) -p tests.cupy.suite tests

bench: $(VENV)/dev.stamp ## time the engine against NumPy by hand (and PyTorch, where it is installed)
	$(PINNED) $(PY) tests/benchmarks/bench.py

# The examples that the pages show: what they print goes into a file, beside the pictures that they draw.
SHOWN := xor_from_scratch digits numeric_gradient moons deep_plain_vs_residual char_lm \
         race compare_optimizers first_steps_of_adam averages schedules sharp_and_flat newton_and_friends kfac_digits \
         saddles condition_number convexity gradient_noise landscape_of_a_network distributed_digits parameter_server \
         pipeline

docs: $(VENV)/docs.stamp $(SHOWN:%=examples/output/%.txt) ## the book: docs/_build/html/index.html (warnings are errors, nothing is fetched)
	$(PY) -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --write-all docs docs/_build/html
	@echo "The book is in docs/_build/html/index.html"

examples/output/%.txt: examples/%.py | $(VENV)/docs.stamp
	@mkdir -p $(@D)
	$(PINNED) $(PY) $< >$@

lint: $(VENV)/dev.stamp ## ruff: rules and layout, nothing changed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/dev.stamp ## mypy
	$(PY) -m mypy

format: $(VENV)/dev.stamp ## ruff: mend what it can, lay the code out
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

clean: ## remove the environment and all that was generated
	rm -rf $(VENV) build dist docs/_build examples/output *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp NAME.stamp says that this checkout, with its extra NAME, was installed to the end; it is older
# than setup.cfg when the requirements may have changed, and older than the Python when that was replaced.
$(VENV)/%.stamp: setup.cfg pyproject.toml $(PY)
	@echo "Installing minigrad and what its extra '$*' names into $(VENV): once, about a minute ..."
	@$(PY) -m ensurepip >/dev/null # does nothing, unless the making of the environment was cut short
	@$(PY) -m pip install -qq --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(PY):
	@command -v "$(PYTHON)" >/dev/null || { \
	    echo "There is no program '$(PYTHON)' here. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3" \
	         "python3-venv), or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "minigrad needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." \
	         "Name a newer one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' comes without the venv module, which minigrad needs to keep its packages apart from the system's." \
	         "On Debian or Ubuntu: apt install python3-venv (as root), then the same make again." >&2; exit 1; }
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
