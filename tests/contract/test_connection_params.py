"""Every way to name a server works through both drivers alike, against a real server with TLS and passwords."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import psycopg
import pytest
from tests.components import need
from tests.conftest import running_server

from pghaul.model.profile import Endpoint
from pghaul.postgres.dsn import asyncpg_params, child_environment, psycopg_params, resolve
from pghaul.postgres.probe import probe
from pghaul.service.embedded import Cluster, free_port

PASSWORD = "p@ss:w/ör d?#%"
WHO_SQL = """
SELECT current_user::text, current_database()::text, current_setting('application_name'),
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
       COALESCE((SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()), ''),
       current_setting('work_mem')
"""

HBA = """
local   all postgres trust
host    all postgres 127.0.0.1/32 trust
local   all all scram-sha-256
hostssl all certified 127.0.0.1/32 cert
host    all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """A server with TLS, and the files of a certificate authority that signed it."""

    cluster: Cluster
    files: Path

    def url(self, query: str = "", user: str = "reader", host: str = "localhost", password: str = PASSWORD) -> str:
        query = query.format(files=self.files)
        return f"postgresql://{user}:{quote(password, safe='')}@{host}:{self.cluster.port}/postgres?{query}"


def _sign(folder: Path, name: str, subject: str, extension: str) -> None:
    """A key and a certificate from our own authority."""
    (folder / f"{name}.ext").write_text(extension)
    for args in (
        ["req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", subject,
         "-keyout", f"{name}.key", "-out", f"{name}.csr"],
        ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
         "-extfile", f"{name}.ext", "-out", f"{name}.crt"],
    ):  # fmt: skip
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    (folder / f"{name}.key").chmod(0o600)


def _authority(folder: Path, name: str) -> None:
    subprocess.run(
        ["openssl", "req", "-new", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", f"/CN={name}",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", f"{name}.key", "-out", f"{name}.crt"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    need("openssl")
    files = tmp_path_factory.mktemp("tls")
    _authority(files, "ca")
    _authority(files, "stranger")
    _sign(files, "server", "/CN=localhost", "subjectAltName=DNS:localhost\n")
    _sign(files, "client", "/CN=certified", "extendedKeyUsage=clientAuth\n")
    with running_server(15) as cluster:  # Debian's: the bundled servers are built without TLS
        for name in ("server.key", "server.crt", "ca.crt"):
            shutil.copy(files / name, cluster.data / name)
            owner = cluster.data.stat()
            if hasattr(os, "chown"):
                os.chown(cluster.data / name, owner.st_uid, owner.st_gid)
        (cluster.data / "server.key").chmod(0o600)
        cluster.settings |= {"ssl": "on", "ssl_ca_file": "ca.crt"}
        cluster.restart()
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            for role in ("reader", "certified"):
                admin.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    psycopg.sql.Identifier(role), PASSWORD))  # fmt: skip
        (cluster.data / "pg_hba.conf").write_text(HBA)
        cluster.restart()
        yield Tls(cluster=cluster, files=files)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home without certificates, services and passwords, for us and for the drivers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    for name in [n for n in os.environ if n.startswith("PG") and not n.startswith("PGHAUL")]:
        monkeypatch.delenv(name)
    return {"HOME": str(tmp_path), "APPDATA": str(tmp_path)}


def by_psycopg(endpoint: Endpoint) -> tuple[Any, ...]:
    with psycopg.connect(**psycopg_params(endpoint, application_name="pghaul/x")) as connection:
        row = connection.execute(WHO_SQL).fetchone()
    assert row is not None
    return tuple(row)


def by_asyncpg(endpoint: Endpoint) -> tuple[Any, ...]:
    async def ask() -> tuple[Any, ...]:
        connection = await asyncpg.connect(**asyncpg_params(endpoint, application_name="pghaul/x"))
        try:
            return tuple(await connection.fetchrow(WHO_SQL))
        finally:
            await connection.close()

    return asyncio.run(ask())


def by_psql(endpoint: Endpoint) -> tuple[Any, ...]:
    with child_environment(endpoint, application_name="pghaul/x") as env:
        psql = shutil.which("psql")
        if psql is None:
            pytest.skip("psql is not installed")
        done = subprocess.run([psql, "-XAtw", "-c", WHO_SQL], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr)
    user, database, name, ssl, subject, memory = done.stdout.strip().split("|")
    return user, database, name, ssl == "t", subject, memory


Way = Callable[[Endpoint], tuple[Any, ...]]


