"""The command line's words for what is selected become a Plan's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from pghaul.cli.options import compose_plan
from pghaul.cli.selecting import parse_bytes
from pghaul.model.errors import UsageError
from pghaul.model.pattern import is_matched, is_named
from pghaul.model.plan import Layout, Period, Plan, Unit
from pghaul.model.table import Name

URLS = ("postgresql://a/b", "postgresql://c/d")


def composed(tables: list[str] | None = None, file: Path | None = None, **selected: Any) -> Plan:
    urls = URLS if file is None else (None, None)
    return compose_plan(file, *urls, tables, {}, selected)


def test_words_of_a_selection_hold_for_all_of_them() -> None:
    plan = composed(["a", "b.*"], schemas=["s"], key="at", larger_than=5, where="x > 1", layout=Layout.DAY, into="n.*")
    assert [s.name for s in plan.tables] == ["a", "b.*", "s.*"]
    assert {(s.key, s.larger_than, s.where, s.layout, s.into) for s in plan.tables} == {
        ("at", 5, "x > 1", Layout.DAY, "n.*")
    }
    assert plan.period is None


def test_a_period_is_made_of_what_is_said() -> None:
    plan = composed(["a"], since="2025-09-01", timezone="Asia/Seoul", unit=Unit.SECONDS)
    assert plan.period == Period(since="2025-09-01", timezone="Asia/Seoul", unit=Unit.SECONDS)


def test_everything_needs_no_pattern_and_nothing_is_refused() -> None:
    assert composed(whole=True, exclude=["a"]).exclude == ["a"]
    with pytest.raises(UsageError, match="which tables"):
        composed(exclude=["a"])


def test_the_words_go_over_those_of_a_plan_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        """
        source = "postgresql://a/b"
        target = "postgresql://c/d"
        exclude = ["old"]
        [period]
        since = "2025-01-01"
        timezone = "Asia/Seoul"
        [[tables]]
        name = "t"
        where = "id > 0"
        """
    )
    plan = composed(file=file, since="2025-02-01", key="at")
    assert plan.period == Period(since="2025-02-01", timezone="Asia/Seoul")
    assert [(s.name, s.where, s.key) for s in plan.tables] == [("t", "id > 0", "at")]
    assert plan.exclude == ["old"]
    other = composed(["x"], file=file, exclude=["young"])
    assert [(s.name, s.where) for s in other.tables] == [("x", None)]
    assert other.exclude == ["young"]


@pytest.mark.parametrize("schema", ["plain", "od.d", "st*r", "qu?stion", "[b]", "sl/ash"])
def test_a_schema_of_any_name_is_meant_as_it_is(schema: str) -> None:
    (selection,) = composed(schemas=[schema]).tables
    assert is_matched(selection.name, Name(schema, "t"))
    assert not is_matched(selection.name, Name(f"{schema}x", "t"))


def test_patterns_are_globs_in_both_parts_or_regular_expressions_of_the_whole() -> None:
    assert is_matched("a?.[xy]*", Name("ab", "yes"))
    assert is_matched(r"/p.*\.h_24\d+/", Name("public", "h_2409"))
    assert not is_matched(r"/h_24\d+/", Name("public", "h_2409"))
    assert not is_matched(r"/public\.h_24/", Name("public", "h_2409"))
    assert is_named("t*", Name("public", "t*"))
    assert not is_named("/t/", Name("public", "/t/"))


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("100", 100), ("64MB", 64 << 20), ("1.5 gib", 3 << 29)])
def test_sizes_may_be_small(text: str, size: int) -> None:
    assert parse_bytes(text) == size
    with pytest.raises(typer.BadParameter):
        parse_bytes(f"-{text}")
