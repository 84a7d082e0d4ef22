"""A table that is to be made on the target and is not simply the source's: another name, other columns, another layout.

Tables that arrive as they are have none: pg_dump's own sections make those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pghaul.model.table import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """`source` lends columns, defaults, checks, indexes and comments; everything else is said here.

    With a parent it is a partition of it, or, without a bound, its child by inheritance.
    """

    name: Name
    source: Name
    columns: tuple[str, ...] | None = None  # None: all
    key: str = ""  # what stands behind PARTITION BY, composed; empty: it holds rows itself
    key_columns: tuple[str, ...] = ()  # what a unique index of it must contain
    parent: Name | None = None
    bound: str = ""  # FOR VALUES … or DEFAULT, composed
    without_indexes: tuple[str, ...] = ()  # names of the source's indexes that need columns which are gone
    bound_column: str = ""  # CHECKs on this column alone only repeat the bound, and are left out

    @property
    def partitioned(self) -> bool:
        """Holds no rows of its own."""
        return bool(self.key)


def parents_first(designs: Iterable[Design]) -> list[Design]:
    """In an order in which they can be created; the order given is kept otherwise."""
    waiting, done, ordered = list(designs), set[Name](), list[Design]()
    known = {d.name for d in waiting}
    while waiting:
        ready = [d for d in waiting if d.parent is None or d.parent in done or d.parent not in known]
        if not ready:
            raise ValueError(f"{waiting[0].name} is its own ancestor")
        ordered += ready
        done |= {d.name for d in ready}
        waiting = [d for d in waiting if d.name not in done]
    return ordered
