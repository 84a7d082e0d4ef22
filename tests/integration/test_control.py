"""Pause, resume, stop and rates of a run that moves: nothing is lost, and what is said is what happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.faults.program import PATIENCE, Program, wait_until
from tests.faults.proxy import Moment, Proxy, Trigger
from tests.looking import assert_no_session_is_left, execute, sessions_of_ours, value
from tests.moving import Moved, move, plan_of
from tests.moving import resume as go_on

from pghaul.cli.app import run
from pghaul.engine import care, window
from pghaul.engine.care import CareTaker
from pghaul.engine.control import Control
from pghaul.model.errors import AccessError, ServerBusyError, StoppedError, TerminalError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Locks, OnExisting, Options, Verify
from pghaul.model.profile import Endpoint
from pghaul.model.run import RunState
from pghaul.model.text import Text
from pghaul.postgres import pressure
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import connect
from pghaul.postgres.settings import Role
from pghaul.service.migration import MigrationService
from pghaul.target.restore import watch

RUN = "0123456789ab"
MB = 1_000_000
STALL = 1.0  # seconds; nobody who is scheduled at all is silent for so long
# 100 bytes of COPY text a row: `big` is 3 MB, and takes a minute for those who crawl.
CRAWLING = 50_000.0  # bytes per second
TABLE = (
    "CREATE TABLE {t} (id int, body text); INSERT INTO {t} SELECT g, repeat('x', 93) FROM generate_series(1, {n}) g;"
)
BIG = TABLE.format(t="big", n=30_000) + "ANALYZE big;"
TWO = TABLE.format(t="one", n=30_000) + TABLE.format(t="two", n=30_000)
SMALL = TABLE.format(t="small", n=100)


@dataclass
class Moving:
    """A run in a thread of this process, and all that it says."""

    events: list[Event] = field(default_factory=list)
    outcome: list[Moved | BaseException] = field(default_factory=list)
    thread: threading.Thread | None = None

    def of(self, kind: EventKind) -> list[Event]:
        return [e for e in list(self.events) if e.kind is kind]

    def progress(self) -> list[int]:
        return [e.data["bytes"] for e in self.of(EventKind.PROGRESS)]

    def until(self, happened: Callable[[], object], seconds: float = PATIENCE) -> None:
        assert wait_until(lambda: bool(happened()) or bool(self.outcome), seconds), self.told()
        assert happened(), self.told()

    def ended(self) -> Moved:
        assert self.thread is not None
        self.thread.join(PATIENCE)
        assert self.outcome, self.told()
        if isinstance(self.outcome[0], BaseException):
            raise self.outcome[0]
        return self.outcome[0]

    def told(self) -> str:
        words = [f"{e.kind.value} {e.message}" for e in list(self.events) if e.kind is not EventKind.PROGRESS]
        return f"{words} {self.progress()[-5:]} {self.outcome}"


@contextmanager
def moving(pair: DatabasePair, *tables: str, **options: object) -> Iterator[Moving]:
    """A run in the background; stopped at the latest when the test is over."""
    going, end = Moving(), threading.Event()
    plan = plan_of(pair.source, pair.target, tables or ("*.*",), **({"verify": Verify.COUNT} | options))

    def work() -> None:
        try:
            ended = MigrationService().run(plan, listener=going.events.append, run_id=RUN, stop=end.is_set)
            going.outcome.append(Moved(run=ended, events=going.events))
        except BaseException as exc:  # noqa: BLE001 -- raised by `ended`
            going.outcome.append(exc)

    going.thread = threading.Thread(target=work)
    going.thread.start()
    try:
        yield going
    finally:
        end.set()
        going.thread.join(PATIENCE)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The runs of this process crawl, however fast the machine is; once it is set they go as fast as they can."""
    released, share = threading.Event(), Control.set_share
    crawling = lambda self, _: share(self, 0.0 if released.is_set() else CRAWLING)  # noqa: E731
    monkeypatch.setattr(Control, "set_share", crawling)
    return released


def paused(going: Moving, *, freed: bool = False) -> bool:
    return any(bool(e.data.get("freed")) is freed for e in going.of(EventKind.PAUSED))


