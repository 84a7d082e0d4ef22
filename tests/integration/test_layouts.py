"""Targets that look different from their source, on real servers: every row once, proven by content."""

from __future__ import annotations

from typing import Any

import pytest
from tests.databases import DatabasePair
from tests.looking import value
from tests.moving import Moved, assert_done, rows
from tests.plant_history import Plant
from tests.stopping import Brake

from pghaul.model.event import Event
from pghaul.model.plan import Options, Period, Plan, Selection, Verify
from pghaul.service.migration import MigrationService

PLANT = Plant(days=12, trend_months=3, energy_months=2, running_months=2, rows_per_day=60, rows_per_month=60)
TREES = ("point_history", "trend_history", "energy_display", "running_time_history")


def move(
    pair: DatabasePair, *selections: Selection, period: Period | None = None, brake: Brake | None = None, **options: Any
) -> Moved:
    chosen = Options(**({"workers": 1, "verify": Verify.CHECKSUM} | options))
    plan = Plan(source=pair.source, target=pair.target, tables=list(selections), period=period, options=chosen)
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if brake:
            brake.hear(event)

    stop = brake.pulled if brake else (lambda: False)
    return Moved(run=MigrationService().run(plan, listener=hear, stop=stop), events=heard)


def same_rows(pair: DatabasePair, source: str, target: str | None = None) -> int:
    """Every row of a whole tree, as text, as a multiset; how many there are."""
    query = "SELECT {}::text FROM {} AS t ORDER BY 1"
    ours = rows(pair.source, query.format("t", source))
    theirs = rows(pair.target, query.format("t", target or source))
    assert ours == theirs
    return len(ours)


@pytest.mark.template(source=PLANT.script())
def test_inheritance_becomes_declarative(db_pair: DatabasePair, state: str) -> None:
    """All four trees; rows left in the parent go to the leaf that holds them, and to DEFAULT."""
    assert_done(move(db_pair, *(Selection(name=t, layout="declarative") for t in TREES)))
    for tree in TREES:
        assert same_rows(db_pair, f"public.{tree}") == PLANT.rows(tree)
        assert value(db_pair.target, f"SELECT relkind FROM pg_class WHERE relname = '{tree}'") == "p"


FLAT = """
    CREATE TYPE public.grade AS ENUM ('a', 'b');
    CREATE FUNCTION public.start() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7';
    CREATE TABLE public.seen (
        id serial PRIMARY KEY, at timestamptz, kind text, grade public.grade DEFAULT 'a', n int DEFAULT public.start(),
        twice int GENERATED ALWAYS AS (id * 2) STORED, CONSTRAINT positive CHECK (id > 0));
    COMMENT ON TABLE public.seen IS 'what was seen';
    COMMENT ON COLUMN public.seen.at IS 'when';
    ALTER TABLE public.seen ALTER COLUMN kind SET STORAGE EXTERNAL;
    CREATE INDEX seen_at ON public.seen (at);
    CREATE INDEX "seen odd" ON public.seen (lower(kind), id DESC) WHERE id > 3;
    INSERT INTO public.seen (at, kind, grade)
        SELECT '2025-08-31 14:00+00'::timestamptz + g * interval '17 min', 'kind ' || g % 3, 'b'
        FROM generate_series(1, 650) g;
    INSERT INTO public.seen (at, kind) VALUES (NULL, NULL), (NULL, 'x'), ('infinity', 'y'), ('-infinity', 'z'),
        ('2025-08-31 15:00+00', 'midnight in Seoul'), ('2025-09-01 14:59:59.999999+00', 'before midnight');
"""


@pytest.mark.template(source=FLAT)
def test_a_flat_table_becomes_partitions_by_local_day(db_pair: DatabasePair, state: str) -> None:
    """Nine days in Seoul; rows without a key, and at infinity, lie in DEFAULT."""
    flat = Selection(name="seen", layout="day", key="at")
    moved = move(db_pair, flat, period=Period(timezone="Asia/Seoul"))
    assert_done(moved)
    assert same_rows(db_pair, "public.seen") == 656
    leaves = rows(db_pair.target, "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1")
    days = ["20250831", *(f"2025090{d}" for d in range(1, 9))]
    assert [n for (n,) in leaves] == [f"seen_{d}" for d in days] + ["seen_default"]
    assert value(db_pair.target, "SELECT count(*) FROM public.seen_default") == 4
    assert "public.seen.seen_pkey" in moved.notices("INDEX")
    assert value(db_pair.target, "INSERT INTO public.seen (at) VALUES ('2025-09-02') RETURNING id") == 657
