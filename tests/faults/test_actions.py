"""The faults really happen: each action is tried on plain sessions before the product has to survive it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from pghaul.model.errors import ProgramError
from pghaul.service.embedded import Cluster
from tests.compare import contents
from tests.components import missing
from tests.faults import case as cases
from tests.faults import faults
from tests.faults.changes import CHANGES, apply
from tests.faults.faults import Scene
from tests.faults.lane import Lane, answers, bring_up, why_no_small_disk
from tests.faults.plant import TABLES
from tests.faults.program import Program, wait_until
from tests.faults.proxy import Connection, Proxy
from tests.faults.schedule import BLOCK, Case, case_at

pytestmark = pytest.mark.faults

NOBODY = Connection("tested", 0)


@contextmanager
def staged(lane: Lane, folder: Path, *, on_small_disk: bool = False) -> Iterator[Scene]:
    """A scene on the target's side whose background has ended when it is left."""
    with ExitStack() as stack:
        source, target = stack.enter_context(lane.databases(on_small_disk=on_small_disk))
        scene = Scene(
            lane=lane,
            program=Program(folder),
            side="target",
            urls={"source": lane.source.url(source), "target": lane.target.url(target)},
            proxies={s: stack.enter_context(Proxy(lane.server(s).port)) for s in ("source", "target")},
            rng=random.Random(1),
        )
        yield scene
        for thread in scene.background:
            thread.join(30)


def test_a_crash_ends_sessions_and_the_server_comes_back(lane: Lane, tmp_path: Path) -> None:
    with staged(lane, tmp_path) as scene, scene.admin() as victim:
        faults.crash_server(scene, NOBODY)
        with pytest.raises(psycopg.OperationalError):
            victim.execute("SELECT 1")
        with scene.admin() as later:
            assert later.execute("SELECT 1").fetchone() == (1,)


def test_no_backend_outlives_a_crash_not_even_one_that_is_asked_for_meanwhile(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    children, counts = psutil.Process.children, []

    def listed(parent: psutil.Process, recursive: bool = False) -> list[psutil.Process]:
        found = children(parent, recursive)
        with socket.create_connection(("127.0.0.1", lane.target.port), timeout=5):
            counts.append(wait_until(lambda: len(children(parent)) > len(found), 0.2))
        return list(found)

    family = children(psutil.Process(lane.target.pid))
    monkeypatch.setattr(psutil.Process, "children", listed)
    lane.target.crash()
    monkeypatch.undo()
    assert (counts, lane.target.pid) == ([False], None)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)
    assert bring_up(lane.target) == []


def test_a_lane_revives_its_servers(lane: Lane) -> None:
    lane.source.stop()
    lane.target.crash()
    assert len(lane.revive()) == 2
    assert lane.revive() == []
    lane.target.stop()
    with lane.databases():
        assert answers(lane.target)


