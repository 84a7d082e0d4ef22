"""The dispatcher on a pool of fakes: order, dependence, retries, and workers that die or freeze."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from pghaul.engine import dispatch
from pghaul.engine.control import Control
from pghaul.engine.dispatch import Dispatcher, Hooks, InFlight, Task, delay
from pghaul.engine.job import Job, JobKind, JobResult
from pghaul.model.errors import (
    ConnectionLostError,
    PghaulError,
    RowError,
    SnapshotLostError,
    StoppedError,
    TerminalError,
    TransientError,
)
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name

T = Name("public", "t")
DONE, SILENT = "done", "silent"
DEATH = BrokenProcessPool("a worker was killed")


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "delay", lambda _: 0.0)
    monkeypatch.setattr(dispatch, "LOOK", 0.002)
    monkeypatch.setattr(dispatch, "FIRST_SIGN", 0.0)


@dataclass
class FakePool:
    """Answers each job by what its script says next, by default with success."""

    size: int
    script: dict[str, list[object]] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    helpers: list[int] = field(default_factory=list)
    rebuilt: int = 0

    def __post_init__(self) -> None:
        self.control = Control(self.size)

    def submit(self, job: Job) -> Future[JobResult]:
        answers = self.script.get(job.chunk, [])
        answer = answers.pop(0) if answers else DONE
        if answer == "refused":
            raise DEATH
        self.submitted.append(job.chunk)
        self.used.append(job.slot)
        self.helpers.append(job.helpers)
        future: Future[JobResult] = Future()
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        elif answer == DONE:
            parts = tuple(JobResult(receipt=receipt(j.chunk)) for j in job.batch)
            future.set_result(JobResult(receipt=receipt(job.chunk), parts=parts))
        return future

    def rebuild(self) -> None:
        self.rebuilt += 1


def receipt(chunk: str) -> Receipt:
    return Receipt(table=T, chunk=chunk, rows=1, bytes=1, seconds=0, epoch=1)


def task(chunk: str, size: int = 1, after: list[Task] | None = None) -> Task:
    job = Job(run="r", epoch=1, kind=JobKind.COPY, relation=str(T), chunk=chunk, snapshot="", marker="m")
    return Task(job=job, table=T, size=size, after=after or [])


@dataclass
class Heard:
    started: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    retried: list[tuple[str, str]] = field(default_factory=list)
    look: Callable[[Sequence[InFlight]], None] = lambda _: None
    may_start: Callable[[], bool] = lambda: True

    def hooks(self) -> Hooks:
        return Hooks(
            started=lambda t: self.started.append(t.job.chunk),
            finished=lambda t, _: self.finished.append(t.job.chunk),
            finished_together=lambda done: self.finished.extend(t.job.chunk for t, _ in done),
            retried=lambda t, exc, _: self.retried.append((t.job.chunk, exc.message)),
            failed=lambda t, _: self.failed.append(t.job.chunk),
            look=self.look,
            may_start=self.may_start,
        )


def run(pool: FakePool, *tasks: Task, retries: int = 3, stall_timeout: float = 60, heard: Heard | None = None) -> Heard:
    heard = heard or Heard()
    Dispatcher(pool, heard.hooks(), retries=retries, stall_timeout=stall_timeout).run(tasks)  # type: ignore[arg-type]
    return heard


def test_the_largest_goes_first_and_each_is_done_once() -> None:
    pool = FakePool(1)
    heard = run(pool, task("small", 1), task("big", 9), task("middle", 5), task("middle too", 5))
    assert pool.submitted == heard.started == heard.finished == ["big", "middle", "middle too", "small"]


def test_a_task_waits_for_all_that_it_comes_after() -> None:
    ready = task("ready")
    ranges = [task("a", 5, [ready]), task("b", 4, [ready])]
    index = task("index", 99, [ready, *ranges])
    last = task("constraint", 100, [index])
    pool = FakePool(4)
    run(pool, last, index, *ranges, ready)
    assert pool.submitted == ["ready", "a", "b", "index", "constraint"]


def test_a_failed_task_holds_back_what_comes_after_it_until_it_is_done() -> None:
    first = task("a")
    pool = FakePool(2, {"a": [TransientError("no"), TransientError("no")]})
    run(pool, first, task("b", after=[first]))
    assert pool.submitted == ["a", "a", "a", "b"]


def test_only_the_last_index_gets_the_help_of_the_idle() -> None:
    def step(chunk: str) -> Task:
        made = task(chunk)
        return replace(made, job=replace(made.job, kind=JobKind.STEP))

    pools = [FakePool(n) for n in (1, 2, 4, 4)]
    for pool, steps in zip(pools, (["a"], ["a", "b", "c"], ["a"], ["a", "b"]), strict=True):
        run(pool, *(step(s) for s in steps))
    assert [p.helpers for p in pools] == [[0], [0, 0, 1], [3], [0, 2]]
    whole = FakePool(4)
    run(whole, task("a"))
    assert whole.helpers == [0]


def batch(*chunks: str) -> Task:
    parts = tuple(task(c) for c in chunks)
    job = replace(parts[0].job, kind=JobKind.BATCH, chunk="batch", batch=tuple(p.job for p in parts))
    return Task(job=job, table=T, size=9, parts=parts)


def test_the_parts_of_a_batch_are_finished_together() -> None:
    pool = FakePool(1)
    heard = run(pool, batch("a", "b"))
    assert (pool.submitted, heard.started, heard.finished) == (["batch"], ["a", "b"], ["a", "b"])


@pytest.mark.parametrize("error", [TransientError("gone"), RowError("cannot be read"), DEATH])
def test_a_batch_that_fails_is_taken_apart_so_that_the_faulty_part_is_named(error: Exception) -> None:
    pool = FakePool(1, {"batch": [error], "b": [RowError("cannot be read")]})
    heard = Heard()
    with pytest.raises(RowError):
        run(pool, batch("a", "b", "c"), heard=heard)
    assert pool.submitted[:3] == ["batch", "a", "b"]
    assert ([c for c, _ in heard.retried], heard.finished, heard.failed) == (["batch"], ["a"], ["b"])


def test_never_more_jobs_fly_than_there_are_slots_and_each_has_its_own() -> None:
    pool = FakePool(2, {c: [SILENT] for c in "abc"})
    looks: list[int] = []

    def look(_: Sequence[InFlight]) -> None:
        looks.append(1)
        if len(looks) == 3:
            raise StoppedError("enough seen")

    with pytest.raises(StoppedError):
        run(pool, *(task(c) for c in "abc"), heard=Heard(look=look))
    assert pool.submitted == ["a", "b"]
    assert sorted(pool.used) == [0, 1]


def test_a_passing_fault_is_tried_again_until_the_retries_are_used_up() -> None:
    pool = FakePool(1, {"a": [ConnectionLostError("gone")] * 3})
    heard = run(pool, task("a"), retries=3)
    assert (heard.retried, heard.finished) == ([("a", "gone")] * 3, ["a"])
    pool = FakePool(1, {"a": [ConnectionLostError("gone")] * 4})
    heard = Heard()
    with pytest.raises(ConnectionLostError):
        run(pool, task("a"), retries=3, heard=heard)
    assert (len(heard.retried), heard.finished) == (3, [])


@pytest.mark.parametrize("error", [TerminalError("no"), RowError("no"), SnapshotLostError("no"), StoppedError("no")])
def test_what_cannot_pass_ends_the_run_at_once_and_is_not_called_finished(error: PghaulError) -> None:
    pool, heard, bad = FakePool(1, {"a": [error]}), Heard(), task("a", 2)
    with pytest.raises(type(error)):
        run(pool, bad, task("b", 1), heard=heard)
    assert (pool.submitted, heard.finished, heard.retried, bad.done) == (["a"], [], [], False)
    assert heard.failed == (["a"] if isinstance(error, (TerminalError, RowError)) else [])


def test_a_dead_worker_costs_a_new_pool_and_what_flew_with_it_is_queued_again() -> None:
    pool = FakePool(3, {"a": [DEATH], "b": [SILENT], "c": [DEATH]})
    heard = run(pool, task("a", 3), task("b", 2), task("c", 1))
    assert pool.rebuilt == 1
    assert sorted(pool.submitted) == ["a", "a", "b", "b", "c", "c"]
    assert sorted(heard.finished) == ["a", "b", "c"]
    assert ("a", "a worker process has died") in heard.retried or ("c", "a worker process has died") in heard.retried


def test_a_pool_found_broken_when_a_job_is_handed_out_is_rebuilt_for_it() -> None:
    pool = FakePool(2, {"a": [SILENT], "b": ["refused"]})
    heard = run(pool, task("a", 2), task("b", 1))
    assert pool.rebuilt == 1
    assert sorted(heard.finished) == ["a", "b"]
    assert pool.submitted == ["a", "b", "a"]


def test_a_job_whose_workers_die_again_and_again_is_given_up_as_any_other() -> None:
    pool = FakePool(1, {"a": ["refused"] * 4})
    assert run(pool, task("a")).finished == ["a"]
    pool, heard = FakePool(1, {"a": ["refused"] * 20}), Heard()
    with pytest.raises(TransientError, match="a worker process has died"):
        run(pool, task("a"), retries=2, heard=heard)
    assert (len(heard.retried), heard.finished) == (2, [])


def test_a_worker_without_a_sign_of_life_is_replaced() -> None:
    pool = FakePool(1, {"a": [SILENT]})
    heard = run(pool, task("a"), stall_timeout=0.01)
    assert (pool.rebuilt, heard.finished) == (1, ["a"])


def test_a_worker_that_gives_signs_of_life_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.monotonic()]  # and from now on by our looks
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda _: None))
    pool = FakePool(1, {"a": [SILENT]})
    looks: list[int] = []

    def look(_: Sequence[InFlight]) -> None:
        pool.control.tick()
        clock[0] += 4 * 1.0  # it is given up after five
        looks.append(1)
        if len(looks) == 10:
            raise StoppedError("seen")

    with pytest.raises(StoppedError):
        run(pool, task("a"), stall_timeout=1.0, heard=Heard(look=look))
    assert pool.rebuilt == 0


def test_workers_that_take_long_to_begin_get_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is too busy for the first bound; what has begun is bound as ever."""
    clock, pool, rebuilt = [0.0], FakePool(1, {"a": [SILENT, SILENT, SILENT]}), dict[int, float]()
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda _: None))
    monkeypatch.setattr(dispatch, "FIRST_SIGN", 5.0)

    def look(_: Sequence[InFlight]) -> None:
        clock[0] += 1.0
        rebuilt.setdefault(pool.rebuilt, clock[0])

    heard = run(pool, task("a"), stall_timeout=0.5, heard=Heard(look=look))
    assert heard.finished == ["a"]
    lasted = [rebuilt[n] - rebuilt[n - 1] for n in (1, 2, 3)]
    assert lasted[0] < lasted[1] < lasted[2]
    assert lasted[2] > 20.0


