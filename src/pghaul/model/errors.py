"""The one tree of errors. A face shows `title`, `message`, `where`, `advice` and `code`; nothing else reaches a user.

    PghaulError
    ├── UsageError          10xx    wrong words on the command line                 exit 2
    │   └── PlanError       11xx    a plan (or plan file) that cannot be used       exit 2
    │       └── BoundsError 12xx    partitions overlap, or have no bounds           exit 2
    ├── TransientError      20xx    may succeed if done again                       retried
    │   ├── ConnectionLostError 21xx the server or the way to it went away
    │   ├── StalledError    22xx    nothing moves and the server waits for us
    │   ├── ServerBusyError 23xx    out of connections, starting up, lock timeout
    │   └── SnapshotLostError 24xx  the exported snapshot is gone: a new epoch is needed
    ├── RowError            30xx    what the target cannot hold                     exit 1 (quarantine later)
    ├── StoppedError        40xx    somebody asked for it                           exit 130
    ├── PausedError         41xx    everything is to be let go; the run waits       never shown
    └── TerminalError       50xx    doing it again would end the same way           exit 1
        ├── AccessError     51xx    wrong password, unknown host or database, no privilege
        ├── NotFoundError   52xx    no such table, run, program, profile
        ├── NotSupportedError 53xx  this server, pooler or type cannot do what is asked
        ├── TargetNotEmptyError 54xx on_existing = fail, and there are rows
        ├── TableTakenError 55xx    another run works on this target table
        ├── StaleRunError   56xx    a newer epoch (or another run) owns the table: roll back, go away
        ├── EndpointChangedError 57xx source or target is not the database the run began with
        ├── ShapeChangedError 58xx  the table is not what it was when it was planned
        ├── CountMismatchError 59xx rows read and rows written differ
        ├── NoSpaceError    60xx    the target's disk is too small for it
        ├── NotQuietError   61xx    somebody still writes to the source: no cutover
        ├── ProgramError    62xx    pg_dump or pg_restore failed
        ├── SecretError     63xx    a password cannot be decrypted, a key is lost, no keyring
        ├── StateError      64xx    the state store is damaged, locked, newer, or cannot be written
        ├── OutletError     65xx    a log, a metrics port or a notification cannot be opened: before a run begins only
        ├── MergeError      66xx    rows cannot be merged as it was asked
        ├── WatermarkError  67xx    what is new cannot be told from what is not
        └── QuarantineError 68xx    too many rows were set aside, or they cannot be replayed

The code is stable: `PGH-5203` means the same in every version. A class owns a hundred; where an error is made, it says
which one it is (`code=5203`), one number for one sentence. What a driver says has its class's code and a SQLSTATE.
docs/reference/errors.md lists them, made from the code.

An error travels from worker to runner by pickle, so its arguments are all it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pghaul.model.redaction import redacted
from pghaul.model.text import Text, say

BUG = say("this should not have happened: please report it, with what `pghaul logs` shows")


class PghaulError(Exception):
    """Base of everything pghaul raises on purpose.

    `message` says what happened, `where` names the database, table or file, `advice` says what to do: made by say().
    None of them ever holds a password: a driver or a server that quotes one is not quoted. `code`: of this very
    sentence; else the class's own.
    """

    title: Text = say("Error")
    family = 1
    counsel: Text = BUG  # where nothing better is said

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        advice: str | None = None,
        sqlstate: str | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message := redacted(message))
        self.message = message
        self.where = where and redacted(where)
        self.advice = redacted(advice or self.counsel)
        self.sqlstate = sqlstate
        self.number = code or self.family

    @property
    def code(self) -> str:
        """PGH-5203."""
        return f"PGH-{self.number:04}"

    @property
    def said(self) -> Text:
        """All of it but the advice, on one line: for the store, where it may be read in another language."""
        if not self.where:
            return say("{title}: {message} [{code}]", title=self.title, message=self.message, code=self.code)
        return say(
            "{title}: {message} ({where}) [{code}]",
            title=self.title,
            message=self.message,
            where=self.where,
            code=self.code,
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword-only arguments need help to survive pickling."""
        return (_rebuild, (type(self), self.message, self.where, self.advice, self.sqlstate, self.number))

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.title}: {self.message}{place}"


def _rebuild(
    kind: type[PghaulError], message: str, where: str | None, advice: str | None, sqlstate: str | None, number: int
) -> PghaulError:
    return kind(message, where=where, advice=advice, sqlstate=sqlstate, code=number)


@contextmanager
def naming(where: Text) -> Iterator[None]:
    """An error that does not say where it was made was made there: of two URLs, which one."""
    try:
        yield
    except PghaulError as exc:
        exc.where = exc.where or where
        raise


class UsageError(PghaulError):
    title = say("Wrong usage")
    family = 1000
    counsel = say("`pghaul --help` shows the words, docs/reference/cli.md explains them")


class PlanError(UsageError):
    title = say("The plan cannot be used")
    family = 1100
    counsel = say("docs/reference/plan.md explains every key of a plan")


