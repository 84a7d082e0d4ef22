"""Both servers as an attempt finds them: sessions, the snapshot, and the selected tables described under it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pghaul.engine.worker import WorkerConfig
from pghaul.model.errors import EndpointChangedError, ShapeChangedError, SnapshotLostError
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say, saying
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session, connect, terminate_sessions
from pghaul.postgres.settings import Role, settings
from pghaul.postgres.versions import Capabilities
from pghaul.sources.choice import Chosen, choose
from pghaul.sources.postgresql import Snapshot
from pghaul.target.ledger import check_leader

STANDBY = saying("{error}; the source is a standby, whose recovery ends what is in its way")
STANDBY_ADVICE = say(
    "for the time of the run, on the standby: hot_standby_feedback = on, or max_standby_streaming_delay = -1"
)


@dataclass(kw_only=True)
class Scene:
    """What an attempt stands on. `selected` holds foreign tables too; `gone` were planned and are no longer there."""

    source: Session
    target: Session
    snapshot: Snapshot
    selected: tuple[Name, ...]
    tables: Mapping[Name, Table]
    conditions: Mapping[Name, str | None]  # what a period leaves of a relation's own rows; None: none of them
    gone: tuple[Name, ...]


def application_name(run: str, epoch: int, part: str) -> str:
    """Carried by every session of ours, so that a resume finds the old ones (at most 63 bytes)."""
    return f"pghaul/{run}/{epoch}/{part}"


@contextlib.contextmanager
def opened(
    run: str,
    epoch: int,
    plan: Plan,
    source: Endpoint,
    target: Endpoint,
    manifest: Manifest | None,
    *,
    leader: str | None = None,
) -> Iterator[Scene]:
    """Connect to both, lock, take the snapshot, describe. Everything is let go at the end, whatever happens.

    With `leader`, only as long as the ledger names it: nobody has resumed the run meanwhile.
    """
    options = plan.options
    with contextlib.ExitStack() as stack:
        here, there = connected(stack, run, epoch, plan, source, target, reconnect=manifest is not None)
        clear(run, here, there, manifest, leader=leader)
        chosen = _chosen(here, plan, manifest)
        names = [c.table for c in chosen]
        gone = tuple(t.name for t in manifest.tables if t.name not in names) if manifest else ()
        snapshot = Snapshot.acquire(here, names, locks=options.locks)
        stack.callback(snapshot.release)
        tables = {n: t for n, t in describe(here, names).items() if t.kind is not RelationKind.FOREIGN}
        conditions = {c.table: c.where for c in chosen}
        with standby_told(here):
            yield Scene(
                source=here,
                target=there,
                snapshot=snapshot,
                selected=tuple(names),
                tables=tables,
                conditions=conditions,
                gone=gone,
            )


def connected(
    stack: contextlib.ExitStack,
    run: str,
    epoch: int,
    plan: Plan,
    source: Endpoint,
    target: Endpoint,
    *,
    reconnect: bool,
) -> tuple[Session, Session]:
    """The leader's sessions, closed when the stack is left."""
    name = application_name(run, epoch, "leader")
    timeouts: Any = {
        "reconnect": reconnect,
        "stall_timeout": plan.options.stall_timeout,
        "lock_timeout": plan.options.lock_timeout,
    }
    here = stack.enter_context(connect(source, application_name=name, role="source", **timeouts))
    return here, stack.enter_context(connect(target, application_name=name, role="target", **timeouts))


def clear(run: str, here: Session, there: Session, manifest: Manifest | None, *, leader: str | None) -> None:
    """What an earlier attempt left behind a dead path keeps its locks, on the ledger too, until it is ended.

    Raises StaleRunError where somebody else leads the run now, EndpointChangedError for another database.
    """
    if leader is not None:
        check_leader(there, run, leader)
    for session in (here, there):
        terminate_sessions(session, f"pghaul/{run}/")
    if manifest is not None:
        _same_endpoints(manifest, here, there)


@contextlib.contextmanager
def standby_told(source: Session) -> Iterator[None]:
    """A snapshot that is lost on a standby was, as a rule, in the way of its recovery; few would guess it."""
    try:
        yield
    except SnapshotLostError as exc:
        if source.server.in_recovery:
            raise SnapshotLostError(
                STANDBY.format(error=exc.message),
                where=exc.where,
                advice=STANDBY_ADVICE,
                sqlstate=exc.sqlstate,
                code=2432,
            ) from exc
        raise


@contextlib.contextmanager
def glimpsed(run: str, plan: Plan, source: Endpoint, target: Endpoint) -> Iterator[tuple[Session, Session]]:
    """Both servers, to look at only: the server itself would refuse a write of ours."""
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(_looking(run, plan, source, "source"))
        there = stack.enter_context(glimpsed_target(run, plan, target))
        stack.callback(Snapshot.glance(here).release)
        yield here, there


