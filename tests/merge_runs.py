"""Merges inside the test's own process: selections with their words, the run, and what is left on the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Options, Plan, Selection
from pghaul.service.migration import MigrationService
from tests.databases import DatabasePair
from tests.moving import Moved, rows

LEFT = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pghaul' AND c.relname LIKE 'stage%'
"""


def merge_plan(pair: DatabasePair, *selections: dict[str, Any], **options: Any) -> Plan:
    """One worker, and checksums, unless the options say otherwise."""
    chosen = {"workers": 1, "verify": "checksum", "recipe": "merge"} | options
    return Plan(
        source=pair.source,
        target=pair.target,
        tables=[Selection(**s) for s in selections],
        options=Options(**chosen),
    )


def merge(
    pair: DatabasePair,
    *selections: dict[str, Any],
    listener: Callable[[Event], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Moved:
    """A new run to its end; what ended it is raised."""
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if listener is not None:
            listener(event)

    run = MigrationService().run(merge_plan(pair, *selections, **options), listener=hear, stop=stop)
    return Moved(run=run, events=heard)


def became(moved: Moved, table: str) -> dict[str, int]:
    """What the receipt of a table says became of its rows; what is 0 is left out."""
    done = [e.data for e in moved.of(EventKind.CHUNK_DONE) if e.table == table]
    assert len(done) == 1, done
    words = ("rows", "inserted", "updated", "unchanged", "ignored", "rejected", "deleted")
    return {w: done[0][w] for w in words if done[0][w]}


def staging_left(pair: DatabasePair) -> list[str]:
    """Staging tables on the target: there may be none after a run."""
    return [name for (name,) in rows(pair.target, LEFT)]
