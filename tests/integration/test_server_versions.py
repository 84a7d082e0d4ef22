"""A server that is really old, as a sample of what `make matrix` runs between all versions."""

from __future__ import annotations

from pathlib import Path

from tests.matrix.pair import move_killed_and_resumed

from pghaul.service.embedded import Cluster


def test_everything_comes_from_12_to_18_through_a_kill(pg12: Cluster, pg18: Cluster, tmp_path: Path) -> None:
    moved = move_killed_and_resumed(pg12, pg18, 12, tmp_path)
    assert moved.chunks_before >= 3
    assert moved.rows > 50_000
