"""Arrow through COPY into real servers: every type at its extremes has the value that it had, in both forms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import asyncpg
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from tests.arrow_values import CASES, Case
from tests.databases import clone, drop, template

from pghaul.model.errors import MappingError
from pghaul.model.table import Name
from pghaul.service.embedded import Cluster
from pghaul.target.arrow.described import columns_of
from pghaul.target.arrow.digest import Digest
from pghaul.target.arrow.encoding import Encoding, TargetColumn, choose
from pghaul.target.arrow.reading_back import BackReader, compared_schema, ours, spelled_by_server
from pghaul.target.arrow.reading_back_sql import copy_out, query

ENUM = "CREATE TYPE public.mood AS ENUM ('sad', 'o''k', 'so, \"so\"', '행복')"


# What a server reads differently is text: before 18, a \\. may end a csv.
BOTH = [*((c, "pg18") for c in CASES), *((c, "pg16") for c in CASES if c.type in {"text", "bytea", "text[]"})]


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A session on one database for all of these."""
    server: Cluster = request.getfixturevalue(request.param)
    name = clone(server, template(server, ENUM), "arrow")
    # One table after another has the same name: no plan may be kept of what was read from the one before.
    with psycopg.connect(server.url(name), autocommit=True, prepare_threshold=None) as session:
        session.execute("SET TimeZone = 'UTC'; SET search_path = ''; SET extra_float_digits = 3")
        yield session
    drop(server, name)


def oid_of(session: psycopg.Connection, type_: str) -> int:
    found = session.execute("SELECT %s::pg_catalog.regtype::pg_catalog.oid", [type_.partition("(")[0]]).fetchone()
    assert found is not None
    return int(found[0])


def copy(session: psycopg.Connection, encoding: Encoding, batches: Iterable[pa.RecordBatch]) -> None:
    """Through COPY."""
    words = sql.SQL("FORMAT csv, ENCODING 'UTF8'" if encoding.format == "csv" else "FORMAT binary")
    names = sql.SQL(", ").join(sql.Identifier(n) for n in encoding.schema.names)
    statement = sql.SQL("COPY pg_temp.t ({}) FROM STDIN ({})").format(names, words)
    with session.cursor() as cursor, cursor.copy(statement) as stream:
        for batch in batches:
            for piece in encoding.encode(encoding.cast(batch)):
                stream.write(piece)
        stream.write(encoding.finish())


def both_forms(schema: pa.Schema, columns: Sequence[TargetColumn], wanted: Sequence[str]) -> Iterator[Encoding]:
    chosen = choose(schema, columns)
    assert chosen.format == wanted[0]
    for form in wanted:
        yield Encoding(chosen.ways, form)  # type: ignore[arg-type]


@pytest.mark.parametrize(("case", "target"), BOTH, ids=str, indirect=["target"])
def test_values_arrive_as_they_were(target: psycopg.Connection, case: Case) -> None:
    """In slices with offsets, among NULLs, and one batch after another."""
    target.execute("DROP TABLE IF EXISTS pg_temp.t")
    target.execute(f"CREATE TEMP TABLE t (i int, c {case.type})".encode())
    column = TargetColumn(name="c", type=case.type, oid=oid_of(target, case.type), enum=case.type == "public.mood")

    @settings(max_examples=3, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate])
    @given(st.lists(case.values | st.none(), min_size=1, max_size=60), st.integers(0, 3))
    def check(values: list[Any], cut: int) -> None:
        whole = pa.RecordBatch.from_arrays([pa.array(range(len(values)), pa.int32()), case.array(values)], ["i", "c"])
        columns = [TargetColumn(name="i", type="integer", oid=23), column]
        for encoding in both_forms(whole.schema, columns, case.formats):
            target.execute("DELETE FROM pg_temp.t")
            copy(target, encoding, [whole.slice(0, cut), whole.slice(cut)])
            found = target.execute(f"SELECT {case.asked} FROM pg_temp.t ORDER BY i".encode()).fetchall()
            wanted = [None if v is None else case.expected(v) for v in values]
            assert [None if f is None else str(f) for (f,) in found] == wanted
            assert_read_back(target, encoding, whole)

    check()


def read_back(session: psycopg.Connection, encoding: Encoding) -> list[pa.RecordBatch]:
    """The whole table, cut where no server would cut it."""
    back = BackReader(encoding)
    found: list[pa.RecordBatch] = []
    select = query(encoding, Name("pg_temp", "t"), order=["i"])
    with session.cursor() as cursor, cursor.copy(copy_out(select).encode()) as stream:
        for data in stream:
            found += [*back.feed(data[:7]), *back.feed(data[7:])]
    return [*found, *back.end()]


