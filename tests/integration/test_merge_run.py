"""The recipe merge end to end, in this process: modes, keys, increments, several tables, queries, created targets."""

from __future__ import annotations

from typing import Any

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.merge_runs import became, merge, merge_plan, staging_left
from tests.moving import assert_done, rows, run_sql

from pghaul.engine.merge import staging
from pghaul.engine.merge.scene import REWRITTEN
from pghaul.model.errors import MergeError, PghaulError, PlanError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import connect
from pghaul.service.migration import MigrationService
from pghaul.sources import queries

ITEMS = """
CREATE TABLE public.item (id int4 PRIMARY KEY, name text, price numeric(8,2), changed timestamptz DEFAULT now());
INSERT INTO public.item SELECT i, 'n' || i, i / 4.0, '2026-01-01'::timestamptz + i * interval '1 s'
FROM generate_series(1, 200) i;
"""
THERE = """
CREATE TABLE public.item (id int4 PRIMARY KEY, name text, price numeric(8,2), changed timestamptz);
INSERT INTO public.item SELECT i, CASE WHEN i <= 20 THEN 'old' ELSE 'n' || i END, i / 4.0,
       '2026-01-01'::timestamptz + i * interval '1 s'
FROM generate_series(1, 100) i;
INSERT INTO public.item VALUES (900, 'mine', 1, NULL);
"""


MODES = {
    "upsert": ({"rows": 200, "inserted": 100, "updated": 20, "unchanged": 80}, 201),
    "insert-only": ({"rows": 200, "inserted": 100, "unchanged": 80, "ignored": 20}, 201),
    "update-only": ({"rows": 200, "updated": 20, "unchanged": 80, "ignored": 100}, 101),
    "full-sync": ({"rows": 200, "inserted": 100, "updated": 20, "unchanged": 80, "deleted": 1}, 200),
}
EACH = "".join(f'CREATE TABLE public."{m}" (LIKE item INCLUDING ALL); INSERT INTO "{m}" TABLE item;' for m in MODES)


