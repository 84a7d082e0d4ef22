"""Processes of a pool: what they answer, and what becomes of jobs when one of them ends at whatever moment."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.duties import SECRET, Order, duty, stillborn
from tests.faults.program import wait_until

from pghaul.engine import crew, worker
from pghaul.engine.pool import WorkerPool, lane
from pghaul.model.errors import ConnectionLostError
from pghaul.service.postmaster import is_running

SOON = 60.0  # seconds, on a busy machine


@contextmanager
def pool_of(size: int, *, config: object = "c", duty: Any = duty) -> Iterator[Any]:
    """A pool for orders; neither a thread nor a process nor a file is left of it."""
    threads, files = threading.active_count(), open_files()
    pool: Any = WorkerPool(size, duty=duty)
    if config is not None:
        pool.configure(config)
    try:
        yield pool
    finally:
        pool.close(0.0)
    assert threading.active_count() == threads
    assert not [p for p in multiprocessing.active_children() if p.daemon]
    assert open_files() <= files


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()]) if sys.platform == "linux" else 0


def pids(pool: Any) -> list[int]:
    return [pool.submit(Order("pid", slot=n)).result(SOON) for n in range(pool.size)]


def broken(future: Future[Any]) -> bool:
    return isinstance(future.exception(SOON), BrokenProcessPool)


@pytest.fixture(scope="module", autouse=True)
def _started() -> None:
    """What all pools share is there before anything is counted."""
    pool: Any = WorkerPool(1, duty=duty)
    pool.configure("c")
    try:
        assert pool.submit(Order("echo", 1)).result(SOON) == 1
    finally:
        pool.close(0.0)


def test_a_job_goes_to_the_process_of_its_slot_which_knows_its_configuration() -> None:
    with pool_of(2, config={"k": 1}) as pool:
        first = pids(pool)
        assert len({*first, os.getpid()}) == 3
        assert pids(pool) == first
        assert [pool.submit(Order("config", slot=n)).result(SOON) for n in (0, 1)] == [{"k": 1}] * 2


def test_a_process_whose_engine_cannot_be_got_ready_starts_all_the_same() -> None:
    """What is missing is said by the job that needs it."""
    assert lane("no such engine")() == (worker.start, worker.work)


def test_processes_are_spawned_before_they_have_a_configuration() -> None:
    with pool_of(1, config=None) as pool:
        pool.warm_up()
        with pytest.raises(RuntimeError, match="not configured"):
            pool.submit(Order("echo"))
        pool.configure("late")
        assert pool.submit(Order("config")).result(SOON) == "late"


def test_large_orders_and_answers_pass_and_none_waits_for_another() -> None:
    with pool_of(2) as pool:
        large = bytes(5_000_000)
        hanging = pool.submit(Order("wait"))
        assert pool.submit(Order("echo", large, slot=1)).result(SOON) == large
        assert not hanging.done()
        pool.close(SOON)
        assert hanging.result(SOON) is None


def test_an_order_to_a_stopped_process_holds_up_nobody() -> None:
    with pool_of(2) as pool:
        psutil.Process(pids(pool)[0]).suspend()
        pool.submit(Order("echo", bytes(5_000_000)))
        assert pool.submit(Order("echo", 1, slot=1)).result(SOON) == 1


def test_an_error_arrives_with_the_traceback_of_its_process() -> None:
    with pool_of(1) as pool:
        error = pool.submit(Order("fail", ConnectionLostError("gone", where="there"))).exception(SOON)
        assert isinstance(error, ConnectionLostError)
        assert (error.message, error.where) == ("gone", "there")
        assert "in _fail" in "".join(traceback.format_exception(error))
        assert pool.submit(Order("echo", 1)).result(SOON) == 1


@pytest.mark.parametrize(("kind", "said"), [("local", "not with ***"), ("awkward", "one two")])
def test_of_an_error_that_cannot_travel_its_text_arrives_and_nothing_secret(kind: str, said: str) -> None:
    with pool_of(1) as pool:
        error = pool.submit(Order("fail by", kind)).exception(SOON)
        assert type(error) is RuntimeError
        assert said in str(error)
        assert SECRET not in "".join(traceback.format_exception(error))
        assert pool.submit(Order("echo", 1)).result(SOON) == 1


def test_a_result_that_cannot_be_pickled_is_an_error() -> None:
    with pool_of(1) as pool:
        assert "pickle" in str(pool.submit(Order("lambda")).exception(SOON))


@pytest.mark.parametrize("word", ["die", "leave"])
def test_a_process_that_ends_in_a_job_takes_all_open_jobs_with_it(word: str) -> None:
    with pool_of(2) as pool:
        pids(pool)
        other = pool.submit(Order("hang", slot=1))
        assert broken(pool.submit(Order(word)))
        assert broken(other)
        with pytest.raises(BrokenProcessPool):
            pool.submit(Order("echo", slot=1))
        pool.rebuild()
        assert pool.submit(Order("echo", 5)).result(SOON) == 5


def test_a_process_that_ends_between_two_jobs_is_noticed_at_once() -> None:
    with pool_of(2) as pool:
        idle = pids(pool)[0]
        other = pool.submit(Order("hang", slot=1))
        psutil.Process(idle).kill()
        assert broken(other)
        with pytest.raises(BrokenProcessPool):
            pool.submit(Order("echo"))


def test_a_process_that_ends_before_its_first_job_is_noticed() -> None:
    with pool_of(1, config=None) as pool:
        before = set(psutil.Process().children(recursive=True))
        pool.warm_up()
        (process,) = set(multiprocessing.active_children()) - before
        process.kill()
        pool.configure("c")
        with pytest.raises(BrokenProcessPool):
            pool.submit(Order("echo")).result(SOON)


def test_no_job_is_forgotten_however_close_to_a_death_it_is_submitted() -> None:
    """Each ends, one way or the other."""
    with pool_of(2) as pool:
        for number in range(8):
            pids(pool)
            dying = pool.submit(Order("die", slot=number % 2))
            ended = 0
            try:
                while True:
                    pool.submit(Order("echo", slot=1 - number % 2)).exception(SOON)
                    ended += 1
            except BrokenProcessPool:
                assert broken(dying)
            pool.rebuild()


def test_a_process_that_cannot_start_fails_its_job_and_says_why_without_secrets(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pool_of(1, config=SECRET, duty=stillborn) as pool, suppress(BrokenProcessPool):
        assert broken(pool.submit(Order("echo")))
    said = capfd.readouterr().err
    assert "cannot start with ***" in said
    assert SECRET not in said


def test_closing_waits_for_those_who_listen() -> None:
    with pool_of(1) as pool:
        listening = pool.submit(Order("wait"))
        pool.close(SOON)
        assert listening.result(0) is None


def test_closing_ends_those_who_do_not_listen() -> None:
    with pool_of(2) as pool:
        both = pids(pool)
        deaf = pool.submit(Order("hang", slot=1))
        pool.close(0.5)
        assert broken(deaf)
        assert not any(is_running(pid) for pid in both)
        pool.close(0.5)
        with pytest.raises(RuntimeError):
            pool.submit(Order("echo"))


def test_closing_does_not_wait_for_a_stopped_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "DYING", SOON)
    with pool_of(2) as pool:
        both = pids(pool)
        psutil.Process(both[0]).suspend()
        began = time.monotonic()
        pool.close(0.1)
        assert time.monotonic() - began < SOON
        assert not any(is_running(pid) for pid in both)


@pytest.mark.parametrize("warm", [True, False])
def test_a_pool_that_nobody_configured_is_closed_at_once(warm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "DYING", SOON)
    with pool_of(2, config=None) as pool:
        if warm:
            pool.warm_up()
        began = time.monotonic()
        pool.close(2 * SOON)
        assert time.monotonic() - began < SOON


def test_processes_that_are_wound_down_finish_their_jobs_and_end_by_themselves() -> None:
    with pool_of(2) as pool:
        both = pids(pool)
        last = pool.submit(Order("wait"))
        pool.wind_down()
        with pytest.raises(RuntimeError):
            pool.submit(Order("echo", slot=1))
        assert wait_until(lambda: not is_running(both[1]), SOON)
        assert not last.done()
        pool.control.stop()
        assert last.result(SOON) is None
        assert wait_until(lambda: not is_running(both[0]), SOON)


def test_a_pool_without_jobs_is_wound_down_and_closed() -> None:
    with pool_of(1) as pool:
        pool.wind_down()
        pool.close(0.0)
        pool.wind_down()
        assert pool.control.stopping


def test_a_pool_that_cannot_be_spawned_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    member = crew._Member

    def failing(*args: Any) -> Any:
        if made:
            raise OSError("too many processes")
        made.append(member(*args))
        return made[0]

    with pool_of(3) as pool:
        monkeypatch.setattr(crew, "_Member", failing)
        with pytest.raises(OSError, match="too many"):
            pool.warm_up()
        monkeypatch.undo()
        assert pool.submit(Order("echo", 2)).result(SOON) == 2


def test_processes_outlast_a_stopped_parent_and_end_with_a_killed_one(tmp_path: Path) -> None:
    code = f"from tests.duties import hang_in_a_pool; hang_in_a_pool({str(tmp_path / 'pid')!r})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            idle, busy = (int(pid) for pid in parent.stdout.readline().split())
            psutil.Process(parent.pid).suspend()
            assert not wait_until(lambda: not (is_running(idle) and is_running(busy)), 0.3)
        finally:
            parent.kill()
    assert wait_until(lambda: not is_running(idle) and not is_running(busy), SOON)
