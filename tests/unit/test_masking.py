"""Expressions, functions and masking: what they give, what they refuse by name, and that keys are shown nowhere."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pghaul.model.errors import TransformError
from pghaul.model.foreign import ReadColumn
from pghaul.model.masking_key import mark_of
from pghaul.model.redaction import redacted
from pghaul.model.transforming import KEYS, Transform
from pghaul.transforms import registry
from pghaul.transforms.chain import Applied, chain
from pghaul.transforms.needs import needs
from pghaul.transforms.steps import column_step

KEY = {"key": "env:MASKING_KEY"}
SECRET = "f00d-9b1c-a-key-of-a-test"
ROWS = {
    "i": [7, -7, None],
    "p": [Decimal("250.55"), Decimal("99.00"), None],
    "t": ["ab", "cd", None],
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKING_KEY", SECRET)


def applied(data: dict[str, Any], *transforms: dict[str, Any], type_: str = "text", strict: bool = False) -> Applied:
    batch = pa.record_batch(data)
    columns = [ReadColumn(name=n, native="", pg_type=type_) for n in batch.schema.names]
    steps = [Transform(**t) for t in transforms]
    names = [*batch.schema.names, *(n for s in steps for n in s.names if n not in batch.schema.names)]
    made = chain(columns, names, steps, strict=strict)
    made.bind(batch.schema)
    return made.apply(batch)


def made_of(values: list[Any], transform: dict[str, Any], type_: str = "text") -> list[Any]:
    found: list[Any] = applied({"a": values}, {"column": "a"} | transform, type_=type_).batch.column("a").to_pylist()
    return found


# --- expressions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("i / 2", [3, -3, None]),
        ("i % 2", [1, -1, None]),
        ("p * 2", [Decimal("501.10"), Decimal("198.00"), None]),
        ("i * 1.5", [Decimal("10.5"), Decimal("-10.5"), None]),
        ("round(p, 1)", [Decimal("250.60"), Decimal("99.00"), None]),
        ("i between -8 and 0", [False, True, None]),
        ("i in (7, 8)", [True, False, None]),
        ("i is not null and t = 'ab' or i is null", [True, False, True]),
        ("case when i > 0 then 'pos' when i < 0 then 'neg' end", ["pos", "neg", None]),
        ("case t when 'ab' then 1 else 2.5 end", [Decimal("1.0"), Decimal("2.5"), Decimal("2.5")]),
        ("if(i > 0, 1, 2)", [1, 2, 2]),
        ("coalesce(t, 'zz') || '!'", ["ab!", "cd!", "zz!"]),
        ("concat(t, i)", ["ab7", "cd-7", ""]),
        ("replace(upper(substr(t, 2)), 'B', 'x')", ["x", "D", None]),
        ("length(t) + abs(i)", [9, 9, None]),
        ("nullif(i, 7)", [None, -7, None]),
        ("cast(i as numeric(10,2))", [Decimal("7.00"), Decimal("-7.00"), None]),
    ],
)
def test_an_expression_gives_what_postgresql_would(expression: str, values: list[Any]) -> None:
    done = applied(ROWS, {"kind": "expression", "column": "i", "expression": expression})
    assert done.batch.column("i").to_pylist() == values


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("foo(t)", r"FOO\(t\) is not among"),
        ("(select 1)", "SELECT 1"),
        ("t like 'a%'", "LIKE"),
        ("trim(both 'x' from t)", "TRIM"),
        ("other.t", "other.t is not among"),
        ("nosuch + 1", "names nosuch"),
        ("t + 1", r"t \+ 1 cannot be computed"),
        ("i =", "this is no expression"),
    ],
)
def test_what_an_expression_may_not_use_is_refused_by_name(expression: str, words: str) -> None:
    with pytest.raises(TransformError, match=words):
        applied(ROWS, {"kind": "expression", "column": "i", "expression": expression})


def test_a_row_that_divides_by_zero_is_told_apart() -> None:
    done = applied(ROWS, {"kind": "expression", "column": "i", "expression": "10 / (i - 7)"})
    assert [(r.row, r.message) for r in done.rejected] == [(0, "the expression refuses: divide by zero")]
    assert done.batch.column("i").to_pylist() == [0, None]


def test_columns_that_only_an_expression_needs_are_read() -> None:
    steps = [Transform(kind="expression", column="new", expression='a + "B"', type="integer")]
    assert needs(steps, ["a", "B", "c"]) == ["a", "B"]


# --- functions ----------------------------------------------------------------------------------------------------

RULES = """
import pyarrow as pa
def short(array):
    return array.slice(0, max(0, len(array) - 1))
def wrong(array):
    raise KeyError("x")
def both(batch):
    return pa.array([f"{a}/{b}" for a, b in zip(batch["a"].to_pylist(), batch["b"].to_pylist())], pa.string())
def rows(batch):
    return batch.set_column(0, "a", batch["b"])
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.py").write_text(RULES, encoding="utf-8")
    return str(tmp_path / "rules.py")


