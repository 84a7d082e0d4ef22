"""What was found before a run: one vocabulary for `plan`, which shows all of it, and `run`, which refuses at errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

from pghaul.model import errors
from pghaul.model.errors import PghaulError
from pghaul.model.table import Name
from pghaul.model.text import say

ALSO_SAID = 10  # further errors that a refusal names; `plan` has all


class Severity(Enum):
    ERROR = "error"  # the run would be refused, or would fail
    WARNING = "warning"  # it goes, and somebody should look first
    NOTE = "note"  # worth knowing


class Kind(StrEnum):
    """What a finding is about; stable words, for programs."""

    NOTHING_SELECTED = "nothing-selected"  # a pattern, a list of names or a period that matches nothing
    BOUNDS = "bounds"  # of partitions: gaps, overlaps, none
    TABLE_MISSING = "table-missing"
    SHAPE = "shape"  # a column has no place on the target
    ROWS_PRESENT = "rows-present"
    VERSION = "version"  # one of the servers cannot do it
    PRIVILEGE = "privilege"
    ROLE = "role"  # one that the target does not have
    TRIGGER = "trigger"  # one that would fire for our rows
    ROW_SECURITY = "row-security"
    LOCKS = "locks"
    ENCODING = "encoding"  # no way from one to the other
    CHARACTERS = "characters"  # a table holds some that the target cannot
    COLLATION = "collation"
    EXTENSION = "extension"
    PROGRAM = "program"  # pg_dump, pg_restore
    SPACE = "space"
    SETTING = "setting"  # of a server, that hurts
    SERVER = "server"  # a standby, a server that cannot export a snapshot
    USAGE = "usage"  # words of the plan that cannot be used
    TAKEN = "taken"  # another run works on it
    MERGE = "merge"  # how rows are merged: keys, modes, drift
    WATERMARK = "watermark"  # how increments are read
    REJECTS = "rejects"  # rows that would be set aside
    SOURCE = "source"  # what a source of another kind can or cannot do
    TYPE = "type"  # how a type of the source is mapped
    NAME = "name"  # two names that become one, or that are too long
    DEFINITION = "definition"  # a view, default or check that does not translate
    ORPHANS = "orphans"  # rows whose foreign key leads nowhere
    TRANSFORM = "transform"


ERRORS: dict[Kind, type[PghaulError]] = {
    Kind.NOTHING_SELECTED: errors.NotFoundError,
    Kind.BOUNDS: errors.BoundsError,
    Kind.TABLE_MISSING: errors.NotFoundError,
    Kind.SHAPE: errors.ShapeChangedError,
    Kind.ROWS_PRESENT: errors.TargetNotEmptyError,
    Kind.VERSION: errors.NotSupportedError,
    Kind.PRIVILEGE: errors.AccessError,
    Kind.ROLE: errors.NotFoundError,
    Kind.TRIGGER: errors.NotSupportedError,
    Kind.ROW_SECURITY: errors.AccessError,
    Kind.LOCKS: errors.NotSupportedError,
    Kind.ENCODING: errors.NotSupportedError,
    Kind.CHARACTERS: errors.RowError,
    Kind.COLLATION: errors.NotSupportedError,
    Kind.EXTENSION: errors.NotSupportedError,
    Kind.PROGRAM: errors.NotFoundError,
    Kind.SPACE: errors.NoSpaceError,
    Kind.SETTING: errors.NotSupportedError,
    Kind.SERVER: errors.NotSupportedError,
    Kind.USAGE: errors.PlanError,
    Kind.TAKEN: errors.TableTakenError,
    Kind.MERGE: errors.MergeError,
    Kind.WATERMARK: errors.WatermarkError,
    Kind.REJECTS: errors.QuarantineError,
    Kind.SOURCE: errors.SourceError,
    Kind.TYPE: errors.MappingError,
    Kind.NAME: errors.MappingError,
    Kind.DEFINITION: errors.MappingError,
    Kind.ORPHANS: errors.MappingError,
    Kind.TRANSFORM: errors.TransformError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`object` is a table, a schema, an extension, a server …; `where` is source, target or a database's name."""

    severity: Severity = Severity.ERROR
    kind: Kind
    object: str
    what: str
    advice: str | None = None
    where: str | None = None
    sqlstate: str | None = None
    code: int | None = None  # of this very sentence, within the family of its error

    def error(self) -> PghaulError:
        """As what `run` raises it."""
        return ERRORS[self.kind](
            self.what, where=self.where, advice=self.advice, sqlstate=self.sqlstate, code=self.code
        )


RAISED: dict[type[PghaulError], Kind] = {
    errors.NotFoundError: Kind.NOTHING_SELECTED,
    errors.BoundsError: Kind.BOUNDS,
    errors.PlanError: Kind.USAGE,
    errors.AccessError: Kind.PRIVILEGE,
    errors.ShapeChangedError: Kind.SHAPE,
    errors.MergeError: Kind.MERGE,
    errors.WatermarkError: Kind.WATERMARK,
    errors.TransformError: Kind.TRANSFORM,
    errors.MappingError: Kind.TYPE,
}


def of_error(exc: PghaulError, object_: str) -> Finding:
    """What a look has raised, as a finding."""
    kind = RAISED.get(type(exc), Kind.SERVER)
    return Finding(
        kind=kind,
        object=object_,
        what=exc.message,
        advice=exc.advice,
        where=exc.where,
        sqlstate=exc.sqlstate,
        code=exc.number,
    )


def unreadable(exc: PghaulError, table: Name) -> Finding:
    """A table of the source in whose way something stands that the others have nothing to do with."""
    return Finding(
        kind=Kind.SOURCE,
        object=str(table),
        what=say("{table} cannot be read: {why}", table=str(table), why=exc.message),
        where=exc.where,
        advice=say("{advice}; or leave the table out: --exclude {table}", advice=exc.advice, table=str(table)),
        sqlstate=exc.sqlstate,
        code=6906,
    )


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first error, with the others as its notes; nothing happens where there is none."""
    wrong = [f for f in findings if f.severity is Severity.ERROR]
    if not wrong:
        return
    exc = wrong[0].error()
    for other in wrong[1 : ALSO_SAID + 1]:
        exc.add_note(say("also: {what}", what=other.what))
    if len(wrong) > ALSO_SAID + 1:
        exc.add_note(say("and {n} more: pghaul plan shows them all", n=len(wrong) - ALSO_SAID - 1))
    raise exc
