"""The sum of row hashes is the same on every server, and another one for other rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.databases import DatabasePair, clone, drop, template

from pghaul.engine.statements import rows_query
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.placement import Placement
from pghaul.model.table import Name, Table
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.rowhash import agree, row_hash_sql, unhashable
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster

ROWS = """
CREATE TYPE public.mood AS ENUM ('good', 'bad');
CREATE TYPE public.pair AS (x int4, y float8);
CREATE DOMAIN public.grade AS numeric(4,1);
CREATE TABLE public.everything (
    "a ""b" int8, "한글 100%" text, b bool, s int2, i int4, u uuid, v varchar(5), c char(4), q "char",
    n numeric, g public.grade,
    f float4, d float8, fs float8[], p point, r int4range, m public.mood, pair public.pair, money money, ts timestamptz,
    iv interval, j json, jb jsonb, by bytea, ip inet, vb varbit, rc regclass, tv tsvector);
INSERT INTO public.everything VALUES (
    9223372036854775807, 'ㄱ,"\\', true, -1, 7, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x', 'y', 'z', 1.50, 2.5,
    0.1, 1e-300, '{0.1,NaN,NULL}', '(0.1,2)', '[1,5)', 'bad', '(1,0.1)', 12.34, '294276-01-01 00:00+00',
    '1 mon -2 days', '{"a": 1 }', '{"b": 2}', '\\x00ff', '::1/64', B'101', 'pg_catalog.pg_class', 'a:1 b'),
    (1, '', false, 0, 0, NULL, '', '', NULL, 'NaN', NULL, 'Infinity', '-0', '{}', NULL, 'empty', 'good', NULL, NULL,
    '-infinity', NULL, 'null', 'null', '', NULL, '', NULL, '');
