"""What can be said of a merge without a server: which plans are one, which types hold which, who is merged first."""

from __future__ import annotations

from typing import Any

import pytest

from pghaul.engine.merge.choice import Asked, is_merge
from pghaul.engine.merge.drift import Drift
from pghaul.engine.merge.units import Unit, in_order
from pghaul.model.errors import PlanError
from pghaul.model.plan import Merge, Options, Plan, Selection
from pghaul.model.table import Name, RelationKind, Table
from pghaul.postgres.widening import holds


def plan(*selections: dict[str, Any], **options: Any) -> Plan:
    return Plan(source="a", target="b", tables=[Selection(**s) for s in selections], options=Options(**options))


@pytest.mark.parametrize(
    ("narrow", "wide", "held"),
    [
        ("integer", "bigint", True),
        ("bigint", "integer", False),
        ("integer", "numeric(10,0)", True),
        ("integer", "numeric(11,2)", False),
        ("numeric(10,2)", "numeric(12,4)", True),
        ("numeric(10,2)", "numeric(11,4)", False),
        ("numeric", "numeric(10,2)", False),
        ("character varying(10)", "text", True),
        ("text", "character varying(10)", False),
        ("character varying", "character varying(10)", False),
        ("timestamp(3) with time zone", "timestamp with time zone", True),
        ("timestamp without time zone", "timestamp with time zone", False),
        ("date", "timestamp(0) without time zone", False),
        ("real", "double precision", True),
        ("bit(3)", "bit(5)", False),
        ("public.mood", "public.mood", True),
        ("integer[]", "bigint[]", False),
    ],
)
def test_a_type_holds_another_only_where_no_value_is_lost(narrow: str, wide: str, held: bool) -> None:
    assert holds(narrow, wide) is held


def test_a_plan_is_a_merge_by_its_recipe_its_words_or_its_query() -> None:
    assert is_merge(plan({"name": "a"}, recipe="merge"))
    assert is_merge(plan({"name": "a", "merge": {"mode": "upsert"}}))
    assert is_merge(plan({"query": "SELECT 1 AS a", "into": "x.y"}))
    assert not is_merge(plan({"name": "a"}))
    assert not is_merge(plan({"name": "a", "recipe": "copy"}, recipe="merge"))


def test_all_rows_are_read_again_once() -> None:
    said = plan({"name": "a", "merge": {"reload": True, "watermark": "at"}}, {"name": "b", "recipe": "merge"})
    assert said.once_read() == plan({"name": "a", "merge": {"watermark": "at"}}, {"name": "b", "recipe": "merge"})


@pytest.mark.parametrize(
    ("said", "options", "number"),
    [
        (({"name": "a", "merge": {"mode": "upsert"}}, {"name": "b"}), {}, 1161),
        (({"name": "a"},), {"recipe": "merge", "on_existing": "append"}, 1162),
        (({"name": "a", "layout": "day"},), {"recipe": "merge"}, 1162),
        (({"name": "a", "key": "day"},), {"recipe": "merge"}, 1162),
        (({"name": "a"},), {"recipe": "merge", "duplicates": "first"}, 1162),
    ],
)
def test_what_contradicts_a_merge_is_refused(
    said: tuple[dict[str, Any], ...], options: dict[str, Any], number: int
) -> None:
    with pytest.raises(PlanError) as refused:
        is_merge(plan(*said, **options))
    assert refused.value.number == number


def test_parents_come_before_children_and_a_ring_is_no_obstacle() -> None:
    names = {n: Name("s", n) for n in ("a", "b", "c", "d", "e")}
    found = [unit(n) for n in names.values()]
    references = {
        names["a"]: {names["b"]},
        names["b"]: {names["c"], names["b"]},
        names["d"]: {names["e"]},
        names["e"]: {names["d"]},
    }
    ordered = [u.name.name for u in in_order(found, references)]
    assert ordered.index("c") < ordered.index("b") < ordered.index("a")
    assert sorted(ordered) == ["a", "b", "c", "d", "e"]


def unit(name: Name) -> Unit:
    table = Table(name=name, oid=1, kind=RelationKind.TABLE, columns=())
    return Unit(asked=Asked(source=table, target=name, merge=Merge()), there=None, drift=Drift(columns=()), key=())
