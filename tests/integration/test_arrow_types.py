"""Arrow through COPY into real servers: every type at its extremes has the value that it had, in both forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from tests.arrow_values import CASES, Case
from tests.databases import clone, drop, template

from pghaul.service.embedded import Cluster
from pghaul.target.arrow.encoding import Encoding, TargetColumn, choose

ENUM = "CREATE TYPE public.mood AS ENUM ('sad', 'o''k', 'so, \"so\"', '행복')"


# What a server reads differently is text: before 18, a \\. may end a csv.
BOTH = [*((c, "pg18") for c in CASES), *((c, "pg16") for c in CASES if c.type in {"text", "bytea", "text[]"})]


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A session on one database for all of these."""
    server: Cluster = request.getfixturevalue(request.param)
    name = clone(server, template(server, ENUM), "arrow")
    with psycopg.connect(server.url(name), autocommit=True) as session:
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

    @settings(max_examples=6, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate])
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

    check()
