"""One lane for the tests that play cases: its servers are crashed on purpose, so nobody else may use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.components import need
from tests.faults.lane import Lane, open_lane


@pytest.fixture(scope="session")
def lane() -> Iterator[Lane]:
    need("PostgreSQL 16")
    need("PostgreSQL 18")
    with open_lane() as lane:
        yield lane
