"""From every version to itself, to its next, to the newest, and from the newest back to every one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pghaul.service.embedded import Cluster
from tests.matrix.pair import move_killed_and_resumed
from tests.servers import RELEASES

VERSIONS = sorted(RELEASES)
NEWEST = max(VERSIONS)
SAME = [(v, v) for v in VERSIONS]
NEXT = [(v, v + 1) for v in VERSIONS if v + 1 < NEWEST]
UP = [(v, NEWEST) for v in VERSIONS if v < NEWEST]
DOWN = [(NEWEST, v) for v in VERSIONS if v < NEWEST]


@pytest.mark.parametrize(("source", "target"), [*SAME, *NEXT, *UP, *DOWN])
def test_everything_that_both_know_arrives_through_a_kill(
    source: int,
    target: int,
    servers: Callable[[int], Cluster],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    moved = move_killed_and_resumed(servers(source), servers(target), min(source, target), tmp_path)
    for name in ("tables", "rows", "chunks_before", "seconds"):
        record_property(name, getattr(moved, name))