@pytest.mark.template(source=ITEMS, target=THERE + EACH)
@pytest.mark.parametrize("assumed", ["", "target=9.3"])
def test_modes(db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    for mode, (expected, there) in MODES.items():
        moved = merge(db_pair, {"name": "item", "into": f"public.{mode}", "merge": {"mode": mode}})
        assert_done(moved)
        assert became(moved, f"public.{mode}") == expected
        assert rows(db_pair.target, f'SELECT count(*) FROM public."{mode}"') == [(there,)]
    assert staging_left(db_pair) == []
    assert rows(db_pair.source, "TABLE item ORDER BY id") == rows(db_pair.target, 'TABLE "full-sync" ORDER BY id')


@pytest.mark.template(source=ITEMS, target=THERE)
def test_a_second_merge_finds_everything_unchanged(db_pair: DatabasePair, state: str) -> None:
    assert_done(merge(db_pair, {"name": "item"}))
    before = rows(db_pair.target, "SELECT id, xmin FROM public.item ORDER BY id")
    again = merge(db_pair, {"name": "item"})
    assert became(again, "public.item") == {"rows": 200, "unchanged": 200}
    assert rows(db_pair.target, "SELECT id, xmin FROM public.item ORDER BY id") == before


HISTORY = """
CREATE TABLE public.item (id int4, name text, price numeric(8,2), changed timestamptz,
                          valid_from timestamptz NOT NULL, valid_to timestamptz);
"""


@pytest.mark.template(source=ITEMS)
def test_scd2_keeps_every_version_in_a_table_that_it_has_made(db_pair: DatabasePair, state: str) -> None:
    history = {"name": "item", "into": "보관.이력", "merge": {"mode": "scd2"}}
    assert_done(merge(db_pair, history))
    run_sql(db_pair.source, "UPDATE item SET name = 'new' WHERE id <= 3; DELETE FROM item WHERE id = 200")
    moved = merge(db_pair, history)
    assert_done(moved)
    versions = """SELECT count(*), count(*) FILTER (WHERE valid_to IS NULL),
                         count(*) FILTER (WHERE valid_to IS NULL AND name = 'new') FROM "보관"."이력" """
    assert rows(db_pair.target, versions) == [(203, 199, 3)]
    assert became(moved, "보관.이력")["updated"] == 3


@pytest.mark.template(source=ITEMS)
def test_a_watermark_reads_what_is_new(db_pair: DatabasePair, state: str) -> None:
    item = {"name": "item", "merge": {"watermark": "changed"}}
    assert became(merge(db_pair, item), "public.item") == {"rows": 200, "inserted": 200}
    run_sql(db_pair.source, "UPDATE item SET name = 'new', changed = now() WHERE id = 7")
    again = merge(db_pair, item)
    found = became(again, "public.item")
    assert found["updated"] == 1
    assert found["rows"] < 10
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    whole = merge(db_pair, {"name": "item", "merge": {"watermark": "changed", "reload": True}})
    assert became(whole, "public.item") == {"rows": 200, "unchanged": 200}


FAMILY = """
CREATE TABLE public.child (id int4 PRIMARY KEY, parent int4, v text);
CREATE TABLE public.parent (id int4 PRIMARY KEY, v text);
INSERT INTO public.parent SELECT i, 'p' || i FROM generate_series(1, 50) i;
INSERT INTO public.child SELECT i, 1 + i % 50, 'c' || i FROM generate_series(1, 300) i;
"""
REFERS = "ALTER TABLE public.child ADD FOREIGN KEY (parent) REFERENCES public.parent;"


@pytest.mark.template(source=FAMILY, target=FAMILY + REFERS + "TRUNCATE public.parent, public.child;")
def test_several_tables_go_in_one_transaction_parents_first(db_pair: DatabasePair, state: str) -> None:
    tables = [{"name": "public.*", "merge": {"mode": "full-sync"}}]
    assert_done(merge(db_pair, *tables, workers=2))
    run_sql(db_pair.source, "DELETE FROM child WHERE parent = 5; DELETE FROM parent WHERE id = 5")
    run_sql(db_pair.source, "INSERT INTO parent VALUES (99, 'new'); INSERT INTO child VALUES (999, 99, 'new')")
    moved = merge(db_pair, *tables, workers=2)
    assert_done(moved)
    assert became(moved, "public.child") == {"rows": 295, "inserted": 1, "unchanged": 294, "deleted": 6}
    assert became(moved, "public.parent") == {"rows": 50, "inserted": 1, "unchanged": 49, "deleted": 1}
    assert_same_content(db_pair.source, db_pair.target, ["public.parent", "public.child"])


KOREAN = """
CREATE SCHEMA "fds_팩셋";
CREATE TABLE "fds_팩셋"."인포맥스종목마스터" ("종목 코드" text, "일""자" date, "값" text, "빈" text,
    PRIMARY KEY ("종목 코드", "일""자"));
INSERT INTO "fds_팩셋"."인포맥스종목마스터"
SELECT lpad(i::text, 6, '0'), '2026-01-01'::date + i % 3, '007', '' FROM generate_series(1, 60) i;
"""


@pytest.mark.template(source=KOREAN)
def test_a_query_fills_a_table_that_is_not_there(db_pair: DatabasePair, state: str) -> None:
    query = """SELECT "종목 코드", "일""자", "값" || '!' AS "값", "빈", NULL::numeric(10,4) AS "가격"
                 FROM "fds_팩셋"."인포맥스종목마스터" -- all"""
    selection = {"query": query, "into": "fds_팩셋.요약", "merge": {"key": ["종목 코드", '일"자']}}
    moved = merge(db_pair, selection)
    assert_done(moved)
    found = rows(db_pair.target, 'SELECT count(*), min("값"), min("빈") FROM "fds_팩셋"."요약"')
    assert found == [(60, "007!", "")]
    keys = """SELECT pg_get_constraintdef(oid) FROM pg_constraint
               WHERE conrelid = '"fds_팩셋"."요약"'::regclass AND contype = 'p'"""
    assert rows(db_pair.target, keys) == [('PRIMARY KEY ("종목 코드", "일""자")',)]
    assert became(merge(db_pair, selection), "fds_팩셋.요약") == {"rows": 60, "unchanged": 60}


@pytest.mark.template(
    source="CREATE TABLE public.t (id int8 PRIMARY KEY, a varchar(40), b numeric(12,4), c text);"
    "INSERT INTO public.t SELECT 3000000000 + i, repeat('x', 30), i / 8.0, 'c' FROM generate_series(0, 50) i",
    target="CREATE TABLE public.t (id int4 PRIMARY KEY, a varchar(10), b numeric(10,2), d text DEFAULT 'mine')",
)
def test_drift_is_refused_added_or_ignored(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(MergeError) as refused:
        merge(db_pair, {"name": "t"})
    assert refused.value.number in {6631, 6634}
    assert rows(db_pair.target, "SELECT to_regclass('pghaul.run')") == [(None,)]
    preview = MigrationService().plan(merge_plan(db_pair, {"name": "t", "merge": {"on_drift": "add"}}))
    assert preview.ok
    assert preview.tables[0].merge is not None
    assert len(preview.tables[0].merge.changes) == 4
    assert_done(merge(db_pair, {"name": "t", "merge": {"on_drift": "add"}}))
    assert_same_content(db_pair.source, db_pair.target, ["public.t"])
    assert rows(db_pair.target, "SELECT DISTINCT d FROM t") == [("mine",)]
    run_sql(db_pair.source, "ALTER TABLE t ADD COLUMN e int4 DEFAULT 5")
    assert became(merge(db_pair, {"name": "t", "merge": {"on_drift": "ignore"}}), "public.t") == {
        "rows": 51,
        "unchanged": 51,
    }


MOODY = "CREATE TYPE public.mood AS ENUM ('a'); CREATE TABLE public.moody (id int4 PRIMARY KEY, m public.mood);"
SYNC = {"mode": "full-sync"}
EMPTY = {"query": "SELECT * FROM public.item WHERE false", "into": "public.item", "merge": SYNC}
REFUSED: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    (6640, {"name": "bare"}, {}),
    (6641, {"name": "item", "merge": {"key": ["nothing"]}}, {}),
    (6641, {"query": "SELECT 1 AS a", "into": "public.x", "merge": {"key": ["id"]}}, {}),
    (1171, {"query": "SELECT 1 AS a; SELECT 2", "into": "public.x", "merge": {"key": ["a"]}}, {}),
    (6638, {"name": "item", "into": "public.shown"}, {}),
    (1135, {"name": "item", "where": "price >"}, {}),
    (6645, {"name": "item", "where": "price > 1", "columns": ["id", "name"], "merge": SYNC}, {}),
    (6639, {"name": "moody"}, {}),
    (1162, {"name": "item"}, {"on_existing": "truncate"}),
    (1162, {"name": "item", "layout": "month"}, {}),
    (6646, EMPTY, {}),
]


@pytest.mark.template(
    source=ITEMS + "CREATE TABLE public.bare (a int4, b text);" + MOODY,
    target=THERE + "CREATE VIEW public.shown AS SELECT 1 AS id",
)
def test_what_cannot_be_merged_is_refused_and_nothing_is_changed(db_pair: DatabasePair, state: str) -> None:
    before = rows(db_pair.target, "TABLE item ORDER BY id")
    for code, selection, options in REFUSED:
        with pytest.raises(PghaulError) as refused:
            merge(db_pair, selection, **options)
        assert refused.value.number == code, selection
    assert rows(db_pair.target, "TABLE item ORDER BY id") == before
    assert staging_left(db_pair) == []


@pytest.mark.template(source="CREATE TABLE a (id int4 PRIMARY KEY); CREATE TABLE b (id int4 PRIMARY KEY);")
def test_a_plan_merges_all_or_nothing(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(PlanError) as refused:
        merge(db_pair, {"name": "a"}, {"name": "b", "recipe": "copy"})
    assert refused.value.number == 1161


RAISES = """
CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.id = 150 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER no BEFORE INSERT ON public.item FOR EACH ROW EXECUTE FUNCTION public.no();
"""


@pytest.mark.template(source=ITEMS, target=THERE + RAISES)
def test_a_trigger_that_raises_leaves_nothing_half_done(db_pair: DatabasePair, state: str) -> None:
    before = rows(db_pair.target, "SELECT * FROM item ORDER BY id")
    with pytest.raises(PghaulError, match="not this one"):
        merge(db_pair, {"name": "item"})
    assert rows(db_pair.target, "SELECT * FROM item ORDER BY id") == before
    assert staging_left(db_pair) == []
    assert MigrationService().latest_unfinished().state is RunState.FAILED


@pytest.mark.template(
    source="CREATE TABLE public.t (id int4 PRIMARY KEY, v text, n text);"
    "INSERT INTO public.t SELECT i, 'v', i::text FROM generate_series(1, 100) i;"
    "UPDATE public.t SET n = 'none' WHERE id = 7; UPDATE public.t SET v = NULL WHERE id = 8;"
    "UPDATE public.t SET n = '-1' WHERE id = 9",
    target="CREATE TABLE public.t (id int4 PRIMARY KEY, v text NOT NULL, n int4 CHECK (n > 0));"
    "INSERT INTO public.t SELECT i, 'old', 1 FROM generate_series(1, 120) i",
)
def test_rows_that_the_target_refuses_are_set_aside_and_the_rest_is_merged(db_pair: DatabasePair, state: str) -> None:
    merged = {"name": "t", "merge": {"mode": "full-sync", "on_drift": "ignore"}}
    with pytest.raises(PghaulError, match="none"):
        merge(db_pair, merged)
    assert rows(db_pair.target, "SELECT count(*) FROM pghaul.quarantine") == [(0,)]
    for _ in range(2):  # the second finds them in quarantine already
        moved = merge(db_pair, merged, max_rejects=5)
        assert moved.run.state is RunState.DIFFERENT
        assert became(moved, "public.t")["rejected"] == 3
        assert rows(db_pair.target, "SELECT count(*), min(chunk) FROM pghaul.quarantine") == [(3, "increment")]
    assert rows(db_pair.target, "SELECT count(*) FROM t WHERE v = 'old'") == [(23,)]  # nothing is deleted for it
    assert staging_left(db_pair) == []


@pytest.mark.template(source=ITEMS)
def test_a_truncation_behind_the_snapshot_of_a_query_is_noticed(db_pair: DatabasePair) -> None:
    endpoint = resolve(db_pair.source, environ={})
    with connect(endpoint, application_name="pghaul/test", role="source") as session:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        session.value("SELECT 1")
        run_sql(db_pair.source, "TRUNCATE public.item")
        queries.describe(session, "SELECT * FROM public.item", Name("public", "x"))
        assert session.rows(REWRITTEN) == [("public", "item")]
        session.execute("ROLLBACK")
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        queries.describe(session, "SELECT * FROM public.item", Name("public", "x"))
        assert session.rows(REWRITTEN) == []


PARTED = """
CREATE TABLE public.item (id int4, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE public.item_1 PARTITION OF public.item FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE public.item_2 PARTITION OF public.item FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
"""


@pytest.mark.since(12)
@pytest.mark.template(
    source=PARTED
    + "INSERT INTO public.item SELECT i, '2026-01-01'::date + i % 50, 'v' FROM generate_series(1, 300) i;",
    target=PARTED,
)
@pytest.mark.parametrize("locks", ["run", "chunk"])
def test_a_partitioned_table_is_merged_as_one(db_pair: DatabasePair, state: str, locks: str) -> None:
    whole = {"name": "item", "merge": {"mode": "full-sync"}}
    assert became(merge(db_pair, whole, locks=locks), "public.item") == {"rows": 300, "inserted": 300}
    run_sql(db_pair.source, "UPDATE item SET v = 'w' WHERE id < 10; DELETE FROM item WHERE id = 20")
    moved = merge(db_pair, whole, locks=locks)
    assert became(moved, "public.item") == {"rows": 299, "updated": 9, "unchanged": 290, "deleted": 1}
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    with pytest.raises(MergeError):
        merge(db_pair, whole | {"name": "", "query": "SELECT * FROM public.item WHERE false", "into": "public.item"})


@pytest.mark.template(source=ITEMS)
def test_a_large_table_is_staged_by_processes_in_ranges(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "LARGE", 0)
    moved = merge(db_pair, {"name": "item"}, split_bytes=8192)
    assert became(moved, "public.item") == {"rows": 200, "inserted": 200}
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])


