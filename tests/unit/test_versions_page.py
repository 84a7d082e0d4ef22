"""docs/versions.md names every capability with the version that brought it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pghaul.postgres.versions import SINCE, parse_version

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pghaul"
PAGE = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([\d.]+) \| (.+) \|$", re.MULTILINE)
ROWS = {name: (since, without) for name, since, without in ROW.findall(PAGE)}


@pytest.mark.parametrize("capability", sorted(SINCE))
def test_every_capability_is_documented_with_its_version(capability: str) -> None:
    since, without = ROWS[capability]
    assert parse_version(since) == SINCE[capability]
    assert without.strip()


@pytest.mark.parametrize("capability", sorted(set(SINCE) - {"on_conflict"}))
def test_every_capability_is_asked_for_somewhere(capability: str) -> None:
    asking = re.compile(rf'[."]{capability}\b')
    assert any(asking.search(p.read_text()) for p in SOURCE.rglob("*.py") if p.name != "versions.py")
