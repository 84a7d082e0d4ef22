"""What an attempt stands on: the source held at one moment and described, the target's session, and the mapping.

While the source looks at its values, which takes it up to a second, we import what comes next.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pghaul.engine import scene
from pghaul.engine.arrow import shape
from pghaul.engine.worker import WorkerConfig
from pghaul.model.errors import EndpointChangedError, NotFoundError
from pghaul.model.finding import Finding
from pghaul.model.foreign import ForeignDatabase, ForeignEndpoint
from pghaul.model.manifest import Manifest
from pghaul.model.mapped import MappedDatabase
from pghaul.model.plan import Plan, ReadConsistency
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session, connect, terminate_sessions
from pghaul.postgres.settings import settings
from pghaul.sources.protocol import Source, engine_of
from pghaul.target.foreign.selection import chosen
from pghaul.target.ledger import check_leader


@dataclass(kw_only=True)
class Ground:
    """`there` are the target's tables as they were when it was looked at."""

    endpoint: ForeignEndpoint
    source: Source
    token: str
    database: ForeignDatabase
    target: Session
    mapped: MappedDatabase
    there: dict[Name, Table]
    names: list[Name]  # of the source's tables that are meant

    @property
    def troubles(self) -> list[Finding]:
        """Of tables that are meant and cannot be read."""
        return [t.trouble for t in self.database.tables if t.trouble is not None and t.name in self.names]


@contextlib.contextmanager
def opened(
    run: str,
    epoch: int,
    plan: Plan,
    source: ForeignEndpoint,
    target: Endpoint,
    manifest: Manifest | None,
    *,
    leader: str | None = None,
    ahead: Callable[[], None] = lambda: None,
) -> Iterator[Ground]:
    """Open both, hold the source, map it. Everything is let go at the end, whatever happens.

    `ahead` is called in a thread of its own while the source is looked at.
    """
    name = scene.application_name(run, epoch, "leader")
    options = plan.options
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(
            connect(
                target,
                application_name=name,
                role="target",
                reconnect=manifest is not None,
                stall_timeout=options.stall_timeout,
                lock_timeout=options.lock_timeout,
            )
        )
        if leader is not None:
            check_leader(there, run, leader)
        terminate_sessions(there, f"pghaul/{run}/")
        yield _on(stack, plan, source, there, manifest, ahead)


@contextlib.contextmanager
def glimpsed(run: str, plan: Plan, source: ForeignEndpoint, target: Endpoint) -> Iterator[Ground]:
    """To look at only: the target itself would refuse a write of ours."""
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(scene.glimpsed_target(run, plan, target))
        yield _on(stack, plan, source, there, None)


def _on(
    stack: contextlib.ExitStack,
    plan: Plan,
    endpoint: ForeignEndpoint,
    target: Session,
    manifest: Manifest | None,
    ahead: Callable[[], None] = lambda: None,
) -> Ground:
    endpoint = _as_asked(endpoint, plan)
    source = stack.enter_context(engine_of(endpoint.engine).open(endpoint))
    token = source.hold()
    with _meanwhile(_import_mapping, ahead):
        database = source.database()
    from pghaul.target.foreign.trial import map_on  # noqa: PLC0415 -- sqlglot: a tenth of a second, spent meanwhile

    if manifest is not None:
        _same_databases(manifest, database, target)
    names = [t.name for t in manifest.tables] if manifest else chosen(plan, [t.name for t in database.tables])
    if not names:
        raise NotFoundError(
            say("the source holds no table that is selected"),
            where=endpoint.display,
            advice=say("`pghaul inspect` lists its tables"),
            code=5250,
        )
    mapped = map_on(target, database, names, plan)
    if manifest is not None:
        shape.check(manifest.tables, mapped)
    there = describe(target, [t.name for t in mapped.tables])
    return Ground(
        endpoint=endpoint,
        source=source,
        token=token,
        database=database,
        target=target,
        mapped=mapped,
        there=there,
        names=names,
    )


@contextlib.contextmanager
def _meanwhile(*calls: Callable[[], None]) -> Iterator[None]:
    """One after the other in a thread of its own. What fails there fails again, and is said, where it is needed."""

    def call_all() -> None:
        for call in calls:
            with contextlib.suppress(Exception):
                call()

    thread = threading.Thread(target=call_all, name="pghaul-ahead", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import_mapping() -> None:
    from pghaul.target.foreign import trial  # noqa: F401, PLC0415


def _as_asked(endpoint: ForeignEndpoint, plan: Plan) -> ForeignEndpoint:
    """An engine that can read at one moment, but does so at a price, learns here that it is asked for."""
    if plan.mapping.consistency is not ReadConsistency.SNAPSHOT:
        return endpoint
    return replace(endpoint, params=(*endpoint.params, ("consistency", ReadConsistency.SNAPSHOT.value)))


def _same_databases(manifest: Manifest, database: ForeignDatabase, target: Session) -> None:
    sides = (say("source"), say("target"))
    for side, planned, found in zip(
        sides, manifest.identities, (database.identity, target.server.identity), strict=True
    ):
        if planned != found:
            raise EndpointChangedError(
                say("the {side} is not the database that the run began with", side=side),
                where=side,
                advice=say("check host, port and database name; for another database start a new run"),
                code=5730,
            )


def worker_config(run: str, epoch: int, plan: Plan, ground: Ground) -> WorkerConfig:
    """What every worker of this epoch gets, secrets included."""
    can = ground.target.server.capabilities
    lock = plan.options.lock_timeout
    return WorkerConfig(
        source=ground.endpoint,
        target=ground.target.endpoint,
        source_settings=(),
        target_settings=(*settings(can, "target", lock_timeout=lock), *scene.for_loading(can)),
        source_wait_events=False,
        target_wait_events=can.wait_events,
        application_name=scene.application_name(run, epoch, "worker"),
        stall_timeout=plan.options.stall_timeout,
    )
