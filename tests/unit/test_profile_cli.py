"""`pghaul profile` without any server: what is kept, what is shown, and what a file from elsewhere may do."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from pghaul.cli import profile_options
from pghaul.cli.app import run
from pghaul.model.errors import SecretError
from pghaul.model.profile import profile_name
from pghaul.postgres import tls
from pghaul.postgres.dsn import resolve
from pghaul.service import keys, sealing
from pghaul.service.migration import MigrationService

PASSWORD = "p@ss:wörd-7781"
URL = "postgresql://me@db.example/plant"
Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, a key folder and a cheap scrypt of this test's own."""
    monkeypatch.setattr(keys, "key_folder", lambda: tmp_path / "settings")
    monkeypatch.setattr(sealing, "COST", {"n": 2**14, "r": 8, "p": 1})
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PGHAUL_PASSPHRASE", raising=False)
    return tmp_path


def add(name: str, *words: str, typed: str = PASSWORD, monkeypatch: pytest.MonkeyPatch | None = None) -> int:
    if monkeypatch is not None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed + "\n"))
        words = (*words, "--password-stdin")
    return run(["profile", "add", name, *words])


def password_of(name: str) -> str | None:
    return MigrationService().profiles.endpoint(name).password


def shown(name: str, capsys: Told) -> dict[str, object]:
    capsys.readouterr()
    assert run(["profile", "show", name, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_password_from_stdin_is_kept_and_never_shown(capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add("old", URL, "--note", "the old plant", monkeypatch=monkeypatch) == 0
    assert password_of("old") == PASSWORD
    for words in (["list"], ["show", "old"], ["list", "--json"], ["show", "old", "--json"], ["export"]):
        assert run(["profile", *words]) == 0
    said = "".join(capsys.readouterr())
    assert "the old plant" in said
    assert PASSWORD not in said


def test_a_typed_password_needs_a_terminal(capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\n"))
    assert run(["profile", "add", "old", URL, "--password"]) == 1
    assert "PGH-6360" in capsys.readouterr().err


def test_a_typed_password_is_asked_for_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object]] = []

    def prompt(words: str, *, hide_input: bool, err: bool) -> str:
        asked.append((words, hide_input and err))
        return PASSWORD

    monkeypatch.setattr(profile_options.typer, "prompt", prompt)
    monkeypatch.setattr(profile_options.sys.stdin, "isatty", lambda: True, raising=False)
    assert run(["profile", "add", "old", URL, "--password"]) == 0
    assert asked == [("Password of profile old", True)]
    assert password_of("old") == PASSWORD


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["old", URL, "--password", "--password-stdin"], "PGH-1072"),
        (["old", URL, "--password-from", "vault:x"], "PGH-1072"),
        (["old", URL, "--password-from", "kept"], "PGH-1072"),
        (["old"], "PGH-1074"),
        (["old plant", URL], "PGH-1070"),
        (["old", "nonsense"], "PGH-1"),
        (["old", URL + "?replication=database"], "PGH-5"),
        (["old", URL + "?no_such_option=1"], "PGH-1"),
    ],
)
def test_what_cannot_be_a_profile_is_refused(words: list[str], code: str, capsys: Told) -> None:
    assert run(["profile", "add", *words]) in {1, 2}
    assert code in capsys.readouterr().err
    assert MigrationService().profiles.all() == []


def test_a_name_is_taken_once(capsys: Told) -> None:
    assert add("old", URL) == 0
    assert add("old", URL + "2") == 2
    assert "pghaul profile edit old" in capsys.readouterr().err
    assert dict(MigrationService().profiles.get("old").params)["dbname"] == "plant"


def test_an_unknown_name_is_met_with_those_that_are_near(capsys: Told) -> None:
    for name in ("old-plant", "new-plant", "billing"):
        assert add(name, URL) == 0
    for words in (["profile", "show", "old-plnat"], ["inspect", "old-plnat"], ["profile", "test", "old-plnat"]):
        capsys.readouterr()
        assert run(words) == 1
        err = capsys.readouterr().err
        assert "old-plnat is neither a URL nor a profile" in err
        assert "old-plant" in err
        assert "billing" not in err


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "not said, so prefer: encrypted where the server offers it, and nobody is verified"),
        ("?sslmode=disable", "not encrypted"),
        ("?sslmode=allow", "not encrypted unless the server insists"),
        ("?sslmode=require", "encrypted, but the server is not verified"),
        ("?sslmode=require&sslrootcert=/ca.crt", "verified, but not that it is this host's"),
        ("?sslmode=verify-ca&sslrootcert=/ca.crt", "verified, but not that it is this host's"),
        ("?sslmode=verify-full&sslrootcert=/ca.crt", "the server is verified: safe"),
        ("?sslrootcert=system", "the server is verified: safe"),
    ],
)
def test_an_sslmode_is_shown_for_what_it_is(query: str, said: str, capsys: Told) -> None:
    assert add("old", URL + query) == 0
    assert run(["profile", "show", "old"]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("postgresql://me@localhost/x", True),
        ("postgresql://me@127.0.0.1/x?sslmode=disable", True),
        ("postgresql://me@/x?host=/run/postgresql", True),
        ("postgresql://me@localhost,db.example/x", False),
        ("postgresql://me@127.evil.example/x", False),
        ("postgresql://me@[::1]/x", True),
        ("postgresql://me@localhost.evil.example/x", False),
        ("postgresql://me@db.example/x?sslmode=verify-ca&sslrootcert=/c", False),
        ("postgresql://me@db.example/x?sslmode=verify-full&sslrootcert=/c", True),
    ],
)
def test_safe_is_what_nobody_on_the_way_can_break(url: str, safe: bool) -> None:
    assert tls.is_safe(resolve(url, environ={"HOME": "/nowhere"})) is safe