@pytest.mark.parametrize("recipe", ["copy", "insert"])
@pytest.mark.template(source=BIG)
def test_a_pause_takes_effect_within_a_second_in_the_middle_of_a_leaf(
    db_pair: DatabasePair, state: str, recipe: str, brake: threading.Event
) -> None:
    """And the run goes on where it was: the same snapshot, the same epoch, the same chunk."""
    service = MigrationService()
    with moving(db_pair, stall_timeout=STALL, recipe=recipe) as going:
        going.until(lambda: going.progress() and going.progress()[-1] > 0)
        service.request_pause(RUN)
        going.until(lambda: paused(going))
        brake.set()  # now nothing but the pause holds it
        since, seen = going.of(EventKind.PROGRESS)[-1].at, len(going.progress())
        going.until(lambda: going.of(EventKind.PROGRESS)[-1].at - since > timedelta(seconds=1.2 * STALL))
        still = going.progress()[seen:]  # the view lives on
        assert len(set(still[2:])) == 1  # what was on its way when it was asked has arrived by then
        assert 0 < still[-1] < 3 * MB
        assert (service.status(RUN).state, sessions_of_ours(db_pair.source)) == (RunState.PAUSED, 2)
        note = service.status(RUN).note
        assert isinstance(note, Text)  # with its template: a reader of another language sees his own
        assert (note.template, note.values) == ("as asked; go on with: pghaul resume {run}", {"run": RUN})
        assert (going.of(EventKind.PROGRESS)[-1].data["rate"], going.of(EventKind.PROGRESS)[-1].data["eta"]) == (
            0,
            None,
        )
        assert going.of(EventKind.PROGRESS)[-1].data["rows_estimated"] > 0
        woken = service.wake(RUN)
        assert woken is not None
        assert woken.asked
        moved = going.ended()
    assert moved.run.state is RunState.DONE
    assert [len(moved.of(k)) for k in (EventKind.ATTEMPT, EventKind.CHUNK_STARTED, EventKind.CHUNK_RETRY)] == [1, 1, 0]
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])
    assert service.status(RUN).note is None


@pytest.mark.template(source=BIG + SMALL)
def test_after_pause_hold_everything_is_let_go_and_the_run_goes_on_as_a_new_epoch(
    db_pair: DatabasePair, state: str, brake: threading.Event
) -> None:
    service = MigrationService()
    with moving(db_pair, pause_hold=0.2) as going:
        going.until(lambda: going.progress() and going.progress()[-1] > 0)
        service.request_pause(RUN)
        going.until(lambda: paused(going, freed=True))
        assert_no_session_is_left(db_pair.source, db_pair.target)
        assert value(db_pair.target, "SELECT count(*) FROM big") == 0
        assert service.status(RUN).state is RunState.PAUSED
        brake.set()
        assert service.wake(RUN) is not None
        moved = going.ended()
    snapshots = {e.data["snapshot"] for e in moved.of(EventKind.ATTEMPT)}
    assert ([e.data["epoch"] for e in moved.of(EventKind.ATTEMPT)], len(snapshots)) == ([1, 2], 2)
    assert moved.run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, ["public.big", "public.small"])


@pytest.mark.template(source=BIG)
@pytest.mark.parametrize("pause_hold", [0.0, 300.0])
def test_a_paused_run_is_stopped_at_once(
    db_pair: DatabasePair, state: str, pause_hold: float, brake: threading.Event
) -> None:
    """Not when the pause ends: nobody ends it."""
    service = MigrationService()
    with moving(db_pair, pause_hold=pause_hold) as going:
        going.until(lambda: going.progress() and going.progress()[-1] > 0)
        service.request_pause(RUN)
        going.until(lambda: paused(going, freed=not pause_hold))
        service.request_stop(RUN)
        with pytest.raises(TerminalError, match="stopping"):
            service.request_pause(RUN)
        with pytest.raises(StoppedError):
            going.ended()
    brake.set()
    assert_no_session_is_left(db_pair.source, db_pair.target)
    assert (service.status(RUN).state, service.wake(RUN)) == (RunState.STOPPED, None)
    assert go_on(RUN).run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


@pytest.mark.template(source=TWO)
def test_a_rate_is_held_by_all_workers_together(db_pair: DatabasePair, state: str) -> None:
    """Two tables of 3 MB: in less than a second only if each worker had the whole rate, or none."""
    with moving(db_pair, workers=2, max_rate=5 * MB) as going:
        moved = going.ended()
    began = min(e.at for e in moved.of(EventKind.CHUNK_STARTED))
    assert (max(e.at for e in moved.of(EventKind.CHUNK_DONE)) - began).total_seconds() > 1
    assert_same_content(db_pair.source, db_pair.target, ["public.one", "public.two"])


