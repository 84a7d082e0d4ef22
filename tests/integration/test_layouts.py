"""Targets that look different from their source, on real servers: every row once, proven by content."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.faults.program import PATIENCE, Program
from tests.faults.proxy import Fate, Moment, Proxy, Trigger
from tests.looking import execute, state_of, value
from tests.moving import Moved, assert_done, resume, rows
from tests.plant_history import Plant
from tests.stopping import Brake

from pghaul.model.errors import NotSupportedError, PghaulError, PlanError, ShapeChangedError, StoppedError
from pghaul.model.event import Event
from pghaul.model.plan import OnExisting, Options, Period, Plan, Selection, Verify
from pghaul.service.migration import MigrationService

PLANT = Plant(
    first=date(2025, 8, 25),
    days=41,
    trend_months=3,
    energy_months=3,
    running_months=3,
    rows_per_day=20,
    rows_per_month=60,
)
TREES = ("point_history", "trend_history", "energy_display", "running_time_history")
SEPTEMBER = Period(since="2025-09-01", until="2025-10-01", timezone="Asia/Seoul")
BEGIN, END = PLANT.moment(date(2025, 9, 1)), PLANT.moment(date(2025, 10, 1))
IN_SEPTEMBER = dict.fromkeys(TREES, f"issued_date >= {BEGIN} AND issued_date < {END}") | {
    "energy_display": "issued_date >= '2025-09-01' AND issued_date < '2025-10-01'"
}


def move(
    pair: DatabasePair,
    *selections: Selection,
    period: Period | None = None,
    brake: Brake | None = None,
    heard: list[Event] | None = None,
    **options: Any,
) -> Moved:
    chosen = Options(**({"workers": 1, "verify": Verify.CHECKSUM} | options))
    plan = Plan(source=pair.source, target=pair.target, tables=list(selections), period=period, options=chosen)
    events: list[Event] = [] if heard is None else heard

    def hear(event: Event) -> None:
        events.append(event)
        if brake:
            brake.hear(event)

    stop = brake.pulled if brake else (lambda: False)
    return Moved(run=MigrationService().run(plan, listener=hear, stop=stop), events=events)


def same_rows(pair: DatabasePair, source: str, target: str | None = None, where: str = "true") -> int:
    """Every row of a whole tree, as text, as a multiset; how many there are."""
    query = "SELECT t::text FROM {} AS t WHERE {} ORDER BY 1"
    ours = rows(pair.source, query.format(source, where))
    theirs = rows(pair.target, query.format(target or source, "true"))
    assert ours == theirs
    return len(ours)


def leaves(url: str, root: str) -> dict[str, int]:
    """By name, how many rows each partition holds itself."""
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{}'::regclass ORDER BY 1"
    found = rows(url, query.format(root))
    return {name: value(url, f"SELECT count(*) FROM ONLY {name}") for (name,) in found}


# --- inheritance becomes declarative --------------------------------------------------------------------------


@pytest.mark.template(source=PLANT.script())
def test_a_plant_s_history_becomes_declarative(db_pair: DatabasePair, state: str) -> None:
    """All four trees; rows left in the parent go to the partition that holds them, the others to DEFAULT."""
    moved = move(db_pair, *(Selection(name=t, layout="declarative") for t in TREES))
    assert_done(moved)
    for tree in TREES:
        assert same_rows(db_pair, f"public.{tree}") == PLANT.rows(tree)
        assert value(db_pair.target, f"SELECT relkind FROM pg_class WHERE relname = '{tree}'") == "p"
    found = leaves(db_pair.target, "point_history")
    assert found["point_history_default"] == 10
    assert found["point_history_250825"] == 30
    assert found["point_history_250826"] == 20
    adopted = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'point_history_pkey'::regclass"
    assert value(db_pair.target, adopted) == 42
    clustered = "SELECT count(*) FROM pg_index WHERE indisclustered AND indrelid::regclass::text ~ '^point'"
    assert value(db_pair.target, clustered) == 41
    assert {"public.point_history.point_history_insert"} <= set(moved.notices("TRIGGER"))
    assert len(moved.notices("RULE")) == 3
    assert rows(db_pair.target, "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0") == []


@pytest.mark.template(source=PLANT.script())
def test_a_period_of_it_is_killed_and_resumed(db_pair: DatabasePair, state: str) -> None:
    """30 days and one month of each other tree; meanwhile rows of the source change, of the parent's own too."""
    trees = [Selection(name=t, layout="declarative") for t in TREES]
    with pytest.raises(StoppedError):
        move(db_pair, *trees, period=SEPTEMBER, brake=Brake(12))
    day = PLANT.moment(date(2025, 9, 3))
    execute(
        db_pair.source,
        "UPDATE point_history_250902 SET changed_value = 'changed' WHERE path_id = 3",
        "DELETE FROM trend_history_2509 WHERE path_id = 1",
        f"INSERT INTO point_history_250903 VALUES (99, {day}, 'late', true)",
    )
    assert_done(resume())
    for tree in TREES:
        assert same_rows(db_pair, f"public.{tree}", where=IN_SEPTEMBER[tree]) > 0
    assert len(leaves(db_pair.target, "point_history")) == 30
    assert list(leaves(db_pair.target, "energy_display")) == ["energy_display_2509"]


