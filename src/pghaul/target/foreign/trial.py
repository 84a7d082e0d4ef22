"""What a mapping makes, tried on the target before anything is written: in schemas of its own, and rolled back.

A parser's word is no server's. What the server refuses (a default, an expression, an index, a view) is left out of the
mapping and listed with the server's words; the answer is the same on every resume, since nothing of the target's own
tables is looked at.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TypedDict

from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.mapped import Made, MappedColumn, MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.table import Name
from pghaul.model.text import joined, say, saying
from pghaul.model.wording import kind_named
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities
from pghaul.target.foreign import ddl, portions
from pghaul.target.foreign.mapping import map_database
from pghaul.target.foreign.portions import Portion
from pghaul.target.foreign.script import map_script

TOO_MANY_LOCKS = "53200"  # a table, or a view of many, that does not fit into what others leave of the table of locks
MESSAGE = 64  # statements that are tried at once: each by itself takes three turns
SEVERAL = saying("{n} × {kind}")
ROUNDS = 4  # a table without its bad default may have a bad key, without which a view fails
EXTENSION_TYPES = """
SELECT t.typname::text, n.nspname::text
  FROM pg_catalog.pg_type AS t
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
  JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
 WHERE t.typtype IN ('b', 'd', 'e') AND t.typelem = 0 AND n.nspname <> 'pg_catalog'
