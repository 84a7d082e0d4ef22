"""One look at one database: what it is, how far away, what we may do there, and what is wrong, in plain words.

Leaves nothing behind: the table that is copied into is a temporary one, and its transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator

from pghaul.model.errors import NotSupportedError, PghaulError
from pghaul.model.finding import Finding, Kind, Severity, of_error
from pghaul.model.probe import Distance, Facts, Grants, Probe
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.postgres import _probe_sql as sql
from pghaul.postgres import tls
from pghaul.postgres.distance import judged, measured
from pghaul.postgres.dsn import asyncpg_params
from pghaul.postgres.relay_connection import POOLER
from pghaul.postgres.session import Session, connect

APPLICATION = "pghaul/probe"
OLDEST = 90300


class _UndoneError(Exception):
    """Ends the transaction of a trial."""


def probe(endpoint: Endpoint) -> Probe:
    """Never raises for what the server or the way to it does: that is a finding."""
    facts, pooler, found = None, None, list(_of_way(endpoint))
    try:
        asyncpg_params(endpoint, application_name=APPLICATION)  # what psycopg can honour and the relay cannot
        with connect(endpoint, application_name=APPLICATION, role="source") as session:
            facts, pooler = _facts(session), False
        for look in (_of_server, _of_distance, _of_copy, _of_role):
            found += look(facts, endpoint.display)
    except PghaulError as exc:
        pooler = True if exc.number == POOLER else pooler
        found.insert(0, of_error(exc, endpoint.get("dbname")))
    return Probe(
        url=endpoint.display,
        sslmode=endpoint.get("sslmode", "prefer"),
        sslmode_means=tls.meaning(endpoint),
        pooler=pooler,
        facts=facts,
        findings=tuple(found),
    )


def _facts(session: Session) -> Facts:
    server = session.server
    defaults = {str(name): str(value) for name, value in session.rows(sql.DEFAULTS_SQL)}
    distance = measured(lambda: float(session.value(sql.CLOCK_SQL)))
    return Facts(
        version=server.version,
        version_num=server.version_num,
        encoding=server.encoding,
        time_zone=defaults.get("TimeZone", ""),
        database=server.database,
        role=server.user,
        standby=server.in_recovery,
        read_only=server.in_recovery or defaults.get("default_transaction_read_only") == "on",
        encrypted=session.encrypted,
        tls=session.value(sql.TLS_SQL) if session.encrypted and server.capabilities.ssl_view else None,
        round_trip=distance.round_trip,
        clock_ahead=distance.clock_ahead,
        clock_within=distance.clock_within,
        grants=_grants(session),
    )


def _grants(session: Session) -> Grants:
    superuser, replication, create, temporary = session.rows(sql.ROLE_SQL)[0]
    member = {str(name): bool(has) for name, has in session.rows(sql.MEMBER_SQL)}
    able = session.server.capabilities
    return Grants(
        create_in_database=create,
        temporary=temporary,
        schemas_to_create_in=tuple(str(name) for (name,) in session.rows(sql.SCHEMAS_SQL)),
        superuser=superuser,
        replication=replication,
        bypass_row_security=bool(session.value(sql.BYPASS_SQL)) if able.row_security else None,
        read_all_data=member.get("pg_read_all_data"),
        monitor=member.get("pg_monitor"),
        copy_to=_copies_out(session),
        copy_from=_copies_in(session) if temporary and not session.server.in_recovery else None,
    )


def _copies_out(session: Session) -> bool:
    """By trying: some proxies and services do not let COPY through."""
    try:
        return session.copy_out(sql.COPY_OUT_SQL) == sql.COPIED
    except NotSupportedError:
        return False


def _copies_in(session: Session) -> bool:
    copied = False
    try:
        with session.transaction():
            session.execute(sql.WRITING_SQL)
            session.execute(sql.TEMPORARY_SQL)
            copied = session.copy_in(sql.COPY_IN_SQL, sql.COPIED) == 1
            raise _UndoneError  # noqa: TRY301 -- the only way out of a transaction without a commit
    except _UndoneError:
        return copied
    except PghaulError:
        return False


def _of_way(endpoint: Endpoint) -> Iterator[Finding]:
    """About TLS, from what was asked for: it is decided before anything is known of the server."""
    mode = tls.mode(endpoint)
    if not tls.is_local(endpoint) and mode in tls.UNVERIFIED:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object="sslmode",
            what=say("sslmode={mode} is {meaning}", mode=mode, meaning=tls.MEANING[mode]),
            advice=say("use sslmode=verify-full, with sslrootcert=system or the file of your authority"),
            where=endpoint.display,
            code=5370,
        )


def _of_server(facts: Facts, where: str) -> Iterator[Finding]:
    if facts.version_num < OLDEST:
        yield Finding(
            kind=Kind.VERSION,
            object=facts.database,
            what=say("PostgreSQL {version} is older than 9.3, the oldest one supported", version=facts.version),
            where=where,
            code=5371,
        )
    if facts.read_only:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.SERVER,
            object=facts.database,
            what=say("nothing can be written there: it is a standby, or read-only by its settings"),
            advice=say("it can be a source; for a target, name the primary server"),
            where=where,
            code=5373,
        )
    if facts.encoding == "SQL_ASCII":
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.CHARACTERS,
            object=facts.database,
            what=say("the database's encoding is SQL_ASCII: nobody knows what its bytes mean"),
            advice=say("say it with --source-encoding; `pghaul plan` finds what does not fit"),
            where=where,
            code=3070,
        )


def _of_distance(facts: Facts, where: str) -> Iterator[Finding]:
    distance = Distance(round_trip=facts.round_trip, clock_ahead=facts.clock_ahead, clock_within=facts.clock_within)
    return judged(distance, facts.database, where)


def _of_copy(facts: Facts, where: str) -> Iterator[Finding]:
    if not facts.grants.copy_to:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.PRIVILEGE,
            object=facts.role,
            what=say("COPY … TO does not get through"),
            advice=say("connect to the server itself, or use --recipe insert"),
            where=where,
            code=5170,
        )
    if facts.grants.copy_from is False and not facts.read_only:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.PRIVILEGE,
            object=facts.role,
            what=say("COPY … FROM does not get through"),
            advice=say("as a target it takes --recipe insert"),
            where=where,
            code=5171,
        )


def _of_role(facts: Facts, where: str) -> Iterator[Finding]:
    grants = facts.grants
    if not (grants.create_in_database or grants.schemas_to_create_in or facts.read_only):
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.PRIVILEGE,
            object=facts.role,
            what=say("role {role} may create neither schemas nor tables there", role=facts.role),
            advice=say("a source needs no more; for a target: GRANT CREATE ON DATABASE {db}", db=facts.database),
            where=where,
            code=5172,
        )
    if grants.superuser:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.PRIVILEGE,
            object=facts.role,
            what=say("role {role} is a superuser: more than moving tables takes", role=facts.role),
            advice=say("README.md says what a role needs; --all and --owners take more"),
            where=where,
            code=5173,
        )
