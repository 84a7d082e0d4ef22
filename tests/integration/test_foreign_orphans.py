"""Rows of another kind of database whose foreign key leads nowhere: found beforehand, and treated as the plan says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.looking import value
from tests.moving import assert_done, rows
from tests.sqlite_files import carried, made, plan_of

from pghaul.cli.app import run as command
from pghaul.model.errors import MappingError, QuarantineError
from pghaul.model.finding import Kind, Severity
from pghaul.model.plan import Mapping, OrphanRule
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
# A chain (a row that goes leaves another alone), a cycle within one table, a key of two columns.
BROKEN = """
CREATE TABLE a (id INTEGER PRIMARY KEY, up INTEGER REFERENCES a (id));
CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INTEGER REFERENCES a (id), x TEXT NOT NULL, y TEXT, UNIQUE (x, y));
CREATE TABLE c (id INTEGER PRIMARY KEY, b_id INTEGER REFERENCES b (id), x TEXT, y TEXT,
                FOREIGN KEY (x, y) REFERENCES b (x, y));
INSERT INTO a VALUES (1, 1), (2, 1), (3, 9);
INSERT INTO b VALUES (10, 1, 'x', 'y'), (11, 3, 'x', 'z'), (12, NULL, 'u', NULL);
INSERT INTO c VALUES (20, 10, 'x', 'y'), (21, 11, 'x', 'y'), (22, NULL, 'q', 'q'), (23, NULL, 'q', NULL);
"""
KEYS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"


def test_they_are_found_before_anything_is_written(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "broken.db", BROKEN)
    found = [f for f in MigrationService().plan(plan_of(path, db_source)).findings if f.kind is Kind.ORPHANS]
    assert [(f.object, f.severity) for f in found] == [("a", Severity.ERROR), ("c", Severity.ERROR)]
    assert found[0].what == "1 rows of a refer to rows of a that are not there: up"
    with pytest.raises(MappingError, match="1 rows of a refer"):
        carried(path, db_source)
    assert value(db_source, "SELECT to_regclass('public.a')") is None


def test_they_are_set_aside_and_so_is_what_they_leave_alone(
    db_source: str, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path / "broken.db", BROKEN)
    moved = carried(path, db_source, mapping=Mapping(orphans=OrphanRule.QUARANTINE))
    assert moved.run.state is RunState.DIFFERENT
    left = [rows(db_source, f"SELECT id FROM {t} ORDER BY id") for t in ("a", "b", "c")]
    assert left == [[(1,), (2,)], [(10,), (12,)], [(20,), (23,)]]
    story = MigrationService().report(moved.run.id).story
    assert story is not None
    told = {t.name: (t.sum.rows, t.sum.inserted, t.sum.rejected) for t in story.tables}
    assert told == {"public.a": (3, 2, 1), "public.b": (3, 2, 1), "public.c": (4, 2, 2)}
    assert (story.sum.rows, story.sum.inserted, story.sum.rejected) == (10, 6, 4)
    assert command(["show", moved.run.id]) == 0
    assert "2 new, 2 set aside" in capsys.readouterr().out
    aside = "SELECT relation, count(*) FROM pghaul.quarantine GROUP BY 1 ORDER BY 1"
    assert rows(db_source, aside) == [("public.a", 1), ("public.b", 1), ("public.c", 2)]
    assert value(db_source, KEYS) == 4


def test_they_lose_their_reference(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "broken.db", BROKEN)
    moved = carried(path, db_source, mapping=Mapping(orphans=OrphanRule.SET_NULL))
    assert moved.run.state is RunState.DIFFERENT
    assert rows(db_source, "SELECT id, up FROM a ORDER BY id") == [(1, 1), (2, 1), (3, None)]
    assert rows(db_source, "SELECT id, b_id, x, y FROM c WHERE id > 21 ORDER BY id") == [
        (22, None, None, None),
        (23, None, "q", None),
    ]
    assert sorted(moved.notices("SET NULL")) == ["public.a", "public.c"]
    assert value(db_source, KEYS) == 4


def test_a_key_that_cannot_be_null_says_so(db_source: str, state: str, tmp_path: Path) -> None:
    script = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE q (p_id INTEGER NOT NULL REFERENCES p (id));"
    path = made(tmp_path / "strict.db", script + "INSERT INTO q VALUES (5);")
    with pytest.raises(MappingError, match="none of its columns can be NULL"):
        carried(path, db_source, mapping=Mapping(orphans=OrphanRule.SET_NULL))


def test_too_many_are_refused(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "broken.db", BROKEN)
    with pytest.raises(QuarantineError, match="refer to rows"):
        carried(path, db_source, max_rejects=1)


def test_a_sound_database_has_all_its_keys(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "sound.db", BROKEN + "UPDATE a SET up = 1; UPDATE c SET x = 'x', y = 'y';")
    moved = carried(path, db_source)
    assert_done(moved)
    assert value(db_source, KEYS) == 4


THERE = """
CREATE TABLE a (id int8 PRIMARY KEY, up int8 REFERENCES a);
CREATE TABLE c (id int8 PRIMARY KEY, b_id int8, x text, y text);
CREATE TABLE b (id int8 PRIMARY KEY, a_id int8 REFERENCES a, x text NOT NULL, y text, UNIQUE (x, y));
ALTER TABLE c ADD CONSTRAINT of_b FOREIGN KEY (b_id) REFERENCES b;
ALTER TABLE c ADD CONSTRAINT later FOREIGN KEY (x, y) REFERENCES b (x, y) NOT VALID
"""


@pytest.mark.template(source=THERE)
def test_keys_of_tables_that_are_there_are_counted_too_and_their_orphans_set_aside(
    db_source: str, state: str, tmp_path: Path
) -> None:
    """One that has never held for all rows does not refuse any."""
    path = made(tmp_path / "broken.db", BROKEN + "UPDATE c SET b_id = 99 WHERE id = 22")
    found = [f for f in MigrationService().plan(plan_of(path, db_source)).findings if f.kind is Kind.ORPHANS]
    assert [(f.what, f.severity) for f in found] == [
        ("1 rows of a refer to rows of a that are not there: up", Severity.ERROR),
        ("1 rows of c refer to rows of b that are not there: b_id", Severity.ERROR),
    ]
    aside = Mapping(orphans=OrphanRule.QUARANTINE)
    moved = carried(path, db_source, mapping=aside)
    assert moved.run.state is RunState.DIFFERENT
    assert rows(db_source, "SELECT relation, count(*) FROM pghaul.quarantine GROUP BY 1 ORDER BY 1") == [
        ("public.a", 1),
        ("public.b", 1),
        ("public.c", 2),
    ]
    assert value(db_source, KEYS) == 3
