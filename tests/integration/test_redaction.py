"""Tries to make a password come out, by every way on which something is said, kept or started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import psutil
import psycopg
import pytest
from psycopg import sql
from tests.components import server_folder
from tests.conftest import running_server
from tests.faults.program import PATIENCE, wait_until
from tests.faults.proxy import Fate, Moment, Proxy, Trigger
from tests.leaking import BUGS, ENCODED, MALFORMED, SECRET, Place, Sampler, assert_tight, given, leaks, patient_programs
from tests.receivers import status, webhook

from pghaul.cli.app import run
from pghaul.model import redaction
from pghaul.service.embedded import Cluster, free_port

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes of files, /proc and scripts of a shell")
ROWS = """
    CREATE TABLE payment (id int PRIMARY KEY, amount numeric(10,2), note text);
    INSERT INTO payment SELECT g, g / 7.0, repeat('n', 200) FROM generate_series(1, 20000) g;
    CREATE INDEX ON payment (amount);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """One that asks `keeper` for the password, and `postgres` for none."""
    with running_server(16) as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD {}").format(sql.Literal(SECRET)))
            for name in ("origin", "aim", "book"):
                admin.execute(sql.SQL("CREATE DATABASE {} OWNER keeper").format(sql.Identifier(name)))
        with psycopg.connect(cluster.url("origin"), autocommit=True) as owner:
            owner.execute(ROWS.encode())
        rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (cluster.data / "pg_hba.conf").write_text(rules)
        cluster.restart()
        yield cluster


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "place"
    folder.mkdir()
    made = Place(folder=folder)
    yield made
    made.assert_tight()


Inside: TypeAlias = Callable[..., str]


@pytest.fixture
def inside(place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inside:
    """As Place.pghaul, in this process: for what does not depend on how a process begins, inherits or ends."""
    for name in [n for n in os.environ if n.startswith("PG")]:
        monkeypatch.delenv(name)
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", place.environ["TMPDIR"])
    monkeypatch.chdir(place.folder / "work")

    def call(*argv: str, expect: int | None = None, **more: str) -> str:
        redaction.forget()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            code = run(argv)
        out, err = capfd.readouterr()
        assert_tight(stdout=out, stderr=err)
        place.assert_tight()
        assert expect is None or code == expect, out + err
        return out + err

    return call


def url(server: Cluster, database: str, *, password: str = ENCODED, user: str = "keeper", query: str = "") -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{server.port}/{database}{query}"


def words(server: Cluster, *more: str, source: str = "", target: str = "") -> tuple[str, ...]:
    ends = ("--from", source or url(server, "origin"), "--to", target or url(server, "aim"))
    return ("run", *ends, "--table", "payment", "--on-existing", "truncate", "--workers", "1", "-v", *more)


def test_the_search_finds_a_password_in_every_form() -> None:
    for form in (SECRET, ENCODED, ENCODED.lower(), json.dumps(SECRET), repr(SECRET), repr(SECRET.encode())):
        assert leaks(f"x {form} y")
    assert leaks(SECRET.encode())
    assert leaks("a password of 12") == []


# --- who and where -------------------------------------------------------------------------------------------


def test_a_refused_connection(server: Cluster, inside: Inside) -> None:
    nowhere = f"postgresql://keeper:{ENCODED}@127.0.0.1:{free_port()}/db"
    said = inside(*words(server, "--give-up-after", "0.1", source=nowhere), expect=1)
    assert "The connection was lost" in said
    assert "Traceback" in said


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password(server: Cluster, inside: Inside, side: str) -> None:
    wrong = url(server, "origin", password=ENCODED + "x")
    said = inside(*words(server, **{side: wrong}), expect=1)
    assert "password authentication failed" in said


def test_a_wrong_password_by_the_environment(server: Cluster, inside: Inside) -> None:
    bare = f"postgresql://keeper@127.0.0.1:{server.port}/origin"
    for variable in ("PGPASSWORD", "PGHAUL_SOURCE_PASSWORD"):
        said = inside(*words(server, source=bare), expect=1, **{variable: SECRET + "x"})
        assert "password authentication failed" in said


def test_an_unknown_host_and_an_unknown_database(server: Cluster, inside: Inside) -> None:
    said = inside(*words(server, source=f"postgresql://keeper:{ENCODED}@nowhere.invalid/db"), expect=1)
    assert "host name" in said
    assert "does not exist" in inside(*words(server, source=url(server, "nothing")), expect=1)


def test_tls_that_the_server_does_not_speak(server: Cluster, inside: Inside) -> None:
    said = inside(*words(server, source=url(server, "origin", query="?sslmode=require")), expect=1)
    assert "SSL" in said


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_url(server: Cluster, inside: Inside, kind: str) -> None:
    typed = MALFORMED[kind]
    for argv in (words(server, source=typed), words(server, target=typed), ("inspect", typed)):
        inside(*argv, *(("--give-up-after", "0.1") if argv[0] == "run" else ()))


@pytest.mark.parametrize("typed", [MALFORMED["not encoded"], f"postgresql://keeper:{ENCODED}@h:1/db"])
def test_a_url_where_something_else_belongs(inside: Inside, typed: str) -> None:
    for argv in (
        ("run", typed),
        (typed,),
        ("show", typed),
        ("logs", typed),
        ("logs", typed, "--path"),
        ("resume", typed),
        ("cutover", typed),
        ("run", f"--form={typed}"),
        ("run", "--workers", typed),
        ("run", "--from", "postgresql://h/d", "--to", "postgresql://h/e", "--table", typed),
        ("plan", "--from", typed, "-o", typed),
        ("runs", "--limit", typed),
        ("runs", typed, typed),
    ):
        inside(*argv)


def test_a_plan_file_with_mistakes(server: Cluster, place: Place, inside: Inside) -> None:
    source, aim = url(server, "origin"), url(server, "aim")
    table = '\n[[tables]]\nname = "payment"\n'
    for text in (
        f'source = "{source}"\ntarget = "{aim}"\nwokers = 1{table}',
        f'source = "{source}\ntarget = "{aim}"{table}',
        f"source = {source}\n",
        f'source = ["{source}"]\ntarget = 3{table}',
        f'"{source}" = 1\n',
        f'source = "{MALFORMED["a wrong port"]}"\ntarget = "{aim}x"{table}',
        f'password = "{ENCODED}"\nsource = "{source}"{table}',
    ):
        file = given(place, "plan.toml", text)
        for command in ("run", "plan", "cutover"):
            inside(command, str(file))


# --- the files of libpq's users ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f"password {SECRET}",
        f"passwrd={SECRET}",
        SECRET,
        f"{SECRET}=1",
        f"Zq7kv비밀번호={SECRET}",
        f"password={SECRET}\nnothing=1",
        f"port={SECRET}",
        f"host=h password={SECRET}",
        f"sslmode={SECRET}",
        f"connect_timeout={SECRET}",
    ],
)
def test_a_service_file_with_a_mistake(server: Cluster, place: Place, inside: Inside, line: str) -> None:
    file = given(place, "service.conf", f"[mine]\nhost=127.0.0.1\nuser=keeper\ndbname=origin\n{line}\n")
    inside(*words(server, "--give-up-after", "0.1", source="service=mine"), PGSERVICEFILE=str(file))


