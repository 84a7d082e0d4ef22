"""The statements that make one designed table: composed from names, with the server's own texts for what is SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql
from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.design import Design
from pghaul.model.table import Name
from pghaul.target.blueprint import Blueprint, Check, ColumnPlan, Sequence

STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
GENERATED = {"s": "STORED", "v": "VIRTUAL"}
IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}


def create_sequence(name: Name, given: Sequence) -> Composable:
    """With its type where the target knows types of sequences: bigint is what all have."""
    kind = SQL("") if given.type == "bigint" else SQL(" AS ") + SQL(given.type)
    return SQL("CREATE SEQUENCE {}").format(_identifier(name)) + kind + _parameters(given)


def own_sequence(name: Name, table: Name, column: str) -> Composable:
    """It goes when its column goes."""
    return SQL("ALTER SEQUENCE {} OWNED BY {}").format(_identifier(name), Identifier(table.schema, table.name, column))


def create(
    design: Design, given: Blueprint, parent: Blueprint | None, sequences: Mapping[Name, tuple[Name, Sequence]]
) -> Iterator[Composable]:
    """CREATE TABLE, then what it cannot say. `parent`: the blueprint of what it becomes a partition of."""
    partition = parent is not None and bool(design.bound)
    yield _partition(design, given, parent) if partition and parent else _table(design, given, sequences)
    for column in given.kept(design.columns):
        if partition and parent and not design.partitioned:
            yield from _differences(design.name, column, parent, sequences)
        if column.storage in STORAGE and not column.generated:
            yield _alter(design.name, column, SQL("SET STORAGE ") + SQL(STORAGE[str(column.storage)]))
    yield from _comments(design, given)


def _table(design: Design, given: Blueprint, sequences: Mapping[Name, tuple[Name, Sequence]]) -> Composable:
    parts = [_column(c, sequences) for c in given.kept(design.columns)]
    parts += [_constraint(c) for c in kept_checks(design, given)]
    statement = SQL("CREATE {}TABLE {} (\n    {}\n)").format(
        _persistence(design, given), _identifier(design.name), SQL(",\n    ").join(parts)
    )
    if design.partitioned:
        return statement + SQL(" PARTITION BY ") + SQL(design.key)
    if design.parent is not None:
        statement += SQL(" INHERITS ({})").format(_identifier(design.parent))
    return statement + _options(given)


def _partition(design: Design, given: Blueprint, parent: Blueprint) -> Composable:
    """Columns, their defaults and the parent's CHECKs come from the parent."""
    known = {(c.name, c.definition) for c in parent.checks}
    checks = [_constraint(c) for c in kept_checks(design, given) if (c.name, c.definition) not in known]
    statement = SQL("CREATE {}TABLE {} PARTITION OF {} {}{}").format(
        _persistence(design, given),
        _identifier(design.name),
        _identifier(design.parent or design.name),
        SQL("(\n    {}\n) ").format(SQL(",\n    ").join(checks)) if checks else SQL(""),
        SQL(design.bound),
    )
    return statement + (SQL(" PARTITION BY ") + SQL(design.key) if design.partitioned else _options(given))


def kept_checks(design: Design, given: Blueprint) -> list[Check]:
    """Not those that repeat the partition's bound, nor those about columns that are gone."""
    kept = {c.name for c in given.kept(design.columns)}
    return [
        c
        for c in given.checks
        if set(c.columns) <= kept
        and not (c.bounds and c.columns == (design.bound_column,))
        and not (c.own_only and (design.partitioned or design.bound))
    ]


def _column(column: ColumnPlan, sequences: Mapping[Name, tuple[Name, Sequence]]) -> Composable:
    parts = [Identifier(column.name), SQL(column.type)]
    if column.collation:
        parts += [SQL("COLLATE"), SQL(column.collation)]
    if column.generated:
        parts.append(
            SQL("GENERATED ALWAYS AS ({}) {}").format(SQL(column.default or ""), SQL(GENERATED[column.generated]))
        )
    elif column.identity:
        parts.append(_identity(column, sequences))
    elif (default := _default(column, sequences)) is not None:
        parts += [SQL("DEFAULT"), default]
    if column.not_null:
        parts.append(SQL("NOT NULL"))
    return SQL(" ").join(parts)


def _identity(column: ColumnPlan, sequences: Mapping[Name, tuple[Name, Sequence]]) -> Composable:
    word = SQL("GENERATED {} AS IDENTITY").format(SQL(IDENTITY[column.identity]))
    if column.sequence is None or column.sequence not in sequences:
        return word
    name, given = sequences[column.sequence]
    return word + SQL(" (SEQUENCE NAME {}{})").format(_identifier(name), _parameters(given))


def _default(column: ColumnPlan, sequences: Mapping[Name, tuple[Name, Sequence]]) -> Composable | None:
    """Of a default that does more than call a sequence of the table's, the old name cannot be replaced: it is lost."""
    if column.default is None:
        return None
    if column.calls is None or column.calls not in sequences:
        return SQL(column.default)
    if not column.only_calls:
        return None
    name = _identifier(sequences[column.calls][0]).as_string(None)
    return SQL("pg_catalog.nextval({}::pg_catalog.regclass)").format(Literal(name))


def _differences(
    table: Name, column: ColumnPlan, parent: Blueprint, sequences: Mapping[Name, tuple[Name, Sequence]]
) -> Iterator[Composable]:
    """What a partition says of a column other than its parent does."""
    above = next(c for c in parent.columns if c.name == column.name)
    if column.not_null and not above.not_null:
        yield _alter(table, column, SQL("SET NOT NULL"))
    if column.generated or column.identity or above.identity or column.default == above.default:
        return
    default = _default(column, sequences)
    yield _alter(table, column, SQL("DROP DEFAULT") if default is None else SQL("SET DEFAULT ") + default)


def _alter(table: Name, column: ColumnPlan, what: Composable) -> Composable:
    return SQL("ALTER TABLE ONLY {} ALTER COLUMN {} ").format(_identifier(table), Identifier(column.name)) + what


def _constraint(check: Check) -> Composable:
    return SQL("CONSTRAINT {} ").format(Identifier(check.name)) + SQL(check.definition.removesuffix(" NOT VALID"))


def _parameters(given: Sequence) -> Composable:
    cycle = SQL(" CYCLE") if given.cycle else SQL("")
    return (
        SQL(" INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE {}").format(
            *(Literal(n) for n in (given.step, given.low, given.high, given.start, given.cache))
        )
        + cycle
    )


def _persistence(design: Design, given: Blueprint) -> Composable:
    return SQL("UNLOGGED ") if given.unlogged and not design.partitioned else SQL("")


def _options(given: Blueprint) -> Composable:
    return SQL(" WITH ({})").format(SQL(given.options)) if given.options else SQL("")


def _comments(design: Design, given: Blueprint) -> Iterator[Composable]:
    if given.comment and (design.parent is None or not design.bound):
        yield SQL("COMMENT ON TABLE {} IS {}").format(_identifier(design.name), Literal(given.comment))
    for column in given.kept(design.columns):
        if column.comment:
            yield SQL("COMMENT ON COLUMN {} IS {}").format(
                Identifier(design.name.schema, design.name.name, column.name), Literal(column.comment)
            )


def _identifier(name: Name) -> sql.Identifier:
    return Identifier(name.schema, name.name)
