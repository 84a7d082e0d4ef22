"""`pghaul target`: made ready, asked how it is, and cleaned, by roles with rights and without."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.databases import DatabasePair
from tests.looking import execute, value

from pghaul.cli.app import run
from pghaul.model.errors import NotFoundError, ProgramError, TerminalError
from pghaul.model.upkeep import Fate, Preparation, Wanted
from pghaul.service import settings
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from pghaul.service.schedule_lines import schedule
from pghaul.target import backup
from pghaul.target.ledger_sql import INSTALL

PASSWORD = "p@ss:w/ör d?#%7781"
Told = pytest.CaptureFixture[str]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a test makes on a server that others use, too, and what goes with it."""

    server: Cluster
    databases: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    def role(self, name: str, words: str = "") -> str:
        self.roles.append(name)
        if words:
            execute(self.server.url(), f"CREATE ROLE {name} LOGIN {words}")
        return name

    def database(self, name: str) -> str:
        self.databases.append(name)
        return name


@pytest.fixture
def names(pg18: Cluster) -> Iterator[Names]:
    made = Names(server=pg18)
    yield made
    with psycopg.connect(pg18.url(), autocommit=True) as admin:
        for name in made.databases:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for name in made.roles:
            if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
                for (member,) in admin.execute(
                    "SELECT m.member::regrole::text FROM pg_auth_members m WHERE m.grantor = quote_ident(%s)::regrole",
                    [name],
                ).fetchall():
                    admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(member)))
        for name in reversed(made.roles):
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def fates(found: Preparation) -> dict[tuple[str, str], Fate]:
    return {(s.kind, s.name): s.fate for s in found.steps}


def prepared(url: str, **wanted: object) -> Preparation:
    return MigrationService("sqlite://").target.prepare(url, lambda _named: Wanted(**wanted))  # type: ignore[arg-type]


# --- prepare ----------------------------------------------------------------------------------------------------------


def test_all_of_it_is_made_once_and_the_owner_can_log_in(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    server, owner, database = names.server, names.role("app-Owner"), names.database("new-plant")
    asked: list[str] = []

    def password() -> str:
        asked.append("once")
        return PASSWORD

    def again() -> Preparation:
        return prepared(
            server.url(),
            database=database,
            owner=owner,
            schemas=("sales", "public"),
            extensions=("vector",),
            collation="C",
            password=password,
        )

    first, second = again(), again()
    assert first.ready
    assert second.ready
    assert fates(first)["role", owner] is fates(first)["database", database] is Fate.MADE
    assert fates(first)["schema", "sales"] is fates(first)["extension", "vector"] is Fate.MADE
    assert set(fates(second).values()) == {Fate.THERE}
    assert asked == ["once"]
    assert PASSWORD not in repr(first)
    kept = value(server.url(), f"SELECT rolpassword FROM pg_authid WHERE rolname = '{owner}'")
    assert kept.startswith("SCRAM-SHA-256$")
    assert value(server.url(database), "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'sales'")
    with with_passwords(server, owner):
        host = {"host": "127.0.0.1", "port": server.port, "dbname": database, "user": owner}
        with psycopg.connect(**host, password=PASSWORD) as session:
            session.execute("CREATE TABLE sales.orders (id int)")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(**host, password="another")


class with_passwords:  # noqa: N801 -- a context
    """This role has to say its password, the others still need none."""

    def __init__(self, server: Cluster, role: str) -> None:
        self._server, self._file = server, server.data / "pg_hba.conf"
        self._before = self._file.read_text()
        self._line = f'host all "{role}" 127.0.0.1/32 scram-sha-256\n'

    def __enter__(self) -> None:
        self._write(self._line + self._before)

    def __exit__(self, *_: object) -> None:
        self._write(self._before)

    def _write(self, text: str) -> None:
        self._file.write_text(text)
        before = value(self._server.url(), "SELECT pg_conf_load_time()")
        execute(self._server.url(), "SELECT pg_reload_conf()")
        while value(self._server.url(), "SELECT pg_conf_load_time()") == before:
            pass


def test_who_may_nothing_is_told_what_somebody_else_has_to_run(names: Names, capsys: Told, state: str) -> None:
    server, database = names.server, names.database("later")
    me, owner = names.role("nobody_much", "NOSUPERUSER"), names.role("later_owner")
    words = ["--database", database, "--owner", owner, "--schema", "sales", "--extension", "vector"]
    assert run(["target", "prepare", server.url("postgres", me), *words]) == 3
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        'CREATE ROLE "later_owner" LOGIN;',
        '\\password "later_owner"',
        'CREATE DATABASE "later" OWNER "later_owner" ENCODING \'UTF8\';',
        '\\connect "later"',
        'CREATE SCHEMA IF NOT EXISTS "sales" AUTHORIZATION "later_owner";',
        'CREATE EXTENSION IF NOT EXISTS "vector" SCHEMA "public";',
    ]
    assert "for who may" in err
    # … which somebody does, but for psql's own words; and then nothing is left.
    for line in out.splitlines():
        if not line.startswith("\\"):
            execute(server.url(database if "IF NOT EXISTS" in line else "postgres"), line)
    assert run(["target", "prepare", server.url("postgres", me), *words]) == 0
    assert "Ready" in capsys.readouterr().err


