"""A series: rounds on the beat, what is told and kept of them, and which faults it outlives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.recorded import new_store

from pghaul.engine.journal import Journal
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    MergeError,
    NotFoundError,
    PghaulError,
    StateError,
    StoppedError,
    TableTakenError,
    TerminalError,
    UsageError,
)
from pghaul.model.event import Event, EventKind, Level, Listener, level_of
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Merge, Plan, Selection
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.series import Series
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.service import rounds
from pghaul.service.beat import Beat, interval, parse_interval, patience
from pghaul.service.rounds import SeriesLoop
from pghaul.service.series import check_merges
from pghaul.store.repository import Store

SERIES = "0123456789ab"
PLAN = Plan(source="postgresql://a/b", target="postgresql://c/d", tables=[Selection(name="public.*", merge=Merge())])
LOST = ConnectionLostError(say("the server went away"))
Act = Callable[["Rounds", "Round"], Run | None]


@dataclass(kw_only=True)
class Round:
    """What a fake round is given."""

    run: Run
    journal: Journal
    listener: Listener
    stop: Callable[[], bool]

    def tell(self, kind: EventKind, words: str = "", **data: Any) -> None:
        self.listener(Event(kind=kind, run=self.run.id, table="public.t", message=words, data=data))

    def plan(self) -> None:
        chunk = Chunk(table=Name("public", "t"), kind=ChunkKind.INCREMENT)
        manifest = Manifest(tables=(), placements=(), chunks=(chunk,), identities=("one", "two"))
        self.journal.create_run(self.run, PLAN, manifest)
        self.tell(EventKind.RUN_STARTED)
        self.tell(EventKind.ATTEMPT, epoch=1)


@dataclass(kw_only=True)
class Rounds:
    """One act for each round; the last one for all that come after it."""

    time: Clock
    acts: list[Act]
    done: int = 0
    rests: list[float] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    closed: bool = False

    def perform(self, run: Run, journal: Journal, listener: Listener, stop: Callable[[], bool]) -> Run:
        act = self.acts[min(self.done, len(self.acts) - 1)]
        self.done += 1
        ended = act(self, Round(run=run, journal=journal, listener=listener, stop=stop))
        ended = ended or replace(run, state=RunState.DONE)
        journal.save_run(ended)
        return ended

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    def forget(self, runs: list[str]) -> None:
        self.forgotten += runs

    def close(self) -> None:
        self.closed = True


@dataclass(kw_only=True)
class Clock:
    """Moves when somebody sleeps; `at` acts when its moment has come."""

    now: float = 100.0
    at: dict[float, Callable[[], None]] = field(default_factory=dict)

    def __call__(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        self.now += seconds
        for moment in sorted(m for m in self.at if m <= self.now):
            self.at.pop(moment)()


@dataclass(kw_only=True)
class Played:
    store: Store
    loop: SeriesLoop
    rounds: Rounds
    time: Clock
    told: list[Event]

    def of(self, kind: EventKind, least: Level = Level.DEBUG) -> list[Event]:
        return [e for e in self.told if e.kind is kind and level_of(e).rank >= least.rank]

    @property
    def series(self) -> Series:
        found = self.store.series.find(SERIES)
        assert found is not None
        return found


Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """A series over a store of its own, on a clock that only naps move."""

    def played(*acts: Act, every: float = 30.0, stop: Callable[[], bool] = lambda: False, **known: Any) -> Played:
        time, told = Clock(), []
        store = Store(new_store(tmp_path))
        rounds = Rounds(time=time, acts=list(acts))
        series = Series(
            id=SERIES, state=RunState.RUNNING, source="a", target="c", every=every, started=datetime.now(UTC), **known
        )
        loop = SeriesLoop(
            series=series,
            plan=PLAN,
            store=store,
            rounds=rounds,
            listener=told.append,
            stop=stop,
            clock=time,
            nap=time.nap,
        )
        return Played(store=store, loop=loop, rounds=rounds, time=time, told=told)

    return played


def takes(seconds: float, then: Act | None = None) -> Act:
    def act(rounds: Rounds, given: Round) -> Run | None:
        rounds.time.now += seconds
        return then(rounds, given) if then else None

    return act


def nothing(_rounds: Rounds, given: Round) -> None:
    given.plan()
    given.tell(EventKind.CHUNK_DONE, rows=3, unchanged=3)


def moves(_rounds: Rounds, given: Round) -> None:
    given.plan()
    given.tell(EventKind.CHUNK_DONE, rows=5, inserted=2, updated=1, unchanged=2, watermark="2026-01-02")


def sets_aside(_rounds: Rounds, given: Round) -> Run:
    given.plan()
    given.tell(EventKind.CHUNK_DONE, rows=5, inserted=4, rejected=1)
    return replace(given.run, state=RunState.DIFFERENT)


def fails(error: PghaulError, *, planned: bool = False) -> Act:
    def act(_rounds: Rounds, given: Round) -> None:
        if planned:
            given.plan()
            given.journal.save_run(replace(given.run, state=RunState.FAILED))
        given.tell(EventKind.WARNING, say("{error}; a new attempt in {n} s", error=error.said, n=1), wait=1, code="x")
        raise error

    return act


# --- the beat -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h", 3600), ("90", 90), ("0.5", 0.5), ("100ms", 0.1), (" 1D ", 86400)],
)
def test_an_interval_is_a_number_with_a_unit_or_of_seconds(text: str, seconds: float) -> None:
    assert parse_interval(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 weeks", "0", "1ms", "8d", "1e3", "5m30s", "nan"])
def test_what_is_no_interval_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_interval(text)
    assert caught.value.number == 1093


@pytest.mark.parametrize("text", ["30s", "90s", "5m", "1h", "2d", "100ms", "0.05"])
def test_an_interval_is_told_as_it_could_be_written(text: str) -> None:
    assert parse_interval(interval(parse_interval(text))) == parse_interval(text)


def test_rounds_begin_on_the_beat_and_do_not_drift() -> None:
    time = Clock(now=7.0)
    beat, begun = Beat(30, time), []
    for took in (1.0, 29.5, 12.25):
        time.now += beat.left()
        begun.append(time.now)
        time.now += took
        assert beat.done()
    assert begun == [7.0, 37.0, 67.0]


def test_a_round_that_takes_too_long_is_followed_at_once_and_beats_are_not_made_up_for() -> None:
    time = Clock(now=0.0)
    beat = Beat(10, time)
    time.now = 35.0
    assert not beat.done()
    assert beat.left() == 0
    time.now = 36.0
    assert beat.done()
    assert beat.left() == 9


def test_patience_grows_to_five_minutes_and_no_further() -> None:
    assert [patience(n) for n in (1, 2, 3, 6, 7, 1000)] == [5, 10, 20, 160, 300, 300]


# --- rounds -------------------------------------------------------------------------------------------------------


def test_a_round_that_moves_rows_is_a_run_of_the_history_and_an_empty_one_a_counter(play: Play) -> None:
    played = play(moves, nothing, nothing, moves)
    ended = played.loop.execute(4)
    assert (ended.rounds, ended.empty_rounds, ended.rows, ended.state) == (4, 2, 6, RunState.DONE)
    history = played.store.runs()
    assert [r.series for r in history] == [SERIES, SERIES]
    assert ended.last_run == history[0].id
    assert played.series.marks == {"public.t": "2026-01-02"}
    assert [e.data["state"] for e in played.of(EventKind.ROUND)] == ["done", "empty", "empty", "done"]
    assert [e.data["round"] for e in played.of(EventKind.ROUND, Level.INFO)] == [1, 4]
    assert played.time.now == 100 + 3 * 30
    assert played.rounds.closed


def test_of_an_empty_round_no_event_is_told_but_that_it_was_empty(play: Play) -> None:
    played = play(moves, nothing)
    played.loop.execute(3)
    kinds = [e.kind for e in played.told]
    assert kinds.count(EventKind.ATTEMPT) == kinds.count(EventKind.CHUNK_DONE) == 1
    assert [e.run for e in played.of(EventKind.RUN_STARTED)] == [SERIES]
    assert [(e.run, e.data["state"]) for e in played.of(EventKind.RUN_FINISHED)] == [(SERIES, "done")]


def test_a_long_round_is_shown_while_it_goes_on_and_is_gone_if_it_comes_to_nothing(play: Play) -> None:
    seen: list[list[Run]] = []

    def long(rounds: Rounds, given: Round) -> None:
        given.plan()
        rounds.time.now += 3
        given.journal.save_progress(given.run, {}, None)
        given.tell(EventKind.PROGRESS)
        seen.append(played.store.runs())

    played = play(long)
    played.loop.execute(1)
    assert [[r.series for r in runs] for runs in seen] == [[SERIES]]
    assert played.store.runs() == []
    assert len(played.of(EventKind.ATTEMPT)) == len(played.of(EventKind.PROGRESS)) == 1


def test_the_same_warning_is_told_once_in_a_series(play: Play) -> None:
    def warns(_rounds: Rounds, given: Round) -> None:
        given.tell(EventKind.WARNING, say("xmin reads all of {t}", t="public.t"))
        given.tell(EventKind.NOTICE, say("no unique index"))

    played = play(warns)
    played.loop.execute(5)
    assert len(played.of(EventKind.WARNING)) == len(played.of(EventKind.NOTICE)) == 1


def test_a_round_longer_than_its_interval_is_followed_at_once_and_told_now_and_then(play: Play) -> None:
    played = play(takes(45), takes(45), takes(1), takes(45), takes(700), takes(45))
    played.loop.execute(6)
    told = [e.message for e in played.of(EventKind.WARNING)]
    assert [m.partition(", longer than its interval of 30s")[0] for m in told] == [
        "a round took 45.0 s",
        "a round took 700.0 s",
    ]
    assert played.time.now == 100 + 45 + 45 + 30 + 45 + 700 + 45


def test_rows_that_were_set_aside_make_the_series_different_and_it_goes_on(play: Play) -> None:
    played = play(sets_aside, moves)
    ended = played.loop.execute(2)
    assert (ended.state, ended.different_rounds, ended.rounds) == (RunState.DIFFERENT, 1, 2)
    assert [e.data["state"] for e in played.of(EventKind.ROUND, Level.WARNING)] == ["different"]


# --- faults -------------------------------------------------------------------------------------------------------


def test_a_fault_that_may_pass_is_waited_for_longer_each_time_and_told_once(play: Play) -> None:
    played = play(moves, *[fails(LOST)] * 4, moves, every=1.0)
    ended = played.loop.execute(6)
    assert (ended.failed_rounds, ended.failures, ended.state) == (4, 0, RunState.DONE)
    assert ended.error == LOST.said
    rounds = [e for e in played.of(EventKind.ROUND) if e.data["state"] == "failed"]
    assert [bool(e.data.get("again")) for e in rounds] == [False, True, True, True]
    assert [e.data["wait"] for e in rounds] == [5, 10, 20, 40]
    assert len(played.of(EventKind.ROUND, Level.WARNING)) == len(played.of(EventKind.WARNING)) == 1
    assert [e.message for e in played.of(EventKind.NOTICE)] == ["a round went well again, after 4 that failed"]


def test_a_fault_that_comes_back_later_is_told_again(play: Play) -> None:
    played = play(moves, fails(LOST), moves, fails(LOST), moves)
    played.loop.execute(5)
    assert len(played.of(EventKind.ROUND, Level.WARNING)) == len(played.of(EventKind.WARNING)) == 2


@pytest.mark.parametrize("first", [True, False])
def test_what_cannot_pass_ends_the_series(play: Play, first: bool) -> None:
    error = MergeError(say("two rows with one key"), code=6601)
    played = play(*([] if first else [moves]), fails(error, planned=True))
    with pytest.raises(MergeError):
        played.loop.execute()
    series = played.series
    assert (series.state, series.error, series.failed_rounds) == (RunState.FAILED, error.said, 1)
    assert played.store.runs()[0].id == series.last_run
    assert played.of(EventKind.RUN_FINISHED)[0].data["code"] == "PGH-6601"
    assert played.rounds.closed


@pytest.mark.parametrize("error", [LOST, TableTakenError(say("another loop does it")), AccessError(say("password"))])
def test_a_first_round_that_fails_ends_the_series_whatever_the_reason(play: Play, error: PghaulError) -> None:
    played = play(fails(error))
    with pytest.raises(type(error)):
        played.loop.execute()
    assert played.rounds.done == 1
    assert played.store.runs() == []


def test_a_series_that_is_begun_again_outlives_a_server_that_is_down(play: Play) -> None:
    played = play(fails(LOST), moves, rounds=7, failed_rounds=2)
    assert played.loop.execute(2).rounds == 9


def test_a_series_that_is_begun_a_second_time_is_refused_and_does_not_wait(play: Play) -> None:
    taken = TableTakenError(say("another process does it"))
    played = play(fails(taken), rounds=7)
    with pytest.raises(TableTakenError):
        played.loop.execute()
    played = play(moves, fails(taken), moves)
    assert played.loop.execute(3).failed_rounds == 1


def test_a_failover_and_a_name_server_that_is_away_are_waited_for(play: Play) -> None:
    read_only = TerminalError(say("read-only"), sqlstate="25006")
    nameless = AccessError(say("unknown host"), code=5101)
    played = play(moves, fails(read_only), fails(nameless), moves)
    assert played.loop.execute(4).failed_rounds == 2
    assert len(played.of(EventKind.ROUND, Level.WARNING)) == 2


def test_a_series_in_the_place_of_a_run_is_told_from_what_nobody_knows(play: Play) -> None:
    played = play(moves)
    played.loop.execute(1)
    for known, advice in ((SERIES, f"pghaul status {SERIES}"), ("f" * 12, "pghaul runs")):
        with pytest.raises(NotFoundError) as caught:
            played.store.load_run(known)
        assert advice in caught.value.advice


def test_a_series_whose_last_round_failed_has_failed(play: Play) -> None:
    played = play(moves, fails(LOST))
    with pytest.raises(ConnectionLostError):
        played.loop.execute(2)
    assert played.series.state is RunState.FAILED


@pytest.mark.parametrize(
    ("held", "kept", "told"), [(50, 4, "has all that happened meanwhile"), (1, 3, "has lost 1 rounds")]
)
def test_a_store_that_cannot_be_written_ends_no_series_and_gets_its_rounds_later(
    play: Play, monkeypatch: pytest.MonkeyPatch, held: int, kept: int, told: str
) -> None:
    """Those that are too many to be held are told to be lost."""
    monkeypatch.setattr(rounds, "TIDY_EVERY", held)
    played = play(moves)
    away = [True]

    def refuse(self: Store, *args: Any, real: Any = Store.create_run, **words: Any) -> Any:
        if away[0]:
            raise StateError(say("locked"))
        return real(self, *args, **words)

    monkeypatch.setattr(Store, "create_run", refuse)
    played.time.at[145.0] = lambda: away.__setitem__(0, False)
    assert played.loop.execute(4).rounds == 4
    assert len(played.store.runs()) == kept
    assert [told in e.message for e in played.of(EventKind.NOTICE)] == [True]
    assert [m for e in played.of(EventKind.WARNING) if "the series goes on without it" in (m := e.message)] != []


# --- wishes -------------------------------------------------------------------------------------------------------


def test_a_stop_that_is_wished_between_two_rounds_is_heard_at_once(play: Play) -> None:
    played = play(moves, every=3600.0)
    played.time.at[110.0] = lambda: played.store.series.set_wish(SERIES, Wish.STOP)
    with pytest.raises(StoppedError):
        played.loop.execute()
    assert played.time.now < 111
    assert (played.series.state, played.series.rounds) == (RunState.STOPPED, 1)


def test_a_signal_between_two_rounds_is_heard_at_once(play: Play) -> None:
    asked = [False]
    played = play(moves, every=3600.0, stop=lambda: asked[0])
    played.time.at[110.0] = lambda: asked.__setitem__(0, True)
    with pytest.raises(StoppedError):
        played.loop.execute()
    assert played.time.now < 111


def test_a_wish_reaches_the_round_that_is_going_on(play: Play) -> None:
    heard: list[Wish] = []

    def asks(_rounds: Rounds, given: Round) -> None:
        played.store.series.set_wish(SERIES, Wish.STOP)
        heard.append(given.journal.wish(given.run.id))
        given.plan()
        raise StoppedError(say("as asked"))

    played = play(asks)
    with pytest.raises(StoppedError):
        played.loop.execute()
    assert heard == [Wish.STOP]
    assert played.store.runs() == []


def test_a_pause_lasts_until_it_is_withdrawn_and_then_a_round_is_due(play: Play) -> None:
    states: list[Any] = []
    played = play(moves)
    played.time.at |= {
        110.0: lambda: played.store.series.set_wish(SERIES, Wish.PAUSE),
        150.0: lambda: states.append((played.series.state, played.series.note)),
        195.0: lambda: played.store.series.set_wish(SERIES, Wish.NONE),
    }
    played.loop.execute(2)
    assert states == [(RunState.PAUSED, f"as asked; go on with: pghaul resume {SERIES}")]
    assert 195 <= played.time.now < 196
    assert float("inf") in played.rounds.rests
    assert (len(played.of(EventKind.PAUSED)), len(played.of(EventKind.RESUMED))) == (1, 1)
    assert played.series.state is RunState.DONE


def test_a_paused_series_can_be_stopped(play: Play) -> None:
    played = play(moves)
    played.time.at |= {
        110.0: lambda: played.store.series.set_wish(SERIES, Wish.FREE),
        120.0: lambda: played.store.series.set_wish(SERIES, Wish.STOP),
    }
    with pytest.raises(StoppedError):
        played.loop.execute()
    assert played.series.state is RunState.STOPPED


def test_ctrl_c_twice_ends_the_series_at_once_and_says_so(play: Play) -> None:
    def interrupted(_rounds: Rounds, _given: Round) -> None:
        raise KeyboardInterrupt

    played = play(moves, interrupted)
    with pytest.raises(KeyboardInterrupt):
        played.loop.execute()
    assert played.series.state is RunState.STOPPED
    assert played.rounds.closed


# --- the history --------------------------------------------------------------------------------------------------


def test_of_many_rounds_the_latest_stay_and_failures_are_not_crowded_out(play: Play) -> None:
    played = play(moves, fails(LOST, planned=True), moves)
    played.loop.execute(8)
    old = played.store.series.forget_old_rounds(SERIES, keep=3)
    left = played.store.runs()
    assert (len(old), len(left)) == (4, 4)
    assert len([r for r in left if r.state is not RunState.DONE]) == 1


def test_a_series_whose_process_died_is_stopped(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(moves, pid=2**22 + 1)
    played.loop.execute(1)
    monkeypatch.setattr("pghaul.store.series.process.is_gone", lambda *_: True)
    played.store.series.save(replace(played.series, state=RunState.RUNNING))
    assert (played.series.state, played.series.error) == (RunState.STOPPED, "its process died")


@pytest.mark.parametrize(
    "options", [{}, {"options": {"recipe": "insert"}}, {"whole": True, "options": {"recipe": "copy"}}]
)
def test_only_merges_are_repeated(options: dict[str, Any]) -> None:
    plan = Plan.model_validate({"source": "a", "target": "b", "tables": [{"name": "t"}]} | options)
    with pytest.raises(UsageError) as caught:
        check_merges(plan)
    assert caught.value.number == 1086
    check_merges(PLAN)
