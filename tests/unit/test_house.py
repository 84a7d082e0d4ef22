"""The shape of the house, where a linter does not look."""

from __future__ import annotations

import ast
import statistics
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted(p for folder in ("src", "tests", "benchmarks", "tools") for p in (ROOT / folder).rglob("*.py"))
PRODUCT = sorted((ROOT / "src").rglob("*.py"))
# Names that say nothing of what is inside, so that anything can be put there.
FORBIDDEN = {"manager", "managers", "helper", "helpers", "utils", "util", "common", "misc", "base2"}


@dataclass(frozen=True, kw_only=True)
class Module:
    """What is asked of one here."""

    lines: int
    explained: bool  # it is empty, or begins with a docstring
    functions: tuple[int, ...]  # lines of each


@cache
def modules() -> dict[Path, Module]:
    """All of ours: to parse them takes seconds, so it is done once."""
    return {path: _module(path.read_text(encoding="utf-8")) for path in OURS}


def _module(text: str) -> Module:
    tree = ast.parse(text)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return Module(
        lines=len(text.splitlines()),
        explained=not text.strip() or bool(ast.get_docstring(tree)),
        functions=tuple(n.end_lineno - n.lineno + 1 for n in functions if n.end_lineno is not None),
    )


def test_there_are_modules_to_look_at() -> None:
    """A wrong path would make every other test here pass."""
    assert {"app.py", "relay.py", "session.py"} <= {p.name for p in PRODUCT}


def test_no_module_is_longer_than_600_lines() -> None:
    assert {str(p.relative_to(ROOT)): m.lines for p, m in modules().items() if m.lines > 600} == {}


def test_every_module_says_why_it_exists() -> None:
    assert [str(p.relative_to(ROOT)) for p, m in modules().items() if not m.explained] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    words = {p: set(p.stem.strip("_").split("_")) for p in OURS}
    assert {str(p) for p, parts in words.items() if parts & FORBIDDEN} == set()


def test_the_median_module_has_fewer_than_200_lines() -> None:
    assert statistics.median(modules()[p].lines for p in PRODUCT) < 200


def test_nine_functions_in_ten_have_fewer_than_35_lines() -> None:
    lengths = [n for p in PRODUCT for n in modules()[p].functions]
    assert statistics.quantiles(lengths, n=10)[-1] < 35
