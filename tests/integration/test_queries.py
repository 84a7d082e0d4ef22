"""Queries as sources: the server says what they give, and refuses what does more than read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.reading import session_at

from pghaul.model.errors import PlanError
from pghaul.model.table import Name
from pghaul.postgres.catalog import describe as describe_tables
from pghaul.postgres.session import Session
from pghaul.sources.queries import describe

NAME = Name("public", "into")
KINDS = """
CREATE TYPE public.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN public.short AS varchar(5);
CREATE SEQUENCE public.s;
CREATE TABLE public.k (
    id int4 PRIMARY KEY, n numeric(10,2), v varchar(7), c char(3), m public.mood[], d public.short,
    at timestamptz(3), "Größe ""x"" y" float8, i interval day to second);
CREATE FUNCTION public.writes() RETURNS int LANGUAGE sql AS 'INSERT INTO public.k VALUES (1) RETURNING id';
"""


@pytest.fixture
def source(db_source: str) -> Iterator[Session]:
    with session_at(db_source) as session:
        yield session


@pytest.mark.template(source=KINDS)
def test_columns_have_the_types_that_the_table_has(source: Session) -> None:
    """All but domains, of which a query tells what is below them."""
    found = describe(source, "SELECT * FROM public.k ORDER BY id -- all of them", NAME)
    table = describe_tables(source, [Name("public", "k")])[Name("public", "k")]
    expected = {c.name: c.type for c in table.columns} | {"d": "character varying(5)"}
    assert {c.name: c.type for c in found.columns} == expected
    assert {c.name: c.base for c in found.columns} == {c.name: c.base for c in table.columns}
    assert [c.output_function for c in found.columns] == [c.output_function for c in table.columns]
    assert (found.name, found.oid, found.indexes) == (NAME, 0, ())


@pytest.mark.template(source=KINDS)
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT nothing FROM public.k", "does not take the query.*nothing"),
        ("SELECT * FROM k", "does not take the query.*k"),
        ("SELECT 1 AS a,", "does not take the query"),
        ("SELECT 1) AS q; (SELECT 2", "2 statements"),
        ("SELECT 1 AS a) AS q, (SELECT 2 AS b", "does not take the query"),
        ("SELECT 1, 2 AS b", "column 1 of the query has no name"),
        ("SELECT 1 AS a, 2 AS b, 3 AS a", "have the same name: a"),
        ("SELECT k AS whole, row(1, 2) AS pair FROM public.k", "no type that a table could have: pair"),
        ("SELECT * FROM public.k FOR UPDATE", "FOR UPDATE"),
        ("SELECT id FROM public.k WHERE id = $1", "does not take the query"),
    ],
)
def test_what_is_no_source_of_rows_is_refused(source: Session, sql: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        describe(source, sql, NAME)
    assert source.value("SELECT 1") == 1


@pytest.mark.template(source=KINDS)
def test_a_description_runs_nothing_and_leaves_the_callers_transaction_alone(source: Session) -> None:
    """Functions that write are found when rows are read: the snapshot's transaction only reads."""
    with source.transaction():
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with pytest.raises(PlanError):
            describe(source, "SELECT broken", NAME)
        assert len(describe(source, "SELECT nextval('public.s') AS n, public.writes() AS w", NAME).columns) == 2
    assert source.value("SELECT count(*) FROM public.k") == 0
    assert source.value("SELECT is_called FROM public.s") is False
