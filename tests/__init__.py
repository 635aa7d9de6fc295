"""The tests, in the tree of what they test; a package, so that `from tests.ops.cases import ...` works everywhere."""
