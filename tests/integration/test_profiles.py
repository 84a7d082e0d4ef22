"""Profiles against real servers that want passwords: moved, killed, resumed and tested by their names."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql
from tests.conftest import running_server
from tests.faults.program import PATIENCE, Program
from tests.faults.proxy import Connection, Moment, Proxy, Trigger
from tests.looking import execute, value
from tests.moving import plan_of
from tests.pooler import running_pooler
from tests.standby import standby_of
from tests.stopping import Brake

from pghaul.cli.app import run
from pghaul.model.errors import EndpointChangedError, NotFoundError, SecretError, StoppedError, TerminalError
from pghaul.model.finding import Severity
from pghaul.model.profile import Endpoint, PasswordFrom, Profile, Way
from pghaul.model.run import RunState
from pghaul.postgres.dsn import resolve
from pghaul.postgres.probe import probe
from pghaul.postgres.relay_connection import pooler_error
from pghaul.service import keys, passwords
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from pghaul.service.profiles import KEPT, Profiles
from pghaul.store.repository import Store

PASSWORD = "p@ss:w/ör d?#%"
RUN = "0123456789ab"
HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
ROWS = 20_000
BIG = (
    "CREATE TABLE big (id int, body text)",
    f"INSERT INTO big SELECT g, repeat('x', 93) FROM generate_series(1, {ROWS}) g",
    "CREATE TABLE small (id int)",
    "INSERT INTO small SELECT generate_series(1, 10)",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO mover",
)
Told = pytest.CaptureFixture[str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server with passwords and two databases on it: `old` is full, `new` is empty."""

    cluster: Cluster
    way_in: int = 0  # a port that leads to it

    @property
    def port(self) -> int:
        return self.way_in or self.cluster.port

    def params(self, database: str) -> tuple[tuple[str, str], ...]:
        return (("dbname", database), ("host", "127.0.0.1"), ("port", str(self.port)), ("user", "mover"))

    def url(self, database: str) -> str:
        return f"postgresql://mover@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with running_server(16) as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE ROLE mover LOGIN PASSWORD {}").format(PASSWORD))
        (cluster.data / "pg_hba.conf").write_text(HBA)
        cluster.restart()
        yield cluster


@pytest.fixture
def place(server: Cluster) -> Iterator[Place]:
    admin = server.url()
    execute(admin, "CREATE DATABASE old", "CREATE DATABASE new OWNER mover")
    execute(server.url("old"), *BIG)
    yield Place(cluster=server)
    execute(admin, "DROP DATABASE old WITH (FORCE)", "DROP DATABASE new WITH (FORCE)")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without passwords and keys: for us, and for the processes that we start."""
    for name in ("HOME", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in [n for n in os.environ if n.startswith("PG") and not n.startswith("PGHAUL_STATE")]:
        if name not in {"PGHAUL_LANG", "PGHAUL_PG_BIN", "PGHAUL_SERVERS", "PGHAUL_REQUIRE"}:
            monkeypatch.delenv(name)
    return tmp_path


def kept(_home: Path, _place: Place, _patch: pytest.MonkeyPatch) -> Way:
    return KEPT


def by_env(_home: Path, _place: Place, patch: pytest.MonkeyPatch) -> Way:
    patch.setenv("PLANT_PW", PASSWORD)
    return Way(kind=PasswordFrom.ENV, detail="PLANT_PW")


def by_pgpass(home: Path, place: Place, patch: pytest.MonkeyPatch) -> Way:
    path = home / ".pgpass"
    path.write_text(f"127.0.0.1:{place.port}:*:mover:{PASSWORD.replace(':', chr(92) + ':')}\n")
    path.chmod(0o600)
    patch.setenv("PGPASSFILE", str(path))
    return Way()


def by_command(home: Path, _place: Place, _patch: pytest.MonkeyPatch) -> Way:
    (home / "vault.py").write_text(f"import sys; print({PASSWORD!r}); print('more'); print('noise', file=sys.stderr)")
    command = shlex.join([sys.executable, str(home / "vault.py")])
    return Way(kind=PasswordFrom.COMMAND, detail=command)


def add(place: Place, way: Way, password: str | None = PASSWORD) -> MigrationService:
    """`old-plant` and `new-plant`."""
    service = MigrationService()
    for name, database in (("old-plant", "old"), ("new-plant", "new")):
        profile = Profile(name=name, params=place.params(database), way=way)
        service.profiles.add(profile, password if way == KEPT else None)
    return service


def stopped(service: MigrationService) -> None:
    """A run by names that was stopped after its first chunk."""
    brake = Brake()
    with pytest.raises(StoppedError):
        service.run(
            plan_of("old-plant", "new-plant", ["big", "small"]), listener=brake.hear, run_id=RUN, stop=brake.pulled
        )


def written(folder: Path) -> bytes:
    """All that lies in the user's home but what the test itself has put there."""
    own = {".pgpass", "vault.py"}
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in own)


