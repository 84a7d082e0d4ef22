"""Every type that PostgreSQL ships arrives as it left: in text and in binary, from version to version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.moving import move, resume
from tests.typed_values import SCRIPT, TABLES, UNWRITABLE

from pghaul.model.errors import NotSupportedError, RowError, StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Format
from pghaul.model.run import RunState
from pghaul.model.table import Column, Name
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.rowhash import row_hash_sql, unhashable
from pghaul.postgres.session import Session, connect

typed = pytest.mark.template(source=SCRIPT)
PAIRS = [("pg16", "pg18"), ("pg18", "pg16"), ("pg15", "pg18")]
WAYS = [(True, False), (False, True)]  # (extended, float_binary): of new servers, and of the oldest

SHIPPED_SQL = """
SELECT t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'pg_catalog' AND t.typtype IN ('b', 'r', 'm') AND t.typcategory <> 'A' AND t.typrelid = 0
"""
USED_SQL = """
SELECT DISTINCT t.typname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
JOIN pg_type t ON t.oid = a.atttypid WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
"""


@contextmanager
def session(url: str) -> Iterator[Session]:
    with connect(resolve(url), application_name="test", role="target") as found:
        yield found


def names(tables: Sequence[str]) -> list[Name]:
    return [Name(*t.split(".")) for t in tables]


@typed
@pytest.mark.parametrize("db_pair", [("pg18", "pg18")], indirect=True)
def test_the_tables_of_these_tests_leave_no_type_out(db_pair: DatabasePair) -> None:
    with psycopg.connect(db_pair.source) as source:
        shipped = {n for (n,) in source.execute(SHIPPED_SQL)}
        used = {n for (n,) in source.execute(USED_SQL)}
    # xml needs a server built with it: it has a test of its own
    assert shipped - used == UNWRITABLE | {"xml"}


@typed
@pytest.mark.parametrize("db_pair", [*PAIRS, ("pg18", "pg18")], indirect=True)
def test_every_type_arrives_and_both_sides_hash_alike(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "public.*")
    assert moved.run.state is RunState.DONE
    assert moved.proofs() == dict.fromkeys(TABLES, "stream")
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    for extended, floats in WAYS:
        with session(db_pair.source) as here, session(db_pair.target) as there:
            assert hashes(here, extended, floats) == hashes(there, extended, floats)


@typed
def test_every_type_arrives_as_text(db_pair: DatabasePair, state: str) -> None:
    assert move(db_pair, "public.*", format=Format.TEXT).run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@typed
def test_binary_carries_what_it_can_and_refuses_the_rest_by_name(db_pair: DatabasePair, state: str) -> None:
    with session(db_pair.source) as source:
        described = describe(source, names(TABLES))
    able = {str(n) for n, t in described.items() if all(c.portable_binary for c in t.columns)}
    able -= {"public.times", "public.times_arrays", "public.times_domains"}  # 18 has infinite intervals
    assert {"public.texts", "public.bits", "public.shapes", "public.ranges_domains", "public.nets_arrays"} <= able
    assert able.isdisjoint({"public.system", "public.own", "public.numbers", "public.texts_composite"})
    assert move(db_pair, *able, format=Format.BINARY).run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, sorted(able))
    with pytest.raises(NotSupportedError, match=r"public.bits_composite.*column r "):
        move(db_pair, "bits_composite", format=Format.BINARY)
    for table in ("times", "times_arrays", "times_domains"):
        with pytest.raises(NotSupportedError, match=r"column iv .* infinite intervals"):
            move(db_pair, table, format=Format.BINARY)


def hashes(where: Session, extended: bool, floats: bool) -> dict[str, tuple[int, str]]:
    """Of all tables, over the columns that can be hashed in this way."""
    found = {}
    for name, table in describe(where, names(TABLES)).items():
        left_out = unhashable(table.columns, float_binary=floats)
        columns = [c for c in table.columns if c.name not in left_out]
        found[str(name)] = hashed(where, columns, name, extended, floats)
    return found


def hashed(where: Session, columns: Sequence[Column], name: Name, extended: bool, floats: bool) -> tuple[int, str]:
    return where.rows(row_hash_sql(columns, name, extended=extended, float_binary=floats))[0]


FIRST_SQL = sql.SQL("SELECT {key} FROM {table} WHERE {column} IS NOT NULL ORDER BY 1 LIMIT 1")
VANISH_SQL = sql.SQL("UPDATE {table} SET {column} = NULL WHERE {key} = %s")
TRADE_SQL = sql.SQL(
    "UPDATE {table} AS t SET {column} = o.v FROM (SELECT {key} AS k, {column} AS v FROM {table}) AS o"
    " WHERE o.k = CASE t.{key} WHEN %(a)s THEN %(b)s WHEN %(b)s THEN %(a)s END"
)


def tampered(where: Session, name: Name, column: Column) -> Iterator[str]:
    """Each time with one value lost, or traded between two rows; undone when the next is asked for."""
    words = {
        "table": sql.Identifier(name.schema, name.name),
        "column": sql.Identifier(column.name),
        "key": sql.Identifier("id"),
    }
    first = where.value(FIRST_SQL.format(**words))
    last = where.value(sql.SQL("SELECT {key} FROM {table} WHERE {column} IS NULL LIMIT 1").format(**words))
    for statement, values in (
        (VANISH_SQL.format(**words), (first,)),
        (TRADE_SQL.format(**words), {"a": first, "b": last}),
    ):
        where.execute("BEGIN")
        assert where.execute(statement, values) > 0
        yield statement.as_string(None)
        where.execute("ROLLBACK")


@typed
@pytest.mark.parametrize(("extended", "floats"), WAYS)
def test_no_value_of_any_type_can_vanish_or_change_places_unseen(
    db_pair: DatabasePair, extended: bool, floats: bool
) -> None:
    unseen = []
    with session(db_pair.source) as where:
        for name, table in describe(where, names(TABLES)).items():
            left_out = unhashable(table.columns, float_binary=floats)
            columns = [c for c in table.columns if c.name not in left_out]
            before = hashed(where, columns, name, extended, floats)
            for column in columns[1:]:
                changes = tampered(where, name, column)
                unseen += [c for c in changes if hashed(where, columns, name, extended, floats) == before]
    assert unseen == []


NEAR_SQL = """
CREATE TABLE public.near (id int4, f8 float8, f4 float4, n numeric, t text, c char(3), j json, v varchar, d date,
    ts timestamptz, i interval, b bool, i8 int8, by bytea, a text[], p point, bits varbit, r numrange);
