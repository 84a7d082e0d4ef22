"""The state store: what goes in comes out, in one transaction, privately, and quickly."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from tests.databases import clone, drop, template
from tests.recorded import new_store

import pghaul.store
from pghaul.engine.journal import Journal
from pghaul.model.chunk import Chunk, ChunkKind, ChunkState
from pghaul.model.errors import NotFoundError, StateError
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Plan, Selection
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Column, Index, Name, RelationKind, Table, Unsupported
from pghaul.service.embedded import Cluster
from pghaul.store import metrics
from pghaul.store.models import Base
from pghaul.store.repository import Store
from pghaul.store.session import HEAD, VERSION_TABLE

RUN = "0123456789ab"
ODD = Name('Se"t', "점 이력")
PLAN = Plan(source="postgresql://a/b", target="postgresql://c/d", tables=[Selection(name="public.*")])


def table(name: Name, oid: int = 1) -> Table:
    return Table(
        name=name,
        oid=oid,
        kind=RelationKind.TABLE,
        columns=(Column(name="id", type="bigint", type_oid=20, not_null=True),),
        parent=Name("public", "root"),
        indexes=(Index(name="i", definition="CREATE UNIQUE INDEX …", unique=True),),
    )


def manifest() -> Manifest:
    return Manifest(
        tables=(table(ODD), table(Name("public", "big"))),
        placements=(
            Placement.same(Name("public", "big")),
            Placement(
                target=Name("archive", "odd"),
                origins=(Origin(table=ODD, where="id > 7"), Origin(table=Name("public", "root"))),
                columns=("id",),
            ),
        ),
        chunks=(
            Chunk(table=Name("public", "big"), kind=ChunkKind.CTID, first_page=0, end_page=10, bytes=2**40),
            Chunk(table=Name("public", "big"), kind=ChunkKind.CTID, first_page=10, rows=7),
            Chunk(table=ODD, kind=ChunkKind.LEAF),
        ),
        identities=("one", "two"),
        not_carried=(Unsupported(kind="TRIGGER", name="t", why="later"),),
    )


def run_of(run_id: str = RUN, *, state: RunState = RunState.RUNNING, pid: int = 0) -> Run:
    started = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    return Run(id=run_id, state=state, source="a", target="c", started=started, pid=pid or os.getpid())


def receipt_of(name: Name, key: str) -> Receipt:
    return Receipt(table=name, chunk=key, rows=5, bytes=2**41, seconds=0.5, epoch=1, proof=Proof.ROWS, source_hash="ab")


@pytest.fixture(scope="module")
def made_on_server(pg16: Cluster) -> Iterator[str]:
    """The name of a database with an empty store: the making takes longer than most that is done with it."""
    name = clone(pg16, template(pg16, ""), "made")
    Store(pg16.url(name)).close()
    yield name
    drop(pg16, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a store that is there, and empty."""
    if request.param == "sqlite":
        yield new_store(tmp_path)
        return
    server: Cluster = request.getfixturevalue("pg16")
    name = clone(server, request.getfixturevalue("made_on_server"), "store")
    yield server.url(name)
    drop(server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def no_store_yet(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of one that is still to be made."""
    if request.param == "sqlite":
        return f"sqlite:///{(tmp_path / 'made' / 'state.db').as_posix()}"
    url: str = request.getfixturevalue("db_source")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def recorded(store: Store) -> Store:
    store.create_run(run_of(), PLAN, manifest())
    return store


def test_a_store_is_a_journal(store: Store) -> None:
    journal: Journal = store
    assert journal.chunk_states(RUN) == {}


def test_what_was_recorded_is_loaded_unchanged(recorded: Store) -> None:
    assert recorded.load_run(RUN) == (run_of(), PLAN, manifest())


def test_a_run_is_recorded_with_its_chunks_or_not_at_all(store: Store) -> None:
    doubled = replace(manifest(), chunks=manifest().chunks[:1] * 2)
    with pytest.raises(StateError) as caught:
        store.create_run(run_of(), PLAN, doubled)
    assert isinstance(caught.value.__cause__, IntegrityError)
    with pytest.raises(NotFoundError):
        store.load_run(RUN)


def test_a_saved_run_is_read_back_with_its_moments(recorded: Store) -> None:
    ended = replace(
        run_of(), state=RunState.FAILED, finished=datetime.now(UTC), rows=2**40, bytes=2**50, error="disk full"
    )
    recorded.save_run(ended)
    assert recorded.run(RUN) == ended
    assert recorded.load_run(RUN)[0] == ended


def test_chunk_states_are_read_in_the_order_of_the_plan(recorded: Store) -> None:
    recorded.save_chunk(RUN, ODD, "leaf", ChunkState.DONE, receipt=receipt_of(ODD, "leaf"))
    assert list(recorded.chunk_states(RUN).items()) == [
        ((Name("public", "big"), "ctid:0-10"), ChunkState.PENDING),
        ((Name("public", "big"), "ctid:10-"), ChunkState.PENDING),
        ((ODD, "leaf"), ChunkState.DONE),
    ]
    assert recorded.chunk_counts(RUN) == {ChunkState.PENDING: 2, ChunkState.DONE: 1}


def test_a_receipt_outlives_a_later_state_until_the_chunk_is_pending_again(recorded: Store) -> None:
    receipt = receipt_of(ODD, "leaf")
    recorded.save_chunk(RUN, ODD, "leaf", ChunkState.DONE, receipt=receipt)
    recorded.save_chunk(RUN, ODD, "leaf", ChunkState.FAILED, error="no", attempts=3)
    failed = recorded.chunks(RUN)[2]
    assert (failed.receipt, failed.error, failed.attempts) == (receipt, "no", 3)
    recorded.save_chunk(RUN, ODD, "leaf", ChunkState.PENDING)
    assert recorded.chunks(RUN)[2].receipt is None


def test_a_chunk_that_is_not_in_the_plan_is_refused(recorded: Store) -> None:
    with pytest.raises(NotFoundError, match="ctid:0-11"):
        recorded.save_chunk(RUN, ODD, "ctid:0-11", ChunkState.DONE)


def test_events_are_kept_in_order_and_progress_is_not(recorded: Store) -> None:
    retry = Event(kind=EventKind.CHUNK_RETRY, run=RUN, table=str(ODD), chunk="leaf", data={"attempt": 2})
    notice = Event(kind=EventKind.NOTICE, run=RUN, message="한글 [bold]", data={"kind": "RULE"})
    for event in (retry, Event(kind=EventKind.PROGRESS, run=RUN), notice):
        recorded.save_event(event)
    assert recorded.events(RUN) == [retry, notice]


def test_a_wish_reaches_another_process_s_store(recorded: Store, store_url: str) -> None:
    other = Store(store_url)
    other.set_wish(RUN, Wish.STOP)
    other.close()
    assert recorded.wish(RUN) is Wish.STOP


def sample_of(number: int) -> Sample:
    at = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=number)
    return Sample(at=at, rows=number, bytes=2**40 + number, in_flight=number, chunks_done=number)


def test_progress_and_samples_are_read_back(recorded: Store) -> None:
    assert (recorded.progress(RUN), recorded.samples(RUN)) == ({}, [])
    recorded.save_progress(replace(run_of(), rows=5), {"rows": 5, "workers": [{"table": "점"}]}, sample_of(1))
    recorded.save_progress(replace(run_of(), rows=6), {"rows": 6}, None)
    assert (recorded.progress(RUN), recorded.run(RUN).rows) == ({"rows": 6}, 6)
    assert recorded.samples(RUN) == [sample_of(1)]


def test_many_samples_are_thinned_out_evenly_and_the_ends_stay(
    recorded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 40
    monkeypatch.setattr(metrics, "MOST_SAMPLES", most)
    for number in range(most + 1):
        recorded.save_progress(run_of(), {}, sample_of(number))
    kept = [s.rows for s in recorded.samples(RUN)]
    assert kept == list(range(0, most + 1, 2))


def test_past_rates_are_those_of_the_latest_run_that_finished_the_table(recorded: Store) -> None:
    big = Name("public", "big")
    recorded.save_chunk(RUN, ODD, "leaf", ChunkState.DONE, receipt=receipt_of(ODD, "leaf"))
    for key in ("ctid:0-10", "ctid:10-"):
        assert big not in recorded.past_rates("a", "c", [big])
        recorded.save_chunk(RUN, big, key, ChunkState.DONE, receipt=receipt_of(big, key))
    later = replace(run_of("ffffffffffff"), started=datetime(2026, 2, 2, tzinfo=UTC))
    recorded.create_run(later, PLAN, manifest())
    slow = replace(receipt_of(ODD, "leaf"), seconds=9.0)
    recorded.save_chunk(later.id, ODD, "leaf", ChunkState.DONE, receipt=slow)
    recorded.save_chunk(later.id, big, "ctid:0-10", ChunkState.DONE, receipt=slow)  # the other range is not done
    assert recorded.past_rates("a", "c", [ODD, big, Name("public", "never")]) == {
        ODD: PastRate(rows=5, bytes=2**41, seconds=9.0),
        big: PastRate(rows=10, bytes=2**42, seconds=1.0),
    }
    assert recorded.past_rates("a", "elsewhere", [ODD, big]) == {}


def test_events_that_came_since_can_be_asked_for(recorded: Store) -> None:
    first, second = (Event(kind=EventKind.NOTICE, run=RUN, message=m) for m in ("one", "two"))
    recorded.save_event(first)
    seen, last = recorded.events_after(RUN, 0)
    recorded.save_event(second)
    assert (seen, recorded.events_after(RUN, last)[0]) == ([first], [second])
    assert recorded.events_after(RUN, recorded.events_after(RUN, last)[1])[0] == []


def test_nothing_can_be_wished_of_a_run_that_is_not_there(store: Store) -> None:
    assert store.wish(RUN) is Wish.NONE
    for ask in (lambda: store.set_wish(RUN, Wish.STOP), lambda: store.save_run(run_of()), lambda: store.run(RUN)):
        with pytest.raises(NotFoundError, match=RUN):
            ask()


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.PAUSED])
def test_a_run_whose_process_died_is_shown_as_stopped(recorded: Store, state: RunState) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        recorded.save_run(replace(run_of(pid=child.pid, state=state), note="asked"))
        assert recorded.run(RUN).state is state
        assert recorded.lives_elsewhere(RUN)
        child.kill()
        child.wait()
    shown = recorded.run(RUN)
    assert (shown.state, shown.error) == (RunState.STOPPED, "its process died")
    assert not recorded.lives_elsewhere(RUN)


def test_runs_come_the_latest_first(recorded: Store) -> None:
    later = replace(run_of("ffffffffffff"), started=datetime.now(UTC))
    recorded.create_run(later, PLAN, manifest())
    assert [run.id for run in recorded.runs()] == [later.id, RUN]
    assert [run.id for run in recorded.runs(limit=1)] == [later.id]


def test_a_run_of_ten_thousand_leaves_is_written_and_read_whole(store: Store) -> None:
    names = [Name("public", f"leaf_{i}") for i in range(10_000)]
    many = Manifest(
        tables=tuple(table(name, i) for i, name in enumerate(names)),
        placements=tuple(Placement.same(name) for name in names),
        chunks=tuple(Chunk(table=name, kind=ChunkKind.LEAF) for name in names),
        identities=("one", "two"),
    )
    store.create_run(run_of(), PLAN, many)
    assert store.load_run(RUN)[2] == many


def test_the_migrations_make_what_the_models_say(no_store_yet: str) -> None:
    Store(no_store_yet).close()
    engine = create_engine(no_store_yet.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_the_head_in_the_code_is_the_head_of_the_scripts() -> None:
    folder = Path(pghaul.store.__file__).with_name("migrations")
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_first_commands_at_once_make_one_store(no_store_yet: str) -> None:
    failures: list[BaseException] = []

    def first() -> None:
        try:
            Store(no_store_yet).close()
        except BaseException as exc:  # noqa: BLE001 -- shown by the assertion
            failures.append(exc)

    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    file = tmp_path / "made" / "state.db"
    store = Store(f"sqlite:///{file}")
    store.create_run(run_of(), PLAN, manifest())
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in file.parent.iterdir()} == {0o600}
    store.close()


def test_a_store_of_a_newer_program_is_refused_by_name(store: Store, store_url: str) -> None:
    engine = create_engine(store_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StateError, match="newer pghaul"):
        Store(store_url)


@pytest.mark.parametrize("url", ["nonsense", "bogus://x/y", "postgresql+nodriver://x/y"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StateError, match="PGHAUL_STATE"):
        Store(url)


def test_a_store_that_cannot_be_opened_says_so_without_its_password() -> None:
    with pytest.raises(StateError) as caught:
        Store("postgresql://me:s3cret@127.0.0.1:1/x?connect_timeout=2")
    assert "state store" in caught.value.message
    assert "s3cret" not in str(caught.value)
