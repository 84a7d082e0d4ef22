"""Where a report is written: whole or not at all, and for its owner's eyes, as it may show rows of both databases."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from pghaul.model.errors import AccessError, NoSpaceError, NotFoundError, PghaulError, TerminalError, UsageError
from pghaul.model.text import say

FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def write(path: Path, text: str) -> None:
    """Mode 0600; a file that is there is replaced. UsageError, NotFoundError, AccessError, NoSpaceError."""
    if path.is_dir():
        raise UsageError(
            say("the report is one file, and this is a folder"),
            where=str(path),
            advice=say("write --output {file}", file=str(path / "report.html")),
            code=1080,
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
        draft.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise _refused(path, exc) from exc


def aside(name: str) -> Path:
    """A place for a page that is only looked at: in a folder that nobody else may enter."""
    try:
        return Path(tempfile.mkdtemp(prefix="pghaul-report-")) / name
    except OSError as exc:
        raise _refused(Path(tempfile.gettempdir()) / name, exc) from exc


def _refused(path: Path, exc: OSError) -> PghaulError:
    where = str(path)
    if exc.errno in {errno.ENOENT, errno.ENOTDIR}:
        return NotFoundError(
            say("there is no folder {folder} to write the report into", folder=str(path.parent)),
            where=where,
            advice=say("make the folder first, or write the report elsewhere with --output"),
            code=5281,
        )
    if exc.errno in FULL:
        return NoSpaceError(
            say("the report does not fit on this disk"),
            where=where,
            advice=say("make room, or write the report elsewhere with --output; the run is not touched by it"),
            code=6080,
        )
    if exc.errno in FORBIDDEN:
        return AccessError(
            say("the report may not be written there: {why}", why=exc.strerror or ""),
            where=where,
            advice=say("write the report into a folder of yours, with --output"),
            code=5180,
        )
    return TerminalError(
        say("the report cannot be written: {why}", why=exc.strerror or str(exc)),
        where=where,
        advice=say("write the report elsewhere, with --output"),
        code=5080,
    )
