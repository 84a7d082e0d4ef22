"""How a MySQL server is reached: with TLS and without, verified and not, and by its socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import mariadb as servers
from tests.components import need
from tests.mariadb import PASSWORD, USER, MariaDatabase, MariaServer
from tests.mysql_reading import opened, read, reading

from pghaul.model.errors import AccessError
from pghaul.sources import mysql

ROWS = 30_000
CIPHER = "SHOW SESSION STATUS LIKE 'Ssl_cipher'"


@dataclass(frozen=True, kw_only=True)
class Certified:
    """A server whose certificate is for localhost, and is its own authority."""

    server: MariaServer
    ca: Path
    other: Path  # an authority that has nothing to do with it

    def url(self, mode: str, *, host: str = "127.0.0.1", ca: Path | None = None) -> str:
        query = f"ssl-mode={mode}" + (f"&ssl-ca={ca}" if ca else "")
        return f"{self.server.url('tls')}?{query}".replace("127.0.0.1", host)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-new", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", f"/CN={name}"]
    names = ["-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return key, cert


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    need("openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = certificate(folder, "localhost")
    _, other = certificate(folder, "elsewhere")
    with servers.running(f"--ssl-key={key}", f"--ssl-cert={cert}") as server:
        database = MariaDatabase(server=server, name="mysql")
        database.run("CREATE DATABASE tls", f"CREATE TABLE tls.t AS SELECT seq AS id FROM seq_1_to_{ROWS}")
        yield Certified(server=server, ca=cert, other=other)


def cipher(url: str) -> str:
    """Of the session that asks; and all rows are read by the one that reads."""
    with opened(url) as source:
        assert read(source, reading(source, "t")).num_rows == ROWS
        return str(source._rows(CIPHER)[0]["VALUE"])


def test_each_mode_is_as_safe_as_it_says(certified: Certified) -> None:
    assert cipher(certified.url("disabled")) == ""
    assert cipher(certified.url("preferred")) != ""
    assert cipher(certified.url("verify-identity", host="localhost", ca=certified.ca)) != ""
    with opened(certified.url("required")) as source:
        assert source._rows(CIPHER)[0]["VALUE"]
    with opened(certified.url("verify-ca", ca=certified.ca)) as source:
        assert source._rows(CIPHER)[0]["VALUE"]


@pytest.mark.parametrize(
    ("mode", "ca"), [("verify-ca", "other"), ("verify-ca", ""), ("verify-identity", "ca")], ids=str
)
def test_a_server_that_is_not_the_one_is_refused(certified: Certified, mode: str, ca: str) -> None:
    url = certified.url(mode, ca=getattr(certified, ca) if ca else None)
    with pytest.raises(AccessError, match="certificate"):
        opened(url)


def test_a_server_without_tls_is_refused_where_it_is_required(mariadb: MariaDatabase) -> None:
    with pytest.raises(AccessError, match=r"TLS|SSL"):
        opened(mariadb.asking("ssl-mode=required"))
    with opened(mariadb.asking("ssl-mode=preferred")) as source:
        assert source.database().tables == ()


def test_a_socket_is_a_way_too(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE t (a int)", f"CREATE USER '{USER}'@localhost IDENTIFIED BY '{PASSWORD}'")
    mariadb.run(f"GRANT ALL ON *.* TO '{USER}'@localhost")
    socket = mariadb.server.folder / "socket"
    try:
        endpoint = mysql.endpoint(f"mysql://{USER}@localhost/{mariadb.name}?socket={socket}", {}, PASSWORD)
        with mysql.open(endpoint) as source:
            assert read(source, reading(source, "t")).num_rows == 0
    finally:
        mariadb.run(f"DROP USER '{USER}'@localhost")
