"""One bad row never costs a load: it is set aside with its reason, and all others arrive."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.moving import Moved, move, rows

from pghaul.model import copy_text
from pghaul.model.event import EventKind
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

QUARANTINE = """
SELECT relation, chunk, source_key, row_data, encoding, sqlstate, message, column_name, constraint_name
FROM pghaul.quarantine ORDER BY id
"""


def set_aside(url: str) -> list[dict[str, Any]]:
    """What lies in quarantine."""
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as session:
        return session.execute(QUARANTINE.encode()).fetchall()


def values(url: str, table: str) -> list[tuple[str | None, ...]]:
    """The rows of a table that lie in quarantine."""
    return [copy_text.decode(r["row_data"], r["encoding"]) for r in set_aside(url) if r["relation"] == table]


def rejected(moved: Moved) -> dict[str, int]:
    """By table, what the receipts say."""
    found: dict[str, int] = {}
    for event in moved.of(EventKind.CHUNK_DONE):
        found[str(event.table)] = found.get(str(event.table), 0) + event.data["rejected"]
    return found


# Of each table every tenth row is refused, for a reason of its own.
KINDS: dict[str, tuple[str, str, str, str, str]] = {
    # table: (the source's column, its values, the target's column, SQLSTATE, constraint)
    "typed": ("text", "CASE WHEN bad THEN 'abc' ELSE i::text END", "int4", "22P02", ""),
    "filled": ("text", "CASE WHEN NOT bad THEN i::text END", "text NOT NULL", "23502", ""),
    "checked": (
        "int4",
        "CASE WHEN bad THEN -i ELSE i END",
        "int4 CONSTRAINT positive CHECK (v > 0)",
        "23514",
        "positive",
    ),
    "long": ("text", "CASE WHEN bad THEN 'long' ELSE 'ok' END", "varchar(3)", "22001", ""),
    "large": ("int8", "CASE WHEN bad THEN 1::int8 << 40 ELSE i END", "int4", "22003", ""),
    "many": ("numeric", "CASE WHEN bad THEN 1234.5 ELSE 1.25 END", "numeric(4,2)", "22003", ""),
    "nul": ("json", "CASE WHEN bad THEN '{\"a\":\"\\u0000\"}' ELSE '{}' END::json", "jsonb", "22P05", ""),
    "twice": ("int4", "CASE WHEN bad THEN i - 1 ELSE i END", "int4 CONSTRAINT one UNIQUE", "23505", "one"),
    "loud": ("int4", "CASE WHEN bad THEN 0 ELSE i END", "int4", "P0001", ""),
}
BAD = "i % 10 = 3"
SOURCE = "".join(
    f"CREATE TABLE public.{name} (id int4 PRIMARY KEY, v {kind});"
    f"INSERT INTO public.{name} SELECT i, {value} FROM (SELECT i, {BAD} AS bad FROM generate_series(1, 100) i) x;"
    for name, (kind, value, *_) in KINDS.items()
)
TARGET = "".join(f"CREATE TABLE public.{name} (id int4, v {kind});" for name, (_, _, kind, *_) in KINDS.items())
LOUD = """
CREATE FUNCTION public.refuse(v int4) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN IF v = 0 THEN RAISE EXCEPTION 'no'; END IF; RETURN true; END $$;
ALTER TABLE public.loud ADD CHECK (public.refuse(v));
"""


@pytest.mark.template(source=SOURCE, target=TARGET + LOUD)
def test_whatever_the_target_refuses_is_set_aside_and_the_rest_is_loaded(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "public.*", max_rejects="10%", workers=2)
    assert moved.run.state is RunState.DIFFERENT
    assert rejected(moved) == {f"public.{name}": 10 for name in KINDS}
    found = set_aside(db_pair.target)
    for name, (*_, code, constraint) in KINDS.items():
        source = rows(db_pair.source, f"SELECT id, v::text FROM public.{name} i WHERE id % 10 = 3 ORDER BY id")
        assert values(db_pair.target, f"public.{name}") == [(str(i), v) for i, v in source], name
        mine = [r for r in found if r["relation"] == f"public.{name}"]
        assert {(r["sqlstate"], r["constraint_name"] or "") for r in mine} == {(code, constraint)}, name
        assert mine[0]["source_key"] == '{"id": "3"}'
        assert mine[0]["column_name"] in {None, "v"}
        loaded = rows(db_pair.target, f"SELECT id FROM public.{name} ORDER BY id")
        assert loaded == rows(db_pair.source, f"SELECT id FROM public.{name} WHERE id % 10 <> 3 ORDER BY id")
    assert sorted(moved.notices("SET ASIDE")) == sorted(f"public.{name}" for name in KINDS)
    assert set(moved.proofs().values()) <= {"stream", "rows"}
    assert MigrationService().resume(moved.run.id, listener=lambda _: None).state is RunState.DIFFERENT
