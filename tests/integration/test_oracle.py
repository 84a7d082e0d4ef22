"""Oracle: a database of recorded answers (tests/oracle) arrives on a PostgreSQL whole, proven by checksums."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from math import isnan
from struct import pack

import pytest
from tests.contract.engines.oracle import MATRIX, PASSWORD, matrix
from tests.moving import Moved, assert_done, rows
from tests.oracle import shadow
from tests.oracle.stand_in import StandIn
from tests.oracle.tables import Column, Table, number, varchar2

from pghaul.model.event import Event
from pghaul.model.finding import Severity
from pghaul.model.plan import Options, Plan, Selection
from pghaul.model.transforming import Transform
from pghaul.service.migration import MigrationService

URL = "oracle://shop@127.0.0.1:1521/shop?schema=SHOP"
# By name, or by a value; texts of PostgreSQL hold no NUL, and the embedded servers have no XML.
REFUSED = {n for n, (*_, expected) in MATRIX.items() if expected is None} | {"vc", "doc"}
KEPT = {n: row for n, row in MATRIX.items() if n not in REFUSED}
ORDERS = Table(
    name="ORDERS",
    columns=(number("ID", 9), number("OF_ID", 9), varchar2("NOTE", 20)),
    rows=[(i, i % 3, None if i % 7 == 0 else f"한 {i}") for i in range(1, 3_001)],
    key="ID",
    indexed="OF_ID",
    points_to="matrix",
)
FILES = Table(
    name="FILES",
    columns=(number("ID", 9), Column(name="CONTENT", base="BFILE"), Column(name="SHAPE", base="SHAPE", owner="HR")),
    rows=[(1, None, None)],
    key="ID",
)
NAME_OF = 'BFILENAME("CONTENT")'


def shop() -> StandIn:
    """Also for the workers."""
    return StandIn(
        tables=[matrix(*KEPT), ORDERS, FILES],
        password=PASSWORD,
        made={NAME_OF: ("DB_TYPE_VARCHAR", "a file.txt")},
    )


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("ORACLE_PASSWORD", PASSWORD)
    stand = shop()
    with shadow.driving(stand, f"{__name__}:{shop.__name__}"):
        yield stand


def _agrees(found: str | None, expected: str | None, kind: str) -> bool:
    if found is None or expected is None:
        return found is expected
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(found) == datetime.fromisoformat(expected)
    if kind.startswith("numeric"):
        return Decimal(found) == Decimal(expected)
    if kind in {"real", "double precision"}:
        form = "f" if kind == "real" else "d"
        return pack(form, float(found)) == pack(form, float(expected)) or (
            isnan(float(found)) and isnan(float(expected))
        )
    return found == {"t": "true", "f": "false"}.get(expected, expected) if kind == "boolean" else found == expected


# As PostgreSQL spells them.
OWN_WORDS: dict[str, tuple[str | None, ...]] = {
    "span": ("999999999 days 23:59:59.999999", "-999999999 days -23:59:59.999999", None),
    "years": ("99999999 years 11 mons", "-99999999 years -11 mons", None),
    "js": ('{"a": 12345678901234567890.5}', "[]", None),
    "c4": ("ab", "한글😀", None),  # the blanks at its end are no part of a value
    "nc4": ("é", "", None),
}
# By an expression in Oracle's SQL.
MENDED = Selection(
    name="FILES",
    columns=["ID", "CONTENT"],
    transform=[Transform(kind="sql", column="CONTENT", expression=NAME_OF, type="text")],
)


def _shown(name: str, kind: str) -> str:
    return f"(\"{name}\" AT TIME ZONE 'UTC')::text || '+00'" if "with time zone" in kind else f'"{name}"::text'


def _table(url: str, name: str) -> str:
    return str(rows(url, f"SELECT c.oid::regclass FROM pg_class c WHERE relname = '{name}'")[0][0])


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_a_database_arrives_whole(db_source: str, state: str, oracle: StandIn) -> None:
    heard: list[Event] = []
    options = Options(workers=1, verify="checksum", split_bytes=20_000)
    plan = Plan(source=URL, target=db_source, whole=True, tables=[MENDED], options=options)
    moved = Moved(run=MigrationService().run(plan, listener=heard.append), events=heard)
    assert_done(moved)
    shown = ", ".join(_shown(name, kind) for name, (_, _, kind, _) in KEPT.items())
    found = zip(*rows(db_source, f"SELECT {shown} FROM {_table(db_source, 'matrix')} ORDER BY id"), strict=True)
    arrives = {n: OWN_WORDS.get(n, expected) or () for n, (*_, expected) in KEPT.items()}
    wrong = {
        name: (values, arrives[name])
        for (name, (_, _, kind, _)), values in zip(KEPT.items(), found, strict=True)
        if not all(_agrees(f, e, kind) for f, e in zip(values, arrives[name], strict=True))
    }
    assert wrong == {}
    assert rows(db_source, f"SELECT * FROM {_table(db_source, 'ORDERS')} ORDER BY 1") == ORDERS.rows
    assert rows(db_source, f"SELECT * FROM {_table(db_source, 'FILES')}") == [(1, "a file.txt")]
    assert PASSWORD not in repr(heard)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_what_cannot_be_read_is_refused_by_the_plan(db_source: str, state: str, oracle: StandIn) -> None:
    seen = MigrationService().plan(Plan(source=URL, target=db_source, tables=[Selection(name="FILES")]))
    refused = {f.object.rpartition(".")[2]: f.what for f in seen.findings if f.severity is Severity.ERROR}
    assert set(refused) == {"CONTENT", "SHAPE"}
    assert ("BFILE" in refused["CONTENT"], "HR.SHAPE" in refused["SHAPE"]) == (True, True)
