"""Marks on the target: they come back as they were, and tell when the target is not what it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.moving import run_sql

from pghaul.model.merging import Mark, MergeDesign, WatermarkKind
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.target import ledger_sql, merge_target, watermarks

TARGET = """
CREATE TABLE public.t (a int, "B b" text, at timestamptz, PRIMARY KEY (a, "B b"));
CREATE SCHEMA s;
CREATE TABLE s.staged (LIKE public.t);
INSERT INTO public.t SELECT i, 'it''s ' || i, '2025-01-01'::timestamptz + i * interval '1 second'
  FROM generate_series(1, 40) AS i;
INSERT INTO s.staged SELECT * FROM public.t WHERE a > 20;
"""
DESIGN = MergeDesign(
    target=Name("public", "t"), staging=Name("s", "staged"), columns=("a", "B b", "at"), key=("a", "B b")
)
MARK = Mark(
    kind=WatermarkKind.TIMESTAMPTZ,
    column="at",
    low="2025-01-01 00:00:20.000001+00",
    seen="2025-01-01 00:00:40+00",
    held=("2025-01-01T00:00:00+00:00", "7"),
    read_at="2025-01-02T00:00:00+00:00",
    txid=(5 << 32) + 17,
    source_identity="123/4/plant",
    witness=(("1", "x"), ("2", 'y"')),
    columns=("a", "B b", "at"),
    members=("12345.678",),
)


@pytest.fixture
def target(db_source: str) -> Iterator[Session]:
    with connect(resolve(db_source), application_name="pghaul/test", role="target") as session:
        yield session


def found(session: Session, mark: Mark, design: MergeDesign = DESIGN) -> int | None:
    """The number of what is found."""
    finding = watermarks.check(session, merge_target.look(session, design.target), design, mark)
    return None if finding is None else finding.code


def completed(session: Session, mark: Mark) -> Mark:
    there = merge_target.look(session, DESIGN.target)
    assert there is not None
    return watermarks.complete(session, there, DESIGN, mark)


def test_a_mark_comes_back_as_it_was(target: Session) -> None:
    assert watermarks.load(target, "public.t", "o@1") is None  # no ledger yet
    assert watermarks.stranger(target, "public.t", "o@1", "1") is None
    target.execute(ledger_sql.INSTALL)
    with target.transaction():
        watermarks.save(target, "public.t", "o@1", "run1", Mark(kind=WatermarkKind.NONE))
        watermarks.save(target, "public.t", "o@1", "run2", MARK)
    assert watermarks.load(target, "public.t", "o@1") == MARK
    assert target.rows("SELECT run_id, moved_at > now() - interval '1 hour' FROM pghaul.watermark") == [("run2", True)]
    assert watermarks.load(target, "public.u", "o@1") is None
    target.execute('UPDATE pghaul.watermark SET mark = \'{"kind": "xmin", "low": "7", "of a later release": 1}\'')
    assert watermarks.load(target, "public.t", "o@1") == Mark(kind=WatermarkKind.XMIN, low="7")


def test_another_database_in_the_place_of_the_source_is_noticed(target: Session) -> None:
    target.execute(ledger_sql.INSTALL)
    watermarks.save(target, "public.t", "public.t#12@123/4/plant", "run", MARK)
    assert watermarks.stranger(target, "public.t", "public.t#34@9/9/copy", "9/9/copy") is None
    finding = watermarks.stranger(target, "public.t", "public.t#12@9/9/copy", "9/9/copy")
    assert finding is not None
    assert "(123/4/plant, not 9/9/copy)" in finding.what


@pytest.mark.template(source=TARGET)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("SELECT 1", None),
        ("DELETE FROM public.t WHERE a > 33", None),  # seven of eight
        ("VACUUM FULL public.t", None),
        ("UPDATE public.t SET at = '2030-01-01'", None),
        ("DELETE FROM public.t", 6722),
        ("DELETE FROM public.t WHERE a > 20", 6722),
        ("UPDATE public.t SET at = at - interval '1 minute'", 6722),
        ("TRUNCATE public.t", 6721),
        ("DROP TABLE public.t", 6721),
        ("CREATE TABLE public.old AS SELECT * FROM public.t WHERE a < 30; DROP TABLE public.t; "
         "ALTER TABLE public.old RENAME TO t", 6721),
        ("CREATE TABLE public.old AS SELECT * FROM public.t WHERE a < 36; DROP TABLE public.t; "
         "ALTER TABLE public.old RENAME TO t", 6723),
    ],
)  # fmt: skip
def test_a_target_that_has_lost_its_latest_rows_is_noticed(
    db_source: str, target: Session, change: str, code: int | None
) -> None:
    mark = completed(target, MARK)
    assert len(mark.witness) == watermarks.WITNESSES
    assert mark.witness[-1] == ("40", "it's 40", "2025-01-01 00:00:40+00")
    run_sql(db_source, change)
    assert found(target, mark) == code


@pytest.mark.template(source=TARGET)
def test_witnesses_are_of_the_target_and_stay_through_empty_increments(db_source: str, target: Session) -> None:
    """A mode that leaves rows as they were, or away, leaves witnesses of what is there."""
    run_sql(db_source, "UPDATE s.staged SET at = at + interval '1 day'; INSERT INTO s.staged VALUES (99, 'no')")
    mark = completed(target, MARK)
    assert found(target, mark) is None
    assert ("40", "it's 40", "2025-01-01 00:00:40+00") in mark.witness
    run_sql(db_source, "TRUNCATE s.staged")
    assert completed(target, mark).witness == mark.witness
    without = Mark(kind=WatermarkKind.XMIN, column="xmin", read_at="x")
    run_sql(db_source, "INSERT INTO s.staged SELECT * FROM public.t")
    keys = completed(target, without)
    assert {len(w) for w in keys.witness} == {2}
    assert found(target, keys) is None
    run_sql(db_source, "DELETE FROM public.t")
    assert found(target, keys) == 6722
