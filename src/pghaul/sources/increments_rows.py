"""The query of one reading: what a person has stated, what the watermark keeps away, what has no order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier

from pghaul.model.plan import NullWatermarks
from pghaul.model.table import Name
from pghaul.sources.increments_sql import rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """`rows` is what stands behind FROM; `fresh` is true for rows at the mark and above, None where all are read;
    `no_order` for rows without a usable watermark, None where there can be none.
    """

    rows: Composable
    stated: Sequence[Composable]
    fresh: Composable | None
    no_order: Composable | None
    nulls: NullWatermarks

    @property
    def conditions(self) -> list[Composable]:
        """All that a row has to fulfil."""
        return [*self.stated, *self._fresh(), *self._ordered()]

    def query(self, columns: Sequence[str], newcomers: Sequence[Name]) -> Composable:
        """And all other rows of tables that have come into the tree since: their rows may be of any age."""
        read = _selecting(columns, self.rows, self.conditions)
        if self.fresh is None:
            return read
        left = SQL("({}) IS NOT TRUE").format(SQL(" AND ").join(self._fresh()))
        others = [*self.stated, *self._ordered(), left]
        rows = [SQL("ONLY {}").format(rows_of(name, None)) for name in newcomers]
        return SQL(" UNION ALL ").join([read, *(_selecting(columns, r, others) for r in rows)])

    def _fresh(self) -> list[Composable]:
        if self.fresh is None:
            return []
        if self.no_order is None or self.nulls is not NullWatermarks.INCLUDE:
            return [self.fresh]
        return [SQL("({} OR {})").format(self.fresh, self.no_order)]

    def _ordered(self) -> list[Composable]:
        """Where they are refused there are none: they were looked for in the same snapshot."""
        left_out = self.no_order is not None and self.nulls is NullWatermarks.EXCLUDE
        return [SQL("NOT {}").format(self.no_order)] if left_out and self.no_order is not None else []


def _selecting(columns: Sequence[str], rows: Composable, conditions: Sequence[Composable]) -> Composable:
    names = SQL(", ").join(map(Identifier, columns))
    if not conditions:
        return SQL("SELECT {} FROM {}").format(names, rows)
    return SQL("SELECT {} FROM {} WHERE {}").format(names, rows, SQL(" AND ").join(conditions))
