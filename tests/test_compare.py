"""The judge is judged: the independent compare sees what it has to see."""

from __future__ import annotations

import psycopg
import pytest

from pghaul.model.table import Name
from tests.compare import assert_same_content, content_difference
from tests.databases import DatabasePair

TABLE = """
    CREATE SCHEMA s; CREATE TABLE s."Ü t" (a int, b text, c float8, d int GENERATED ALWAYS AS (a * 2) STORED);
    INSERT INTO s."Ü t" SELECT g % 3, nullif(g::text, '2'), g / 3.0 FROM generate_series(1, 9) g;
    INSERT INTO s."Ü t" SELECT a, b, c FROM s."Ü t"
"""
NAME = Name("s", "Ü t")


@pytest.mark.template(source=TABLE, target=TABLE)
def test_equal_multisets_are_equal_whatever_their_order(db_pair: DatabasePair) -> None:
    with psycopg.connect(db_pair.target, autocommit=True) as target:
        target.execute("UPDATE s.\"Ü t\" SET a = a WHERE b = '5'")  # moves rows within the heap
    assert assert_same_content(db_pair.source, db_pair.target, [NAME]) == (0, 0)


@pytest.mark.template(source=TABLE, target=TABLE)
@pytest.mark.parametrize(
    ("change", "lost", "doubled"),
    [
        ("DELETE FROM s.\"Ü t\" WHERE b = '5'", 2, 0),
        ('INSERT INTO s."Ü t" SELECT a, b, c FROM s."Ü t" WHERE b = \'5\'', 0, 2),
        ("UPDATE s.\"Ü t\" SET b = '' WHERE b IS NULL", 2, 2),
        ("UPDATE s.\"Ü t\" SET c = c + 1e-15 WHERE b = '5'", 2, 2),
        ('TRUNCATE s."Ü t"', 18, 0),
        ('DROP TABLE s."Ü t"', 18, 0),
    ],
)
def test_lost_and_doubled_rows_are_counted(db_pair: DatabasePair, change: str, lost: int, doubled: int) -> None:
    with psycopg.connect(db_pair.target, autocommit=True) as target:
        target.execute(change.encode())
    found = content_difference(db_pair.source, db_pair.target, [NAME])
    assert (found.lost, found.doubled) == (lost, doubled)
    assert found.examples
