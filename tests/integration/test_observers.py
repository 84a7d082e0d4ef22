"""Who looks on for hours outlives its connections: the gauges of a run's care, and a watcher of the state store."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from tests.conftest import running_server
from tests.databases import DatabasePair
from tests.faults.program import PATIENCE, wait_until

from pghaul.engine import care
from pghaul.engine.care import CareTaker
from pghaul.model.errors import PghaulError
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Options, Plan
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run, RunState
from pghaul.postgres.dsn import resolve
from pghaul.postgres.settings import Role
from pghaul.service.migration import Look, MigrationService
from pghaul.service.watching import follow
from pghaul.store.repository import Store

RUN = "0123456789ab"
GAUGES = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pghaul/test/1/care'"
END = "SELECT pg_terminate_backend(%s, 5000)"
END_OTHERS = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_a_gauge_whose_session_was_ended_measures_on(db_pair: DatabasePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither lets the run go in between, nor says that it cannot be measured."""
    monkeypatch.setattr(care, "LOOK_EVERY", 0.0)
    said: list[str] = []
    ends: dict[Role, Endpoint] = {"source": resolve(db_pair.source), "target": resolve(db_pair.target)}
    taker = CareTaker(Options(max_source_sessions=0), ends, "pghaul/test/1/care", said.append)
    with (
        psycopg.connect(db_pair.source, autocommit=True) as busy,
        psycopg.connect(db_pair.source, autocommit=True) as admin,
    ):
        worker = threading.Thread(target=_work_until_cancelled, args=(busy,))
        worker.start()
        try:
            assert wait_until(lambda: taker.why() is not None)
            for _ in range(3):
                before = admin.execute(GAUGES).fetchall()
                assert len(before) == 1
                admin.execute(END, before[0])
                assert taker.why() == "sessions at work on the source: 1, more than 0"
                assert admin.execute(GAUGES).fetchall() not in ([], before)
        finally:
            busy.cancel_safe()
            worker.join()
            taker.close()
    assert said == []


def _work_until_cancelled(session: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        session.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")


def test_a_watcher_outlives_sessions_and_a_restart_of_the_state_s_server() -> None:
    with running_server(16) as server:
        store = Store(server.url())
        started = Run(
            id=RUN, state=RunState.RUNNING, source="a", target="b", started=datetime.now(UTC), pid=os.getpid()
        )
        store.create_run(
            started,
            Plan(source="host=a", target="host=b", whole=True),
            Manifest(tables=(), placements=(), chunks=(), identities=("a", "b"), not_carried=()),
        )
        heard: list[str] = []
        service = Counting(server.url())
        watcher = threading.Thread(target=_follow, args=(service, heard), daemon=True)
        watcher.start()
        _tell(store, heard, "first")
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(END_OTHERS)
        _tell(store, heard, "after its sessions were ended")
        server.stop()
        assert wait_until(lambda: service.failed >= 2)
        server.start()
        _tell(store, heard, "after a restart")
        store.save_run(replace(started, state=RunState.DONE))
        watcher.join(PATIENCE)
        assert not watcher.is_alive()
        assert heard[-1] == "the end"
        store.close()


def _tell(store: Store, heard: list[str], words: str) -> None:
    store.save_event(Event(kind=EventKind.WARNING, run=RUN, message=words))
    assert wait_until(lambda: words in heard), heard


class Counting(MigrationService):
    """Counts the looks that failed."""

    failed = 0

    def look(self, run_id: str, last: int = 0) -> Look:
        try:
            return super().look(run_id, last)
        except PghaulError:
            self.failed += 1
            raise


def _follow(service: MigrationService, heard: list[str]) -> None:
    for event in follow(service, RUN, 0):
        heard.append(event.message)  # noqa: PERF401 -- one by one, as they come
    service._store.close()
    heard.append("the end")
