"""The ledger: what the target itself knows of a run. Where it and the local store disagree, it wins.

One place decides who owns a target table. The guarantee is in rows (run.epoch, claim.run_id), which every chunk's
transaction reads FOR SHARE before it writes; the advisory lock of a run's leader only tells the living from the dead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pghaul.model.errors import AccessError, StaleRunError, TableTakenError
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.table import ForeignKey, Name
from pghaul.model.text import say
from pghaul.postgres.session import Session, terminate_sessions
from pghaul.target import foreign_keys
from pghaul.target import ledger_sql as sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """Something that was taken away for the load and has to be put back."""

    id: int
    relation: str
    kind: str
    restore_sql: str
    validate_sql: str | None


class Ledger:
    """The ledger of one run, over the leader's session on the target."""

    def __init__(self, session: Session, run_id: str) -> None:
        self._session = session
        self._run = run_id

    def install(self) -> None:
        """Create schema `pghaul` where it is missing, and bring that of an older release up to this one.

        Raises AccessError where the role may not.
        """
        if self._session.value(sql.IS_INSTALLED) and not _lacking(self._session):
            return
        with self._session.transaction():
            self._session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (sql.INSTALL_LOCK,))
            self._session.execute(sql.INSTALL)
            for table, column, kind in _lacking(self._session):
                self._session.execute(sql.add_column(table, column, kind))

    def open(self, relations: Sequence[Name], source_identity: str, leader: str) -> int:
        """Own the run and its tables; return the epoch under which chunks may be written.

        Old sessions of the run have been ended; raising the epoch waits for chunks that are about to commit.
        Raises TableTakenError, StaleRunError.
        """
        if not self._session.value(sql.TRY_RUN_LOCK, (self._run,)):
            raise TableTakenError(
                say("run {run} is being worked on by another process", run=self._run),
                where=self._session.server.database,
                advice=say("stop that process, then resume"),
                code=5501,
            )
        known = self._session.rows(sql.SELECT_RUN, (self._run,))
        names = [str(n) for n in relations]
        with self._session.transaction():
            self._session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (sql.CLAIM_LOCK,))
            if known:
                self._still_ours(names)
                return int(self._session.value(sql.RAISE_EPOCH, (leader, self._run)))
            self._take(names)
            self._session.execute(sql.INSERT_RUN, (self._run, leader, source_identity))
            return 1

    def _still_ours(self, names: list[str]) -> None:
        taken = self._session.rows(sql.CLAIMED_BY_OTHERS, (names, self._run))
        if taken:
            raise StaleRunError(
                say("run {run} has taken {relation} over since", run=taken[0][1], relation=taken[0][0]),
                where=self._session.server.database,
                advice=say("resume run {run}, or start a new run", run=taken[0][1]),
                code=5601,
            )
        missing = len(names) - int(self._session.value(sql.COUNT_CLAIMS, (self._run, names)))
        if missing:
            self._take(names)

    def _take(self, names: list[str]) -> None:
        for (other,) in self._session.rows(sql.OTHER_CLAIMS, (names, self._run)):
            # Our own round before this one, which is done. Asked first: from the next question on we hold that lock.
            if has_lead(self._session, other):
                continue
            if not self._session.value(sql.TRY_RUN_LOCK_XACT, (other,)):
                claims = self._session.rows(sql.CLAIMED_BY_OTHERS, (names, self._run))
                relation = next(r for r, owner in claims if owner == other)
                raise TableTakenError(
                    say("run {run} is loading {relation} now", run=other, relation=relation),
                    where=self._session.server.database,
                    advice=say("wait for it, or stop it: pghaul stop {run}", run=other),
                    code=5502,
                )
            # Its leader is gone, but workers may go on for a while: end them, then wait for what they hold.
            terminate_sessions(self._session, f"pghaul/{other}/")
        self._session.execute(sql.DROP_CLAIMS, (names,))
        self._session.execute(sql.ADD_CLAIMS, (self._run, names))

    def check(self) -> None:
        """Raise TableTakenError when the leader's lock is gone; any lost connection raises by itself."""
        if not has_lead(self._session, self._run):
            raise TableTakenError(
                say("run {run} has lost its lock on the target", run=self._run),
                where=self._session.server.database,
                code=5503,
            )

    def seen(self) -> str | None:
        """What the source was like when everything that is marked was read; None where nobody can say."""
        found = self._session.value(sql.SEEN, (self._run,))
        return None if found is None else str(found)

    def saw(self, fingerprint: str | None) -> None:
        """From now on what is marked is what the source was like then."""
        self._session.execute(sql.SAW, (fingerprint, self._run))

    def dispositions(self) -> dict[str, str]:
        """How each table was found when the run first saw it."""
        return dict(self._session.rows(sql.DISPOSITIONS, (self._run,)))

    def record_dispositions(self, found: Mapping[Name, str]) -> None:
        """Recorded before anything is created or truncated: a crash must not make our own tables look foreign."""
        if found:
            self._session.execute(sql.ADD_DISPOSITIONS, (self._run, [str(n) for n in found], list(found.values())))

    def made(self) -> set[str]:
        """Objects other than tables that this run has made, or was about to make."""
        return {thing for (thing,) in self._session.rows(sql.MADE, (self._run,))}

    def will_make(self, things: Iterable[str]) -> set[str]:
        """Recorded before anything is made: a crash must not make our own objects look like somebody else's."""
        new = sorted(set(things) - self.made())
        if new:
            self._session.execute(sql.ADD_MADE, (self._run, new))
        return set(new)

    def batches(self) -> list[tuple[int, int]]:
        """The first and last oids of the batches of large objects that are committed."""
        rows = self._session.rows(sql.BATCHES, (self._run, sql.LARGE))
        return [(int(first), int(last)) for (chunk,) in rows for first, _, last in [chunk.partition("-")]]

    @contextlib.contextmanager
    def batch(self, chunk: str, epoch: int, count: int) -> Iterator[None]:
        """What is done within is committed with its marker, or not at all. Raises StaleRunError."""
        with self._session.transaction():
            if not self._session.rows(sql.STILL_OURS, (self._run, epoch)):
                raise _resumed(self._run)
            self._session.execute(sql.FORGET_BATCH, (self._run, sql.LARGE, chunk))
            self._session.execute(sql.ADD_BATCH, (self._run, sql.LARGE, chunk, epoch, count))
            yield

    @contextlib.contextmanager
    def owned(self, epoch: int) -> Iterator[None]:
        """A transaction of this epoch. Raises StaleRunError."""
        with self._session.transaction():
            if not self._session.rows(sql.STILL_OURS, (self._run, epoch)):
                raise _resumed(self._run)
            yield

    def add_rejected(self, relation: Name, chunk: str, epoch: int, rows: int) -> None:
        """So many rows of a table more were set aside by this step, in the caller's transaction."""
        where = (self._run, str(relation), chunk)
        if not self._session.execute(sql.MORE_REJECTED, (rows, *where)):
            self._session.execute(sql.ADD_REJECTED, (*where, epoch, rows))

    def markers(self, tables: Iterable[Name]) -> dict[tuple[Name, str], Receipt]:
        """Everything committed for these tables: chunks beside steps such as `ready` and `index:…`."""
        names = {str(n): n for n in tables}
        rows = self._session.rows(sql.MARKERS, (self._run, self._run))
        return {(names[r[0]], r[1]): _receipt(names[r[0]], r) for r in rows if r[0] in names}

    def drop_foreign_keys(self, keys: Iterable[ForeignKey]) -> int:
        """Record and drop in one transaction; returns how many."""
        count = 0
        for key in keys:
            with self._session.transaction():
                forward, restore = foreign_keys.drop_sql(key), foreign_keys.add_sql(key)
                validate = foreign_keys.validate_sql(key)
                self._session.execute(
                    sql.ADD_UNDO, (self._run, str(key.table), "foreign key", forward, restore, validate)
                )
                self._session.execute(forward)
            count += 1
        return count

    def pending_undo(self) -> list[Undo]:
        """What still has to be put back."""
        return [
            Undo(id=i, relation=r, kind=k, restore_sql=s, validate_sql=v)
            for i, r, k, s, v in self._session.rows(sql.PENDING_UNDO, (self._run,))
        ]

    def put_back(self, undo: Undo) -> None:
        """Restore and tick off in one transaction."""
        with self._session.transaction():
            self._session.execute(undo.restore_sql)
            self._session.execute(sql.DONE_UNDO, (undo.id,))

    def finish(self, state: str, epoch: int, *, release: bool) -> None:
        """Write the run's end; a finished run gives its tables free, an unfinished one keeps them.

        This commit is synchronous, and with it everything that the workers committed before it reaches the disk.
        """
        with self._session.transaction():
            self._session.execute("SET LOCAL synchronous_commit = on")
            self._session.execute(sql.FINISH_RUN, (state, self._run, epoch))
            if release:
                self._session.execute(sql.RELEASE_CLAIMS, (self._run,))


