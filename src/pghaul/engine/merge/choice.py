"""What a plan merges: which of the source's tables and queries, each with its own words, and where it goes.

A table that has partitions or children is read with all that is below it, and merged into one table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pghaul.engine import mapping
from pghaul.model.errors import PlanError
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Duplicates, Layout, Merge, OnConflict, OnExisting, Plan, Recipe
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session
from pghaul.sources import queries
from pghaul.sources.choice import choose

DEFAULT = Merge()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One source of rows and what is said of it. `source` has the columns that are carried; of a query, its own.

    `origins` are the source's tables that are read: it and all below it; of a query nobody knows.
    """

    source: Table
    origins: tuple[Table, ...] = ()
    target: Name
    merge: Merge
    where: str | None = None
    query: str | None = None
    chosen: bool = False  # its columns were named one by one
    generated: frozenset[str] = frozenset()  # columns that the source computes: read as any other

    @property
    def bytes(self) -> int:
        """Of all that is read, estimated; of a query 0."""
        return sum(t.bytes for t in self.origins)

    @property
    def rows(self) -> int | None:
        """The same in rows; None where a catalogue does not know."""
        known = [t.rows for t in self.origins]
        return None if not known or None in known else sum(r or 0 for r in known)


def is_merge(plan: Plan) -> bool:
    """Does this plan merge? PlanError where only a part of it does, or where other words contradict it."""
    if not plan.merges:
        return False
    said = [(s, s.recipe or plan.options.recipe) for s in plan.tables]
    others = [s.name or s.into or "" for s, r in said if r is not Recipe.MERGE]
    if others or (plan.whole and plan.options.recipe is not Recipe.MERGE):
        raise PlanError(
            say("one run merges all of its tables or none: {table} goes by another recipe", table=(others or ["*"])[0]),
            where="recipe",
            advice=say("make two plans of it"),
            code=1161,
        )
    for key in _contradictions(plan):
        raise PlanError(
            say("{key} does not go with recipe = merge", key=key),
            where=key,
            advice=say("leave it out; which rows are read is said by where and watermark, how they are merged by mode"),
            code=1162,
        )
    return True


def _contradictions(plan: Plan) -> Iterator[str]:
    options, period = plan.options, plan.period
    yield from (
        key
        for key, said in (
            ("whole", plan.whole),
            ("period", period is not None and (period.since is not None or period.until is not None)),
            ("on_existing", options.on_existing is not OnExisting.FAIL),
            ("on_conflict", options.on_conflict is not OnConflict.ERROR),
            ("duplicates", options.duplicates is not Duplicates.FAIL),
        )
        if said
    )
    for selection in plan.tables:
        yield from (
            key
            for key, said in (
                ("on_existing", selection.on_existing is not None),
                ("on_conflict", selection.on_conflict not in {None, OnConflict.ERROR}),
                ("layout", selection.layout is not Layout.SAME),
                ("key", selection.key is not None),
            )
            if said
        )


def names(session: Session, plan: Plan) -> list[Name]:
    """The source's tables that are read, with all that is below them: what has to be locked."""
    by_name = named(plan)
    return [c.table for c in choose(session, by_name)] if by_name.tables else []


def asked(session: Session, plan: Plan, chosen: list[Name], manifest: Manifest | None) -> list[Asked]:
    """Described under the snapshot; of a run that is resumed, what it was planned for. PlanError, NotFoundError."""
    tables = describe(session, chosen)
    found = [*of_tables(plan, tables), *_queries(session, plan)]
    if manifest is not None:
        planned = {p.target for p in manifest.placements}
        found = [a for a in found if a.target in planned]
    seen: dict[Name, str] = {}
    for one in found:
        what = one.query or str(one.source.name)
        if seen.setdefault(one.target, what) != what:
            raise PlanError(
                say(
                    "{one} and {other} would both be merged into {name}",
                    one=seen[one.target],
                    other=what,
                    name=str(one.target),
                ),
                where="into",
                advice=say("give each its own `into`"),
                code=1163,
            )
    return found


def of_tables(plan: Plan, tables: Mapping[Name, Table]) -> Iterator[Asked]:
    """Those that nothing stands above: what is below them is read with them."""
    by_name = named(plan)
    for name, table in tables.items():
        above = [n for n in mapping.lineage(tables, name) if n != name]
        if above:
            continue
        if table.kind is RelationKind.FOREIGN:
            raise PlanError(
                say("{table} is a foreign table: its rows live on another server", table=str(name)),
                where=str(name),
                advice=say("leave it out with --exclude, or merge a query that reads it"),
                code=1165,
            )
        columns: list[str] | None = mapping.said(by_name, tables, name, "columns")
        yield Asked(
            source=plain(mapping.only(table, columns)),
            generated=frozenset(c.name for c in table.columns if c.generated),
            origins=tuple(t for n, t in tables.items() if name in mapping.lineage(tables, n)),
            target=mapping.target_name(by_name, tables, name),
            merge=mapping.said(by_name, tables, name, "merge") or DEFAULT,
            where=mapping.said(by_name, tables, name, "where"),
            chosen=columns is not None,
        )


def plain(table: Table) -> Table:
    """What the source computes is a value as any other: a query reads it, and the target may store it."""
    return replace(table, columns=tuple(replace(c, generated=False) for c in table.columns))


def _queries(session: Session, plan: Plan) -> Iterator[Asked]:
    for selection in plan.tables:
        if not selection.query:
            continue
        if selection.where is not None or selection.columns is not None:
            raise PlanError(
                say("a query takes neither where nor columns: it says both itself"), where="query", code=1164
            )
        name = mapping.place_of(selection.into or "")
        queries.check(selection.query)
        source = queries.describe(session, selection.query, name)
        yield Asked(source=source, target=name, merge=selection.merge or DEFAULT, query=selection.query, chosen=True)


def named(plan: Plan) -> Plan:
    """Without its queries: patterns are about tables."""
    return plan.model_copy(update={"tables": [s for s in plan.tables if s.name]})
