"""One table's merge, run inside the caller's transaction: prepare, remove, write, account, in this order.

The engine runs each phase over all tables of a run: `prepare` and `write` parents first, `remove` children first. All
of it is one transaction, so nothing is ever half done.

Two ways lead to the same rows and the same counts. Where an index keeps exactly the key unique, the target stays open
to other writers: what they do to the same keys meanwhile is met by ON CONFLICT, or the table's changes are found and
written once more. Elsewhere, and where they will not stop, the target is locked against writers until the commit.

An upsert of few rows, or into a much larger table, is a single statement where nothing speaks against it, and is taken
back where its counts leave a question: then, and otherwise, changes are found first and laid down in a table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pghaul.model.errors import MergeError, RowError, TerminalError
from pghaul.model.merging import MergeCounts, MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.model.text import listed, say
from pghaul.postgres.session import Session
from pghaul.target import merge_checks, merge_sequences, merge_staged, merge_way
from pghaul.target.merge_sql import DIFFERENT, GONE, NEW, Statements, open_to_writers
from pghaul.target.merge_staged import StagedRows, keys_in_words
from pghaul.target.merge_target import Target
from pghaul.target.merge_terms import Terms

ROUNDS = 3  # in which other writers may get in the way before they are locked out
# Joins of millions of rows are hashed in one go; the default of 4 MB would go to disk in many parts.
MEMORY = "SET LOCAL work_mem = '256MB'; SET LOCAL maintenance_work_mem = '256MB'"
# Our sessions read with one process; what finds the changes may use as many as the server's owner allows.
PARALLEL = "SET LOCAL max_parallel_workers_per_gather TO DEFAULT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one round of writing came to."""

    inserted: int = 0
    updated: int = 0
    alike: int = 0  # others have made them so meanwhile
    passed_over: int = 0  # insert-only: others have brought them; update-only: others have taken them away


class _OvertakenError(Exception):
    """Other writers got in the way (or a trigger did): this many rows are not what they should be."""


def merge(session: Session, design: MergeDesign, staged: int) -> MergeCounts:
    """One table, all phases, inside the caller's transaction. Raises MergeError, RowError, TransientError."""
    planned = plan(session, design, staged)
    planned.prepare()
    planned.remove()
    planned.write()
    return planned.account()


def plan(session: Session, design: MergeDesign, staged: int) -> MergePlan:
    """Look at the target, and decide how. Reads only. `staged` is how many rows the staging table was given."""
    target = merge_checks.fit(session, design)
    can = session.server.capabilities
    statements = Statements(
        terms=Terms(design=design, target=target, can=can),
        changes=Name(design.staging.schema, design.staging.name + "_c"),
        locked=not open_to_writers(can, design, target),
    )
    return MergePlan(session, statements, staged)