def has_lead(session: Session, run: str) -> bool:
    """Whether this session leads the run."""
    return bool(session.value(sql.HELD_RUN_LOCK, (run,)))


def release_lead(session: Session, run: str) -> None:
    """This session leads the run no more."""
    session.value(sql.RELEASE_RUN_LOCK, (run,))


def release_claims(session: Session, run: str) -> None:
    """Of a run that has finished, and kept its tables for the one after it."""
    session.execute(sql.RELEASE_CLAIMS, (run,))


def forget_runs(session: Session, runs: Sequence[str]) -> int:
    """Runs that have finished, with their markers; how many there were."""
    return int(session.value(sql.FORGET_RUNS, (list(runs),)))


def check_leader(session: Session, run: str, leader: str) -> None:
    """Before a later attempt ends the sessions of its run: are they still its own?

    Raises StaleRunError when another process has resumed the run; two leaders would else end each other for ever.
    """
    found = session.rows(sql.LEADER, (run,)) if session.value(sql.IS_INSTALLED) else []
    if found and found[0][0] != leader:
        raise _resumed(run)


def check_may_install(session: Session) -> None:
    """Found before the run: may this role create the ledger? Raises AccessError."""
    if session.value(sql.IS_INSTALLED):
        return
    allowed = session.value("SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
    if not allowed:
        raise AccessError(
            say(
                "role {user} may not create the schema pghaul, which keeps the ledger of the run",
                user=session.server.user,
            ),
            where=session.server.database,
            advice=say(
                "GRANT CREATE ON DATABASE {database} TO {user}",
                database=session.server.database,
                user=session.server.user,
            ),
            code=5102,
        )


def being_loaded(session: Session, run: str, relations: Sequence[str]) -> list[tuple[str, str]]:
    """(table, run) of those that another run works on now: its leader holds its lock. Changes nothing."""
    if not session.value(sql.IS_INSTALLED):
        return []
    if not session.value("SELECT pg_catalog.has_table_privilege('pghaul.claim', 'SELECT')"):
        return []
    return [(r, owner) for r, owner in session.rows(sql.CLAIMED_ALIVE, (list(relations), run))]


def _resumed(run: str) -> StaleRunError:
    return StaleRunError(
        say("run {run} has been resumed by another process", run=run),
        advice=say("see: pghaul status {run}", run=run),
        code=5602,
    )


def _lacking(session: Session) -> list[tuple[str, str, str]]:
    there = set(session.rows(sql.COLUMNS))
    return [added for added in sql.ADDED if added[:2] not in there]


def _receipt(table: Name, row: tuple[Any, ...]) -> Receipt:
    _, chunk, epoch, rows, size, seconds, proof, source_hash, target_hash, updated, unchanged, ignored, *rest = row
    return Receipt(
        table=table,
        chunk=chunk,
        epoch=epoch,
        rows=rows or 0,
        bytes=size or 0,
        seconds=seconds or 0.0,
        proof=Proof(proof or "count"),
        source_hash=source_hash or "",
        target_hash=target_hash or "",
        updated=updated or 0,
        unchanged=unchanged or 0,
        ignored=ignored or 0,
        rejected=rest[0] or 0,
        deleted=rest[1] or 0,
    )