@contextlib.contextmanager
def glimpsed_target(run: str, plan: Plan, target: Endpoint) -> Iterator[Session]:
    """The target alone, likewise: where the source is another kind of database."""
    with _looking(run, plan, target, "target") as there:
        there.execute("SET default_transaction_read_only = on")
        yield there


def _looking(run: str, plan: Plan, endpoint: Endpoint, role: Role) -> Session:
    return connect(
        endpoint,
        application_name=application_name(run, 0, "plan"),
        role=role,
        stall_timeout=plan.options.stall_timeout,
        lock_timeout=plan.options.lock_timeout,
    )


def selection(session: Session, plan: Plan) -> tuple[list[Name], dict[Name, Table], dict[Name, str | None]]:
    """What a new run would select: names, their tables, and what a period leaves of them."""
    chosen = choose(session, plan)
    names = [c.table for c in chosen]
    tables = {n: t for n, t in describe(session, names).items() if t.kind is not RelationKind.FOREIGN}
    return names, tables, {c.table: c.where for c in chosen}


def _chosen(session: Session, plan: Plan, manifest: Manifest | None) -> Sequence[Chosen]:
    """What a new run takes; of one that is resumed, what its manifest says and is still there."""
    if manifest is None:
        return choose(session, plan)
    planned = [t.name for t in manifest.tables]
    there = describe(session, planned)
    return [Chosen(table=n) for n in planned if n in there]


def _same_endpoints(manifest: Manifest, source: Session, target: Session) -> None:
    for side, planned, found in zip(
        (say("source"), say("target")),
        manifest.identities,
        (source.server.identity, target.server.identity),
        strict=True,
    ):
        if planned != found:
            raise EndpointChangedError(
                say("the {side} is not the database that the run began with", side=side),
                where=side,
                advice=say("check host, port and database name; for another database start a new run"),
                code=5730,
            )


def added_columns(manifest: Manifest, tables: Mapping[Name, Table]) -> Iterator[tuple[Name, str]]:
    """Columns that appeared on the source since the plan: not carried, and named."""
    for planned in manifest.tables:
        now = tables.get(planned.name)
        if now is not None:
            known = {c.name for c in planned.columns}
            yield from ((now.name, c.name) for c in now.copied_columns if c.name not in known)


def with_planned_columns(manifest: Manifest, tables: Mapping[Name, Table]) -> dict[Name, Table]:
    """The tables as they are now, with the columns of the plan. ShapeChangedError where one is missing."""
    out: dict[Name, Table] = {}
    for planned in manifest.tables:
        now = tables.get(planned.name)
        if now is None:
            continue
        columns = {c.name: c for c in now.columns}
        for column in planned.copied_columns:
            if column.name not in columns:
                raise ShapeChangedError(
                    say(
                        "{table} has lost its column {column} since the run began",
                        table=str(planned.name),
                        column=column.name,
                    ),
                    where=say("source"),
                    advice=say("start a new run"),
                    code=5832,
                )
        out[now.name] = _only(now, [columns[c.name] for c in planned.columns if c.name in columns])
    return out


def _only(table: Table, columns: Sequence[object]) -> Table:
    return replace(table, columns=tuple(columns))  # type: ignore[arg-type]


def worker_config(run: str, epoch: int, plan: Plan, scene: Scene) -> WorkerConfig:
    """What every worker of this epoch gets, secrets included; the very hosts that the leaders have reached."""
    here, there = scene.source.server.capabilities, scene.target.server.capabilities
    lock = plan.options.lock_timeout
    return WorkerConfig(
        source=scene.source.endpoint,
        target=scene.target.endpoint,
        source_settings=tuple(settings(here, "source", lock_timeout=lock)),
        target_settings=(*settings(there, "target", lock_timeout=lock), *for_loading(there)),
        source_wait_events=here.wait_events,
        target_wait_events=there.wait_events,
        application_name=application_name(run, epoch, "worker"),
        stall_timeout=plan.options.stall_timeout,
    )


def for_loading(can: Capabilities) -> list[tuple[str, str]]:
    """Settings of the workers' sessions on the target alone."""
    # A chunk's rows and its marker are lost together or not at all; the leader's last commit makes all of them durable.
    wanted = [("synchronous_commit", "off")]
    if can.parallel_index:
        # The leaves are our parallelism: more processes per index cost a fifth of the time on two cores (measured).
        wanted.append(("max_parallel_maintenance_workers", "0"))
    return wanted
