"""What is known about a merge before any row moves: whether the target fits, and whether it has to be locked."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg.sql import SQL, Composable, Identifier

from pghaul.model.errors import MergeError, PghaulError
from pghaul.model.finding import Finding, Kind, Severity, of_error, refuse
from pghaul.model.merging import MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.model.text import Text, listed, say
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities
from pghaul.target import merge_sequences, merge_target
from pghaul.target.merge_sql import open_to_writers
from pghaul.target.merge_target import Target

TABLES = ("r", "p")
MOST_COLUMNS = 1599  # a table has 1,600 at most
MOMENTS = ("timestamp", "timestamptz")
KINDS = {"v": say("a view"), "m": say("a materialized view"), "f": say("a foreign table")}
OTHER = say("no table")

NEEDS = {
    MergeMode.UPSERT: ("SELECT", "INSERT", "UPDATE"),
    MergeMode.INSERT_ONLY: ("SELECT", "INSERT"),
    MergeMode.UPDATE_ONLY: ("SELECT", "UPDATE"),
    MergeMode.FULL_SYNC: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    MergeMode.SCD2: ("SELECT", "INSERT", "UPDATE"),
}
EQUAL = SQL("SELECT 1 FROM {table} WHERE false GROUP BY {key}")
SCOPE = SQL("SELECT 1 FROM {table} WHERE ({scope}) AND false")


def examine(session: Session, design: MergeDesign, target: Target | None) -> list[Finding]:
    """All that is wrong with the target, and what to know of it. Reads only; the staging need not be there yet."""
    if target is None:
        return [_of(design, no_table(design.target))]
    found = [*findings(session.server.capabilities, design, target)]
    if not any(f.severity is Severity.ERROR for f in found):
        found += _probed(session, design)
    return found


def fit(session: Session, design: MergeDesign) -> Target:
    """The target, where nothing is in the way. Raises MergeError."""
    target = merge_target.look(session, design.target)
    if target is None:
        raise no_table(design.target)
    refuse(findings(session.server.capabilities, design, target))
    return target


def findings(can: Capabilities, design: MergeDesign, target: Target) -> Iterator[Finding]:
    """From the catalogue alone."""
    if target.kind not in TABLES:
        kind = KINDS.get(target.kind, OTHER)
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say("{table} is {kind}: rows are merged into tables", table=str(target.name), kind=kind),
            advice=say("name a table; of a view, the one that it reads"),
            code=6616,
        )
        return
    missing = [c for c in dict.fromkeys(_named(design)) if c not in {t.name for t in target.columns}]
    if missing:
        yield _of(design, merge_target.no_column(target.name, missing))
        return
    yield from _key_findings(design)
    yield from _too_many(design)
    yield from _column_findings(design, target)
    if design.mode is MergeMode.SCD2:
        yield from _version_findings(design, target)
    if design.deleted is not None:
        yield from _deletion_findings(design, target, design.deleted)
    yield from _permission_findings(can, design, target)
    if not open_to_writers(can, design, target):
        yield _under_lock(can, design, target)


def _named(design: MergeDesign) -> list[str]:
    """All columns that the target has to have."""
    named = [*design.columns, *design.key]
    named += [design.valid_from, design.valid_to] if design.mode is MergeMode.SCD2 else []
    return named + [c for c in (design.deleted, design.latest_by) if c is not None]


def _too_many(design: MergeDesign) -> Iterator[Finding]:
    if len(design.columns) > MOST_COLUMNS:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say(
                "{n} columns of {table} are too many to merge: {most} are the most, as their changes lie in a table "
                "with one more",
                n=len(design.columns),
                table=str(design.target),
                most=MOST_COLUMNS,
            ),
            advice=say("leave some out with `columns`, or move the table with --recipe copy"),
            code=6652,
        )


def _key_findings(design: MergeDesign) -> Iterator[Finding]:
    if not design.key:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say("{table} has no key by which a row is known on both sides", table=str(design.target)),
            advice=say('name its columns: key = ["…"] in [tables.merge], or --merge-key'),
            code=6614,
        )
    for column in [*design.key, *([design.latest_by] if design.latest_by is not None else [])]:
        if column not in design.columns:
            yield Finding(
                kind=Kind.MERGE,
                object=str(design.target),
                what=say(
                    "{column} is needed to merge {table}, and is not read", column=column, table=str(design.target)
                ),
                advice=say("add it to `columns`, or to the query"),
                code=6615,
            )


def _column_findings(design: MergeDesign, target: Target) -> Iterator[Finding]:
    made = [c for c in design.columns if target.column(c).generated]
    if made:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say(
                "{columns} of {table} is generated, and cannot be written", columns=listed(made), table=str(target.name)
            ),
            advice=say("leave it out with `columns`"),
            code=6619,
        )


def _version_findings(design: MergeDesign, target: Target) -> Iterator[Finding]:
    for column in (design.valid_from, design.valid_to):
        if target.column(column).base not in MOMENTS or column in design.columns:
            yield Finding(
                kind=Kind.MERGE,
                object=str(design.target),
                what=say(
                    "{column} of {table} has to be a timestamp or timestamptz that the source does not fill",
                    column=column,
                    table=str(target.name),
                ),
                advice=say("name the columns of versions: valid_from and valid_to in [tables.merge]"),
                code=6620,
            )
    if target.column(design.valid_to).not_null:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say(
                "{column} of {table} is NOT NULL, and NULL in a current version",
                column=design.valid_to,
                table=str(target.name),
            ),
            advice=say("ALTER TABLE … ALTER COLUMN … DROP NOT NULL"),
            code=6624,
        )
    if any(set(k.columns) <= set(design.key) for k in target.keys):
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say("a unique index of {table} keeps a key from having several versions", table=str(target.name)),
            advice=say(
                "make it unique on the key and {column}, or on the key WHERE {end} IS NULL",
                column=design.valid_from,
                end=design.valid_to,
            ),
            code=6621,
        )


def _deletion_findings(design: MergeDesign, target: Target, column: str) -> Iterator[Finding]:
    if target.column(column).base not in {"bool", *MOMENTS} or column in design.columns:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say(
                "{column} of {table} has to be a boolean or a timestamp that the source does not fill",
                column=column,
                table=str(target.name),
            ),
            advice=say("name another column: `deleted` in [tables.merge]"),
            code=6622,
        )


def _permission_findings(can: Capabilities, design: MergeDesign, target: Target) -> Iterator[Finding]:
    needed = list(NEEDS[design.mode])
    if design.deleted is not None:
        needed.remove("DELETE")
    lacking = [p for p in needed if p not in target.privileges]
    # A lock that keeps writers out takes more than INSERT.
    locked = not open_to_writers(can, design, target)
    if locked and not lacking and not {"UPDATE", "DELETE"} & target.privileges:
        lacking = ["UPDATE"]
    if lacking or "USAGE" not in target.privileges:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say(
                "the role lacks {privileges} on the target's {table}",
                privileges=listed(lacking or ["USAGE"]),
                table=str(target.name),
            ),
            advice=say(
                "GRANT {privileges} … TO the role, on the table (and USAGE on its schema)",
                privileges=listed(lacking or ["USAGE"]),
            ),
            code=6617,
        )
    if target.hidden:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say(
                "row security hides rows of {table} from the role: what it does not see would be merged wrongly",
                table=str(target.name),
            ),
            advice=say("connect as the table's owner, or as a role with BYPASSRLS"),
            code=6623,
        )


def _under_lock(can: Capabilities, design: MergeDesign, target: Target) -> Finding:
    """Right as well, but others wait."""
    severity = Severity.NOTE if target.unique(design.key) else Severity.WARNING
    return Finding(
        severity=severity,
        kind=Kind.MERGE,
        object=str(target.name),
        what=say(
            "{table} is merged under a lock: others read, and wait to write: {why}",
            table=str(target.name),
            why=_why(can, design, target),
        ),
        advice=say("a unique index on exactly the key lets others write meanwhile"),
        code=6618,
    )


def _why(can: Capabilities, design: MergeDesign, target: Target) -> Text:
    if design.mode is MergeMode.SCD2:
        return say("versions of a row are kept apart by it")
    if design.nulls_match:
        return say("NULL matches NULL")
    if target.inherited:
        return say("other tables inherit from it")
    if target.rules:
        return say("it has rules")
    if not target.unique(design.key):
        return say("no unique index covers exactly the key ({key})", key=listed(design.key))
    return say("PostgreSQL {version} has no ON CONFLICT for it", version=str(can.version_num // 10000))


def _probed(session: Session, design: MergeDesign) -> Iterator[Finding]:
    """What only the server can tell, without reading a row."""
    table = Identifier(design.target.schema, design.target.name)
    key = SQL(", ").join([Identifier(k) for k in design.key])
    if (why := _refusal(session, EQUAL.format(table=table, key=key))) is not None:
        yield Finding(
            kind=Kind.MERGE,
            object=str(design.target),
            what=say("rows of {table} cannot be known by this key: {error}", table=str(design.target), error=why),
            advice=say("choose columns whose type has an equality: json, xml and point have none"),
            code=6626,
        )
    if design.scope:
        why = _refusal(session, SCOPE.format(table=table, scope=SQL("\n" + design.scope + "\n")))
        if why is not None:
            yield Finding(
                kind=Kind.MERGE,
                object=str(design.target),
                what=say(
                    "the condition on {table} does not hold on the target: {error}", table=str(design.target), error=why
                ),
                advice=say("a full sync needs every column of the condition on the target, under the same name"),
                code=6625,
            )
    for sequence, column, may in merge_sequences.owned(session, design.target, design.columns):
        if not may:
            yield Finding(
                severity=Severity.WARNING,
                kind=Kind.MERGE,
                object=str(design.target),
                what=say(
                    "the role may not move the sequence {sequence} on behind {column} of {table}",
                    sequence=str(sequence),
                    column=column,
                    table=str(design.target),
                ),
                advice=say("GRANT SELECT, UPDATE ON SEQUENCE … TO the role; else it hands out numbers that are taken"),
                code=6627,
            )


def _refusal(session: Session, statement: Composable) -> str | None:
    try:
        with session.transaction():
            session.rows(statement)
    except PghaulError as exc:
        return exc.message
    return None


def no_table(name: Name) -> MergeError:
    """Where the target has to be there by now."""
    return MergeError(
        say("there is no table {table} to merge into", table=str(name)),
        where=str(name),
        advice=say("let the run create it (create = true), or create it"),
        code=6628,
    )


def _of(design: MergeDesign, exc: MergeError) -> Finding:
    return of_error(exc, str(design.target))
