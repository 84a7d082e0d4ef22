"""One target of a merge with all that has been found out about it, and the looks that can refuse it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.merge import creation, drift
from pghaul.engine.merge.choice import Asked
from pghaul.engine.merge.drift import Drift
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.finding import Finding, Kind
from pghaul.model.merging import MergeDesign
from pghaul.model.plan import MergeMode, NullKeys
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session

ABOUT = sql.SQL("SELECT 1 FROM ({}) AS {} WHERE (\n{}\n) LIMIT 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """`there` is None where the target's table is to be created."""

    asked: Asked
    there: Table | None
    drift: Drift
    key: tuple[str, ...]

    @property
    def name(self) -> Name:
        """The target's."""
        return self.asked.target

    @property
    def source(self) -> Table:
        """With the columns that are merged, and the source's types."""
        merged = {c.name for c in self.drift.columns}
        kept = tuple(c for c in self.asked.source.copied_columns if c.name in merged)
        return replace(self.asked.source, columns=kept)

    @property
    def columns(self) -> tuple[str, ...]:
        """By name, in the order of the source."""
        return tuple(c.name for c in self.drift.columns)

    def design(self, staging: Name, *, moment: str = "", whole: bool = False, verify: bool = False) -> MergeDesign:
        """What the target is to do with the staged rows; `whole`: these are all rows of the source."""
        merge = self.asked.merge
        syncs = merge.mode is MergeMode.FULL_SYNC or whole
        return MergeDesign(
            target=self.name,
            staging=staging,
            columns=self.columns,
            key=self.key,
            mode=merge.mode,
            nulls_match=merge.null_keys is NullKeys.MATCH,
            latest_by=merge.latest_by,
            deleted=merge.deleted,
            scope=self.asked.where or "" if syncs else "",
            valid_from=merge.valid_from if merge.mode is MergeMode.SCD2 else "",
            valid_to=merge.valid_to if merge.mode is MergeMode.SCD2 else "",
            moment=moment,
            whole=whole,
            verify=verify,
        )


def units(target: Session, asked: Sequence[Asked]) -> list[Unit]:
    """What the target has for each, and how they differ."""
    names = [a.target for a in asked]
    there = {n: t for n, t in describe(target, names).items() if t.kind.value != "f"}
    defaults = drift.filled(target, there.keys()) if there else set()
    return [_unit(a, there.get(a.target), defaults) for a in asked]


def _unit(asked: Asked, there: Table | None, defaults: set[tuple[Name, str]]) -> Unit:
    found = drift.none(asked) if there is None else drift.compare(asked, there, defaults)
    return Unit(asked=asked, there=there, drift=found, key=_key(asked, there))


def _key(asked: Asked, there: Table | None) -> tuple[str, ...]:
    """As it was said; else the source's primary key, else the target's."""
    if asked.merge.key:
        return tuple(asked.merge.key)
    known = [asked.source] if asked.merge.mode is MergeMode.SCD2 or there is None else [asked.source, there]
    return next((k for t in known if (k := primary_key(t))), ())


def primary_key(table: Table) -> tuple[str, ...]:
    """Empty where there is none."""
    return next((i.columns for i in table.indexes if i.constraint_kind == "p"), ())


def findings(source: Session, target: Session, found: Iterable[Unit]) -> Iterator[Finding]:
    """What is wrong with the keys, the columns and the conditions, as far as both catalogues tell."""
    given = list(found)
    yield from creation.occupied(target, [u.name for u in given if u.there is None])
    for unit in given:
        yield from unit.drift.findings
        yield from _key_findings(unit)
        yield from _named(unit)
        yield from _condition_findings(source, unit)
        if unit.there is None:
            yield from creation.unknown_types(target, unit.asked, unit.drift.columns)


