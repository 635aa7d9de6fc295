"""What every test run shares: how hypothesis draws, and which files are programs rather than tests.

No fixtures live here, and no random state is seeded: a test that draws numbers makes its own generator, in sight.
"""

from hypothesis import settings

# The same examples every time, on every machine, however slow it is; a failure prints the line that repeats it.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")

# Doctests import every module they are looked for in; these are run by hand and may need what no test does (PyTorch).
collect_ignore_glob = ["golden/make_*.py", "benchmarks/*.py", "cupy/make_*.py", "gpu/bench.py"]