def test_options_are_laid_over_the_url(capsys: Told) -> None:
    assert add("old", URL, "--sslmode", "verify-full", "--sslrootcert", "system") == 0
    assert shown("old", capsys)["params"] == {
        "dbname": "plant",
        "host": "db.example",
        "sslmode": "verify-full",
        "sslrootcert": "system",
        "user": "me",
    }


def test_a_service_is_kept_by_its_name(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    services = home / "services"
    services.write_text("[plant]\nhost=first.example\ndbname=plant\nuser=me\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert add("old", "--service", "plant") == 0
    assert shown("old", capsys)["params"] == {"service": "plant"}
    services.write_text("[plant]\nhost=second.example\ndbname=plant\nuser=me\n")
    assert MigrationService().profiles.endpoint("old").get("host") == "second.example"
    assert add("new", "--service", "nowhere") == 2


def test_an_edit_changes_what_is_said_and_leaves_the_rest(capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add("old", URL, "--sslmode", "require", "--note", "first", monkeypatch=monkeypatch) == 0
    assert run(["profile", "edit", "old", "--sslmode", "verify-full", "--sslrootcert", "system"]) == 0
    assert password_of("old") == PASSWORD
    assert run(["profile", "edit", "old", "postgresql://you@new.example/plant", "--note", ""]) == 0
    found = shown("old", capsys)
    assert found["params"] == {"dbname": "plant", "host": "new.example", "user": "you"}
    assert (found["note"], found["password_from"]) == ("", "kept")
    assert password_of("old") == PASSWORD
    assert run(["profile", "edit", "old", "--password-from", "env:PLANT_PW"]) == 0
    monkeypatch.setenv("PLANT_PW", "from there")
    assert password_of("old") == "from there"


def test_a_password_on_the_command_line_is_kept_and_complained_of(capsys: Told) -> None:
    assert add("old", "postgresql://me:s3cretword@db.example/plant") == 0
    err = capsys.readouterr().err
    assert err.count("A password stands on the command line") == 1
    assert "s3cretword" not in err
    assert password_of("old") == "s3cretword"


@pytest.mark.parametrize(
    ("argv", "visible"),
    [
        (["run", "--from", "postgresql://me:pw@h/d"], True),
        (["run", "--to=postgres://me:pw@h/d"], True),
        (["run", "--from", "host=h password=pw"], True),
        (["inspect", "postgresql://me@h/d?password=pw"], True),
        (["run", "--from", "postgresql://me@h/d", "--where", "password = 'x'"], False),
        (["profile", "add", "x", "postgresql://me@h/d", "--password"], False),
        (["run", "--from", "old-plant"], False),
    ],
)
def test_only_what_everybody_can_read_is_complained_of(argv: list[str], visible: bool) -> None:
    assert profile_options.shows_password(argv) is visible


@pytest.mark.parametrize("words", ["postgresql://me@h/d", "host=h", "a b", "", "-x", "plan.toml", "a/b", "x@y"])
def test_a_url_is_no_name(words: str) -> None:
    assert profile_name(words) is None


@pytest.mark.parametrize("words", ["old-plant", "구공장", "a", "9", "x.y_z-1", "Österreich"])
def test_a_name_is_a_name(words: str) -> None:
    assert profile_name(words) == words


# --- files ---


def exported(home: Path, *words: str) -> Path:
    path = home / "profiles.toml"
    assert run(["profile", "export", "-o", str(path), *words]) == 0
    return path


def elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on it is another machine's store."""
    monkeypatch.setenv("PGHAUL_STATE", f"sqlite:///{(home / 'other.db').as_posix()}")
    monkeypatch.setattr(keys, "key_folder", lambda: home / "other")


def test_profiles_travel_without_their_passwords(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    assert add("old", URL, monkeypatch=monkeypatch) == 0
    assert add("new", URL + "?sslmode=require", "--password-from", "env:PLANT_PW") == 0
    path = exported(home)
    assert PASSWORD not in path.read_text()
    elsewhere(home, monkeypatch)
    assert run(["profile", "import", str(path)]) == 0
    assert "pghaul profile edit old --password" in capsys.readouterr().out
    assert shown("new", capsys)["password_from"] == "env:PLANT_PW"
    assert shown("old", capsys)["password_from"] == "pgpass"


def test_profiles_travel_with_them_under_a_passphrase(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    assert add("old", "postgresql://me@one.example,two.example/plant?port=5433", monkeypatch=monkeypatch) == 0
    monkeypatch.setenv("PGHAUL_PASSPHRASE", "correct horse")
    path = exported(home, "--with-secrets")
    assert path.stat().st_mode & 0o777 == 0o600 or os.name == "nt"
    assert PASSWORD not in path.read_text()
    elsewhere(home, monkeypatch)
    monkeypatch.setenv("PGHAUL_PASSPHRASE", "wrong horse")
    assert run(["profile", "import", str(path)]) == 1
    assert "the passphrase is wrong" in capsys.readouterr().err
    assert MigrationService().profiles.all() == []
    monkeypatch.setenv("PGHAUL_PASSPHRASE", "correct horse")
    assert run(["profile", "import", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "old", "fate": "added", "password": True, "why": None}]
    assert password_of("old") == PASSWORD


def test_a_password_in_a_file_goes_to_its_own_server_only(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    assert add("old", URL, monkeypatch=monkeypatch) == 0
    monkeypatch.setenv("PGHAUL_PASSPHRASE", "correct horse")
    path = exported(home, "--with-secrets")
    path.write_text(path.read_text().replace("db.example", "evil.example"))
    elsewhere(home, monkeypatch)
    assert run(["profile", "import", str(path)]) == 1
    assert "was changed after it was written" in capsys.readouterr().err


def test_what_is_there_is_replaced_when_told_to_only(home: Path, capsys: Told) -> None:
    assert add("old", URL) == 0
    path = exported(home)
    assert run(["profile", "edit", "old", "postgresql://me@later.example/plant"]) == 0
    assert run(["profile", "import", str(path)]) == 0
    assert "left as it is" in capsys.readouterr().out
    assert dict(MigrationService().profiles.get("old").params)["host"] == "later.example"
    assert run(["profile", "import", str(path), "--replace"]) == 0
    assert dict(MigrationService().profiles.get("old").params)["host"] == "db.example"


def test_another_s_command_is_not_taken_unasked(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    assert add("old", URL, "--password-from", "command:echo hello") == 0
    path = exported(home)
    elsewhere(home, monkeypatch)
    assert run(["profile", "import", str(path)]) == 1
    assert "--allow-commands" in capsys.readouterr().out
    assert MigrationService().profiles.all() == []
    answers = iter([False, True])
    monkeypatch.setattr("pghaul.cli.profile.sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("pghaul.cli.profile.typer.confirm", lambda *_a, **_k: next(answers))
    assert run(["profile", "import", str(path)]) == 1
    assert "echo hello" in capsys.readouterr().err
    assert run(["profile", "import", str(path)]) == 0
    assert password_of("old") == "hello"


@pytest.mark.parametrize(
    "text",
    ["", "not toml [", "format = 2\nprofile = []", "format = 1", "format = 1\n[[profile]]\nname = 'x'",
     "format = 1\n[[profile]]\nname = 'x'\nurl = 'host=h'\nrun = 'evil'", "format = 1\nprofile = [1]"],
)  # fmt: skip
def test_what_is_no_file_of_profiles_is_refused(text: str, home: Path, capsys: Told) -> None:
    path = home / "x.toml"
    path.write_text(text)
    assert run(["profile", "import", str(path)]) == 2
    assert "PGH-1073" in capsys.readouterr().err
    assert run(["profile", "import", str(home / "absent.toml")]) == 2
    assert "PGH-1078" in capsys.readouterr().err


def test_what_is_wrong_with_one_profile_of_a_file_is_said_and_the_rest_is_kept(home: Path, capsys: Told) -> None:
    path = home / "x.toml"
    path.write_text(
        "format = 1\n[[profile]]\nname = 'a b'\nurl = 'host=h'\n[[profile]]\nname = 'fine'\nurl = 'host=h user=me'\n"
    )
    assert run(["profile", "import", str(path)]) == 1
    assert "one word of letters" in capsys.readouterr().out
    assert [p.name for p in MigrationService().profiles.all()] == ["fine"]


@pytest.mark.parametrize("cost", [{"n": 2**26, "r": 8, "p": 1}, {"n": 2, "r": 8, "p": 1}, {"n": 2**14, "r": 0, "p": 1}])
def test_a_file_cannot_have_us_spend_the_machine(cost: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cost"):
        sealing.passphrase_key("x", b"s" * 16, cost)


def test_a_file_that_cannot_be_written_is_named(home: Path, capsys: Told) -> None:
    assert add("old", URL) == 0
    assert run(["profile", "export", "-o", str(home / "no" / "such" / "folder.toml")]) == 1
    assert "PGH-6318" in capsys.readouterr().err


def test_two_passphrases_have_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["one", "two"])
    monkeypatch.setattr(profile_options, "ask", lambda *_words, **_rest: next(typed))
    with pytest.raises(SecretError, match="are not the same"):
        profile_options.ask_passphrase(twice=True)


def test_a_passphrase_that_nobody_can_type_may_be_said_elsewhere(
    home: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert add("old", URL) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run(["profile", "export", "--with-secrets"]) == 1
    err = capsys.readouterr().err
    assert "Passphrase of the file" in err
    assert "PGHAUL_PASSPHRASE" in err
