"""The state store on its bad days: one clear sentence, and nothing is deleted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, text
from tests.recorded import new_store
from tests.unit.test_store import PLAN, RUN, manifest, run_of

from pghaul.model.errors import StateError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import Wish
from pghaul.store import damage
from pghaul.store import session as sessions
from pghaul.store.repository import Store
from pghaul.store.session import HEAD, VERSION_TABLE, _alembic

OLDER = ("0001", "0002", "0003")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def url(file: Path) -> str:
    return f"sqlite:///{file.as_posix()}"


@contextmanager
def opened(file: Path) -> Iterator[Store]:
    store = Store(url(file))
    try:
        yield store
    finally:
        store.close()


def filled(file: Path) -> Path:
    new_store(file.parent)
    with opened(file) as store:
        store.create_run(run_of(), PLAN, manifest())
    return file


def refusal(file: Path) -> StateError:
    with pytest.raises(StateError) as caught:
        Store(url(file))
    return caught.value


# --- damaged ------------------------------------------------------------------------------------------------------


def overwrite(file: Path) -> None:
    file.write_bytes(b"not a database at all" * 500)


def truncate(file: Path) -> None:
    os.truncate(file, 5000)


def beginning(file: Path) -> None:
    os.truncate(file, 60)


def scribble(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as content:
        content.seek(100)
        content.write(os.urandom(size - 100))


@pytest.mark.parametrize("harm", [overwrite, truncate, beginning, scribble])
def test_a_damaged_store_is_set_aside_by_name_and_a_new_one_begun(file: Path, harm: object) -> None:
    filled(file)
    harm(file)  # type: ignore[operator]
    was = file.read_bytes()
    exc = refusal(file)
    assert exc.code == "PGH-6404"
    moved = Path(str(exc.where))
    assert moved.parent == file.parent
    assert moved.name.startswith("state.db.damaged-20")
    assert moved.read_bytes() == was
    assert "pghaul runs --target URL" in exc.advice
    with opened(file) as store:
        assert store.runs() == []
        store.create_run(run_of(), PLAN, manifest())


def test_damage_that_is_found_later_is_treated_alike(file: Path) -> None:
    with opened(filled(file)) as store:
        store.save_event(Event(kind=EventKind.NOTICE, run=RUN))
    with closing(sqlite3.connect(file)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'pghaul_event'").fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store = Store(url(file))
    with file.open("r+b") as content:
        content.seek((page - 1) * 4096)
        content.write(b"\xff" * 4096)
    with pytest.raises(StateError) as caught:
        store.events(RUN)
    assert caught.value.code == "PGH-6404"
    assert store.runs() == []  # the same process goes on with the new one
    store.close()


def test_the_log_goes_with_its_store(file: Path) -> None:
    for part in damage.PARTS:
        Path(f"{file}{part}").write_bytes(part.encode())
    moved = damage.set_aside(file)
    assert {part: Path(f"{moved}{part}").read_bytes() for part in damage.PARTS} == {
        part: part.encode() for part in damage.PARTS
    }
    assert len(list(file.parent.iterdir())) == 3


def test_two_damaged_stores_in_one_second_keep_their_names(file: Path) -> None:
    places = set()
    for _ in range(3):
        overwrite(file)
        places.add(str(refusal(file).where))
    assert len(places) == 3


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear all, " * 1000)
    exc = refusal(letter)
    assert exc.code == "PGH-6410"
    assert letter.read_text().startswith("Dear all")
    assert list(tmp_path.iterdir()) == [letter]


def test_a_store_that_another_process_has_mended_meanwhile_is_left_alone(file: Path) -> None:
    broken = StateError("it was damaged a moment ago", code=6405)
    filled(file)
    assert sessions.begin_anew(sessions.parse(url(file)), broken) is broken
    with opened(file) as store:
        assert [r.id for r in store.runs()] == [RUN]


# --- newer, older -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["0008", "9999", "zzzz"])
def test_a_newer_store_is_refused_and_not_touched(file: Path, revision: str) -> None:
    filled(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")
    exc = refusal(file)
    assert (exc.code, revision in exc.message) == ("PGH-6402", True)
    assert "update pghaul" in exc.advice
    assert [p.name for p in file.parent.iterdir() if "before" in p.name or "damaged" in p.name] == []


def older(file: Path, revision: str) -> None:
    """A store as an earlier version made and filled it."""
    engine = create_engine(url(file))
    with engine.begin() as connection:
        command.upgrade(_alembic(connection), revision)
    engine.dispose()
    with closing(sqlite3.connect(file)) as connection:
        for statement in FILL[: 4 if revision == "0001" else None]:
            connection.execute(statement)
        connection.commit()


FILL = (
    "INSERT INTO pghaul_run (id, state, source, target, started, epoch, chunks, chunks_done, rows, bytes,"
    " bytes_estimated, pid, process, wish, plan, source_identity, target_identity, not_carried, error)"
    " VALUES ('0123456789ab', 'failed', 'postgresql://a/b', 'postgresql://c/d', '2026-01-02 03:04:05.000006', 3, 1, 1,"
    ' 7, 70, 80, 1, \'elsewhere/1\', \'none\', \'{"source": "postgresql://a/b", "target": "postgresql://c/d",'
    ' "tables": [{"name": "public.*"}]}\', \'one\', \'two\','
    ' \'[{"kind": "RULE", "name": "r", "why": "w"}]\', \'디스크\')',
    'INSERT INTO pghaul_table VALUES (\'0123456789ab\', 0, \'{"name": {"schema": "public", "name": "t"},'
    ' "oid": 1, "kind": "r", "columns": []}\')',
    "INSERT INTO pghaul_chunk (run_id, table_schema, table_name, key, position, kind, first_page, bytes_estimated,"
    " state, attempts, receipt) VALUES ('0123456789ab', 'public', 't', 'leaf', 0, 'leaf', 0, 80, 'done', 2,"
    ' \'{"table": {"schema": "public", "name": "t"}, "chunk": "leaf", "rows": 7, "bytes": 70,'
    ' "seconds": 1.5, "epoch": 3, "proof": "count"}\')',
    "INSERT INTO pghaul_event (run_id, at, kind, message, data)"
    " VALUES ('0123456789ab', '2026-01-02 03:04:06', 'notice', 'an old word', '{\"kind\": \"RULE\"}')",
    "INSERT INTO pghaul_sample (run_id, at, rows, bytes, in_flight, chunks_done)"
    " VALUES ('0123456789ab', '2026-01-02 03:04:07', 7, 70, 0, 1)",
    "UPDATE pghaul_run SET note = 'as asked', progress = '{\"rows\": 7}'",
)


@pytest.mark.parametrize("revision", OLDER)
def test_an_older_store_keeps_all_that_it_holds(file: Path, revision: str) -> None:
    older(file, revision)
    with opened(file) as store:
        run, plan, found = store.load_run(RUN)
        assert (run.epoch, run.rows, run.error, run.started.microsecond) == (3, 7, "디스크", 6)
        assert [s.name for s in plan.tables] == ["public.*"]
        assert ([str(t.name) for t in found.tables], found.not_carried[0].why) == (["public.t"], "w")
        assert [str(p.target) for p in found.placements] == ["public.t"]
        (chunk,) = store.chunks(RUN)
        assert chunk.receipt is not None
        assert (chunk.receipt.rows, chunk.attempts) == (7, 2)
        assert [e.message for e in store.events(RUN)] == ["an old word"]
        newer = revision != "0001"
        assert [s.rows for s in store.samples(RUN)] == [7] * newer
        assert store.progress(RUN) == ({"rows": 7} if newer else {})
        store.set_wish(RUN, Wish.STOP)
        store.save_event(Event(kind=EventKind.NOTICE, run=RUN, message="a new word"))
        assert store.facts(RUN) == {}


@pytest.mark.parametrize("revision", OLDER)
def test_a_copy_is_kept_of_what_was_before(file: Path, revision: str) -> None:
    older(file, revision)
    stale = file.with_name("state.db.before-0002")
    stale.write_bytes(b"of an earlier change")
    with opened(file):
        pass
    copy = file.with_name(f"state.db.before-{HEAD}")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (revision,)
        assert connection.execute("SELECT error FROM pghaul_run").fetchone() == ("디스크",)
    if sys.platform != "win32":
        assert copy.stat().st_mode & 0o777 == 0o600
    assert not stale.exists()


def test_a_new_store_makes_no_copy(file: Path) -> None:
    filled(file)
    assert [p.name for p in file.parent.iterdir() if "before" in p.name] == []


def test_a_change_that_fails_leaves_the_store_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(file, "0002")

    def half_way(config: object, _revision: str) -> None:
        connection = config.attributes["connection"]  # type: ignore[attr-defined]
        connection.execute(text("ALTER TABLE pghaul_run ADD COLUMN placements TEXT"))
        connection.execute(text("SELECT no_such_column FROM pghaul_run"))

    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", half_way)
        assert refusal(file).code == "PGH-6409"
    with opened(file) as store:
        assert store.run(RUN).rows == 7


# --- held, full, read-only ----------------------------------------------------------------------------------------


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Another program writes, and does not come to an end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_store_that_is_held_is_waited_for_so_long_and_no_longer(file: Path) -> None:
    filled(file)
    with opened(file) as store, held(file):
        store.wait_at_most(0.05)
        assert store.run(RUN).id == RUN  # who reads does not wait
        with pytest.raises(StateError) as caught:
            store.set_wish(RUN, Wish.STOP)
    exc = caught.value
    assert (exc.code, str(file) in exc.advice) == ("PGH-6403", True)


def test_a_short_hold_is_waited_for(file: Path) -> None:
    filled(file)
    script = """
        import sqlite3, sys
        c = sqlite3.connect(sys.argv[1], isolation_level=None)
        c.execute("BEGIN IMMEDIATE")
        print(flush=True)
        sys.stdin.readline()
        c.execute("COMMIT")
    """
    command_line = [sys.executable, "-c", textwrap.dedent(script), str(file)]
    with subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other, opened(file) as store:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        store.wait_at_most(0.01)
        with pytest.raises(StateError):
            store.set_wish(RUN, Wish.STOP)
        store.wait_at_most(30)
        other.stdin.write(b"\n")
        other.stdin.flush()
        store.set_wish(RUN, Wish.STOP)
        assert store.wish(RUN) is Wish.STOP


def test_an_older_store_that_is_held_is_not_changed_half(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(file, "0002")
    monkeypatch.setattr(sessions, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(sessions, "PRAGMAS", ("PRAGMA busy_timeout = 50", *sessions.PRAGMAS[1:]))
    monkeypatch.setattr(sessions.Patience, "__init__", lambda self: setattr(self, "milliseconds", 50))
    with held(file):
        assert refusal(file).code == "PGH-6403"
    with opened(file) as store:
        assert store.run(RUN).rows == 7


def test_a_run_is_not_recorded_in_a_store_that_is_full(file: Path) -> None:
    with opened(file) as store:
        with store._sessions() as session:
            pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar()
            session.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        many = replace(manifest(), tables=manifest().tables * 500)
        with pytest.raises(StateError) as caught:
            store.create_run(run_of(), PLAN, many)
        assert store.runs() == []
        assert caught.value.code == "PGH-6406"
        assert "make room" in caught.value.advice


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("what", ["folder", "home", "file"])
def test_where_nothing_may_be_written_that_is_said_with_its_cure(tmp_path: Path, what: str) -> None:
    """Root may write everywhere: so nobody does it."""
    file = tmp_path / "home" / "state" / "state.db"
    file.parent.mkdir(parents=True)
    if what == "file":
        filled(file)
    elif what == "home":
        file.parent.rmdir()
    environment = os.environ | {"PGHAUL_STATE": url(file), "PGHAUL_LANG": "en"}
    done = subprocess.run(
        [*as_nobody(tmp_path, file), sys.executable, "-m", "pghaul", "runs"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "The state store cannot be used: the state store cannot be written" in done.stderr
    assert "PGHAUL_STATE" in done.stderr
    assert "Traceback" not in done.stderr


def as_nobody(root: Path, file: Path) -> list[str]:
    """A prefix that runs a command as somebody who may read and not write there."""
    for path in (file, file.parent, file.parent.parent):
        if path.exists():
            path.chmod(0o555 if path.is_dir() else 0o444)
    if os.geteuid() != 0:
        return []
    for path in [root, *root.parents]:
        if path.stat().st_uid == 0 and not path.stat().st_mode & stat.S_ISVTX:
            path.chmod(path.stat().st_mode | 0o055)
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not here")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
