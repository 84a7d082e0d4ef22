"""Every look before the first row: what the target holds, what our role may do, what the mapping has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pghaul.engine import permits, preflight, requirements, space
from pghaul.engine.arrow import orphans, ranges, shape, sizes, taken, transforming
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.recipes import Chosen
from pghaul.model.chunk import Chunk
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import Consistency
from pghaul.model.mapped import MappedDatabase
from pghaul.model.plan import OnConflict, OnExisting, Options, Plan, ReadConsistency, Recipe, Selection
from pghaul.model.preview import Space
from pghaul.model.table import Name, RelationKind
from pghaul.model.text import say
from pghaul.target.foreign import existing, types
from pghaul.target.foreign.selection import said

COPIED = Chosen(recipe=Recipe.COPY, on_conflict=OnConflict.ERROR)
ONLY_POSTGRESQL = ("layout", "key", "larger_than", "smaller_than", "query", "merge", "on_conflict")
IDLE_OPTIONS = ("owners", "privileges", "source_encoding", "format", "locks", "duplicates", "duplicates_by")
READ_AS = say("say how they are to be read, or give the column the type text")
MIXED = say("say how they are to be read: the transform sql, such as CASE typeof(x) WHEN 'blob' THEN hex(x) ELSE x END")
CHOOSE = say("choose what to do with them: --on-existing truncate | append | skip")
LEAVE_OUT = say("leave it out")
INSTEAD = {
    "period": say("leave it out; say the span as a condition in the source's SQL: where"),
    "layout": say("leave it out; partition on the target afterwards, by INSERT INTO … SELECT"),
    "key": say("leave it out: large tables are cut by their primary key"),
    "larger_than": say("name the tables that are meant, or leave others out: --exclude"),
    "smaller_than": say("name the tables that are meant, or leave others out: --exclude"),
    "query": say("name a table; where, columns and the transform sql say what is read of it"),
    "merge": say("leave it out: rows are copied; a table that has rows takes on_existing = truncate, append or skip"),
    "on_conflict": say("leave it out; a table that has rows takes on_existing = truncate, append or skip"),
    "owners": say("leave it out: roles are other ones there; what is made belongs to the role that pghaul connects as"),
    "privileges": say("leave it out: roles are other ones there; GRANT what is needed on the target"),
    "source_encoding": say("leave it out; say encoding in [mapping], or encodings of a table"),
    "format": say("leave it out: every table goes in the form that its types allow"),
    "locks": say("leave it out; [mapping] consistency says how it is read"),
    "duplicates": say("leave it out; mend duplicates on the source, or leave them out by where"),
    "duplicates_by": say("leave it out; mend duplicates on the source, or leave them out by where"),
}
SEES = {
    Consistency.SNAPSHOT: say("all tables are read as they were at one moment"),
    Consistency.TABLE: say("each table is read as it was at one moment, and another one at another"),
    Consistency.STATEMENT: say("who writes to the source meanwhile is seen in part: keep writers away"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found. `mapped` knows which tables are on the target already."""

    fate: preflight.Fate
    mapped: MappedDatabase
    chunks: tuple[Chunk, ...]
    findings: tuple[Finding, ...]
    space: Space


