"""Whatever a tree looks like and whatever lies in it: over all that is planned every row stands exactly once.

The planned conditions are run by a real server, and every row is put into the partition that it was planned for: one
that does not hold it would refuse it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from tests.databases import database_pair

from pghaul.engine import layout, mapping
from pghaul.engine.mapping import Mapped
from pghaul.model.placement import Placement
from pghaul.model.plan import Layout, Plan, Selection
from pghaul.model.table import Name
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster
from pghaul.target import layout as layout_ddl

# Keys beside all numbers.
ODD = {
    "int4": ["2147483647", "-2147483648"],
    "int8": ["9223372036854775807"],
    "date": ["infinity", "-infinity"],
    "timestamp": ["infinity", "-infinity"],
    "timestamptz": ["infinity", "-infinity"],
}
CHECK = "ALTER TABLE public.{name} ADD CHECK (key >= '{low}' AND key {sign} '{high}') {valid}"
MOVED_KEYS = "SELECT id FROM x.t JOIN public.t AS s USING (id) WHERE t.key IS DISTINCT FROM s.key"
KEY = st.none() | st.integers(-3, 30)


@dataclass(frozen=True)
class Child:
    width: int
    gap: int  # before it
    inclusive: bool
    valid: bool  # its CHECK was validated: rows outside are impossible
    rows: Sequence[int | None]


@dataclass(frozen=True)
class Grown:
    kind: str
    not_null: bool
    own: Sequence[int | None]
    beside: bool  # keys beside all numbers lie in the parent
    children: Sequence[Child]

    def statements(self) -> Iterator[str]:
        yield f"CREATE TABLE public.t (id serial, key {self.kind} {'NOT NULL' if self.not_null else ''})"
        yield from self.insert("t", self.own)
        if self.beside:
            yield from (f"INSERT INTO public.t (key) VALUES ('{key}')" for key in ODD[self.kind])
        at = 0
        for number, child in enumerate(self.children):
            low, high = at + child.gap, at + child.gap + child.width
            at = high + (1 if child.inclusive else 0)
            name = f"t_{number}"
            yield f"CREATE TABLE public.{name} () INHERITS (public.t)"
            count = high - low + (1 if child.inclusive else 0)
            inside = [None if r is None else low + r % count for r in child.rows]
            yield from self.insert(name, inside if child.valid else child.rows)
            sign, valid = "<=" if child.inclusive else "<", "" if child.valid else "NOT VALID"
            ends = {"low": key(self.kind, low), "high": key(self.kind, high)}
            yield CHECK.format(name=name, sign=sign, valid=valid, **ends)

    def insert(self, name: str, rows: Sequence[int | None]) -> Iterator[str]:
        for row in rows:
            if row is not None or not self.not_null:
                literal = "NULL" if row is None else f"'{key(self.kind, row)}'"
                yield f"INSERT INTO public.{name} (key) VALUES ({literal})"


def key(kind: str, number: int) -> str:
    """A small number as a key."""
    if kind.startswith("int"):
        return str(number)
    moment = datetime(2025, 1, 1) + timedelta(days=number)
    return {"date": f"{moment:%Y-%m-%d}", "timestamp": f"{moment}", "timestamptz": f"{moment}+00"}[kind]


CHILDREN = st.lists(
    st.builds(
        Child,
        width=st.integers(1, 4),
        gap=st.sampled_from([0, 0, 1]),
        inclusive=st.booleans(),
        valid=st.booleans(),
        rows=st.lists(KEY, max_size=4),
    ),
    min_size=1,
    max_size=5,
)
TREES = st.builds(
    Grown,
    kind=st.sampled_from(sorted(ODD)),
    not_null=st.booleans(),
    own=st.lists(KEY, max_size=5),
    beside=st.booleans(),
    children=CHILDREN,
)


@pytest.fixture(scope="module")
def session(pg16: Cluster) -> Iterator[Session]:
    with (
        database_pair(pg16, pg16) as pair,
        connect(resolve(pair.source), application_name="pghaul/test/1/leader", role="target") as session,
    ):
        yield session


@settings(max_examples=60)
@given(tree=TREES, late=st.lists(KEY, max_size=3))
def test_every_row_of_a_tree_stands_once(session: Session, tree: Grown, late: list[int | None]) -> None:
    """Rows that come after the planning too: in a partition, or in what a resume looks for before it goes on."""
    session.execute("BEGIN")
    try:
        mapped = planned(session, tree)
        layout.check_vacant(session, mapped.vacant, {p.table for v in mapped.vacant for p in v.origins})
        for statement in tree.insert("t", late):
            session.execute(statement)
        layout_ddl.create(session, session, mapped.designs)
        for placement in mapped.placements:
            target = sql.Identifier(placement.target.schema, placement.target.name)
            session.execute(sql.SQL("INSERT INTO {} (id, key) ").format(target) + rows_of(placement))
        found = Counter(n for (n,) in session.rows("SELECT id FROM x.t"))
        for vacant in mapped.vacant:
            found += Counter(row[0] for row in session.rows(rows_of(vacant, "id")))
        assert found == Counter(n for (n,) in session.rows("SELECT id FROM public.t"))
        assert session.rows(MOVED_KEYS) == []
    finally:
        session.execute("ROLLBACK")


def planned(session: Session, tree: Grown) -> Mapped:
    for statement in tree.statements():
        session.execute(statement)
    tables = describe(session, [Name("public", "t"), *(Name("public", f"t_{n}") for n in range(len(tree.children)))])
    chosen = Selection(name="t", layout=Layout.DECLARATIVE, into="x.*")
    plan = Plan(source="postgresql://here/a", target="postgresql://here/b", tables=[chosen])
    return layout.lay_out(session, plan, mapping.place(plan, tables, {}), tables)


def rows_of(placement: Placement, columns: str = "id, key") -> sql.Composable:
    parts = []
    for origin in placement.origins:
        table = sql.Identifier(origin.table.schema, origin.table.name)
        where = sql.SQL(origin.where or "true")
        parts.append(sql.SQL("SELECT {} FROM ONLY {} WHERE ({})").format(sql.SQL(columns), table, where))
    return sql.SQL(" UNION ALL ").join(parts)
