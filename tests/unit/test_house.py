"""The shape of the house, where a linter does not look."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted(p for folder in ("src", "tests", "benchmarks", "tools") for p in (ROOT / folder).rglob("*.py"))
PRODUCT = sorted((ROOT / "src").rglob("*.py"))
# Names that say nothing of what is inside, so that anything can be put there.
FORBIDDEN = {"manager", "managers", "helper", "helpers", "utils", "util", "common", "misc", "base2"}


def test_there_are_modules_to_look_at() -> None:
    """A wrong path would make every other test here pass."""
    assert {"app.py", "relay.py", "session.py"} <= {p.name for p in PRODUCT}


@pytest.mark.parametrize("path", OURS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_is_longer_than_600_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


@pytest.mark.parametrize("path", OURS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_why_it_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_no_module_has_a_name_that_says_nothing() -> None:
    words = {p: set(p.stem.strip("_").split("_")) for p in OURS}
    assert {str(p) for p, parts in words.items() if parts & FORBIDDEN} == set()


def test_the_median_module_has_fewer_than_200_lines() -> None:
    assert statistics.median(len(p.read_text(encoding="utf-8").splitlines()) for p in PRODUCT) < 200


def test_nine_functions_in_ten_have_fewer_than_35_lines() -> None:
    lengths = [n.end_lineno - n.lineno + 1 for p in PRODUCT for n in _functions(p) if n.end_lineno is not None]
    assert statistics.quantiles(lengths, n=10)[-1] < 35


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
