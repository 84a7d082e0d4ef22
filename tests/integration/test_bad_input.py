"""Bad input through the command line: one clear message, exit 1 or 2, and nothing on the target has changed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.components import server_folder
from tests.conftest import running_server
from tests.databases import DatabasePair
from tests.looking import execute, state_of
from tests.moving import move
from tests.pooler import running_pooler
from tests.sqlite_files import shop, url_of
from tests.stopping import move_until_stopped

from pghaul.cli.app import run
from pghaul.cli.progress import PlainView
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.postgres import session as sessions
from pghaul.postgres.versions import Capabilities, capabilities
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from pghaul.store.repository import Store
from pghaul.target import ledger_sql

SECRET = "hunter2-s3cret"
SOURCE = """
    CREATE TABLE payment (id int PRIMARY KEY, amount numeric(10,2), note text);
    INSERT INTO payment SELECT g, g / 7.0, 'n' FROM generate_series(1, 100) g;
    CREATE SCHEMA other; CREATE TABLE other.t (a int); INSERT INTO other.t VALUES (1)
"""
TARGET = "CREATE TABLE mine (a int); INSERT INTO mine VALUES (1)"
FILLED = "CREATE TABLE payment (id int PRIMARY KEY, amount numeric(10,2), note text); INSERT INTO payment VALUES (7)"
NARROW = "CREATE TABLE payment (id int PRIMARY KEY, amount numeric(10,2))"

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def told_everything(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Even somebody who debugs sees no password; the traceback comes before the message."""
    monkeypatch.setenv("PGHAUL_DEBUG", "1")
    monkeypatch.setenv("COLUMNS", "400")


def with_password(url: str) -> str:
    """The same, with a password that must be seen nowhere."""
    user, _, place = url.removeprefix("postgresql://").partition("@")
    return f"postgresql://{user}:{SECRET}@{place}"


def words(source: str, target: str, *more: str, table: str = "payment") -> list[str]:
    return ["run", "--from", with_password(source), "--to", with_password(target), "--table", table, "-v", *more]


def assert_refused(argv: list[str], capsys: Output, *, title: str, says: str, advice: str, code: int = 1) -> str:
    """The message without its traceback."""
    found = run(argv)
    out, err = capsys.readouterr()
    assert (found, out) == (code, "")
    assert SECRET not in err
    lines = err.splitlines()
    at = [n for n, line in enumerate(lines) if line.startswith(f"{title}: ")]
    assert len(at) == 1, err
    message = "\n".join(lines[at[0] :])
    assert says in lines[at[0]], message
    assert advice in message
    assert advice == "" or "\n  try: " in message
    return message


def assert_nothing_kept_a_password(state: str) -> None:
    folder = Path(state.removeprefix("sqlite:///")).parent
    for file in folder.rglob("state.db*"):
        assert SECRET.encode() not in file.read_bytes()


# --- who and where -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    """A server that asks for passwords, of `reader` for another than ours, but `postgres` for none."""
    with running_server(16) as cluster:
        roles = f"CREATE ROLE reader LOGIN PASSWORD 'right'; CREATE ROLE knower LOGIN PASSWORD '{SECRET}'"
        execute(cluster.url(), roles, SOURCE, "GRANT SELECT ON payment TO knower")
        rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (cluster.data / "pg_hba.conf").write_text(rules)
        cluster.restart()
        yield cluster


@pytest.mark.template(target=TARGET)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password(guarded: Cluster, db_pair: DatabasePair, state: str, capsys: Output, side: str) -> None:
    before = state_of(db_pair.target), state_of(guarded.url())
    ends = [guarded.url(user="reader"), db_pair.target]
    message = assert_refused(
        words(*(ends if side == "source" else ends[::-1])),
        capsys,
        title="No access",
        says="password authentication failed",
        advice="check user and password",
    )
    assert f"at: postgresql://reader@127.0.0.1:{guarded.port}/postgres" in message
    assert (state_of(db_pair.target), state_of(guarded.url())) == before
    assert_nothing_kept_a_password(state)


def test_a_wrong_password_of_the_target_of_a_file(guarded: Cluster, state: str, tmp_path: Path, capsys: Output) -> None:
    message = assert_refused(
        ["run", url_of(shop(tmp_path)), with_password(guarded.url(user="reader")), "-v"],
        capsys,
        title="No access",
        says="password authentication failed",
        advice="check user and password",
    )
    assert f"at: postgresql://reader@127.0.0.1:{guarded.port}/postgres" in message
    assert_nothing_kept_a_password(state)