def examine(run: str, plan: Plan, ground: Ground, ask: preflight.Ask | None) -> Look:
    """Reads only. In the order in which a person would want to know."""
    mapped = existing.matched(ground.mapped, ground.there)
    found = [*mapped.findings, *_of_the_plan(plan, mapped), *_of_the_source(plan, ground)]
    fate, against = decide(plan, mapped, ground, ask)
    names = [t.name for t in mapped.tables]
    loaded = [t for n, t in ground.there.items() if fate.dispositions[n] != "skip"]
    found += [*_unreadable(plan, mapped, ground), *_mislabelled(mapped)]
    found += [*against, *_no_plain_table(ground, fate), *transforming.findings(plan, mapped, ground)]
    if plan.mapping.ddl is None:  # then its findings have it already
        found += existing.differences(ground.target, mapped, ground.there)
    found += permits.loud_triggers(ground.target, sorted(permits.noisy(loaded)))
    found += requirements.ledger_findings(ground.target, run, names)
    found += permits.may_create(ground.target, fate.missing)
    if plan.mapping.ddl is None:  # a script says itself what it makes
        found += taken.findings(ground.target, mapped, [t.name for t in fate.missing])
    found += orphans.findings(ground.source, ground.target, mapped, plan, fate.dispositions)
    room = sizes.measured(plan, mapped, fate, ground)
    found += space.findings(room)
    return Look(
        fate=fate,
        mapped=mapped,
        chunks=tuple(_chunks(plan, mapped, ground, fate)),
        findings=tuple(found),
        space=room,
    )


def decide(
    plan: Plan, mapped: MappedDatabase, ground: Ground, ask: preflight.Ask | None
) -> tuple[preflight.Fate, list[Finding]]:
    """Every table's disposition, and what stands against it."""
    shapes = {t.name: shape.as_target(t) for t in mapped.tables}
    sources = {t.name: t.source.name for t in mapped.tables}

    def choice(name: Name) -> OnExisting:
        found: OnExisting = said(plan, sources[name], "on_existing") or plan.options.on_existing
        return found

    fate, found = preflight.examine(
        plan, shapes, ground.there, ground.target, ask, choice, dict.fromkeys(shapes, COPIED)
    )
    return fate, [replace(f, advice=CHOOSE) if f.kind is Kind.ROWS_PRESENT else f for f in found]


def _unreadable(plan: Plan, mapped: MappedDatabase, ground: Ground) -> Iterator[Finding]:
    """Values that the source has counted, and will refuse to hand out; a condition may leave them out."""
    aside = plan.options.max_rejects != 0 and ground.source.guarantees.loose
    for table in mapped.tables:
        apart = aside or bool(said(plan, table.source.name, "where"))
        computed = {t.column for t in said(plan, table.source.name, "transform") or () if t.kind == "sql"}
        for column in table.carried:
            same = types.base(column.read_as or column.type) == types.base(column.source.pg_type)
            if column.source.refused and same and column.source.name not in computed:
                yield Finding(
                    severity=Severity.WARNING if apart else Severity.ERROR,
                    kind=Kind.SOURCE,
                    object=str(table.name),
                    what=say(
                        "{column} cannot be read whole as {type}: {why}",
                        column=f"{table.source.name}.{column.source.name}".removeprefix("."),
                        type=column.type,
                        why=column.note,
                    ),
                    where=say("source"),
                    advice=MIXED if types.base(column.type) in types.TEXTS else READ_AS,
                    code=6935,
                )


def _mislabelled(mapped: MappedDatabase) -> Iterator[Finding]:
    """A connection that lied once about what it sent: nothing refuses it, and nobody could read what arrives."""
    for table in mapped.tables:
        for column in table.carried:
            if column.source.seems and column.encoding is None and types.base(column.type) in types.TEXTS:
                yield Finding(
                    severity=Severity.WARNING,
                    kind=Kind.CHARACTERS,
                    object=str(table.name),
                    what=say(
                        "{column} says {charset}, and what is not ASCII in its first rows reads as {encoding}",
                        column=f"{table.source.name}.{column.source.name}".removeprefix("."),
                        charset=column.source.charset or "",
                        encoding=column.source.seems,
                    ),
                    where=say("source"),
                    advice=say(
                        "look at some of them; if that is what they are, say it: encodings under [[tables]],"
                        " or --encoding for all"
                    ),
                    code=3097,
                )


