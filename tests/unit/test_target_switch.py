""".env files: read exactly; switched to another database, and back, byte for byte."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from pghaul.cli import move
from pghaul.cli.app import run
from pghaul.cli.options import compose_plan
from pghaul.model.errors import UsageError
from pghaul.model.profile import Endpoint
from pghaul.service import env_file, switch
from pghaul.service import settings as settings_of
from pghaul.service.migration import MigrationService
from pghaul.service.switch import Format

PASSWORD = "p@ss 'w\"ör$d\\ ;#%7781"
TARGET = Endpoint(
    params=(("dbname", "new plant"), ("host", "new.example"), ("port", "5433"), ("sslmode", "require"), ("user", "me"))
)
NEW = {"DB_HOST": "new.example", "DB_PASSWORD": "${POSTGRESQL_PASSWORD}"}
BEFORE = """# settings of the plant
export DB_HOST=old.example   # the old one
DB_PASSWORD="two
lines"
OTHER='as it is'\t
DB_HOST = second
"""
TEXTS = st.text(st.sampled_from("A=#'\"\\ \r\nexport DB_HOST\u2028é"), max_size=60)


def values_of(text: str) -> dict[str, str]:
    return {line.key: line.value for line in env_file.parsed(text, "x") if line.key}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K=a b # c", "a b"),
        ("K=a#b", "a#b"),
        ("K=", ""),
        ("K= # c", ""),
        ("  export K = 'a # \\n b' # c\r\n", "a # \\n b"),
        ('K="a\\nb\\"\\\\\\$c"', 'a\nb"\\$c'),
        ('K="a\nb"\n', "a\nb"),
        ("K=a=b", "a=b"),
        ("K=1\nK=2", "2"),
        ("K=a\u2028b", "a\u2028b"),
    ],
)
def test_values_are_read_as_all_readers_read_them(text: str, value: str) -> None:
    assert values_of(text) == {"K": value}


@pytest.mark.parametrize(
    ("text", "line"), [("A=1\nhunter2secret\n", 2), ("A=1\n\nB='x\n", 3), ('B="x" y\n', 1), ("1A=2", 1)]
)
def test_a_malformed_line_is_named_by_its_number_and_not_quoted(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=f"line {line}\\b") as caught:
        env_file.parsed(text, "here/.env")
    assert caught.value.where == "here/.env"
    assert "hunter2secret" not in str(caught.value)


@settings(max_examples=60)
@given(TEXTS)
def test_what_was_read_is_the_whole_file(text: str) -> None:
    try:
        lines = env_file.parsed(text, "x")
    except UsageError:
        return
    assert "".join(line.text for line in lines) == text


@given(st.text(st.characters(exclude_characters="\r\0", codec="utf-8")))
def test_a_value_that_is_written_is_read_again(value: str) -> None:
    assert values_of(f"K={env_file.quoted(value)}\n") == {"K": value}


@settings(max_examples=60)
@given(TEXTS, st.booleans())
def test_back_gives_the_file_back_byte_for_byte(text: str, twice: bool) -> None:
    if "pghaul" in text:
        return
    try:
        made = switch.switched(text, NEW, "x")
    except UsageError:
        return
    if twice:
        made = switch.switched(switch.switched(made, {"DB_HOST": "third"}, "x"), NEW, "x")
    assert switch.taken_back(made) == text
    assert values_of(made)["DB_HOST"] == "new.example"
    assert switch.switched(made, NEW, "x") == made


def test_a_file_is_switched_and_back_and_other_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(BEFORE.encode())
    path.chmod(0o640)
    assert switch.switch(path, NEW).changed
    assert not switch.switch(path, NEW).changed
    text = path.read_text()
    assert values_of(text) == {"OTHER": "as it is", **NEW}
    assert "OTHER='as it is'\t\n" in text
    path.write_text(text + "LATER=1\n")
    assert switch.back(path).changed
    assert path.read_bytes() == BEFORE.encode() + b"LATER=1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(UsageError, match="nothing has been switched"):
        switch.back(path)


def test_a_new_file_is_its_owner_s_alone_and_goes_again(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    switch.switch(path, NEW)
    switch.switch(path, NEW | {"DB_HOST": "third"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    switch.back(path)
    assert not path.exists()


def test_every_form_says_the_same_place() -> None:
    found = switch.settings(TARGET, Format.ALL, "${PW}")
    assert found["DB_TYPE"] == "postgresql"
    assert found["DATABASE_URL"] == "postgresql+psycopg://me:${PW}@new.example:5433/new%20plant?sslmode=require"
    assert found["JDBC_URL"] == "jdbc:postgresql://new.example:5433/new%20plant?user=me&sslmode=require&password=${PW}"
    assert found["ODBC_CONNECTION"].startswith(
        "Driver={PostgreSQL Unicode};Server=new.example;Port=5433;Database={new plant};"
    )
    assert found["NPGSQL_CONNECTION"].endswith("Database=new plant;Username=me;Password=${PW};SSL Mode=Require")


def test_a_password_is_written_as_each_form_wants_it() -> None:
    found = switch.settings(TARGET, Format.ALL, PASSWORD)
    assert make_url(found["DATABASE_URL"]).password == PASSWORD
    assert f"Pwd={{{PASSWORD}}};" in found["ODBC_CONNECTION"]
    assert 'Password="p@ss \'w""ör$d\\ ;#%7781"' in found["NPGSQL_CONNECTION"]
    text = switch.lines(found)
    assert values_of(text) == found
    assert not re.search(r"^DB_PASSWORD=p@ss", text, re.MULTILINE)


@pytest.mark.parametrize("host", ["a,b", "/run/postgresql"])
def test_an_application_is_led_to_one_host(host: str) -> None:
    with pytest.raises(UsageError, match="one host"):
        switch.settings(Endpoint(params=(("dbname", "d"), ("host", host), ("user", "u"))), Format.ENV, "")


# --- the command line, and settings from .env -------------------------------------------------------------------------

Told: TypeAlias = pytest.CaptureFixture[str]
ENV = f"""POSTGRESQL_HOST=new.example
POSTGRESQL_DATABASE=plant
POSTGRESQL_USER=me
POSTGRESQL_PASSWORD='{PASSWORD.replace("'", "")}'
MIGRATION_WORKERS=3
MIGRATION_BATCH_SIZE=1000
MIGRATION_LOG_INTERVAL=7
PGHAUL_STATE=sqlite:///elsewhere.db
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> Path:
    """The working folder, with a .env file."""
    for name in settings_of.FROM_FILE:
        monkeypatch.delenv(name, raising=False)
    for name in [n for n in os.environ if n.startswith("PG") and not n.startswith("PGHAUL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings_of._Said, "env_file", None)  # what a test says is not for the next
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(ENV)
    return tmp_path


def test_a_target_that_is_left_out_is_that_of_the_file(folder: Path, capsys: Told) -> None:
    assert run(["target", "switch", "--format", "sqlalchemy"]) == 0
    assert capsys.readouterr().out == (
        'DATABASE_URL="postgresql+psycopg://me:${POSTGRESQL_PASSWORD}@new.example:5432/plant"\n'
    )
    found = compose_plan(None, "postgresql://old/db", None, ["t"], {})
    assert (found.target, found.options.workers) == ("postgresql://me@new.example/plant", 3)
    assert found.mapping.batch_rows == 1000


def test_the_environment_and_the_command_line_win_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRESQL_HOST", "other.example")
    found = compose_plan(None, "postgresql://old/db", None, ["t"], {"workers": 4})
    assert (found.target, found.options.workers) == ("postgresql://me@other.example/plant", 4)
    found = compose_plan(None, "postgresql://old/db", "postgresql://third/db", ["t"], {})
    assert found.target == "postgresql://third/db"


def test_the_password_of_the_file_goes_to_its_target_alone(folder: Path) -> None:
    service = MigrationService()
    wanted = PASSWORD.replace("'", "")
    assert service.target.endpoint("postgresql://me@new.example:5432/plant?sslmode=prefer").password == wanted
    assert service.target.endpoint("postgresql://me@new.example/other").password is None
    assert service.target.endpoint("postgresql://me@evil.example/plant").password is None
    assert wanted not in repr(settings_of.from_file())


def test_with_password_it_is_written_and_shown_nowhere(folder: Path, capsys: Told) -> None:
    path = folder / "app.env"
    path.write_text("DB_TYPE=mysql\n")
    assert run(["target", "switch", "--write", str(path), "--with-password"]) == 0
    assert values_of(path.read_text())["DB_PASSWORD"] == PASSWORD.replace("'", "")
    out, err = capsys.readouterr()
    assert PASSWORD.replace("'", "") not in out + err
    assert run(["target", "switch", "--write", str(path), "--back", "--json"]) == 0
    assert path.read_text() == "DB_TYPE=mysql\n"


def test_without_any_password_there_is_none_to_write(folder: Path, capsys: Told) -> None:
    (folder / ".env").write_text("")
    assert run(["target", "switch", "postgresql://me@x/y", "--with-password"]) == 1
    assert "no password of this database" in capsys.readouterr().err
    assert run(["target", "switch"]) == 2
    assert "nothing says which target" in capsys.readouterr().err


def test_a_file_that_only_lies_there_and_says_nothing_to_us_is_left_alone(folder: Path) -> None:
    (folder / ".env").write_text("DB_HOST=x\nthis is another program's\n", encoding="utf-8")
    assert settings_of.from_file({}).target is None
    (folder / ".env").write_text("POSTGRESQL_HOST=x\nthis is wrong\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2"):
        settings_of.from_file({})


def test_a_malformed_file_is_said_with_its_line(folder: Path, capsys: Told) -> None:
    (folder / "my.env").write_text("A=1\nhunter2secret\n")
    assert run(["--env-file", "my.env", "target", "switch"]) == 2
    err = capsys.readouterr().err
    assert "line 2 is not KEY=value" in err
    assert "hunter2secret" not in err
    (folder / "my.env").write_text("MIGRATION_WORKERS=many\n")
    assert run(["--env-file", "my.env", "target", "switch"]) == 2
    assert "MIGRATION_WORKERS is not a whole number from 1 to 64" in capsys.readouterr().err
    assert run(["--env-file", "gone.env", "target", "switch"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_interval_of_progress_is_that_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def fake(_plan: object, **said: float) -> int:
        seen.append(said["every"])
        return 0

    monkeypatch.setattr(move, "carry_out", fake)
    words = ["run", "--from", "postgresql://old/db", "--table", "t"]
    assert run(words) == run([*words, "--progress-every", "2"]) == 0
    assert seen == [7, 2]
