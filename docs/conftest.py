"""The pages' code blocks are doctests; what builds the pages needs Sphinx, which no test does."""

collect_ignore_glob = ["conf.py", "extensions/*"]
