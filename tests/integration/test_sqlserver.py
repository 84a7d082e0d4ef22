"""SQL Server: a database of the stand-in (tests/tds) arrives on a PostgreSQL whole, proven by checksums."""

from __future__ import annotations

from datetime import datetime
from struct import pack

import pytest
from tests.contract.engines.sqlserver import MATRIX, page
from tests.contract.test_types import same
from tests.moving import Moved, assert_done, rows
from tests.tds.endpoint import Endpoint
from tests.tds.stand_in import Column, Index, Reference, Stand, Table

from pghaul.model.event import Event
from pghaul.model.plan import Options, Plan
from pghaul.service.migration import MigrationService

# By name; texts of PostgreSQL hold no NUL, and the embedded servers have no XML.
REFUSED = {"fine", "fine_times", "fine_instants", "halves", "texts", "documents"}
KEPT = {n: row for n, row in MATRIX.items() if n not in REFUSED}
ID = Column(name="Id", native="int", not_null=True, next=8)
KEY = Index(name="PK", columns=("Id",), type=1, unique=True, primary=True)
TABLES = (
    Table(
        name="matrix",
        columns=(ID, *(Column(name=n, native=k, page=page(n)) for n, (k, *_) in KEPT.items())),
        rows=[(i, *(values[i] for _, values, *_ in KEPT.values())) for i in range(3)],
        indexes=(KEY,),
    ),
    Table(
        name="Orders",
        columns=(ID, Column(name="Of", native="int"), Column(name="Made", native="date", default="(getdate())")),
        rows=[(i, i % 3, 700_000 + i) for i in range(50)],
        indexes=(KEY, Index(name="IX_Of", columns=("Of",))),
        references=(Reference(name="FK_Of", columns=("Of",), table="matrix", referenced=("Id",), on_delete="CASCADE"),),
    ),
)  # fmt: skip


def _text(name: str, kind: str) -> str:
    return f"(\"{name}\" AT TIME ZONE 'UTC')::text || '+00'" if "with time zone" in kind else f'"{name}"::text'


def _agrees(found: str | None, expected: str | None, kind: str) -> bool:
    if found is None or expected is None:
        return found is expected
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(found) == datetime.fromisoformat(expected)
    if kind == "real":
        return pack("f", float(found)) == pack("f", float(expected))
    if kind == "boolean":
        return found == {"t": "true", "f": "false"}[expected]
    if kind.startswith("character("):
        return found.rstrip() == expected.rstrip()  # the blanks at its end are no part of a value
    return same(found.lower() if kind == "uuid" else found, expected.lower() if kind == "uuid" else expected, kind)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_a_database_arrives_whole(db_source: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLCMDPASSWORD", "Secret-7")
    heard: list[Event] = []
    with Endpoint(Stand(TABLES).answers) as endpoint:
        url = f"sqlserver://sa@127.0.0.1:{endpoint.port}/shop?encrypt=no"
        plan = Plan(source=url, target=db_source, whole=True, options=Options(workers=1, verify="checksum"))
        moved = Moved(run=MigrationService().run(plan, listener=heard.append), events=heard)
    assert_done(moved)
    shown = ", ".join(_text(name, kind) for name, (_, _, kind, _) in KEPT.items())
    table = rows(db_source, "SELECT c.oid::regclass::text FROM pg_class c WHERE relname = 'matrix'")[0][0]
    found = zip(*rows(db_source, f'SELECT {shown} FROM {table} ORDER BY "Id"'), strict=True)
    wrong = {
        name: (values, expected)
        for (name, (_, _, kind, expected)), values in zip(KEPT.items(), found, strict=True)
        if not all(_agrees(f, e, kind) for f, e in zip(values, expected or (), strict=True))
    }
    assert wrong == {}
    assert "Secret-7" not in repr(heard)