INSERT INTO public.everything DEFAULT VALUES;
CREATE TABLE public.nothing ();
INSERT INTO public.nothing DEFAULT VALUES;
INSERT INTO public.nothing DEFAULT VALUES;
"""
EVERYTHING = Name("public", "everything")
WAYS = [(True, False), (True, True), (False, False), (False, True)]


@pytest.fixture
def sessions(pg15: Cluster, pg16: Cluster, pg18: Cluster) -> Iterator[list[Session]]:
    """The same rows on three versions."""
    with ExitStack() as stack:
        found = []
        for cluster in (pg15, pg16, pg18):
            database = clone(cluster, template(cluster, ROWS), "hash")
            stack.callback(drop, cluster, database)
            endpoint = resolve(cluster.url(database))
            found.append(stack.enter_context(connect(endpoint, application_name="test", role="source")))
        yield found


@pytest.fixture
def session(db_pair: DatabasePair) -> Iterator[Session]:
    with connect(resolve(db_pair.source), application_name="test", role="source") as found:
        yield found


def table(session: Session, name: Name = EVERYTHING) -> Table:
    return describe(session, [name])[name]


def hashed(
    session: Session, name: Name = EVERYTHING, *, extended: bool = True, floats: bool = False
) -> tuple[int, str]:
    columns = table(session, name).columns
    left_out = unhashable(columns, float_binary=floats)
    columns = tuple(c for c in columns if c.name not in left_out)
    count, total = session.rows(row_hash_sql(columns, name, extended=extended, float_binary=floats))[0]
    return count, total


@pytest.mark.parametrize(("extended", "floats"), WAYS)
def test_every_type_hashes_alike_on_all_versions(sessions: list[Session], extended: bool, floats: bool) -> None:
    found = {hashed(s, extended=extended, floats=floats) for s in sessions}
    assert len(found) == 1
    assert found.pop()[0] == 3


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        """UPDATE public.everything SET "한글 100%" = NULL WHERE "한글 100%" = ''""",
        "UPDATE public.everything SET v = NULL WHERE v = ''",
        "UPDATE public.everything SET d = 0 WHERE d = 0",
        "UPDATE public.everything SET by = NULL WHERE by = ''",
        "UPDATE public.everything SET b = true WHERE b IS NULL",
        "UPDATE public.everything SET s = i, i = s WHERE s = -1",
        "UPDATE public.everything SET n = 1.5 WHERE n = 1.50",
        'UPDATE public.everything SET "a ""b" = 4294967296 WHERE "a ""b" = 1',
        "UPDATE public.everything SET u = gen_random_uuid() WHERE u IS NOT NULL",
        "UPDATE public.everything SET pair = '(1,0.2)' WHERE pair IS NOT NULL",
        "DELETE FROM public.everything WHERE i = 0",
        "INSERT INTO public.everything SELECT * FROM public.everything WHERE i = 0",
    ],
)
@pytest.mark.template(source=ROWS)
def test_one_changed_value_changes_the_sum(session: Session, extended: bool, change: str) -> None:
    before = hashed(session, extended=extended)
    assert session.execute(change) == 1
    assert hashed(session, extended=extended) != before


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.template(source="CREATE TABLE public.t (a int8, b text, c bool)")
def test_values_that_change_places_between_rows_are_seen(session: Session, extended: bool) -> None:
    name = Name("public", "t")
    session.execute("INSERT INTO public.t VALUES (1, 'x', true), (2, 'y', true)")
    before = hashed(session, name, extended=extended)
    session.execute("UPDATE public.t SET b = CASE b WHEN 'x' THEN 'y' ELSE 'x' END")
    assert hashed(session, name, extended=extended) != before


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.template(source="CREATE TABLE public.t (a int8, b text, c bool)")
def test_order_does_not_matter_and_a_pair_of_equal_rows_does_not_vanish(session: Session, extended: bool) -> None:
    name = Name("public", "t")
    seen = []
    for rows in ("(1, 'x', true), (2, 'y', NULL)", "(2, 'y', NULL), (1, 'x', true)", "(1, 'x', true), (1, 'x', true)"):
        session.execute("TRUNCATE public.t")
        session.execute(f"INSERT INTO public.t VALUES {rows}")
        seen.append(hashed(session, name, extended=extended))
    session.execute("TRUNCATE public.t")
    assert seen[0] == seen[1] != seen[2]
    assert hashed(session, name, extended=extended) == (0, "0")


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.template(source=ROWS)
def test_a_table_without_columns_counts_its_rows(session: Session, extended: bool) -> None:
    assert hashed(session, Name("public", "nothing"), extended=extended)[0] == 2


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("kind", ["int4", "float8"])
def test_sixteen_hundred_columns_are_hashed(session: Session, extended: bool, kind: str) -> None:
    session.execute("CREATE TABLE public.wide ({})".format(", ".join(f"c{i} {kind}" for i in range(1600))))
    session.execute("INSERT INTO public.wide (c0, c1599) VALUES (1, 2)")
    name = Name("public", "wide")
    before = hashed(session, name, extended=extended)
    session.execute("UPDATE public.wide SET c1599 = 3")
    assert before[0] == 1
    assert hashed(session, name, extended=extended) != before


@pytest.mark.template(source="CREATE TABLE public.t AS SELECT i AS id FROM generate_series(1, 5000) i")
def test_the_ranges_of_a_heap_add_up_to_the_whole(session: Session) -> None:
    name = Name("public", "t")
    found = table(session, name)

    def part(first: int, end: int | None) -> tuple[int, str]:
        pages = Chunk(table=name, kind=ChunkKind.CTID, first_page=first, end_page=end)
        query = rows_query(Placement.same(name), found.columns, pages)
        return session.rows(row_hash_sql(found.columns, name, extended=True, float_binary=False, query=query))[0]

    parts = [part(0, 3), part(3, 10), part(10, None)]
    assert all(count for count, _ in parts)
    assert (sum(c for c, _ in parts), str(sum(int(h) for _, h in parts))) == hashed(session, name)


@pytest.mark.template(
    source="CREATE TABLE public.parent (i int4); CREATE TABLE public.child () INHERITS (public.parent)"
)
def test_children_are_not_hashed_with_their_parent(session: Session) -> None:
    session.execute("INSERT INTO public.child VALUES (1)")
    assert hashed(session, Name("public", "parent")) == (0, "0")


@pytest.mark.parametrize(("encoding", "real"), [("EUC_KR", None), ("SQL_ASCII", "UHC")])
@pytest.mark.template(
    target="CREATE TABLE public.t (i int4, v text); INSERT INTO public.t VALUES (1, '한글 가나'), (2, NULL)"
)
def test_texts_of_different_encodings_hash_alike(db_pair: DatabasePair, encoding: str, real: str | None) -> None:
    database = f"recoded_{encoding.lower()}"
    server = db_pair.source_server
    with connect(resolve(server.url()), application_name="test", role="source") as admin:
        admin.execute(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    with ExitStack() as stack:
        stack.callback(drop, server, database)
        here = stack.enter_context(connect(resolve(server.url(database)), application_name="test", role="source"))
        there = stack.enter_context(connect(resolve(db_pair.target), application_name="test", role="target"))
        here.execute("CREATE TABLE public.t (i int4, v text)")
        raw = "convert_from('\\xc7d1b1db20b0a1b3aa', 'SQL_ASCII')" if real else "'한글 가나'"
        here.execute(f"INSERT INTO public.t VALUES (2, NULL), (1, {raw})")
        agreed = agree(here.server, there.server, real)
        columns = table(there, Name("public", "t")).columns
        found = [
            session.rows(
                row_hash_sql(columns, Name("public", "t"), extended=agreed.extended, float_binary=False, recode=recode)
            )
            for session, recode in ((here, agreed.source_recode), (there, agreed.target_recode))
        ]
    assert found[0] == found[1]
    assert found[0][0][0] == 2