def _no_plain_table(ground: Ground, fate: preflight.Fate) -> Iterator[Finding]:
    """Neither emptied nor found empty as a plain table is."""
    for name, table in ground.there.items():
        if table.kind is RelationKind.FOREIGN and fate.dispositions[name] != "skip":
            yield Finding(
                kind=Kind.SHAPE,
                object=str(name),
                what=say("the target's {table} is a foreign table: its rows lie elsewhere", table=str(name)),
                where=say("target"),
                advice=say("copy to where they lie, or give the table another name by `into`"),
                code=5863,
            )
        if table.kind is RelationKind.PARTITIONED and fate.dispositions[name] != "skip":
            yield Finding(
                kind=Kind.SHAPE,
                object=str(name),
                what=say(
                    "the target's {table} is partitioned: rows of another database go to plain tables", table=str(name)
                ),
                where=say("target"),
                advice=say("load a plain table, and move its rows from there: INSERT INTO … SELECT"),
                code=5862,
            )


def _chunks(plan: Plan, mapped: MappedDatabase, ground: Ground, fate: preflight.Fate) -> Iterator[Chunk]:
    """What is appended to stays whole: it could not be begun again."""
    for table in mapped.tables:
        disposition = fate.dispositions[table.name]
        if disposition != "skip":
            yield from ranges.chunks(
                table,
                ground.source,
                ground.there.get(table.name),
                split_bytes=plan.options.split_bytes,
                workers=plan.options.workers,
                whole=disposition == "append",
            )


def _of_the_plan(plan: Plan, mapped: MappedDatabase) -> Iterator[Finding]:
    """What such a source cannot be asked for."""
    for key in sorted(set(_idle(plan))):
        yield Finding(
            kind=Kind.USAGE,
            object=key,
            what=say("{key} is for a source that is PostgreSQL, and would change nothing here", key=key),
            where=key,
            advice=INSTEAD.get(key, LEAVE_OUT),
            code=1189,
        )
    recipes = {said(plan, t.source.name, "recipe") or plan.options.recipe for t in mapped.tables}
    for recipe in sorted(recipes - {Recipe.COPY}):
        yield Finding(
            kind=Kind.USAGE,
            object=recipe.value,
            what=say("the recipe {recipe} reads from PostgreSQL only", recipe=recipe.value),
            where="recipe",
            advice=INSTEAD["merge"],
            code=1185,
        )
    for table in mapped.tables:
        choice = said(plan, table.source.name, "on_existing") or plan.options.on_existing
        if choice is OnExisting.REFRESH:
            yield Finding(
                kind=Kind.USAGE,
                object=str(table.source.name),
                what=say("on_existing = refresh compares two PostgreSQL databases only"),
                where="on_existing",
                advice=say("choose truncate, append, skip or fail"),
                code=1186,
            )
            return


def _idle(plan: Plan) -> Iterator[str]:
    """Keys that were said and that nobody would heed."""
    if plan.period is not None:
        yield "period"
    plain = Selection(name="x")
    for selection in plan.tables:
        yield from (k for k in ONLY_POSTGRESQL if getattr(selection, k) != getattr(plain, k))
    usual = Options()
    yield from (k for k in IDLE_OPTIONS if getattr(plan.options, k) != getattr(usual, k))


def _of_the_source(plan: Plan, ground: Ground) -> Iterator[Finding]:
    guarantees = ground.source.guarantees
    snapshot = guarantees.consistency is Consistency.SNAPSHOT
    refused = plan.mapping.consistency is ReadConsistency.SNAPSHOT and not snapshot
    yield Finding(
        severity=Severity.ERROR if refused else Severity.NOTE,
        kind=Kind.SOURCE,
        object=ground.database.product,
        what=say("of the source {seen}", seen=SEES[guarantees.consistency]),
        where=say("source"),
        advice=say("leave [mapping] consistency at auto, and keep writers away while it is read") if refused else None,
        code=6902,
    )
    if plan.options.max_source_lag is not None or plan.options.max_source_sessions is not None:
        yield Finding(
            kind=Kind.USAGE,
            object="max_source_lag",
            what=say("how busy a source that is not PostgreSQL is cannot be measured"),
            where="options",
            advice=say("leave max_source_lag and max_source_sessions out"),
            code=1188,
        )