TREE = """
    CREATE TABLE public.h (id int NOT NULL, at {type} {null}, v text DEFAULT 'x');
    CREATE TABLE public.h_1 (CHECK (at >= {a} AND at <= {b})) INHERITS (public.h);
    CREATE TABLE public.h_2 (CHECK (at >= {c} AND at < {d})) INHERITS (public.h);
    INSERT INTO public.h_1 VALUES (1, {a}), (2, {b});
    INSERT INTO public.h_2 VALUES (3, {c});
    INSERT INTO public.h VALUES (4, {a}), (5, {d});
"""
STAMPS = {"a": "'2025-01-01'", "b": "'2025-01-01 23:59:59'", "c": "'2025-01-02'", "d": "'2025-01-03'"}


KEYLESS = """
    INSERT INTO public.h_2 VALUES (6, NULL), (7, NULL);
    INSERT INTO public.h VALUES (8, NULL), (9, 'infinity'), (10, '-infinity');
"""


@pytest.mark.template(source=TREE.format(type="timestamp", null="", **STAMPS) + KEYLESS)
def test_gaps_are_named_and_rows_without_a_key_lie_in_default(db_pair: DatabasePair, state: str) -> None:
    """A CHECK lets NULL pass: such rows cannot lie in a range, wherever they lay."""
    moved = move(db_pair, Selection(name="h", layout="declarative"))
    assert_done(moved)
    assert same_rows(db_pair, "public.h") == 10
    assert leaves(db_pair.target, "h") == {"h_1": 3, "h_2": 1, "h_default": 6}
    gap = "from 2025-01-01 23:59:59.000001 to 2025-01-02 00:00:00 (between h_1 and h_2)"
    assert any(gap in e.message for e in moved.events)


@pytest.mark.template(source=TREE.format(type="timestamp(0)", null="NOT NULL", **STAMPS))
def test_an_inclusive_bound_ends_with_the_column_s_own_precision(db_pair: DatabasePair, state: str) -> None:
    assert_done(move(db_pair, Selection(name="h", layout="declarative")))
    assert same_rows(db_pair, "public.h") == 5
    assert "TO ('2025-01-02 00:00:00')" in value(
        db_pair.target, "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'h_1'"
    )


@pytest.mark.template(source=TREE.format(type="int", null="NOT NULL", a=0, b=9, c=10, d=20))
def test_rows_that_come_where_no_place_was_planned_end_a_resume(db_pair: DatabasePair, state: str) -> None:
    """The parent had no row for h_2: one that comes between two attempts must not be lost in silence."""
    with pytest.raises(StoppedError):
        move(db_pair, Selection(name="h", layout="declarative"), brake=Brake(1))
    execute(db_pair.source, "INSERT INTO public.h VALUES (11, 15)")
    with pytest.raises(ShapeChangedError, match=r"public\.h has rows now that belong to no partition"):
        resume()
    execute(db_pair.source, "DELETE FROM ONLY public.h WHERE id = 11")
    assert_done(resume())
    assert same_rows(db_pair, "public.h") == 5


