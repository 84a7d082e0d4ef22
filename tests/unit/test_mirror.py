"""A run goes on without its store; what it could not write is written later, and the record is never put off."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.recorded import new_store
from tests.unit.test_store import ODD, PLAN, RUN, manifest, receipt_of, run_of
from tests.unit.test_store_faults import overwrite, url

from pghaul.engine import mirror
from pghaul.engine.mirror import Mirror
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import StateError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState, Wish
from pghaul.store.repository import Store


class Clock:
    """Time passes when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(mirror, "time", made)
    monkeypatch.setattr(mirror, "HURRY", 0.01)
    monkeypatch.setattr(mirror, "CALM", 0.02)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    new_store(tmp_path)
    return tmp_path / "state.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    opened = Store(url(file))
    yield opened
    opened.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def journal(store: Store, said: list[str], clock: Clock) -> Mirror:
    made = Mirror(store, said.append)
    made.create_run(run_of(), PLAN, manifest())
    return made


@pytest.fixture
def hold(file: Path) -> Iterator[Callable[[], None]]:
    """Take the store from everybody else; called again, give it back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield lambda: connection.execute("ROLLBACK" if connection.in_transaction else "BEGIN IMMEDIATE") and None


def note(words: str) -> Event:
    return Event(kind=EventKind.NOTICE, run=RUN, message=words)


def work(journal: Mirror, number: int = 1) -> None:
    """As a run writes."""
    journal.save_event(note(f"event {number}"))
    journal.save_chunk(RUN, ODD, "leaf", ChunkState.DONE, receipt=receipt_of(ODD, "leaf"))
    journal.save_progress(replace(run_of(), rows=number), {"rows": number}, None)


def events(store: Store) -> list[str]:
    return [e.message for e in store.events(RUN)]


def test_a_short_hold_costs_nothing_and_is_not_worth_a_word(
    journal: Mirror, store: Store, hold: Callable[[], None], said: list[str], clock: Clock
) -> None:
    hold()
    work(journal)
    hold()
    clock.now += 1
    journal.save_event(note("event 2"))
    assert (events(store), store.run(RUN).rows, said) == (["event 1", "event 2"], 1, [])
    assert store.chunk_states(RUN)[ODD, "leaf"] is ChunkState.DONE


def test_a_long_hold_is_said_once_and_its_end_too(
    journal: Mirror, store: Store, hold: Callable[[], None], said: list[str], clock: Clock
) -> None:
    hold()
    for number in range(50):
        work(journal, number)
        clock.now += 1
    assert len(said) == 1
    assert "the run goes on without it" in said[0]
    assert events(store) == []
    hold()
    clock.now += mirror.LONGEST_PAUSE
    work(journal, 50)
    assert "has all that happened meanwhile" in said[1]
    assert events(store) == [f"event {n}" for n in range(51)]
    assert store.run(RUN).rows == 50


def test_a_run_does_not_wait_for_its_store_again_and_again(
    journal: Mirror, store: Store, hold: Callable[[], None], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def refuse(_run: object) -> None:
        tries.append(clock.now)
        raise StateError("held")

    hold()
    work(journal)
    monkeypatch.setattr(store, "save_run", refuse)
    for _ in range(300):
        clock.now += 1
        work(journal)
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert max(gaps) <= mirror.LONGEST_PAUSE + 1
    assert len(tries) < 20


def test_wishes_are_heard_while_nothing_can_be_written(
    journal: Mirror, store: Store, file: Path, hold: Callable[[], None]
) -> None:
    store.set_wish(RUN, Wish.PAUSE)
    hold()
    work(journal)
    assert journal.wish(RUN) is Wish.PAUSE


def test_a_store_that_is_damaged_is_replaced_and_the_run_recorded_anew(
    journal: Mirror, store: Store, file: Path, said: list[str], clock: Clock
) -> None:
    store.close()  # as after a moment without work: the next look reads the file
    overwrite(file)
    for number in range(5):
        work(journal, number)
        clock.now += 10
    assert [p.name for p in file.parent.iterdir() if "damaged" in p.name]
    assert store.load_run(RUN)[1:] == (PLAN, manifest())
    assert events(store) == [f"event {n}" for n in range(5)]
    assert store.run(RUN).rows == 4


def test_a_store_whose_file_is_deleted_is_begun_anew_and_the_run_recorded_in_it(
    journal: Mirror, store: Store, file: Path, clock: Clock, said: list[str]
) -> None:
    work(journal, 1)
    for part in file.parent.iterdir():
        part.unlink()
    work(journal, 2)
    clock.now += 10
    work(journal, 3)
    assert (events(store), store.load_run(RUN)[1:]) == (["event 2", "event 3"], (PLAN, manifest()))
    other = Store(url(file))
    assert other.run(RUN).rows == 3
    other.close()


def test_the_end_is_recorded_with_more_patience(
    journal: Mirror, store: Store, hold: Callable[[], None], said: list[str]
) -> None:
    hold()
    work(journal)
    journal.save_progress(replace(run_of(), state=RunState.DONE), {}, None)
    hold()
    journal.settle()
    assert (store.run(RUN).state, events(store), said) == (RunState.DONE, ["event 1"], [])


def test_an_end_that_cannot_be_recorded_is_said(journal: Mirror, hold: Callable[[], None], said: list[str]) -> None:
    hold()
    work(journal)
    journal.settle()
    assert len(said) == 1
    assert "the end of this run could not be recorded" in said[0]
    assert "ledger" in said[0]


def test_a_record_that_no_store_takes_does_not_hold_up_the_others(
    journal: Mirror, store: Store, said: list[str], clock: Clock
) -> None:
    journal.save_event(replace(note("of nobody"), run="ffffffffffff"))  # no such run
    for number in range(5):
        clock.now += 10
        work(journal, number)
    assert events(store)[-1] == "event 4"
    assert "1 records" in said[-1]


def test_the_record_of_a_new_run_is_not_put_off(store: Store, said: list[str], hold: Callable[[], None]) -> None:
    store.wait_at_most(0.01)
    hold()
    with pytest.raises(StateError):
        Mirror(store, said.append).create_run(run_of(), PLAN, manifest())
    assert store.runs() == []


def test_what_is_only_read_can_be_done_without(journal: Mirror, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StateError("gone")

    for name in ("past_rates", "chunk_states", "wish"):
        monkeypatch.setattr(store, name, refuse)
    assert journal.past_rates("a", "c", [ODD]) == {}
    assert journal.chunk_states(RUN) == {}
    assert journal.wish(RUN) is Wish.NONE
