"""A streaming standby of a test's own primary."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from pghaul.service.embedded import Cluster
from tests.faults.program import wait_until
from tests.looking import value
from tests.memory import folder_for


@contextmanager
def standby_of(primary: Cluster, **settings: str) -> Iterator[Cluster]:
    """A started standby, made with pg_basebackup; stopped and deleted afterwards."""
    folder = folder_for("standby")
    standby = Cluster(programs=primary.programs, data=folder / "data", settings=primary.settings | settings)
    try:
        yield standby.copy_of(primary).start()
    finally:
        standby.remove()
        shutil.rmtree(folder, ignore_errors=True)


def caught_up(primary: Cluster, standby: Cluster) -> bool:
    """Wait until the standby has replayed what the primary has written by now; whether it did in time."""
    now = value(primary.url(), "SELECT pg_current_wal_lsn()")
    return wait_until(lambda: bool(value(standby.url(), f"SELECT pg_last_wal_replay_lsn() >= '{now}'")))