def _key_findings(unit: Unit) -> Iterator[Finding]:
    if not unit.key:
        yield Finding(
            kind=Kind.MERGE,
            object=str(unit.name),
            what=say("{table} has no primary key, and no key was named", table=str(unit.asked.source.name)),
            where="key",
            advice=say("name the columns by which a row is known: --merge-key"),
            code=6640,
        )
    for column in unit.key:
        if column not in unit.columns:
            yield Finding(
                kind=Kind.MERGE,
                object=f"{unit.name}.{column}",
                what=say(
                    "the key's column {column} is not among those that are merged into {table}",
                    column=column,
                    table=str(unit.name),
                ),
                where="key",
                advice=say("these are: {columns}", columns=", ".join(unit.columns)),
                code=6641,
            )


def _named(unit: Unit) -> Iterator[Finding]:
    """Columns that the plan names, of what is read and of what is there."""
    merge = unit.asked.merge
    if merge.latest_by is not None and merge.latest_by not in unit.columns:
        yield _no_column(unit, "latest_by", merge.latest_by)
    there = {c.name for c in unit.there.columns} if unit.there else set()
    if merge.mode is MergeMode.SCD2:
        for key, name in (("valid_from", merge.valid_from), ("valid_to", merge.valid_to)):
            if name in unit.columns:
                yield Finding(
                    kind=Kind.MERGE,
                    object=f"{unit.name}.{name}",
                    what=say("the source has a column {column} of its own, which scd2 would fill", column=name),
                    where=key,
                    advice=say("name another column with {key}", key=key),
                    code=6642,
                )
            elif unit.there is not None and name not in there:
                yield _no_column(unit, key, name)
    if merge.deleted and unit.there is not None and merge.deleted not in there:
        yield _no_column(unit, "deleted", merge.deleted)


def _no_column(unit: Unit, key: str, column: str) -> Finding:
    return Finding(
        kind=Kind.MERGE,
        object=f"{unit.name}.{column}",
        what=say("{table} has no column {column}, which {key} names", table=str(unit.name), column=column, key=key),
        where=key,
        advice=say("these are merged: {columns}", columns=", ".join(unit.columns)),
        code=6643,
    )


def _condition_findings(source: Session, unit: Unit) -> Iterator[Finding]:
    """The source plans the condition once. That of a full-sync is put to the target, too: it can be about columns that
    are merged only.
    """
    where, table = unit.asked.where, unit.asked.source.name
    if where is None:
        return
    try:
        for statement in statements.probes(table, where):
            with source.transaction():
                source.execute(statement)
    except TransientError:
        raise
    except PghaulError as exc:
        yield Finding(
            kind=Kind.USAGE,
            object=str(unit.name),
            what=say("the condition on {table} cannot be used: {error}", table=str(table), error=exc.message),
            where="where",
            advice=say("it is SQL on the source's columns; names outside pg_catalog need their schema"),
            sqlstate=exc.sqlstate,
            code=1135,
        )
        return
    if unit.asked.merge.mode is MergeMode.FULL_SYNC and not _is_about(source, unit, where):
        yield Finding(
            kind=Kind.MERGE,
            object=str(unit.name),
            what=say(
                "the condition on {table} is about columns that are not merged: a full-sync could not tell which of "
                "the target's rows it means",
                table=str(table),
            ),
            where="where",
            advice=say("merge these columns too, or leave them out of the condition"),
            code=6645,
        )


def _is_about(source: Session, unit: Unit, where: str) -> bool:
    """Does the condition hold of the merged columns alone?"""
    columns = sql.SQL(", ").join(sql.Identifier(c) for c in unit.columns)
    rows = sql.SQL("SELECT {} FROM {}").format(columns, statements.identifier(unit.asked.source.name))
    probe = ABOUT.format(rows, sql.Identifier(unit.name.name), sql.SQL(where))
    try:
        with source.transaction():
            source.execute(probe)
    except TransientError:
        raise
    except PghaulError:
        return False
    return True


def in_order(found: Sequence[Unit], references: Mapping[Name, set[Name]]) -> list[Unit]:
    """Parents before children; what refers to each other in a ring stays as it was."""
    left = {u.name: u for u in found}
    ordered: list[Unit] = []
    while left:
        free = [n for n in left if not (references.get(n, set()) - {n}) & left.keys()]
        ordered += [left.pop(name) for name in free or list(left)[:1]]
    return ordered
