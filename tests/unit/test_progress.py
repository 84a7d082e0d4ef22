"""What is said of progress: totals, a rate over the last seconds, and a time left by bytes."""

from __future__ import annotations

import pytest

from pghaul.engine.progress import FIRM, WINDOW, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pghaul.engine.progress.time.monotonic", clock)
    return clock


def test_nothing_has_moved_at_the_start(clock: Clock) -> None:
    said = Progress(chunks=3, bytes_estimated=900).snapshot(0)
    assert said == {
        "rows": 0,
        "bytes": 0,
        "bytes_estimated": 900,
        "rate": 0,
        "eta": None,
        "chunks_done": 0,
        "chunks": 3,
    }


def test_rate_and_time_left_are_by_bytes(clock: Clock) -> None:
    counted = Progress(chunks=2, bytes_estimated=1000)
    counted.snapshot(0)
    clock.now += 2
    counted.add(rows=5, size=500, estimated=500)
    said = counted.snapshot(100)
    assert (said["bytes"], said["rate"], said["eta"]) == (600, 300, round(400 / 300, 1))
    assert (said["rows"], said["chunks_done"]) == (5, 1)


def test_finished_chunks_tell_how_many_bytes_an_estimated_one_is(clock: Clock) -> None:
    """COPY's text of a table may be half its heap, or three times it."""
    counted = Progress(chunks=2, bytes_estimated=1000)
    counted.add(rows=1, size=250, estimated=500)
    assert counted.snapshot(0)["bytes_estimated"] == 500
    assert counted.snapshot(50)["bytes_estimated"] == 500


def test_of_more_than_was_estimated_nobody_knows_what_is_left(clock: Clock) -> None:
    counted = Progress(chunks=1, bytes_estimated=100)
    counted.snapshot(0)
    clock.now += 1
    said = counted.snapshot(5000)
    assert (said["eta"], said["bytes_estimated"]) == (None, 5000)
    counted.add(rows=9, size=6000, estimated=100)
    assert counted.snapshot(0)["eta"] == 0.0


def test_the_rate_forgets_what_is_long_ago(clock: Clock) -> None:
    counted = Progress(chunks=1, bytes_estimated=10**9)
    counted.snapshot(0)
    clock.now += 1
    counted.snapshot(10**6)
    for _ in range(int(WINDOW) + 2):
        clock.now += 1
        said = counted.snapshot(10**6)
    assert (said["rate"], said["eta"]) == (0, None)


def test_of_tables_that_were_moved_before_the_bytes_are_known_and_the_first_rate_too(clock: Clock) -> None:
    counted = Progress(chunks=3, bytes_estimated=1000, bytes_known=300, past_rate=100.0)
    said = counted.snapshot(0)
    assert (said["bytes_estimated"], said["rate"], said["eta"]) == (1300, 0, 13.0)
    counted.add(rows=1, size=330, estimated=300, known=True)  # it has grown; that says nothing of the others
    clock.now += FIRM / 2
    assert counted.snapshot(0)["eta"] == 10.0
    clock.now += FIRM / 2
    said = counted.snapshot(0)
    assert (said["bytes_estimated"], said["rate"], said["eta"]) == (1330, 165, round(1000 / 165, 1))
    counted.add(rows=1, size=250, estimated=500)
    assert counted.snapshot(0)["bytes_estimated"] == 330 + 250 + 250


def test_a_chunk_that_is_done_again_is_not_counted_twice(clock: Clock) -> None:
    counted = Progress(chunks=2, bytes_estimated=1000)
    counted.add(rows=5, size=500, estimated=400)
    counted.add(rows=7, size=700, estimated=600)
    counted.remove(rows=5, size=500, estimated=400)
    said = counted.snapshot(0)
    assert (said["rows"], said["bytes"], said["chunks_done"]) == (7, 700, 1)
    counted.add(rows=6, size=600, estimated=400)
    said = counted.snapshot(0)
    assert (said["rows"], said["bytes"], said["bytes_estimated"], said["chunks_done"]) == (13, 1300, 1300, 2)