INSERT INTO public.near VALUES
    (1, '0', '0', '1.0', '', 'a', '{"a":1}', 'NULL', '2024-01-01', '2024-01-01 00:00:00.000001+00', '1 day', 'f', 1,
     '\\x00', '{NULL}', '(0,0)', '1', '[0,1]');
"""
NEAR = {
    "f8": "'-0'", "f4": "'-0'", "n": "1.00", "t": "NULL", "c": "'b'", "j": "'{\"a\": 1}'", "v": "NULL",
    "d": "'2024-01-01 BC'", "ts": "'2024-01-01 00:00:00.000002+00'", "i": "'24:00'", "b": "NULL", "i8": "4294967296",
    "by": "'\\x'", "a": "'{\"NULL\"}'", "p": "'(0,-0)'", "bits": "'10'", "r": "'[0,1.0]'",
}  # fmt: skip


@pytest.mark.template(source=NEAR_SQL)
@pytest.mark.parametrize(("extended", "floats"), [(True, False), (True, True), (False, False), (False, True)])
def test_values_that_pass_for_equal_are_told_apart(db_pair: DatabasePair, extended: bool, floats: bool) -> None:
    name = Name("public", "near")
    with session(db_pair.source) as where:
        columns = describe(where, [name])[name].columns
        before = hashed(where, columns, name, extended, floats)
        unseen = []
        for column, value in NEAR.items():
            where.execute("BEGIN")
            where.execute(f"UPDATE public.near SET {column} = {value}")
            if hashed(where, columns, name, extended, floats) == before:
                unseen.append(column)
            where.execute("ROLLBACK")
    assert unseen == []


@pytest.mark.template(source=NEAR_SQL + "CREATE TABLE public.later AS TABLE public.near;")
def test_a_value_changed_on_the_target_behind_the_run_is_found_and_mended(db_pair: DatabasePair, state: str) -> None:
    done: list[Event] = []
    events: list[Event] = []

    def after_the_first(event: Event) -> None:
        done.extend([event] if event.kind is EventKind.CHUNK_DONE else [])

    with pytest.raises(StoppedError):
        move(db_pair, "near", "later", listener=after_the_first, stop=lambda: bool(done), events=events)
    (touched,) = {str(e.table) for e in done}
    with psycopg.connect(db_pair.target) as target:
        target.execute(f"UPDATE {touched} SET f8 = '-0'")
    resumed = resume()
    assert resumed.run.state is RunState.DONE
    assert [e.data["agrees"] for e in resumed.of(EventKind.VERIFIED) if e.table == touched] == [False]
    assert [e.table for e in resumed.of(EventKind.CHUNK_REDO)] == [touched]
    assert_same_content(db_pair.source, db_pair.target, ["public.near", "public.later"])


ENDLESS_SQL = "CREATE TABLE public.endless (i interval, a interval[]); INSERT INTO public.endless VALUES ('{}', '{{}}')"


@pytest.mark.template(source=ENDLESS_SQL.replace("{}", "infinity"))
@pytest.mark.parametrize("db_pair", [("pg18", "pg16")], indirect=True)
def test_an_infinite_interval_is_refused_by_a_server_that_has_none(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(RowError, match="infinity"):
        move(db_pair, "endless")


EXTENSIONS_SQL = """
CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION ltree;
CREATE EXTENSION cube; CREATE EXTENSION seg; CREATE EXTENSION isn;
CREATE TABLE public.extended (h ext.hstore, hs ext.hstore[], c ext.citext, l ltree, q lquery, cu cube, s seg, i isbn);
INSERT INTO public.extended VALUES ('a=>NULL, "b c"=>""', ARRAY['x=>1'::ext.hstore, NULL], 'Ä', 'a.b', '*.b', '(0.1,2)',
    '0.1 .. 2', '0-393-04002-X'), ('', '{}', '', '', '*', '(1),(2)', '~1', NULL);