@pytest.mark.template(source=SOURCE, target=TARGET)
@pytest.mark.parametrize("side", [0, 1])
def test_an_unknown_host(db_pair: DatabasePair, capsys: Output, side: int) -> None:
    before = state_of(db_pair.target)
    ends = [db_pair.source, db_pair.target]
    ends[side] = "postgresql://postgres@no-such-host.invalid/d"
    message = assert_refused(
        words(*ends), capsys, title="No access", says="host name is not known", advice="check the host"
    )
    assert "no-such-host.invalid" in message
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_database_that_is_not_there(db_pair: DatabasePair, capsys: Output) -> None:
    assert_refused(
        words(db_pair.source + "x", db_pair.target), capsys, title="No access", says="does not exist", advice="database"
    )


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_url_that_is_none_is_wrong_usage_and_its_password_is_not_repeated(
    db_pair: DatabasePair, capsys: Output
) -> None:
    found = run(["run", "--from", f"mongodb://me:{SECRET}@h/d", "--to", db_pair.target, "--table", "payment"])
    out, err = capsys.readouterr()
    assert (found, out) == (2, "")
    assert SECRET not in err


@pytest.mark.template(source=SOURCE, target=TARGET)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_pooler_in_between(db_pair: DatabasePair, tmp_path: Path, capsys: Output, side: str) -> None:
    before = state_of(db_pair.target)
    with running_pooler(getattr(db_pair, f"{side}_server"), tmp_path / "bouncer") as port:
        urls = {s: getattr(db_pair, s) for s in ("source", "target")}
        urls[side] = f"postgresql://postgres@127.0.0.1:{port}/{urls[side].rpartition('/')[2]}"
        assert_refused(
            words(**urls), capsys, title="Not supported", says="pooler", advice="host and port of the PostgreSQL"
        )
    assert state_of(db_pair.target) == before


# --- which tables --------------------------------------------------------------------------------------------


@pytest.mark.template(source=SOURCE, target=TARGET)
@pytest.mark.parametrize(
    ("table", "advice"),
    [
        ("public.paymnt", "did you mean public.payment?"),
        ("payment_", "did you mean public.payment?"),
        ("zzz.qq*", "patterns are schema.table with * and ?"),
        ("othr.*", "other.t"),
    ],
)
def test_no_such_table(db_pair: DatabasePair, capsys: Output, table: str, advice: str) -> None:
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target, table=table)
    assert_refused(argv, capsys, title="Not found", says=table, advice=advice)
    assert state_of(db_pair.target) == before
    assert MigrationService().runs() == []


FEATURES = {
    "declarative partitions": "CREATE TABLE f (a int) PARTITION BY RANGE (a)",
    "identity columns": "CREATE TABLE f (a int GENERATED ALWAYS AS IDENTITY)",
    "generated columns": "CREATE TABLE f (a int, b int GENERATED ALWAYS AS (a) STORED)",
}


@pytest.mark.parametrize("db_pair", [("pg16", "pg15")], indirect=True)
@pytest.mark.template(target=TARGET)
@pytest.mark.parametrize("feature", FEATURES)
def test_a_target_older_than_a_feature_in_use(
    db_pair: DatabasePair, capsys: Output, monkeypatch: pytest.MonkeyPatch, feature: str
) -> None:
    """The 15 passes for a 9.6, which knows none of them; the source stays what it is."""

    def older(version_num: int, _role: object = None) -> Capabilities:
        return capabilities(version_num, environ={"PGHAUL_ASSUME_VERSION": "9.6"} if version_num < 160000 else {})

    monkeypatch.setattr(sessions, "capabilities", older)
    execute(db_pair.source, FEATURES[feature])
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target, table="f")
    assert_refused(argv, capsys, title="Not supported", says=f"public.f needs {feature}", advice="on the target")
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE, target=FILLED)
def test_a_target_table_with_rows(db_pair: DatabasePair, capsys: Output) -> None:
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target)
    assert_refused(
        argv, capsys, title="The target table has rows", says="public.payment", advice="--on-existing truncate"
    )
    assert state_of(db_pair.target) == before
    assert MigrationService().runs() == []


@pytest.mark.template(source=SOURCE, target=NARROW)
def test_a_column_that_the_target_lacks(db_pair: DatabasePair, capsys: Output) -> None:
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target)
    title = "The table has changed its shape"
    assert_refused(argv, capsys, title=title, says="public.payment has no column note", advice="add it (text)")
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_missing_table_that_is_not_to_be_created(db_pair: DatabasePair, capsys: Output) -> None:
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target, "--no-create")
    assert_refused(argv, capsys, title="Not found", says="no table public.payment", advice="drop --no-create")
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_no_pg_dump(db_pair: DatabasePair, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGHAUL_PG_BIN", str(tmp_path))
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target)
    assert_refused(argv, capsys, title="Not found", says="no pg_dump and pg_restore", advice="PGHAUL_PG_BIN")
    assert state_of(db_pair.target) == before