def test_a_function_makes_a_new_column_or_whole_rows(rules: str) -> None:
    data = {"a": ["1", "2"], "b": ["x", "y"]}
    new = applied(data, {"kind": "python", "column": "c", "function": f"{rules}:both", "type": "text"})
    assert new.batch.column("c").to_pylist() == ["1/x", "2/y"]
    whole = applied(data, {"kind": "python", "function": f"{rules}:rows"})
    assert whole.batch.column("a").to_pylist() == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "words", "line"),
    [("wrong", "wrong has failed: KeyError", ":6"), ("short", "as many values", ""), ("gone", "no function gone", "")],
)
def test_what_is_wrong_with_a_function_is_told_with_file_and_line(rules: str, name: str, words: str, line: str) -> None:
    with pytest.raises(TransformError, match=words) as caught:
        applied({"a": ["1"]}, {"kind": "python", "column": "a", "function": f"{rules}:{name}"})
    assert caught.value.where == rules + line


# --- masking ------------------------------------------------------------------------------------------------------


def test_a_hash_keeps_joins_and_fits_its_column() -> None:
    of_numbers = made_of([5, 5, None, 6], {"kind": "hash", **KEY})
    of_texts = made_of(["5"], {"kind": "hash", **KEY})
    assert of_numbers[0] == of_numbers[1] == of_texts[0] != of_numbers[3]
    assert of_numbers[2] is None
    assert len(of_texts[0]) == 64
    assert made_of(["5"], {"kind": "hash", **KEY}, "character varying(20)") == [of_texts[0][:20]]
    assert made_of(["5"], {"kind": "hash", **KEY}, "uuid") == [of_texts[0][:32]]
    with pytest.raises(TransformError, match="fewer than 8"):
        made_of(["5"], {"kind": "hash", **KEY}, "character varying(5)")


def test_another_key_gives_another_hash_and_another_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Transform(kind="hash", column="a", **KEY)
    before, mark = made_of(["5"], {"kind": "hash", **KEY}), mark_of([step], "a")
    assert mark_of([step], "b") == ""
    monkeypatch.setenv("MASKING_KEY", SECRET + "!")
    assert made_of(["5"], {"kind": "hash", **KEY}) != before
    assert mark_of([step], "a") != mark


def test_a_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made_of(["5"], {"kind": "hash", **KEY})
    assert redacted(f"the key is {SECRET}") == "the key is ***"
    for place, words in [("env:NOT_SET", "NOT_SET"), (str(tmp_path / "gone"), "cannot be read")]:
        with pytest.raises(TransformError, match=words):
            made_of(["5"], {"kind": "hash", "key": place})
    monkeypatch.setenv("MASKING_KEY", "short")
    with pytest.raises(TransformError, match="fewer than 16") as caught:
        made_of(["5"], {"kind": "hash", **KEY})
    assert "short" not in str(caught.value)


def test_a_shuffle_loses_and_doubles_nothing() -> None:
    values = [*range(1000), None, None]
    for step in ({"kind": "shuffle"}, {"kind": "shuffle", **KEY}):
        made = made_of(values, step)
        assert made != values
        assert sorted(made, key=str) == sorted(values, key=str)
    assert made_of(values, {"kind": "shuffle", **KEY}) == made_of(values, {"kind": "shuffle", **KEY})


@pytest.mark.parametrize("kind", ["name", "first-name", "last-name", "email", "phone", "address", "company", "date"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_made_up_values_are_the_same_for_the_same(kind: str, language: str) -> None:
    step = {"kind": "fake", "fake": kind, "language": language, **KEY}
    made = made_of(["a", "b", "a", None], step)
    assert made[0] == made[2]
    assert made[3] is None
    assert made_of(["b"], step) == [made[1]]
    if kind != "date":
        assert len(set(made_of([str(n) for n in range(5000)], step | {"unique": True}))) == 5000


def test_a_row_that_is_set_aside_is_masked() -> None:
    data = {"name": ["Kim"], "born": ["never"]}
    steps = [{"kind": "cast", "column": "born", "to": "date"}, {"kind": "redact", "column": "name", "value": "-"}]
    done = applied(data, *steps, {"kind": "redact", "column": "born"})
    assert done.aside.to_pydict() == {"name": ["-"], "born": [None]}


# --- kinds of others ----------------------------------------------------------------------------------------------


def twice(transform: Transform, schema: pa.Schema) -> Any:
    times = (transform.options or {})["times"]
    return column_step(
        transform, schema, lambda _field: lambda array: pa.array([v * times for v in array.to_pylist()], array.type)
    )


def test_a_package_can_add_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="twice", group=registry.GROUP, value=f"{__name__}:twice")
    monkeypatch.setattr(EntryPoint, "load", lambda _self: twice)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == registry.GROUP else [])
    assert made_of([2, 3], {"kind": "twice", "options": {"times": 2}}) == [4, 6]
    assert "twice" in registry.known()


def test_our_own_kinds_are_registered_as_any_other() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"][registry.GROUP] == dict(registry.OURS)
    assert set(registry.OURS) == set(KEYS)
