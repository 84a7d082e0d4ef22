"""Every statement of a merge, composed from names by psycopg.sql. No connection in sight.

The rows that make a difference are found by one pass over staging and target and laid down in a table of *changes*
(new, different, gone), which the statements that write then read: so what is the same costs a comparison and nothing
else, and how many rows each statement has to touch is known before it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.merging import MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.versions import Capabilities
from pghaul.target.merge_target import Target, quoted
from pghaul.target.merge_terms import AND, COMMA, NOTHING, OR, Side, Terms, excluded, s, setting, t

NEW, DIFFERENT, GONE = "n", "d", "g"

LOCK = SQL("LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")
DECIDE = SQL(
    'SELECT {verdict}::pg_catalog."char" AS verdict, {values}'
    " FROM {staging} AS s {join} JOIN {there} AS t ON {same_key} WHERE {counts}{order}"
)
# Rows that are looked up in this order stay in it; other joins have none, so changes are put into that of the target.
IN_ORDER = SQL("(SELECT o.ctid, o.* FROM {staging} AS o ORDER BY {key})")
BY_PLACE = SQL(" ORDER BY t.place")
CHANGES = SQL("CREATE UNLOGGED TABLE {changes} WITH (autovacuum_enabled = false) AS {decide}")
AGAIN = SQL("INSERT INTO {changes} {decide}")
FORGET = SQL("DELETE FROM {changes} WHERE verdict <> 'g'")
VERDICTS = SQL("SELECT c.verdict::pg_catalog.text, pg_catalog.count(*) FROM {changes} AS c GROUP BY 1")
AMBIGUOUS = SQL(
    "SELECT ROW({key})::pg_catalog.text FROM {staging} AS s JOIN {there} AS t ON {same_key}"
    " GROUP BY {key} HAVING pg_catalog.count(*) > 1 LIMIT 3"
)
FIXED = SQL(
    "SELECT ROW({key})::pg_catalog.text FROM {changes} AS c JOIN {target} AS t ON {same_key}"
    " WHERE c.verdict = 'd' AND {differ} LIMIT 3"
)

# What is gone is found again by its condition, with the target under its own name, as in the condition itself.
REACHED = SQL("{alive} AND EXISTS (SELECT 1 FROM {changes} AS c WHERE c.verdict = 'g' AND {same_key}){scope}")
DELETE = SQL("DELETE FROM {target} WHERE {reached}")
MARK = SQL("UPDATE {target} SET {sets} WHERE {reached}")
KEPT = SQL("SELECT pg_catalog.count(*) FROM {target} WHERE {reached}")
CLOSE = SQL("UPDATE {target} AS t SET {sets} FROM {changes} AS c WHERE c.verdict = 'd' AND {same_key} AND {alive}")
UPDATE = SQL("UPDATE {target} AS t SET {sets} FROM {changes} AS c WHERE c.verdict = 'd' AND {same_key} AND {differ}")
INSERT = SQL(
    "INSERT INTO {target}{alias} ({columns}) {overriding}SELECT {values} FROM {changes} AS c WHERE {which}{rest}"
)
DO_NOTHING = SQL(" ON CONFLICT ({key}) DO NOTHING")
DO_UPDATE = SQL(" ON CONFLICT ({key}) DO UPDATE SET {sets} WHERE {differ}")
# xmax of a row that this command has inserted is 0; one that it has updated it had locked before.
COUNTED = SQL(
    "WITH written AS ({insert} RETURNING t.xmax = '0'::pg_catalog.xid AS fresh)"
    " SELECT pg_catalog.count(CASE WHEN fresh THEN 1 END), pg_catalog.count(CASE WHEN NOT fresh THEN 1 END)"
    " FROM written"
)
ABSENT = SQL("NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {same_key})")
# Rows that others have brought where we wanted them stay there until we commit.
ALIKE = SQL(
    "SELECT pg_catalog.count(*) FROM (SELECT 1 FROM {changes} AS c JOIN {target} AS t ON {same_key}"
    " WHERE {verdicts} AND {alike}{hold}) AS a"
)
HOLD = SQL(" FOR SHARE OF t")
STAGED_ALIKE = SQL("SELECT pg_catalog.count(*) FROM {staging} AS s JOIN {target} AS t ON {same_key} WHERE NOT {differ}")
LET_GO = SQL(
    "WITH held AS (SELECT c.ctid AS place FROM {changes} AS c JOIN {target} AS t ON {same_key}"
    " WHERE c.verdict = 'd' FOR SHARE OF t)"
    " DELETE FROM {changes} AS c WHERE c.verdict = 'd'"
    " AND NOT EXISTS (SELECT 1 FROM held AS h WHERE h.place = c.ctid)"
)
FOUND = SQL(
    "SELECT pg_catalog.count(*), pg_catalog.count(CASE WHEN {alike} THEN 1 END)"
    " FROM {changes} AS c JOIN {target} AS t ON {same_key} WHERE {verdicts}"
)
OVERLAP = SQL(
    "SELECT pg_catalog.count(*) FROM {changes} AS c JOIN {target} AS t ON {same_key}"
    " WHERE c.verdict <> 'n' AND {alive} AND t.{valid_from} >= {moment}"
)
ANALYZE = SQL("ANALYZE {table} ({columns})")
DROP = SQL("DROP TABLE {changes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The statements of one merge. `locked`: the target is locked, so nobody else writes to it. `lookups`: staged rows
    are looked up one by one.
    """

    terms: Terms
    changes: Name
    locked: bool
    lookups: bool = False

    @property
    def design(self) -> MergeDesign:
        return self.terms.design

    @property
    def target(self) -> Target:
        return self.terms.target

    # --- before anything is written ---

    def lock(self) -> Composable:
        return LOCK.format(target=quoted(self.target.name))

    def ambiguous(self) -> Composable:
        """Staged keys that the target has more than once."""
        return AMBIGUOUS.format(
            staging=self._staging,
            key=self._staged_key,
            there=self._there(),
            same_key=self.terms.same_key(self.terms.numbered, s),
        )

    def create_changes(self) -> Composable:
        return CHANGES.format(changes=quoted(self.changes), decide=self._decide(gone=self.terms.syncs))

    def decide_again(self) -> Sequence[Composable]:
        """What is gone has been dealt with by then."""
        changes = quoted(self.changes)
        return FORGET.format(changes=changes), AGAIN.format(changes=changes, decide=self._decide(gone=False))

    def verdicts(self) -> Composable:
        return VERDICTS.format(changes=quoted(self.changes))

    def fixed_changes(self) -> Composable:
        """Keys of rows that would need another number in an identity that is GENERATED ALWAYS."""
        return FIXED.format(
            key=COMMA.join([self.terms.change(k) for k in self.design.key]),
            differ=self.terms.differ(t, self.terms.change, self.terms.fixed),
            **self._joined,
        )

    def overlap(self) -> Composable:
        """Current versions that would end before they began."""
        return OVERLAP.format(
            alive=self.terms.alive(),
            valid_from=Identifier(self.design.valid_from),
            moment=self.terms.moment,
            **self._joined,
        )

    # --- what writes ---

    def remove(self) -> Composable:
        """What the staging lacks."""
        target, reached = quoted(self.target.name), self._reached(self.terms.alive(self.terms.own))
        if self.terms.versions:
            return MARK.format(target=target, sets=setting(self.design.valid_to, self.terms.moment), reached=reached)
        if self.design.deleted is None:
            return DELETE.format(target=target, reached=reached)
        mark = SQL("true") if self.terms.flag else self.terms.moment
        return MARK.format(target=target, sets=setting(self.design.deleted, mark), reached=reached)

    def kept(self) -> Composable:
        """Rows that `remove` should have taken, and that are still there."""
        return KEPT.format(target=quoted(self.target.name), reached=self._reached(self.terms.alive(self.terms.own)))

    def marked(self) -> Composable:
        """Rows that are marked, and still there."""
        dead = SQL("NOT ({})").format(self.terms.alive(self.terms.own))
        return KEPT.format(target=quoted(self.target.name), reached=self._reached(dead))

    def update(self) -> Composable | None:
        """None where there is nothing that could be set."""
        if self.terms.versions:
            return CLOSE.format(
                sets=setting(self.design.valid_to, self.terms.moment), alive=self.terms.alive(), **self._joined
            )
        sets = self.terms.sets(self.terms.change)
        if not sets:
            return None
        return UPDATE.format(sets=COMMA.join(sets), differ=self.terms.worth(self.terms.change), **self._joined)

    def insert(self, *, all_missing: bool) -> tuple[Composable, bool]:
        """With whether it tells inserted and updated apart; else what it returns is the number of inserted rows.

        `all_missing`: also those that had been there when the changes were found.
        """
        counted = not self.locked and self.terms.updates and bool(self.terms.sets(excluded)) and self.target.kind == "r"
        which = self._missing(all_missing=all_missing)
        statement = self._insert(changes=quoted(self.changes), which=which, counted=counted)
        return (COUNTED.format(insert=statement), True) if counted else (statement, False)

    def _insert(self, *, changes: Composable, which: Composable, counted: bool) -> Composable:
        names = [c.name for c in self.terms.inserted]
        values = [self.terms.change(n) for n in names]
        for name, value in self.terms.given:
            names, values = [*names, name], [*values, value]
        return INSERT.format(
            target=quoted(self.target.name),
            alias=SQL(" AS t") if counted else NOTHING,
            columns=COMMA.join([Identifier(n) for n in names]),
            overriding=SQL("OVERRIDING SYSTEM VALUE " if any(c.identity for c in self.terms.inserted) else ""),
            values=COMMA.join(values),
            changes=changes,
            which=which,
            rest=self._rest(self.terms.sets(excluded), counted=counted),
        )

    @property
    def at_once(self) -> bool:
        """Whether one statement may do it all. It proposes every row as a new one: so no default may be drawn from a
        sequence, no column be missing, and no trigger fire for a row that is updated after all.
        """
        own = {c.name for c in self.target.columns if not c.generated} == set(self.design.columns)
        plain = not (self.locked or self.target.triggers or self.target.hidden or self.terms.fixed)
        upsert = self.design.mode is MergeMode.UPSERT and self.design.deleted is None
        return own and plain and upsert and self.target.kind == "r" and bool(self.terms.sets(excluded))

    def insert_at_once(self) -> Composable:
        """How many rows it has inserted, and how many updated; what is alike it leaves alone."""
        insert = self._insert(
            changes=SQL("({})").format(self._decide(gone=False, ordered=False)), which=SQL("true"), counted=True
        )
        return COUNTED.format(insert=insert)

    def staged_alike(self) -> Composable:
        """How many staged rows the target holds as they are."""
        return STAGED_ALIKE.format(
            staging=self._in_order() if self.lookups else self._staging,
            target=quoted(self.target.name),
            same_key=self.terms.same_key(t, s),
            differ=self.terms.differ(t, s, self.terms.compared),
        )

    # --- what came of it ---

    def alike(self, verdicts: Sequence[str], *, present: bool = False, hold: bool = False) -> Composable:
        """How many changes with these verdicts the target holds by now; with `present`, whatever their content."""
        return ALIKE.format(
            verdicts=self._verdicts(verdicts),
            alike=self.terms.alive() if present else self.terms.alike(),
            hold=HOLD if hold else NOTHING,
            **self._joined,
        )

    def let_go(self) -> Composable:
        """Forget changes to rows that others have taken away; the other rows stay until we commit."""
        return LET_GO.format(**self._joined)

    def found(self, verdicts: Sequence[str]) -> Composable:
        """Changes with these verdicts that are there, and those of them that are alike, where that is verified."""
        there = AND.join([self._verdicts(verdicts), self.terms.alive()])
        alike = self.terms.alike() if self.design.verify else SQL("true")
        return FOUND.format(alike=alike, verdicts=there, **self._joined)

    def drop_changes(self) -> Composable:
        return DROP.format(changes=quoted(self.changes))

    def analyze_changes(self) -> Composable:
        numbers = [Identifier(f"c{self.design.columns.index(k)}") for k in self.design.key]
        return ANALYZE.format(table=quoted(self.changes), columns=COMMA.join([Identifier("verdict"), *numbers]))

    # --- their parts ---

    def _decide(self, *, gone: bool, ordered: bool = True) -> Composable:
        there, at = SQL("t.place IS NOT NULL"), self.terms.numbered
        differs = [self.terms.differ(at, s, self.terms.compared)]
        if self.design.deleted is not None:
            differs.append(SQL("t.marked"))
        different = SQL("({} AND s.ctid IS NOT NULL AND ({}))").format(there, OR.join(differs))
        counts = [SQL("t.place IS NULL"), different]
        counts += [SQL("(s.ctid IS NULL AND t.in_reach)")] if gone else []
        values = [self._value(c, at) + SQL(" AS ") + Identifier(f"c{i}") for i, c in enumerate(self.design.columns)]
        return DECIDE.format(
            verdict=SQL("CASE WHEN t.place IS NULL THEN 'n' WHEN s.ctid IS NULL THEN 'g' ELSE 'd' END"),
            values=COMMA.join(values),
            staging=self._in_order() if self.lookups and not gone else self._staging,
            join=SQL("FULL" if gone else "LEFT"),
            there=self._there(),
            same_key=self.terms.same_key(at, s),
            counts=OR.join(counts),
            order=BY_PLACE if ordered and not self.lookups else NOTHING,
        )

    def _in_order(self) -> Composable:
        key = COMMA.join([SQL("o.") + Identifier(k) for k in self.design.key])
        return IN_ORDER.format(staging=self._staging, key=key)

    def _value(self, column: str, at: Side) -> Composable:
        if self.terms.syncs and column in self.design.key:
            return SQL("CASE WHEN s.ctid IS NULL THEN {} ELSE {} END").format(at(column), s(column))
        return s(column)

    def _there(self) -> Composable:
        """The target as it is decided upon: numbered columns, and whether a row can be taken away."""
        values = [Identifier(c) + SQL(" AS ") + Identifier(f"c{i}") for i, c in enumerate(self.design.columns)]
        bare: Side = Identifier
        marked = SQL("NOT (") + self.terms.alive(bare) + SQL(") AS marked")
        reach: list[Composable] = [SQL("({})").format(self.terms.alive(bare))]
        reach += [SQL(f"(\n{self.design.scope}\n)")] if self.design.scope else []
        where = SQL(" WHERE ") + self.terms.alive(bare) if self.terms.versions else NOTHING
        return SQL("(SELECT ctid AS place, {}, {}, ({}) IS TRUE AS in_reach FROM {}{})").format(
            COMMA.join(values), marked, AND.join(reach), quoted(self.target.name), where
        )

    def _missing(self, *, all_missing: bool) -> Composable:
        wanted = self._verdicts((NEW, DIFFERENT) if self.terms.versions or all_missing else (NEW,))
        if not all_missing:
            return wanted
        return AND.join(
            [wanted, ABSENT.format(target=quoted(self.target.name), same_key=self.terms.same_key(t, self.terms.change))]
        )

    def _rest(self, sets: Sequence[Composable], *, counted: bool) -> Composable:
        if self.locked:
            return NOTHING
        key = COMMA.join([Identifier(k) for k in self.design.key])
        if not counted:
            return DO_NOTHING.format(key=key)
        return DO_UPDATE.format(key=key, sets=COMMA.join(sets), differ=self.terms.worth(excluded))

    def _reached(self, alive: Composable) -> Composable:
        """A row with a NULL in its key is gone as any other, where its key can hold one."""
        empty = not all(self.target.column(k).not_null for k in self.design.key)
        return REACHED.format(
            alive=alive,
            changes=quoted(self.changes),
            same_key=self.terms.same_key(self.terms.own, self.terms.change, nulls=empty),
            scope=SQL(f" AND (\n{self.design.scope}\n)") if self.design.scope else NOTHING,
        )

    def _verdicts(self, verdicts: Sequence[str]) -> Composable:
        listed = COMMA.join([Literal(v) for v in verdicts])
        return SQL("c.verdict IN (") + listed + SQL(")")

    @property
    def _joined(self) -> dict[str, Composable]:
        return {
            "target": quoted(self.target.name),
            "changes": quoted(self.changes),
            "same_key": self.terms.same_key(t, self.terms.change),
        }

    @property
    def _staged_key(self) -> Composable:
        return COMMA.join([s(k) for k in self.design.key])

    @property
    def _staging(self) -> Composable:
        return quoted(self.design.staging)


def open_to_writers(can: Capabilities, design: MergeDesign, target: Target) -> bool:
    """Whether ON CONFLICT can meet what others write to the same keys; else they are locked out."""
    able = can.on_conflict and (target.kind == "r" or can.partitioned_indexes)
    plain = not design.nulls_match and not target.inherited and not target.rules
    return able and plain and design.mode is not MergeMode.SCD2 and target.unique(design.key)
