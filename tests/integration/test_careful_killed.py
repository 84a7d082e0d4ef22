"""A process that is killed while rows are set aside: none of them is lost, none is there twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases import DatabasePair
from tests.faults.program import PATIENCE, Program
from tests.faults.proxy import Connection, Moment, Proxy, Trigger
from tests.moving import rows

from pghaul.model import copy_text

SOURCE = """
CREATE TABLE public.t (id int4 PRIMARY KEY, v text);
INSERT INTO public.t SELECT i, CASE WHEN i % 30 = 0 THEN 'bad' ELSE i::text END FROM generate_series(1, 300) i;
"""
RUN = "0123456789ab"


@pytest.fixture
def program(tmp_path: Path, state: str) -> Iterator[Program]:
    program = Program(tmp_path)
    assert program.state == state
    try:
        yield program
    finally:
        program.kill_all()


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
@pytest.mark.template(source=SOURCE, target="CREATE TABLE public.t (id int4, v int4)")
@pytest.mark.parametrize("killed", ["main", "worker"])
def test_rows_are_set_aside_once_whoever_is_killed_meanwhile(
    db_pair: DatabasePair, program: Program, killed: str
) -> None:
    def kill(connection: Connection) -> None:
        if killed == "main":
            program.kill_main()
        elif worker := program.worker_of(connection.client_port):
            worker.kill()

    at = {"moment": Moment.QUERY, "pattern": "^RELEASE SAVEPOINT pghaul_rows", "application": "/worker$"}
    trigger = Trigger(**at, skip=3, action=kill)  # type: ignore[arg-type]
    with Proxy(db_pair.target_server.port) as proxy:
        proxy.arm(trigger)
        ends = ("--from", db_pair.source, "--to", proxy.url(db_pair.target), "--table", "t", "--run-id", RUN)
        program.start("run", *ends, "--max-rejects", "10", "--workers", "1")
        assert trigger.done.wait(PATIENCE), program.said()
        if killed == "main":
            program.wait()
            program.resume(RUN)
        assert program.wait() == 3, program.said()
    kept = rows(db_pair.target, "SELECT row_data, encoding FROM pghaul.quarantine ORDER BY id")
    loaded = [(str(i), str(v)) for i, v in rows(db_pair.target, "SELECT id, v FROM public.t")]
    aside = [copy_text.decode(line, encoding) for line, encoding in kept]
    source = [(str(i), v) for i, v in rows(db_pair.source, "SELECT id, v FROM public.t")]
    assert len(aside) == 10
    assert sorted([*loaded, *aside]) == sorted(source)
