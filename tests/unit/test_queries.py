"""A person's SQL, looked at before any server sees it."""

from __future__ import annotations

import pytest

from pghaul.model.errors import PlanError
from pghaul.sources.queries import bare, check


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a",
        "select ';' as a, $$;$$ as b, $x$ ; $$ $x$ as c, E'\\';' as d, \";\" from t;",
        "-- ; first\n/* ; /* nested ; */ ; */ SELECT 1 AS a ; -- ; last",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
        "VALUES (1), (2)",
        "TABLE public.t ;;",
        "((SELECT 1 AS a) UNION ALL SELECT 2)",
        "SELECT a$b$c FROM t WHERE $1 = 2",
        "SELECT 'it''s; -- no comment' AS a",
        'SELECT update_time, deleted, "insert" FROM public.merge',
        "SELECT something only this server understands ~~~> x AS y",
    ],
)
def test_one_statement_that_reads_is_let_through(sql: str) -> None:
    check(sql)
    assert not bare(sql).rstrip().endswith(";")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("", "the query is empty"),
        (" ; -- nothing", "the query is empty"),
        ("SELECT 1; SELECT 2", "2 statements, not one"),
        ("SELECT 1; DROP TABLE t; --", "2 statements, not one"),
        ("SELECT '1\\'; DELETE FROM t; --'", "2 statements, not one"),
        ("DELETE FROM t", "not with 'DELETE'"),
        ("/* x */ update t SET a = 1", "not with 'UPDATE'"),
        ("COPY t TO STDOUT", "not with 'COPY'"),
        ("EXPLAIN SELECT 1", "not with 'EXPLAIN'"),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "it has DELETE"),
        ("WITH d AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM d", "it has UPDATE"),
        ("WITH d AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM d", "it has INSERT"),
        ("SELECT * INTO u FROM t", "it has INTO"),
        ("SELECT * FROM t FOR UPDATE", "it has FOR UPDATE"),
        ("SELECT * FROM (SELECT * FROM t FOR SHARE) AS q", "it has FOR UPDATE/SHARE"),
    ],
)
def test_anything_else_is_refused_in_words(sql: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        check(sql)


def test_a_semicolon_at_the_end_goes_and_comments_stay() -> None:
    assert bare("SELECT 1 AS a; -- done") == "SELECT 1 AS a"
    assert bare("SELECT 1 AS a -- done") == "SELECT 1 AS a -- done"
    assert bare(" ;\nSELECT ';' AS a\n;") == "\nSELECT ';' AS a\n"
