"""A URL is resolved as libpq would, completely, and its password is never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pghaul.model.errors import NotSupportedError, PghaulError, UsageError
from pghaul.postgres.dsn import asyncpg_params, child_environment, keepalive_seconds, psycopg_params, resolve

SECRET = "s3cr:t@/?#%"
ENCODED = "s3cr%3At%40%2F%3F%23%25"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty home."""
    return {"HOME": str(tmp_path), "APPDATA": str(tmp_path)}


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{ENCODED}@h:5433/db",
        f"postgres://h:5433/db?user=u&password={ENCODED}",
        f"host=h port=5433 dbname=db user=u password='{SECRET}'",
    ],
)
def test_the_forms_of_libpq_mean_the_same(url: str, home: dict[str, str]) -> None:
    endpoint = resolve(url, environ=home)
    assert dict(endpoint.params) == {"host": "h", "port": "5433", "dbname": "db", "user": "u", "sslmode": "prefer"}
    assert endpoint.password == SECRET
    assert SECRET not in repr(endpoint) + endpoint.display


def test_a_question_mark_in_a_password_is_read_as_libpq_reads_it(home: dict[str, str]) -> None:
    endpoint = resolve("postgresql://u:a?b@h/d", environ=home)
    assert (endpoint.password, endpoint.get("host")) == ("a?b", "h")


def test_user_and_database_are_percent_decoded(home: dict[str, str]) -> None:
    endpoint = resolve("postgresql://a%40b:p@h/d%20%ED%95%9C", environ=home)
    assert (endpoint.get("user"), endpoint.get("dbname")) == ("a@b", "d 한")


def test_the_url_beats_the_service_which_beats_the_environment(home: dict[str, str], tmp_path: Path) -> None:
    service = write(
        tmp_path / "services", "# ours\n[other]\nhost=no\n[plant]\nhost=sh\nport=6000\ndbname=sd\npassword=sp\n"
    )
    environ = home | {"PGSERVICEFILE": service, "PGHOST": "eh", "PGUSER": "eu", "PGPASSWORD": "ep"}
    endpoint = resolve("postgresql:///ud?service=plant", environ=environ)
    assert [endpoint.get(k) for k in ("host", "port", "dbname", "user")] == ["sh", "6000", "ud", "eu"]
    assert endpoint.password == "sp"


def test_an_unknown_service_is_wrong_usage(home: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no service 'plant'"):
        resolve("service=plant", environ=home)


def test_a_broken_service_file_is_named_but_not_quoted(home: dict[str, str], tmp_path: Path) -> None:
    service = write(tmp_path / "services", "[plant]\npassword hunter2\n")
    with pytest.raises(UsageError, match="line 2") as caught:
        resolve("service=plant", environ=home | {"PGSERVICEFILE": service})
    assert "hunter2" not in str(caught.value)


def test_a_host_of_the_url_drops_the_environments_address(home: dict[str, str]) -> None:
    assert resolve("postgresql://h/d", environ=home | {"PGHOSTADDR": "10.0.0.1"}).get("hostaddr") == ""


def test_the_pass_file_gives_the_first_matching_password(home: dict[str, str], tmp_path: Path) -> None:
    passfile = write(tmp_path / "pass", "#*:*:*:*:no\nh:1:d:u:wrong\nh:5432:*:u:a\\:b\\\\c\n*:*:*:*:late\n")
    assert resolve("postgresql://u@h/d", environ=home | {"PGPASSFILE": passfile}).password == "a:b\\c"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_a_pass_file_that_others_can_read_is_ignored(home: dict[str, str], tmp_path: Path) -> None:
    passfile = write(tmp_path / "pass", "*:*:*:*:seen\n")
    Path(passfile).chmod(0o644)
    assert resolve("postgresql://u@h/d", environ=home | {"PGPASSFILE": passfile}).password is None


def test_different_passwords_for_several_hosts_stay_in_the_file(home: dict[str, str], tmp_path: Path) -> None:
    passfile = write(tmp_path / "pass", "a:*:*:*:one\nb:*:*:*:two\n")
    endpoint = resolve(f"postgresql://u@a,b/d?passfile={passfile}", environ=home)
    assert psycopg_params(endpoint, application_name="x")["passfile"] == passfile
    with pytest.raises(NotSupportedError, match="different passwords"):
        asyncpg_params(endpoint, application_name="x")


def test_a_password_given_apart_beats_all_others(home: dict[str, str]) -> None:
    assert resolve("postgresql://u:one@h/d", environ=home | {"PGPASSWORD": "two"}, password="three").password == "three"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter%zz@h/d",
        "postgresql://u:hun/ter@h/d",
        "postgresql://u:12/hunter@h/d",
        "postgresql://u:x@hunter@h/d",
        "postgresql://u:1?x@hunter@h/d",
        "host=h password=x hunter",
        "host=h port=hunter",
        "mysql://u:hunter@h/d",
        "hunter",
        "postgresql://h/d?hunter=1",
        "postgresql://h/d?sslmode=hunter",
        "postgresql://h/d?connect_timeout=hunter",
    ],
)
def test_a_malformed_url_is_refused_and_not_quoted(url: str, home: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(url, environ=home)
    error = caught.value
    assert "hun" not in f"{error} {error.advice} {error!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_a_mistyped_option_gets_the_nearest_one(home: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("postgresql://h/d?sslrotcert=x", environ=home)
    assert caught.value.advice == "did you mean sslrootcert?"


@pytest.mark.parametrize("option", ["sslpassword", "replication", "scram_client_key", "oauth_client_secret"])
def test_options_without_a_place_are_refused_by_name(option: str, home: dict[str, str]) -> None:
    with pytest.raises(NotSupportedError, match=option) as caught:
        resolve(f"postgresql://h/d?{option}=hunter", environ=home)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        "channel_binding=require",
        "gssencmode=require",
        "require_auth=scram-sha-256",
        "requirepeer=postgres",
        "sslcertmode=require",
        "sslcrldir=x",
        "sslsni=0",
        "hostaddr=10.0.0.1&sslmode=verify-full",
    ],
)
def test_what_asyncpg_lacks_is_refused_by_name(option: str, home: dict[str, str]) -> None:
    endpoint = resolve(f"postgresql://h/d?{option}", environ=home)
    with pytest.raises(NotSupportedError, match=option.partition("=")[0]):
        asyncpg_params(endpoint, application_name="x")


