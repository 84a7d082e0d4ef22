"""One run resumed on a second machine while the first still works on it: one of the two gives way."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.faults.program import Program, wait_until
from tests.looking import value

from pghaul.model.run import RunState
from pghaul.store.repository import Store

RUN = "0123456789ab"
TABLE = "CREATE TABLE one (id int, body text);"
ROWS = f"{TABLE} INSERT INTO one SELECT g, repeat('x', 90) FROM generate_series(1, 20000) g"


@pytest.mark.template(source=ROWS, target=TABLE)
def test_the_first_leader_gives_way_to_the_one_that_resumed_its_run(db_pair: DatabasePair, tmp_path: Path) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    first, second = (Program(folder) for folder in folders)
    ends = ("--from", db_pair.source, "--to", db_pair.target)
    try:
        with psycopg.connect(db_pair.target) as holder:
            holder.execute("LOCK TABLE one IN SHARE MODE")  # the load has to wait for it
            first.start("run", *ends, "--table", "one", "--run-id", RUN, "--lock-timeout", "60", "--workers", "1")
            assert wait_until(lambda: "attempt 1" in first.said()), first.said()
            for file in folders[0].glob("state.db*"):
                shutil.copy(file, folders[1] / file.name)
            with contextlib.closing(Store(second.state)) as store:
                store.save_run(replace(store.run(RUN), state=RunState.STOPPED))
            second.start("resume", RUN)
            assert first.wait() == 1
            assert "resumed by another process" in first.said()
        assert second.wait() == 0, second.said()
        assert value(db_pair.target, "SELECT count(*) FROM one") == 20000
    finally:
        first.kill_all()
        second.kill_all()
