"""Foreign keys of the target stand aside for the load and come back, whatever happens in between."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.faults.program import Program
from tests.faults.proxy import Moment, Proxy, Trigger
from tests.moving import assert_done, move, resume, rows
from tests.stopping import move_until_stopped

from pghaul.model.event import EventKind
from pghaul.model.plan import OnExisting
from pghaul.model.run import RunState

SHAPE = """
CREATE TABLE public.site (id int4 PRIMARY KEY, name text);
CREATE TABLE public.owner (id int4 PRIMARY KEY);
CREATE TABLE public.sensor (id int4 PRIMARY KEY, site int4, owner int4, up int4);
CREATE TABLE public.reading (sensor int4, day int4, v int8) PARTITION BY RANGE (day);
CREATE TABLE public.reading_1 PARTITION OF public.reading FOR VALUES FROM (0) TO (10);
CREATE TABLE public.reading_2 PARTITION OF public.reading FOR VALUES FROM (10) TO (20);
"""
ROWS = """
INSERT INTO public.site SELECT i, 'site ' || i FROM generate_series(1, 50) i;
INSERT INTO public.sensor SELECT i, 1 + i % 50, 1 + i % 5, i - 1 FROM generate_series(1, 500) i;
UPDATE public.sensor SET up = NULL WHERE id = 1;
INSERT INTO public.reading SELECT 1 + i % 500, i % 20, i FROM generate_series(1, 2000) i;
"""
KEYS = """
ALTER TABLE public.sensor ADD CONSTRAINT "at site" FOREIGN KEY (site) REFERENCES public.site
    ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE public.sensor ADD CONSTRAINT owned FOREIGN KEY (owner) REFERENCES public.owner
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE public.sensor ADD CONSTRAINT itself FOREIGN KEY (up) REFERENCES public.sensor;
ALTER TABLE public.reading ADD CONSTRAINT of_sensor FOREIGN KEY (sensor) REFERENCES public.sensor ON DELETE CASCADE;
"""
TARGET = f"""
{SHAPE}
INSERT INTO public.owner SELECT generate_series(1, 5);
INSERT INTO public.site VALUES (1, 'old'), (99, 'old');
INSERT INTO public.sensor VALUES (1, 99, 1, NULL), (2, 1, 1, 1);
INSERT INTO public.reading VALUES (1, 1, 1), (2, 11, 2);
{KEYS}
"""
TABLES = ["public.site", "public.sensor", "public.reading_1", "public.reading_2"]
KEYS_SQL = """
SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 ORDER BY 1, 2
"""
linked = pytest.mark.template(source=SHAPE + ROWS, target=TARGET)


@linked
def test_keys_within_and_across_the_selection_are_dropped_and_put_back(db_pair: DatabasePair, state: str) -> None:
    before = rows(db_pair.target, KEYS_SQL)
    assert len(before) == 4
    moved = move(db_pair, "site", "sensor", "reading", on_existing=OnExisting.TRUNCATE)
    assert_done(moved)
    assert rows(db_pair.target, KEYS_SQL) == before
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert rows(db_pair.target, "SELECT count(*) FROM public.owner") == [(5,)]


@linked
def test_a_run_that_stopped_puts_the_keys_back_when_it_is_resumed(db_pair: DatabasePair, state: str) -> None:
    before = rows(db_pair.target, KEYS_SQL)
    run = move_until_stopped(db_pair, "site", "sensor", "reading", on_existing=OnExisting.TRUNCATE)
    assert_done(resume(run))
    assert rows(db_pair.target, KEYS_SQL) == before
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@linked
def test_a_run_that_was_killed_puts_the_keys_back_when_it_is_resumed(
    db_pair: DatabasePair, state: str, tmp_path: Path
) -> None:
    before = rows(db_pair.target, KEYS_SQL)
    program = Program(tmp_path)
    tables = ("--table", "s*", "--table", "reading", "--workers", "1", "--on-existing", "truncate")
    kill = Trigger(moment=Moment.QUERY, pattern="^COPY ", application="/worker$", action=lambda _: program.kill_main())
    with Proxy(db_pair.target_server.port) as proxy:
        proxy.arm(kill)
        try:
            program.start("run", "--from", db_pair.source, "--to", proxy.url(db_pair.target), *tables)
            assert (program.wait(), kill.error) == (-signal.SIGKILL, None), program.said()
        finally:
            program.kill_all()
    assert rows(db_pair.target, KEYS_SQL) == []
    assert_done(resume(target=db_pair.target))
    assert rows(db_pair.target, KEYS_SQL) == before
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@linked
def test_a_key_that_the_new_rows_break_is_back_and_named_and_the_run_is_no_success(
    db_pair: DatabasePair, state: str
) -> None:
    moved = move(db_pair, "site", on_existing=OnExisting.TRUNCATE)
    assert moved.run.state is RunState.DIFFERENT
    assert any("public.sensor" in e.message for e in moved.of(EventKind.WARNING))
    assert ("sensor", "at site", False) in [r[:3] for r in rows(db_pair.target, KEYS_SQL)]
    assert_same_content(db_pair.source, db_pair.target, ["public.site"])
    assert rows(db_pair.target, "SELECT count(*) FROM public.sensor") == [(2,)]


@pytest.mark.template(
    source="""
        CREATE TABLE public.old (id int PRIMARY KEY);
        CREATE TABLE public.made (old int CONSTRAINT at_old REFERENCES public.old)
    """,
    target="CREATE TABLE public.old (id int)",
)
def test_a_key_to_a_table_that_was_there_is_named_and_not_made(db_pair: DatabasePair, state: str) -> None:
    """The old table has no key of its own to point at: whoever made it has to say what becomes of it."""
    assert_done(moved := move(db_pair, "public.*"))
    assert moved.notices("FK CONSTRAINT") == ["public.made.at_old"]
    assert rows(db_pair.target, KEYS_SQL) == []