@pytest.mark.parametrize("option", ["channel_binding=prefer", "gssencmode=disable", "sslsni=1", "sslcertmode=allow"])
def test_what_asks_nothing_of_asyncpg_is_accepted(option: str, home: dict[str, str]) -> None:
    assert asyncpg_params(resolve(f"postgresql://h/d?{option}", environ=home), application_name="x")["host"] == ["h"]


def test_ports_that_do_not_match_the_hosts_are_refused(home: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="3 hosts"):
        resolve("host=a,b,c port=1,2", environ=home)


def test_keepalives_and_timeouts_have_defaults_that_the_url_overrides(home: dict[str, str]) -> None:
    usual = resolve("postgresql://h/d", environ=home)
    own = resolve("postgresql://h/d?keepalives_idle=5&connect_timeout=3", environ=home)
    assert keepalive_seconds(usual)[:3] == (30, 10, 5)
    assert keepalive_seconds(own)[0] == 5
    assert psycopg_params(usual, application_name="x")["connect_timeout"] == "10"
    assert asyncpg_params(own, application_name="x")["timeout"] == 3.0


def test_a_child_gets_no_password_in_its_environment(home: dict[str, str]) -> None:
    endpoint = resolve(f"postgresql://u:{ENCODED}@h:7/d?sslmode=require", environ=home)
    with child_environment(endpoint, application_name="pghaul/x") as env:
        passfile = Path(env["PGPASSFILE"])
        assert passfile.read_text() == "*:*:*:*:s3cr\\:t@/?#%\n"
        assert os.name == "nt" or passfile.stat().st_mode & 0o777 == 0o600
        assert [env[k] for k in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER")] == ["h", "7", "d", "u"]
        assert (env["PGSSLMODE"], env["PGAPPNAME"]) == ("require", "pghaul/x")
        assert not any(SECRET in value for value in env.values())
    assert not passfile.exists()


def test_a_child_inherits_no_connection_from_us(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSERVICE", "PGPASSWORD", "PGHOSTADDR", "PGOPTIONS"):
        monkeypatch.setenv(name, "stray")
    with child_environment(resolve("postgresql://u@h/d", environ=home), application_name="x") as env:
        assert "stray" not in env.values()


def test_a_password_with_a_line_break_cannot_reach_a_child(home: dict[str, str]) -> None:
    endpoint = resolve("postgresql://u@h/d", environ=home, password="a\nb")
    with pytest.raises(PghaulError, match="line break"), child_environment(endpoint, application_name="x"):
        pytest.fail("a pass file was written")


def test_a_worker_needs_no_psycopg() -> None:
    code = "import sys, pghaul.postgres.relay_connection; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
