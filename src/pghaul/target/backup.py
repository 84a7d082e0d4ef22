"""`target backup`: pg_dump's own custom format, into a file that is either whole and read back, or not there.

The dump goes into a draft beside its place. pg_restore then reads it to its end (a list alone would find its beginning
sound), and only then it gets its name, and older ones are removed. So whatever is cut off, a file with a name is good.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from pghaul.model.errors import NotFoundError, PghaulError, ProgramError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.model.upkeep import Backup
from pghaul.postgres.session import connect
from pghaul.target.programs import Programs, find_programs, run_program
from pghaul.target.restore import calling, database

STAMP = "%Y%m%dT%H%M%SZ"
ENDING = re.compile(r"-\d{8}T\d{6}Z\.dump")
APPLICATION = "pghaul/backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    path: Path
    final: Path


def backup(endpoint: Endpoint, folder: Path, *, keep: int | None, now: Callable[[], datetime] | None = None) -> Backup:
    """Dump, verify, rotate. Raises AccessError, ProgramError, NotFoundError; then there is no new file."""
    begun = time.monotonic()
    with connect(endpoint, application_name=APPLICATION, role="source") as session:
        programs = find_programs(session.server.version_num)
        name = session.server.database
    stamp = (now() if now else datetime.now(UTC)).strftime(STAMP)
    with _drafted(folder, file_name(name, stamp)) as draft:
        _dump(programs, endpoint, draft.path)
        entries = _verified(programs, draft.path)
        size = _kept(draft)
    removed = rotate(folder, name, keep) if keep else []
    return Backup(
        url=endpoint.display,
        file=str(draft.final),
        bytes=size,
        entries=entries,
        seconds=round(time.monotonic() - begun, 3),
        removed=tuple(str(p) for p in removed),
    )


def file_name(name: str, stamp: str) -> str:
    """Any database's name as that of a file, and never two as one."""
    return f"{quote(name, safe='')}-{stamp}.dump"


@contextlib.contextmanager
def _drafted(folder: Path, name: str) -> Iterator[_Draft]:
    draft = _Draft(path=folder / f".{name}.{os.getpid()}.part", final=folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.path.touch(mode=0o600, exist_ok=False)
        yield draft
    except OSError as exc:
        raise NotFoundError(
            say("the backup cannot be written: {why}", why=exc.strerror or type(exc).__name__),
            where=str(folder),
            advice=say("look at the folder, its permissions and its disk, or name another one with --to"),
            code=5273,
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            draft.path.unlink(missing_ok=True)


def _dump(programs: Programs, endpoint: Endpoint, path: Path) -> None:
    with calling(endpoint, APPLICATION, Path(tempfile.gettempdir())) as environ:
        run_program(
            [programs.pg_dump, "--format=custom", "--no-password", f"--file={path}", f"--dbname={database(endpoint)}"],
            environ=environ,
            secret=endpoint.password,
        )


def _verified(programs: Programs, path: Path) -> int:
    """How many entries it has; ProgramError where it cannot be read to its end."""
    listed = run_program([programs.pg_restore, "--list", path], environ=os.environ)
    try:
        run_program([programs.pg_restore, f"--file={os.devnull}", path], environ=os.environ)
    except PghaulError as exc:
        raise ProgramError(
            say("the backup cannot be read back: {why}", why=exc.message),
            where=str(path.parent),
            advice=say("look at the disk; no file was kept, and no older one removed"),
            code=6240,
        ) from exc
    return sum(1 for line in listed.splitlines() if line.strip() and not line.startswith(";"))


def _kept(draft: _Draft) -> int:
    """On the disk before it has its name."""
    handle = os.open(draft.path, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        if os.name != "nt":
            os.fsync(handle)
    finally:
        os.close(handle)
    draft.path.replace(draft.final)
    return size


def rotate(folder: Path, name: str, keep: int) -> list[Path]:
    """Remove all but the newest backups of this database; nothing else in the folder is touched."""
    begins = quote(name, safe="")
    ours = [p for p in folder.iterdir() if p.name.startswith(begins) and ENDING.fullmatch(p.name[len(begins) :])]
    gone = sorted(ours, key=lambda p: p.name, reverse=True)[keep:]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone
