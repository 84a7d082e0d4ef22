"""What an attempt of a merge stands on: both servers, how old the source's transactions are, and the snapshot.

The horizon comes before the snapshot: what was open then, the snapshot may not show, and a later increment has to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pghaul.engine import scene
from pghaul.engine.merge import choice
from pghaul.engine.merge.choice import Asked
from pghaul.engine.merge.standing import Standing
from pghaul.model.errors import TransientError
from pghaul.model.manifest import Manifest
from pghaul.model.merging import Mark
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.sources import increments
from pghaul.sources.increments import Horizon, Wanted, horizon
from pghaul.sources.postgresql import Snapshot
from pghaul.target import merge_markers, watermarks

# pg_class as the snapshot has it, against the file that is there now.
REWRITTEN = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_class AS c ON c.oid = l.relation AND c.relkind IN ('r', 'm') AND c.relfilenode <> 0
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid()
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
   AND pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
"""


@dataclass(kw_only=True)
class Ground(scene.Scene):
    asked: tuple[Asked, ...]
    horizon: Horizon
    stamps: Mapping[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)  # before the snapshot


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
    standing: Standing | None = None,
) -> Iterator[Ground]:
    """As scene.opened(), for the tables and queries that are merged. `standing` lends sessions that stay open."""
    with contextlib.ExitStack() as stack:
        if standing is not None:
            here, there = standing.sessions(run, epoch, plan, source, target)
        else:
            here, there = scene.connected(stack, run, epoch, plan, source, target, reconnect=manifest is not None)
        if standing is None or epoch > 1 or manifest is not None:
            scene.clear(run, here, there, manifest, leader=leader)
        stamps = merge_markers.stamps(there)
        names = choice.names(here, plan)
        known = standing.asked if standing is not None else None
        age = horizon(here, _wanted(here, there, plan, names, manifest, known))
        snapshot = Snapshot.acquire(here, names, locks=plan.options.locks)
        stack.callback(snapshot.release)
        with scene.standby_told(here):
            asked = choice.asked(here, plan, names, manifest)
            if any(a.query for a in asked):
                _check_unchanged(here)
            if standing is not None:
                standing.asked = tuple(asked)
            yield replace(_ground(here, there, snapshot, asked, age), stamps=stamps)


def _check_unchanged(source: Session) -> None:
    """What a query reads is locked since it was described, in the snapshot's own transaction; but a TRUNCATE or rewrite
    between the two would read as no rows, without any error.
    """
    changed = source.rows(REWRITTEN)
    if changed:
        raise TransientError(
            say("{table} was truncated or rewritten just after the snapshot was taken", table=str(Name(*changed[0]))),
            where=source.server.database,
            code=2036,
        )


@contextlib.contextmanager
def glimpsed(plan: Plan, here: Session, there: Session) -> Iterator[Ground]:
    """To look at only, over the sessions of scene.glimpsed()."""
    asked = choice.asked(here, plan, choice.names(here, plan), None)
    wanted = [_wanting(a, first=_is_first(here, there, a)) for a in asked]
    yield _ground(here, there, Snapshot(here, ""), asked, horizon(here, wanted))


def _wanted(
    here: Session,
    there: Session,
    plan: Plan,
    names: list[Name],
    manifest: Manifest | None,
    known: Sequence[Asked] | None,
) -> list[Wanted]:
    """Whose greatest values are looked up before the open transactions are; without a watermark nobody's.

    Where a round went before, its description will do: what has changed since is only known to be complete a round
    later. All of it has marks by then.
    """
    if known is not None:
        return [_wanting(a, first=False) for a in known if a.merge.watermark is not None]
    if all(s.merge is None or s.merge.watermark is None for s in plan.tables):
        return []
    return [_wanting(a, first=_is_first(here, there, a)) for a in choice.asked(here, plan, names, manifest)]


def _is_first(here: Session, there: Session, asked: Asked) -> bool:
    return asked.merge.watermark is not None and mark_of(here, there, asked) is None


def _wanting(asked: Asked, *, first: bool) -> Wanted:
    return Wanted(table=asked.source, merge=asked.merge, where=asked.where, query=asked.query, first=first)


def origin_of(source: Session, asked: Asked) -> str:
    """The key of a mark beside its target."""
    return increments.origin(source, asked.source, asked.merge, where=asked.where, query=asked.query)


def mark_of(source: Session, target: Session, asked: Asked) -> Mark | None:
    """Up to where earlier runs have merged."""
    return watermarks.load(target, str(asked.target), origin_of(source, asked))


def _ground(here: Session, there: Session, snapshot: Snapshot, asked: list[Asked], age: Horizon) -> Ground:
    return Ground(
        source=here,
        target=there,
        snapshot=snapshot,
        selected=tuple(a.source.name for a in asked),
        tables={a.source.name: a.source for a in asked},
        conditions={},
        gone=(),
        asked=tuple(asked),
        horizon=age,
    )
