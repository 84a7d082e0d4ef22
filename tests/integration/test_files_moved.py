"""Folders of files arrive on a target whole, with the values that stand in them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.moving import Moved, assert_done, rows

from pghaul.engine.verify import Request
from pghaul.model.errors import SourceError
from pghaul.model.event import Event
from pghaul.model.plan import OnExisting, Options, Plan, Selection, Verify
from pghaul.service.migration import MigrationService


def carried(folder: Path, target: str, *tables: Selection) -> Moved:
    """All of it, with checksums."""
    events: list[Event] = []
    options = Options(workers=1, verify=Verify.CHECKSUM)
    plan = Plan(source=f"files://{folder}", target=target, tables=list(tables), whole=not tables, options=options)
    run = MigrationService().run(plan, listener=events.append)
    return Moved(run=run, events=events)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_files_of_all_kinds_become_tables(db_source: str, state: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        'id,code,name,born,paid\n1,007,"김, ""철수""\n",1999-12-31,10.50\n2,,"",,\n', encoding="utf-8"
    )
    typed = pa.table(
        {
            "n": pa.array([1, None], pa.uint64()),
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "exact": pa.array([Decimal("1.10"), None], pa.decimal256(60, 2)),
            "tags": pa.array([["a", None, 'q"'], None]),
            "body": pa.array([b"\x00\xff", None]),
        }
    )
    parquet.write_table(typed, tmp_path / "Typed.parquet")
    (tmp_path / "parts").mkdir()
    for part in range(3):
        with pa.OSFile(str(tmp_path / f"parts/{part}.arrow"), "wb") as file:
            batch = pa.record_batch({"part": pa.array([part] * 100, pa.int16())})
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
    assert_done(carried(tmp_path, db_source))
    assert rows(db_source, "SELECT * FROM people ORDER BY id") == [
        (1, "007", '김, "철수"\n', date(1999, 12, 31), Decimal("10.50")),
        (2, None, "", None, None),
    ]
    assert rows(db_source, 'SELECT n, "at"::text, exact, tags, body FROM "Typed" ORDER BY n') == [
        (Decimal(1), "2024-01-01 00:00:00+00", Decimal("1.10"), ["a", None, 'q"'], b"\x00\xff"),
        (None, None, None, None, None),
    ]
    assert rows(db_source, "SELECT part, count(*) FROM parts GROUP BY part ORDER BY part") == [
        (0, 100),
        (1, 100),
        (2, 100),
    ]


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_a_damaged_file_is_in_the_way_of_its_own_table_only(db_source: str, state: str, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / f"{name}.csv").write_text("a,b\n1,2\n")
    assert_done(moved := carried(tmp_path, db_source))
    (tmp_path / "bad.csv").write_bytes(b"PAR1")
    (tmp_path / "bad.csv").rename(tmp_path / "bad.parquet")
    with pytest.raises(SourceError, match="bad cannot be read"):
        carried(tmp_path, db_source, Selection(name="*", on_existing=OnExisting.TRUNCATE))
    assert_done(carried(tmp_path, db_source, Selection(name="good", on_existing=OnExisting.TRUNCATE)))
    found = MigrationService().verify(moved.run.id, Request(workers=1), listener=lambda _event: None)
    assert {t.source.name: t.agrees for t in found.tables} == {"good": True, "bad": None}


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_a_type_of_the_plan_is_taken(db_source: str, state: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,at\n1,20240102\n")
    assert_done(carried(tmp_path, db_source, Selection(name="t", types={"n": "numeric(5,1)", "at": "date"})))
    assert rows(db_source, "SELECT n, at FROM t") == [(Decimal("1.0"), date(2024, 1, 2))]
