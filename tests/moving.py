"""A whole run inside the test's own process: plan, MigrationService, and every event it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Options, Plan, Selection, Verify
from pghaul.model.run import Run, RunState
from pghaul.service.migration import MigrationService
from tests.databases import DatabasePair


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How a run ended, and what it said on the way."""

    run: Run
    events: list[Event] = field(default_factory=list)

    def of(self, kind: EventKind) -> list[Event]:
        """The events of one kind, in order."""
        return [e for e in self.events if e.kind is kind]

    def proofs(self) -> dict[str, str]:
        """By table, how its chunks were proven."""
        return {str(e.table): e.data["proof"] for e in self.of(EventKind.CHUNK_DONE)}

    def notices(self, kind: str) -> list[str]:
        """The names under this kind of notice."""
        return [e.data["name"] for e in self.of(EventKind.NOTICE) if e.data["kind"] == kind]


def plan_of(source: str, target: str, tables: Iterable[str], **options: Any) -> Plan:
    """One worker (each costs half a second to spawn) and checksums, unless the options say otherwise."""
    chosen = {"workers": 1, "verify": Verify.CHECKSUM} | options
    return Plan(source=source, target=target, tables=[Selection(name=t) for t in tables], options=Options(**chosen))


def move(
    pair: DatabasePair,
    *tables: str,
    source: str | None = None,
    target: str | None = None,
    listener: Callable[[Event], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    events: list[Event] | None = None,
    **options: Any,
) -> Moved:
    """Run a new plan to its end; what ended it is raised. `source`, `target` replace the pair's URLs."""
    heard: list[Event] = [] if events is None else events

    def hear(event: Event) -> None:
        heard.append(event)
        if listener is not None:
            listener(event)

    plan = plan_of(source or pair.source, target or pair.target, tables or ("*.*",), **options)
    return Moved(run=MigrationService().run(plan, listener=hear, stop=stop), events=heard)


def resume(run_id: str | None = None, **options: Any) -> Moved:
    """Go on with a run, by default the latest unfinished one."""
    heard: list[Event] = []
    return Moved(run=MigrationService().resume(run_id, listener=heard.append, **options), events=heard)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a query answers."""
    with psycopg.connect(url, autocommit=True) as session:
        return session.execute(query).fetchall()


def run_sql(url: str, script: str) -> None:
    """One script of several statements."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(script.encode())


def assert_done(moved: Moved) -> None:
    """Done, and nothing differs."""
    assert moved.run.state is RunState.DONE, [e.message for e in moved.events]
