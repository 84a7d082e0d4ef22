"""The one table from SQLSTATE to our errors, and the one place where a driver's error becomes ours.

It imports no driver: both psycopg and asyncpg put the code into `.sqlstate`, and the rest is told apart by
the names of their classes, so that a worker loads neither more than it uses nor SQL states twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    NotSupportedError,
    PghaulError,
    RowError,
    ServerBusyError,
    ShapeChangedError,
    TerminalError,
    TransientError,
)
from pghaul.model.text import Text, say

# By class: the first two characters.
CLASSES: dict[str, type[PghaulError]] = {
    "08": ConnectionLostError,
    "0A": NotSupportedError,
    "21": RowError,  # cardinality violation
    "22": RowError,  # data exception
    "23": RowError,  # integrity constraint violation
    "25": TransientError,  # invalid transaction state: the next transaction starts afresh
    "28": AccessError,
    "3D": AccessError,
    "3F": NotFoundError,
    "40": TransientError,  # serialization failure, deadlock
    "53": TransientError,  # out of disk or memory: somebody may free some
    "55": TransientError,  # object in use
    "57": TransientError,  # an operator intervened
    "58": TransientError,  # I/O of the server
}

# The exceptions to their class.
CODES: dict[str, type[PghaulError]] = {
    "25006": TerminalError,  # a read-only server or transaction stays so
    "42501": AccessError,
    "42P01": NotFoundError,
    "42703": ShapeChangedError,
    "42704": NotFoundError,
    "42804": ShapeChangedError,  # datatype mismatch
    "42883": NotFoundError,
    "53300": ServerBusyError,
    "53400": TerminalError,  # configuration limit exceeded
    "55000": TerminalError,  # object not in prerequisite state
    "55P02": TerminalError,  # the setting cannot be changed now
    "55P03": ServerBusyError,  # lock timeout
    "57P01": ConnectionLostError,  # terminated by an administrator, or shutting down
    "57P02": ConnectionLostError,  # another backend crashed
    "57P03": ServerBusyError,  # starting up
    "57P04": AccessError,  # the database was dropped
    "57P05": ConnectionLostError,  # idle session timeout
    "58P01": TerminalError,  # a file of the server is missing
    "22P04": TerminalError,  # bad COPY format: we relay what a server wrote, so the shapes differ
    "22P03": TerminalError,  # invalid binary representation, the same
}

# What a target answers to a row that it refuses, by class; a trigger raises what it likes, most often P0001.
_REFUSING = frozenset({"22", "23", "44", "P0"})
# And beside the classes: a row or its index entry that is too large, one that is nested too deeply.
_REFUSING_CODES = frozenset({"54000", "54001"})

ADVICE: dict[str, Text] = {
    "22021": say("bytes are not what they are taken for; of a SQL_ASCII source say what they are: --source-encoding"),
    "22P05": say("the target's encoding lacks a character; a UTF8 database has them all"),
    "28P01": say("check user and password; PGPASSWORD or a .pgpass file (0600) can hold the password"),
    "28000": say("check the user's name, and pg_hba.conf on the server"),
    "3D000": say("check the name of the database at the end of the URL"),
    "42501": say("ask the owner for the privilege, or connect as another role"),
    "53100": say("free space on the server's disk"),
    "53200": say("lower the number of workers, or the server's memory settings"),
    "53300": say("lower the number of workers, or raise max_connections"),
    "55P03": say("somebody holds a lock on the table; see pg_locks, or raise --lock-timeout"),
    "25006": say("name the primary server: this one is read-only"),
}

# What SET TRANSACTION SNAPSHOT answers: 22023 a file that is gone (to 16), 42704 the same (17 on), 55000 a
# snapshot whose transaction has ended.
_SNAPSHOT_CODES = frozenset({"22023", "42704", "55000"})

# Errors of the drivers that carry no SQLSTATE because they come from the wire, not from the server.
_LOST_CLASSES = frozenset(
    {
        "InterfaceError",
        "InternalClientError",
        "ConnectionDoesNotExistError",
        "OperationalError",
        "IncompleteReadError",
    }
)


def classify(sqlstate: str | None) -> type[PghaulError]:
    """The class of error for a SQLSTATE; without one the connection is gone."""
    if not sqlstate:
        return ConnectionLostError
    return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2], TerminalError)


def refuses_rows(sqlstate: str | None) -> bool:
    """Does a target say this of single rows, while it would take others?

    Asked about COPY and INSERT of rows only. Not among them: a COPY stream of another shape (22P04, 22P03).
    """
    if not sqlstate or CODES.get(sqlstate) is TerminalError:
        return False
    return sqlstate[:2] in _REFUSING or sqlstate in _REFUSING_CODES


def translate(exc: BaseException, *, where: str) -> PghaulError:
    """Our error for a driver's; ours pass through. Anything unknown is terminal, never silently retried."""
    if isinstance(exc, PghaulError):
        return exc
    state = state_of(exc)
    if state:
        return classify(state)(_message(exc), where=where, advice=ADVICE.get(state), sqlstate=state)
    if _is_lost(exc):
        return ConnectionLostError(_message(exc), where=where)
    return TerminalError(_message(exc), where=where)


@contextmanager
def translating(where: str) -> Iterator[None]:
    """Raise ours from theirs. Cancellation and interrupts are no errors and go through as they are."""
    try:
        yield
    except Exception as exc:
        error = translate(exc, where=where)
        if error is exc:
            raise
        raise error from exc


def state_of(exc: BaseException) -> str | None:
    """The SQLSTATE of a driver's error or of ours, None where there is none."""
    state = getattr(exc, "sqlstate", None)
    return state if isinstance(state, str) and state else None


def is_snapshot_lost(exc: BaseException) -> bool:
    """Whether SET TRANSACTION SNAPSHOT failed because the snapshot is gone; ask about that statement only."""
    return state_of(exc) in _SNAPSHOT_CODES


def _is_lost(exc: BaseException) -> bool:
    if type(exc).__name__ == "ClientConfigurationError":  # asyncpg's, an InterfaceError by descent
        return False
    if isinstance(exc, (OSError, TimeoutError, EOFError)):
        return True
    return any(kind.__name__ in _LOST_CLASSES for kind in type(exc).__mro__)


def _message(exc: BaseException) -> str:
    """The server's sentence, its detail and, for a row, the place in COPY."""
    diag = getattr(exc, "diag", None)
    primary = getattr(diag, "message_primary", None) or getattr(exc, "message", None) or str(exc)
    detail = getattr(diag, "message_detail", None) or getattr(exc, "detail", None)
    context = getattr(diag, "context", None) or getattr(exc, "context", None)
    parts = [str(primary).strip() or type(exc).__name__]
    if isinstance(detail, str) and detail:
        parts.append(detail)
    if isinstance(context, str) and context.startswith("COPY "):
        parts.append(context.splitlines()[0])
    return "; ".join(parts)