class MergePlan:
    """The phases. Each is called once, and all in one transaction (READ COMMITTED)."""

    def __init__(self, session: Session, statements: Statements, staged: int) -> None:
        self._session = session
        self._sql = statements
        self._terms = statements.terms
        self._design = statements.design
        self._rows = StagedRows(session, statements.design, staged)
        self._staged = staged
        self._superseded = 0
        self._found: dict[str, int] = {}
        self._deleted = 0
        self._written = Written()
        self._way = merge_way.Way()
        self._at_once = False

    @property
    def target(self) -> Target:
        """As it was when the plan was made."""
        return self._terms.target

    @property
    def locked(self) -> bool:
        """Whether the target is (or will be) locked against other writers."""
        return self._sql.locked

    def prepare(self) -> None:
        """Check the staged rows, and find what makes a difference. Writes to tables of ours only."""
        with self._naming():
            if self._rows.are_many:
                self._session.execute(MEMORY)
                self._rows.analyze()
                self._choose_way()
                if self._session.server.capabilities.parallel_query:
                    self._session.execute(PARALLEL)
            self._superseded = self._rows.check()
            if self._sql.locked:
                self._session.execute(self._sql.lock())
            self._check_target_keys()
            self._at_once = self._sql.at_once and self._is_small_beside()
            if not self._at_once:
                self._find_changes()

    def remove(self) -> None:
        """What the staging lacks: deleted, marked or closed."""
        gone = self._found.get(GONE, 0)
        if not gone:
            return
        kept = gone
        with self._naming():
            for _ in range(ROUNDS):
                self._deleted += self._session.execute(self._sql.remove())
                if self._deleted >= gone or not (kept := int(self._session.value(self._sql.kept()))):
                    return
        raise MergeError(
            say("{n} rows of {table} cannot be deleted: a trigger or rule keeps them", n=kept, table=self._table),
            where=self._where,
            advice=say("look at the triggers and rules of the target's table"),
            code=6610,
        )

    @property
    def deleted(self) -> int:
        """Rows that `remove` has taken away."""
        return self._deleted if self._design.deleted is None and not self._terms.versions else 0

    def reconsider(self) -> None:
        """Deletions have reached further than they were told to: what they took along is missing now."""
        if not self._at_once:
            with self._naming():
                self._look_again()

    def write(self) -> None:
        """Insert and update, until every staged row is accounted for."""
        with self._naming():
            self._written = (self._write_at_once() if self._at_once else None) or self._write()
            merge_sequences.advance(self._session, self._sql, staged=self._at_once)

    def account(self) -> MergeCounts:
        """What came of it; the changes are dropped. Raises MergeError where it does not add up."""
        with self._naming():
            counts = self._counts_at_once() if self._at_once else self._counts()
            if not self._at_once:
                self._session.execute(self._sql.drop_changes())
        if not counts.settled:
            raise MergeError(
                say(
                    "the counts of the merge into {table} do not add up: {counts}",
                    table=self._table,
                    counts=str(counts),
                ),
                where=self._where,
                advice=say("look at the triggers and rules of the target's table; if it has none, report it"),
                code=6611,
            )
        return counts

    def _choose_way(self) -> None:
        self._way = merge_way.find(self._session, self._terms.target, self._design)
        self._sql = replace(self._sql, lookups=not self._terms.syncs and self._way.looks_up(self._staged))

    def _lookups(self) -> contextlib.AbstractContextManager[None]:
        """For a statement that joins changes and target by the key, and nothing else."""
        return merge_way.lookups(self._session, self._way.looks_up_changes(sum(self._found.values())))

    # --- changes ---

    def _check_target_keys(self) -> None:
        """Only where no index keeps the target from having a key twice."""
        if self._terms.guarded:
            return
        if keys := keys_in_words(self._session, self._sql.ambiguous()):
            raise MergeError(
                say("the target's {table} has several rows with one staged key: {keys}", table=self._table, keys=keys),
                where=self._where,
                advice=say("remove the doubled rows, and make the key unique; or choose another key"),
                code=6607,
            )

    def _find_changes(self) -> None:
        with merge_way.lookups(self._session, self._sql.lookups):
            self._session.execute(self._sql.create_changes())
        self._look()

    def _look(self) -> None:
        """Count the changes, and refuse those that cannot be made."""
        self._found = {verdict: int(n) for verdict, n in self._session.rows(self._sql.verdicts())}
        if sum(self._found.values()) >= merge_staged.LARGE:
            self._session.execute(self._sql.analyze_changes())
        if self._terms.versions:
            self._check_moment()
        elif self._found.get(DIFFERENT) and self._terms.fixed and self._terms.updates:
            self._check_fixed()

    def _check_moment(self) -> None:
        late = self._session.value(self._sql.overlap())
        if late:
            raise MergeError(
                say(
                    "{n} current versions of {table} began at or after {moment}, when this one would end them",
                    n=late,
                    table=self._table,
                    moment=self._design.moment,
                ),
                where=self._where,
                advice=say("look at the clock of the source, and at who else writes to the table"),
                code=6609,
            )

    def _check_fixed(self) -> None:
        if keys := keys_in_words(self._session, self._sql.fixed_changes()):
            raise MergeError(
                say(
                    "{columns} of {table} is GENERATED ALWAYS, and rows with these keys have another value: {keys}",
                    columns=listed(c.name for c in self._terms.fixed),
                    table=self._table,
                    keys=keys,
                ),
                where=self._where,
                advice=say("leave the column out with `columns`, or ALTER … SET GENERATED BY DEFAULT"),
                code=6608,
            )

    # --- writing ---

    def _is_small_beside(self) -> bool:
        """Few rows, or few beside the target's, or nearly all of them new: changes need no table of their own."""
        return not self._rows.are_many or self._sql.lookups or self._way.rows < merge_staged.LARGE

    def _write_at_once(self) -> Written | None:
        """None where it did not come to what was staged (others write, too): then by way of the changes."""
        with contextlib.suppress(_OvertakenError), self._session.transaction():
            return self._round_at_once()
        self._at_once = False
        self._find_changes()
        return None

    def _round_at_once(self) -> Written:
        with merge_way.lookups(self._session, self._sql.lookups):
            inserted, updated = self._session.rows(self._sql.insert_at_once())[0]
            alike = self._base - inserted - updated
            if (alike or self._design.verify) and self._session.value(self._sql.staged_alike()) != self._base:
                raise _OvertakenError(alike)
        return Written(inserted=inserted, updated=updated, alike=alike)

    @property
    def _base(self) -> int:
        """Staged rows with keys of their own."""
        return self._staged - self._superseded

    def _write(self) -> Written:
        for number in range(ROUNDS):
            with contextlib.suppress(_OvertakenError), self._session.transaction():
                if number:
                    self._look_again()
                return self._round()
        return self._write_locked()

    def _write_locked(self) -> Written:
        """Without other writers there is no excuse."""
        try:
            with self._session.transaction():
                if not self._sql.locked:
                    self._sql = replace(self._sql, locked=True)
                    self._session.execute(self._sql.lock())
                self._look_again()
                return self._round()
        except _OvertakenError as exc:
            raise MergeError(
                say(
                    "{n} rows do not arrive in {table}: a trigger or rule keeps them out",
                    n=exc.args[0],
                    table=self._table,
                ),
                where=self._where,
                advice=say("look at the triggers and rules of the target's table"),
                code=6613,
            ) from None

    def _look_again(self) -> None:
        for statement in self._sql.decide_again():
            self._session.execute(statement)
        self._look()

    def _round(self) -> Written:
        new, different = self._wanted
        updated = inserted = extra = 0
        if different and (statement := self._sql.update()):
            with self._lookups():
                updated = self._session.execute(statement)
        short = updated < different and not self._terms.versions
        if self._terms.inserts and (new or short or (different and self._terms.versions)):
            insert, counted = self._sql.insert(all_missing=short)
            inserted, extra = self._session.rows(insert)[0] if counted else (self._session.execute(insert), 0)
        if self._terms.versions:
            done = min(inserted, new + different, new + updated)
            inserted = done - updated
        else:
            done = inserted + updated + extra
        if done == new + different:
            return Written(inserted=inserted, updated=updated + extra)
        return self._settle(inserted, updated + extra)

    @property
    def _wanted(self) -> tuple[int, int]:
        """Of the changes, rows to insert and rows to update."""
        new = self._found.get(NEW, 0) if self._terms.inserts else 0
        return new, self._found.get(DIFFERENT, 0) if self._terms.updates else 0

    def _settle(self, inserted: int, updated: int) -> Written:
        """The statements did less than was found: are the rows as they should be all the same?"""
        new, different = self._wanted
        if self._sql.locked:
            there = self._there(NEW, present=True) if new else 0
            alike = self._there(DIFFERENT) if different else 0
            if there < new or alike < different:
                raise _OvertakenError(new - there + different - alike)
            return Written(inserted=new, updated=different)
        done = inserted + updated
        if self._design.mode is MergeMode.UPDATE_ONLY:
            gone = self._session.execute(self._sql.let_go())
            alike = self._there(DIFFERENT)
            if alike < different - gone:
                raise _OvertakenError(different - gone - alike)
            return Written(updated=updated, alike=alike - done, passed_over=gone)
        wanted = [v for v, n in ((NEW, new), (DIFFERENT, different)) if n]
        present = self._there(*wanted, present=True)
        alike = self._there(*wanted)
        if self._design.mode is MergeMode.INSERT_ONLY and present == new:
            return Written(inserted=inserted, alike=alike - done, passed_over=present - alike)
        if alike < new + different:
            raise _OvertakenError(new + different - alike)
        return Written(inserted=inserted, updated=updated, alike=alike - done)

    def _there(self, *verdicts: str, present: bool = False) -> int:
        hold = "UPDATE" in self._terms.target.privileges
        return int(self._session.value(self._sql.alike(verdicts, present=present, hold=hold)))

    # --- accounts ---

    def _counts_at_once(self) -> MergeCounts:
        done, base = self._written, self._base
        return MergeCounts(
            staged=self._staged,
            superseded=self._superseded,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=done.alike,
            before=base - done.inserted,
            after=done.inserted + done.updated + done.alike,
            compared=base if self._design.verify else 0,
        )

    def _counts(self) -> MergeCounts:
        mode, done, found = self._design.mode, self._written, self._found
        base = self._base
        new, different = found.get(NEW, 0), found.get(DIFFERENT, 0)
        wanted = [v for v, n in zip((NEW, DIFFERENT), self._wanted, strict=True) if n]
        with self._lookups():
            present, alike = self._session.rows(self._sql.found(wanted))[0] if wanted else (0, 0)
        same = base - new - different
        others = done.passed_over if mode is MergeMode.INSERT_ONLY else 0
        left = different if mode is MergeMode.INSERT_ONLY else new if mode is MergeMode.UPDATE_ONLY else 0
        passed_over = left + done.passed_over
        absent = passed_over if mode is MergeMode.UPDATE_ONLY else 0
        marks = self._deleted and self._design.deleted is not None
        marked = min(int(self._session.value(self._sql.marked())), self._deleted) if marks else 0
        return MergeCounts(
            staged=self._staged,
            superseded=self._superseded,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=same + done.alike,
            passed_over=passed_over,
            deleted=self._deleted,
            marked=marked,
            before=base - done.inserted - absent + self._deleted,
            after=same + present + (left if mode is MergeMode.INSERT_ONLY else 0) + marked,
            compared=same + alike if self._design.verify else 0,
            differing=present - alike - others if self._design.verify else 0,
        )

    @property
    def _table(self) -> str:
        return str(self._design.target)

    @property
    def _where(self) -> str:
        return self._session.server.database

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """What the server refuses is told with the table; what a trigger raises is no fault of ours."""
        try:
            yield
        except RowError as exc:
            exc.where = f"{self._table}, {self._where}"
            raise
        except TerminalError as exc:
            if type(exc) is not TerminalError:
                raise
            raise MergeError(
                say("the target refuses the merge into {table}: {error}", table=self._table, error=exc.message),
                where=self._where,
                advice=say("look at the triggers and rules of the target's table"),
                sqlstate=exc.sqlstate,
                code=6612,
            ) from exc
