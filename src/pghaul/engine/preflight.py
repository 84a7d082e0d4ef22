"""Looks before the first write: what the target holds, what the role may do, and what each table's fate will be.

Everything here reads only. What is wrong is raised by name, with what to do, while nothing on the target has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.engine import permits, recipes, statements
from pghaul.engine.recipes import Chosen
from pghaul.model.finding import Finding, Kind, refuse
from pghaul.model.plan import OnExisting, Plan
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say
from pghaul.postgres.session import Session

BATCH = 200  # tables per UNION ALL: 10,000 leaves in 50 statements

Ask = Callable[[Name, int | None], OnExisting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of each selected table: `dispositions` by name, `missing` are to be created."""

    dispositions: Mapping[Name, str]
    missing: tuple[Table, ...]


def decide(
    plan: Plan,
    source: Mapping[Name, Table],
    target: Mapping[Name, Table],
    session: Session,
    ask: Ask | None,
    choice: Callable[[Name], OnExisting],
    chosen: Mapping[Name, Chosen],
) -> Fate:
    """Every table's disposition. Raises TargetNotEmptyError, NotFoundError, AccessError, NotSupportedError."""
    fate, findings = examine(plan, source, target, session, ask, choice, chosen)
    refuse(findings)
    return fate


def examine(
    plan: Plan,
    source: Mapping[Name, Table],
    target: Mapping[Name, Table],
    session: Session,
    ask: Ask | None,
    choice: Callable[[Name], OnExisting],
    chosen: Mapping[Name, Chosen],
) -> tuple[Fate, list[Finding]]:
    """Every table's disposition, and everything that stands against it.

    `source` are the shapes that the target's relations should have, by their names there.
    """
    missing = tuple(t for n, t in source.items() if n not in target)
    findings = [] if plan.options.create else [_not_created(t.name) for t in missing]
    findings += _can_hold(missing, session)
    present = [n for n in source if n in target]
    for name in present:
        findings += shape_findings(source[name], target[name])
    can, guarded = session.server.capabilities, recipes.guarded(session, [target[n] for n in present])
    for name in present:
        findings += recipes.findings(chosen[name], source[name], target[name], can, guarded=name in guarded)
    held = permits.held(session, present)
    open_ = [n for n in present if target[n].kind is RelationKind.TABLE and {"SELECT", permits.USAGE} <= held[n]]
    with recipes.policies_applied(session, guarded):
        filled = rows_present(session, open_)
    found = {t.name: "created" for t in missing}
    for name in present:
        found[name] = "empty"
        if name in filled:
            found[name], against = _disposition(name, choice(name), target[name], ask=ask)
            findings += against
        may_truncate = "TRUNCATE" in held[name]
        found[name] = recipes.disposition(found[name], chosen[name], may_truncate=may_truncate, guarded=name in guarded)
    written = [n for n in present if found[n] != "skip"]
    findings += permits.may_write(session, {n: recipes.privileges(chosen[n], found[n], can) - held[n] for n in written})
    return Fate(dispositions=found, missing=missing), findings


def _not_created(name: Name) -> Finding:
    return Finding(
        kind=Kind.TABLE_MISSING,
        object=str(name),
        what=say("the target has no table {table}", table=str(name)),
        where=say("target"),
        advice=say("create it, or drop --no-create"),
        code=5232,
    )


def _disposition(name: Name, choice: OnExisting, table: Table, *, ask: Ask | None) -> tuple[str, list[Finding]]:
    """Of a table that holds rows. Where a person is to be asked and none is there, that stands against it."""
    if choice is OnExisting.ASK and ask is not None:
        choice = ask(name, table.rows)
    elif choice is OnExisting.ASK:
        return choice.value, [
            Finding(
                kind=Kind.USAGE,
                object=str(name),
                what=say("{table} has rows on the target, and there is nobody to ask", table=str(name)),
                advice=say("say it with --on-existing truncate | append | skip | refresh | fail"),
                code=1147,
            )
        ]
    if choice is OnExisting.FAIL:
        return choice.value, [
            Finding(
                kind=Kind.ROWS_PRESENT,
                object=str(name),
                what=say("{table} has rows on the target", table=str(name)),
                advice=say("choose what to do with them: --on-existing truncate | append | skip | refresh"),
                code=5430,
            )
        ]
    return choice.value, []


def shape_findings(source: Table, target: Table) -> Iterator[Finding]:
    """Columns that are copied and have no place on the target."""
    there = {c.name: c for c in target.columns}
    for column in source.copied_columns:
        name = f"{target.name}.{column.name}"
        if column.name not in there:
            yield Finding(
                kind=Kind.SHAPE,
                object=name,
                what=say("the target's {table} has no column {column}", table=str(target.name), column=column.name),
                advice=say("add it ({type}), or drop the table to have it created", type=column.type),
                code=5801,
            )
        elif there[column.name].generated:
            yield Finding(
                kind=Kind.SHAPE,
                object=name,
                what=say("the target's column {column} is generated: it takes no values", column=name),
                advice=say("leave it out with `columns`, or make it a plain column on the target"),
                code=5834,
            )


def rows_present(session: Session, names: Sequence[Name]) -> set[Name]:
    """Which of these relations hold a row of their own."""
    found: set[Name] = set()
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::int4, EXISTS (SELECT 1 FROM ONLY {})").format(sql.Literal(i), statements.identifier(n))
            for i, n in enumerate(batch)
        )
        found |= {batch[i] for i, full in session.rows(query) if full}
    return found


def _can_hold(missing: Sequence[Table], session: Session) -> Iterator[Finding]:
    can = session.server.capabilities
    for table in missing:
        lacks = None
        if table.kind is RelationKind.PARTITIONED and not can.declarative_partitions:
            lacks = say("declarative partitions")
        elif any(c.identity for c in table.columns) and not can.identity:
            lacks = say("identity columns")
        elif any(c.generated for c in table.columns) and not can.generated_columns:
            lacks = say("generated columns")
        if lacks:
            yield Finding(
                kind=Kind.VERSION,
                object=str(table.name),
                what=say(
                    "{table} needs {feature}, which PostgreSQL {version} does not have",
                    table=str(table.name),
                    feature=lacks,
                    version=session.server.version,
                ),
                where=say("target"),
                advice=say("create the table on the target in a form that it knows, then run again"),
                code=5340,
            )