COMPUTED = "CREATE TABLE public.t (id int4 PRIMARY KEY, a int4, b int4 GENERATED ALWAYS AS (a * 2) STORED);"


@pytest.mark.since(12)
@pytest.mark.template(
    source=COMPUTED + "INSERT INTO public.t (id, a) SELECT i, i FROM generate_series(1, 20) i",
    target=COMPUTED.replace("a * 2", "a * 3"),
)
def test_what_the_source_computes_is_stored_or_computed_by_the_target(db_pair: DatabasePair, state: str) -> None:
    assert_done(merge(db_pair, {"name": "t", "into": "public.made"}))
    assert rows(db_pair.target, "SELECT sum(b) FROM public.made") == [(420,)]
    assert_done(merge(db_pair, {"name": "t"}))
    assert rows(db_pair.target, "SELECT sum(b) FROM public.t") == [(630,)]


@pytest.mark.template(source=ITEMS, target=THERE)
def test_rows_of_an_older_snapshot_do_not_undo_another_run(db_pair: DatabasePair, state: str) -> None:
    """The other one begins after this one's snapshot, and is through before it merges."""
    done: list[str] = []

    def other(event: Event) -> None:
        if event.kind is EventKind.RUN_STARTED and not done:  # planned, and nothing is owned yet
            done.append(event.run)
            run_sql(db_pair.source, "UPDATE item SET name = 'newer' WHERE id <= 50")
            assert_done(merge(db_pair, {"name": "item"}))

    moved = merge(db_pair, {"name": "item"}, listener=other)
    assert_done(moved)
    assert rows(db_pair.target, "SELECT count(*) FROM item WHERE name = 'newer'") == [(50,)]
    assert len(moved.of(EventKind.ATTEMPT)) == 2
