"""What a reading is in anybody's SQL: its condition; and the names that the table has to have for it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pghaul.model.errors import NotFoundError, ShapeChangedError
from pghaul.model.foreign import KeyRange, Reading
from pghaul.model.text import listed, say


def where_clause(where: str | None, range_: KeyRange | None, quoted: Callable[[str], str]) -> str:
    """ " WHERE …", or nothing. A person's condition on lines of its own: it may end with a comment."""
    parts = [f"(\n{where}\n)"] if where else []
    if range_ is not None and (within := range_condition(range_, quoted(range_.column))):
        parts.append(within)
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def range_condition(range_: KeyRange, key: str) -> str:
    """`key` is quoted. A NULL key belongs to the first range."""
    ends = [f"{key} >= {range_.low}"] if range_.low is not None else []
    ends += [f"{key} < {range_.high}"] if range_.high is not None else []
    condition = " AND ".join(ends)
    return f"({condition} OR {key} IS NULL)" if range_.low is None and ends else condition


def check_names(reading: Reading, known: Collection[str], where: str) -> None:
    """`known` are the columns that the table has now: none, and there is no table."""
    table = reading.table.name
    if not known:
        raise NotFoundError(say("there is no table {name}", name=table), where=where, code=5262)
    names = {*(c.name for c in reading.columns if not c.expression), *reading.ordered}
    if reading.range:
        names.add(reading.range.column)
    if missing := sorted(n for n in names if n not in known):
        raise ShapeChangedError(
            say("table {name} has no column {columns}", name=table, columns=listed(missing)),
            where=where,
            code=5810,
        )
