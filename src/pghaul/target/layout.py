"""Tables that are made anew on the target, as pg_dump cannot write them: other names, fewer columns, another layout.

Both halves skip what is there, so that a resume may call them again. What the tables need (types, functions, schemas …)
has been brought by pg_dump's sections before: see scope.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.design import Design, parents_first
from pghaul.model.errors import PghaulError, StoppedError, TransientError
from pghaul.model.table import Name, RelationKind, Table, Unsupported
from pghaul.model.text import say, saying, words_of
from pghaul.postgres.session import Session
from pghaul.target import _design_ddl, blueprint, retarget
from pghaul.target._design_sql import CLUSTERED, CONSTRAINTS_PRESENT, FOREIGN_KEYS, PRESENT
from pghaul.target.blueprint import Blueprint
from pghaul.target.root_indexes import RootIndex, root_indexes

BATCH = 500  # tables a transaction: each takes three locks or so, and the server's table of them holds a few thousand
OWN_ROWS = say("an inheritance parent's key holds for its own rows alone, a partitioned table's for all")
REFUSED = saying("the target refuses it on {table}: {why}")
ADD = SQL("ALTER TABLE {} ADD CONSTRAINT {} ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What was built after the rows, and what the target would not take."""

    built: tuple[str, ...]
    refused: tuple[Unsupported, ...]


def create(source: Session, target: Session, designs: Sequence[Design]) -> list[str]:
    """Create what is missing, parents first; returns what was created."""
    plans = blueprint.blueprints(source, (d.source for d in designs))
    there = present(target, (d.name for d in designs))
    renamed = sequence_names(designs, plans)
    facts = blueprint.sequences(source, renamed)
    known = {old: (new, facts[old]) for old, new in renamed.items()}
    sources = {d.name: d.source for d in designs}
    missing = [d for d in parents_first(designs) if d.name not in there]
    for start in range(0, len(missing), BATCH):
        with target.transaction():
            for design in missing[start : start + BATCH]:
                parent = plans[sources[design.parent]] if design.parent in sources else None
                made = _own_sequences(designs, design, plans[design.source], known)
                for statement in _statements(design, plans[design.source], parent, known, made):
                    target.execute(statement)
    return [say("table {name}", name=str(d.name)) for d in missing]


def _statements(
    design: Design,
    given: Blueprint,
    parent: Blueprint | None,
    known: Mapping[Name, tuple[Name, blueprint.Sequence]],
    made: Mapping[str, Name],
) -> Iterator[Composable]:
    yield SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(design.name.schema))
    for old in made.values():
        yield _design_ddl.create_sequence(*known[old])
    yield from _design_ddl.create(design, given, parent, known)
    for column, old in made.items():
        yield _design_ddl.own_sequence(known[old][0], design.name, column)


def _own_sequences(
    designs: Sequence[Design],
    design: Design,
    given: Blueprint,
    known: Mapping[Name, tuple[Name, blueprint.Sequence]],
) -> dict[str, Name]:
    """By column, the sequences that are made for this table: of several from one source, the first owns them."""
    if next(d for d in designs if d.source == design.source) is not design:
        return {}
    columns = (c for c in given.kept(design.columns) if c.sequence in known and not c.identity)
    return {c.name: c.sequence for c in columns if c.sequence is not None}


def sequence_names(designs: Sequence[Design], plans: Mapping[Name, Blueprint]) -> dict[Name, Name]:
    """The target's name of every sequence that a column of a design owns on the source."""
    names: dict[Name, Name] = {}
    for design in designs:
        for column in plans[design.source].kept(design.columns):
            if column.sequence is not None and column.sequence not in names:
                new = retarget.derived(column.sequence.name, design.source.name, design.name.name)
                names[column.sequence] = Name(design.name.schema, new)
    return names


def renamed_sequences(source: Session, designs: Sequence[Design]) -> dict[Name, Name]:
    """The same, looked up."""
    return sequence_names(designs, blueprint.blueprints(source, (d.source for d in designs))) if designs else {}


def present(target: Session, names: Iterable[Name]) -> dict[Name, Name | None]:
    """Those of these relations that the target has, with their parent there."""
    wanted = list(names)
    rows = target.rows(PRESENT, ([n.schema for n in wanted], [n.name for n in wanted]))
    return {Name(s, n): Name(ps, p) if p else None for s, n, ps, p in rows}


