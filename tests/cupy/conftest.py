"""In these tests the device "cuda" is the double."""

import pytest

from tests.cupy.double import pretended


@pytest.fixture
def double():
    with pretended():
        yield