"""
REFUSABLE = frozenset({"table", "validation"}) | portions.ALONE | portions.SPANNING


class Given(TypedDict):
    """What map_database is told of the target."""

    schemas: dict[str, str]
    can: Capabilities


class _RolledBackError(Exception):
    """Nothing of it is to stay."""


def map_on(target: Session, database: ForeignDatabase, selected: Collection[Name], plan: Plan) -> MappedDatabase:
    """As map_database, without what this server would refuse. A target that lets nobody try is told of by a finding."""
    given: Given = {"schemas": _of_extensions(target), "can": target.server.capabilities}
    if plan.mapping.ddl:
        return map_script(target, map_database(database, selected, plan, **given), plan)
    mapped = map_database(database, selected, plan, **given)
    if any(f.kind is Kind.NAME and f.severity is Severity.ERROR for f in mapped.findings):
        return mapped  # two of one name cannot be made, and what the server says of that says nothing of the rest
    refused: dict[str, str] = {}
    try:
        for _ in range(ROUNDS):
            new = _try(target, database, selected, plan, refused, given)
            refused |= new
            if not new:
                break
    except PghaulError as exc:
        if isinstance(exc, TransientError) and exc.sqlstate != TOO_MANY_LOCKS:
            raise
        return _untried(map_database(database, selected, plan, refused=refused, **given), exc)
    return map_database(database, selected, plan, refused=refused, **given) if refused else mapped


def _of_extensions(target: Session) -> dict[str, str]:
    """Where their types lie, by name: vector is public.vector; nothing of a name that several have."""
    found: dict[str, list[str]] = {}
    for name, schema in target.rows(EXTENSION_TYPES):
        found.setdefault(name, []).append(schema)
    return {name: schemas[0] for name, schemas in found.items() if len(schemas) == 1}


def _untried(mapped: MappedDatabase, exc: PghaulError) -> MappedDatabase:
    finding = Finding(
        severity=Severity.WARNING,
        kind=Kind.DEFINITION,
        object=mapped.database.identity,
        what=say(
            "definitions could not be tried on the target ({things}): {why}",
            things=joined(", ", [SEVERAL.format(n=n, kind=kind_named(k)) for k, n in _tried_later(mapped)]),
            why=exc.message,
        ),
        advice=say(
            "one that the target refuses will end the run after its rows; CREATE on the database lets us try them"
        ),
        sqlstate=exc.sqlstate,
        code=7039,
    )
    return MappedDatabase(
        database=mapped.database,
        tables=mapped.tables,
        before=mapped.before,
        after=mapped.after,
        left=mapped.left,
        findings=(*mapped.findings, finding),
    )


def _tried_later(mapped: MappedDatabase) -> list[tuple[str, int]]:
    """What a server may refuse, by kind."""
    return sorted(Counter(m.kind for m in (*mapped.before, *mapped.after) if m.kind in REFUSABLE).items())


def _try(
    target: Session,
    database: ForeignDatabase,
    selected: Collection[Name],
    plan: Plan,
    refused: dict[str, str],
    given: Given,
) -> dict[str, str]:
    prefix = f"pghaul_trial_{secrets.token_hex(4)}_"
    mapped = map_database(database, selected, plan, refused=refused, prefix=prefix, **given)
    found: dict[str, str] = {}
    missing: set[Name] = set()
    for portion in portions.portions(mapped, target.server.max_locks):
        with contextlib.suppress(_RolledBackError), target.transaction():
            target.execute("SET TRANSACTION READ WRITE")  # `plan` looks by a session that may not write
            found |= _refusals(target, mapped, portion, missing)
            raise _RolledBackError
    return {key.replace(prefix, ""): words.replace(prefix, "") for key, words in found.items()}


def _refusals(
    target: Session, mapped: MappedDatabase, portion: Portion, missing: set[Name]
) -> Iterator[tuple[str, str]]:
    """`missing`: tables that are not made as they are; nothing is asked of what stands on one."""
    tables = {t.name: t for t in mapped.tables}
    for made, why in _refused(target, [m for m in portion.before if m.table not in missing]):
        if made.kind != "table" or made.table is None:
            raise why
        found = list(_of_columns(target, tables[made.table]))
        if not found:
            raise why
        yield from found
        missing.add(made.table)
    wanted = [m for m in portion.after if m.table not in missing and not (missing and m.kind in portions.SPANNING)]
    for made, why in _refused(target, wanted):
        yield made.name, why.message


def _refused(target: Session, made: Sequence[Made]) -> Iterator[tuple[Made, PghaulError]]:
    """Those that the server would not have, in their order; the others stay. Many go in one message."""
    for at in range(0, len(made), MESSAGE):
        yield from _halved(target, made[at : at + MESSAGE])


def _halved(target: Session, made: Sequence[Made]) -> Iterator[tuple[Made, PghaulError]]:
    why = _refusal(target, ";\n".join(m.sql for m in made))
    if why is None:
        return
    if len(made) == 1:
        yield made[0], why
        return
    half = len(made) // 2
    yield from _halved(target, made[:half])
    yield from _halved(target, made[half:])


def _refusal(target: Session, statement: str, *, stays: bool = True) -> PghaulError | None:
    try:
        with contextlib.suppress(_RolledBackError), target.transaction():
            target.execute(statement)
            if not stays:
                raise _RolledBackError
    except TransientError:
        raise
    except PghaulError as exc:
        return exc
    return None


def _of_columns(target: Session, table: MappedTable) -> Iterator[tuple[str, str]]:
    """Which of them the server would not have, one after the other."""
    plain = [_plain(c) for c in table.columns]
    for column, bare in zip(table.columns, plain, strict=True):
        alone = _alone(target, table, [bare])
        if alone is not None:
            yield f"type:{column.type}", alone.message
            continue
        if column.default is not None and (why := _alone(target, table, [column])):
            yield f"default:{table.name}.{column.name}", why.message
        if column.generated is not None:
            others = [p for p in plain if p.name != column.name]
            if why := _alone(target, table, [*others, column]):
                yield f"generated:{table.name}.{column.name}", why.message


def _alone(target: Session, table: MappedTable, columns: list[MappedColumn]) -> PghaulError | None:
    """A table of these columns only, that does not stay."""
    made = ddl.table(MappedTable(source=table.source, name=table.name, columns=tuple(columns)))
    return _refusal(target, made.sql, stays=False)


def _plain(column: MappedColumn) -> MappedColumn:
    return MappedColumn(source=column.source, name=column.name, type=column.type)
