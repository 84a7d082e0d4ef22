"""Running pg_dump and pg_restore against a server: environment, blame, and one transaction per section.

A pg_restore newer than the target writes what an old server refuses. Where no installed one fits
(programs.find_programs prefers one that does), pg_restore only turns the chosen entries into statements, and
these run here, without its preamble and in the target's own words (older.py), over our own session.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from pghaul.model.errors import PghaulError, ProgramError, ServerBusyError, TransientError
from pghaul.model.profile import Endpoint
from pghaul.postgres.dsn import child_environment
from pghaul.postgres.session import Session, connect
from pghaul.target import toc
from pghaul.target.older import rewrite
from pghaul.target.programs import STALL_TIMEOUT, Programs, run_program

EVERYTHING_BUT_OWNERS = ("--no-owner", "--no-acl", "--no-tablespaces", "--no-security-labels")

# Over the defaults of database and role; the programs reset their timeouts, but not before their first statements.
OPTIONS = "-c default_transaction_read_only=off -c statement_timeout=0"

# Is the program's session at work on the server, and does it wait for a lock?
WORKING_SQL = """
SELECT coalesce(bool_or(a.state = 'active'), false),
       coalesce(bool_or(a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE NOT l.granted)), false)
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
class Restore:
    """An archive and where it goes; `session` is ours, on the same target."""

    programs: Programs
    file: Path
    target: Endpoint
    session: Session
    application_name: str
    stall_timeout: float = STALL_TIMEOUT


def restore(job: Restore, section: str, wanted: toc.Wanted) -> None:
    """One transaction with the wanted entries of a section."""
    program: list[str | Path] = [job.programs.pg_restore, f"--section={section}"]
    private = tempfile.TemporaryDirectory(dir=job.file.parent)
    with calling(job.target, job.application_name, job.file.parent) as environ, private as folder:
        listing = run_program([*program, "--list", job.file], environ=environ)
        entries = toc.choose(toc.parse(listing), wanted)
        if not entries:
            return
        chosen = Path(folder, "list")
        chosen.write_bytes(toc.list_file(entries).encode("utf-8", "surrogateescape"))
        program += [*EVERYTHING_BUT_OWNERS, *job.programs.access_method_switch, f"--use-list={chosen}"]
        if job.programs.accepted_by(job.session.server.capabilities.version_num):
            program += [
                "--single-transaction",
                "--exit-on-error",
                "--no-password",
                f"--dbname={database(job.target)}",
            ]
            run_program(
                [*program, job.file],
                environ=environ,
                secret=job.target.password,
                alive=watch(job.session, job.application_name),
                stall_timeout=job.stall_timeout,
            )
        else:
            script = Path(folder, "script")
            run_program([*program, f"--file={script}", job.file], environ=environ)
            _run_script(job.session, script.read_bytes().decode("utf-8", "surrogateescape"))


def _run_script(session: Session, script: str) -> None:
    """Statements of a section without rows: plain SQL, once the preamble and psql's own words are out."""
    statements = NOT_STATEMENTS.sub("", script[script.index(FIRST_ENTRY) - 3 :])
    with session.transaction():
        for setting in SCRIPT_SETTINGS:
            session.execute(setting)
        session.execute(rewrite(statements, session.server.capabilities))


def watch(session: Session, application_name: str) -> Callable[[], bool]:
    """Whether the program's session works; a lock that somebody else keeps is a reason to come again later."""

    def working() -> bool:
        session.value("SELECT pg_catalog.pg_stat_clear_snapshot()")  # a transaction would see the first answer again
        active, blocked = session.rows(WORKING_SQL, (application_name,))[0]
        if blocked:
            raise ServerBusyError("somebody holds a lock on a table that we need", where=session.endpoint.display)
        return bool(active)

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
                raise ServerBusyError(exc.message, where=endpoint.display) from gone
            except PghaulError:
                pass
            raise ProgramError(exc.message, where=endpoint.display) from exc


def database(endpoint: Endpoint) -> str:
    """Only the database's name: host, user and password come by the environment, never by argv."""
    return make_conninfo(dbname=endpoint.get("dbname"))