def test_who_may_make_roles_and_databases_needs_no_superuser(names: Names) -> None:
    server, database = names.server, names.database("managed")
    me, owner = names.role("manager_of_all", "CREATEROLE CREATEDB"), names.role("managed_owner")
    found = prepared(
        server.url("postgres", me), database=database, owner=owner, schemas=("sales",), extensions=("vector",)
    )
    assert [s.name for s in found.steps if s.fate is Fate.REFUSED] == ["vector"]  # it is not marked as trusted
    assert found.sql == '\\connect "managed"\nCREATE EXTENSION IF NOT EXISTS "vector" SCHEMA "public";\n'
    assert fates(found)["membership", f"{me} → {owner}"] is Fate.MADE
    assert value(server.url(), f"SELECT datdba::regrole::text FROM pg_database WHERE datname = '{database}'") == owner


def test_print_changes_nothing_and_says_all(names: Names, capsys: Told, state: str) -> None:
    server = names.server
    words = ["--database", "never", "--owner", "never", "--collation", "C", "--print", "--json"]
    assert run(["target", "prepare", server.url(), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [s["fate"] for s in found["steps"]] == ["to-do", "to-do"]
    assert "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'" in found["sql"]
    assert not value(server.url(), "SELECT count(*) FROM pg_database WHERE datname = 'never'")


def test_what_is_there_and_different_is_said(names: Names) -> None:
    server, database = names.server, names.database("odd")
    execute(server.url(), f"CREATE DATABASE {database} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    found = prepared(server.url(), database=database, extensions=("no_such_extension",))
    assert not found.ready
    assert [s.fate for s in found.steps] == [Fate.DIFFERENT, Fate.MISSING]
    assert "LATIN1 ≠ UTF8" in found.steps[0].note


def test_of_somebody_else_s_database_the_owner_gets_what_he_needs(names: Names) -> None:
    server, database, owner = names.server, names.database("shared"), names.role("guest", "NOSUPERUSER")
    execute(server.url(), f"CREATE DATABASE {database}")
    words = {"database": database, "owner": owner, "schemas": ("public",)}
    first, second = prepared(server.url(), **words), prepared(server.url(), **words)
    assert fates(first)["privilege", f"shared: CONNECT, CREATE → {owner}"] is Fate.MADE
    assert fates(first)["privilege", f"public: USAGE, CREATE → {owner}"] is Fate.MADE
    assert Fate.MADE not in fates(second).values()


def test_before_10_a_role_gets_an_md5_verifier(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "9.3")
    owner, database = names.role("old_owner"), names.database("old_one")
    assert prepared(names.server.url(), database=database, owner=owner, password=lambda: PASSWORD).ready
    assert value(names.server.url(), f"SELECT rolpassword FROM pg_authid WHERE rolname = '{owner}'").startswith("md5")


# --- check ------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_well_says_so_in_json(db_source: str, capsys: Told, state: str) -> None:
    assert run(["target", "check", db_source]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["read_only"] is found["in_recovery"] is False
    assert 0 < found["connections"] < found["max_connections"]
    assert found["version_num"] >= 160000


def test_a_database_that_is_read_only_is_said_to_be(db_source: str) -> None:
    name = db_source.rpartition("/")[2]
    execute(db_source, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert MigrationService("sqlite://").target.check(db_source).read_only is True


def test_what_does_not_answer_is_exit_1_in_time(capsys: Told, state: str) -> None:
    with socket.socket() as deaf:  # it takes connections, and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"postgresql://me@127.0.0.1:{deaf.getsockname()[1]}/db"
        assert run(["target", "check", url, "--timeout", "0.3"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["problem"]) == (False, "no answer within 0.3 s")


def test_where_nobody_listens_is_exit_1(capsys: Told, state: str) -> None:
    assert run(["target", "check", "postgresql://me@127.0.0.1:1/db", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "PGH-2102"


# --- settings from .env -----------------------------------------------------------------------------------------------


def test_a_run_goes_to_the_target_of_the_file(
    db_pair: DatabasePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    execute(db_pair.source, "CREATE TABLE t AS SELECT generate_series(1, 5) AS id")
    server = db_pair.target_server
    (tmp_path / "my.env").write_text(
        f"POSTGRESQL_HOST=127.0.0.1\nPOSTGRESQL_PORT={server.port}\nPOSTGRESQL_USER=postgres\n"
        f"POSTGRESQL_DATABASE={db_pair.target.rpartition('/')[2]}\nMIGRATION_WORKERS=1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings._Said, "env_file", None)  # what a test says is not for the next
    assert run(["--env-file", "my.env", "run", "--from", db_pair.source, "--table", "t", "--quiet"]) == 0
    assert value(db_pair.target, "SELECT count(*) FROM t") == 5


# --- backup -----------------------------------------------------------------------------------------------------------


def test_a_backup_is_dated_read_back_and_rotated(db_source: str, tmp_path: Path, capsys: Told, state: str) -> None:
    execute(db_source, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    name = db_source.rpartition("/")[2]
    folder = tmp_path / "saved"
    folder.mkdir()
    old = [folder / f"{name}-2026010{n}T000000Z.dump" for n in (1, 2, 3)]
    others = [folder / f"{name}-more-20260101T000000Z.dump", folder / "notes.txt"]
    for path in [*old, *others]:
        path.write_text("")
    assert run(["target", "backup", db_source, "--to", str(folder), "--keep", "2", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    file = Path(done["file"])
    assert set(folder.iterdir()) == {file, old[2], *others}
    assert (done["bytes"], len(done["removed"])) == (file.stat().st_size, 2)
    assert done["entries"] >= 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes().startswith(b"PGDMP")


def test_a_backup_that_cannot_be_read_back_is_not_kept(
    db_source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(db_source, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    whole = backup._dump

    def torn(*args: Any) -> None:
        whole(*args)
        os.truncate(args[2], args[2].stat().st_size - 200)

    monkeypatch.setattr(backup, "_dump", torn)
    old = tmp_path / f"{db_source.rpartition('/')[2]}-20260101T000000Z.dump"
    old.write_text("")
    with pytest.raises(ProgramError, match="cannot be read back"):
        MigrationService("sqlite://").target.backup(db_source, tmp_path, keep=1)
    assert list(tmp_path.iterdir()) == [old]


def test_who_may_not_read_it_all_gets_no_backup(names: Names, tmp_path: Path) -> None:
    me, database = names.role("reads_nothing", "NOSUPERUSER"), names.database("secret")
    execute(names.server.url(), f"CREATE DATABASE {database}")
    execute(names.server.url("secret"), "CREATE TABLE t (id int)")
    with pytest.raises(ProgramError, match="denied"):
        MigrationService("sqlite://").target.backup(names.server.url("secret", me), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_schedule_holds_no_password(tmp_path: Path, capsys: Told, state: str) -> None:
    words = ["postgresql://me:hunter2secret@db.example/plant%20a", "--to", str(tmp_path / "100% safe"), "--keep", "7"]
    assert run(["target", "backup", *words, "--schedule", "3:05"]) == 0
    out = capsys.readouterr().out
    assert "hunter2secret" not in out
    assert "\n5 3 * * * " in out
    assert "plant\\%2520a" in out or "plant\\%20a" in out
    assert "OnCalendar=*-*-* 03:05:00" in out
    assert f'"{tmp_path}/100%% safe"' in out
    assert run(["target", "backup", *words, "--schedule", "25:00"]) == 2
    korean = [schedule(["x"], "3:05", about) for about in ("고객 50%", "주문 50%")]
    assert korean[0].unit != korean[1].unit
    assert "Backup of 고객 50%% by" in korean[0].service


# --- clean ------------------------------------------------------------------------------------------------------------

DONE, OPEN = "0123456789ab", "0123456789ac"
RUNS = f"INSERT INTO pghaul.run VALUES ('{DONE}', 1, 'me', 'done', 'x'), ('{OPEN}', 1, 'me', 'stopped', 'x')"
MARKER = f"INSERT INTO pghaul.chunk_marker (run_id, relation, chunk, epoch) VALUES ('{DONE}', 'public.t', 'leaf', 1)"
STAGE = f"CREATE TABLE pghaul.stage_{DONE}_1 (id int)"
ASIDE = f"""INSERT INTO pghaul.quarantine (run_id, relation, chunk, columns, row_data, encoding, sqlstate, message)
            VALUES ('{DONE}', 'public.t', 'leaf', '{{id}}', 'x', 'UTF8', '22P02', 'no')"""


@pytest.fixture
def ledger(db_source: str) -> str:
    execute(db_source, INSTALL, RUNS, MARKER, STAGE)
    return db_source


def test_a_finished_run_is_removed_and_nothing_else(ledger: str, capsys: Told, state: str) -> None:
    assert run(["target", "clean", ledger, DONE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["staging_tables"] == 1
    assert value(ledger, "SELECT string_agg(run_id, ',') FROM pghaul.run") == OPEN
    assert not value(ledger, "SELECT count(*) FROM pghaul.chunk_marker")
    assert value(ledger, f"SELECT to_regclass('pghaul.stage_{DONE}_1')") is None


def test_what_could_be_resumed_or_replayed_is_asked_for_twice(ledger: str) -> None:
    execute(ledger, ASIDE)
    desk = MigrationService("sqlite://").target
    with pytest.raises(TerminalError, match="1 rows are in quarantine"):
        desk.clean(ledger, DONE)
    with pytest.raises(TerminalError, match=rf"could not be resumed: {OPEN}; 1 rows are in quarantine"):
        desk.clean(ledger, None, everything=True)
    done = desk.clean(ledger, None, everything=True, force=True)
    assert (done.runs, done.rows_set_aside, done.schema) == ((DONE, OPEN), 1, True)
    assert value(ledger, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pghaul'") == 0
    assert desk.clean(ledger, None, everything=True).schema is False


def test_while_a_run_is_alive_nothing_is_removed(ledger: str) -> None:
    with psycopg.connect(ledger, autocommit=True) as leader:
        leader.execute("SELECT pg_try_advisory_lock(28519, hashtext('pghaul run ' || %s))", [DONE])
        with pytest.raises(TerminalError, match=f"run {DONE} is at work"):
            MigrationService("sqlite://").target.clean(ledger, None, everything=True, force=True)
    assert value(ledger, "SELECT count(*) FROM pghaul.run") == 2


def test_what_cannot_be_looked_at_is_asked_for_twice(ledger: str) -> None:
    execute(ledger, "DROP TABLE pghaul.quarantine")  # as a release of before has it
    desk = MigrationService("sqlite://").target
    with pytest.raises(TerminalError, match="of another release"):
        desk.clean(ledger, None, everything=True)
    assert desk.clean(ledger, None, everything=True, force=True).schema


def test_tables_of_others_stay(ledger: str) -> None:
    execute(ledger, "CREATE TABLE pghaul.mine (id int)")
    with pytest.raises(TerminalError, match="not ours are in it: mine"):
        MigrationService("sqlite://").target.clean(ledger, None, everything=True, force=True)
    assert value(ledger, "SELECT to_regclass('pghaul.mine') IS NOT NULL")


def test_a_run_that_nobody_knows_is_not_found(ledger: str) -> None:
    with pytest.raises(NotFoundError, match="knows no run abc"):
        MigrationService("sqlite://").target.clean(ledger, "abc")


def test_neither_run_nor_all_is_wrong_usage(capsys: Told, state: str) -> None:
    assert run(["target", "clean", "postgresql://me@nowhere/db"]) == 2
    assert "--all" in capsys.readouterr().err
