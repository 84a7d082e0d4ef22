"""The Arrow lane under fire: a sample of its stories, and runs that are interrupted by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from tests.faults.case import RUN_ID, TIMEOUT, play
from tests.faults.lane import Lane
from tests.faults.program import Program, wait_until
from tests.faults.proxy import Connection, Fate, Moment, Proxy, Trigger
from tests.faults.schedule import case_at, of_foreign
from tests.faults.test_faults import SEED
from tests.looking import assert_no_session_is_left
from tests.mariadb import PASSWORD, USER, MariaDatabase
from tests.moving import assert_done, resume, rows

CLIENTS = f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'"
# It goes no further: what is asked of a run that is done by then is not heard.
MIDDLE = {"moment": Moment.QUERY, "pattern": "^COPY ", "application": "/worker$", "skip": 1, "fate": Fate.STALL}

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(("kind", "recipe"), [("source_killed", "mariadb"), ("rows_moved", "sqlite")])
def test_a_source_that_is_not_postgresql_arrives_whole(lane: Lane, tmp_path: Path, kind: str, recipe: str) -> None:
    """By a full compare with what it holds then: no row lost, none twice, and nothing left over anywhere."""
    case = of_foreign(case_at(SEED, 0), recipe, kind)
    result = play(lane, case, keep=tmp_path)
    assert result.injected, f"case {case} found no moment to strike: {result.notes}"
    assert not result.wrong, f"{case}: {result.wrong} {result.notes}"
    assert (result.lost, result.doubled) == (0, 0)
    assert result.helped == 0 or case.needs_resume, f"{case}: {result.notes}"


@pytest.fixture
def program(tmp_path: Path, state: str) -> Iterator[Program]:
    program = Program(tmp_path)
    program.environ = {"MYSQL_PWD": PASSWORD}
    try:
        yield program
    finally:
        program.kill_all()


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_a_run_from_mysql_ends_as_it_is_asked_to(
    mariadb: MariaDatabase, db_source: str, pg18: Cluster, program: Program
) -> None:
    """Ctrl-C, Ctrl-C twice, `stop`: each in the middle of a COPY. Nothing is left, and it can be gone on with."""
    mariadb.run(
        "CREATE TABLE a (id int PRIMARY KEY, word text)",
        "INSERT INTO a SELECT seq, repeat(md5(seq), 5) FROM seq_1_to_4000",
        "ANALYZE TABLE a",
    )
    source = f"mysql://{USER}@127.0.0.1:{mariadb.server.port}/{mariadb.name}"

    def interrupt(_: Connection) -> None:
        assert program.process is not None
        program.process.send_signal(signal.SIGINT)

    def interrupt_twice(_: Connection) -> None:
        assert program.process is not None
        program.process.send_signal(signal.SIGINT)
        assert wait_until(lambda: "Stopping" in program.said())
        program.process.send_signal(signal.SIGINT)

    def stop(_: Connection) -> None:
        MigrationService(program.state).request_stop(RUN_ID)

    with Proxy(pg18.port) as proxy:
        words = ("--run-id", RUN_ID, "--workers", "1", "--split-size", "128kB")
        for number, action in enumerate((interrupt, interrupt_twice, stop)):
            trigger = Trigger(**MIDDLE, action=action)  # type: ignore[arg-type]
            proxy.arm(trigger)
            if number:
                program.resume(RUN_ID)
            else:
                program.start("run", source, proxy.url(db_source), *words)
            assert program.wait(TIMEOUT) == 130, program.said()
            assert trigger.error is None, program.said()
            assert wait_until(lambda: not program.processes(), 20)
            assert wait_until(lambda: not mariadb.run(CLIENTS), 20)
            assert_no_session_is_left(db_source)
            assert "Traceback" not in program.said()
            assert PASSWORD not in program.said()
    assert_done(resume(RUN_ID, source=mariadb.url, target=db_source))
    assert rows(db_source, "SELECT id, word FROM a ORDER BY id") == mariadb.run("SELECT id, word FROM a ORDER BY id")
