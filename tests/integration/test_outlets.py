"""Real runs that are watched from outside, and that do not mind when nobody can."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.databases import DatabasePair
from tests.moving import move

from pghaul.model.errors import AccessError, OutletError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.service.embedded import free_port

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
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
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
