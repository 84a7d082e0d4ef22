"""Running pg_dump and pg_restore against a server: environment, blame, and one transaction per section.

A pg_restore newer than the target writes what an old server refuses. Where no installed one fits
(programs.find_programs prefers one that does), pg_restore only turns the chosen entries into statements, and
these run here, without its preamble and in the target's own words (older.py), over our own session.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from pghaul.model.errors import PghaulError, ProgramError, ServerBusyError, TransientError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.postgres.dsn import child_environment
from pghaul.postgres.session import Session, connect
from pghaul.target import toc
from pghaul.target.older import rewrite
from pghaul.target.programs import STALL_TIMEOUT, Programs, run_program

# Over the defaults of database and role; the programs reset their timeouts, but not before their first statements.
OPTIONS = "-c default_transaction_read_only=off -c statement_timeout=0"

# Is the program's session at work on the server, does it wait for a lock, and when did its state last change?
WORKING_SQL = """
SELECT coalesce(bool_or(a.state = 'active'), false),
       coalesce(bool_or(a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE NOT l.granted)), false),
       max(a.state_change),
       extract(epoch FROM pg_catalog.clock_timestamp() - max(a.state_change))::pg_catalog.float8,
       (SELECT s.setting::pg_catalog.float8 / 1000 FROM pg_catalog.pg_settings AS s WHERE s.name = 'lock_timeout')
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.application_name = %s AND a.datname = pg_catalog.current_database()
   AND a.pid <> pg_catalog.pg_backend_pid()
"""

SCRIPT_SETTINGS = (
    "SET LOCAL check_function_bodies = off",
    "SET LOCAL client_min_messages = warning",
    "SET LOCAL standard_conforming_strings = on",
)
# `\restrict` and its end are for psql; the access method would be refused before 12.
NOT_STATEMENTS = re.compile(r"^(\\(un)?restrict \S+|SET default_table_access_method = \w+;)$", re.MULTILINE)
FIRST_ENTRY = "-- Name: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """An archive on its way: programs, both servers, and what of owners and privileges goes along.

    `source` and `target` are our own sessions; the programs open theirs from `source_at` and `target_at`.
    """

    programs: Programs
    file: Path
    source: Session
    target: Session
    source_at: Endpoint
    target_at: Endpoint
    application_name: str
    stall_timeout: float = STALL_TIMEOUT
    owners: bool = False
    privileges: bool = False

    @property
    def switches(self) -> list[str]:
        """What pg_dump and pg_restore leave out."""
        out = ["--no-tablespaces", "--no-security-labels", *self.programs.access_method_switch]
        out += [] if self.owners else ["--no-owner"]
        return out + ([] if self.privileges else ["--no-acl"])


def entries(transfer: Transfer, *, section: str | None = None) -> list[toc.Entry]:
    """The archive's table of contents, each entry with what it depends on; or those of a section, without that."""
    which = f"--section={section}" if section else "--verbose"  # together they list everything
    return toc.parse(run_program([transfer.programs.pg_restore, "--list", which, transfer.file], environ=os.environ))


def restore(transfer: Transfer, chosen: Sequence[toc.Entry], *, section: str | None = None) -> None:
    """One transaction with these entries, or with those of them that are of a section."""
    if not chosen:
        return
    program: list[str | Path] = [transfer.programs.pg_restore]
    program += [f"--section={section}"] if section else []
    private = tempfile.TemporaryDirectory(dir=transfer.file.parent)
    name = f"{transfer.application_name}/restore"
    with calling(transfer.target_at, name, transfer.file.parent) as environ, private as folder:
        listed = Path(folder, "list")
        listed.write_bytes(toc.list_file(chosen).encode("utf-8", "surrogateescape"))
        program += [*transfer.switches, f"--use-list={listed}"]
        if transfer.programs.accepted_by(transfer.target.server.capabilities.version_num):
            program += ["--single-transaction", "--exit-on-error", "--no-password"]
            run_program(
                [*program, f"--dbname={database(transfer.target_at)}", transfer.file],
                environ=environ,
                secret=transfer.target_at.password,
                alive=watch(transfer.target, name, transfer.stall_timeout),
                stall_timeout=transfer.stall_timeout,
            )
        else:
            script = Path(folder, "script")
            run_program([*program, f"--file={script}", transfer.file], environ=environ)
            _run_script(transfer.target, script.read_bytes().decode("utf-8", "surrogateescape"))


def _run_script(session: Session, script: str) -> None:
    """Statements of a section without rows: plain SQL, once the preamble and psql's own words are out."""
    start = script.find(FIRST_ENTRY)
    if start < 0:  # none of the entries is of this section
        return
    statements = NOT_STATEMENTS.sub("", script[start - 3 :])
    with session.transaction():
        for setting in SCRIPT_SETTINGS:
            session.execute(setting)
        session.execute(rewrite(statements, session.server.capabilities))


def watch(session: Session, application_name: str, stall_timeout: float) -> Callable[[], bool]:
    """Whether the program's session works; a lock that somebody else keeps is a reason to come again later.

    The programs switch lock_timeout off, so that of `session` is kept here: whoever wants the table queues behind a
    program that waits for it. Between two statements a session is idle for a moment: only one that has been so for
    `stall_timeout` has stalled.
    """
    began = time.monotonic()
    waits: dict[object, float] = {}  # since when the statement that began then has been seen to wait

    def working() -> bool:
        session.value("SELECT pg_catalog.pg_stat_clear_snapshot()")  # a transaction would see the first answer again
        active, blocked, change, idle, patience = session.rows(WORKING_SQL, (application_name,))[0]
        now = time.monotonic()
        if blocked and now - waits.setdefault(change, now) >= patience:
            raise ServerBusyError(
                say("somebody holds a lock on a table that we need"),
                where=session.endpoint.display,
                advice=say("see pg_locks, or raise --lock-timeout"),
                code=2301,
            )
        if not blocked:
            waits.clear()
        return bool(active) or (now - began if idle is None else idle) < stall_timeout

    return working


@contextmanager
def calling(endpoint: Endpoint, application_name: str, folder: Path) -> Iterator[dict[str, str]]:
    """The child's environment; a failure is the server's where the server cannot be reached either."""
    with child_environment(endpoint, application_name=application_name, folder=folder) as environ:
        try:
            options = f"{environ.get('PGOPTIONS', '')} {OPTIONS}".strip()
            yield {**environ, "PGAPPNAME": application_name, "PGOPTIONS": options}
        except ProgramError as exc:
            try:
                connect(endpoint, application_name=application_name, role="target").close()
            except TransientError as gone:
                raise ServerBusyError(exc.message, where=endpoint.display) from gone  # the program's own words
            except PghaulError:
                pass
            exc.where = endpoint.display
            raise


def database(endpoint: Endpoint) -> str:
    """Only the database's name: host, user and password come by the environment, never by argv."""
    return make_conninfo(dbname=endpoint.get("dbname"))
