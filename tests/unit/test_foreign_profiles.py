"""`pghaul profile` of other databases than PostgreSQL, without any server: kept, shown, carried elsewhere, refused."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import oracledb
import pytest
from tests.oracle.server import Server
from tests.sqlite_files import shop, url_of

from pghaul.cli.app import run
from pghaul.cli.profile_options import shows_password
from pghaul.model.errors import SecretError, UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import Profile
from pghaul.service import keys, sealing
from pghaul.service.migration import MigrationService
from pghaul.service.profiles import KEPT
from pghaul.sources import _oracle_connection

PASSWORD = "p@ss:wörd-7781"
URLS = {
    "mysql": "mysql://reader@db.example:3307/shop?ssl-mode=verify-identity",
    "mariadb": "mariadb://reader@[fd00::7]/shop",
    "sqlserver": "sqlserver://reader@db.example/shop?schema=dbo",
    "oracle": "oracle://reader@db.example/SHOP?tls=yes",
}
Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, a key folder and a cheap scrypt of this test's own; no password in the environment."""
    monkeypatch.setattr(keys, "key_folder", lambda: tmp_path / "settings")
    monkeypatch.setattr(sealing, "COST", {"n": 2**14, "r": 8, "p": 1})
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("PGHAUL_PASSPHRASE", "four words of mine")
    for name in ("MYSQL_PWD", "SQLCMDPASSWORD", "ORACLE_PASSWORD", "PGHAUL_SOURCE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def add(name: str, url: str, monkeypatch: pytest.MonkeyPatch, password: str | None = PASSWORD) -> None:
    words = ["profile", "add", name, url]
    if password is not None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
        words.append("--password-stdin")
    assert run(words) == 0


def endpoint(name: str) -> ForeignEndpoint:
    found = MigrationService().profiles.endpoint(name)
    assert isinstance(found, ForeignEndpoint)
    return found


@pytest.mark.parametrize(("name", "url"), URLS.items())
def test_a_password_is_kept_and_comes_with_what_the_url_says(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    add(name, url, monkeypatch)
    found = endpoint(name)
    assert found.password == PASSWORD
    assert found.engine == {"mariadb": "mysql"}.get(name, name)
    assert (found.get("user"), found.get("host")) == ("reader", "fd00::7" if name == "mariadb" else "db.example")
    assert PASSWORD.encode() not in (home / "state.db").read_bytes()


def test_all_of_them_are_listed_shown_and_carried_to_another_store(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: Told
) -> None:
    for name, url in URLS.items():
        add(name, url, monkeypatch)
    add("file", url_of(shop(home)), monkeypatch, password=None)
    add("folder", f"csv:{home.as_posix()}?delimiter=;", monkeypatch, password=None)
    before = {name: endpoint(name) for name in [*URLS, "file", "folder"]}
    capsys.readouterr()
    assert run(["profile", "list", "--json"]) == 0
    listed = {p["name"]: (p["engine"], p["sslmode"]) for p in json.loads(capsys.readouterr().out)}
    assert listed == {
        "mysql": ("mysql", "verify-full"),
        "mariadb": ("mysql", "prefer"),
        "sqlserver": ("sqlserver", "require"),
        "oracle": ("oracle", "verify-full"),
        "file": ("sqlite", ""),
        "folder": ("files", ""),
    }
    shown = ""
    for words in (
        ["list"],
        ["show", "oracle"],
        ["show", "file"],
        ["export"],
        ["export", "--with-secrets", "-o", "all.toml"],
    ):
        monkeypatch.chdir(home)
        assert run(["profile", *words]) == 0
        shown += "".join(capsys.readouterr())
    assert "oracle://reader@db.example:1521/SHOP" in shown
    assert PASSWORD not in shown + (home / "all.toml").read_text(encoding="utf-8")
    for name in before:
        assert run(["profile", "remove", name]) == 0
    assert run(["profile", "import", str(home / "all.toml")]) == 0
    assert {name: endpoint(name) for name in before} == before


def test_a_new_key_opens_them_too(monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    add("shop", URLS["mysql"], monkeypatch)
    add("plant", "postgresql://me@db.example/plant", monkeypatch)
    before = MigrationService().profiles.keys.current().id
    assert run(["profile", "rotate-key"]) == 0
    assert "kept passwords: 2" in capsys.readouterr().err
    profiles = MigrationService().profiles
    assert profiles.keys.current().id != before
    assert [profiles.endpoint(n).password for n in ("shop", "plant")] == [PASSWORD, PASSWORD]


def test_a_kept_password_goes_with_the_profile_it_belongs_to_alone(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    add("shop", URLS["mysql"], monkeypatch)
    with closing(sqlite3.connect(home / "state.db")) as store:
        store.execute("UPDATE pghaul_profile SET engine = 'sqlserver'")
        store.commit()
    with pytest.raises(SecretError, match="changed by somebody else"):
        endpoint("shop")


def test_a_profile_can_be_led_to_another_engine_and_keeps_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    add("shop", URLS["mysql"], monkeypatch)
    assert run(["profile", "edit", "shop", URLS["sqlserver"], "--note", "since May"]) == 0
    assert (endpoint("shop").engine, endpoint("shop").password) == ("sqlserver", PASSWORD)
    assert run(["profile", "edit", "shop", "postgresql://me@db.example/plant", "--sslmode", "verify-full"]) == 0
    found = MigrationService().profiles.endpoint("shop")
    assert (found.get("sslmode"), found.password) == ("verify-full", PASSWORD)


def test_a_password_comes_by_a_variable_by_a_command_or_as_the_driver_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MYSQL_PWD", "of the driver")
    monkeypatch.setenv("SHOP_PW", "of a variable")
    command = f"command:{sys.executable} -c 'print(\"of a program\")'"
    for way, expected in (("env:SHOP_PW", "of a variable"), (command, "of a program")):
        assert run(["profile", "add", way[:3], URLS["mysql"], "--password-from", way]) == 0
        assert endpoint(way[:3]).password == expected
    add("bare", URLS["mysql"], monkeypatch, password=None)
    assert MigrationService().profiles.get("bare").way.spelled == "pgpass"  # MYSQL_PWD is not kept
    assert endpoint("bare").password == "of the driver"


def test_a_password_in_the_url_is_kept_and_warned_of(capsys: Told) -> None:
    assert run(["profile", "add", "shop", "mysql://me:wr0ng-7781@db.example/shop"]) == 0
    told = capsys.readouterr().err
    assert "where other users of this machine can read it" in told
    assert "wr0ng" not in told
    profile = MigrationService().profiles.get("shop")
    assert profile.way == KEPT
    assert "wr0ng" not in repr(profile)
    assert endpoint("shop").password == "wr0ng-7781"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["profile", "test", "oracle://a:b@h/s"], True),
        (["plan", "mysql://a:b@h/s", "postgresql://h/d"], True),
        (["plan", "mysql://a@h/s", "postgresql://h/d"], False),
        (["run", "--notify", "https://a:b@hook.example"], False),
        (["run", "--notify=https://a:b@hook.example"], False),
    ],
)
def test_a_password_among_the_arguments_is_seen(argv: list[str], expected: bool) -> None:
    assert shows_password(argv) is expected


def test_files_have_no_password(home: Path, capsys: Told) -> None:
    url = url_of(shop(home))
    assert run(["profile", "add", "file", url, "--password-from", "env:ANY"]) == 2
    assert "sqlite takes no password" in capsys.readouterr().err


def test_options_of_libpq_are_none_of_theirs(capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["profile", "add", "shop", URLS["mysql"], "--sslmode", "require"]) == 2
    assert "--sslmode is about PostgreSQL, and this is mysql" in capsys.readouterr().err
    add("shop", URLS["mysql"], monkeypatch)
    assert run(["profile", "edit", "shop", "--sslrootcert", "system"]) == 2
    assert run(["profile", "add", "odd", "mysql://db.example/shop?sslmode=require"]) == 2
    assert [p.name for p in MigrationService().profiles.all()] == ["shop"]


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "--from", "shop", "--to", "shop", "--all"],
        ["plan", "--from", "shop", "--to", "shop"],
        ["target", "check", "shop"],
        ["quarantine", "list", "shop"],
    ],
)
def test_as_a_target_it_is_refused_before_anybody_is_asked_for_its_password(
    argv: list[str], capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("shop", "mysql://me@127.0.0.1:1/shop", monkeypatch, password=None)
    assert run(["profile", "edit", "shop", "--password-from", "prompt"]) == 0
    monkeypatch.setattr("pghaul.service.passwords.asked", lambda _words: PASSWORD if "--from" in argv else 1 / 0)
    assert run(argv) == 2
    told = capsys.readouterr().err
    assert "rows go to PostgreSQL only, and not to mysql" in told
    assert "PGH-1045" in told


def test_where_nothing_is_named_a_profile_moves_all_like_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    from pghaul.cli.options import compose_plan  # noqa: PLC0415

    add("shop", URLS["oracle"], monkeypatch)
    add("plant", "postgresql://me@db.example/plant", monkeypatch)
    target = "postgresql://me@db.example/new"
    assert compose_plan(None, "shop", target, None, {}).whole
    with pytest.raises(UsageError, match="table"):
        compose_plan(None, "plant", target, None, {})


def test_oracle_tells_of_itself(monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    server = Server()
    monkeypatch.setattr(oracledb, "connect", server.connect)
    assert _oracle_connection._driver() is oracledb
    add("erp", "oracle://hr@db.example/SHOP", monkeypatch)
    capsys.readouterr()
    assert run(["profile", "test", "erp"]) == 0
    told = capsys.readouterr().out
    assert "Oracle Database 19c Enterprise Edition 19.0.0.0.0" in told
    assert "AL32UTF8" in told
    assert "FLASHBACK ANY TABLE" in told
    assert "its clock and ours differ by" in told
    assert "not encrypted: who listens on the way reads everything" in told


def test_a_profile_whose_engine_is_not_installed_is_listed_and_says_so(capsys: Told) -> None:
    service = MigrationService()
    with service.profiles._table.changing() as change:
        change.put(Profile(name="odd", engine="dbase", params=(("host", "h"),)), None)
    assert run(["profile", "list"]) == 0
    assert run(["profile", "show", "odd"]) == 0
    assert "dbase://h/" in capsys.readouterr().out
    assert run(["profile", "test", "odd"]) == 2
    assert "nothing is known of dbase://" in capsys.readouterr().err