@pytest.mark.template(source=SMALL)
def test_the_time_left_is_known_from_the_first_moment_when_the_tables_were_moved_before(
    db_pair: DatabasePair, state: str
) -> None:
    first = move(db_pair)
    second = move(db_pair, on_existing=OnExisting.TRUNCATE)
    etas = [m.of(EventKind.PROGRESS)[0].data["eta"] for m in (first, second)]
    assert etas[0] is None or first.of(EventKind.PROGRESS)[0].data["bytes"] > 0
    assert etas[1] is not None
    begun = MigrationService().show(second.run.id).samples[0]
    assert (begun.moved, begun.chunks_done) == (0, 0)
    ended = MigrationService().show(second.run.id).samples[-1]
    assert (ended.rows, ended.bytes, ended.in_flight) == (100, second.run.bytes, 0)


# --- from another process ------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, state: str) -> Iterator[Program]:
    program = Program(tmp_path)
    assert program.state == state
    try:
        yield program
    finally:
        program.kill_all()


@contextmanager
def held(program: Program, pair: DatabasePair, *words: str) -> Iterator[threading.Event]:
    """A run of a process of its own that stands in the middle of `big`, until the event is set."""
    gate = threading.Event()
    middle = Trigger(
        moment=Moment.COPIED, application="/worker$", after_bytes=300_000, action=lambda _: gate.wait(PATIENCE)
    )
    with Proxy(pair.source_server.port) as proxy:
        proxy.arm(middle)
        ends = ("--from", proxy.url(pair.source), "--to", pair.target, "--table", "big", "--run-id", RUN)
        program.start("run", *ends, "--workers", "1", "--json", *words)
        assert wait_until(lambda: '"progress"' in program.said() and MigrationService().look(RUN).progress)
        assert wait_until(middle.fired.is_set)
        try:
            yield gate
        finally:
            gate.set()


def is_paused() -> bool:
    return MigrationService().status(RUN).state is RunState.PAUSED


@pytest.mark.template(source=BIG)
def test_pause_and_resume_by_the_command_line_of_another_process(
    db_pair: DatabasePair, program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(program, db_pair, "--max-rate", "50MB/s") as gate:
        assert run(["pause", RUN]) == 0
        assert wait_until(is_paused), program.said()
        assert run(["status", RUN]) == 0
        assert "as asked; go on with" in capsys.readouterr().out
        gate.set()
        assert run(["resume"]) == 0  # the latest unfinished
        assert "goes on in process" in capsys.readouterr().err
        assert run(["watch", RUN]) == 0  # until its end
        told = capsys.readouterr()
        assert "30,000" in told.out
        assert program.wait() == 0, program.said()
    assert run(["logs", RUN]) == 0
    told = capsys.readouterr()
    words = [line.split(maxsplit=3)[2:] for line in told.out.splitlines()]
    assert [w for level, w in words if level == "info" and w.startswith(("paused: ", "goes on"))] != []
    assert run(["logs", RUN, "--level", "warning"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["show", RUN]) == 0
    assert "Rate (at most" in capsys.readouterr().out
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


@pytest.mark.template(source=BIG)
@pytest.mark.parametrize("words", [(), ("--pause-hold", "0")])
def test_a_run_that_is_killed_while_it_is_paused_is_resumed(
    db_pair: DatabasePair, program: Program, words: tuple[str, ...]
) -> None:
    with held(program, db_pair, *words) as gate:
        assert run(["pause", RUN]) == 0
        assert wait_until(is_paused), program.said()
        gate.set()
        assert wait_until(lambda: not words or '"freed"' in program.said()), program.said()
        program.kill_main()
        assert program.process is not None
        program.process.wait(PATIENCE)
        assert MigrationService().status(RUN).state is RunState.STOPPED
        assert run(["resume", RUN]) == 0
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])
    assert wait_until(lambda: not program.processes(), 20)


# --- hours and load ------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The wall clock of the runs: its only entry is now."""
    now = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(window, "now", lambda: now[0])
    return now