NUMBERS = TREE.format(type="int", null="NOT NULL", a=0, b=9, c=10, d=20)
WRONG = {
    "overlap": ("CREATE TABLE h_3 (CHECK (at >= 19 AND at < 30)) INHERITS (h)", r"h_2 and public\.h_3"),
    "no bounds": ("CREATE TABLE h_3 () INHERITS (h)", r"which at lies in public\.h_3"),
    "no constant": ("CREATE TABLE h_3 (CHECK (at > id)) INHERITS (h)", r"which at lies in public\.h_3"),
    "own column": (
        "CREATE TABLE h_3 (extra int, CHECK (at >= 20 AND at < 30)) INHERITS (h)",
        r"h_3 has a column extra",
    ),
}


@pytest.mark.template(source=NUMBERS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_tree_that_cannot_be_is_refused_by_name(db_pair: DatabasePair, state: str, wrong: str) -> None:
    statement, says = WRONG[wrong]
    execute(db_pair.source, "SET search_path = public; " + statement)
    before = state_of(db_pair.target)
    with pytest.raises(PlanError, match=says):
        move(db_pair, Selection(name="h", layout="declarative"))
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=NUMBERS)
def test_a_target_without_declarative_partitions_is_refused(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "9.3")
    with pytest.raises(NotSupportedError, match=r"public\.h needs declarative partitions"):
        move(db_pair, Selection(name="h", layout="declarative"))


@pytest.mark.template(source=NUMBERS, target="CREATE TABLE public.h (id int, at int, v text)")
def test_a_namesake_that_is_not_partitioned_is_refused(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(ShapeChangedError, match=r"the target's public\.h is not partitioned"):
        move(db_pair, Selection(name="h", layout="declarative"))


@pytest.mark.template(source=NUMBERS)
def test_what_is_there_is_filled_again(db_pair: DatabasePair, state: str) -> None:
    """The second run finds the partitions of the first, and one that is missing is made."""
    assert_done(move(db_pair, Selection(name="h", layout="declarative")))
    execute(db_pair.target, "DROP TABLE public.h_1")
    assert_done(move(db_pair, Selection(name="h", layout="declarative", on_existing=OnExisting.TRUNCATE)))
    assert same_rows(db_pair, "public.h") == 5


# --- flat tables become partitions ----------------------------------------------------------------------------

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
SEOUL = Period(timezone="Asia/Seoul")
DAYS = [f"seen_{d}" for d in (20250831, *range(20250901, 20250909))]


@pytest.mark.template(source=FLAT)
def test_a_flat_table_becomes_partitions_by_local_day(db_pair: DatabasePair, state: str) -> None:
    """Nine days in Seoul; rows without a key, and at infinity, lie in DEFAULT."""
    moved = move(db_pair, Selection(name="seen", layout="day", key="at"), period=SEOUL)
    assert_done(moved)
    assert same_rows(db_pair, "public.seen") == 656
    found = leaves(db_pair.target, "seen")
    assert list(found) == [*DAYS, "seen_default"]
    assert found["seen_default"] == 4
    assert "public.seen.seen_pkey" in moved.notices("INDEX")
    insert = "INSERT INTO public.seen (at) VALUES ('2025-09-02') RETURNING id, grade, n, twice"
    assert rows(db_pair.target, insert) == [(657, "a", 7, 1314)]
    described = "SELECT obj_description('seen'::regclass), col_description('seen'::regclass, 2)"
    assert rows(db_pair.target, described) == [("what was seen", "when")]
    attached = "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('seen_at'::regclass, '\"seen odd\"'::regclass)"
    assert value(db_pair.target, attached) == 20
    with pytest.raises(psycopg.errors.CheckViolation, match="positive"):
        execute(db_pair.target, "INSERT INTO public.seen (id) VALUES (-1)")


@pytest.mark.template(source=FLAT)
def test_days_are_killed_and_resumed(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(StoppedError):
        move(db_pair, Selection(name="seen", layout="day", key="at"), period=SEOUL, brake=Brake(4))
    execute(
        db_pair.source,
        "UPDATE public.seen SET kind = 'other' WHERE id % 9 = 0",
        "UPDATE public.seen SET at = at + interval '1 day' WHERE id IN (5, 6)",
        "DELETE FROM public.seen WHERE at IS NULL AND kind = 'x'",
    )
    assert_done(resume())
    assert same_rows(db_pair, "public.seen") == 655


@pytest.mark.template(source=FLAT + "DELETE FROM public.seen WHERE at IS NULL OR NOT isfinite(at); DROP INDEX seen_at")
def test_months_without_default_say_what_they_cost(db_pair: DatabasePair, state: str) -> None:
    """Nothing lies beside the months, so nothing is made for it; a row that comes there ends a resume."""
    months = Selection(name="seen", layout="month", key="at", into="store.watched")
    heard: list[Event] = []
    with pytest.raises(StoppedError):
        move(db_pair, months, brake=Brake(1), heard=heard)
    assert any("each of its 2 partitions reads the whole table" in e.message for e in heard)
    execute(db_pair.source, "INSERT INTO public.seen (at) VALUES ('2026-01-01')")
    with pytest.raises(ShapeChangedError, match=r"public\.seen has rows now"):
        resume()
    execute(db_pair.source, "DELETE FROM public.seen WHERE at = '2026-01-01'")
    assert_done(resume())
    assert same_rows(db_pair, "public.seen", "store.watched") == 652
    assert list(leaves(db_pair.target, "store.watched")) == ["store.watched_202508", "store.watched_202509"]
    assert value(db_pair.target, "SELECT nextval('store.watched_id_seq')") == 658


@pytest.mark.template(source=FLAT)
@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("kind", ["before_midnight", "default", "kind_0", "kind_1", "kind_2", "midnight_in_seoul", "x", "y", "z"]),
        ("grade", ["a", "b"]),
    ],
)
def test_values_become_partitions(db_pair: DatabasePair, state: str, key: str, names: list[str]) -> None:
    assert_done(move(db_pair, Selection(name="seen", layout="list", key=key)))
    assert same_rows(db_pair, "public.seen") == 656
    assert sorted(leaves(db_pair.target, "seen")) == [f"seen_{n}" for n in names]