# --- privileges ----------------------------------------------------------------------------------------------


@pytest.fixture
def role(db_pair: DatabasePair) -> Iterator[str]:
    """A role on both servers that may log in and nothing else."""
    ends = ((db_pair.source_server, db_pair.source), (db_pair.target_server, db_pair.target))
    for server, _ in ends:
        execute(server.url(), "CREATE ROLE limited LOGIN")
    yield "limited"
    for server, url in ends:
        execute(url, "DROP OWNED BY limited")
        execute(server.url(), "DROP ROLE limited")


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"{role}@")


@pytest.mark.template(source=SOURCE, target=TARGET)
@pytest.mark.parametrize("table", ["payment", "other.t"])
def test_no_privilege_to_read(db_pair: DatabasePair, role: str, capsys: Output, table: str) -> None:
    before = state_of(db_pair.target)
    argv = words(as_role(db_pair.source, role), db_pair.target, table=table)
    assert_refused(argv, capsys, title="No access", says="limited may not read", advice="GRANT SELECT")
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE, target=NARROW + "; ALTER TABLE payment ADD note text")
@pytest.mark.parametrize(
    ("granted", "table", "says", "advice"),
    [
        ("", "payment", "lacks INSERT, TRUNCATE, SELECT on the target's public.payment", "GRANT INSERT, TRUNCATE"),
        ("GRANT SELECT ON payment", "payment", "lacks INSERT, TRUNCATE on the target's public.payment", "GRANT INSERT"),
        ("GRANT ALL ON payment", "payment", "may not create the schema pghaul", "GRANT CREATE ON DATABASE"),
        ("GRANT CREATE ON DATABASE {database}", "fresh", "may not create tables in schema public", "ON SCHEMA public"),
        ("GRANT CREATE ON SCHEMA public", "other.t", "may not create the schema", "GRANT CREATE ON DATABASE"),
    ],
)
def test_no_privilege_to_create_or_to_write(
    db_pair: DatabasePair, role: str, capsys: Output, granted: str, table: str, says: str, advice: str
) -> None:
    execute(db_pair.source, "CREATE TABLE fresh (a int)")
    if granted:
        execute(db_pair.target, granted.format(database=db_pair.target.rpartition("/")[2]) + " TO limited")
    before = state_of(db_pair.target)
    argv = words(db_pair.source, as_role(db_pair.target, role), table=table)
    assert_refused(argv, capsys, title="No access", says=says, advice=advice)
    assert state_of(db_pair.target) == before
    assert MigrationService().runs() == []


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_schema_that_the_role_may_not_create_is_refused_before_the_run(
    db_pair: DatabasePair, role: str, capsys: Output
) -> None:
    """The ledger is there already, from a run of somebody who might."""
    execute(
        db_pair.target,
        ledger_sql.INSTALL,
        "GRANT USAGE ON SCHEMA pghaul TO limited",
        "GRANT ALL ON ALL TABLES IN SCHEMA pghaul TO limited",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA pghaul TO limited",
    )
    before = state_of(db_pair.target)
    argv = words(db_pair.source, as_role(db_pair.target, role), table="other.t")
    assert_refused(
        argv, capsys, title="No access", says="may not create the schema other", advice="GRANT CREATE ON DATABASE"
    )
    assert state_of(db_pair.target) == before


# --- plan files ----------------------------------------------------------------------------------------------

PLAN = 'source = "{source}"\ntarget = "{target}"\n{typo}\n[[tables]]\nname = "payment"\n[options]\n{option}\n'


@pytest.mark.template(source=SOURCE, target=TARGET)
@pytest.mark.parametrize(
    ("typo", "option", "says"),
    [
        ("", "wokers = 3", "line 7: unknown key 'wokers', did you mean 'workers'?"),
        ("workers = 3", "", "unknown key 'workers', did you mean 'workers' in [options]?"),
        ("", 'verify = "sometimes"', "'verify': one of 'count' or 'checksum' is needed"),
        ("", "workers = 0", "'workers': at least 1 is needed"),
        ("", "workers = [", "this is not TOML"),
    ],
)
def test_a_plan_file_with_a_mistake_is_named_and_exit_is_2(
    db_pair: DatabasePair, tmp_path: Path, capsys: Output, typo: str, option: str, says: str
) -> None:
    before = state_of(db_pair.target)
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.format(source=with_password(db_pair.source), target=db_pair.target, typo=typo, option=option))
    title = "The plan cannot be used"
    message = assert_refused(["run", str(plan)], capsys, title=title, says=says, advice="", code=2)
    assert f"at: {plan}" in message
    assert state_of(db_pair.target) == before


