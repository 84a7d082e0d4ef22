"""What a look at a database shows: schemas, tables, partition trees, with sizes and rows as estimates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pghaul.model.table import Name, RelationKind
from pghaul.model.tree import Finding, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Bytes and rows. `total` holds the heap, its indexes and what is stored out of line.

    `rows` sums what the catalogues know; of `unknown` relations they know nothing.
    """

    rows: int = 0
    unknown: int = 0
    heap: int = 0
    indexes: int = 0
    total: int = 0


def total(amounts: Iterable[Amount]) -> Amount:
    """All of them together."""
    found = list(amounts)
    return Amount(
        rows=sum(a.rows for a in found),
        unknown=sum(a.unknown for a in found),
        heap=sum(a.heap for a in found),
        indexes=sum(a.indexes for a in found),
        total=sum(a.total for a in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A table by itself."""

    name: Name
    kind: RelationKind
    amount: Amount
    clustered: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTree:
    """A tree with what its root and each of its members hold; `scale` says in words how its key tells time."""

    tree: Tree
    amounts: Mapping[Name, Amount]
    scale: str | None
    since: str | None  # the lowest bound as a local date; None: open, or there is none
    until: str | None  # the first that no bound takes any more
    spans: Mapping[Name, str]  # each member's bounds, for people

    @property
    def amount(self) -> Amount:
        """All of the tree."""
        return total(self.amounts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaSeen:
    """How much of everything a schema holds; `others` counts what is no table, by kind."""

    name: str
    tables: int
    amount: Amount
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`exact` is False where sizes are those of the last VACUUM, because somebody held a lock."""

    database: str
    version: str
    encoding: str
    timezone: str
    exact: bool
    schemas: tuple[SchemaSeen, ...]
    tables: tuple[Seen, ...]
    trees: tuple[SeenTree, ...]
    product: str = ""  # with its version, where it is not PostgreSQL …
    url: str = ""  # … and how it is reached, without a password

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is wrong, tree by tree."""
        return tuple(f for seen in self.trees for f in seen.tree.findings)
