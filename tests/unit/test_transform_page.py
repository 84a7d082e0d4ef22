"""docs/transforms.md shows each transform with its input and its output: here its examples are run."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from pghaul.model.foreign import ReadColumn
from pghaul.model.transforming import Transform, new_columns, new_name, new_type
from pghaul.transforms.casting import arrow_type, cast_of
from pghaul.transforms.chain import chain
from pghaul.transforms.registry import OURS

PAGE = (Path(__file__).resolve().parents[2] / "docs/transforms.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"```toml\n((?:(?!```).)*?)```\n+((?:```python\n.*?```\n+)?)(\|.*?)\n\n", re.DOTALL)
CELL = re.compile(r"(?<!\\)\|")
HEAD = re.compile(r"`(.+?)` (.+)")
ASIDE = "set aside"


@dataclass(frozen=True, kw_only=True)
class Example:
    """Names and types, and cells as they stand there."""

    transforms: list[Transform]
    before: dict[str, str]
    after: dict[str, str]
    rows: list[tuple[list[str], list[str]]]


def cells(line: str) -> list[str]:
    return [c.strip().replace("\\|", "|") for c in CELL.split(line.strip())[1:-1]]


def columns(heads: list[str]) -> dict[str, str]:
    found = [HEAD.fullmatch(h) for h in heads]
    return {f[1]: f[2] for f in found if f}


def examples(folder: Path) -> dict[str, Example]:
    """By the heading that each stands under."""
    out = {}
    for found in EXAMPLE.finditer(PAGE + "\n\n"):
        heading = re.findall(r"^#+ (.+)$", PAGE[: found.start()], re.MULTILINE)[-1]
        if found[2]:
            name = re.findall(r"# (\w+\.py)", found[2])[0]
            (folder / name).write_text(found[2].removeprefix("```python\n").partition("```")[0], encoding="utf-8")
        said = tomllib.loads(found[1])["tables"]["transform"]
        head, _, *lines = found[3].splitlines()
        middle = cells(head).index("→")
        out[heading] = Example(
            transforms=[Transform(**t).within(folder) for t in said],
            before=columns(cells(head)[:middle]),
            after=columns(cells(head)[middle + 1 :]),
            rows=[(cells(line)[:middle], cells(line)[middle + 1 :]) for line in lines],
        )
    return out


def value(cell: str) -> str | None:
    words = cell.removeprefix("`").removesuffix("`")
    return None if words == "NULL" else words[1:-1] if words.startswith("'") else words


def batch_of(types: dict[str, str], rows: list[list[str]]) -> pa.RecordBatch:
    arrays = [
        cast_of(pa.string(), arrow_type(type_))(pa.array([value(row[i]) for row in rows], pa.string()))
        for i, type_ in enumerate(types.values())
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(types))


HEADINGS = sorted(h for h in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE) if h in OURS)


@pytest.mark.parametrize("heading", HEADINGS)
def test_an_example_does_what_the_page_says(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKING_KEY", "a key for this page")
    example = examples(tmp_path)[heading]
    given = batch_of(example.before, [row for row, _ in example.rows])
    names = [*example.before, *new_columns(example.transforms, example.before)]
    made = chain(
        [ReadColumn(name=n, native="", pg_type=t) for n, t in example.before.items()],
        names,
        example.transforms,
        strict=False,
    )
    schema = made.bind(given.schema)
    assert schema.names == [new_name(example.transforms, n) or n for n in names]
    assert [type_after(example, n) for n in names] == list(example.after.values())
    done = made.apply(given)
    kept = [after for _, after in example.rows if after[0] != ASIDE]
    assert [r.row for r in done.rejected] == [i for i, (_, a) in enumerate(example.rows) if a[0] == ASIDE]
    assert done.batch.to_pydict() == batch_of(example.after, kept).to_pydict()


def type_after(example: Example, name: str) -> str | None:
    """On the target, as the page says it."""
    before = example.before.get(name)
    if before is None:
        return new_columns(example.transforms, example.before)[name]
    return new_type(example.transforms, name, before) or before


def test_every_kind_has_its_example() -> None:
    assert set(HEADINGS) == set(OURS)
