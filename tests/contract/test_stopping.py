"""Sources: reading ends within a second when it has to, and what is read together belongs together."""

from __future__ import annotations

import threading
import time

import pytest
from tests.contract.case import CHANGING, NUMBERS, Place, rows_of, whole
from tests.faults.program import PATIENCE, wait_until

from pghaul.model.errors import PghaulError, SnapshotLostError, StoppedError
from pghaul.model.foreign import Consistency, Reading
from pghaul.sources.protocol import Source

MOST = 100 << 20  # bytes that were on their way when the reading was cancelled


def test_reading_is_cancelled_at_once(place: Place, source: Source) -> None:
    """By another thread, while this one takes what comes; most of the 200 MB is never read."""
    batches = source.read(place.fat())
    running = iter(batches)
    assert next(running).nbytes > 0
    canceller = threading.Thread(target=source.cancel)
    canceller.start()
    canceller.join(PATIENCE)
    seen: list[int] = []
    with pytest.raises(StoppedError):
        seen.extend(batch.nbytes for batch in running)
    assert sum(seen) < MOST
    batches.close()


def test_a_query_that_yields_nothing_is_cancelled_within_a_second(place: Place) -> None:
    """At once where the machine lets it: one that is busy may hold up any attempt, not all of them."""
    reading = place.slow()
    if reading is None:
        pytest.skip("no slow reading is to be had of it")
    assert wait_until(lambda: _cancelled_after(place, reading) < 1.1)


def _cancelled_after(place: Place, reading: Reading) -> float:
    """Seconds."""
    ended = threading.Event()
    with place.open() as source:
        canceller = threading.Thread(target=_cancel_until, args=(source, ended))
        canceller.start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            rows_of(source, reading)
        took = time.monotonic() - began
        ended.set()
        canceller.join()
    return took


def _cancel_until(source: Source, ended: threading.Event) -> None:
    """Again and again: the first time the reading may not have begun."""
    while not ended.wait(0.1):
        source.cancel()


def test_a_cancelled_source_harms_no_other(place: Place, source: Source) -> None:
    with place.open() as other:
        other.cancel()
        assert len(rows_of(source, whole(place.table(NUMBERS), limit=50))) == 50


def test_who_joins_sees_the_same(place: Place, source: Source) -> None:
    token = source.hold()
    with place.open() as other:
        other.join(token)
        assert other.count(place.name(CHANGING)) == source.count(place.name(CHANGING))
        other.check()
    source.check()


def test_a_change_is_not_seen_in_part(place: Place, source: Source) -> None:
    """What is held stays as it was, or it is said that it did not; who comes later sees the same, or is refused."""
    if source.guarantees.consistency is not Consistency.SNAPSHOT and not source.guarantees.sees_changes:
        pytest.skip("this source promises no more than each statement")
    token = source.hold()
    before = source.count(place.name(CHANGING))
    changed = place.change()
    if source.guarantees.sees_changes and changed:
        with pytest.raises(PghaulError):
            source.check()
    if source.guarantees.consistency is Consistency.SNAPSHOT:
        assert source.count(place.name(CHANGING)) == before
    with place.open() as late:
        try:
            late.join(token)
        except SnapshotLostError:
            assert changed
        else:
            assert late.count(place.name(CHANGING)) == before
    source.close()
    with place.open() as fresh:
        assert fresh.count(place.name(CHANGING)) == before + changed


def test_a_token_of_another_time_is_refused_or_sees_the_same(place: Place) -> None:
    with place.open() as first:
        token = first.hold()
        before = first.count(place.name(CHANGING))
        if first.guarantees.consistency is not Consistency.SNAPSHOT:
            pytest.skip("this source promises no snapshot")
    place.change()
    with place.open() as late:
        try:
            late.join(token)
        except (SnapshotLostError, PghaulError):
            return
        assert late.count(place.name(CHANGING)) == before
