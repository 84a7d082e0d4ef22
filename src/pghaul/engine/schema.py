"""The schema's way through a run: what is carried, what is made before the rows, after them, and at the very end.

Every step looks at the target first and makes only what it lacks, each in one transaction, so that a run that was
killed anywhere goes on here. What the run itself has made is in the ledger before it is made: comments, grants and
refreshes are for that alone, never for what somebody else has put there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pghaul.engine import remake, scene
from pghaul.engine.mapping import Mapped
from pghaul.engine.report import Reporter
from pghaul.model.errors import ProgramError
from pghaul.model.finding import Finding
from pghaul.model.plan import Plan
from pghaul.model.table import Name, Table, Unsupported
from pghaul.model.text import saying
from pghaul.postgres.session import Session
from pghaul.target import ddl, large_objects, marks, post_data, references, roles, withdraw
from pghaul.target import scope as scopes
from pghaul.target.closure import PG_CONSTRAINT
from pghaul.target.ledger import Ledger
from pghaul.target.programs import find_programs
from pghaul.target.restore import Transfer, watch
from pghaul.target.scope import Scope, key_text

UNFILLED = saying("the materialized view {view} is there, but could not be filled: {error}")


def survey(
    source: Session,
    target: Session,
    plan: Plan,
    mapped: Mapped,
    tables: Mapping[Name, Table],
    created: Collection[Name],
    ours: Collection[str] = (),
) -> Scope:
    """What is carried: of tables that arrive as they are, or of all. `created` are target tables that the run makes."""
    missing = remake.missing(created, mapped)
    return scopes.survey(
        source,
        target,
        list(tables.values()),
        created=missing.tables,
        elsewhere={d.source for d in mapped.designs},
        needing={d.source for d in missing.designs},
        ours=ours,
        whole=plan.whole,
    )


def roles_of(source: Session, target: Session, plan: Plan, scope: Scope) -> tuple[list[Finding], list[Unsupported]]:
    """What stands against owners and privileges, and what of them stays behind."""
    named = roles.named_by(source, ddl.lacking(target, scope), whole=scope.whole)
    asked = {"owners": plan.options.owners, "privileges": plan.options.privileges}
    return list(roles.findings(target, named, **asked)), list(roles.left(target, named, **asked))


class Archive:
    """What pg_dump writes of the source's schema, once per attempt."""

    def __init__(self, stage: scene.Scene, plan: Plan, run: str, number: int, file: Path) -> None:
        self.stage, self.plan, self.number = stage, plan, number
        self._run, self._file = run, file
        self._finished: Callable[[], None] | None = None

    def begin(self, scope: Scope, held: contextlib.ExitStack) -> None:
        """Let it work while we do something else; leaving `held` ends it."""
        self._finished = held.enter_context(self._dumping(scope))

    def write(self, scope: Scope) -> None:
        """To its end."""
        if self._finished is not None:
            with contextlib.suppress(ProgramError):  # then once more, patiently
                self._finished()
                return
        patiently(lambda: self._write_now(scope))

    def _write_now(self, scope: Scope) -> None:
        with self._dumping(scope) as finished:
            finished()

    def _dumping(self, scope: Scope) -> contextlib.AbstractContextManager[Callable[[], None]]:
        transfer = self.transfer()
        alive = watch(self.stage.source, f"{transfer.application_name}/dump", transfer.stall_timeout)
        return ddl.dumping(transfer, scope, snapshot=self.stage.snapshot.id, alive=alive)

    def transfer(self) -> Transfer:
        """The archive between both servers."""
        stage, options = self.stage, self.plan.options
        return Transfer(
            programs=find_programs(
                stage.source.server.version_num,
                target_version_num=stage.target.server.capabilities.version_num,
                environ=os.environ,
            ),
            file=self._file,
            source=stage.source,
            target=stage.target,
            source_at=stage.source.endpoint,
            target_at=stage.target.endpoint,
            application_name=scene.application_name(self._run, self.number, "schema"),
            stall_timeout=options.stall_timeout,
            owners=options.owners,
            privileges=options.privileges,
        )


