"""The one tree of errors. Every face shows `title`, `message` and `advice`; nothing else reaches a user.

    PghaulError
    ├── UsageError                  wrong words on the command line                 exit 2
    │   └── PlanError               a plan (or plan file) that cannot be used       exit 2
    │       └── BoundsError         partitions overlap, or have no bounds           exit 2
    ├── TransientError              may succeed if done again                       retried
    │   ├── ConnectionLostError     the server or the way to it went away
    │   ├── StalledError            nothing moves and the server waits for us
    │   ├── ServerBusyError         out of connections, starting up, lock timeout
    │   └── SnapshotLostError       the exported snapshot is gone: a new epoch is needed
    ├── RowError                    what the target cannot hold                     exit 1 (quarantine later)
    ├── StoppedError                somebody asked for it                           exit 130
    ├── PausedError                 everything is to be let go; the run waits       never shown
    └── TerminalError               doing it again would end the same way           exit 1
        ├── AccessError             wrong password, unknown host or database, no privilege
        ├── NotFoundError           no such table, run, program
        ├── NotSupportedError       this server, pooler or type cannot do what is asked
        ├── TargetNotEmptyError     on_existing = fail, and there are rows
        ├── TableTakenError         another run works on this target table
        ├── StaleRunError           a newer epoch (or another run) owns the table: roll back, go away
        ├── EndpointChangedError    source or target is not the database the run began with
        ├── ShapeChangedError       the table is not what it was when it was planned
        ├── CountMismatchError      rows read and rows written differ
        ├── NoSpaceError            the target's disk is too small for it
        ├── NotQuietError           somebody still writes to the source: no cutover
        └── ProgramError            pg_dump or pg_restore failed

An error travels from worker to runner by pickle, so its arguments are all it has.
"""

from __future__ import annotations


class PghaulError(Exception):
    """Base of everything pghaul raises on purpose.

    `message` says what happened, `where` names the database, table or file, `advice` says what to do.
    None of them may ever hold a password.
    """

    title = "Error"

    def __init__(
        self, message: str, *, where: str | None = None, advice: str | None = None, sqlstate: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.advice = advice
        self.sqlstate = sqlstate

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword-only arguments need help to survive pickling."""
        return (_rebuild, (type(self), self.message, self.where, self.advice, self.sqlstate))

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.title}: {self.message}{place}"


def _rebuild(
    kind: type[PghaulError], message: str, where: str | None, advice: str | None, sqlstate: str | None
) -> PghaulError:
    return kind(message, where=where, advice=advice, sqlstate=sqlstate)


class UsageError(PghaulError):
    title = "Wrong usage"


class PlanError(UsageError):
    title = "The plan cannot be used"


class BoundsError(PlanError):
    """Bounds of partitions that overlap, or that say nothing."""


class TransientError(PghaulError):
    title = "A passing fault"


class ConnectionLostError(TransientError):
    title = "The connection was lost"


class StalledError(TransientError):
    title = "The connection stalled"


class ServerBusyError(TransientError):
    title = "The server is busy"


class SnapshotLostError(TransientError):
    title = "The source's snapshot is gone"


class RowError(PghaulError):
    title = "The target cannot hold a row"


class StoppedError(PghaulError):
    title = "Stopped"


class PausedError(PghaulError):
    title = "Paused"


class TerminalError(PghaulError):
    title = "Cannot go on"


class AccessError(TerminalError):
    title = "No access"


class NotFoundError(TerminalError):
    title = "Not found"


class NotSupportedError(TerminalError):
    title = "Not supported"


class TargetNotEmptyError(TerminalError):
    title = "The target table has rows"


class TableTakenError(TerminalError):
    title = "Another run works on this table"


class StaleRunError(TerminalError):
    title = "A newer run owns the table"


class EndpointChangedError(TerminalError):
    title = "This is another database than the run began with"


class ShapeChangedError(TerminalError):
    title = "The table has changed its shape"


class CountMismatchError(TerminalError):
    title = "Rows read and rows written differ"


class NoSpaceError(TerminalError):
    title = "The disk is too small"


class NotQuietError(TerminalError):
    title = "The source is not quiet"


class ProgramError(TerminalError):
    title = "A PostgreSQL program failed"
