"""`target advise`: what a database engineer would look for after a move, each finding with the SQL that mends it.

Catalogues and statistics are read, tables are not; nothing is changed. What this role may not see is said, not skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from psycopg.sql import SQL, Composable, Identifier

from pghaul.model.errors import AccessError
from pghaul.model.figures import amount
from pghaul.model.finding import Severity
from pghaul.model.text import say
from pghaul.model.upkeep import Advice
from pghaul.postgres.session import Session
from pghaul.target import _advice_sql as sql
from pghaul.target import advising_settings, advising_vectors

Look: TypeAlias = Callable[[Session], Iterator[Advice]]

SMALL_INDEX = 64 << 10  # bytes: nobody gains by dropping less
DEAD_ROWS = 10_000
SMALL_TABLE = 16 << 20  # bytes: of less, half is nothing
ENOUGH_DAYS = 30  # of statistics, until an index may be called unused
DAY = 86_400
SLOW_SQL = SQL(
    "SELECT q.query, q.calls::int8, q.{total}::float8, q.{mean}::float8 FROM {view} AS q"
    " WHERE q.{mean} > 100 AND q.calls > 1 ORDER BY q.{total} DESC LIMIT 10"
)
TUPLES = SQL("SELECT t.dead_tuple_percent + t.approx_free_percent FROM {function}(%s::pg_catalog.oid) AS t")
PRIMARY_USING = SQL("ALTER TABLE {table} ADD PRIMARY KEY USING INDEX {index}")
PRIMARY_OF = SQL("ALTER TABLE {table} DROP CONSTRAINT {constraint}, ADD PRIMARY KEY ({columns})")
PRIMARY_NEW = SQL("ALTER TABLE {table} ADD COLUMN {column} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
PRIMARY_SERIAL = SQL("ALTER TABLE {table} ADD COLUMN {column} bigserial PRIMARY KEY")
WIDER = SQL("ALTER TABLE {table} ALTER COLUMN {column} TYPE bigint; ALTER SEQUENCE {sequence} AS bigint")
LONGER = SQL("ALTER SEQUENCE {sequence} AS bigint NO MAXVALUE")


def advise(session: Session, *, memory: int | None = None, distance: str = "cosine") -> list[Advice]:
    """The worst first. `memory` of the server's machine in bytes, where somebody knows it."""
    looks: list[Look] = [
        _foreign_keys,
        _unused,
        _duplicates,
        _keyless,
        _dead,
        _bloated,
        _never_analysed,
        _wraparound,
        _sequences,
        lambda s: advising_settings.advice(s, memory),
        _slow,
        lambda s: advising_vectors.advice(s, distance),
    ]
    found = [advice for look in looks for advice in _looked(session, look)]
    order = list(Severity)
    return sorted(found, key=lambda a: order.index(a.severity))


def _looked(session: Session, look: Look) -> Iterator[Advice]:
    try:
        yield from look(session)
    except AccessError as exc:
        yield Advice(
            severity=Severity.NOTE,
            kind="not-seen",
            object=session.server.user,
            what=say("this role may not see all of it: {why}", why=exc.message),
        )


def _sql(statement: Composable) -> str:
    return f"{statement.as_string()};"


def _foreign_keys(session: Session) -> Iterator[Advice]:
    for schema, table, key, partitioned, size, columns in session.rows(sql.FOREIGN_KEYS.replace("{ours}", sql.OURS)):
        words = SQL("CREATE INDEX ON {} ({})" if partitioned else "CREATE INDEX CONCURRENTLY ON {} ({})")
        yield Advice(
            severity=Severity.WARNING,
            kind="foreign-key-index",
            object=f"{schema}.{table}",
            what=say("no index begins with the columns of foreign key {key}: a DELETE of its parent reads all of it",
                     key=key),
            sql=_sql(words.format(Identifier(schema, table), SQL(", ").join(map(Identifier, columns)))),
            bytes=size,
        )  # fmt: skip


def _unused(session: Session) -> Iterator[Advice]:
    days = float(session.value(sql.SINCE) or 0) / DAY
    for schema, index, table, size in session.rows(sql.UNUSED.replace("{ours}", sql.OURS), (SMALL_INDEX,)):
        yield Advice(
            severity=Severity.WARNING if days >= ENOUGH_DAYS else Severity.NOTE,
            kind="unused-index",
            object=f"{schema}.{index}",
            what=say(
                "an index of {table} that nobody has used in {days:.1f} days of statistics ({size}); standbys count "
                "for themselves",
                table=table,
                days=days,
                size=amount(size),
            ),
            sql=_sql(SQL("DROP INDEX CONCURRENTLY {}").format(Identifier(schema, index))),
            bytes=size,
            figures={"days": round(days, 1)},
        )


def _duplicates(session: Session) -> Iterator[Advice]:
    for schema, table, names, constraints, sizes in session.rows(sql.DUPLICATES.replace("{ours}", sql.OURS)):
        for name, held, size in list(zip(names, constraints, sizes, strict=True))[1:]:
            drop = SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(Identifier(schema, table), Identifier(name))
            if not held:
                drop = SQL("DROP INDEX CONCURRENTLY {}").format(Identifier(schema, name))
            yield Advice(
                severity=Severity.WARNING,
                kind="duplicate-index",
                object=f"{schema}.{name}",
                what=say("the same as {other} of {table} ({size})", other=names[0], table=table, size=amount(size)),
                sql=_sql(drop),
                bytes=size,
            )