def finish(
    source: Session, target: Session, designs: Sequence[Design], made: Collection[Name], tables: Mapping[Name, Table]
) -> Finished:
    """The indexes and constraints of partitioned tables, which adopt those of their partitions, then foreign keys.

    Only on those that this run has `made`, be it by these designs or not; `tables` are the source's.
    """
    found = root_indexes(source, designs, tables, target.server.capabilities)
    built = [_built(target, i) for i in found.wanted if i.table in made]
    keys = _Keys(source=source, target=target, designs=designs, made=made, tables=tables)
    added, refused = keys.add()
    _mark_clustered(source, target, [d for d in designs if d.name in made and not d.partitioned])
    return Finished(built=(*(b for b in built if b), *added), refused=refused)


def _built(target: Session, wanted: RootIndex) -> str:
    """Inner partitioned tables come before outer ones: what exists is adopted, not built again."""
    index, name = wanted.index, wanted.table
    there = target.rows(SQL("SELECT pg_catalog.to_regclass({})").format(_text(Name(name.schema, index.name))))
    if there[0][0] is not None:
        return ""
    if index.constraint is not None and index.constraint_definition is not None:
        statement = ADD.format(Identifier(name.schema, name.name), Identifier(index.constraint))
        target.execute(statement + SQL(index.constraint_definition))
        return say("constraint {name} on {table}", name=index.constraint, table=str(name))
    target.execute(SQL(index.definition))
    return say("index {name}", name=str(Name(name.schema, index.name)))


def _text(name: Name) -> Composable:
    return Literal(Identifier(name.schema, name.name).as_string(None))


def _mark_clustered(source: Session, target: Session, designs: Sequence[Design]) -> None:
    """The mark of CLUSTER follows its index; a partitioned table has none."""
    names = sorted({d.source for d in designs})
    rows = source.rows(CLUSTERED, ([n.schema for n in names], [n.name for n in names])) if names else []
    marked = {Name(s, t): i for s, t, i in rows}
    for design in designs:
        index = marked.get(design.source)
        if index is not None and index not in design.without_indexes:
            name = retarget.derived(index, design.source.name, design.name.name)
            target.execute(
                SQL("ALTER TABLE {} CLUSTER ON {}").format(
                    Identifier(design.name.schema, design.name.name), Identifier(name)
                )
            )


class _Keys:
    """Foreign keys with an end among the designs: they follow the tables that they joined."""

    def __init__(
        self,
        *,
        source: Session,
        target: Session,
        designs: Sequence[Design],
        made: Collection[Name],
        tables: Mapping[Name, Table],
    ) -> None:
        self._source, self._target, self._made, self._tables = source, target, made, tables
        self._heads: dict[Name, Design] = {}
        for design in designs:
            self._heads.setdefault(design.source, design)
        plain = {d.name: d.source for d in designs if d.partitioned and tables[d.source].kind is RelationKind.TABLE}
        other = {d.parent for d in designs if d.parent in plain and d.source != plain[d.parent]}
        self._parents = {source for name, source in plain.items() if name in other}  # of inheritance

    def add(self) -> tuple[tuple[str, ...], tuple[Unsupported, ...]]:
        """What was built, and what could not be, by name."""
        if not self._heads:
            return (), ()
        names = list(self._heads)
        rows = self._source.rows(FOREIGN_KEYS, ([n.schema for n in names], [n.name for n in names]))
        built, refused = [], []
        for schema, table, key, ref_schema, ref_table, definition, *_ in rows:
            old, ref = Name(schema, table), Name(ref_schema, ref_table)
            if not {old, ref} <= self._tables.keys():
                continue  # listed with the tables that were not selected
            new = self._heads[old].name if old in self._heads else old
            if new not in self._made:
                continue  # a table that was there keeps what it has
            why = OWN_ROWS if old in self._parents else self._try(new, key, definition)
            if why is None:
                built.append(say("constraint {name} on {table}", name=key, table=str(new)))
            elif why:
                refused.append(Unsupported(kind="FK CONSTRAINT", name=f"{old}.{key}", why=why))
        return tuple(built), tuple(refused)

    def _try(self, table: Name, key: str, definition: str) -> str | None:
        """None when it was added, '' when it is there, else why it cannot be."""
        there = self._target.rows(CONSTRAINTS_PRESENT, ([table.schema], [table.name]))
        if key in {k for _, _, k in there}:
            return ""
        try:
            text = retarget.foreign_key(definition, {old: d.name for old, d in self._heads.items()})
            with self._target.transaction():
                self._target.execute(ADD.format(Identifier(table.schema, table.name), Identifier(key)) + SQL(text))
        except (StoppedError, TransientError):
            raise
        except (PghaulError, ValueError) as exc:
            why = exc.message if isinstance(exc, PghaulError) else words_of(exc)
            return REFUSED.format(table=str(table), why=why)
        return None
