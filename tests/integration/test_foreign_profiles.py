"""Profiles of databases that are not PostgreSQL: looked at, moved, stopped, resumed and proven by their names."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.leaking import ENCODED, SECRET, assert_tight
from tests.looking import value
from tests.mariadb import MariaDatabase
from tests.moving import rows
from tests.sqlite_files import made, shop, url_of
from tests.stopping import Brake
from tests.tds.endpoint import Endpoint
from tests.tds.stand_in import Column, Stand, Table

from pghaul.cli.app import run
from pghaul.model.errors import StoppedError
from pghaul.model.plan import Options, Plan
from pghaul.service import keys
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import read_plan

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
SHOP = (
    "CREATE TABLE customer (id int AUTO_INCREMENT PRIMARY KEY, name varchar(40))",
    "INSERT INTO customer (name) SELECT CONCAT('name ', seq) FROM seq_1_to_300",
    "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer (id))",
    "INSERT INTO orders SELECT seq, seq FROM seq_1_to_200",
)
SMALL = "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1)"
Call: TypeAlias = Callable[..., str]


@pytest.fixture
def call(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Call]:
    """The command line in this process; what it says, and all that it leaves, is searched for the password."""
    monkeypatch.setattr(keys, "key_folder", lambda: tmp_path / "settings")
    monkeypatch.setenv("PGHAUL_LOG_DIR", str(tmp_path / "log"))
    monkeypatch.setenv("PGHAUL_LOG_LEVEL", "debug")
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)

    def called(*argv: str, expect: int = 0, typed: str | None = None) -> str:
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(typed + "\n"))
        code = run(argv)
        said = "".join(capfd.readouterr())
        assert_tight(said=said)
        assert code == expect, said
        return said

    yield called
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert_tight(**{path.name: path.read_bytes()})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a person at the terminal types, in order."""
    typed: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console.input", lambda *_a, **_k: typed.pop(0))
    yield typed
    assert typed == []


@pytest.fixture
def keeper(mariadb: MariaDatabase) -> Iterator[MariaDatabase]:
    """A small shop, and one who may read it, by a password that shows wherever it comes out."""
    mariadb.run(*SHOP)
    quoted = SECRET.replace("\\", "\\\\").replace("'", "''")
    mariadb.run(f"CREATE USER keeper IDENTIFIED BY '{quoted}'")
    mariadb.run(f"GRANT SELECT ON {mariadb.name}.* TO keeper")
    yield mariadb
    mariadb.run("DROP USER keeper")


def url(of: MariaDatabase, query: str = "") -> str:
    return f"mysql://keeper@127.0.0.1:{of.server.port}/{of.name}{query}"


def test_a_shop_is_moved_stopped_resumed_and_proven_by_its_name(
    keeper: MariaDatabase, db_source: str, call: Call, tmp_path: Path
) -> None:
    call("profile", "add", "shop", url(keeper), "--password-stdin", typed=SECRET)
    assert "customer" in call("inspect", "shop")
    call("plan", "--from", "shop", "--to", db_source, "--workers", "1", "-o", "shop.toml")
    assert read_plan(tmp_path / "shop.toml").source == "shop"
    call("run", "shop.toml", "--dry-run")
    told = json.loads(call("check", "shop.toml", "--phase", "before", "--json"))["items"]
    assert {i["outcome"] for i in told if (i["id"], i["side"]) in {("source", "source"), ("clock", "source")}} == {
        "fine"
    }
    brake = Brake()
    with pytest.raises(StoppedError):
        MigrationService().run(read_plan(tmp_path / "shop.toml"), listener=brake.hear, stop=brake.pulled)
    stopped = MigrationService().latest_unfinished().id
    assert f"needed by unfinished runs: {stopped}" in call("profile", "remove", "shop", expect=1)
    call("resume", stopped)
    assert value(db_source, "SELECT (SELECT count(*) FROM customer) + (SELECT count(*) FROM orders)") == 500
    call("verify", stopped)
    assert "that cannot be asked of it from here" in call(
        "check", "shop.toml", "--phase", "after", expect=1
    )  # the test server has no fsync
    call("report", stopped)
    call("profile", "remove", "shop")
    assert "shop is neither a URL nor a profile" in call("verify", stopped, expect=1)
    assert list((tmp_path / "log").rglob("*.jsonl")) != []


def test_a_profile_that_was_led_elsewhere_resumes_nothing(tmp_path: Path, db_source: str, call: Call) -> None:
    first, second = made(tmp_path / "one.db", SMALL), made(tmp_path / "two.db", SMALL)
    call("profile", "add", "shop", url_of(first))
    brake = Brake()
    plan = Plan(source="shop", target=db_source, whole=True, options=Options(workers=1))
    with pytest.raises(StoppedError):
        MigrationService().run(plan, listener=brake.hear, stop=brake.pulled)
    call("profile", "edit", "shop", url_of(second))
    assert "PGH-5730" in call("resume", expect=1)
    assert "need --from or --to from now on" in call("profile", "remove", "shop", "--force")


