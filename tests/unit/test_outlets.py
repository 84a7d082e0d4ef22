"""Outlets are told what the face is told, and none of them can end a run."""

from __future__ import annotations

import stat
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pghaul.model.errors import AccessError, OutletError, StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Options, Plan
from pghaul.model.run import Run, RunState
from pghaul.model.text import Text, say
from pghaul.service import metrics, outlets
from pghaul.service.embedded import free_port
from pghaul.service.metrics import MetricsFile, MetricsPort
from pghaul.service.outlets import Outlet, telling

RUN = Run(
    id="0123456789ab",
    state=RunState.RUNNING,
    source="postgresql://reader@old/plant",
    target="postgresql://loader@new/plant",
    started=datetime(2026, 1, 2, tzinfo=UTC),
)


def event(kind: EventKind, *, table: str | None = None, chunk: str | None = None, **data: Any) -> Event:
    return Event(kind=kind, run=RUN.id, table=table, chunk=chunk, data=data)


def plan_of(**options: Any) -> Plan:
    return Plan(source="a", target="b", whole=True, options=Options(**options))


def values(text: str) -> dict[str, float]:
    """`name{label=value}` to value, as a scrape reads them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(sample.labels.values()) if sample.name != "pghaul_run_info" else ""
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class Broken:
    name = "the broken one"
    closed = False

    def __call__(self, _event: Event) -> None:
        raise RuntimeError("no more")

    def close(self) -> None:
        self.closed = True


class Teller:
    """Says what it was given, once."""

    name = "teller"

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.to_say: list[tuple[EventKind, Text]] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def news(self) -> list[tuple[EventKind, Text]]:
        said, self.to_say = self.to_say, []
        return said

    def close(self) -> None:
        self.to_say.append((EventKind.WARNING, say("the last one was lost")))


@pytest.fixture
def teller(monkeypatch: pytest.MonkeyPatch) -> Teller:
    made = Teller()
    monkeypatch.setattr(outlets, "MAKERS", (lambda _run, _plan: [made],))
    return made


def test_an_outlet_that_fails_is_said_once_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, face = Broken(), []
    monkeypatch.setattr(outlets, "MAKERS", (lambda _run, _plan: [broken],))
    with telling(face.append, RUN, plan_of()) as told:
        told(event(EventKind.NOTICE))
        told(event(EventKind.NOTICE))
    assert [e.kind for e in face] == [EventKind.NOTICE, EventKind.WARNING, EventKind.NOTICE]
    assert "the broken one failed" in face[1].message
    assert broken.closed


def test_what_an_outlet_has_to_say_reaches_the_face_and_is_kept(teller: Teller) -> None:
    face: list[Event] = []
    kept: list[Event] = []
    with telling(face.append, RUN, plan_of(), kept.append) as told:
        teller.to_say.append((EventKind.NOTICE, say("delivered")))
        told(event(EventKind.PROGRESS))
    assert [e.message for e in face] == ["", "delivered", "the last one was lost"]
    assert [e.message for e in kept] == ["delivered", "the last one was lost"]


def test_a_record_that_cannot_be_kept_does_not_end_the_run(teller: Teller) -> None:
    def refuse(_event: Event) -> None:
        raise AccessError("no store")

    face: list[Event] = []
    with telling(face.append, RUN, plan_of(), refuse) as told:
        teller.to_say.append((EventKind.NOTICE, say("delivered")))
        told(event(EventKind.PROGRESS))
    assert "delivered" in [e.message for e in face]


@pytest.mark.parametrize(
    ("exc", "state"),
    [(AccessError("who?"), "failed"), (StoppedError("asked"), "stopped"), (KeyboardInterrupt(), "stopped")],
)
def test_outlets_hear_of_an_end_that_came_before_the_plan(teller: Teller, exc: BaseException, state: str) -> None:
    face: list[Event] = []
    with pytest.raises(type(exc)), telling(face.append, RUN, plan_of()):
        raise exc
    ends = [e.data["state"] for e in teller.heard if e.kind is EventKind.RUN_FINISHED]
    assert ends == [state]
    assert [e.kind for e in face] == [EventKind.WARNING]  # the face shows the error itself


def test_an_end_that_was_told_is_not_told_twice(teller: Teller) -> None:
    def stop() -> None:
        with telling(lambda _e: None, RUN, plan_of()) as told:
            told(event(EventKind.RUN_FINISHED, state="stopped"))
            raise StoppedError("asked")

    with pytest.raises(StoppedError):
        stop()
    assert [e.kind for e in teller.heard].count(EventKind.RUN_FINISHED) == 1


def test_what_was_opened_is_closed_when_the_next_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken()

    def refuse(_run: Run, _plan: Plan) -> Iterator[Outlet]:
        raise OutletError("no")
        yield

    monkeypatch.setattr(outlets, "MAKERS", (lambda _run, _plan: [broken], refuse))
    with pytest.raises(OutletError), telling(lambda _e: None, RUN, plan_of()):
        pytest.fail("it must not begin")
    assert broken.closed


# --- metrics ------------------------------------------------------------------------------------------------------


def story(outlet: Outlet) -> None:
    """A run of four chunks: one is done, one in flight after a retry, one failed."""
    big = {"rows": 10, "bytes": 1000, "kept": False}
    for told in (
        event(EventKind.RUN_STARTED, chunks=4, bytes_estimated=4000, tables=2),
        event(EventKind.ATTEMPT, epoch=2),
        event(EventKind.CHUNK_STARTED, table="public.a", chunk="leaf"),
        event(EventKind.CHUNK_STARTED, table="public.b", chunk="leaf"),
        event(EventKind.CHUNK_DONE, table="public.a", chunk="leaf", **big),
        event(EventKind.CHUNK_RETRY, table="public.b", chunk="leaf", sqlstate="08006", wait=0.1, attempt=1),
        event(EventKind.CHUNK_STARTED, table="public.b", chunk="leaf"),
        event(EventKind.CHUNK_FAILED, table="public.c", chunk="leaf", sqlstate="22021"),
        event(EventKind.PAUSED, cause="load"),
        event(EventKind.PAUSED, cause="load", freed=True),
        event(EventKind.RESUMED, cause="load", seconds=12.5),
        event(EventKind.WARNING, sqlstate=None, wait=1.0),
        event(
            EventKind.PROGRESS,
            rows=110,
            bytes=11_500,
            bytes_estimated=14_000,
            rate=250,
            eta=10.0,
            chunks_done=1,
            chunks=4,
            workers=[{"bytes": 500}],
            load={"max_source_lag": 1.5},
        ),
    ):
        outlet(told)


EXPECTED = {
    "pghaul_rows_total": 10,
    "pghaul_bytes_total": 1500,
    "pghaul_run_rows": 110,
    "pghaul_run_bytes": 11_500,
    "pghaul_run_expected_bytes": 14_000,
    "pghaul_rate_bytes_per_second": 250,
    "pghaul_remaining_seconds": 10,
    "pghaul_chunks{done}": 1,
    "pghaul_chunks{running}": 1,
    "pghaul_chunks{failed}": 1,
    "pghaul_chunks{pending}": 1,
    "pghaul_retries_total{08006}": 1,
    "pghaul_retries_total{none}": 1,
    "pghaul_pauses_total{load}": 1,
    "pghaul_pauses_total{asked}": 0,
    "pghaul_paused_seconds_total": 12.5,
    "pghaul_warnings_total": 1,
    "pghaul_run_attempt": 2,
    "pghaul_replication_lag_seconds": 1.5,
    "pghaul_run_state{running}": 1,
    "pghaul_run_state{failed}": 0,
    "pghaul_run_info": 1,
    "pghaul_run_start_time_seconds": RUN.started.timestamp(),
}


@pytest.fixture
def port() -> Iterator[MetricsPort]:
    opened = MetricsPort(RUN, metrics.LOOPBACK, free_port())
    yield opened
    opened.close()


def scrape(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def test_a_scrape_reads_what_the_events_add_up_to(port: MetricsPort) -> None:
    story(port)
    text = scrape(port.port)
    found = values(text)
    assert {k: found.get(k) for k in EXPECTED} == EXPECTED
    assert 'source="postgresql://reader@old/plant"' in text
    assert "public." not in text


def test_metrics_obey_prometheus_own_conventions(port: MetricsPort) -> None:
    story(port)
    for family in text_string_to_metric_families(scrape(port.port)):
        assert family.name.startswith("pghaul_")
        assert family.documentation.endswith(".")
        assert family.type in {"counter", "gauge"}
        assert not family.name.endswith(("_ms", "_kb", "_mb"))


def test_totals_never_fall_when_work_is_rolled_back(port: MetricsPort) -> None:
    port(event(EventKind.PROGRESS, bytes=900, workers=[{"bytes": 900}]))
    port(event(EventKind.PROGRESS, bytes=0, workers=[{"bytes": 0}]))
    assert values(scrape(port.port))["pghaul_bytes_total"] == 900
    port(event(EventKind.CHUNK_DONE, table="t", chunk="leaf", rows=1, bytes=1000))
    assert values(scrape(port.port))["pghaul_bytes_total"] == 1000


def test_tables_that_were_equal_do_not_count_as_moved(port: MetricsPort) -> None:
    port(event(EventKind.CHUNK_DONE, table="t", chunk="leaf", rows=5, bytes=7, kept=True))
    found = values(scrape(port.port))
    assert (found["pghaul_rows_total"], found["pghaul_bytes_total"], found["pghaul_chunks{done}"]) == (0, 0, 1)


def test_no_server_can_blow_up_the_number_of_series(port: MetricsPort) -> None:
    for number in range(500):
        port(event(EventKind.CHUNK_RETRY, table="t", chunk="leaf", sqlstate=f"{number:05}", wait=0.1))
    found = {k: v for k, v in values(scrape(port.port)).items() if k.startswith("pghaul_retries_total")}
    assert len(found) == 51
    assert sum(found.values()) == 500


@pytest.mark.parametrize("state", ["done", "failed", "stopped", "different"])
def test_the_end_shows_in_the_state(port: MetricsPort, state: str) -> None:
    story(port)
    port(event(EventKind.RUN_FINISHED, state=state, rows=110, bytes=11_000, seconds=3.0))
    found = values(scrape(port.port))
    assert {k for k, v in found.items() if k.startswith("pghaul_run_state") and v} == {f"pghaul_run_state{{{state}}}"}
    assert (found["pghaul_workers_busy"], found["pghaul_chunks{running}"]) == (0, 0)


def test_a_cutover_that_found_differences_is_shown_as_different(port: MetricsPort) -> None:
    port(event(EventKind.RUN_FINISHED, state="done"))
    port(event(EventKind.CUTOVER, step="different"))
    assert values(scrape(port.port))["pghaul_run_state{different}"] == 1


def test_other_paths_answer_that_there_is_nothing(port: MetricsPort) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        scrape(port.port, "/etc/passwd")
    caught.value.close()
    assert caught.value.code == 404


def test_a_port_in_use_is_refused_before_the_run(port: MetricsPort) -> None:
    with pytest.raises(OutletError) as caught, telling(lambda _e: None, RUN, plan_of(metrics_port=port.port)):
        pytest.fail("it must not begin")
    assert caught.value.code == "PGH-6520"
    assert str(port.port) in str(caught.value.where)


def test_nothing_is_left_of_a_port_when_the_run_has_ended() -> None:
    number, before = free_port(), threading.active_count()
    with telling(lambda _e: None, RUN, plan_of(metrics_port=number)) as told:
        story(told)  # type: ignore[arg-type]
        assert values(scrape(number))["pghaul_rows_total"] == 10
    assert threading.active_count() <= before
    with pytest.raises(urllib.error.URLError):
        scrape(number)
    MetricsPort(RUN, metrics.LOOPBACK, number).close()  # it is free again


def test_the_file_is_there_from_the_beginning_and_final_at_the_end(tmp_path: Path) -> None:
    file, before = tmp_path / "pghaul.prom", threading.active_count()
    with telling(lambda _e: None, RUN, plan_of(metrics_file=str(file))) as told:
        assert values(file.read_text())["pghaul_rows_total"] == 0
        story(told)  # type: ignore[arg-type]
        told(event(EventKind.RUN_FINISHED, state="failed", rows=1, bytes=1))
    assert values(file.read_text())["pghaul_run_state{failed}"] == 1
    assert list(tmp_path.iterdir()) == [file]
    assert threading.active_count() <= before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_another_user_may_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pghaul.prom"
    MetricsFile(RUN, file).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_the_file_is_renewed_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "WRITE_EVERY", 0.01)
    renewed, replace = threading.Event(), Path.replace

    def seen(self: Path, target: Path) -> Path:
        done = replace(self, target)
        if threading.current_thread().name == "metrics file":
            renewed.set()
        return done

    monkeypatch.setattr(Path, "replace", seen)
    outlet = MetricsFile(RUN, tmp_path / "pghaul.prom")
    assert renewed.wait(60)
    outlet.close()


def test_a_file_that_can_no_longer_be_written_is_said_once(tmp_path: Path) -> None:
    folder = tmp_path / "collector"
    folder.mkdir()
    face: list[Event] = []
    with telling(face.append, RUN, plan_of(metrics_file=str(folder / "pghaul.prom"))) as told:
        (folder / "pghaul.prom").unlink()
        folder.rmdir()
        told(event(EventKind.PROGRESS))
    assert [e.kind for e in face] == [EventKind.PROGRESS, EventKind.WARNING]
    assert "cannot be written" in face[-1].message


@pytest.mark.parametrize(("name", "code"), [("pghaul.txt", "PGH-6521"), ("not/there/pghaul.prom", "PGH-6522")])
def test_a_file_that_cannot_be_is_refused_before_the_run(tmp_path: Path, name: str, code: str) -> None:
    asked = plan_of(metrics_file=str(tmp_path / name))
    with pytest.raises(OutletError) as caught, telling(lambda _e: None, RUN, asked):
        pytest.fail("it must not begin")
    assert caught.value.code == code


def test_a_series_is_counted_by_rounds_and_by_what_became_of_their_rows(port: MetricsPort) -> None:
    port(event(EventKind.RUN_STARTED, every=30.0))
    assert values(scrape(port.port))["pghaul_rounds_total{done}"] == 0
    port(event(EventKind.CHUNK_DONE, table="t", chunk="increment", rows=5, inserted=2))
    port(event(EventKind.ROUND, state="done", seconds=1.0, rows=5, inserted=2, updated=1, unchanged=2))
    port(event(EventKind.ROUND, state="empty", seconds=0.1))
    port(event(EventKind.ROUND, state="failed", code="PGH-2100"))
    found = values(scrape(port.port))
    assert [found[f"pghaul_rounds_total{{{s}}}"] for s in ("done", "empty", "different", "failed")] == [1, 1, 0, 1]
    assert (found["pghaul_empty_rounds_total"], found["pghaul_round_interval_seconds"]) == (1, 30)
    outcomes = ("inserted", "updated", "unchanged", "deleted", "rejected")
    assert [found[f"pghaul_merged_rows_total{{{o}}}"] for o in outcomes] == [2, 1, 2, 0, 0]
    assert 0 <= found["pghaul_since_last_success_seconds"] <= found["pghaul_watermark_age_seconds"] < 60
    assert found["pghaul_run_state{running}"] == 1


def test_a_run_by_itself_has_no_figures_of_a_series(port: MetricsPort) -> None:
    port(event(EventKind.RUN_STARTED, chunks=1))
    assert [name for name in values(scrape(port.port)) if "round" in name or "watermark" in name] == []
