"""Reference paths: what libraries that no one here wrote compute, and the scripts (`make_*.py`) that made them."""