@pytest.fixture(params=[by_psycopg, by_asyncpg, by_psql], ids=["psycopg", "asyncpg", "programs"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.mark.parametrize(
    ("query", "host", "encrypted"),
    [
        ("sslmode=disable", "localhost", False),
        ("sslmode=allow", "localhost", False),
        ("sslmode=prefer", "localhost", True),
        ("", "localhost", True),
        ("sslmode=require", "127.0.0.1", True),
        ("sslmode=require&sslrootcert={files}/ca.crt", "127.0.0.1", True),
        ("sslmode=verify-ca&sslrootcert={files}/ca.crt", "127.0.0.1", True),
        ("sslmode=verify-full&sslrootcert={files}/ca.crt", "localhost", True),
        ("sslmode=require&ssl_min_protocol_version=TLSv1.3", "localhost", True),
        ("sslmode=require&ssl_max_protocol_version=TLSv1.2", "localhost", True),
        ("ssl=true", "localhost", True),
        ("hostaddr=127.0.0.1&sslmode=require", "localhost", True),
    ],
)
def test_tls_options_are_honoured(
    tls: Tls, environ: dict[str, str], way: Way, query: str, host: str, encrypted: bool
) -> None:
    found = way(resolve(tls.url(query, host=host), environ=environ))
    assert found[:4] == ("reader", "postgres", "pghaul/x", encrypted)


@pytest.mark.parametrize(
    ("query", "host"),
    [
        ("sslmode=verify-full&sslrootcert={files}/ca.crt", "127.0.0.1"),  # the certificate is for localhost
        ("sslmode=verify-full&sslrootcert={files}/stranger.crt", "localhost"),
        ("sslmode=verify-ca&sslrootcert={files}/stranger.crt", "localhost"),
        ("sslmode=require&sslrootcert={files}/stranger.crt", "localhost"),  # libpq: then as verify-ca
        ("sslmode=verify-full", "localhost"),  # no root certificate at all
        ("sslrootcert=system", "localhost"),  # signed by nobody the system knows
    ],
)
def test_a_server_that_cannot_prove_itself_is_refused(
    tls: Tls, environ: dict[str, str], way: Way, query: str, host: str
) -> None:
    endpoint = resolve(tls.url(query, host=host), environ=environ)
    with pytest.raises((OSError, psycopg.Error, asyncpg.InterfaceError), match=r"(?i)certif|ssl"):
        way(endpoint)


def test_a_client_certificate_is_presented(tls: Tls, environ: dict[str, str], way: Way) -> None:
    query = "sslmode=verify-full&sslrootcert={files}/ca.crt&sslcert={files}/client.crt&sslkey={files}/client.key"
    found = way(resolve(tls.url(query, user="certified", password=""), environ=environ))
    assert (found[0], found[4]) == ("certified", "/CN=certified")


def test_tls_options_of_the_environment_are_honoured(tls: Tls, environ: dict[str, str], way: Way) -> None:
    environ |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(tls.files / "ca.crt")}
    endpoint = resolve(tls.url(), environ=environ)
    assert endpoint.get("sslmode") == "verify-full"
    assert way(endpoint)[3] is True


def test_a_service_file_says_all(tls: Tls, environ: dict[str, str], way: Way, tmp_path: Path) -> None:
    service = tmp_path / "services"
    service.write_text(
        f"[plant]\nhost=localhost\nport={tls.cluster.port}\ndbname=postgres\nuser=reader\npassword={PASSWORD}\n"
        f"sslmode=verify-full\nsslrootcert={tls.files}/ca.crt\noptions=-c work_mem=7MB\n",
        encoding="utf-8",
    )
    found = way(resolve("service=plant", environ=environ | {"PGSERVICEFILE": str(service)}))
    assert found == ("reader", "postgres", "pghaul/x", True, "", "7MB")


def test_options_reach_the_server(tls: Tls, environ: dict[str, str], way: Way) -> None:
    assert way(resolve(tls.url("options=-c%20work_mem%3D9MB"), environ=environ))[5] == "9MB"


def test_the_password_may_come_from_the_environment(tls: Tls, environ: dict[str, str], way: Way) -> None:
    url = f"postgresql://reader@localhost:{tls.cluster.port}/postgres"
    assert way(resolve(url, environ=environ | {"PGPASSWORD": PASSWORD}))[0] == "reader"


def test_the_password_may_come_from_a_pass_file(tls: Tls, environ: dict[str, str], way: Way, tmp_path: Path) -> None:
    passfile = tmp_path / "pass"
    escaped = PASSWORD.replace(":", "\\:")
    passfile.write_text(f"localhost:{tls.cluster.port}:postgres:reader:{escaped}\n", encoding="utf-8")
    passfile.chmod(0o600)
    url = f"postgresql://reader@localhost:{tls.cluster.port}/postgres?passfile={passfile}"
    assert way(resolve(url, environ=environ))[0] == "reader"


def test_without_a_password_nobody_gets_in(tls: Tls, environ: dict[str, str], way: Way) -> None:
    endpoint = resolve(f"postgresql://reader@localhost:{tls.cluster.port}/postgres", environ=environ)
    with pytest.raises((OSError, psycopg.Error, asyncpg.PostgresError), match="password"):
        way(endpoint)


def test_of_several_hosts_the_one_that_answers_is_taken(tls: Tls, environ: dict[str, str], way: Way) -> None:
    places = f"localhost:{free_port()},localhost:{tls.cluster.port}"
    url = f"postgresql://reader:{quote(PASSWORD, safe='')}@{places}/postgres?target_session_attrs=read-write"
    assert way(resolve(url, environ=environ))[0] == "reader"


@pytest.mark.skipif(os.name == "nt", reason="asyncpg has no Unix sockets on Windows")
def test_a_socket_folder_is_a_host(environ: dict[str, str], way: Way) -> None:
    with running_server(16) as cluster:
        cluster.stop()
        folder = cluster.data
        folder.chmod(0o700)
        command = f"-c unix_socket_directories='{folder}' -c port={cluster.port} -c listen_addresses=''"
        cluster._call("pg_ctl", "-w", "-D", str(folder), "-l", str(folder / "log"), "-o", command, "start")
        url = f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}&port={cluster.port}"
        assert way(resolve(url, environ=environ))[:2] == ("postgres", "postgres")


@pytest.mark.parametrize(("query", "encrypted"), [("sslmode=disable", False), ("sslmode=require", True)])
def test_a_look_says_what_tls_is_in_use(tls: Tls, environ: dict[str, str], query: str, encrypted: bool) -> None:
    found = probe(resolve(tls.url(query), environ=environ))
    assert found.facts is not None, found.findings
    assert found.facts.encrypted is encrypted
    assert (found.facts.tls or "").startswith("TLSv1.") is encrypted