def assert_read_back(session: psycopg.Connection, encoding: Encoding, sent: pa.RecordBatch) -> None:
    """What is read back has the digest of what was sent, whatever its batches."""
    theirs, mine = Digest(compared_schema(encoding), facts=True), Digest(compared_schema(encoding), facts=True)
    for batch in read_back(session, encoding):
        theirs.update(batch)
    for part in (sent.slice(0, 2), sent.slice(2)):
        mine.update(ours(encoding, encoding.cast(part)))
    assert set(mine.differing(theirs)) <= set(spelled_by_server(encoding))
    if not spelled_by_server(encoding):
        assert (mine.hexdigest(), mine.facts()) == (theirs.hexdigest(), theirs.facts())


UNLIKE = {
    "jsonb": ['{"b":1,   "a":2}', None, '{"a": 1, "a": 2}'],
    "interval": ["P1DT2H", "90 minutes", "838:59:59"],
    "numeric(8,2)": ["1", "+01.50", "1.5e2"],
    "timestamp with time zone": ["2020-01-01T00:00:00+09:00", "infinity", None],
    "inet": ["::0001", "10.0.0.1/32", None],
    "character varying(3)[]": ['{ "a" , b}', "{}", None],
}


UNLIKE_NAMES = tuple(f"c{n}" for n in range(len(UNLIKE)))


@pytest.mark.parametrize("target", ["pg18"], indirect=True)
def test_columns_whose_values_a_server_spells_in_its_own_way_are_named(target: psycopg.Connection) -> None:
    columns = [TargetColumn(name=f"c{n}", type=t) for n, t in enumerate(UNLIKE)]
    batch = pa.RecordBatch.from_arrays([pa.array(v) for v in UNLIKE.values()], [c.name for c in columns])
    lists = pa.array([["a", 'b"'], None, []], pa.list_(pa.string()))
    batch = batch.append_column("l", lists).append_column("i", pa.array([1, 2, 3]))
    columns += [TargetColumn(name="l", type="text[]"), TargetColumn(name="i", type="bigint")]
    target.execute("DROP TABLE IF EXISTS pg_temp.t")
    described = ", ".join(f"{c.name} {c.type}" for c in columns)
    target.execute(f"CREATE TEMP TABLE t ({described})".encode())
    encoding = choose(batch.schema, columns)
    copy(target, encoding, [batch])
    mine, theirs = Digest(compared_schema(encoding)), Digest(compared_schema(encoding))
    mine.update(ours(encoding, encoding.cast(batch)))
    for part in read_back(target, encoding):
        theirs.update(part)
    assert mine.differing(theirs) == spelled_by_server(encoding) == (*UNLIKE_NAMES, "l")


DESCRIBED = """
DROP TABLE IF EXISTS public.described; DROP DOMAIN IF EXISTS public.outer_one; DROP DOMAIN IF EXISTS public.short;
CREATE DOMAIN public.short AS varchar(5); CREATE DOMAIN public.outer_one AS public.short NOT NULL;
CREATE TABLE public.described (
    gone int, d public.outer_one, "o D" public.mood, n numeric(5,2), a public.mood[], c "char");
ALTER TABLE public.described DROP gone;
"""


@pytest.mark.parametrize("target", ["pg16"], indirect=True)
def test_a_tables_columns_are_described_by_what_their_domains_are_made_of(target: psycopg.Connection) -> None:
    target.execute(DESCRIBED.encode())

    async def described(names: list[str]) -> list[TargetColumn]:
        info = target.info
        connection = await asyncpg.connect(host=info.host, port=info.port, user=info.user, database=info.dbname)
        try:
            await connection.execute("SET search_path = ''")
            return await columns_of(connection, Name("public", "described"), names)
        finally:
            await connection.close()

    found = asyncio.run(described(["n", "d", "o D", "a", "c"]))
    assert [(c.name, c.type, c.enum) for c in found] == [
        ("n", "numeric(5,2)", False),
        ("d", "character varying(5)", False),
        ("o D", "public.mood", True),
        ("a", "public.mood[]", False),
        ("c", '"char"', False),
    ]
    assert [c.oid for c in found[:2]] == [1700, 1043]
    with pytest.raises(MappingError, match=r"public\.described of the target lacks the columns gone, x"):
        asyncio.run(described(["gone", "n", "x"]))
