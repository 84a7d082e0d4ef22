"""What a merge compares, sets and takes for alive: the expressions that all of its statements are made of.

Rows are told apart as they are stored: 1.0 and 1.00 are equal numbers, and different content. Keys are equal as the
index sees it. Columns of the changes are numbered, so that no name of the target's can be in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.merging import MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.postgres.versions import Capabilities
from pghaul.target.merge_target import Column, Target, equals

Side: TypeAlias = Callable[[str], Composable]  # how a column is named there

COMMA, AND, OR, NOTHING = SQL(", "), SQL(" AND "), SQL(" OR "), SQL("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Of one merge: the target is `t`, what was staged `s`, the changes are `c`."""

    design: MergeDesign
    target: Target
    can: Capabilities

    # --- which columns, and what is done with them ---

    @property
    def others(self) -> list[Column]:
        """Merged columns that an UPDATE may set: not an identity that is GENERATED ALWAYS, and of the key what may be
        equal and yet look different.
        """
        kept = [self.target.column(c) for c in self.design.columns]
        return [c for c in kept if c.identity != "a" and not (c.name in self.design.key and c.exact)]

    @property
    def fixed(self) -> list[Column]:
        """Those that no UPDATE may set, outside the key."""
        kept = [self.target.column(c) for c in self.design.columns if c not in self.design.key]
        return [c for c in kept if c.identity == "a"]

    @property
    def compared(self) -> list[Column]:
        """A new version of a row is inserted, with all of its columns."""
        return self.others + (self.fixed if self.versions else [])

    @property
    def versions(self) -> bool:
        """Whether a row that changes leaves its former self behind."""
        return self.design.mode is MergeMode.SCD2

    @property
    def syncs(self) -> bool:
        """Whether rows that the staging lacks are taken away, marked or closed."""
        return self.design.mode is MergeMode.FULL_SYNC or (self.versions and self.design.whole)

    @property
    def guarded(self) -> bool:
        """Whether an index keeps the target from having a staged key twice. A deferrable one does, at its commit."""
        plain = not self.design.nulls_match and not self.versions and not self.target.inherited
        return plain and self.target.unique(self.design.key, immediate=True)

    @property
    def updates(self) -> bool:
        """Whether rows that are there are brought up to date."""
        return self.design.mode is not MergeMode.INSERT_ONLY

    @property
    def inserts(self) -> bool:
        """Whether rows that are not there are added."""
        return self.design.mode is not MergeMode.UPDATE_ONLY

    # --- expressions ---

    def same_key(self, left: Side, right: Side, *, nulls: bool = False) -> Composable:
        """NULL equals NULL inside a record, whose equality can be hashed or merged, as OR … IS NULL cannot."""
        key = [self.target.column(k) for k in self.design.key]
        if self.design.nulls_match or nulls:
            rows = [
                SQL("ROW({})::pg_catalog.record").format(COMMA.join([side(k.name) for k in key]))
                for side in (left, right)
            ]
            return SQL("{} OPERATOR(pg_catalog.=) {}").format(*rows)
        return AND.join([equals(k, left(k.name), right(k.name)) for k in key])

    def differ(self, left: Side, right: Side, columns: Sequence[Column]) -> Composable:
        """Where equal values are the same bytes, column by column, which takes half of the time; all others by the
        image of what is stored, before 9.4 by its text, which shows scales and signs as well.
        """
        words: list[Composable] = [
            SQL("{} IS DISTINCT FROM {}").format(left(c.name), right(c.name)) for c in columns if c.exact
        ]
        rest = [c for c in columns if not c.exact]
        if rest:
            form = SQL("ROW({})::pg_catalog.record" if self.can.record_image else "ROW({})::pg_catalog.text")
            rows = [form.format(COMMA.join([side(c.name) for c in rest])) for side in (left, right)]
            sign = "{} OPERATOR(pg_catalog.*<>) {}" if self.can.record_image else "{} IS DISTINCT FROM {}"
            words.append(SQL(sign).format(*rows))
        return SQL("(") + OR.join(words) + SQL(")") if words else SQL("false")

    def alive(self, side: Side | None = None) -> Composable:
        """A row that is not marked as deleted; of several versions the current one."""
        at = side or t
        if self.versions:
            return at(self.design.valid_to) + SQL(" IS NULL")
        if self.design.deleted is None:
            return SQL("true")
        return at(self.design.deleted) + SQL(" IS NOT TRUE" if self.flag else " IS NULL")

    def alike(self) -> Composable:
        """The target's row is alive, and holds what its change brings."""
        return SQL("(") + AND.join([SQL("NOT ") + self.differ(t, self.change, self.compared), self.alive()]) + SQL(")")

    def worth(self, side: Side) -> Composable:
        """An UPDATE that changes something."""
        return (
            SQL("(") + OR.join([self.differ(t, side, self.others), SQL("NOT (") + self.alive() + SQL(")")]) + SQL(")")
        )

    def own(self, column: str) -> Composable:
        """The target's, where it goes by its own name."""
        return Identifier(self.target.name.schema, self.target.name.name, column)

    def sets(self, side: Side) -> list[Composable]:
        """The assignments of an UPDATE; none where a new version takes the place of the old one."""
        if self.versions:
            return []
        found = [setting(c.name, side(c.name)) for c in self.others]
        if self.design.deleted is not None:
            found.append(setting(self.design.deleted, self.unmarked))
        return found

    @property
    def inserted(self) -> list[Column]:
        """All merged columns."""
        return [self.target.column(c) for c in self.design.columns]

    @property
    def given(self) -> list[tuple[str, Composable]]:
        """What an inserted row gets beside what was staged."""
        if self.versions:
            return [(self.design.valid_from, self.moment), (self.design.valid_to, SQL("NULL"))]
        return [] if self.design.deleted is None else [(self.design.deleted, self.unmarked)]

    @property
    def flag(self) -> bool:
        """The deletion column is a boolean."""
        return self.target.column(self.design.deleted or "").base == "bool"

    @property
    def unmarked(self) -> Composable:
        """What the deletion column of a living row holds."""
        return SQL("false") if self.flag else SQL("NULL")

    @property
    def moment(self) -> Composable:
        """As the column holds it: without a zone of its own, in UTC."""
        kind = self.target.column(self.design.valid_to if self.versions else self.design.deleted or "").type
        return SQL("{}::pg_catalog.timestamptz::").format(Literal(self.design.moment)) + SQL(kind)

    def change(self, column: str) -> Composable:
        """A change's."""
        return SQL("c.") + Identifier(f"c{self.design.columns.index(column)}")

    def numbered(self, column: str) -> Composable:
        """Of the target, as the changes number it."""
        return t(f"c{self.design.columns.index(column)}")


def s(column: str) -> Composable:
    """A staged row's."""
    return SQL("s.") + Identifier(column)


def t(column: str) -> Composable:
    """The target's."""
    return SQL("t.") + Identifier(column)


def excluded(column: str) -> Composable:
    """Of the row that was proposed for insertion."""
    return SQL("excluded.") + Identifier(column)


def setting(column: str, value: Composable) -> Composable:
    """One assignment of an UPDATE."""
    return Identifier(column) + SQL(" = ") + value