def test_a_server_that_does_not_start_is_started_once_more(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    failures, start = [ProgramError("no"), ProgramError("never")], Cluster.start

    def starting(server: Cluster) -> Cluster:
        if failures:
            raise failures.pop(0)
        return start(server)

    lane.target.stop()
    monkeypatch.setattr(Cluster, "start", starting)
    with pytest.raises(ProgramError, match="never"):
        bring_up(lane.target)
    failures.append(ProgramError("no"))
    said = bring_up(lane.target)
    assert "second attempt: no" in said[0]
    assert "shut down" in "".join(said[1:])  # the end of its log


@pytest.mark.parametrize("times", [1, 2])
def test_a_case_is_played_once_more_when_the_lane_broke(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    played: list[Case] = []

    def perform(scene: Scene, case: Case, result: cases.Result) -> None:
        played.append(case)
        if len(played) <= times:
            lane.target.crash()
            psycopg.connect(scene.urls["target"]).close()
        result.injected = True

    monkeypatch.setattr(cases, "_perform", perform)
    monkeypatch.setattr(cases, "_judge", lambda *_: None)
    result = cases.play(lane, case_at(5, 0))
    assert (len(played), bool(result.wrong), result.broken) == (2, times == 2, times == 2)
    assert "played twice" in result.notes[0]
    assert any("target did not run" in note for note in result.notes)


def test_all_connections_are_taken_and_given_back(lane: Lane, tmp_path: Path) -> None:
    with staged(lane, tmp_path) as scene:
        faults.exhaust_connections(scene, NOBODY)
        with pytest.raises(psycopg.OperationalError, match=r"too many clients|remaining connection slots"):
            scene.admin()
        scene.background[0].join(30)
        with scene.admin() as later:
            assert later.execute("SELECT 1").fetchone() == (1,)


def test_the_lock_outlasts_a_lock_timeout(lane: Lane, tmp_path: Path) -> None:
    with staged(lane, tmp_path) as scene, scene.admin() as admin:
        admin.execute("CREATE SCHEMA plant; CREATE TABLE plant.flat (a int)")
        faults.hold_a_lock(scene, NOBODY)
        admin.execute("SET lock_timeout = 1000")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            admin.execute("SELECT * FROM plant.flat")


def test_a_full_disk_refuses_rows_until_it_is_freed(lane: Lane, tmp_path: Path) -> None:
    if reason := why_no_small_disk():
        missing(reason)
    with staged(lane, tmp_path, on_small_disk=True) as scene, scene.admin() as admin:
        admin.execute("CREATE TABLE t AS SELECT 1 AS a")
        faults.fill_disk(scene, NOBODY)
        with pytest.raises(psycopg.errors.DiskFull):
            admin.execute("INSERT INTO t SELECT generate_series(1, 100000)")
        scene.background[0].join(30)
        assert admin.execute("INSERT INTO t SELECT generate_series(1, 100000)").rowcount == 100_000


def test_a_cancel_reaches_a_copy(lane: Lane, tmp_path: Path) -> None:
    with staged(lane, tmp_path) as scene, scene.admin() as victim:
        victim.execute("CREATE TABLE t (a int)")
        connection = Connection("tested", 0, backend_pid=victim.info.backend_pid)

        def copy() -> None:
            with victim.cursor().copy("COPY t FROM STDIN") as sink:
                sink.write(b"1\n")
                faults.cancel_statement(scene, connection)
                scene.background[0].join(30)
                sink.write(b"2\n")

        with pytest.raises(psycopg.errors.QueryCanceled):
            copy()


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_kept_out_by_our_lock_or_changes_the_source(lane: Lane, tmp_path: Path, kind: str) -> None:
    change = CHANGES[kind](random.Random(7))
    with staged(lane, tmp_path) as scene:
        with psycopg.connect(scene.urls["source"]) as reader:
            for table in TABLES:
                reader.execute(f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE".encode())
            is_ddl = kind not in ("source_insert", "source_update", "source_delete")
            assert apply(scene.urls["source"], change, patience_ms=50) is not is_ddl
        if is_ddl:
            assert apply(scene.urls["source"], change, patience_ms=5000)
        columns = {name: content.columns for name, content in lane.before.items()}
        moved_only = kind in ("source_vacuum_full", "source_cluster", "source_add_column")
        unchanged = contents(scene.urls["source"], TABLES, columns=columns) == lane.before
        assert unchanged is moved_only


def test_a_case_is_a_function_of_seed_and_index_alone() -> None:
    assert [case_at(5, i) for i in range(60)] == [case_at(5, i) for i in range(60)]
    assert case_at(5, 3) != case_at(6, 3)


@pytest.mark.parametrize("seed", [1, 2])
def test_four_in_a_hundred_cases_need_a_resume(seed: int) -> None:
    cases = [case_at(seed, i) for i in range(10 * BLOCK)]
    assert sum(case.needs_resume for case in cases) == 20


def test_every_kind_and_every_mode_of_change_is_in_the_campaign() -> None:
    played = {(c.kind, c.mode) for c in (case_at(1, i) for i in range(520))}
    wanted = {(k, m) for k in CHANGES for m in ("during", "snapshot", "between")} | {(k, "") for k in faults.FAULTS}
    assert played == wanted