@pytest.mark.parametrize("way", [kept, by_env, by_pgpass, by_command])
def test_a_run_by_names_is_killed_and_resumed(
    place: Place,
    home: Path,
    way: Callable[[Path, Place, pytest.MonkeyPatch], Way],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of the rows, which cannot go on before it is dead."""
    program = Program(home)
    monkeypatch.setenv("PGHAUL_STATE", program.state)
    tables = ("--table", "big", "--table", "small", "--workers", "1", "--verify", "checksum", "--json")
    seen: set[str] = set()

    def look_and_kill(_: Connection) -> None:
        for process in program.processes():
            with contextlib.suppress(psutil.Error):
                seen.add(" ".join(process.cmdline()))
        program.kill_main()

    middle = Trigger(moment=Moment.COPIED, application="/worker$", after_bytes=300_000, action=look_and_kill)
    with Proxy(place.cluster.port) as proxy:
        place = replace(place, way_in=proxy.port)
        add(place, way(home, place, monkeypatch))
        proxy.arm(middle)
        try:
            program.start("run", "--from", "old-plant", "--to", "new-plant", "--run-id", RUN, *tables)
            assert (program.wait(), middle.error) == (-9, None), program.said()
            said = program.said()
            with contextlib.closing(Store(program.state)) as store:
                stored, plan, _ = store.load_run(RUN)
            assert (plan.source, plan.target) == ("old-plant", "new-plant")
            assert (stored.source, stored.target) == (place.url("old"), place.url("new"))
            program.start("resume", RUN, "--json")
            assert program.wait() == 0, program.said()
            said += program.said()
        finally:
            program.kill_all()
    assert value(place.cluster.url("new"), "SELECT count(*) FROM big") == ROWS
    assert value(place.cluster.url("new"), "SELECT count(*) FROM small") == 10
    assert PASSWORD not in said + " ".join(seen)
    assert PASSWORD.encode() not in written(home)
    assert seen


def test_a_prompt_asks_each_command_once_for_each_profile(place: Place, state: str) -> None:
    asked: list[str] = []
    add(place, Way(kind=PasswordFrom.PROMPT))
    passwords.ask_with(lambda words: asked.append(words) or PASSWORD)
    try:
        stopped(MigrationService())
        ended = MigrationService().resume(RUN, listener=lambda _event: None)
    finally:
        passwords.ask_with(None)
    assert ended.state is RunState.DONE
    assert asked == ["Password of profile old-plant", "Password of profile new-plant"] * 2


def test_a_password_that_was_changed_is_found_by_the_resume(place: Place, server: Cluster, state: str) -> None:
    service = add(place, KEPT)
    stopped(service)
    execute(server.url(), "ALTER ROLE mover PASSWORD 'another one'")
    try:
        for name in ("old-plant", "new-plant"):
            service.profiles.edit(name, lambda before: before, "another one")
        assert MigrationService().resume(RUN, listener=lambda _event: None).state is RunState.DONE
    finally:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER ROLE mover PASSWORD {}").format(PASSWORD))


def test_a_profile_that_leads_elsewhere_does_not_resume_its_run(place: Place, state: str) -> None:
    service = add(place, KEPT)
    stopped(service)
    service.profiles.edit(
        "old-plant", lambda p: Profile(name=p.name, params=place.params("postgres"), way=p.way), PASSWORD
    )
    with pytest.raises(EndpointChangedError):
        MigrationService().resume(RUN, listener=lambda _event: None)


def test_a_profile_that_unfinished_runs_need_stays(place: Place, state: str, capsys: Told) -> None:
    service = add(place, KEPT)
    stopped(service)
    with pytest.raises(TerminalError, match=f"unfinished runs: {RUN}"):
        service.profiles.remove("new-plant")
    assert run(["profile", "remove", "new-plant"]) == 1
    assert run(["profile", "remove", "new-plant", "--force"]) == 0
    assert RUN in capsys.readouterr().err
    with pytest.raises(NotFoundError, match="new-plant is neither a URL nor a profile"):
        MigrationService().resume(RUN, listener=lambda _event: None)
    target = resolve(place.url("new")).display
    ended = MigrationService().resume(RUN, listener=lambda _event: None, target=target, target_password=PASSWORD)
    assert ended.state is RunState.DONE
    assert run(["profile", "remove", "old-plant"]) == 0


def test_inspect_and_plan_take_a_name_and_write_it(place: Place, state: str, home: Path, capsys: Told) -> None:
    add(place, KEPT)
    assert run(["inspect", "old-plant"]) == 0
    out, err = capsys.readouterr()
    assert "big" in out
    assert "--from old-plant" in err
    file = home / "plan.toml"
    words = ["plan", "--from", "old-plant", "--to", "new-plant", "--table", "small", "-o", str(file)]
    assert run(words) == 0, capsys.readouterr()
    assert 'source = "old-plant"' in file.read_text()
    assert run(["run", str(file), "--workers", "1"]) == 0
    assert PASSWORD not in "".join(capsys.readouterr())


def test_the_wrong_password_is_not_shown(place: Place, state: str, capsys: Told) -> None:
    add(place, KEPT, "wr0ng-s3cret-word")
    assert run(["inspect", "old-plant"]) == 1
    assert run(["profile", "test", "old-plant"]) == 1
    said = "".join(capsys.readouterr())
    assert "password authentication failed" in said
    assert "wr0ng-s3cret-word" not in said


def test_a_lost_key_stops_its_profile_and_no_other(place: Place, state: str, capsys: Told) -> None:
    add(place, KEPT)
    folder = keys.key_folder()
    next(folder.glob("key-*")).unlink()
    assert run(["inspect", "old-plant"]) == 1
    err = capsys.readouterr().err
    assert "new-plant, old-plant" in err
    assert "pghaul profile edit NAME --password" in err
    assert run(["inspect", place.cluster.url("old")]) == 0


# --- profile test ---


def test_a_test_says_what_is_there(place: Place, state: str, capsys: Told) -> None:
    add(place, KEPT)
    assert run(["profile", "test", "new-plant"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"server +PostgreSQL 16\.\S+, primary", out)
    assert re.search(r"role +mover", out)
    assert re.search(r"pooler +none between", out)
    assert re.search(r"granted +CREATE, TEMPORARY, COPY TO, COPY FROM *\n", out)
    assert re.search(r"not granted +superuser, replication, BYPASSRLS, pg_read_all_data, pg_monitor *\n", out)
    assert "Nothing is wrong." in out


def test_a_test_as_json_is_plain_data(place: Place, state: str, capsys: Told) -> None:
    add(place, KEPT)
    assert run(["profile", "test", "old-plant", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["usable"], found["pooler"], found["sslmode"]) == (True, False, "prefer")
    facts = found["facts"]
    assert (facts["role"], facts["encoding"], facts["standby"], facts["encrypted"]) == ("mover", "UTF8", False, False)
    assert 0 < facts["round_trip"] < 5
    assert abs(facts["clock_ahead"]) <= facts["clock_within"] + 0.05
    assert facts["grants"]["copy_from"] is True
    assert [f["code"] for f in found["findings"]] == [5172]


def test_a_test_leaves_nothing_behind(place: Place, state: str) -> None:
    before = value(place.cluster.url("new"), "SELECT count(*) FROM pg_class")
    assert probe(resolve(place.url("new"), password=PASSWORD)).usable
    assert value(place.cluster.url("new"), "SELECT count(*) FROM pg_class") == before


def test_a_test_of_a_superuser_knows_all_of_its_rights(place: Place) -> None:
    found = probe(resolve(place.cluster.url("old")))
    assert found.facts is not None
    grants = found.facts.grants
    assert grants.superuser
    assert grants.replication
    assert grants.read_all_data
    assert "public" in grants.schemas_to_create_in
    assert [f.code for f in found.findings] == [5173]


def test_a_database_s_own_defaults_are_told_not_ours(place: Place, server: Cluster) -> None:
    execute(
        server.url(),
        "ALTER DATABASE new SET timezone = 'Asia/Seoul'",
        "ALTER DATABASE new SET default_transaction_read_only = on",
    )
    found = probe(resolve(place.url("new"), password=PASSWORD))
    assert found.facts is not None
    assert (found.facts.time_zone, found.facts.read_only, found.facts.grants.copy_from) == ("Asia/Seoul", True, True)
    assert [f.code for f in found.findings] == [5373]


def test_a_pooler_is_found_and_named(server: Cluster, tmp_path: Path) -> None:
    with running_pooler(server, tmp_path / "pooler") as port:
        found = probe(resolve(f"postgresql://postgres@127.0.0.1:{port}/postgres"))
    assert (found.pooler, found.usable, found.facts) == (True, False, None)
    assert "pooler" in found.findings[0].what


def test_a_pooler_is_told_from_other_trouble(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no pgbouncer can be had."""
    end = resolve(place.url("new"), password=PASSWORD)

    def refusing(endpoint: Endpoint, **_rest: object) -> None:
        raise pooler_error(endpoint)

    monkeypatch.setattr("pghaul.postgres.probe.connect", refusing)
    assert (probe(end).pooler, probe(end).usable) == (True, False)


def test_a_standby_can_be_a_source(server: Cluster) -> None:
    with running_server(16) as primary, standby_of(primary) as standby:
        found = probe(resolve(standby.url()))
    assert found.facts is not None
    assert (found.facts.standby, found.facts.grants.copy_to, found.facts.grants.copy_from) == (True, True, None)
    assert found.usable
    assert 5373 in [f.code for f in found.findings]


def test_nobody_there_is_a_finding(capsys: Told, state: str) -> None:
    assert run(["profile", "test", "postgresql://me@127.0.0.1:1/nowhere"]) == 1
    out = capsys.readouterr().out
    assert "127.0.0.1:1" in out
    assert "try: check host and port" in out


@pytest.mark.parametrize("assumed", ["9.3", "9.6", "13"])
def test_an_old_server_is_asked_what_it_knows(place: Place, assumed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    found = probe(resolve(place.url("new"), password=PASSWORD))
    assert found.usable
    assert found.facts is not None
    assert (found.facts.grants.bypass_row_security is None) == (assumed == "9.3")
    assert not [f for f in found.findings if f.severity is Severity.ERROR]


def test_a_secret_that_cannot_be_had_is_an_error_with_its_code(place: Place, state: str, capsys: Told) -> None:
    add(place, Way(kind=PasswordFrom.ENV, detail="NOT_SET_AT_ALL"))
    assert run(["profile", "test", "old-plant"]) == 1
    assert "PGH-6307" in capsys.readouterr().err
    with pytest.raises(SecretError):
        MigrationService().probe("old-plant")


@pytest.mark.parametrize("version", ["pg12", "pg15", "pg18"])
def test_every_version_is_asked_what_it_knows(version: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(version)
    found = probe(resolve(cluster.url()))
    assert found.facts is not None, found.findings
    grants = found.facts.grants
    assert (grants.copy_to, grants.copy_from, grants.superuser, grants.monitor) == (True, True, True, True)
    assert (grants.read_all_data is None) == (version == "pg12")


# --- where else profiles live ---


def test_a_password_said_for_one_side_serves_a_profile_that_has_none(place: Place, state: str) -> None:
    add(place, Way())
    environ = {**os.environ, "PGHAUL_SOURCE_PASSWORD": PASSWORD}
    assert MigrationService(environ=environ).inspect("old-plant").database == "old"
    add_other = Profile(name="own", params=place.params("old"), way=KEPT)
    MigrationService().profiles.add(add_other, PASSWORD)
    environ["PGHAUL_SOURCE_PASSWORD"] = "of another database"
    assert MigrationService(environ=environ).inspect("own").database == "old"


def test_a_state_store_in_postgresql_keeps_profiles_for_several_processes_at_once(server: Cluster) -> None:
    """Whoever comes first makes the key, and nobody makes another."""
    execute(server.url(), "CREATE DATABASE state")
    url = server.url("state")
    try:
        threads = [threading.Thread(target=_add_one, args=(url, f"p{i}")) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(next(keys.key_folder().glob("key-*")).read_text().split()) == 1
        with profiles_of(url) as profiles:
            assert [p.name for p in profiles.all()] == ["p0", "p1", "p2", "p3"]
            assert profiles.rotate() == 4
        with profiles_of(url) as profiles:
            assert profiles.endpoint("p3").password == PASSWORD
    finally:
        execute(server.url(), "DROP DATABASE state WITH (FORCE)")


@contextlib.contextmanager
def profiles_of(url: str) -> Iterator[Profiles]:
    with contextlib.closing(Store(url)) as store:
        yield Profiles(lambda: store, os.environ)


def _add_one(url: str, name: str) -> None:
    with profiles_of(url) as profiles:
        profiles.add(Profile(name=name, params=(("host", "h"),), way=KEPT), PASSWORD)
