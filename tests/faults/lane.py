"""A lane: a pair of servers of its own, on which one case after the other is tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from pghaul.model.errors import ProgramError
from pghaul.model.table import Name
from pghaul.service.embedded import SERVICE_USER, Cluster
from tests.compare import Content, contents
from tests.databases import clone, drop, template
from tests.faults.plant import ROWS, SCHEMA, SCRATCH, SCRIPT, STALE, TABLES
from tests.mariadb import Daemon
from tests.memory import folder_for

MAX_CONNECTIONS = 24
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": str(MAX_CONNECTIONS),
    "max_wal_senders": "0",
}
SMALL_DISK = "small_disk"  # a tablespace on a file system of its own
SMALL_DISK_SIZE = "64m"


@dataclass(frozen=True, kw_only=True)
class Lane:
    """`small_disk` is where the tablespace lies that can be filled; None where nothing can be mounted."""

    source: Cluster
    target: Cluster
    folder: Path
    small_disk: Path | None
    before: dict[Name, Content]
    templates: tuple[str, str]
    stale: str  # template of a target that holds an older state
    daemons: list[Daemon] = field(default_factory=list)

    def server(self, side: str) -> Cluster:
        """ "source" or "target"."""
        return self.source if side == "source" else self.target

    def maria(self) -> Daemon:
        """The lane's MariaDB, made when it is wanted first. What it has committed outlives it."""
        if not self.daemons:
            self.daemons.append(Daemon("--innodb-flush-log-at-trx-commit=2"))
        return self.daemons[0]

    def revive(self) -> list[str]:
        """Start each server that does not answer, as an earlier case may have left it; what was to be done."""
        said = []
        for side in ("source", "target"):
            server = self.server(side)
            if not answers(server):
                server.crash()  # one that runs, and does not answer
                said += [f"the {side} did not run: started again", *bring_up(server)]
        return said

    @contextmanager
    def databases(
        self, *, on_small_disk: bool = False, stale: bool = False, scripts: tuple[str, str] | None = None
    ) -> Iterator[tuple[str, str]]:
        """Names of a fresh source and of a fresh target: empty, or with an older state; or as these scripts say."""
        self.revive()
        origins = self.templates[0], self.stale if stale else self.templates[1]
        if scripts is not None:
            origins = template(self.source, scripts[0]), template(self.target, scripts[1])
        names = clone(self.source, origins[0], "source"), clone(self.target, origins[1], "target")
        if scripts is None:
            with psycopg.connect(self.source.url(names[0]), autocommit=True) as session:
                session.execute(SCRATCH.encode())
        if on_small_disk:
            with psycopg.connect(self.target.url(), autocommit=True) as admin:
                move = sql.SQL("ALTER DATABASE {} SET TABLESPACE {}")
                admin.execute(move.format(sql.Identifier(names[1]), sql.Identifier(SMALL_DISK)))
        try:
            yield names
        finally:
            drop(self.source, names[0])
            drop(self.target, names[1])


def answers(server: Cluster) -> bool:
    """Whether it lets somebody in."""
    try:
        psycopg.connect(server.url(), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def bring_up(server: Cluster) -> list[str]:
    """Start it, and where that fails once more; what was in the way. A second failure is one."""
    try:
        server.start()
    except ProgramError as exc:
        log = server.data / "log"
        tail = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
        server.crash()
        server.start()
        return [f"started at the second attempt: {exc.message}", *tail]
    return []


def why_no_small_disk() -> str | None:
    """Why no small file system can be mounted here; None where it can."""
    if not sys.platform.startswith("linux"):
        return "a full disk needs a small file system: mounted on Linux only"
    if os.geteuid() != 0 or not shutil.which("mount"):
        return "a full disk needs a small file system: only root may mount one"
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(_mount(Path(folder)), capture_output=True, check=False).returncode != 0:
            return "a full disk needs a small file system: this machine forbids to mount one"
        subprocess.run(["umount", folder], check=True)
    return None


def _mount(folder: Path) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_SIZE}", "tmpfs", str(folder)]


@contextmanager
def _small_disk(folder: Path, target: Cluster) -> Iterator[Path | None]:
    if why_no_small_disk() is not None:
        yield None
        return
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(_mount(disk), check=True)
    try:
        (disk / "space").mkdir()
        shutil.chown(disk / "space", SERVICE_USER)
        with psycopg.connect(target.url(), autocommit=True) as admin:
            create = sql.SQL("CREATE TABLESPACE {} LOCATION {}")
            admin.execute(create.format(sql.Identifier(SMALL_DISK), sql.Literal(str(disk / "space"))))
        yield disk
    finally:
        target.stop("immediate")
        subprocess.run(["umount", str(disk)], check=False)


@contextmanager
def open_lane(versions: tuple[int, int] = (16, 18)) -> Iterator[Lane]:
    """Make both servers and their templates; remove everything afterwards."""
    folder = folder_for("lane")
    folder.chmod(0o755)
    source = Cluster.bundled(versions[0], folder / "source", **SETTINGS)
    target = Cluster.bundled(versions[1], folder / "target", **SETTINGS)
    try:
        source.create().start()
        target.create().start()
        templates = template(source, SCRIPT), template(target, "")
        before = contents(source.url(templates[0]), TABLES)
        with _small_disk(folder, target) as disk:
            lane = Lane(
                source=source,
                target=target,
                folder=folder,
                small_disk=disk,
                before=before,
                templates=templates,
                stale=template(target, SCHEMA + ROWS + STALE),
            )
            try:
                yield lane
            finally:
                for daemon in lane.daemons:
                    daemon.remove()
    finally:
        source.remove()
        target.remove()
        shutil.rmtree(folder, ignore_errors=True)