EPOCHS = """
    CREATE TABLE public.points (path_id int8, issued int8, v text);
    INSERT INTO public.points SELECT g, 1756652400000 + g * 3600000, 'v' FROM generate_series(0, 60) g;
    CREATE TABLE public.nothing (LIKE public.points);
"""


@pytest.mark.template(source=EPOCHS)
def test_integers_count_milliseconds_of_local_days(db_pair: DatabasePair, state: str) -> None:
    """1756652400000 is the first of September in Seoul. A table without rows is partitioned all the same."""
    both = [Selection(name=n, layout="day", key="issued") for n in ("points", "nothing")]
    assert_done(move(db_pair, *both, period=SEOUL))
    assert leaves(db_pair.target, "points") == {"points_20250901": 24, "points_20250902": 24, "points_20250903": 13}
    assert same_rows(db_pair, "public.points") == 61
    assert leaves(db_pair.target, "nothing") == {"nothing_default": 0}


REFUSED = {
    "no key": (Selection(name="seen", layout="day"), "by which column is not said"),
    "no such key": (Selection(name="seen", layout="day", key="when"), "no column when"),
    "no time": (Selection(name="seen", layout="day", key="kind"), "no date, timestamp or integer"),
    "generated": (Selection(name="seen", layout="list", key="twice"), "generated column"),
    "too many": (Selection(name="seen", layout="list", key="id"), "more than 500 values"),
    "unclear": (Selection(name="seen", layout="day", key="id"), "which time that means is not clear"),
    "lost key": (Selection(name="seen", layout="day", key="at", columns=["id"]), "not among its columns"),
    "no children": (Selection(name="seen", layout="declarative", key="at"), "has no children"),
}


