"""What an earlier run has left out, set aside or lost on its way is in a later one, and nothing older replaces it."""

from __future__ import annotations

import pytest
from tests.databases import DatabasePair
from tests.merge_runs import became, merge
from tests.moving import assert_done, rows, run_sql

from pghaul.model.errors import RowError
from pghaul.model.event import EventKind
from pghaul.model.quarantine import Conflict, Which
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService, new_run_id

AGED = """
CREATE TABLE public.t (id int4 PRIMARY KEY, v text, at timestamptz);
INSERT INTO public.t SELECT i, 'a', now() - interval '2 h' FROM generate_series(1, 5) i;
"""


@pytest.mark.template(source=AGED)
@pytest.mark.parametrize("mode", ["update-only", "insert-only"])
def test_what_a_mode_has_left_out_comes_with_the_next_one(db_pair: DatabasePair, state: str, mode: str) -> None:
    assert_done(merge(db_pair, {"name": "t", "merge": {"watermark": "at"}}))
    run_sql(db_pair.source, "INSERT INTO t VALUES (6, 'new', now() - interval '1 h')")
    run_sql(db_pair.source, "UPDATE t SET v = 'later', at = now() - interval '1 h' WHERE id = 1")
    run_sql(db_pair.source, "INSERT INTO t VALUES (7, 'now', now() - interval '1 min')")
    left = merge(db_pair, {"name": "t", "merge": {"watermark": "at", "mode": mode}})
    assert became(left, "public.t")["ignored"] in {1, 2}
    again = merge(db_pair, {"name": "t", "merge": {"watermark": "at"}})
    assert any("the mode was" in e.message for e in again.of(EventKind.WARNING))
    assert rows(db_pair.source, "TABLE t ORDER BY id") == rows(db_pair.target, "TABLE t ORDER BY id")
    assert became(merge(db_pair, {"name": "t", "merge": {"watermark": "at"}}), "public.t")["rows"] < 7


FAMILY = """
CREATE TABLE public.parent (id int4 PRIMARY KEY);
CREATE TABLE public.child (id int4 PRIMARY KEY, parent int4, v text);
INSERT INTO public.parent VALUES (1), (2);
INSERT INTO public.child VALUES (1, 1, 'a'), (2, 2, 'b');
"""
TAKES_ALONG = FAMILY + "ALTER TABLE public.child ADD FOREIGN KEY (parent) REFERENCES public.parent ON DELETE {};"
BY_TRIGGER = """
CREATE FUNCTION public.along() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN DELETE FROM public.child WHERE parent = OLD.id; RETURN OLD; END $$;
CREATE TRIGGER along AFTER DELETE ON public.parent FOR EACH ROW EXECUTE PROCEDURE public.along();
"""


@pytest.mark.template(source=FAMILY, target=TAKES_ALONG.format("CASCADE"))
def test_what_a_deletion_takes_along_is_missed(db_pair: DatabasePair, state: str) -> None:
    """The source has no such foreign key, and keeps the child."""
    run_sql(db_pair.source, "DELETE FROM parent WHERE id = 1")
    with pytest.raises(RowError, match="child_parent_fkey"):
        merge(db_pair, {"name": "public.*", "merge": {"mode": "full-sync"}})
    assert rows(db_pair.target, "TABLE child ORDER BY id") == [(1, 1, "a"), (2, 2, "b")]
    run_sql(db_pair.source, "UPDATE child SET parent = 2")
    assert_done(merge(db_pair, {"name": "public.*", "merge": {"mode": "full-sync"}}))
    assert rows(db_pair.target, "TABLE child ORDER BY id") == [(1, 2, "a"), (2, 2, "b")]
    assert rows(db_pair.target, "TABLE parent") == [(2,)]


@pytest.mark.template(source=FAMILY, target=FAMILY + BY_TRIGGER)
def test_what_a_trigger_takes_along_comes_back(db_pair: DatabasePair, state: str) -> None:
    run_sql(db_pair.source, "DELETE FROM parent WHERE id = 1")
    moved = merge(db_pair, {"name": "public.*", "merge": {"mode": "full-sync"}})
    assert_done(moved)
    assert became(moved, "public.child") == {"rows": 2, "inserted": 1, "unchanged": 1}
    assert rows(db_pair.target, "TABLE child ORDER BY id") == [(1, 1, "a"), (2, 2, "b")]


REFUSED = """
CREATE TABLE public.t (id int4 PRIMARY KEY, v text, at timestamptz);
INSERT INTO public.t SELECT i, 'a', now() - interval '2 h' FROM generate_series(1, 5) i;
UPDATE public.t SET v = 'too long' WHERE id <> 3;
"""
WAITING = "SELECT substring(source_key from '[0-9]+') FROM pghaul.quarantine WHERE replayed_at IS NULL ORDER BY 1"


@pytest.mark.template(
    source=REFUSED, target="CREATE TABLE public.t (id int4 PRIMARY KEY, v varchar(5), at timestamptz)"
)
@pytest.mark.parametrize("key", ["id", 'a "%s" {k}'])
def test_a_row_that_has_come_later_is_not_replayed(db_pair: DatabasePair, state: str, key: str) -> None:
    for url in (db_pair.source, db_pair.target):
        run_sql(url, 'ALTER TABLE t RENAME id TO "{}"'.format(key.replace('"', '""')) if key != "id" else "SELECT 1")
    increment = {"name": "t", "merge": {"watermark": "at", "on_drift": "ignore"}}
    assert merge(db_pair, increment, max_rejects=5).run.state is RunState.DIFFERENT
    assert rows(db_pair.target, WAITING) == [("1",), ("2",), ("4",), ("5",)]
    run_sql(db_pair.source, "UPDATE t SET v = 'b', at = now() WHERE t::text ~ '^.[12],'")
    moved = merge(db_pair, increment, max_rejects=5)
    assert any("2 rows of earlier runs are done with" in e.message for e in moved.of(EventKind.NOTICE))
    assert rows(db_pair.target, WAITING) == [("4",), ("5",)]
    run_sql(db_pair.source, "UPDATE t SET v = 'too long, too', at = now() WHERE t::text ~ '^.4,'")
    merge(db_pair, increment, max_rejects=5)
    assert rows(db_pair.target, WAITING) == [("4",), ("5",)]
    run_sql(db_pair.target, "ALTER TABLE t ALTER v TYPE text")
    (found,) = MigrationService().quarantine(db_pair.target).replay(Which(), run=new_run_id(), conflict=Conflict.UPDATE)
    assert (found.inserted, found.updated) == (2, 0)
    assert rows(db_pair.source, "TABLE t ORDER BY 1") == rows(db_pair.target, "TABLE t ORDER BY 1")


@pytest.mark.template(
    source=REFUSED, target="CREATE TABLE public.t (id int4 PRIMARY KEY, v varchar(5), at timestamptz)"
)
def test_a_full_sync_is_done_with_all_that_waited(db_pair: DatabasePair, state: str) -> None:
    synced = {"name": "t", "merge": {"mode": "full-sync", "on_drift": "ignore"}}
    merge(db_pair, synced, max_rejects=5)
    assert len(rows(db_pair.target, WAITING)) == 4
    run_sql(db_pair.source, "DELETE FROM t WHERE id = 1")
    run_sql(db_pair.source, "UPDATE t SET v = 'b'")
    assert_done(merge(db_pair, synced, max_rejects=5))
    assert rows(db_pair.target, WAITING) == []