INSERT INTO public.extended DEFAULT VALUES;
CREATE TABLE public.markup (x xml, xs xml[]);
INSERT INTO public.markup VALUES ('<?xml version="1.0" standalone="yes"?><a b="1">한</a>', ARRAY['<b/>'::xml, NULL]),
    ('text', '{}'), ('', NULL), (NULL, NULL), ('<!DOCTYPE a><a/>'::xml, NULL);
"""


@pytest.mark.template(source=EXTENSIONS_SQL)
@pytest.mark.parametrize("db_pair", [("pg15", "pg15")], indirect=True)
def test_types_of_extensions_and_xml_arrive(db_pair: DatabasePair, state: str) -> None:
    assert move(db_pair, "*").run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, ["public.extended", "public.markup"])


VECTORS_SQL = """
CREATE SCHEMA ai; CREATE EXTENSION vector SCHEMA ai;
CREATE TABLE public.embedded (id int4, v ai.vector(3), vs ai.vector[]);
INSERT INTO public.embedded VALUES (1, '[0.1,-0,1e-30]', '{NULL,"[1]"}'), (2, NULL, NULL);
"""


@pytest.mark.template(source=VECTORS_SQL)
def test_vectors_arrive_in_their_extensions_schema(db_pair: DatabasePair, state: str) -> None:
    assert move(db_pair, "embedded").run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, ["public.embedded"])
