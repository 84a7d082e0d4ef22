"""One bad row never costs a load: it is set aside with its reason, and all others arrive."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.integration.test_encodings import database
from tests.moving import Moved, move, resume, rows, run_sql

from pghaul.model import copy_text
from pghaul.model.errors import QuarantineError, RowError
from pghaul.model.event import EventKind
from pghaul.model.run import RunState
from pghaul.service.embedded import Cluster

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
@pytest.mark.parametrize("options", [{"max_rejects": "10%"}, {"max_rejects": 10, "recipe": "insert"}])
def test_whatever_the_target_refuses_is_set_aside_and_the_rest_is_loaded(
    db_pair: DatabasePair, state: str, options: dict[str, Any]
) -> None:
    kinds = [n for n in KINDS if n != "nul" or "recipe" not in options]  # the source hashes it as a jsonb, too
    moved = move(db_pair, *(f"public.{name}" for name in kinds), **options)
    assert moved.run.state is RunState.DIFFERENT
    assert rejected(moved) == {f"public.{name}": 10 for name in kinds}
    found = set_aside(db_pair.target)
    for name in kinds:
        *_, code, constraint = KINDS[name]
        source = rows(db_pair.source, f"SELECT id, v::text FROM public.{name} i WHERE id % 10 = 3 ORDER BY id")
        assert values(db_pair.target, f"public.{name}") == [(str(i), v) for i, v in source], name
        mine = [r for r in found if r["relation"] == f"public.{name}"]
        assert {(r["sqlstate"], r["constraint_name"] or "") for r in mine} == {(code, constraint)}, name
        assert mine[0]["source_key"] == '{"id": "3"}'
        assert mine[0]["column_name"] in {None, "v"}
        loaded = rows(db_pair.target, f"SELECT id FROM public.{name} ORDER BY id")
        assert loaded == rows(db_pair.source, f"SELECT id FROM public.{name} WHERE id % 10 <> 3 ORDER BY id")
    assert sorted(moved.notices("SET ASIDE")) == sorted(f"public.{name}" for name in kinds)
    assert set(moved.proofs().values()) <= {"stream", "rows"}


TEXTS = """
CREATE TABLE public.t (id int4 PRIMARY KEY, v text);
INSERT INTO public.t SELECT i, CASE WHEN i IN (1, 2, 500, 998, 999, 1000) THEN 'bad' ELSE i::text END
FROM generate_series(1, 1000) i;
CREATE TABLE public.whole (v text); INSERT INTO public.whole SELECT 'bad' FROM generate_series(1, 70);
CREATE TABLE public.half (v text); INSERT INTO public.half SELECT CASE i % 2 WHEN 0 THEN 'bad' ELSE '1' END
FROM generate_series(1, 70) i;
"""
NUMBERS = """
CREATE TABLE public.t (id int4, v int4); CREATE TABLE public.whole (v int4); CREATE TABLE public.half (v int4);
"""


@pytest.mark.template(source=TEXTS, target=NUMBERS)
def test_none_is_set_aside_if_nothing_is_said_and_the_first_rows_are_named(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(RowError) as failed:
        move(db_pair, "t")
    message = failed.value.message
    assert [f"id = {i}," in message for i in (1, 2, 500, 998, 999, 1000)] == [True] * 5 + [False]
    assert "--max-rejects" in failed.value.advice
    assert failed.value.sqlstate == "22P02"
    assert set_aside(db_pair.target) == rows(db_pair.target, "SELECT * FROM public.t") == []


@pytest.mark.template(source=TEXTS, target=NUMBERS)
def test_a_run_that_refuses_too_many_fails_and_goes_on_when_more_are_allowed(db_pair: DatabasePair, state: str) -> None:
    """First and last row, all rows, every second row; and no row is set aside twice."""
    with pytest.raises(QuarantineError, match=r"more rows of public\.\w+ than may be set aside \(5\)"):
        move(db_pair, "public.*", max_rejects=5)
    moved = resume(max_rejects=70)
    assert moved.run.state is RunState.DIFFERENT
    assert len(values(db_pair.target, "public.whole")) == 70
    assert len(values(db_pair.target, "public.half")) == 35
    assert [int(str(i)) for i, _ in values(db_pair.target, "public.t")] == [1, 2, 500, 998, 999, 1000]
    assert [rows(db_pair.target, f"SELECT count(*) FROM public.{t}")[0][0] for t in ("t", "whole", "half")] == [
        994,
        0,
        35,
    ]


BYTES = {1: b"plain", 2: b"\xb0\xa1", 3: "\ub6c1".encode(), 4: b"\xff\\n", 5: b""}


@pytest.mark.parametrize("recipe", ["copy", "insert"])
def test_bytes_that_are_no_text_are_kept_as_they_are(
    db_pair: DatabasePair, pg16: Cluster, state: str, recipe: str
) -> None:
    with database(pg16, "SQL_ASCII", "utf-8", []) as source:
        with psycopg.connect(source, client_encoding="SQL_ASCII", autocommit=True) as session:
            session.execute("CREATE TABLE public.b (id int4 PRIMARY KEY, v text)")
            with session.cursor().copy("COPY public.b FROM STDIN") as copy:
                for i, word in BYTES.items():
                    copy.write(b"%d\t%s\n" % (i, word))
        moved = move(db_pair, "b", source=source, max_rejects=2, recipe=recipe)
        assert moved.run.state is RunState.DIFFERENT
        found = {r["source_key"]: r["row_data"] for r in set_aside(db_pair.target)}
        assert found == {'{"id": "2"}': b"2\t\xb0\xa1", '{"id": "4"}': b"4\t\xff\\n"}
        loaded = rows(db_pair.target, "SELECT id, v FROM public.b ORDER BY id")
        assert loaded == [(i, v.decode()) for i, v in BYTES.items() if i not in {2, 4}]


ANYWHERE = """
CREATE TABLE public.t (id int4 PRIMARY KEY, pad text, v text);
INSERT INTO public.t SELECT i, repeat('x', (i * 7919) % 200), CASE WHEN {bad} THEN E'b\\t\\\\a\\n' || i ELSE i::text END
FROM generate_series(1, 20000) i;
"""
PLACES = ["i * 7919 % 20001 < 40", "i > 19990", "i BETWEEN 3000 AND 3020 OR i % 1777 = 0"]


@pytest.mark.template(target="CREATE TABLE public.t (id int4, pad text, v int4)")
@pytest.mark.parametrize(
    ("bad", "options"),
    list(zip(PLACES, [{"split_bytes": 1 << 19, "workers": 2}, {"recipe": "insert"}, {"format": "text"}], strict=True)),
)
def test_what_is_loaded_and_what_is_set_aside_are_the_source_exactly(
    db_pair: DatabasePair, state: str, bad: str, options: dict[str, Any]
) -> None:
    run_sql(db_pair.source, ANYWHERE.format(bad=bad))
    moved = move(db_pair, "t", max_rejects="1%", **options)
    assert moved.run.state is RunState.DIFFERENT
    loaded = [(str(i), p, str(v)) for i, p, v in rows(db_pair.target, "SELECT id, pad, v FROM public.t")]
    assert sorted(loaded + values(db_pair.target, "public.t")) == sorted(
        (str(i), p, v) for i, p, v in rows(db_pair.source, "SELECT id, pad, v FROM public.t")
    )
    assert rows(db_pair.target, "SELECT count(*) FROM public.t") == rows(
        db_pair.source, "SELECT count(*) FROM public.t WHERE v !~ 'b'"
    )
    assert moved.notices("PROOF") == []
    assert all(e.data["agrees"] for e in moved.of(EventKind.VERIFIED))