@pytest.mark.template(source=SMALL)
def test_outside_its_hours_a_run_is_planned_and_waits_without_a_session(
    db_pair: DatabasePair, state: str, clock: list[datetime]
) -> None:
    with moving(db_pair, only_between="22:00-06:00 UTC") as going:
        going.until(lambda: paused(going, freed=True))
        assert_no_session_is_left(db_pair.source, db_pair.target)
        assert "goes on at 2026-03-01 22:00" in str(MigrationService().status(RUN).note)
        assert value(db_pair.target, "SELECT to_regclass('public.small')") is None
        clock[0] += timedelta(hours=10)
        moved = going.ended()
    assert moved.of(EventKind.RESUMED)[0].data["cause"] == "hours"
    assert_same_content(db_pair.source, db_pair.target, ["public.small"])


@pytest.mark.template(source=BIG)
def test_when_its_hours_end_a_run_holds_in_the_middle_and_goes_on_by_itself(
    db_pair: DatabasePair, state: str, clock: list[datetime], brake: threading.Event
) -> None:
    clock[0] = datetime(2026, 3, 1, 5, 59, tzinfo=UTC)
    with moving(db_pair, only_between="22:00-06:00 UTC") as going:
        going.until(lambda: going.progress() and going.progress()[-1] > 0)
        clock[0] += timedelta(minutes=2)
        going.until(lambda: paused(going))
        woken = MigrationService().wake(RUN)
        assert woken is not None
        assert not woken.asked  # nobody can talk it out of its hours
        brake.set()
        clock[0] += timedelta(hours=20)
        moved = going.ended()
    assert len(moved.of(EventKind.ATTEMPT)) == 1
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


@pytest.mark.template(source=BIG)
def test_while_a_replica_of_the_source_is_behind_the_run_holds(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch, brake: threading.Event
) -> None:
    lag = [0.0]
    monkeypatch.setattr(pressure, "replication_lag", lambda _session: lag[0])
    monkeypatch.setattr(care, "LOOK_EVERY", 0.05)
    with moving(db_pair, max_source_lag=5) as going:
        going.until(lambda: going.progress() and going.progress()[-1] > 0)
        lag[0] = 14.25
        going.until(lambda: paused(going))
        assert "14.2 s behind, more than 5 s" in str(MigrationService().status(RUN).note)
        brake.set()
        lag[0] = 5.0
        moved = going.ended()
    assert [e.data["cause"] for e in moved.of(EventKind.RESUMED)] == ["load"]
    assert len(moved.of(EventKind.ATTEMPT)) == 1
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