class Schema:
    """The steps of one attempt."""

    def __init__(self, archive: Archive, ledger: Ledger, report: Reporter) -> None:
        self._archive, self._stage, self._plan = archive, archive.stage, archive.plan
        self._ledger, self._report = ledger, report
        self._scope = Scope()
        self._ours: set[str] = set()

    def survey(self, mapped: Mapped, tables: Mapping[Name, Table], created: Collection[Name]) -> Scope:
        """What is carried, as a later attempt finds it."""
        ours = self._ledger.made()
        return survey(self._stage.source, self._stage.target, self._plan, mapped, tables, created, ours)

    def create(self, scope: Scope) -> None:
        """Before the rows. What would act on them, and an earlier attempt has made, is taken away until they are in."""
        stage = self._stage
        self._scope = scope
        self._ours = self._ledger.made()
        if not self._scope.things:
            return
        self._report.schema("dump", [])
        self._archive.write(self._scope)
        withdraw.acting(stage.target, self._scope, self._ours)
        lacking = ddl.lacking(stage.target, self._scope)
        self._ours |= self._ledger.will_make(key_text(t.key) for t in lacking if t.name not in self._scope.created)
        transfer = self._archive.transfer()
        self._report.schema("create", patiently(lambda: ddl.create(transfer, self._scope)))

    def carry_large_objects(self, epoch: int, *, trusted: bool) -> None:
        """Of a whole database, in batches."""
        if not self._plan.whole:
            return
        copied = large_objects.carry(
            self._stage.source,
            self._stage.target,
            self._ledger,
            choice=self._plan.options.on_existing,
            epoch=epoch,
            owners=self._plan.options.owners,
            trusted=trusted,
            between=self._report.check_wish,
        )
        if copied:
            self._report.schema("large objects", [str(copied)])

    def finish(self) -> None:
        """After the rows."""
        if not self._scope.things:
            return
        transfer, indexes = self._archive.transfer(), self._plan.options.indexes
        made = patiently(lambda: ddl.finish(transfer, self._scope, ours=self._ours, indexes=indexes))
        marked = marks.carry_index_marks(self._stage.source, self._stage.target, self._scope.relations(self._ours))
        self._report.schema("finish", made + marked)

    def references(self) -> list[references.Reference]:
        """Foreign keys that finish() makes, and that the server checks then."""
        if not self._scope.things:
            return []
        source, target = self._stage.source, self._stage.target
        selected = self._scope.relations(self._ours)
        wanted, _, _ = post_data.lacking(source, target, selected, indexes=self._plan.options.indexes)
        return references.checked(source, [oid for kind, oid in wanted.ids if kind == PG_CONSTRAINT])

    def conclude(self) -> list[str]:
        """When rows, indexes and sequences are there: what shows them, and what acts on statements.

        Returns what differs from the source now.
        """
        if not self._scope.things:
            return []
        views = self._scope.materialized(self._ours)
        again = self._archive.number > 1 or self._scope.whole
        done, failed = marks.refresh(self._stage.source, self._stage.target, views, again=again) if views else ([], [])
        for view, words in failed:
            self._report.warn(UNFILLED.format(view=str(view), error=words))
        late = patiently(lambda: ddl.conclude(self._archive.transfer(), self._scope))
        if done or late:
            self._report.schema("conclude", done + late)
        return [str(view) for view, _ in failed]


def patiently(call: Callable[[], list[str] | None]) -> list[str]:
    """PostgreSQL's programs tell no SQLSTATE: whatever they fail from is tried three times."""
    tries = Retrying(
        retry=retry_if_exception_type(ProgramError),
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.3, max=5),
        reraise=True,
    )
    return tries(call) or []