def _keyless(session: Session) -> Iterator[Advice]:
    for schema, table, index, constraint, columns, new_name in session.rows(sql.KEYLESS.replace("{ours}", sql.OURS)):
        new = PRIMARY_NEW if session.server.capabilities.identity else PRIMARY_SERIAL
        name = Identifier(schema, table)
        if index:
            statement = PRIMARY_USING.format(table=name, index=Identifier(index))
        elif constraint:  # its own index can be used by no other one
            keys = SQL(", ").join(map(Identifier, columns))
            statement = PRIMARY_OF.format(table=name, constraint=Identifier(constraint), columns=keys)
        else:
            statement = new.format(table=name, column=Identifier(new_name))
        yield Advice(
            severity=Severity.WARNING,
            kind="no-primary-key",
            object=f"{schema}.{table}",
            what=say("no primary key: rows cannot be told apart, nor replicated, nor merged"),
            sql=_sql(statement),
        )


def _dead(session: Session) -> Iterator[Advice]:
    for schema, table, dead, live, size in session.rows(sql.DEAD.replace("{ours}", sql.OURS), (DEAD_ROWS,)):
        yield Advice(
            severity=Severity.WARNING,
            kind="dead-rows",
            object=f"{schema}.{table}",
            what=say("{dead} dead rows beside {live} that live", dead=dead, live=live),
            sql=_sql(SQL("VACUUM (ANALYZE) {}").format(Identifier(schema, table))),
            bytes=size,
        )


def _bloated(session: Session) -> Iterator[Advice]:
    schema_of = session.value(sql.FUNCTION, ("pgstattuple_approx",))
    for schema, table, size, needed, oid in session.rows(sql.BLOAT.replace("{ours}", sql.OURS), (SMALL_TABLE,)):
        share = 100 * (1 - needed / size)
        if schema_of:  # it reads what the visibility map does not vouch for: of those alone that look bloated
            share = float(session.value(TUPLES.format(function=Identifier(schema_of, "pgstattuple_approx")), (oid,)))
        if share < 50:
            continue
        yield Advice(
            severity=Severity.WARNING,
            kind="bloat",
            object=f"{schema}.{table}",
            what=say("about {share:.0f} % of {size} hold no rows", share=share, size=amount(size)),
            sql=_sql(SQL("VACUUM (FULL, ANALYZE) {}").format(Identifier(schema, table))),
            bytes=size,
            figures={"measured": "pgstattuple" if schema_of else "estimated"},
        )


def _never_analysed(session: Session) -> Iterator[Advice]:
    for schema, table in session.rows(sql.NEVER_ANALYSED.replace("{ours}", sql.OURS)):
        yield Advice(
            severity=Severity.WARNING,
            kind="never-analyzed",
            object=f"{schema}.{table}",
            what=say("never analyzed: the planner guesses"),
            sql=_sql(SQL("VACUUM (ANALYZE) {}").format(Identifier(schema, table))),
        )


def _wraparound(session: Session) -> Iterator[Advice]:
    age, most = session.rows(sql.WRAPAROUND)[0]
    if age > 1.5 * most or age > 1_000_000_000:
        yield Advice(
            severity=Severity.ERROR if age > 1_500_000_000 else Severity.WARNING,
            kind="wraparound",
            object=session.server.database,
            what=say("its oldest transaction id is {age} old, and autovacuum should have frozen it at {most}",
                     age=age, most=most),
            sql="VACUUM (FREEZE);",
            figures={"age": age},
        )  # fmt: skip


def _sequences(session: Session) -> Iterator[Advice]:
    """From 10 on, where sequences tell it without being read one by one."""
    if not session.server.capabilities.sequence_types:
        return
    for schema, name, last, most, table_schema, table, column in session.rows(sql.SEQUENCES):
        wider = LONGER.format(sequence=Identifier(schema, name))
        if table:
            place = Identifier(table_schema, table)
            wider = WIDER.format(table=place, column=Identifier(column), sequence=Identifier(schema, name))
        yield Advice(
            severity=Severity.ERROR if last > 0.9 * most else Severity.WARNING,
            kind="sequence-end",
            object=f"{schema}.{name}",
            what=say("{share:.0f} % of its numbers are used up", share=100 * last / most),
            sql=_sql(wider),
        )


def _slow(session: Session) -> Iterator[Advice]:
    found = session.rows(sql.STATEMENTS)
    if not found:
        return
    schema, columns = found[0]
    kind = "_exec_time" if "total_exec_time" in columns else "_time"  # since pg_stat_statements 1.8
    query = SLOW_SQL.format(
        view=Identifier(schema, "pg_stat_statements"), total=Identifier(f"total{kind}"), mean=Identifier(f"mean{kind}")
    )
    for text, calls, total, mean in session.rows(query) if f"mean{kind}" in columns else []:
        yield Advice(
            severity=Severity.NOTE,
            kind="slow-query",
            object=" ".join(str(text).split())[:200],
            what=say("{calls} calls took {mean:.0f} ms each, {total:.0f} s in all", calls=calls, mean=mean,
                     total=total / 1000),
            figures={"calls": calls, "mean_ms": round(mean, 1), "total_ms": round(total, 1)},
        )  # fmt: skip
