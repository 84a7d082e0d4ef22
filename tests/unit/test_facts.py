"""Who ran it, where and between which servers: kept once an attempt, and never in a run's way."""

from __future__ import annotations

import getpass
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.recorded import new_store

from pghaul import __version__
from pghaul.engine import facts
from pghaul.engine.report import Reporter
from pghaul.model.errors import StateError
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan, Selection
from pghaul.model.run import Run, RunState
from pghaul.model.text import say
from pghaul.postgres.server import TELLING, Server
from pghaul.postgres.versions import capabilities
from pghaul.store.repository import Store

RUN = Run(
    id="0123456789ab", state=RunState.RUNNING, source="s", target="t", started=datetime(2026, 3, 1, tzinfo=UTC), epoch=1
)
PLAN = Plan(source="postgresql://a/b", target="postgresql://c/d", tables=[Selection(name="public.*")])
BLANK = Manifest(tables=(), placements=(), chunks=(), identities=("s", "t"))
SERVER = Server(
    version_num=160002,
    version="16.2 (Debian)",
    capabilities=capabilities(160002, "source"),
    encoding="UTF8",
    database="plant",
    user="reader",
    superuser=False,
    identity="x",
    max_locks=1,
    in_recovery=False,
    integer_datetimes=True,
    can_replica_role=False,
    timezone="Asia/Seoul",
    settings=tuple((name, "on") for name in TELLING),
)


def test_a_user_without_a_name_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", Mock(side_effect=KeyError("uid not found: 4711")))
    monkeypatch.setattr(platform, "node", lambda: "")
    assert facts.who() == "?@?"


def test_an_attempt_says_who_and_with_what() -> None:
    said = facts.of_attempt(3)
    assert said["epoch"] == 3
    assert said["who"] == facts.who()
    assert said["pghaul"] == __version__
    assert said["python"] == platform.python_version()
    assert datetime.fromisoformat(said["at"]).tzinfo is not None


def test_a_server_s_facts_are_those_that_its_session_has_read() -> None:
    said = facts.of_server(SERVER)
    assert (said["version"], said["timezone"], said["encrypted"]) == ("16.2 (Debian)", "Asia/Seoul", False)
    assert set(said["settings"]) == set(TELLING)


def test_attempts_are_kept_beside_each_other_and_servers_as_they_are_now(tmp_path: Path) -> None:
    store = Store(new_store(tmp_path))
    store.create_run(RUN, PLAN, BLANK)
    assert store.facts(RUN.id) == {}
    store.save_facts(RUN.id, {"epoch": 1}, {"source": {"version": "16"}})
    store.save_facts(RUN.id, {"epoch": 2}, {"source": {"version": "17"}})
    assert store.facts(RUN.id) == {"source": {"version": "17"}, "attempts": [{"epoch": 1}, {"epoch": 2}]}
    store.close()


def test_a_run_is_not_lost_to_its_facts() -> None:
    journal = Mock()
    journal.save_facts.side_effect = StateError(say("the disk is full"))
    report = Reporter(replace(RUN, epoch=0), PLAN, lambda: journal, lambda _: None, lambda: False, lambda _: Mock())
    report.facts(SERVER, SERVER)
    (run, attempt, servers), _ = journal.save_facts.call_args
    assert (run, attempt["epoch"], servers["source"]["version"]) == (RUN.id, 1, SERVER.version)