@pytest.mark.template(source=FLAT)
@pytest.mark.parametrize("wrong", REFUSED)
def test_what_cannot_be_partitioned_is_said(db_pair: DatabasePair, state: str, wrong: str) -> None:
    selection, says = REFUSED[wrong]
    before = state_of(db_pair.target)
    with pytest.raises(PghaulError, match=says):
        move(db_pair, selection)
    assert state_of(db_pair.target) == before


# --- other names, fewer columns -------------------------------------------------------------------------------

NAMED = """
    CREATE SCHEMA "S x";
    CREATE DOMAIN "S x".positive AS int CHECK (VALUE > 0);
    CREATE TABLE public.city (
        id int GENERATED BY DEFAULT AS IDENTITY (START 100) PRIMARY KEY, name text COLLATE "C" UNIQUE);
    CREATE TABLE public.road (
        "nr ""x" serial, city int NOT NULL REFERENCES public.city ON DELETE CASCADE, size "S x".positive,
        n int GENERATED ALWAYS AS IDENTITY, CONSTRAINT "road pk" PRIMARY KEY ("nr ""x"),
        CONSTRAINT "c k" CHECK (city > 0))
        WITH (fillfactor = 70);
    CREATE UNIQUE INDEX road_both ON public.road (city, size);
    CREATE INDEX ON public.road ((size + 1));
    COMMENT ON TABLE public.road IS 'a % road {x}';
    CREATE VIEW public.roads AS SELECT * FROM public.road;
    CREATE TABLE public.stop (road int REFERENCES public.road);
    INSERT INTO public.city (name) SELECT 'c' || g FROM generate_series(1, 9) g;
    INSERT INTO public.road (city, size) SELECT 100 + g, g + 1 FROM generate_series(0, 8) g;
    INSERT INTO public.stop SELECT g FROM generate_series(1, 9) g;
"""
INTO = [Selection(name="city", into="geo.town"), Selection(name="road", into="geo.*"), Selection(name="stop")]


@pytest.mark.template(source=NAMED)
def test_other_names_keep_what_belongs_to_the_tables(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, *INTO)
    assert_done(moved)
    assert same_rows(db_pair, "public.city", "geo.town") == 9
    assert same_rows(db_pair, "public.road", "geo.road") == 9
    target = db_pair.target
    keys = (
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    )
    assert rows(target, keys) == [
        ("geo.road", "FOREIGN KEY (city) REFERENCES geo.town(id) ON DELETE CASCADE"),
        ("stop", 'FOREIGN KEY (road) REFERENCES geo.road("nr ""x")'),
    ]
    indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid::regclass::text ~ '^geo' ORDER BY 1"
    assert [n for (n,) in rows(target, indexes)] == [
        'geo."road pk"', "geo.road_both", "geo.road_expr_idx", "geo.town_name_key", "geo.town_pkey",
    ]  # fmt: skip
    assert value(target, """INSERT INTO geo.road (city, size) VALUES (100, 99) RETURNING ("nr ""x", n)""") == (
        "10",
        "10",
    )
    assert value(target, "INSERT INTO geo.town DEFAULT VALUES RETURNING id") == 109
    facts = "SELECT obj_description('geo.road'::regclass), reloptions FROM pg_class WHERE oid = 'geo.road'::regclass"
    assert rows(target, facts) == [("a % road {x}", ["fillfactor=70"])]
    with pytest.raises(psycopg.errors.CheckViolation, match="c k"):
        execute(target, "INSERT INTO geo.road (city, size) VALUES (-1, 98)")
    assert moved.notices("VIEW") == ["public.roads"]
    assert value(target, "SELECT to_regclass('public.road') IS NULL") is True


