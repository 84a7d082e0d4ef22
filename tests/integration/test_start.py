"""What a run does before its first row: nothing waits for what it could do meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.databases import DatabasePair
from tests.moving import assert_done, move

from pghaul.engine.attempt import Attempt
from pghaul.service.migration import MigrationService
from pghaul.store import repository

HEAVY = "sqlalchemy", "alembic", "psycopg", "asyncpg"
LOADED = f"import sys, pghaul.cli.app; print([m for m in {HEAVY} if m in sys.modules])"


def test_the_command_line_loads_no_driver_and_no_store() -> None:
    said = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.template(source="CREATE TABLE one (id int); INSERT INTO one VALUES (1)")
def test_the_store_is_opened_when_pg_dump_is_at_work(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    opened, begun = repository.Store.__init__, Attempt._begin_dump

    def open_store(self: repository.Store, url: str) -> None:
        order.append("store")
        opened(self, url)

    def begin_dump(self: Attempt, *args: object) -> None:
        order.append("pg_dump")
        begun(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(repository.Store, "__init__", open_store)
    monkeypatch.setattr(Attempt, "_begin_dump", begin_dump)
    assert_done(move(db_pair))
    assert order[:2] == ["pg_dump", "store"]
    assert MigrationService().runs()
