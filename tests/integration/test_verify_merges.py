"""verify after a merge: all that is below a table, versions that are current, rows not marked; queries aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.databases import DatabasePair
from tests.looking import execute

from pghaul.cli.app import run

SOURCE = """
CREATE TABLE tree (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE tree_2 PARTITION OF tree FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO tree SELECT g, date '2026-01-01' + g % 50, 'v' || g FROM generate_series(1, 100) g;
CREATE TABLE kept (id int PRIMARY KEY, v text, big text GENERATED ALWAYS AS (upper(v)) STORED);
INSERT INTO kept SELECT g, 'v' || g FROM generate_series(1, 20) g;
CREATE TABLE marked (id int PRIMARY KEY, v text); INSERT INTO marked SELECT g, 'v' || g FROM generate_series(1, 20) g;
"""
TARGET = "CREATE TABLE marked (id int PRIMARY KEY, v text, gone boolean)"
PLAN = """
source = "{source}"
target = "{target}"
[[tables]]
name = "tree"
merge = {{}}
[[tables]]
name = "kept"
merge = {{ mode = "scd2" }}
[[tables]]
name = "marked"
where = "id > 2 -- the others never come"
merge = {{ mode = "full-sync", deleted = "gone" }}
[[tables]]
query = "SELECT count(*) AS n FROM public.tree"
into = "public.counted"
merge = {{ key = ["n"] }}
"""
RUN = "0a1b2c3d4e5f"


def verdicts(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert run(["verify", *words, "--json"]) == 3
    return {t["target"]: t for t in json.loads(capsys.readouterr().out)["tables"]}


def state_of(found: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {name: tuple(t[k] for k in ("agrees", "source_rows", "target_rows")) for name, t in found.items()}


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_what_was_merged_is_compared_as_it_was_merged(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.format(source=db_pair.source, target=db_pair.target), encoding="utf-8")
    assert run(["run", str(plan)]) == 0
    execute(db_pair.source, "UPDATE kept SET v = 'new' WHERE id < 4", "DELETE FROM kept WHERE id = 20")
    execute(db_pair.source, "DELETE FROM marked WHERE id = 20")
    assert run(["run", str(plan), "--run-id", RUN]) == 0
    alike = {"public.tree": (True, 100, 100), "public.kept": (True, 19, 19), "public.marked": (True, 17, 17)}
    for what in (RUN, str(plan)):
        assert state_of(verdicts(capsys, what)) == alike | {"public.counted": (None, 0, 0)}
    assert run(["verify", RUN, "--table", "tree", "--table", "kept"]) == 0
    execute(
        db_pair.target,
        "DELETE FROM tree WHERE id = 100",
        "UPDATE kept SET big = 'x' WHERE valid_to IS NULL AND id = 1",
        "UPDATE marked SET gone = true WHERE id = 3",
    )
    found = verdicts(capsys, RUN)
    assert [(name, t["missing"], t["different"]) for name, t in sorted(found.items()) if t["agrees"] is False] == [
        ("public.kept", 0, 1),
        ("public.marked", 1, 0),
        ("public.tree", 1, 0),
    ]
    assert run(["verify", RUN]) == 3
    err = capsys.readouterr().err
    assert "merge again" in err
    assert "on-existing" not in err


WITHOUT = """
CREATE TABLE item (id int PRIMARY KEY, at timestamptz);
INSERT INTO item SELECT g, CASE WHEN g > 5 THEN now() - interval '1 h' END FROM generate_series(1, 20) g;
"""


EXCLUDING = """
source = "{source}"
target = "{target}"
[[tables]]
name = "item"
merge = {{ watermark = "at", lookback = "1m", null_watermarks = "exclude" }}
"""


@pytest.mark.template(source=WITHOUT)
def test_rows_that_no_reading_brings_are_no_difference(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(EXCLUDING.format(source=db_pair.source, target=db_pair.target), encoding="utf-8")
    assert run(["run", str(plan), "--run-id", RUN]) == 0
    capsys.readouterr()
    assert run(["verify", RUN, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["tables"]
    assert (found["source_rows"], found["target_rows"]) == (15, 15)
    execute(db_pair.target, "DELETE FROM item WHERE id = 6")
    assert verdicts(capsys, RUN)["public.item"]["missing"] == 1
