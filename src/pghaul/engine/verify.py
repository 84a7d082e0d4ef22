"""Compares two databases by content: opens both under a snapshot each, and judges table after table.

The order of a table's judgement: a sum over all rows of both sides at once (by buckets, where the table is large), and
only where the sums differ, the way down to the rows in `verify_narrow`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from psycopg.sql import Composable

from pghaul.engine import layout, mapping, verify_merges, verify_narrow, verify_sql
from pghaul.engine.mapping import Mapped
from pghaul.engine.verify_cut import Cut
from pghaul.engine.verify_sides import Pair, Side, Stopping, connected, snapshot
from pghaul.engine.verify_units import GONE, NOT_READABLE, ROWS_HIDDEN, Setting, Unit, chosen, trees, units
from pghaul.model.errors import NotFoundError, PghaulError, StoppedError, TransientError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.manifest import Manifest
from pghaul.model.placement import Placement
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import Text, say
from pghaul.model.verification import Method, TableVerdict
from pghaul.postgres.catalog import Directory, describe
from pghaul.postgres.rowhash import agree
from pghaul.postgres.session import Session
from pghaul.postgres.settings import Role
from pghaul.sources.choice import choose
from pghaul.sources.postgresql import rights

LOOK_SECONDS = 0.1  # between two looks whether somebody wants us to stop
SMALL = 1 << 20  # bytes: such tables cost their statements more than their rows, and share one
TOGETHER = 50  # of them in one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`patterns` choose among what the plan selects; `limit`: so many rows of a table are named."""

    method: Method = Method.CHECKSUM
    patterns: tuple[str, ...] = ()
    limit: int = 100
    workers: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is compared, by whose order."""

    id: str
    plan: Plan
    source: Endpoint
    target: Endpoint
    manifest: Manifest | None  # of a run: what it has planned
    request: Request


def verify(
    task: Task, listener: Listener, stop: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None
) -> tuple[TableVerdict, ...]:
    """A verdict for each table. Raises what keeps us from looking at all; StoppedError after a wish.

    `meanwhile` is done while the servers work.
    """
    stopping, lost = Stopping(), verify_merges.uncompared(task.plan, task.request.patterns)
    plan, manifest = verify_merges.without_queries(task.plan, task.manifest)
    task = replace(task, plan=plan, manifest=manifest)
    with ThreadPoolExecutor(1, thread_name_prefix="pghaul-verify") as pool:
        work = pool.submit(_verified, task, list(lost), stopping, listener)
        try:
            meanwhile()
            while not wait([work], timeout=LOOK_SECONDS).done:
                if stop():
                    stopping.ask()
        except BaseException:
            stopping.ask()
            raise
        return work.result()


def _verified(task: Task, lost: list[TableVerdict], stopping: Stopping, listener: Listener) -> tuple[TableVerdict, ...]:
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(_leader(task, "source", stopping))
        there = stack.enter_context(_leader(task, "target", stopping))
        with stopping.telling():
            source, target, found, gone = _look(task, here, there)
            merged = verify_merges.units(found, here, there, task.plan) if task.plan.merges else None
            listed = list(merged or units(found, here, there))
        wanted = chosen(listed, found.mapped, task.request.patterns)
        lost = [*gone, *lost]
        if not wanted and not lost:
            shown = ", ".join(task.request.patterns)
            raise NotFoundError(say("no table that is to be verified matches {pattern}", pattern=shown), code=5276)
        verdicts = _Comparison(task, (source, target), stopping, listener).judged(wanted)
        return (*verdicts, *lost)


@contextlib.contextmanager
def _leader(task: Task, role: Role, stopping: Stopping) -> Iterator[Session]:
    endpoint = task.source if role == "source" else task.target
    with connected(endpoint, role, _application(task, "leader"), task.plan.options) as session:
        stopping.join(session)
        try:
            yield session
        finally:
            stopping.leave(session)


def _application(task: Task, part: str) -> str:
    return f"pghaul/verify/{task.id}/{part}"


# --- what there is ---


def _look(task: Task, here: Session, there: Session) -> tuple[Side, Side, Setting, list[TableVerdict]]:
    plan = task.plan
    names, conditions = _selected(task, here)
    refused = _refused(here, names, "source")
    application = _application(task, "reader")
    source = snapshot(here, "source", [n for n in names if n not in refused], application, plan.options)
    tables = {n: t for n, t in describe(here, names).items() if t.kind is not RelationKind.FOREIGN}
    mapped, gone = _mapped(task, here, tables, conditions, refused)
    children = _children(there, mapped)
    targets = sorted({*mapped.shapes, *children, *(n for below in children.values() for n in below)})
    withheld = _refused(there, targets, "target")
    known = rights(there, targets)
    target = snapshot(there, "target", [n for n in known if n not in withheld], application, plan.options)
    setting = Setting(
        mapped=mapped,
        tables=tables,
        there=describe(there, targets),
        children=children,
        agreement=agree(here.server, there.server, plan.options.source_encoding),
        refused=(refused, withheld),
        trees=trees(tables),
        raw=(here.server.encoding == "SQL_ASCII", there.server.encoding == "SQL_ASCII"),
    )
    return source, target, setting, gone


def _selected(task: Task, here: Session) -> tuple[list[Name], Mapping[Name, str | None]]:
    if task.manifest is None:
        taken = choose(here, task.plan)
        return [c.table for c in taken], {c.table: c.where for c in taken}
    planned = [t.name for t in task.manifest.tables]
    there = describe(here, planned)
    return [n for n in planned if n in there], {}


def _refused(session: Session, names: Sequence[Name], side: Role) -> dict[Name, Text]:
    """Tables that our role may not read, or not all rows of."""
    user, found = session.server.user, {}
    for name, (_, may, hides) in rights(session, names).items():
        if not may:
            found[name] = NOT_READABLE.format(user=user, table=str(name), side=side)
        elif hides:
            found[name] = ROWS_HIDDEN.format(user=user, table=str(name), side=side)
    return found


def _mapped(
    task: Task,
    here: Session,
    tables: dict[Name, Table],
    conditions: Mapping[Name, str | None],
    refused: Mapping[Name, Text],
) -> tuple[Mapped, list[TableVerdict]]:
    """And a verdict for what is gone from the source since the run."""
    manifest = task.manifest
    if manifest is None:
        mapping.check_conditions(here, task.plan, {n: t for n, t in tables.items() if n not in refused})
        if task.plan.merges:
            return verify_merges.mapped(task.plan, tables, None), []
        placed = mapping.place(task.plan, tables, conditions)
        return layout.lay_out(here, task.plan, placed, tables), []
    for planned in manifest.tables:
        if planned.name in tables:
            tables[planned.name] = _with_columns_of(planned, tables[planned.name])
    merged = verify_merges.mapped(task.plan, tables, manifest) if task.plan.merges else None
    found = merged or mapping.shape(manifest.placements, tables, manifest.designs)
    gone = [p for p in manifest.placements if any(o.table not in tables for o in p.origins)]
    return replace(found, vacant=manifest.vacant), [_gone(p, tables) for p in gone]


def _with_columns_of(planned: Table, now: Table) -> Table:
    """Those that came later were not copied; one that is gone since is left out too: it cannot be compared."""
    known = {c.name for c in planned.columns}
    return replace(now, columns=tuple(c for c in now.columns if c.name in known))


def _gone(placement: Placement, tables: Mapping[Name, Table]) -> TableVerdict:
    missing = next(o.table for o in placement.origins if o.table not in tables)
    return TableVerdict(
        source=placement.source, target=placement.target, agrees=None, why=GONE.format(table=str(missing))
    )


def _children(there: Session, mapped: Mapped) -> dict[Name, list[Name]]:
    """Of the topmost tables that the target has: all that is below them."""
    directory = Directory(there)
    by_name = {name: oid for oid, name in directory.names.items()}
    tops = {list(mapping.lineage(mapped.shapes, n))[-1] for n in mapped.shapes}
    found = {}
    for top in sorted(tops):
        if top in by_name:
            below = directory.descend([by_name[top]])
            found[top] = [directory.names[o] for o in below if o in directory.names and o != by_name[top]]
    return found


# --- judging ---


class _Comparison:
    """All units, by several pairs of sessions at once."""

    def __init__(self, task: Task, sides: tuple[Side, Side], stopping: Stopping, listener: Listener) -> None:
        self._task = task
        self._request = task.request
        self._sides = sides
        self._stopping = stopping
        self._listener = listener
        self._lock = threading.Lock()
        self._verdicts: dict[int, TableVerdict] = {}
        self._queue: deque[list[tuple[int, Unit]]] = deque()
        self._total = 0

    def judged(self, wanted: Sequence[Unit]) -> list[TableVerdict]:
        """In the order given."""
        self._total = len(wanted)
        self._queue.extend(_jobs(wanted))
        several = self._request.workers if all(s.id for s in self._sides) else 1
        pairs = max(1, min(several, len(self._queue)))
        with ThreadPoolExecutor(pairs, thread_name_prefix="pghaul-verify-pair") as pool:
            futures = [pool.submit(self._work, max(1, several // pairs)) for _ in range(pairs)]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [e for f in done if (e := f.exception())]
            if failed:
                self._stopping.ask()
                raise next((e for e in failed if not isinstance(e, StoppedError)), failed[0])
        return [self._verdicts[i] for i in range(len(wanted))]

    def _work(self, processes: int) -> None:
        with Pair(*self._sides, self._stopping, processes) as pair:
            while True:
                try:
                    job = self._queue.popleft()
                except IndexError:
                    return
                self._tell(EventKind.PROGRESS, None, working=str(job[0][1].target), rows=job[0][1].rows)
                self._judge(job, pair)

    def _judge(self, job: Sequence[tuple[int, Unit]], pair: Pair) -> None:
        """One by one, where all together fail: the one that cannot be read is to be named."""
        started = time.monotonic()
        try:
            verdicts = self._compared([u for _, u in job], pair)
        except (TransientError, StoppedError):
            raise
        except PghaulError as exc:
            if len(job) > 1:
                for one in job:
                    self._judge([one], pair)
                return
            verdicts = [_verdict(job[0][1], None, why=exc.said)]
        seconds = (time.monotonic() - started) / len(job)
        for (number, unit), verdict in zip(job, verdicts, strict=True):
            self._keep(number, unit, replace(verdict, seconds=round(seconds, 3)))

    def _keep(self, number: int, unit: Unit, verdict: TableVerdict) -> None:
        with self._lock:
            self._verdicts[number] = verdict
        data = {"agrees": verdict.agrees, "rows": verdict.source_rows, "proof": self._request.method.value}
        self._tell(EventKind.VERIFIED, str(unit.target), **data)

    def _tell(self, kind: EventKind, table: str | None, **data: object) -> None:
        counts = {"tables": self._total, "tables_done": len(self._verdicts)}
        with self._lock:
            self._listener(Event(kind=kind, run=self._task.id, table=table, data=data | counts))

    def _compared(self, wanted: Sequence[Unit], pair: Pair) -> list[TableVerdict]:
        only = wanted[0]
        if only.why and not only.counted:
            return [_verdict(only, None)]
        with pair.reading():
            if self._request.method is Method.COUNT or only.counted:
                return [_counted(u, *n) for u, n in zip(wanted, _asked(pair, wanted, verify_sql.counts), strict=True)]
            cut = verify_narrow.cut_of(only, pair) if len(wanted) == 1 else None
            if cut is not None:
                buckets = pair.rows(cut.group(only.here), cut.group(only.there))
                return [self._weighed(only, pair, cut, *(verify_narrow.buckets(b) for b in buckets))]
            sums = _asked(pair, wanted, verify_sql.sums)
            return [self._weighed(u, pair, None, *({0: s} for s in n)) for u, n in zip(wanted, sums, strict=True)]

    def _weighed(
        self,
        unit: Unit,
        pair: Pair,
        cut: Cut | None,
        here: verify_narrow.Buckets,
        there: verify_narrow.Buckets,
    ) -> TableVerdict:
        totals = [tuple(map(sum, zip((0, 0), *side.values(), strict=True))) for side in (here, there)]
        if not verify_narrow.differing(here, there):
            return _verdict(unit, True, totals)
        if not self._request.limit:
            return replace(_verdict(unit, False, totals), complete=False)
        found, complete = verify_narrow.narrow(unit, pair, cut, here, there, self._request.limit)
        return replace(
            _verdict(unit, False, totals),
            missing=found.missing,
            extra=found.extra,
            different=found.different,
            rows=verify_narrow.shown(unit, pair, found),
            complete=complete,
        )


def _jobs(wanted: Sequence[Unit]) -> Iterator[list[tuple[int, Unit]]]:
    """Large ones first, and by themselves; small ones together."""
    numbered = sorted(enumerate(wanted), key=lambda n: -n[1].bytes)
    small = [(i, u) for i, u in numbered if u.bytes <= SMALL and not u.why]
    alone = {i for i, _ in small}
    yield from ([(i, u)] for i, u in numbered if i not in alone)
    for start in range(0, len(small), TOGETHER):
        yield small[start : start + TOGETHER]


def _asked(
    pair: Pair, wanted: Sequence[Unit], statement: Callable[[Sequence[verify_sql.Rows]], Composable]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(rows, sum) of both sides, in the order given."""
    answers = pair.rows(statement([u.here for u in wanted]), statement([u.there for u in wanted]))
    here, there = ({n: (count, int(total)) for n, count, total in rows} for rows in answers)
    return [(here[i], there[i]) for i in range(len(wanted))]


def _counted(unit: Unit, here: tuple[int, int], there: tuple[int, int]) -> TableVerdict:
    """Of what can only be counted, equal numbers prove nothing."""
    agrees = here[0] == there[0]
    found = _verdict(unit, None if agrees and unit.counted else agrees, [here, there])
    return replace(found, source_hash="", target_hash="")


def _verdict(
    unit: Unit, agrees: bool | None, totals: Sequence[tuple[int, ...]] = ((0, 0), (0, 0)), why: Text | str = ""
) -> TableVerdict:
    (rows, total), (rows_there, total_there) = totals
    return TableVerdict(
        source=unit.source,
        target=unit.target,
        agrees=agrees,
        source_rows=rows,
        target_rows=rows_there,
        source_hash=str(total) if agrees is not None else "",
        target_hash=str(total_there) if agrees is not None else "",
        key=tuple(c.name for c in unit.key),
        why=why or unit.why,
    )