@pytest.mark.parametrize("kind", ["a folder", "no text", "half a line", "open to all", "of somebody else"])
def test_a_pass_file_that_cannot_be_used(server: Cluster, place: Place, inside: Inside, kind: str) -> None:
    escaped = SECRET.replace("\\", "\\\\").replace(":", "\\:")
    line = f"127.0.0.1:{server.port}:*:keeper:{escaped}x\n".encode()
    texts = {"no text": b"\xff\xfe" + line, "half a line": line[:20] + b"\n" + line.replace(b"\\", b"")}
    path = place.folder / "given-folder"
    if kind == "a folder":
        path.mkdir()
    else:
        path = given(place, "pgpass", texts.get(kind, line), 0o644 if kind == "open to all" else 0o600)
    said = inside(
        *words(server, source=f"postgresql://keeper@127.0.0.1:{server.port}/origin"), expect=1, PGPASSFILE=str(path)
    )
    assert "[PGH-" in said


def test_a_pass_file_that_may_not_be_read(
    server: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of somebody who is not root."""
    path = tmp_path / "pgpass"
    path.write_text("x")
    path.chmod(0o600)
    real = Path.read_text

    def refuse(self: Path, *args: object, **more: object) -> str:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setenv("PGPASSFILE", str(path))
    assert run(["inspect", f"postgresql://keeper@127.0.0.1:{server.port}/origin"]) == 1
    said = capsys.readouterr().err
    assert "This should not have happened" not in said
    assert "no password supplied" in said or "password" in said


# --- a run, and what ends it ---------------------------------------------------------------------------------


def kill_sessions(server: Cluster, like: str) -> int:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        found = admin.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pghaul/%%'"
            " AND datname = %s",
            [like],
        ).fetchone()
        return int(found[0]) if found else 0


def ended_by_kills(server: Cluster, database: str, process: subprocess.Popen[bytes]) -> bool:
    kill_sessions(server, database)
    return process.poll() is not None


def is_copying(server: Cluster, database: str) -> bool:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        asked = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query LIKE 'COPY%%' AND state = 'active'"
        return admin.execute(asked, [database]).fetchone() is not None


def look_everywhere(place: Place, inside: Inside) -> None:
    """What all commands show of what has happened."""
    inside("runs", "--json")
    for run_id in place.runs():
        for argv in (("show", "--json"), ("logs", "--level", "debug"), ("logs", "--json")):
            inside(argv[0], run_id, *argv[1:])


@pytest.mark.parametrize("side", ["origin", "aim"])
def test_a_copy_whose_server_goes_away(server: Cluster, place: Place, inside: Inside, side: str) -> None:
    process = place.start(*words(server, "--max-rate", "100kB/s", "--retries", "0", "--give-up-after", "0.1"))
    try:
        # The source's COPY may be done at once, as far as its server can tell: sockets hold all of these rows.
        assert wait_until(lambda: is_copying(server, "aim")), place.said()
        assert wait_until(lambda: ended_by_kills(server, side, process)), place.said()
    finally:
        process.kill()
        process.wait()
    said = place.said()
    assert process.returncode == 1, said
    assert_tight(said=said)
    look_everywhere(place, inside)


def test_rows_that_the_target_refuses(server: Cluster, inside: Inside) -> None:
    with psycopg.connect(server.url("aim"), autocommit=True) as owner:
        owner.execute("DROP TABLE IF EXISTS payment CASCADE")
        owner.execute("CREATE TABLE payment (id int, amount numeric(10,2), note text CHECK (length(note) < 10))")
    try:
        said = inside(*words(server, "--no-indexes"), expect=1)
    finally:
        with psycopg.connect(server.url("aim"), autocommit=True) as owner:
            owner.execute("DROP TABLE payment")
    assert "check constraint" in said


PROGRAM = """#!/bin/sh
case "$*" in *--version*) exec {program} --version;; esac
[ -n "$PGPASSFILE" ] || exec {program} "$@"
case {name} in {fails}) ;; *) exec {program} "$@";; esac
env | grep PGPASS >&2
cat "$PGPASSFILE" >&2
echo "{name}: error: connection failed with these" >&2
exit 1
"""


@pytest.mark.parametrize("fails", ["pg_dump", "pg_restore"])
def test_a_program_that_says_all_it_knows(server: Cluster, place: Place, inside: Inside, fails: str) -> None:
    """Its pass file, its environment; and it fails."""
    folder = server_folder(18)
    assert folder is not None
    with psycopg.connect(server.url("aim"), autocommit=True) as owner:
        owner.execute("DROP TABLE IF EXISTS payment")
    programs = place.folder / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        file = programs / name
        file.write_text(PROGRAM.format(name=name, fails=fails, program=folder / name))
        file.chmod(0o755)
    said = inside(*words(server), expect=1, PGHAUL_PG_BIN=str(programs))
    assert "connection failed with these" in said
    assert "PGPASSFILE" in said


def patient(place: Place) -> dict[str, str]:
    folder = server_folder(18)
    assert folder is not None
    return patient_programs(place, folder)


def test_a_run_that_works_and_all_its_processes(server: Cluster, place: Place, inside: Inside) -> None:
    with psycopg.connect(server.url("aim"), autocommit=True) as owner:
        owner.execute("DROP TABLE IF EXISTS payment")
    bare = {end: f"postgresql://keeper@127.0.0.1:{server.port}/{end}" for end in ("origin", "aim")}
    lines = [f"127.0.0.1:{server.port}:*:keeper:" + SECRET.replace("\\", "\\\\").replace(":", "\\:")]
    passfile = given(place, "pgpass", "\n".join(lines) + "\n")
    argv = words(server, "--save-plan", "plan.toml", "--workers", "2", source=bare["origin"], target=bare["aim"])
    process = place.start(*argv, PGPASSFILE=str(passfile), **patient(place))
    with Sampler(process, place, "multiprocessing") as seen:
        assert process.wait(PATIENCE) == 0, place.said()
    assert any("pg_dump" in line for line in seen.arguments)
    assert any("multiprocessing" in line for line in seen.arguments)
    assert_tight(arguments="\n".join(seen.arguments), environments=json.dumps(list(seen.environments.values())))
    for environ in seen.programs():
        assert "PGPASSWORD" not in environ
    assert_tight(said=place.said(), plan=(place.folder / "work" / "plan.toml").read_bytes())
    look_everywhere(place, inside)


def test_a_password_of_the_environment_reaches_no_program(server: Cluster, place: Place) -> None:
    """Workers inherit what the user has set; pg_dump and pg_restore get a pass file."""
    with psycopg.connect(server.url("aim"), autocommit=True) as owner:
        owner.execute("DROP TABLE IF EXISTS payment")
    bare = {end: f"postgresql://keeper@127.0.0.1:{server.port}/{end}" for end in ("origin", "aim")}
    argv = words(server, source=bare["origin"], target=bare["aim"])
    known = dict.fromkeys(("PGPASSWORD", "PGHAUL_SOURCE_PASSWORD", "PGHAUL_SMTP_PASSWORD"), SECRET)
    process = place.start(*argv, **known, **patient(place))
    with Sampler(process, place) as seen:
        assert process.wait(PATIENCE) == 0, place.said()
    programs = list(seen.programs())
    assert programs
    assert_tight(arguments="\n".join(seen.arguments), environments=json.dumps(programs))
    assert any("PGPASSFILE" in environ for environ in programs)


def test_plans_that_are_written(server: Cluster, place: Place, inside: Inside) -> None:
    argv = [w for w in words(server) if w not in {"run", "-v"}]
    for more in ((), ("-v",), ("--json",)):
        inside("plan", *argv, "-o", "plan.toml", *more, expect=0)
    inside("run", *argv, "--dry-run", "--save-plan", "other.toml", expect=0)
    inside("inspect", url(server, "origin"), expect=0)
    inside("inspect", url(server, "origin"), "--json", expect=0)
    assert (place.folder / "work" / "plan.toml").exists()


def test_a_run_that_is_killed_leaves_no_password_behind_and_its_resume_nothing_at_all(
    server: Cluster, place: Place
) -> None:
    middle = Trigger(moment=Moment.COPIED, application="/worker$", after_bytes=300_000, fate=Fate.STALL)
    with Proxy(server.port) as proxy:
        proxy.arm(middle)
        process = place.start(*words(server, target=url(server, "aim").replace(f":{server.port}/", f":{proxy.port}/")))
        try:
            assert middle.done.wait(PATIENCE), place.said()
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            psutil.wait_procs(children, timeout=PATIENCE)
        assert_tight(said=place.said())
        assert any((place.folder / "tmp").iterdir())
        place.assert_tight(left=True)
        run_id = place.runs()[0]
        place.pghaul("resume", run_id, "-v", expect=0, PGPASSWORD=SECRET)


# --- mistakes of ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "debug"), [*((b, "1") for b in BUGS), ("in a worker", "")])
def test_a_bug(server: Cluster, place: Place, inside: Inside, where: str, debug: str) -> None:
    folder = place.folder / "given-code"
    folder.mkdir()
    (folder / "given.py").write_text(BUGS[where])
    (folder / "sitecustomize.py").write_text("import given\n")
    path = os.pathsep.join([str(folder), place.environ["PYTHONPATH"]])
    said = place.pghaul(*words(server, "--retries", "0", "--give-up-after", "0.5"), PYTHONPATH=path, PGHAUL_DEBUG=debug)
    assert "***" in said
    if where == "in a worker":
        assert "in broken" in "".join(p.read_text() for p in (place.folder / "log").glob("*.jsonl"))
        look_everywhere(place, inside)


# --- what else knows a password ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        "postgresql://keeper:{password}@127.0.0.1:{port}/nothing",
        "postgresql://keeper:{password}x@127.0.0.1:{port}/book",
        "postgresql://keeper:{password}@127.0.0.1:1/book",
        "postgresql://keeper:{password}@nowhere.invalid/book",
        "postgresql://keeper:{password}@127.0.0.1:{port}/book?nothing=1",
        "postgresql://keeper@127.0.0.1:{port}/book?password={password}x",
        "postgresql://keeper:{password}@127.0.0.1:port/book",
        "postgresql+nothing://keeper:{password}@127.0.0.1:{port}/book",
        "nothing://keeper:{password}@127.0.0.1:{port}/book",
        "postgresql://keeper:{raw}@127.0.0.1:{port}/book",
        "keeper:{raw}@127.0.0.1:{port}/book",
    ],
)
def test_the_url_of_the_state_store(server: Cluster, inside: Inside, state: str) -> None:
    said = inside("runs", PGHAUL_STATE=state.format(password=ENCODED, raw=SECRET, port=server.port))
    assert "PGH-" in said, said


def test_a_state_store_in_postgresql_that_works_and_breaks(server: Cluster, place: Place) -> None:
    state = url(server, "book")
    place.pghaul(*words(server), expect=0, PGHAUL_STATE=state)
    place.pghaul("runs", expect=0, PGHAUL_STATE=state)
    with psycopg.connect(server.url("book"), autocommit=True) as owner:
        owner.execute("ALTER TABLE pghaul_run RENAME COLUMN state TO other")
    place.pghaul(*words(server), expect=1, PGHAUL_STATE=state)
    dump = subprocess.run(
        [str(Path(server_folder(18) or "") / "pg_dump"), server.url("book")], capture_output=True, check=True
    )
    assert_tight(dump=dump.stdout)


def test_completion_in_a_shell(place: Place) -> None:
    line = f"pghaul run --from {MALFORMED['not encoded']} --ta"
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run(
            [sys.executable, "-m", "pghaul"],
            capture_output=True,
            check=False,
            env=place.environ
            | {
                "_PGHAUL_COMPLETE": f"complete_{shell}",
                "COMP_WORDS": line,
                "COMP_CWORD": "4",
                "_TYPER_COMPLETE_ARGS": line,
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        )
        assert_tight(stdout=done.stdout, stderr=done.stderr)


def test_a_webhook_s_secret(server: Cluster, place: Place, inside: Inside) -> None:
    with webhook(status(404)) as receiver:
        hook = f"http://127.0.0.1:{receiver.port}/services/{ENCODED}?token={ENCODED}"
        said = inside(
            *words(server, "--notify", hook, "--notify-on", "finished"), PGHAUL_WEBHOOK_SECRET=SECRET, expect=0
        )
    assert "127.0.0.1" in said
    inside(*words(server, "--notify", f"https://u:{ENCODED}@h/x"), expect=1)
    look_everywhere(place, inside)


# --- profiles, verification and reports ----------------------------------------------------------------------


@pytest.fixture
def keyed(place: Place) -> Place:
    """With a key of its own, and no keyring."""
    place.environ |= {
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "XDG_CONFIG_HOME": "",
        "XDG_DATA_HOME": "",
    }
    return place


def test_profiles_and_what_goes_wrong_with_them(server: Cluster, place: Place, keyed: Place, inside: Inside) -> None:
    bare = f"postgresql://keeper@127.0.0.1:{server.port}/origin"
    inside("profile", "add", "kept", url(server, "origin"), expect=0)
    inside("profile", "add", "wrong", url(server, "origin", password=ENCODED + "x"), expect=0)
    inside("profile", "add", "malformed", MALFORMED["not encoded"], expect=2)
    inside("profile", "add", "named", bare, "--password-from", "env:MY_WORD", expect=0)
    inside(
        "profile",
        "add",
        "asked",
        bare,
        "--password-from",
        f"command:cat {given(place, 'word', SECRET)} /nothing",
        expect=0,
    )
    for argv in (("list",), ("list", "--json"), ("show", "kept"), ("show", "kept", "--json"), ("export",)):
        inside("profile", *argv)
    assert "PostgreSQL" in inside("profile", "test", "kept", expect=0)
    inside("profile", "test", "wrong", expect=1)
    inside("profile", "test", "named", MY_WORD=SECRET + "x", expect=1)
    inside("profile", "test", "asked", expect=1)
    inside("inspect", "kept", expect=0)
    inside("inspect", "kept", PGHAUL_KEY=SECRET)
    inside("doctor")
    inside("doctor", "--json", PGPASSWORD=SECRET, PGHAUL_SOURCE_PASSWORD=SECRET)


def test_verification_and_reports(server: Cluster, place: Place, inside: Inside) -> None:
    with psycopg.connect(server.url("aim"), autocommit=True) as owner:
        owner.execute("DROP TABLE IF EXISTS payment")
    inside(*words(server), expect=0)
    run_id = place.runs()[0]
    with psycopg.connect(server.url("aim"), autocommit=True) as owner:
        owner.execute("UPDATE payment SET note = 'other' WHERE id = 7")
    ends = ("--from", url(server, "origin"), "--to", url(server, "aim"), "--table", "payment")
    assert "7" in inside("verify", *ends, "-v", expect=3)
    wrong = ("--from", url(server, "origin", password=ENCODED + "x"), "--to", url(server, "aim"), "--table", "payment")
    inside("verify", *wrong, expect=1)
    for form in ("text", "json", "html"):
        inside("report", run_id, "--format", form, "-o", f"report.{form}", expect=0)
    assert (place.folder / "work" / "report.html").stat().st_size > 1000
