"""SQL Server: a database of the stand-in (tests/tds) arrives on a PostgreSQL whole, proven by checksums."""

from __future__ import annotations

from datetime import datetime
from hashlib import md5
from struct import pack

import pytest
from tests.contract.engines.sqlserver import MATRIX, page
from tests.contract.test_types import same
from tests.moving import rows
from tests.tds.endpoint import Endpoint
from tests.tds.stand_in import Column, Index, Reference, Stand, Table

from pghaul.cli.app import run

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
MANY = Table(
    name="Many",
    columns=(ID, Column(name="Word", native="nvarchar(20)")),
    rows=[(i, f"word {i} 한") for i in range(20_000)],
    indexes=(KEY,),
)
RUN = "0123456789ab"


def _text(name: str, kind: str) -> str:
    return f"(\"{name}\" AT TIME ZONE 'UTC')::text || '+00'" if "with time zone" in kind else f'"{name}"::text'


def _table(url: str, name: str) -> str:
    return str(rows(url, f"SELECT c.oid::regclass FROM pg_class c WHERE relname = '{name}'")[0][0])


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
def test_a_database_arrives_whole_although_its_connection_is_cut(
    db_source: str, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the program's own words. The first reading of the large table ends in the middle of a row."""
    monkeypatch.setenv("SQLCMDPASSWORD", "Secret-7")
    stand = Stand((*TABLES, MANY), cut_after=12_000, cuts=1)
    with Endpoint(stand.answers) as endpoint:
        url = f"sqlserver://sa@127.0.0.1:{endpoint.port}/shop?encrypt=no"
        words = ["--from", url, "--to", db_source, "--all", "--workers", "1", "--verify", "checksum", "--run-id", RUN]
        assert run(["run", *words]) == 0
        asked = [s for s in endpoint.statements if "[Many]" in s and s.startswith("SELECT [Id]")]
    said = capsys.readouterr()
    assert (stand.cuts, len(asked)) == (0, 2)
    assert "Secret-7" not in said.out + said.err
    shown = ", ".join(_text(name, kind) for name, (_, _, kind, _) in KEPT.items())
    found = zip(*rows(db_source, f'SELECT {shown} FROM {_table(db_source, "matrix")} ORDER BY "Id"'), strict=True)
    wrong = {
        name: (values, expected)
        for (name, (_, _, kind, expected)), values in zip(KEPT.items(), found, strict=True)
        if not all(_agrees(f, e, kind) for f, e in zip(values, expected or (), strict=True))
    }
    assert wrong == {}
    one = 'count(*), count(DISTINCT "Id"), md5(string_agg("Word", \',\' ORDER BY "Id"))'
    whole = md5(",".join(str(word) for _, word in MANY.rows).encode(), usedforsecurity=False).hexdigest()
    assert rows(db_source, f"SELECT {one} FROM {_table(db_source, 'Many')}") == [(20_000, 20_000, whole)]