class BoundsError(PlanError):
    """Bounds of partitions that overlap, or that say nothing."""

    family = 1200
    counsel = say("`pghaul inspect` shows the bounds of every partition")


class TransientError(PghaulError):
    title = say("A passing fault")
    family = 2000
    counsel = say("it is tried again by itself; `pghaul resume` goes on where it gave up")


class ConnectionLostError(TransientError):
    title = say("The connection was lost")
    family = 2100
    counsel = say("look at the network and the server's log; `pghaul resume` goes on")


class StalledError(TransientError):
    title = say("The connection stalled")
    family = 2200
    counsel = say("look at the network between here and the servers; `pghaul resume` goes on")


class ServerBusyError(TransientError):
    title = say("The server is busy")
    family = 2300
    counsel = say("wait, or free what the server lacks; `pghaul resume` goes on")


class SnapshotLostError(TransientError):
    title = say("The source's snapshot is gone")
    family = 2400
    counsel = say("`pghaul resume` takes a new snapshot and compares what is done")


class RowError(PghaulError):
    title = say("The target cannot hold a row")
    family = 3000
    counsel = say("mend the row on the source, or leave it out with --where; `pghaul resume` goes on")


class StoppedError(PghaulError):
    title = say("Stopped")
    family = 4000
    counsel = say("`pghaul resume` goes on")


class PausedError(PghaulError):
    title = say("Paused")
    family = 4100
    counsel = say("`pghaul resume` goes on")


class TerminalError(PghaulError):
    title = say("Cannot go on")
    family = 5000
    counsel = say("mend the cause, then go on with `pghaul resume`")


class AccessError(TerminalError):
    title = say("No access")
    family = 5100
    counsel = say("look at user, password, pg_hba.conf and what is granted")


class NotFoundError(TerminalError):
    title = say("Not found")
    family = 5200
    counsel = say("look at the spelling; `pghaul inspect` and `pghaul runs` list what is there")


class NotSupportedError(TerminalError):
    title = say("Not supported")
    family = 5300
    counsel = say("docs/versions.md says what each version can do")


class TargetNotEmptyError(TerminalError):
    title = say("The target table has rows")
    family = 5400
    counsel = say("choose --on-existing truncate, append, skip or refresh")


class TableTakenError(TerminalError):
    title = say("Another run works on this table")
    family = 5500
    counsel = say("`pghaul runs` lists the runs: finish or stop the other one first")


class StaleRunError(TerminalError):
    title = say("A newer run owns the table")
    family = 5600
    counsel = say("nothing is to be done here: the newer run owns the table")


class EndpointChangedError(TerminalError):
    title = say("This is another database than the run began with")
    family = 5700
    counsel = say("begin a new run for another database")


class ShapeChangedError(TerminalError):
    title = say("The table has changed its shape")
    family = 5800
    counsel = say("plan again: `pghaul plan` shows the table as it is now")


class CountMismatchError(TerminalError):
    title = say("Rows read and rows written differ")
    family = 5900
    counsel = say("`pghaul resume` does the chunk again; if it happens twice, report it")


class NoSpaceError(TerminalError):
    title = say("The disk is too small")
    family = 6000
    counsel = say("make room on the target, then go on with `pghaul resume`")


class NotQuietError(TerminalError):
    title = say("The source is not quiet")
    family = 6100
    counsel = say("stop the writers, then try again")


class ProgramError(TerminalError):
    title = say("A PostgreSQL program failed")
    family = 6200
    counsel = say("its words above say why; look at PGHAUL_PG_BIN for its version")


class SecretError(TerminalError):
    title = say("A secret cannot be used")
    family = 6300
    counsel = say("`pghaul doctor` says where the key is looked for")


class StateError(TerminalError):
    title = say("The state store cannot be used")
    family = 6400
    counsel = say("set PGHAUL_STATE to a place that can be written, e.g. sqlite:////var/lib/pghaul/state.db")


class OutletError(TerminalError):
    title = say("What was to be told elsewhere cannot be")
    family = 6500
    counsel = say("leave the option out, or mend what it names")


class MergeError(TerminalError):
    title = say("The rows cannot be merged")
    family = 6600
    counsel = say("docs/merging.md says what a merge needs")


class WatermarkError(TerminalError):
    title = say("The watermark cannot be used")
    family = 6700
    counsel = say("docs/increments.md says which watermarks there are, and what they can promise")


class QuarantineError(TerminalError):
    title = say("Rows would have to be set aside")
    family = 6800
    counsel = say("mend the rows, or allow some to be set aside: --max-rejects; docs/quarantine.md")


class SourceError(TerminalError):
    title = say("The source cannot be read")
    family = 6900
    counsel = say("docs/connectors.md says what each kind of source needs")


class MappingError(TerminalError):
    title = say("It has no place on the target")
    family = 7000
    counsel = say("`pghaul plan` lists every mapping; [mapping] and types in the plan change them")


class TransformError(TerminalError):
    title = say("A transform cannot be applied")
    family = 7100
    counsel = say("docs/transforms.md shows each transform with its input and output")
