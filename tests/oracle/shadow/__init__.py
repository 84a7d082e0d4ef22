"""The driver's connect() led to a stand-in, here and in the processes that are started meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import oracledb
import pytest

from tests.oracle.stand_in import StandIn

SHADOW, ROOT = (str(p) for p in (Path(__file__).parent, Path(__file__).parents[3]))


@contextmanager
def driving(stand: StandIn, factory: str) -> Iterator[None]:
    """`factory`: "module:function" that makes such a database anew, for another process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracledb, "connect", stand.connect)
        patch.setenv("ORACLE_STAND_IN", factory)
        given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
        patch.setenv("PYTHONPATH", os.pathsep.join((SHADOW, ROOT, *given)))
        patch.syspath_prepend(SHADOW)  # workers are given this process's path
        yield
