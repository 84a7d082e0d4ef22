"""The log: what happens, as JSON lines that other programs read, in this system's folder for logs.

Each line says when (`at`), how much it matters (`level`), what (`event`) and of which run (`run`); then table, chunk,
code and SQLSTATE where there are any, and what an event brings along. No line holds a password: model/redaction.py.

structlog is imported with the first line (30 ms), which a run writes while its workers start: its beginning waits for
nothing. A log that cannot be written ends no run; only a place that somebody has asked for is refused before it begins.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pghaul.model.errors import OutletError, PausedError, PghaulError, StoppedError, UsageError
from pghaul.model.event import Event, EventKind, Level, level_of
from pghaul.model.figures import parse_size
from pghaul.model.plan import Plan
from pghaul.model.redaction import redacted, redacted_data, traceback_of
from pghaul.model.run import Run
from pghaul.model.text import say
from pghaul.service.log_files import SHARED, Keeping, LineFile, alone, prune

FOLDER = "PGHAUL_LOG_DIR"
LEVEL = "PGHAUL_LOG_LEVEL"
SIZE = "PGHAUL_LOG_SIZE"
PARTS = "PGHAUL_LOG_PARTS"
DAYS = "PGHAUL_LOG_DAYS"
OFF = "off"
DEFAULT_SIZE, DEFAULT_PARTS, DEFAULT_DAYS = 10 * 2**20, 5, 90
SMALLEST = 64 * 2**10

PROGRESS_EVERY = 10.0  # seconds between two lines of how far it is, at level debug
FAILURE = "failure"  # the event of an error, with its traceback
PROCESS = "process"  # the event of a process that begins to work on a run
FIRST = ("at", "level", "event", "run", "table", "chunk", "code", "sqlstate", "message")
_TOLD = "_pghaul_logged"  # an error that reaches two doors is written once


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`chosen`: somebody has named the folder. `level` None: no log at all."""

    folder: Path
    chosen: bool
    level: Level | None
    keeping: Keeping


def read_settings(environ: Mapping[str, str] = os.environ) -> LogSettings:
    """What the environment says. OutletError names a variable that says nothing of use."""
    return LogSettings(
        folder=log_folder(environ),
        chosen=bool(environ.get(FOLDER)),
        level=_level(environ.get(LEVEL, "")),
        keeping=Keeping(
            size=_size(environ.get(SIZE, "")),
            parts=_number(PARTS, environ, DEFAULT_PARTS, 100),
            days=_number(DAYS, environ, DEFAULT_DAYS, 36_500),
        ),
    )


def log_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """PGHAUL_LOG_DIR, else where this system keeps a user's logs."""
    if chosen := environ.get(FOLDER):
        return Path(chosen).expanduser()
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_log_dir("pghaul", appauthor=False))


def _level(said: str) -> Level | None:
    if said.lower() == OFF:
        return None
    try:
        return Level(said.lower()) if said else Level.INFO
    except ValueError:
        known = ", ".join([*Level, OFF])
        words = say("{variable} is none of {known}", variable=LEVEL, known=known)
        raise OutletError(words, code=6501, advice=say("write PGHAUL_LOG_LEVEL=info, or leave it out")) from None


def _size(said: str) -> int:
    size = parse_size(said) if said else DEFAULT_SIZE
    if size is None or size < SMALLEST:
        words = say("{variable} is no size of at least 64kB", variable=SIZE)
        raise OutletError(words, code=6502, advice=say("write PGHAUL_LOG_SIZE=10MB, or leave it out"))
    return size


def _number(variable: str, environ: Mapping[str, str], default: int, most: int) -> int:
    said = environ.get(variable, "").strip() or str(default)
    if not (said.isascii() and said.isdigit() and 1 <= int(said) <= most):
        words = say("{variable} is no number from 1 to {most}", variable=variable, most=most)
        raise OutletError(words, code=6503, advice=say("write a number, or leave the variable out"))
    return int(said)


