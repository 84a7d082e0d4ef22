"""Partition trees, declarative and by inheritance, in one shape; and what is wrong with them, named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, reduce
from typing import Any

from pghaul.model.bounds import Authority, Bounds, Strategy, Value, low_order
from pghaul.model.table import Name, RelationKind


class TreeKind(Enum):
    DECLARATIVE = "declarative"
    INHERITANCE = "inheritance"  # children that inherit; the parent may hold rows of its own


class Problem(Enum):
    """What makes a tree other than one would think."""

    OVERLAP = "overlap"  # a key may lie in two children
    GAP = "gap"  # a key between two children belongs to none
    NO_BOUNDS = "no bounds"  # nothing says what may lie in a child
    NOT_PLAIN = "not a plain bound"  # a constraint that is no comparison with constants
    NOT_VALID = "not validated"  # a constraint that old rows may break
    LOCKED = "locked"  # its CHECKs could not be read
    OWN_ROWS = "rows of its own"  # an inheritance parent that is not empty
    REGISTRY = "registry"  # the registry of partitions says something else
    TIMEZONE = "time zone"  # bounds that are no midnights in the time zone that was given


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    problem: Problem
    table: Name
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A relation below a root. `said` is all that is known of its keys, whatever the column and whoever says so."""

    name: Name
    parent: Name
    kind: RelationKind
    depth: int
    has_children: bool = False
    said: tuple[Bounds, ...] = ()
    expression: str = ""  # the bounds as the server writes them
    not_null: frozenset[str] = frozenset()  # of the columns that any bounds are about
    unread: bool = False  # somebody holds a lock on it: what its CHECKs say is not known
    clustered: str | None = None  # the index that CLUSTER remembers
    pages: int = 0  # as of the last VACUUM or ANALYZE
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A root and all below it, parents first, each level in the order of its bounds."""

    root: Name
    kind: TreeKind
    members: tuple[Member, ...]
    strategy: Strategy | None = None  # of the root; None where no child is bounded
    key: str = ""  # the column that the root's children are told apart by; empty: an expression, or unknown
    key_definition: str = ""  # RANGE (issued_date), as the server writes it
    columns: Mapping[str, str] = field(default_factory=dict)  # of the root, with their types
    own_rows: bool | None = False  # of the root itself; None: it was not to be found out
    routes: tuple[str, ...] = ()  # what sends new rows from the root to its children
    findings: tuple[Finding, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[Name, Member]:
        """The members."""
        return {m.name: m for m in self.members}

    @property
    def leaves(self) -> Iterator[Member]:
        """Members without children."""
        return (m for m in self.members if not m.has_children)

    def bounds(self, member: Member, column: str | None = None) -> Bounds | None:
        """What may lie in a member by the column, by default the key: its own bounds and its ancestors'.

        None where nothing is said. Claims (`trusted` is False) count only where nobody holds to anything.
        """
        asked = (member.name, self.key if column is None else column)
        if asked not in self._known:
            said = list(self._reach(member, asked[1]))
            held = [b for b in said if b.trusted] or said
            self._known[asked] = reduce(_met, held) if held else None
        return self._known[asked]

    def extent(self, column: str | None = None) -> tuple[Value | None, Value | None] | None:
        """From the lowest bound to the highest, as `Bounds.ends` says them; None where nothing is bounded."""
        found = [b for m in self.members if (b := self.bounds(m, column)) is not None and b.is_range]
        if not found:
            return None
        highs: list[Any] = [b.ends[1] for b in found]
        return min(found, key=low_order).ends[0], None if None in highs else max(highs)

    @cached_property
    def _known(self) -> dict[tuple[Name, str], Bounds | None]:
        """Answers that were given: ten thousand members are asked several times each."""
        return {}

    def _reach(self, member: Member, column: str) -> Iterator[Bounds]:
        """Declared bounds hold for all that is below; a CHECK is inherited by copies, so each has its own."""
        at: Member | None = member
        while at is not None:
            for bounds in at.said:
                mine = at is member or bounds.authority is Authority.DECLARED
                if mine and bounds.column == column and bounds.strategy in {Strategy.RANGE, Strategy.LIST}:
                    yield bounds
            at = self.by_name.get(at.parent)


def _met(one: Bounds, other: Bounds) -> Bounds:
    if Strategy.LIST in {one.strategy, other.strategy}:
        return one if one.strategy is Strategy.LIST else other  # never too narrow
    return one.intersect(other)
