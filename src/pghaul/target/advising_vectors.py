"""Vector columns (pgvector) without an index: HNSW where the server has it, else IVFFlat with lists by its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.finding import Severity
from pghaul.model.text import say
from pghaul.model.upkeep import Advice
from pghaul.postgres.session import Session
from pghaul.target import _advice_sql as sql

DISTANCES = ("cosine", "l2", "ip")
MOST = {"vector": 2000, "halfvec": 4000}  # dimensions that an index takes
FEWEST_LISTS = 10
KIND = "vector-index"
HNSW = SQL(" USING hnsw ({what} {ops})")
IVFFLAT = SQL(" USING ivfflat ({what} {ops}) WITH (lists = {lists})")


def lists(rows: float) -> int:
    """As pgvector's README has it: a thousandth of the rows, above a million their square root."""
    return max(FEWEST_LISTS, round(rows / 1000 if rows <= 1_000_000 else math.sqrt(rows)))


def advice(session: Session, distance: str) -> Iterator[Advice]:
    """One for each column; `distance` is that of the queries: cosine, l2 or ip."""
    for row in session.rows(sql.VECTORS.replace("{ours}", sql.OURS)):
        schema, table, column, kind, home, dimensions, rows, partitioned, hnsw = row
        name = f"{schema}.{table}.{column}"
        if dimensions < 1 or dimensions > MOST["halfvec"]:
            yield Advice(
                severity=Severity.NOTE,
                kind="vector-dimensions",
                object=name,
                what=say("no index takes it: its type has to say up to {most} dimensions", most=MOST["halfvec"]),
            )
            continue
        what: Composable = Identifier(column)
        if dimensions > MOST[kind]:
            kind = "halfvec"  # half of the precision, for the index alone
            what = SQL("({}::{}({}))").format(Identifier(column), Identifier(home, kind), Literal(dimensions))
        ops = Identifier(home, f"{kind}_{distance}_ops")
        words = SQL("CREATE INDEX ON {}" if partitioned else "CREATE INDEX CONCURRENTLY ON {}")
        way = HNSW.format(what=what, ops=ops) if hnsw else IVFFLAT.format(what=what, ops=ops, lists=lists(rows))
        yield Advice(
            severity=Severity.WARNING,
            kind=KIND,
            object=name,
            what=say("no index: a search reads all {rows:.0f} rows", rows=rows),
            sql=f"{(words.format(Identifier(schema, table)) + way).as_string()};",
        )


def create(session: Session, found: list[Advice]) -> list[Advice]:
    """Make those indexes; what was made. CONCURRENTLY: writers go on."""
    ours = [a for a in found if a.kind == KIND]
    for each in ours:
        session.execute(each.sql)  # composed above, of quoted identifiers
    return ours