def test_what_is_true_of_a_mariadb_is_told(keeper: MariaDatabase, call: Call, db_source: str) -> None:
    call("profile", "add", "shop", url(keeper, "?ssl-mode=disabled"), "--password-stdin", typed=SECRET)
    found = json.loads(call("profile", "test", "shop", "--json"))
    facts = found["facts"]
    assert (found["engine"], found["usable"], facts["tables"], facts["unreadable"]) == ("mysql", True, 2, [])
    assert re.fullmatch(r"MariaDB [\d.]+", facts["product"])
    assert (facts["encoding"], facts["user"], facts["encrypted"]) == ("utf8mb4", "keeper@%", False)
    assert facts["granted"] == [f"SELECT ON `{keeper.name}`.*"]
    assert facts["not_granted"] == ["SHOW VIEW", "LOCK TABLES", "RELOAD"]
    assert abs(facts["distance"]["clock_ahead"]) < 1 + facts["distance"]["clock_within"]
    shown = call("profile", "test", "shop")
    assert "within this machine" in shown
    assert "Nothing is wrong." in shown


def test_what_is_wrong_with_a_mariadb_is_told(keeper: MariaDatabase, call: Call, db_source: str) -> None:
    call("profile", "add", "shop", url(keeper), "--password-stdin", typed=SECRET)
    keeper.run(f"REVOKE SELECT ON {keeper.name}.* FROM keeper", f"GRANT SELECT ON {keeper.name}.orders TO keeper")
    keeper.run(f"GRANT INSERT ON {keeper.name}.customer TO keeper")
    told = call("profile", "test", "shop")
    assert f"tables that are seen and may not be read: 1 ({keeper.name}.customer)" in told
    call("profile", "edit", "shop", "--password-stdin", typed=SECRET + "x")
    assert "Access denied for user" in call("profile", "test", "shop", expect=1)
    assert "Access denied for user" in call("inspect", "shop", expect=1)


def test_the_wizard_takes_a_profile_and_a_url(
    keeper: MariaDatabase,
    db_source: str,
    call: Call,
    tmp_path: Path,
    answers: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHAUL_SOURCE_PASSWORD", SECRET)
    call("profile", "add", "shop", url(keeper))
    file = tmp_path / "wizard.toml"
    answers += ["shop", "1", "shop", db_source, "", "", "1", str(file), "y"]
    said = call("plan", "--interactive")
    assert "rows go to PostgreSQL only, and not to mysql" in said
    plan = read_plan(file)
    assert (plan.source, [s.name for s in plan.tables], plan.whole) == ("shop", ["customer"], False)
    assert rows(db_source, "SELECT count(*) FROM customer") == [(300,)]
    answers += [url(keeper), "", db_source, "truncate", "", "1", str(tmp_path / "two.toml"), "n"]
    call("plan", "--interactive")
    plan = read_plan(tmp_path / "two.toml")
    assert (plan.source, plan.tables, plan.whole) == (url(keeper), [], True)


def test_what_is_true_of_files_and_of_a_sql_server_is_told(
    call: Call, tmp_path: Path, db_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("profile", "add", "file", url_of(shop(tmp_path)))
    told = call("profile", "test", "file")
    assert re.search(r"SQLite 3\.", told)
    assert "within this machine" in told
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "a.csv").write_text("id;v\n1;x\n", encoding="utf-8")
    call("profile", "add", "folder", f"csv:{tmp_path.as_posix()}/csv?delimiter=;")
    facts = json.loads(call("profile", "test", "folder", "--json"))["facts"]
    assert (facts["product"], facts["tables"], facts["distance"]) == ("csv", 1, None)
    tables = [
        Table(name="item", columns=(Column(name="id", native="int", not_null=True),), rows=[(1,)]),
        Table(name="hidden", columns=(Column(name="id", native="int"),)),
    ]
    with Endpoint(Stand(tables, denied=("hidden",)).answers, password=SECRET) as server:
        where = f"sqlserver://sa@127.0.0.1:{server.port}/shop?encrypt=no"
        call("profile", "add", "erp", where, "--password-stdin", typed=SECRET)
        told = call("profile", "test", "erp")
        assert "tables that are seen and may not be read: 1 (dbo.hidden)" in told
        assert "mover (dbo)" in told
        call("run", "--from", "erp", "--to", db_source, "--table", "item", "--workers", "1")
    assert value(db_source, "SELECT count(*) FROM item") == 1
    assert ENCODED not in told