@pytest.mark.parametrize("db_pair", [("pg16", "pg18"), ("pg18", "pg16")], indirect=True)
def test_every_gauge_is_read_from_real_servers(db_pair: DatabasePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody works on the source, and forces the target into a checkpoint; then both are quiet again."""
    monkeypatch.setattr(care, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(care, "MINUTE", 0.5)
    options = Options(max_source_sessions=0, max_source_lag=60, max_checkpoint_pressure=0)
    said: list[str] = []
    ends: dict[Role, Endpoint] = {"source": resolve(db_pair.source), "target": resolve(db_pair.target)}
    taker = CareTaker(options, ends, "pghaul/test/1/care", said.append)
    with (
        psycopg.connect(db_pair.source, autocommit=True) as busy,
        psycopg.connect(db_pair.target, autocommit=True) as admin,
    ):
        assert taker.why() is None
        worker = threading.Thread(target=_work_until_cancelled, args=(busy,))
        worker.start()
        assert wait_until(lambda: taker.why() == "sessions at work on the source: 1, more than 0"), taker.why()
        busy.cancel_safe()
        worker.join()
        assert wait_until(lambda: taker.why() is None), taker.why()
        admin.execute("CHECKPOINT")
        assert wait_until(lambda: "within a minute: 1, more than 0" in str(taker.why())), taker.why()
        assert wait_until(lambda: taker.why() is None), taker.why()
    taker.close()
    assert said == []


def _work_until_cancelled(session: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        session.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")


@pytest.mark.parametrize("db_pair", [("pg16", "pg18"), ("pg18", "pg16")], indirect=True)
def test_a_standby_s_own_lag_is_a_question_that_every_server_understands(db_pair: DatabasePair) -> None:
    """Asked of a primary, which has received nothing and is never behind itself."""
    with connect(resolve(db_pair.source), application_name="test", role="source") as session:
        names = pressure.LAG_FUNCTIONS[session.server.capabilities.replay_lag]
        assert session.value(pressure.OWN_LAG_SQL.format(**names)) == 0.0


@pytest.mark.template(source=SMALL)
def test_a_bound_that_our_role_cannot_see_is_refused_before_the_run(db_pair: DatabasePair, state: str) -> None:
    execute(
        db_pair.source,
        "DROP ROLE IF EXISTS blind",
        "CREATE ROLE blind LOGIN",
        "GRANT SELECT ON small TO blind",
    )
    blind = db_pair.source.replace("postgres@", "blind@")
    with pytest.raises(AccessError, match="role blind may not see what others do") as refused:
        move(db_pair, "small", source=blind, max_source_sessions=3)
    assert "GRANT pg_read_all_stats TO blind" in str(refused.value.advice)
    execute(db_pair.source, "GRANT pg_read_all_stats TO blind")
    assert move(db_pair, "small", source=blind, max_source_sessions=3).run.state is RunState.DONE
    execute(db_pair.source, "DROP OWNED BY blind", "DROP ROLE blind")


# --- other people's DDL --------------------------------------------------------------------------------------


@pytest.mark.template(source=BIG + SMALL)
def test_ddl_that_waits_behind_our_locks_is_told_and_can_be_let_through(
    db_pair: DatabasePair, state: str, brake: threading.Event
) -> None:
    service, done = MigrationService(), threading.Event()

    def alter() -> None:
        with psycopg.connect(db_pair.source, autocommit=True) as session:
            session.execute("ALTER TABLE small ADD extra int")
        done.set()

    with moving(db_pair) as going:
        going.until(lambda: going.progress() and going.progress()[-1] > 0)
        ddl = threading.Thread(target=alter)
        ddl.start()
        going.until(lambda: any("waits for AccessExclusiveLock on public.small" in e.message for e in going.events))
        assert not done.is_set()
        service.request_pause(RUN, let_go=True)
        assert done.wait(PATIENCE)
        brake.set()
        service.wake(RUN)
        moved = going.ended()
    ddl.join()
    assert moved.run.state is RunState.DONE
    assert moved.notices("COLUMN") == ["public.small.extra"]


LOCKS_OF_OURS = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
 WHERE c.relname = 'small' AND a.application_name LIKE 'pghaul/%'
"""


@pytest.mark.template(source=BIG + SMALL)
def test_with_locks_per_chunk_ddl_waits_for_one_chunk_at_most(db_pair: DatabasePair, state: str) -> None:
    """The runner itself stands still meanwhile: what it held for the whole run would never be given back."""
    altered: list[Event] = []

    def alter(event: Event) -> None:
        if event.kind is EventKind.CHUNK_DONE and event.table != "public.small" and not altered:
            with psycopg.connect(db_pair.source, autocommit=True) as session:
                assert session.execute(LOCKS_OF_OURS).fetchone() == (0,)
                session.execute("SET lock_timeout = '10s'")
                session.execute("ALTER TABLE small ADD extra int")
            altered.append(event)

    with pytest.raises(StoppedError):
        move(db_pair, listener=alter, stop=lambda: bool(altered), locks=Locks.CHUNK, split_bytes=1 << 20)
    assert [e.table for e in altered] == ["public.big"]


@pytest.mark.template(target=SMALL)
def test_a_program_that_waits_for_a_lock_gives_up_after_our_lock_timeout(db_pair: DatabasePair) -> None:
    """pg_restore switches lock_timeout off; everybody who wants the table queues behind it."""
    name = "pghaul/0123456789ab/1/restore"
    with (
        psycopg.connect(db_pair.target) as owner,
        psycopg.connect(db_pair.target, application_name=name, autocommit=True) as program,
        connect(resolve(db_pair.target), application_name="test", role="target", lock_timeout=0.3) as session,
    ):
        working = watch(session, name, 60.0)
        assert working()  # idle, but not for long
        owner.execute("SELECT * FROM small")
        waiting = threading.Thread(target=_lock_until_cancelled, args=(program,))
        waiting.start()
        began = time.monotonic()
        with pytest.raises(ServerBusyError, match="holds a lock"):
            wait_until(lambda: not working())
        assert time.monotonic() - began >= 0.3
        program.cancel_safe()
        waiting.join()
        assert working()
    assert not watch_of_nobody(db_pair.target)()


def _lock_until_cancelled(session: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        session.execute("TRUNCATE small")


def watch_of_nobody(url: str) -> Callable[[], bool]:
    """A program whose session has gone, long after it was begun."""

    def working() -> bool:
        with connect(resolve(url), application_name="test", role="target") as session:
            return watch(session, "nobody", 0.0)()

    return working
