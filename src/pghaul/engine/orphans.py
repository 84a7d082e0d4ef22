"""Rows whose foreign keys point at nothing, once all rows are there: set aside where the plan allows it, else named.

A row that goes may be what another refers to, in its own table or elsewhere. So all keys are looked at again until
nothing more is found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from psycopg import sql

from pghaul.engine.compose import Epoch
from pghaul.engine.duplicates import json_key, line
from pghaul.engine.rejects import Tells
from pghaul.model.errors import QuarantineError
from pghaul.model.quarantine import SET_ASIDE
from pghaul.model.rejects import allowance
from pghaul.model.table import Name
from pghaul.model.text import Text, joined, say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session
from pghaul.target import references
from pghaul.target.ledger import Ledger
from pghaul.target.references import Broken, Reference

SHORT = 200  # characters of one key
MESSAGE = "no such row in {}, seen as the foreign key was made: "
QUIET = "SET LOCAL session_replication_role = replica"
MOVE = """
WITH gone AS (
    DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY(SELECT fk.ctid {broken})) RETURNING *)
INSERT INTO pghaul.quarantine (run_id, relation, chunk, source_key, columns, row_data, encoding, sqlstate, message,
                               constraint_name)
SELECT {run}, {relation}, {chunk}, {key}, {columns},
       pg_catalog.convert_to({line}, pg_catalog.getdatabaseencoding()), pg_catalog.getdatabaseencoding()::text, '23503',
       {message} || {shown}, {constraint}
FROM gone
"""


class Orphans:
    """Of one attempt. `loaded`: only rows of these tables are ever set aside."""

    def __init__(
        self,
        target: Session,
        ledger: Ledger,
        epoch: Epoch,
        max_rejects: int | str,
        loaded: Collection[Name],
        tell: Tells,
    ) -> None:
        self._target = target
        self._ledger = ledger
        self._epoch = epoch
        self._limit = max_rejects
        self._loaded = loaded
        self._tell = tell

    def settle(self, keys: Sequence[Reference]) -> list[Name]:
        """Set aside what breaks these keys; the tables that had such rows. Raises QuarantineError where it may not."""
        touched: dict[Name, None] = {}
        moved = True
        while moved:
            moved = False
            for key in keys:
                for found in references.broken(self._target, key):
                    self._set_aside(key, found)
                    touched[found.table] = None
                    moved = True
        return list(touched)

    def _set_aside(self, key: Reference, found: Broken) -> None:
        named = self._first(key)
        alone = self._target.server.can_replica_role or not references.referred_to(self._target, found.oid)
        receipts = self._ledger.markers([found.table]).values()
        before = sum(r.rejected for r in receipts)
        allowed = allowance(self._limit, sum(r.rows for r in receipts))
        if found.table not in self._loaded or not alone or before + found.rows > allowed:
            raise QuarantineError(
                say(
                    "{n} rows of {table} refer to rows of {other} that are not there ({key}); the first: {keys}",
                    n=found.rows,
                    table=str(found.table),
                    other=str(key.references),
                    key=key.constraint,
                    keys=named,
                ),
                where=str(found.table),
                advice=say("mend them on the source, or let them be set aside: --max-rejects; then resume the run"),
                sqlstate="23503",
                code=6848,
            )
        chunk = f"references:{key.constraint}"
        with self._ledger.owned(self._epoch.number):
            if self._target.server.can_replica_role:  # a row that goes takes no other with it
                self._target.execute(QUIET)
            moved = self._target.execute(self._move(key, found.table, chunk))
            if not moved:  # they would be found again, without end
                raise QuarantineError(
                    say("rows of {table} cannot be set aside: a trigger or rule keeps them", table=str(found.table)),
                    where=str(found.table),
                    advice=say("look at the triggers and rules of the target's table"),
                    code=6851,
                )
            self._ledger.add_rejected(found.table, chunk, self._epoch.number, moved)
        now = self._ledger.markers([found.table])[found.table, chunk].rejected
        words = say("{n} rows ({chunk})", n=moved, chunk=chunk)
        self._tell.notice(SET_ASIDE, str(found.table), words, step=chunk, rows=now)

    def _first(self, key: Reference) -> Text:
        return joined("; ", [k[:SHORT] for k in references.first(self._target, key)])

    def _move(self, key: Reference, leaf: Name, chunk: str) -> sql.Composable:
        (table,) = describe(self._target, [leaf]).values()
        columns = [c.name for c in table.copied_columns]
        primary = next((i.columns for i in table.indexes if i.constraint_kind == "p"), ())
        return sql.SQL(MOVE).format(
            table=sql.Identifier(leaf.schema, leaf.name),
            broken=references.violations(key, leaf),
            run=sql.Literal(self._epoch.run),
            relation=sql.Literal(str(leaf)),
            chunk=sql.Literal(chunk),
            key=json_key(primary),
            columns=sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(map(sql.Literal, columns))),
            line=line(columns),
            message=sql.Literal(MESSAGE.format(key.references)),
            shown=references.shown(key, sql.SQL("")),
            constraint=sql.Literal(key.constraint),
        )
