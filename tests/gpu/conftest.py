"""Every test in here is marked `gpu`, and is skipped, with the reason, where no array can go to a GPU."""

import pytest

import minigrad as mg


def missing():
    """Why there is no GPU, or None where there is one."""
    try:
        mg.ones(1).to("cuda")
    except Exception as error:
        return f"no GPU: {error}"
    return None


def pytest_collection_modifyitems(items):
    here = [item for item in items if "tests/gpu" in item.path.as_posix()]
    reason = missing() if here else None
    for item in here:
        item.add_marker(pytest.mark.gpu)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