@pytest.mark.template(source=NAMED)
def test_some_columns_make_a_smaller_table_and_the_rest_is_named(db_pair: DatabasePair, state: str) -> None:
    """Without its primary key's column the key goes, and all that needs the column with it."""
    moved = move(db_pair, Selection(name="road", columns=["city", "size"]))
    assert_done(moved)
    query = "SELECT city, size FROM public.road ORDER BY 1, 2"
    assert rows(db_pair.target, query) == rows(db_pair.source, query)
    assert {'public.road.nr "x', "public.road.n"} <= set(moved.notices("COLUMN"))
    assert "public.road.road pk" in moved.notices("INDEX")
    indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'road'::regclass ORDER BY 1"
    assert [n for (n,) in rows(db_pair.target, indexes)] == ["road_both", "road_expr_idx"]


FOREST = """
    CREATE TABLE public.h (id int, day int, v text, PRIMARY KEY (id, day, v)) PARTITION BY RANGE (day);
    CREATE TABLE public.h_1 PARTITION OF public.h FOR VALUES FROM (0) TO (10);
    CREATE TABLE public.h_2 PARTITION OF public.h FOR VALUES FROM (10) TO (20) PARTITION BY LIST (v);
    CREATE TABLE public.h_2_a PARTITION OF public.h_2 FOR VALUES IN ('a');
    CREATE TABLE public.rest PARTITION OF public.h_2 DEFAULT;
    CREATE INDEX h_v ON public.h (v);
    INSERT INTO public.h SELECT g, g % 20, CASE WHEN g % 3 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 200) g;
    CREATE TABLE public.base (id serial, v text, CHECK (id > 0));
    CREATE TABLE public.base_1 (CHECK (id > 5)) INHERITS (public.base);
    INSERT INTO public.base (v) VALUES ('own');
    INSERT INTO public.base_1 (id, v) VALUES (7, 'child');
"""


@pytest.mark.template(source=FOREST)
def test_whole_trees_go_under_another_name_as_they_are(db_pair: DatabasePair, state: str) -> None:
    """Descendants follow the name of their root; inheritance stays inheritance."""
    assert_done(move(db_pair, Selection(name="h", into="x.k"), Selection(name="base", into="x.*")))
    assert same_rows(db_pair, "public.h", "x.k") == 200
    assert same_rows(db_pair, "public.base", "x.base") == 2
    tree = "SELECT relid::text, level FROM pg_partition_tree('x.k') ORDER BY 1"
    assert rows(db_pair.target, tree) == [("x.k", 0), ("x.k_1", 1), ("x.k_2", 1), ("x.k_2_a", 2), ("x.k_rest", 2)]
    assert leaves(db_pair.target, "x.base") == {"x.base_1": 1}
    attached = "SELECT relid::text FROM pg_partition_tree('x.k_v') WHERE isleaf"
    assert len(rows(db_pair.target, attached)) == 3
    assert value(db_pair.target, "SELECT nextval('x.base_id_seq')") == 2


# --- killed ---------------------------------------------------------------------------------------------------

BIG = """
    CREATE TABLE public.big (id int PRIMARY KEY, at timestamp NOT NULL, body text);
    INSERT INTO public.big SELECT g, '2025-09-01'::timestamp + g * interval '1 min', repeat('x', 90)
        FROM generate_series(0, 11519) g;
    CREATE INDEX big_at ON public.big (at);
"""
PLAN = """
source = "{source}"
target = "{target}"

[[tables]]
name = "big"
layout = "day"
key = "at"

[options]
workers = 2
verify = "checksum"
"""


