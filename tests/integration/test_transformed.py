"""Transforms between another kind of database and a server: what arrives, what `plan` says, what is set aside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.program import PATIENCE, Program
from tests.faults.proxy import Moment, Proxy, Trigger
from tests.looking import value
from tests.moving import Moved, assert_done, resume, rows
from tests.sqlite_files import held, made, plan_of

from pghaul.model.errors import RowError, ShapeChangedError
from pghaul.model.event import Event
from pghaul.model.plan import Mapping, Plan, Selection
from pghaul.model.run import RunState
from pghaul.model.transforming import Transform
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import write_plan

SCRIPT = """
CREATE TABLE person (id INTEGER PRIMARY KEY, nm TEXT NOT NULL, sex TEXT DEFAULT 'M', born TEXT, note BLOB);
CREATE INDEX person_nm ON person (nm);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
INSERT INTO person SELECT i, '  name ' || i || ' ', CASE i % 3 WHEN 0 THEN 'M' WHEN 1 THEN 'F' END,
    CASE WHEN i % 2 THEN '19' || (50 + i % 40) || '-02-03' ELSE 'n/a' END, x'b0a1b3aa' FROM n;
"""
STEPS: list[dict[str, Any]] = [
    {"kind": "rename", "column": "nm", "to": "name"},
    {"kind": "trim", "column": "nm"},
    {"kind": "map", "column": "sex", "map": {"M": "male", "F": "female"}, "otherwise": "fail"},
    {"kind": "default", "column": "sex", "value": "unknown"},
    {"kind": "null-if", "column": "born", "values": ["n/a"]},
    {"kind": "cast", "column": "born", "to": "date"},
]
WHOLE = "SELECT id, name, sex, born::text, note FROM person ORDER BY id"

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def people(folder: Path, n: int = 40) -> Path:
    return made(folder / "people.db", SCRIPT.format(n=n))


def expected(path: Path) -> list[tuple[object, ...]]:
    """What should arrive, computed by SQLite."""
    return held(
        path,
        """SELECT id, trim(nm), CASE sex WHEN 'M' THEN 'male' WHEN 'F' THEN 'female' ELSE 'unknown' END,
           nullif(born, 'n/a'), '가나' FROM person ORDER BY id""",
    )


def plan_for(path: Path, target: str, *steps: dict[str, Any], mapping: Mapping | None = None, **options: Any) -> Plan:
    plan = plan_of(path, target, "person", mapping=mapping, **options)
    selection = Selection(
        name="person",
        types={"note": "text"},
        encodings={"note": "cp949"},
        transform=[Transform(**s) for s in (*STEPS, *steps)],
    )
    return plan.model_copy(update={"tables": [selection]})


def moved(plan: Plan) -> Moved:
    heard: list[Event] = []
    return Moved(run=MigrationService().run(plan, listener=heard.append), events=heard)


def test_values_arrive_as_the_plan_makes_them(db_source: str, state: str, tmp_path: Path) -> None:
    path = people(tmp_path)
    assert_done(moved(plan_for(path, db_source, verify="checksum")))
    assert rows(db_source, WHOLE) == expected(path)
    assert value(db_source, "SELECT pg_typeof(born)::text FROM person LIMIT 1") == "date"
    assert value(db_source, "SELECT indexdef FROM pg_indexes WHERE indexname = 'person_nm'").endswith("(name)")


def test_columns_are_masked_made_and_computed(
    db_source: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the source's SQL, by an expression, by a key; the key column too, by which rows are known."""
    monkeypatch.setenv("MASKING_KEY", "a key of this test")
    steps = [
        {"kind": "sql", "column": "half", "expression": "id / 2", "type": "bigint"},
        {"kind": "expression", "column": "code", "expression": "sex || '-' || id", "type": "text"},
        {"kind": "hash", "column": "id", "key": "env:MASKING_KEY", "length": 16},
        {"kind": "partial", "column": "nm", "first": 1},
        {"kind": "redact", "column": "note"},
    ]
    assert_done(moved(plan_for(people(tmp_path, 3), db_source, *steps, verify="checksum")))
    found = rows(db_source, "SELECT id, name, note, half, code FROM person ORDER BY half, code")
    assert [r[1:] for r in found] == [
        ("n*****", None, 0, "female-1"),
        ("n*****", None, 1, "male-3"),
        ("n*****", None, 1, "unknown-2"),
    ]
    assert {len(r[0]) for r in found} == {16}
    assert (
        value(db_source, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'person'::regclass AND contype = 'p'")
        == 1
    )


def test_a_run_goes_on_with_the_key_that_it_began_with(
    db_source: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKING_KEY", "a key of this test")
    path = made(people(tmp_path), "UPDATE person SET born = 'tomorrow' WHERE id = 7")
    with pytest.raises(RowError):
        moved(plan_for(path, db_source, {"kind": "hash", "column": "note", "key": "env:MASKING_KEY"}))
    monkeypatch.setenv("MASKING_KEY", "another key of this test")
    with pytest.raises(ShapeChangedError, match="note"):
        resume()


def test_a_plan_names_what_cannot_be_applied(db_source: str, state: str, tmp_path: Path) -> None:
    wrong = [{"kind": "trim", "column": "id"}, {"kind": "cast", "column": "gone", "to": "date"}]
    path = people(tmp_path)
    for step, words in zip(wrong, ["trim cannot be applied to the column id", "the column gone"], strict=True):
        found = MigrationService().plan(plan_for(path, db_source, step))
        assert any(words in f.what for f in found.findings if f.kind == "transform")
        assert not found.ok


def test_a_row_that_refuses_ends_the_run_or_is_set_aside_transformed(
    db_source: str, state: str, tmp_path: Path
) -> None:
    path = made(people(tmp_path), "UPDATE person SET born = 'tomorrow' WHERE id IN (7, 8)")
    with pytest.raises(RowError, match="born"):
        moved(plan_for(path, db_source))
    assert moved(plan_for(path, db_source, on_existing="truncate", max_rejects=2)).run.state is RunState.DIFFERENT
    assert value(db_source, "SELECT count(*) FROM person") == 38
    kept = rows(db_source, "SELECT convert_from(row_data, 'UTF8') FROM pghaul.quarantine ORDER BY 1")
    assert [line.split("\t")[:4] for (line,) in kept] == [
        ["7", "name 7", "female", "tomorrow"],
        ["8", "name 8", "unknown", "tomorrow"],
    ]


@pytest.fixture
def program(tmp_path: Path, state: str) -> Iterator[Program]:
    program = Program(tmp_path)
    try:
        yield program
    finally:
        program.kill_all()


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
def test_a_run_that_was_killed_makes_the_same_of_the_rest(
    db_source: str, pg18: object, program: Program, tmp_path: Path
) -> None:
    """In the middle of the second COPY of rows, the main process."""
    path = people(tmp_path, 800)
    trigger = Trigger(
        moment=Moment.QUERY,
        pattern="^COPY ",
        application="/worker$",
        skip=1,
        action=lambda _connection: program.kill_main(),
    )
    with Proxy(pg18.port) as proxy:  # type: ignore[attr-defined]
        proxy.arm(trigger)
        file = tmp_path / "plan.toml"
        write_plan(plan_for(path, proxy.url(db_source), split_bytes=8192, verify="checksum"), file)
        program.start("run", str(file), "--run-id", "0123456789ab")
        assert trigger.done.wait(PATIENCE), program.said()
        program.wait()
        assert_done(resume("0123456789ab"))
    assert rows(db_source, WHOLE) == expected(path)
