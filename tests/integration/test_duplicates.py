"""Rows that a unique index will not have twice: all are found, one stays as asked, the others are set aside."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.moving import move, rows, run_sql

from pghaul.model.copy_text import decode
from pghaul.model.errors import QuarantineError, RowError
from pghaul.model.run import RunState

# An index that its owner believes in, and that has not looked for a while: as after a broken collation.
UNSEEN = """
SET allow_system_table_mods = on;
UPDATE pg_index SET indisready = false WHERE indrelid = 'public.t'::regclass;
"""
SEEN = """
SET allow_system_table_mods = on;
UPDATE pg_index SET indisready = true WHERE indrelid = 'public.t'::regclass;
"""
CONTENT = "SELECT id, v, at FROM public.t ORDER BY id, at"


def doubled(pair: DatabasePair, table: str, *inserts: str) -> None:
    """A source whose unique indexes lie."""
    run_sql(pair.source, table)
    for script in (UNSEEN, *inserts, SEEN):
        run_sql(pair.source, script)


def set_aside(url: str) -> list[dict[str, Any]]:
    found = rows(url, "SELECT columns, row_data, encoding FROM pghaul.quarantine ORDER BY id")
    return [dict(zip(c, decode(bytes(line), e), strict=True)) for c, line, e in found]


TABLE = """CREATE TABLE public.t (id int4 PRIMARY KEY, v text, at timestamptz, n float8, c char(4), twice int8
           GENERATED ALWAYS AS (id * 2) STORED);"""
ROWS = (
    "INSERT INTO public.t SELECT i, 'v' || i, '2026-01-01', 0.1, 'x' FROM generate_series(1, 3000) i",
    r"INSERT INTO public.t VALUES (7, E'a\tb\\c\nd\b\f\r\x0b', '2026-01-02 03:04:05.678901+09', 0.1, ''), "
    "(7, NULL, NULL, NULL, NULL)",
    "INSERT INTO public.t VALUES (9, '', '2025-01-01', 'NaN', '한'), (9, '\\N', '2026-02-01', 1e-300, 'ab')",
)
SEVEN = "a\tb\\c\nd\b\f\r\v"


@pytest.mark.since(13)
@pytest.mark.parametrize(
    ("how", "split", "kept", "losers"),
    [
        ({"duplicates": "first", "duplicates_by": "at"}, 1 << 30, ["v7", ""], 4),
        ({"duplicates": "last", "duplicates_by": "at"}, 8192 * 8, [SEVEN, r"\N"], 4),
        ({"duplicates": "first"}, 1 << 30, ["v7", "v9"], 4),
        ({"duplicates": "none"}, 8192 * 8, [], 6),
    ],
)
def test_the_row_that_stays_is_the_one_that_was_asked_for(
    db_pair: DatabasePair, state: str, how: dict[str, str], split: int, kept: list[str], losers: int
) -> None:
    """In one piece or in several, with checksums; what is set aside is the row to the last byte."""
    doubled(db_pair, TABLE, *ROWS)
    moved = move(db_pair, "t", max_rejects=losers, split_bytes=split, **how)
    assert moved.run.state is RunState.DIFFERENT
    assert len(moved.notices("SET ASIDE")) == 1
    assert [v for _, v, _ in rows(db_pair.target, CONTENT + " ") if v in {"v7", "v9", "", SEVEN, r"\N"}] == kept
    assert rows(db_pair.target, "SELECT count(*), count(DISTINCT id) FROM public.t") == [(3004 - losers,) * 2]
    everything = "SELECT id::text, v, at::text, n::text, rtrim(c), length(c::text) FROM public.t"
    aside = set_aside(db_pair.target)
    assert len(aside) == losers
    run_sql(db_pair.target, "SET TimeZone = 'UTC'; CREATE TABLE public.again AS SELECT * FROM public.t; "
            "ALTER TABLE public.again DROP COLUMN twice")  # fmt: skip
    with psycopg.connect(db_pair.target, autocommit=True) as session:
        for line, encoding in session.execute("SELECT row_data, encoding FROM pghaul.quarantine").fetchall():
            with session.cursor().copy(f"COPY public.again FROM STDIN (ENCODING '{encoding}')") as copy:
                copy.write(bytes(line) + b"\n")
    whole = everything.replace("public.t", "public.again") + " ORDER BY 1, 2, 3"
    assert rows(db_pair.target, whole) == rows(db_pair.source, everything + " ORDER BY 1, 2, 3")
    reasons = rows(db_pair.target, "SELECT DISTINCT relation, source_key, sqlstate, constraint_name, message FROM "
                   "pghaul.quarantine ORDER BY source_key")  # fmt: skip
    assert [(r, k, s, c) for r, k, s, c, _ in reasons] == [
        ("public.t", '{"id":"7"}', "23505", "t_pkey"),
        ("public.t", '{"id":"9"}', "23505", "t_pkey"),
    ]
    assert "(id)=(7)" in reasons[0][4]


CLEVER = """
CREATE TABLE public.t (a text, b int4, c text, p bool);
CREATE UNIQUE INDEX t_a ON public.t (a COLLATE "C", (b / 10)) WHERE p;
CREATE UNIQUE INDEX t_c ON public.t (c) NULLS NOT DISTINCT;
"""


@pytest.mark.since(15)
def test_the_index_says_what_is_equal(db_pair: DatabasePair, state: str) -> None:
    """Expressions, collations, a predicate, and whether NULL is equal to NULL."""
    inserts = """INSERT INTO public.t VALUES ('a', 11, '1', true), ('a', 12, '2', true), ('a', 13, '3', false),
        ('a', 21, '4', true), (NULL, 11, '5', true), (NULL, 11, '6', true), ('z', 1, NULL, false),
        ('y', 1, NULL, false)"""
    doubled(db_pair, CLEVER, inserts)
    move(db_pair, "t", max_rejects="50%", duplicates="first", verify="count")
    left = "SELECT a, b, c FROM public.t ORDER BY c NULLS LAST, a"
    assert rows(db_pair.target, left) == [
        ("a", 11, "1"), ("a", 13, "3"), ("a", 21, "4"), (None, 11, "5"), (None, 11, "6"), ("z", 1, None),
    ]  # fmt: skip
    assert rows(db_pair.target, "SELECT constraint_name FROM pghaul.quarantine ORDER BY 1") == [("t_a",), ("t_c",)]


@pytest.mark.since(13)
def test_without_leave_the_first_keys_are_named_and_how_many_there_are(db_pair: DatabasePair, state: str) -> None:
    doubled(db_pair, TABLE, *ROWS)
    with pytest.raises(RowError, match=r"4 rows have a key .* t_pkey is unique; the first: .*\(id\)=\(7\)"):
        move(db_pair, "t")
    run_sql(db_pair.target, "DROP TABLE public.t")
    with pytest.raises(QuarantineError, match=r"4 rows of public.t .* \(3\)"):
        move(db_pair, "t", duplicates="first", max_rejects=3)
    run_sql(db_pair.target, "DROP TABLE public.t")
    with pytest.raises(QuarantineError, match="without the column no such column"):
        move(db_pair, "t", duplicates="last", duplicates_by="no such column", max_rejects=4)
    run_sql(db_pair.source, "CREATE TABLE public.other (it int4 PRIMARY KEY)")
    with pytest.raises(RowError, match="4 rows have a key"):
        move(db_pair, "t", "other", duplicates="last", duplicates_by="it", max_rejects=4)
    assert rows(db_pair.target, "SELECT count(*) FROM pghaul.quarantine") == [(0,)]
    assert rows(db_pair.target, "SELECT count(*) FROM public.t") == [(0,)]