@pytest.mark.template(source=BIG)
def test_a_killed_run_of_days_goes_on_where_it_was(db_pair: DatabasePair, state: str, tmp_path: Path) -> None:
    """SIGKILL of all its processes while a day is half-way into its partition."""
    program = Program(tmp_path)
    plan = tmp_path / "plan.toml"
    with Proxy(db_pair.target_server.port) as proxy:
        plan.write_text(PLAN.format(source=db_pair.source, target=proxy.url(db_pair.target)))
        trigger = Trigger(moment=Moment.COPIED, application="/worker$", after_bytes=300_000, fate=Fate.STALL)
        proxy.arm(trigger)
        try:
            program.start("run", str(plan), "--run-id", "0123456789ab")
            assert trigger.done.wait(PATIENCE), program.said()
        finally:
            program.kill_all()
    assert value(db_pair.target, "SELECT count(*) FROM public.big") < 11520
    assert_done(resume("0123456789ab", target=db_pair.target))
    assert same_rows(db_pair, "public.big") == 11520
    assert set(leaves(db_pair.target, "big").values()) == {1440}
    assert value(db_pair.target, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'big_at'::regclass") is True


JOINED = """
    CREATE TABLE public.city (id int PRIMARY KEY);
    CREATE TABLE public.h (id int NOT NULL, at int NOT NULL, city int REFERENCES public.city, PRIMARY KEY (id, at));
    CREATE TABLE public.h_1 (CHECK (at >= 0 AND at < 10), PRIMARY KEY (id, at)) INHERITS (public.h);
    CREATE TABLE public.h_2 (CHECK (at >= 10 AND at < 20), PRIMARY KEY (id, at)) INHERITS (public.h);
    ALTER TABLE public.h_1 ADD CONSTRAINT to_city FOREIGN KEY (city) REFERENCES public.city;
    CREATE INDEX h_2_one ON public.h_2 (city);
    CREATE INDEX of_parent ON public.h (at, city);
    CREATE TABLE public.flat (id int PRIMARY KEY, at date, city int REFERENCES public.city);
    CREATE TABLE public.to_flat (flat int REFERENCES public.flat);
    INSERT INTO public.city VALUES (1), (2);
    INSERT INTO public.h_1 VALUES (1, 1, 1);
    INSERT INTO public.h_2 VALUES (1, 11, 2);
    INSERT INTO public.flat VALUES (1, '2025-01-01', 1), (2, '2025-01-02', 2);
    INSERT INTO public.to_flat VALUES (1);
"""


@pytest.mark.template(source=JOINED)
def test_what_partitions_cannot_have_is_named_and_the_rest_is_there(db_pair: DatabasePair, state: str) -> None:
    """Keys and indexes of some partitions only, of the parent's own rows, and towards a key that lacks the day."""
    chosen = [Selection(name="h", layout="declarative"), Selection(name="flat", layout="day", key="at")]
    moved = move(db_pair, *chosen, Selection(name="city"), Selection(name="to_flat"))
    assert_done(moved)
    keys = """SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
              WHERE contype = 'f' AND conparentid = 0 ORDER BY 1"""
    assert rows(db_pair.target, keys) == [("flat", "city"), ("h_1", "city")]
    assert {"public.h.h_city_fkey", "public.to_flat.to_flat_flat_fkey"} <= set(moved.notices("FK CONSTRAINT"))
    assert {"public.h.h_one", "public.h.of_parent", "public.flat.flat_pkey"} <= set(moved.notices("INDEX"))
    primary = "SELECT indrelid::regclass::text FROM pg_index WHERE indisprimary AND indrelid >= 16384 ORDER BY 1"
    found = [n for (n,) in rows(db_pair.target, primary) if not n.startswith("pg")]
    assert found == ["city", "flat_20250101", "flat_20250102", "h", "h_1", "h_2"]


@pytest.mark.template(source=NUMBERS)
def test_partitions_that_hold_the_same_are_left_as_they_are(db_pair: DatabasePair, state: str) -> None:
    tree = Selection(name="h", layout="declarative")
    assert_done(move(db_pair, tree))
    execute(db_pair.source, "UPDATE public.h_2 SET v = 'changed'")
    files = "SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^h_[12]$' ORDER BY 1"
    before = rows(db_pair.target, files)
    assert_done(move(db_pair, tree, on_existing=OnExisting.REFRESH))
    after = rows(db_pair.target, files)
    assert [b == a for b, a in zip(before, after, strict=True)] == [True, False]
    assert same_rows(db_pair, "public.h") == 5


@pytest.mark.template(source=NUMBERS)
def test_a_source_as_old_as_9_3_is_laid_out_anew(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the old server's statements; that the newer one understands them is all that this shows."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "source=9.3")
    assert_done(move(db_pair, Selection(name="h", layout="declarative", into="x.*")))
    assert same_rows(db_pair, "public.h", "x.h") == 5