class RunLog:
    """The outlet that writes a run's log."""

    name: str = say("the log")

    def __init__(self, run: str, settings: LogSettings) -> None:
        """Nothing is opened yet, unless the folder was chosen. OutletError where that one cannot be used."""
        self._run = run
        self._settings = settings
        self._file: LineFile | None = None
        self._logger: Any = None
        self._progress_at = 0.0
        if settings.chosen:
            self._file = _open_chosen(run, settings)

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.PROGRESS:
            now = time.monotonic()
            if now - self._progress_at < PROGRESS_EVERY:
                return
            self._progress_at = now
        level = level_of(event)
        if self._writes(level):
            fields = event.as_json()
            self._write(level, fields.pop("event"), fields)

    def ended_by(self, exc: BaseException) -> None:
        """With its traceback, a worker's too. That somebody has stopped the run is no failure."""
        if not isinstance(exc, StoppedError | PausedError | KeyboardInterrupt | GeneratorExit):
            self._write(Level.ERROR, FAILURE, facts_of(exc))
            mark_told(exc, self._file.path if self._file else None)

    def close(self) -> None:
        """And what is too old goes: at the end, where nobody waits for it."""
        if self._file is not None:
            self._file.close()
            prune(self._settings.folder, self._settings.keeping.days)

    def _writes(self, level: Level) -> bool:
        return self._settings.level is not None and level.rank >= self._settings.level.rank

    def _write(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        if self._logger is None:
            self._begin(fields.get("at"))
        getattr(self._logger, level.value)(event, **fields)

    def _begin(self, at: str | None) -> None:
        self._file = self._file or LineFile(self._settings.folder, self._run, self._settings.keeping)
        self._logger = _logger(self._file, run=self._run)
        if self._writes(Level.INFO):
            self._logger.info(PROCESS, **({"at": at} if at else {}), **_facts_of_process())


def _open_chosen(run: str, settings: LogSettings) -> LineFile:
    try:
        return LineFile(settings.folder, run, settings.keeping)
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise OutletError(
            say("the log directory cannot be used: {error}", error=why),
            where=str(settings.folder),
            advice=say("name another one in PGHAUL_LOG_DIR, or leave it out"),
            code=6504,
        ) from exc


def of_run(run: Run, _plan: Plan) -> Iterator[RunLog]:
    """The log of a run, unless it is switched off."""
    settings = read_settings()
    if settings.level is not None:
        yield RunLog(run.id, settings)


def record_failure(exc: BaseException, command: str = "") -> Path | None:
    """An error that ends a command, and where it has been written: by a run, or here. Never raises.

    None: it is nothing for a log (wrong usage, an interruption), or there is none.
    """
    if told := getattr(exc, _TOLD, None):
        return Path(told)
    if isinstance(exc, UsageError | StoppedError | PausedError) or not isinstance(exc, Exception):
        return None
    with contextlib.suppress(Exception):
        return _record(exc, command)
    return None


def _record(exc: BaseException, command: str) -> Path | None:
    settings = read_settings()
    if settings.level is None:
        return None
    with alone(settings.folder, SHARED):
        file = LineFile(settings.folder, SHARED, settings.keeping)
        try:
            _logger(file).error(FAILURE, **({"command": command} if command else {}), **facts_of(exc))
        finally:
            file.close()
    prune(settings.folder, settings.keeping.days)
    return file.path


def mark_told(exc: BaseException, path: Path | None) -> None:
    """This error stands in that log already."""
    if path is not None:
        exc.__dict__[_TOLD] = str(path)


def facts_of(exc: BaseException) -> dict[str, Any]:
    """An error, as a log and a person who looks for its cause want it."""
    facts: dict[str, Any] = {"message": redacted(str(exc)), "error": type(exc).__name__}
    if isinstance(exc, PghaulError):
        told = {"code": exc.code, "sqlstate": exc.sqlstate, "message": exc.message, "where": exc.where}
        facts |= {k: v for k, v in told.items() if v} | {"advice": exc.advice}
    return facts | {"traceback": traceback_of(exc)}


def _facts_of_process() -> dict[str, Any]:
    import platform  # noqa: PLC0415

    from pghaul import __version__  # noqa: PLC0415

    return {
        "pid": os.getpid(),
        "machine": platform.node(),
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.system(),
    }


def _logger(file: LineFile, **bound: Any) -> Any:
    """structlog over one file."""
    import structlog  # noqa: PLC0415 -- see above

    return structlog.wrap_logger(
        file,
        processors=[
            structlog.processors.add_log_level,
            _ready,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        context_class=dict,
        **bound,
    )


def _ready(_logger: Any, _method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """When and what come first; and no password, whoever has written the line."""
    clean = {"at": datetime.now(UTC).isoformat()} | redacted_data(dict(fields))
    return {k: clean[k] for k in FIRST if k in clean} | {k: v for k, v in clean.items() if k not in FIRST}
