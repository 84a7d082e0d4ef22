"""Verifications of a run or of any plan: who is compared with whom, and that the outcome is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pghaul.engine.facts import who
from pghaul.engine.verify import Request, Task, verify
from pghaul.model.errors import PlanError, StoppedError, TransientError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.text import say
from pghaul.model.verification import Verification

if TYPE_CHECKING:
    from pghaul.model.event import Listener
    from pghaul.model.manifest import Manifest
    from pghaul.model.plan import Plan
    from pghaul.model.profile import Endpoint
    from pghaul.store.repository import Store

__all__ = ["Request", "compare", "refuse_queries"]

AGAIN = say("verify again: it has changed nothing anywhere")


def refuse_queries(plan: Plan) -> None:
    """A comparison afterwards is one of tables: of queries alone there is nothing to compare."""
    if plan.tables and all(s.query for s in plan.tables) and not plan.whole:
        raise PlanError(
            say("what a query gave cannot be compared afterwards: the source has no table of it"),
            advice=say("a merge compares by content what it has merged, with --verify checksum"),
            code=1166,
        )


def compare(
    store: Callable[[], Store],
    verification_id: str,
    run: tuple[str, Manifest] | None,
    plan: Plan,
    ends: tuple[Endpoint | ForeignEndpoint, Endpoint],
    request: Request,
    listener: Listener,
    stop: Callable[[], bool],
) -> Verification:
    """Compare, and keep what came out. `store` takes a while to open; `run`: its id and what it has planned."""
    started = datetime.now(UTC)
    source, target = ends
    about: dict[str, Any] = {
        "id": verification_id,
        "plan": plan,
        "source": source,
        "target": target,
        "manifest": run[1] if run else None,
        "request": request,
    }
    try:
        if isinstance(source, ForeignEndpoint):
            from pghaul.engine.arrow import verify as lane  # noqa: PLC0415 -- sqlglot

            tables = lane.verify(lane.Comparison(**about, run=run[0] if run else None), listener, stop)
        else:
            tables = verify(Task(**about), listener, stop, meanwhile=store)
    except (TransientError, StoppedError) as exc:
        if exc.advice == exc.counsel:  # of runs: there is none to resume
            exc.advice = AGAIN
        raise
    found = Verification(
        id=verification_id,
        run=run[0] if run else None,
        source=source.display,
        target=target.display,
        method=request.method,
        started=started,
        finished=datetime.now(UTC),
        tables=tables,
        who=who(),
    )
    store().save_verification(found)
    return found
