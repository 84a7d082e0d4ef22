"""What the tests need besides Python, and whether it is here: one place that answers, skips and installs.

`python -m tests.components` prints the list and, as root on Debian, installs what is missing. With
PGHAUL_REQUIRE=all nothing may be missing: a test that would be skipped fails, and so does the command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pghaul.service.embedded import bundled_programs, system_programs
from tests import servers

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("PGHAUL_TEST_DATA") or REPOSITORY.parent / "shared" / "data")

with warnings.catch_warnings():
    # The bundle, when first imported, may warn of a runtime folder nobody uses; here warnings are errors.
    warnings.simplefilter("ignore")
    bundled_programs()


@dataclass(frozen=True, kw_only=True)
class Component:
    """`find` says where it is, None when it is missing; `package` is Debian's name, if it has one; `fetch` gets it."""

    name: str
    find: Callable[[], str | None]
    package: str | None = None
    fetch: Callable[[], object] | None = None


def server_folder(version: int) -> Path | None:
    """Where the programs of this major version lie."""
    return (system_programs() | bundled_programs()).get(version)


def server_version(version: int) -> str | None:
    """The full version of the server of this major version, e.g. "16.9"."""
    folder = server_folder(version)
    if folder is None:
        return None
    said = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False)
    return f"{said.stdout.strip().removeprefix('postgres (PostgreSQL) ')} in {folder}"


def _server(version: int) -> Callable[[], str | None]:
    return lambda: server_version(version)


def _kept(version: int) -> Callable[[], str | None]:
    return lambda: str(found) if (found := servers.kept(version)) else None


def _program(name: str) -> Callable[[], str | None]:
    # Debian keeps daemons in sbin, which is not on everybody's PATH.
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


COMPONENTS = {
    c.name: c
    for c in (
        Component(name="PostgreSQL 12", find=_kept(12), fetch=lambda: servers.fetch(12)),
        Component(name="PostgreSQL 15", find=_server(15), package="postgresql-15"),
        Component(name="PostgreSQL 16", find=_server(16)),
        Component(name="PostgreSQL 18", find=_server(18)),
        Component(name="pgbouncer", find=_program("pgbouncer"), package="pgbouncer"),
        Component(name="mariadb-server", find=_program("mariadbd"), package="mariadb-server"),
        Component(name="openssl", find=_program("openssl"), package="openssl"),
        Component(name="shared data", find=lambda: str(SHARED_DATA) if SHARED_DATA.is_dir() else None),
    )
}


def everything_required() -> bool:
    """Whether a missing component is a failure rather than a skip."""
    return os.environ.get("PGHAUL_REQUIRE") == "all"


def missing(reason: str) -> None:
    """Skip the running test for this reason, or fail it where everything is required."""
    if everything_required():
        pytest.fail(f"PGHAUL_REQUIRE=all, but: {reason}")
    pytest.skip(reason)


def need(name: str) -> str:
    """Where a component is; the running test is skipped (or fails) by its name when it is missing."""
    found = COMPONENTS[name].find()
    if found is None:
        missing(f"{name} is not installed")
    return str(found)


def _install(packages: list[str]) -> None:
    if not packages or not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], env=quiet, check=False)
    # No cluster of Debian's own shall be created and started: the tests make theirs.
    subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", *packages], env=quiet, check=False)


def _fetch() -> None:
    for component in COMPONENTS.values():
        if component.fetch is not None and component.find() is None:
            try:
                component.fetch()
            except servers.ServerMissingError as exc:
                sys.stdout.write(f"{component.name}: {exc}\n")


def main() -> int:
    """Print the list; install what can be; 1 when something required is missing still."""
    _fetch()
    _install([c.package for c in COMPONENTS.values() if c.package and c.find() is None])
    lacking = 0
    for component in COMPONENTS.values():
        found = component.find()
        lacking += found is None
        sys.stdout.write(f"{component.name:15} {found or 'MISSING'}\n")
    return 1 if lacking and everything_required() else 0


if __name__ == "__main__":
    sys.exit(main())
