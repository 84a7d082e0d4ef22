"""Where rows come from and where they go: one target leaf, and the source relations that fill it.

A plain table is one origin without a condition. Rows left in an inheritance parent, a period that cuts a partition,
a WHERE, a subset of columns, a flat table that becomes partitions: all of them are a leaf filled from a query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pghaul.model.table import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Rows of one source relation itself, never its children: all, or those that `where` keeps.

    `where` is a composed SQL condition on the relation's columns, complete as it stands; empty keeps all rows.
    """

    table: Name
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The unit of the plan: what fills one target relation. Over all placements a row of the source stands once."""

    target: Name
    origins: tuple[Origin, ...]
    columns: tuple[str, ...] | None = None  # None: all that can be copied

    def __post_init__(self) -> None:
        """A leaf that nothing fills is a mistake of the planner."""
        if not self.origins:
            raise ValueError(f"nothing fills {self.target}")

    @property
    def source(self) -> Name:
        """The relation whose columns the target takes: the first origin."""
        return self.origins[0].table

    @property
    def plain(self) -> bool:
        """One relation with all its rows and columns: COPY reads the table itself."""
        return len(self.origins) == 1 and not self.origins[0].where and self.columns is None

    @property
    def partial(self) -> bool:
        """Some rows of the source stay behind, as far as can be said from here."""
        return any(o.where for o in self.origins)

    @classmethod
    def same(cls, table: Name) -> Placement:
        """A table that arrives as it is."""
        return cls(target=table, origins=(Origin(table=table),))


def shares(placements: Iterable[Placement]) -> Counter[Name]:
    """Over how many targets the rows of each source relation are spread: estimates are divided by it."""
    return Counter(o.table for p in placements for o in p.origins)