def test_while_the_run_is_paused_no_job_is_handed_out_and_then_all_are() -> None:
    pool, looks = FakePool(2), []

    def look(_: Sequence[InFlight]) -> None:
        looks.append(list(pool.submitted))

    heard = run(pool, task("a"), task("b"), heard=Heard(look=look, may_start=lambda: len(looks) >= 3))
    assert looks[:3] == [[], [], []]
    assert sorted(heard.finished) == ["a", "b"]


def test_bytes_in_flight_are_told_and_forgotten_when_the_job_ends() -> None:
    pool = FakePool(2, {"a": [SILENT]})
    told: list[int] = []

    def look(flying: Sequence[InFlight]) -> None:
        told.append(sum(f.bytes for f in flying))
        pool.control.take(pool.used[0])
        pool.control.set_bytes(77)
        if len(told) == 4:
            raise StoppedError("seen")

    with pytest.raises(StoppedError):
        run(pool, task("a", 2), task("b", 1), heard=Heard(look=look))
    assert told[-1] == 77
    assert pool.control.bytes(pool.used[1]) == 0


def test_waits_grow_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pghaul.engine.dispatch.random.uniform", lambda _, most: most)
    assert [delay(n) for n in (1, 2, 3, 10, 100)] == [0.4, 0.8, 1.6, 15.0, 15.0]