@pytest.mark.parametrize("kind", ["missing", "a folder", "not text"])
def test_a_plan_file_that_cannot_be_read(tmp_path: Path, capsys: Output, kind: str) -> None:
    plan = tmp_path / "plan.toml"
    if kind == "a folder":
        plan.mkdir()
    elif kind == "not text":
        plan.write_bytes(b"\xff\xfe\x00")
    says = {"missing": "no such plan file", "a folder": "cannot be read", "not text": "written in UTF-8"}[kind]
    title = "The plan cannot be used"
    message = assert_refused(["run", str(plan)], capsys, title=title, says=says, advice="", code=2)
    assert str(plan) in message


# --- runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["resume", "status", "show", "stop"])
def test_an_unknown_run(capsys: Output, command: str) -> None:
    says = "there is no run 0123456789ab"
    assert_refused([command, "0123456789ab"], capsys, title="Not found", says=says, advice="pghaul runs")


@pytest.mark.template(source=SOURCE)
def test_a_run_id_that_is_taken_is_wrong_usage(db_pair: DatabasePair, capsys: Output) -> None:
    done = move(db_pair, "payment").run.id
    before = state_of(db_pair.target)
    argv = words(db_pair.source, db_pair.target, "--run-id", done)
    assert_refused(argv, capsys, title="Wrong usage", says=f"there is a run {done} already", advice="resume", code=2)
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE)
def test_a_finished_run_is_resumed_to_no_effect(db_pair: DatabasePair, capsys: Output) -> None:
    done = move(db_pair, "payment").run.id
    before = state_of(db_pair.target)
    execute(db_pair.source, "DELETE FROM payment")
    assert run(["resume", done]) == 0
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SOURCE)
def test_a_run_that_runs_elsewhere_is_not_resumed(db_pair: DatabasePair, state: str, capsys: Output) -> None:
    """Another living process of this machine has it: the one that started this one will do."""
    run_id = move_until_stopped(db_pair)
    store = Store(state)
    store.save_run(replace(store.run(run_id), state=RunState.RUNNING, pid=os.getppid()))
    store.close()
    before = state_of(db_pair.target)
    says = f"still runs, in process {os.getppid()}"
    assert_refused(["resume", run_id], capsys, title="Cannot go on", says=says, advice=f"pghaul stop {run_id}")
    assert state_of(db_pair.target) == before


# --- passwords -----------------------------------------------------------------------------------------------

SPY = """#!/bin/sh
{{ echo "$@"; env; }} >> {log}
exec {program} "$@"
"""


@pytest.mark.skipif(os.name == "nt", reason="the spy is a shell script")
@pytest.mark.template(source=SOURCE)
def test_a_password_reaches_no_output_no_store_no_argument_and_no_environment(
    guarded: Cluster,
    db_pair: DatabasePair,
    state: str,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a run that needs it: of the workers, of pg_dump and pg_restore, and of everything that is said and kept."""
    folder = server_folder(18)
    assert folder is not None
    spies = tmp_path / "bin"
    spies.mkdir()
    for name in ("pg_dump", "pg_restore"):
        spy = spies / name
        spy.write_text(SPY.format(log=tmp_path / "spied", program=folder / name))
        spy.chmod(0o755)
    monkeypatch.setenv("PGHAUL_PG_BIN", str(spies))
    plan = tmp_path / "plan.toml"
    argv = words(guarded.url(user="knower"), db_pair.target, "--save-plan", str(plan), "--workers", "1")
    seen: list[str] = []
    monkeypatch.setattr(PlainView, "__call__", _and_look_at_processes(seen))
    assert run(argv) == 0
    out, err = capsys.readouterr()
    assert any("multiprocessing" in s for s in seen)
    spied = (tmp_path / "spied").read_text()
    assert "--schema-only" in spied
    for text in (out, err, spied, plan.read_text(), *seen, *_shown(capsys)):
        assert SECRET not in text
    assert_nothing_kept_a_password(state)


def _and_look_at_processes(seen: list[str]) -> Callable[[PlainView, Event], None]:
    tell = PlainView.__call__

    def call(view: PlainView, event: Event) -> None:
        if event.kind in {EventKind.CHUNK_STARTED, EventKind.CHUNK_DONE}:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # it ends while it is looked at
                    seen.append(" ".join(child.cmdline()))
                    seen.append(json.dumps(child.environ()))
        tell(view, event)

    return call


def _shown(capsys: Output) -> list[str]:
    for command in (["runs", "--json"], ["status", "--json"], ["show", MigrationService().status().id, "--json"]):
        assert run(command) == 0
    return list(capsys.readouterr())
