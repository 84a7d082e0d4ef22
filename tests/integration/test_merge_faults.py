"""Merges that are torn off: connections lost at every stage, killed processes, a staging table that was emptied."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.faults.program import Program
from tests.faults.proxy import Fate, Moment, Proxy, Trigger
from tests.merge_runs import became, merge, merge_plan, staging_left
from tests.moving import Moved, assert_done, resume, rows, run_sql

from pghaul.model.errors import StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import write_plan

ITEMS = """
CREATE TABLE public.item (id int4 PRIMARY KEY, name text, pad text);
INSERT INTO public.item SELECT i, 'n' || i, repeat(md5(i::text), 20) FROM generate_series(1, 800) i;
"""
THERE = """
CREATE TABLE public.item (id int4 PRIMARY KEY, name text, pad text);
INSERT INTO public.item SELECT i, 'old', NULL FROM generate_series(401, 900) i;
"""
SYNC = {"name": "item", "merge": {"mode": "full-sync"}}
EXPECTED = {"rows": 800, "inserted": 400, "updated": 400, "deleted": 100}
LAST_WORD = "UPDATE pghaul.chunk_marker"  # of the merge's transaction, before its commit


def staged(**more: Any) -> Trigger:
    """While rows are staged."""
    return Trigger(moment=Moment.COPIED, after_bytes=100_000, application="worker", **more)


def merging(pattern: str, **more: Any) -> Trigger:
    """When the leader has sent such a statement."""
    return Trigger(moment=Moment.QUERY, pattern=pattern, application="leader", **more)


def arm(proxy: Proxy, trigger: Trigger, *, committed: bool) -> Trigger:
    """Now, or as soon as the merge commits: when it is done, and we do not know it yet."""
    if not committed:
        return proxy.arm(trigger)
    proxy.arm(merging(LAST_WORD, action=lambda _: proxy.arm(trigger) and None))
    return trigger


def fresh(trigger: Trigger, **more: Any) -> Trigger:
    """One that has not fired."""
    return replace(trigger, fired=threading.Event(), done=threading.Event(), **more)


COMMITTED = Trigger(moment=Moment.ANSWER, pattern="COMMIT", application="leader")


@pytest.mark.template(source=ITEMS, target=THERE)
@pytest.mark.parametrize(
    ("trigger", "committed"),
    [
        (staged(), False),
        (merging(LAST_WORD), False),
        (COMMITTED, True),
    ],
    ids=["staging", "before the commit", "after the commit"],
)
def test_a_lost_connection_costs_an_attempt_and_no_row(
    db_pair: DatabasePair, state: str, trigger: Trigger, committed: bool
) -> None:
    with Proxy(db_pair.target_server.port) as proxy:
        armed = arm(proxy, fresh(trigger, fate=Fate.RESET, everyone=True), committed=committed)
        plan = merge_plan(db_pair, SYNC).model_copy(update={"target": proxy.url(db_pair.target)})
        heard: list[Event] = []
        moved = Moved(run=MigrationService().run(plan, listener=heard.append), events=heard)
    assert armed.fired.is_set()
    assert_done(moved)
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    done = rows(db_pair.target, "SELECT rows, updated, deleted FROM pghaul.chunk_marker WHERE chunk = 'increment'")
    assert done == [(800, 400, 100)]
    assert moved.run.rows == 800
    assert staging_left(db_pair) == []
    assert rows(db_pair.target, "SELECT count(*) FROM pghaul.chunk_marker_unlogged") == [(0,)]


@pytest.mark.template(source=ITEMS, target=THERE)
def test_a_staging_table_that_was_emptied_is_filled_again(db_pair: DatabasePair, state: str) -> None:
    """As a crash of the target empties it; a full-sync would else delete everything."""

    def empty(_: object) -> None:
        (name,) = staging_left(db_pair)
        run_sql(db_pair.target, f'DELETE FROM pghaul."{name}"')

    with Proxy(db_pair.target_server.port) as proxy:
        armed = proxy.arm(Trigger(moment=Moment.QUERY, pattern="AS owned", application="leader", action=empty))
        plan = merge_plan(db_pair, SYNC).model_copy(update={"target": proxy.url(db_pair.target)})
        heard: list[Event] = []
        moved = Moved(run=MigrationService().run(plan, listener=heard.append), events=heard)
    assert (armed.fired.is_set(), armed.error) == (True, None)
    assert_done(moved)
    assert became(moved, "public.item") == EXPECTED
    assert len(moved.of(EventKind.ATTEMPT)) == 2
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])


@pytest.mark.template(source=ITEMS, target=THERE)
@pytest.mark.parametrize(
    ("trigger", "merged"),
    [(staged(), False), (COMMITTED, True)],
    ids=["staging", "after the commit"],
)
def test_a_killed_process_is_resumed_and_leaves_no_staging_table(
    db_pair: DatabasePair, state: str, tmp_path: Path, trigger: Trigger, merged: bool
) -> None:
    program = Program(tmp_path)
    kill = fresh(trigger, action=lambda _: program.kill_main())
    with Proxy(db_pair.target_server.port) as proxy:
        file = tmp_path / "plan.toml"
        write_plan(merge_plan(db_pair, SYNC).model_copy(update={"target": proxy.url(db_pair.target)}), file)
        arm(proxy, kill, committed=merged)
        try:
            program.start("run", str(file), "--run-id", "0123456789ab", "--json")
            assert (program.wait(), kill.error) == (-signal.SIGKILL, None), program.said()
            count = rows(db_pair.target, "SELECT count(*) FROM item WHERE name = 'old'")
            assert count == [(0 if merged else 500,)]
            again = resume("0123456789ab")
        finally:
            program.kill_all()
    assert_done(again)
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    assert again.run.rows == 800
    assert staging_left(db_pair) == []


@pytest.mark.template(source=ITEMS, target=THERE)
def test_an_orphan_of_a_killed_run_is_swept_by_the_next(db_pair: DatabasePair, state: str) -> None:
    assert_done(merge(db_pair, SYNC))
    run_sql(db_pair.target, "CREATE UNLOGGED TABLE pghaul.stage_0123456789ab_0 (id int4)")
    assert_done(merge(db_pair, SYNC))
    assert staging_left(db_pair) == []


@pytest.mark.template(source=ITEMS, target=THERE)
def test_a_stop_while_the_path_is_dead_leaves_nothing_staged(db_pair: DatabasePair, state: str) -> None:
    silent = threading.Event()
    with Proxy(db_pair.target_server.port) as proxy:
        proxy.arm(staged(fate=Fate.STALL, action=lambda _: silent.set()))
        plan = merge_plan(db_pair, SYNC).model_copy(update={"target": proxy.url(db_pair.target)})
        with pytest.raises(StoppedError):
            MigrationService().run(plan, listener=lambda _: None, stop=silent.is_set)
    assert staging_left(db_pair) == []
    assert rows(db_pair.target, "SELECT count(*) FROM item WHERE name = 'old'") == [(500,)]


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON item EXECUTE FUNCTION slow();
"""


@pytest.mark.template(source=ITEMS, target=THERE)
def test_a_stop_ends_a_merge_that_waits_and_the_resume_brings_it_to_its_end(db_pair: DatabasePair, state: str) -> None:
    waits = threading.Event()
    with Proxy(db_pair.target_server.port) as proxy:
        run_sql(db_pair.target, SLOW)
        proxy.arm(Trigger(moment=Moment.QUERY, pattern=r"^UPDATE .public.\..item", action=lambda _: waits.set()))
        plan = merge_plan(db_pair, SYNC).model_copy(update={"target": proxy.url(db_pair.target)})
        with pytest.raises(StoppedError):
            MigrationService().run(plan, listener=lambda _: None, stop=waits.is_set)
    assert rows(db_pair.target, "SELECT count(*) FROM item WHERE name = 'old'") == [(500,)]
    assert staging_left(db_pair) == []
    run_sql(db_pair.target, "DROP TRIGGER slow ON item")
    assert MigrationService().latest_unfinished().state is RunState.STOPPED
    assert_done(resume(target=db_pair.target))
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
