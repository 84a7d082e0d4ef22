"""Real runs that are watched from outside, and that do not mind when nobody can."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.databases import DatabasePair
from tests.moving import move, plan_of, resume, run_sql
from tests.receivers import hang, webhook

from pghaul.model.errors import AccessError, OutletError, StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.service import notification
from pghaul.service import webhook as webhooks
from pghaul.service.embedded import free_port
from pghaul.service.migration import MigrationService

TABLES = pytest.mark.template(
    source="CREATE TABLE one (id int PRIMARY KEY); INSERT INTO one SELECT generate_series(1, 5000);"
    "CREATE TABLE two (t text); INSERT INTO two SELECT repeat('x', 100) FROM generate_series(1, 3000)"
)


def read(text: str) -> dict[str, float]:
    """By name, and by the first label's value where there is one."""
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {" ".join([s.name, *list(s.labels.values())[:1]]): s.value for s in samples}


@TABLES
def test_a_run_is_scraped_while_it_goes_on_and_leaves_its_file(
    db_pair: DatabasePair, state: str, tmp_path: Path
) -> None:
    port, file = free_port(), tmp_path / "pghaul.prom"
    scrapes: list[dict[str, float]] = []

    def look(event: Event) -> None:
        if event.kind is EventKind.RUN_FINISHED:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                scrapes.append(read(answer.read().decode()))

    moved = move(db_pair, listener=look, metrics_port=port, metrics_file=str(file), max_source_sessions=1000)
    assert (scrapes[0]["pghaul_rows_total"], scrapes[0]["pghaul_run_state running"]) == (8000, 1)
    assert scrapes[0]["pghaul_source_sessions"] >= 0
    last = read(file.read_text())
    assert (last["pghaul_rows_total"], last["pghaul_run_rows"]) == (moved.run.rows, moved.run.rows)
    assert (last["pghaul_bytes_total"], last["pghaul_run_bytes"]) == (moved.run.bytes, moved.run.bytes)
    assert (last["pghaul_chunks done"], last["pghaul_chunks pending"]) == (2, 0)
    assert last[f"pghaul_run_state {RunState.DONE.value}"] == 1


def test_a_run_that_fails_while_it_is_planned_shows_as_failed_in_its_file(
    db_pair: DatabasePair, state: str, tmp_path: Path
) -> None:
    file = tmp_path / "pghaul.prom"
    nobody = db_pair.source.replace("://postgres@", "://nobody@")
    assert nobody != db_pair.source
    with pytest.raises(AccessError):
        move(db_pair, source=nobody, metrics_file=str(file))
    assert read(file.read_text())["pghaul_run_state failed"] == 1


@TABLES
def test_a_port_in_use_stops_a_run_before_it_begins(db_pair: DatabasePair, state: str, tmp_path: Path) -> None:
    port = free_port()
    seen: list[Event] = []

    def second(event: Event) -> None:
        if event.kind is EventKind.RUN_STARTED:
            with pytest.raises(OutletError):
                move(db_pair, events=seen, metrics_port=port)

    assert move(db_pair, listener=second, metrics_port=port).run.state is RunState.DONE
    assert seen == []


@TABLES
def test_a_webhook_hears_of_a_stop_and_its_address_is_stored_nowhere(
    db_pair: DatabasePair, state: str, tmp_path: Path
) -> None:
    heard: list[Event] = []
    every = ["started", "stopped", "finished"]
    with webhook() as receiver:
        with pytest.raises(StoppedError):
            move(db_pair, events=heard, stop=lambda: len(heard) > 2, notify=[receiver.url], notify_on=every)
        run = MigrationService().latest_unfinished()
        again = resume(run.id)
    assert [p.json["event"] for p in receiver.posts][-1] == "stopped"
    kept = MigrationService().show(run.id)
    assert kept.plan.options.notify == [f"http://127.0.0.1:{receiver.port}/…"]
    assert "T0KEN" not in "".join(e.message + repr(e.data) for e in [*heard, *again.events, *kept.events])
    stored = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert run.id.encode() in stored
    assert b"T0KEN" not in stored
    lost = [e.message for e in again.of(EventKind.WARNING)]
    assert ["is not told: the rest of its address was not stored" in m for m in lost] == [True]
    assert again.run.state is RunState.DONE


@TABLES
def test_a_variable_that_names_the_webhook_is_told_on_a_resume_too(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    with webhook() as receiver:
        monkeypatch.setenv("CHAT", receiver.url)
        with pytest.raises(StoppedError):
            move(db_pair, events=heard, stop=lambda: len(heard) > 2, notify=["env:CHAT"])
        ended = resume()
    assert [(p.json["event"], p.json["rows"]) for p in receiver.posts] == [("finished", 8000)]
    assert ended.run.state is RunState.DONE
    told = [e.message for e in MigrationService().show(ended.run.id).events if e.kind is EventKind.NOTICE]
    assert f"the webhook at 127.0.0.1:{receiver.port} was told: finished" in told


@TABLES
def test_a_webhook_that_hangs_costs_a_run_some_seconds_at_its_end_and_nothing_else(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification, "CLOSING", 0.5)
    monkeypatch.setattr(webhooks, "TIMEOUT", 100.0)
    ends: list[float] = []

    def clock(event: Event) -> None:
        if event.kind is EventKind.RUN_FINISHED:
            ends.append(time.monotonic())

    with webhook(hang) as receiver:
        moved = move(db_pair, listener=clock, notify=[receiver.url], notify_on=["started", "finished"])
        assert time.monotonic() - ends[0] < 60  # a hanging answer is given up after a hundred
    assert moved.run.state is RunState.DONE
    assert "has not answered yet" in moved.of(EventKind.WARNING)[-1].message


@TABLES
def test_a_run_whose_webhook_cannot_be_does_not_begin(db_pair: DatabasePair, state: str) -> None:
    heard: list[Event] = []
    with pytest.raises(OutletError) as caught:
        move(db_pair, events=heard, notify=["https://me:T0KEN@hooks.example/x"])
    assert heard == []
    assert "T0KEN" not in str(caught.value)
    assert MigrationService().runs() == []


@TABLES
def test_a_cutover_is_told_when_all_of_it_is_known(db_pair: DatabasePair, state: str) -> None:
    move(db_pair)

    def write(event: Event) -> None:
        """Somebody writes after the source was found quiet."""
        if event.kind is EventKind.CUTOVER and event.data["step"] == "quiet":
            run_sql(db_pair.source, "INSERT INTO one VALUES (-1)")

    plan = plan_of(db_pair.source, db_pair.target, ("*",))
    with webhook() as receiver:
        for listener in (write, lambda _event: None):
            outlets = {"notify": [receiver.url]}
            MigrationService().cutover(plan, listener=listener, quiet_for=0.3, outlets=outlets)
    assert [(p.json["event"], p.json["state"]) for p in receiver.posts] == [
        ("finished", "different"),
        ("finished", "done"),
    ]
