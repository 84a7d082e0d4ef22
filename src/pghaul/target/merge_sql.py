"""Every statement of a merge, composed from names by psycopg.sql. No connection in sight.

The rows that make a difference are found by one pass over staging and target and laid down in a table of *changes*
(new, different, gone), which the statements that write then read: so what is the same costs a comparison and nothing
else, and how many rows each statement has to touch is known before it runs.

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
from pghaul.model.table import Name
from pghaul.postgres.versions import Capabilities
from pghaul.target.merge_target import Column, Target

Side: TypeAlias = Callable[[str], Composable]  # how a column is named there

NEW, DIFFERENT, GONE = "n", "d", "g"
NUMBERS = ("int2", "int4", "int8", "numeric")
COMMA, AND, OR, NOTHING = SQL(", "), SQL(" AND "), SQL(" OR "), SQL("")

LOCK = SQL("LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")
KEYS = SQL(
    "SELECT coalesce(pg_catalog.sum(g.n), 0)::pg_catalog.int8,"
    " coalesce(pg_catalog.sum(CASE WHEN g.empty THEN g.n ELSE 0 END), 0)::pg_catalog.int8,"
    " coalesce(pg_catalog.sum(g.n - 1), 0)::pg_catalog.int8"
    " FROM (SELECT pg_catalog.count(*) AS n, {empty} AS empty FROM {staging} AS s GROUP BY {key}) AS g"
)
TWICE = SQL(
    "SELECT ROW({key})::pg_catalog.text FROM {staging} AS s GROUP BY {key} HAVING pg_catalog.count(*) > 1"
    ' ORDER BY pg_catalog.count(*) DESC, ROW({key})::pg_catalog.text COLLATE pg_catalog."C" LIMIT 3'
)
RANKED = SQL(
    "SELECT s.ctid AS place, ROW({key})::pg_catalog.text AS key, ROW({all})::pg_catalog.text AS image,"
    " pg_catalog.rank() OVER w AS rank, pg_catalog.row_number() OVER w AS number,"
    " pg_catalog.lag(ROW({all})::pg_catalog.text) OVER"
    " (PARTITION BY {key} ORDER BY {latest} DESC NULLS LAST,"
    ' ROW({all})::pg_catalog.text COLLATE pg_catalog."C") AS other'
    " FROM {staging} AS s WINDOW w AS (PARTITION BY {key} ORDER BY {latest} DESC NULLS LAST)"
)
# Of several latest rows all have to be the same.
TIES = SQL(
    "SELECT r.key FROM ({ranked}) AS r WHERE r.rank = 1 AND r.other <> r.image"
    ' ORDER BY r.key COLLATE pg_catalog."C" LIMIT 3'
)
SUPERSEDE = SQL(
    "DELETE FROM {staging} WHERE ctid = ANY (ARRAY(SELECT r.place FROM ({ranked}) AS r WHERE r.number > 1))"
)
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
UNIQUE = SQL("CREATE UNIQUE INDEX ON {staging} ({key})")
HELD = SQL("SELECT pg_catalog.count(*), pg_catalog.count(CASE WHEN {empty} THEN 1 END), 0 FROM {staging} AS s")
DROP = SQL("DROP TABLE {changes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The statements of one merge. `locked`: the target is locked, so nobody else writes to it. `lookups`: staged rows
    are looked up one by one.
    """

    design: MergeDesign
    target: Target
    can: Capabilities
    changes: Name
    locked: bool
    lookups: bool = False

    # --- what is compared, and what is set ---

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

    # --- before anything is written ---

    def lock(self) -> Composable:
        return LOCK.format(target=_name(self.target.name))

    def unique(self) -> Composable:
        """Fails where staged rows share a key."""
        return UNIQUE.format(staging=self._staging, key=COMMA.join([Identifier(k) for k in self.design.key]))

    def keys(self, *, unique: bool) -> Composable:
        """Staged rows, those with a NULL in their key, and those that share one with another; `unique`: none do."""
        empty = OR.join([_s(k) + SQL(" IS NULL") for k in self.design.key])
        if unique:
            return HELD.format(staging=self._staging, empty=empty)
        return KEYS.format(staging=self._staging, key=self._staged_key, empty=empty)

    def twice(self) -> Composable:
        """The keys that most rows share."""
        return TWICE.format(staging=self._staging, key=self._staged_key)

    def ties(self) -> Composable:
        """Keys whose latest rows are several, and not the same."""
        return TIES.format(ranked=self._ranked())

    def supersede(self) -> Composable:
        """Keep the latest row of each key."""
        return SUPERSEDE.format(staging=self._staging, ranked=self._ranked())

    def ambiguous(self) -> Composable:
        """Staged keys that the target has more than once."""
        return AMBIGUOUS.format(
            staging=self._staging,
            key=self._staged_key,
            there=self._there(),
            same_key=self.same_key(_t_numbered(self), _s),
        )

    def create_changes(self) -> Composable:
        return CHANGES.format(changes=_name(self.changes), decide=self._decide(gone=self.syncs))

    def decide_again(self) -> Sequence[Composable]:
        """What is gone has been dealt with by then."""
        changes = _name(self.changes)
        return FORGET.format(changes=changes), AGAIN.format(changes=changes, decide=self._decide(gone=False))

    def verdicts(self) -> Composable:
        return VERDICTS.format(changes=_name(self.changes))

    def fixed_changes(self) -> Composable:
        """Keys of rows that would need another number in an identity that is GENERATED ALWAYS."""
        return FIXED.format(
            key=COMMA.join([self.change(k) for k in self.design.key]),
            differ=self.differ(_t, self.change, self.fixed),
            **self._joined,
        )

    def overlap(self) -> Composable:
        """Current versions that would end before they began."""
        return OVERLAP.format(
            alive=self.alive(), valid_from=Identifier(self.design.valid_from), moment=self._moment, **self._joined
        )

    # --- what writes ---

    def remove(self) -> Composable:
        """What the staging lacks."""
        target, reached = _name(self.target.name), self._reached(self.alive(self._own))
        if self.versions:
            return MARK.format(target=target, sets=_set(self.design.valid_to, self._moment), reached=reached)
        if self.design.deleted is None:
            return DELETE.format(target=target, reached=reached)
        mark = SQL("true") if self._flag else self._moment
        return MARK.format(target=target, sets=_set(self.design.deleted, mark), reached=reached)

    def kept(self) -> Composable:
        """Rows that `remove` should have taken, and that are still there."""
        return KEPT.format(target=_name(self.target.name), reached=self._reached(self.alive(self._own)))

    def marked(self) -> Composable:
        """Rows that are marked, and still there."""
        dead = SQL("NOT ({})").format(self.alive(self._own))
        return KEPT.format(target=_name(self.target.name), reached=self._reached(dead))

    def update(self) -> Composable | None:
        """None where there is nothing that could be set."""
        if self.versions:
            return CLOSE.format(sets=_set(self.design.valid_to, self._moment), alive=self.alive(), **self._joined)
        sets = self._sets(self.change)
        if not sets:
            return None
        return UPDATE.format(sets=COMMA.join(sets), differ=self._worth(self.change), **self._joined)

    def insert(self, *, all_missing: bool) -> tuple[Composable, bool]:
        """With whether it tells inserted and updated apart; else what it returns is the number of inserted rows.

        `all_missing`: also those that had been there when the changes were found.
        """
        counted = not self.locked and self.updates and bool(self._sets(_excluded)) and self.target.kind == "r"
        which = self._missing(all_missing=all_missing)
        statement = self._insert(changes=_name(self.changes), which=which, counted=counted)
        return (COUNTED.format(insert=statement), True) if counted else (statement, False)

    def _insert(self, *, changes: Composable, which: Composable, counted: bool) -> Composable:
        names = [c.name for c in self._inserted]
        values = [self.change(n) for n in names]
        for name, value in self._given:
            names, values = [*names, name], [*values, value]
        return INSERT.format(
            target=_name(self.target.name),
            alias=SQL(" AS t") if counted else NOTHING,
            columns=COMMA.join([Identifier(n) for n in names]),
            overriding=SQL("OVERRIDING SYSTEM VALUE " if any(c.identity for c in self._inserted) else ""),
            values=COMMA.join(values),
            changes=changes,
            which=which,
            rest=self._rest(self._sets(_excluded), counted=counted),
        )

    @property
    def at_once(self) -> bool:
        """Whether one statement may do it all. It proposes every row as a new one: so no default may be drawn from a
        sequence, no column be missing, and no trigger fire for a row that is updated after all.
        """
        own = {c.name for c in self.target.columns if not c.generated} == set(self.design.columns)
        plain = not (self.locked or self.target.triggers or self.target.hidden or self.fixed)
        upsert = self.design.mode is MergeMode.UPSERT and self.design.deleted is None
        return own and plain and upsert and self.target.kind == "r" and bool(self._sets(_excluded))

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
            target=_name(self.target.name),
            same_key=self.same_key(_t, _s),
            differ=self.differ(_t, _s, self.compared),
        )

    @property
    def updates(self) -> bool:
        """Whether rows that are there are brought up to date."""
        return self.design.mode is not MergeMode.INSERT_ONLY

    @property
    def inserts(self) -> bool:
        """Whether rows that are not there are added."""
        return self.design.mode is not MergeMode.UPDATE_ONLY

    # --- what came of it ---

    def alike(self, verdicts: Sequence[str], *, present: bool = False, hold: bool = False) -> Composable:
        """How many changes with these verdicts the target holds by now; with `present`, whatever their content."""
        return ALIKE.format(
            verdicts=self._verdicts(verdicts),
            alike=self.alive() if present else self._alike(),
            hold=HOLD if hold else NOTHING,
            **self._joined,
        )

    def let_go(self) -> Composable:
        """Forget changes to rows that others have taken away; the other rows stay until we commit."""
        return LET_GO.format(**self._joined)

    def found(self, verdicts: Sequence[str]) -> Composable:
        """Changes with these verdicts that are there, and those of them that are alike, where that is verified."""
        there = AND.join([self._verdicts(verdicts), self.alive()])
        alike = self._alike() if self.design.verify else SQL("true")
        return FOUND.format(alike=alike, verdicts=there, **self._joined)

    def drop_changes(self) -> Composable:
        return DROP.format(changes=_name(self.changes))

    def analyze_staging(self) -> Composable:
        """Joins ask about keys only."""
        columns = COMMA.join([Identifier(k) for k in self.design.key])
        return ANALYZE.format(table=self._staging, columns=columns)

    def analyze_changes(self) -> Composable:
        numbers = [Identifier(f"c{self.design.columns.index(k)}") for k in self.design.key]
        return ANALYZE.format(table=_name(self.changes), columns=COMMA.join([Identifier("verdict"), *numbers]))

    # --- their parts ---

    def same_key(self, left: Side, right: Side, *, nulls: bool = False) -> Composable:
        """NULL equals NULL inside a record, whose equality can be hashed or merged, as OR … IS NULL cannot."""
        key = [self.target.column(k) for k in self.design.key]
        if self.design.nulls_match or nulls:
            rows = [
                SQL("ROW({})::pg_catalog.record").format(COMMA.join([side(k.name) for k in key]))
                for side in (left, right)
            ]
            return SQL("{} OPERATOR(pg_catalog.=) {}").format(*rows)
        return AND.join(
            [
                SQL("{} OPERATOR({}.{}) {}").format(
                    left(k.name), Identifier(k.equal[0]), SQL(k.equal[1]), right(k.name)
                )
                for k in key
            ]
        )

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
        at = side or _t
        if self.versions:
            return at(self.design.valid_to) + SQL(" IS NULL")
        if self.design.deleted is None:
            return SQL("true")
        return at(self.design.deleted) + SQL(" IS NOT TRUE" if self._flag else " IS NULL")

    def _alike(self) -> Composable:
        return SQL("(") + AND.join([SQL("NOT ") + self.differ(_t, self.change, self.compared), self.alive()]) + SQL(")")

    def _worth(self, side: Side) -> Composable:
        """An UPDATE that changes something."""
        return (
            SQL("(") + OR.join([self.differ(_t, side, self.others), SQL("NOT (") + self.alive() + SQL(")")]) + SQL(")")
        )

    def _decide(self, *, gone: bool, ordered: bool = True) -> Composable:
        there, at = SQL("t.place IS NOT NULL"), _t_numbered(self)
        differs = [self.differ(at, _s, self.compared)]
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
            same_key=self.same_key(at, _s),
            counts=OR.join(counts),
            order=BY_PLACE if ordered and not self.lookups else NOTHING,
        )

    def _in_order(self) -> Composable:
        key = COMMA.join([SQL("o.") + Identifier(k) for k in self.design.key])
        return IN_ORDER.format(staging=self._staging, key=key)

    def _value(self, column: str, at: Side) -> Composable:
        if self.syncs and column in self.design.key:
            return SQL("CASE WHEN s.ctid IS NULL THEN {} ELSE {} END").format(at(column), _s(column))
        return _s(column)

    def _there(self) -> Composable:
        """The target as it is decided upon: numbered columns, and whether a row can be taken away."""
        values = [Identifier(c) + SQL(" AS ") + Identifier(f"c{i}") for i, c in enumerate(self.design.columns)]
        bare: Side = Identifier
        marked = SQL("NOT (") + self.alive(bare) + SQL(") AS marked")
        reach: list[Composable] = [SQL("({})").format(self.alive(bare))]
        reach += [SQL(f"(\n{self.design.scope}\n)")] if self.design.scope else []
        where = SQL(" WHERE ") + self.alive(bare) if self.versions else NOTHING
        return SQL("(SELECT ctid AS place, {}, {}, ({}) IS TRUE AS in_reach FROM {}{})").format(
            COMMA.join(values), marked, AND.join(reach), _name(self.target.name), where
        )

    def _ranked(self) -> Composable:
        return RANKED.format(
            staging=self._staging,
            key=self._staged_key,
            all=COMMA.join([_s(c) for c in self.design.columns]),
            latest=_s(self.design.latest_by or ""),
        )

    def _reached(self, alive: Composable) -> Composable:
        """A row with a NULL in its key is gone as any other, where its key can hold one."""
        empty = not all(self.target.column(k).not_null for k in self.design.key)
        return REACHED.format(
            alive=alive,
            changes=_name(self.changes),
            same_key=self.same_key(self._own, self.change, nulls=empty),
            scope=SQL(f" AND (\n{self.design.scope}\n)") if self.design.scope else NOTHING,
        )

    def _own(self, column: str) -> Composable:
        return Identifier(self.target.name.schema, self.target.name.name, column)

    def _sets(self, side: Side) -> list[Composable]:
        if self.versions:
            return []
        found = [_set(c.name, side(c.name)) for c in self.others]
        if self.design.deleted is not None:
            found.append(_set(self.design.deleted, self._unmarked))
        return found

    @property
    def _inserted(self) -> list[Column]:
        return [self.target.column(c) for c in self.design.columns]

    @property
    def _given(self) -> list[tuple[str, Composable]]:
        """What an inserted row gets beside what was staged."""
        if self.versions:
            return [(self.design.valid_from, self._moment), (self.design.valid_to, SQL("NULL"))]
        return [] if self.design.deleted is None else [(self.design.deleted, self._unmarked)]

    def _missing(self, *, all_missing: bool) -> Composable:
        wanted = self._verdicts((NEW, DIFFERENT) if self.versions or all_missing else (NEW,))
        if not all_missing:
            return wanted
        return AND.join(
            [wanted, ABSENT.format(target=_name(self.target.name), same_key=self.same_key(_t, self.change))]
        )

    def _rest(self, sets: Sequence[Composable], *, counted: bool) -> Composable:
        if self.locked:
            return NOTHING
        key = COMMA.join([Identifier(k) for k in self.design.key])
        if not counted:
            return DO_NOTHING.format(key=key)
        return DO_UPDATE.format(key=key, sets=COMMA.join(sets), differ=self._worth(_excluded))

    def _verdicts(self, verdicts: Sequence[str]) -> Composable:
        listed = COMMA.join([Literal(v) for v in verdicts])
        return SQL("c.verdict IN (") + listed + SQL(")")

    @property
    def _joined(self) -> dict[str, Composable]:
        return {
            "target": _name(self.target.name),
            "changes": _name(self.changes),
            "same_key": self.same_key(_t, self.change),
        }

    @property
    def _staging(self) -> Composable:
        return _name(self.design.staging)

    @property
    def _staged_key(self) -> Composable:
        return COMMA.join([_s(k) for k in self.design.key])

    @property
    def _flag(self) -> bool:
        """The deletion column is a boolean."""
        return self.target.column(self.design.deleted or "").base == "bool"

    @property
    def _unmarked(self) -> Composable:
        return SQL("false") if self._flag else SQL("NULL")

    @property
    def _moment(self) -> Composable:
        """As the column holds it: without a zone of its own, in UTC."""
        kind = self.target.column(self.design.valid_to if self.versions else self.design.deleted or "").type
        return SQL("{}::pg_catalog.timestamptz::").format(Literal(self.design.moment)) + SQL(kind)

    def change(self, column: str) -> Composable:
        return SQL("c.") + Identifier(f"c{self.design.columns.index(column)}")


def open_to_writers(can: Capabilities, design: MergeDesign, target: Target) -> bool:
    """Whether ON CONFLICT can meet what others write to the same keys; else they are locked out."""
    able = can.on_conflict and (target.kind == "r" or can.partitioned_indexes)
    plain = not design.nulls_match and not target.inherited and not target.rules
    return able and plain and design.mode is not MergeMode.SCD2 and target.unique(design.key)


def _s(column: str) -> Composable:
    return SQL("s.") + Identifier(column)


def _t(column: str) -> Composable:
    return SQL("t.") + Identifier(column)


def _excluded(column: str) -> Composable:
    return SQL("excluded.") + Identifier(column)


def _t_numbered(statements: Statements) -> Side:
    return lambda column: SQL("t.") + Identifier(f"c{statements.design.columns.index(column)}")


def _set(column: str, value: Composable) -> Composable:
    return Identifier(column) + SQL(" = ") + value


def _name(name: Name) -> Composable:
    return Identifier(name.schema, name.name)
