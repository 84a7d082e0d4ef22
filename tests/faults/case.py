"""One case: fresh databases, a run, a fault, as many resumes as it takes, and the judgement."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pymysql

from pghaul.model.errors import PghaulError, ProgramError
from pghaul.model.table import Name
from tests.compare import Content, Difference, as_name, compare, contents
from tests.faults.changes import CHANGES, apply
from tests.faults.faults import (
    WORKER,
    FaultAction,
    Scene,
    change_source,
    fault,
    kill_main,
    lose_snapshot_and_change_source,
)
from tests.faults.foreign import CHANGES as FOREIGN_CHANGES
from tests.faults.foreign import RESHAPED
from tests.faults.lane import Lane
from tests.faults.plant import FURNITURE, KEYED, LEAVES, TABLES
from tests.faults.program import Program, wait_until
from tests.faults.proxy import Moment, Proxy, Trigger
from tests.faults.schedule import Case, trigger
from tests.faults.stories import STORIES
from tests.faults.story import RUN_ID, Story

TIMEOUT = 75.0  # seconds; the runs give up after 40
RESUMES = 2
OTHER_RUN = "ba9876543210"
RESHAPED_WORDS = ("is gone from the source", "is another one than when the run began")
OTHERS = (sqlite3.Error, pymysql.err.Error, RuntimeError)  # of sources that are not PostgreSQL
NOTHING_BEGUN = f"there is no run {RUN_ID}"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pghaul/%' AND datname = current_database()"
RECIPES = {"copy": (), "insert": ("--recipe", "insert"), "update": ("--on-conflict", "update")}
ALL = ("plant.*",)
MODES: dict[str, FaultAction] = {
    "during": change_source,
    "snapshot": lose_snapshot_and_change_source,
    "between": kill_main,
}


@dataclass(kw_only=True)
class Result:
    """`helped` is how many resumes it took after the fault; `wrong` is empty where all is well."""

    case: Case
    injected: bool = False
    exit_codes: list[int | None] = field(default_factory=list)
    helped: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    broken: bool = False  # the lane may be unfit for another case
    lane_broke: bool = False  # a server of the lane did not answer us
    notes: list[str] = field(default_factory=list)


def play(lane: Lane, case: Case, *, keep: Path | None = None) -> Result:
    """Play it; where the lane itself broke, or the fault found no moment to strike, once more (then with the earliest).

    A server that does not come back says nothing about the program; where it happens twice it is told as a failure.
    """
    result = _play_once(lane, case, keep)
    if result.lane_broke and not result.lost and not result.doubled:
        first, result = result, _play_once(lane, case, keep)
        result.notes = [f"played twice, because {first.wrong[0]}", *first.notes, *result.notes]
    if not result.injected and not result.wrong:
        before, result = result.notes, _play_once(lane, replace(case, gentle=True), keep)
        result.notes = before + result.notes
    return result


def _play_once(lane: Lane, case: Case, keep: Path | None) -> Result:
    result = Result(case=case)
    try:
        with _staged(lane, case, result.notes) as scene:
            try:
                _perform(scene, case, result)
                _judge(scene, result)
            except (psycopg.Error, *OTHERS, OSError, AssertionError, PghaulError) as exc:
                result.broken, result.lane_broke = True, _is_about_the_lane(exc)
                result.wrong.append("the case itself broke: " + "".join(traceback.format_exception(exc)[-2:]))
            finally:
                scene.program.kill_all()
                if result.wrong and keep:
                    shutil.copytree(scene.program.folder, keep / str(case.index), dirs_exist_ok=True)
    except (psycopg.OperationalError, ProgramError) as exc:  # while databases were made or dropped
        result.broken = result.lane_broke = True
        result.wrong.append(f"the lane broke: {exc}")
    return result


def _is_about_the_lane(exc: BaseException) -> bool:
    """No server answers where we ask it ourselves."""
    if isinstance(exc, psycopg.OperationalError):
        return exc.sqlstate is None or exc.sqlstate.startswith("57P")
    return isinstance(exc, ProgramError)


@contextmanager
def _staged(lane: Lane, case: Case, notes: list[str]) -> Iterator[Scene]:
    notes += lane.revive()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="case-", dir=lane.folder)))
        story = STORIES.get(case.recipe)
        names = stack.enter_context(
            lane.databases(
                on_small_disk=case.kind == "disk_full",
                stale=case.recipe == "update",
                scripts=(story.source, story.target) if story else None,
            )
        )
        rng = case.rng
        program = Program(folder)
        source = None
        if story is not None:
            program.environ = dict(story.environ)
            if story.foreign is not None:
                source = stack.enter_context(story.foreign(lane, folder, rng))
                program.environ |= source.environ
        yield Scene(
            lane=lane,
            program=program,
            side=case.side,
            urls={"source": lane.source.url(names[0]), "target": lane.target.url(names[1])},
            proxies={s: stack.enter_context(Proxy(lane.server(s).port)) for s in ("source", "target")},
            rng=rng,
            change=CHANGES[case.kind](rng) if case.kind in CHANGES else None,
            tables=story.tables if story else TABLES,
            foreign=source,
            case_kind=case.kind,
            notes=notes,
        )


def _perform(scene: Scene, case: Case, result: Result) -> None:
    program, story = scene.program, STORIES.get(case.recipe)
    if story is not None:
        story.before(scene)
    armed = trigger(case)
    action = MODES[case.mode] if case.mode else fault(case.kind).action
    armed.action = lambda connection: action(scene, connection)
    if case.phase == "resume":
        _run(scene, case, cut_short=True)
        program.wait(TIMEOUT)
        scene.proxies[case.side].arm(armed)
        _resume(scene, case)
    else:
        scene.proxies[case.side].arm(armed)
        _run(scene, case)
    code = program.wait(TIMEOUT)
    result.injected = armed.fired.is_set()
    if armed.error is not None:
        scene.notes.append(f"the fault itself: {armed.error!r}")
        result.injected = False
    result.exit_codes.append(code)
    if result.injected:
        _between(scene, case)
    while code is not None and not _ended_well(scene, code, story) and result.helped < RESUMES:
        result.helped += 1
        scene.notes.append(f"exit {code}: {program.complaint()}")
        _resume(scene, case)
        for job in scene.upon_resume:
            scene.meanwhile(job)
        scene.upon_resume.clear()
        code = program.wait(TIMEOUT)
        result.exit_codes.append(code)
        if code == 1 and _was_reshaped(scene):
            scene.notes.append(f"refused: {program.complaint()}")
            _begin_anew(scene, case)
            code = program.wait(TIMEOUT)
            result.exit_codes.append(code)
        if code == 1 and NOTHING_BEGUN in program.complaint():
            # The fault came before the run was recorded and anything was written: the same command again.
            scene.notes.append("nothing had begun: started again")
            _run(scene, case)
            code = program.wait(TIMEOUT)
            result.exit_codes.append(code)
    for thread in scene.background:
        thread.join(TIMEOUT)
    if code is None:
        result.wrong.append("hangs")
    elif not _ended_well(scene, code, story):
        result.wrong.append(f"exit {code} after {result.helped} resumes: {program.complaint()}")


def _run(scene: Scene, case: Case, *, cut_short: bool = False) -> None:
    """Start the run; `cut_short`: its main process is killed somewhere in the copying."""
    story = STORIES.get(case.recipe)
    if cut_short:
        volume = scene.rng.randint(50_000, 900_000) if story is None else scene.rng.randint(1, story.volume // 2)
        kill = Trigger(moment=Moment.COPIED, application=WORKER, after_bytes=volume)
        kill.action = lambda _: scene.program.kill_main()
        scene.proxies["target"].arm(kill)
    source, target = (scene.proxies[s].url(scene.urls[s]) for s in ("source", "target"))
    if story is not None:
        scene.program.start(*story.words(scene.foreign.url if scene.foreign else source, target))
        return
    scene.program.run(source, target, RUN_ID, *RECIPES[case.recipe], tables=KEYED if case.recipe == "update" else ALL)


def _resume(scene: Scene, case: Case) -> None:
    """Go on; what cannot be resumed is done again."""
    story = STORIES.get(case.recipe)
    if story is None or story.resumed:
        scene.program.resume(RUN_ID)
    else:
        for proxy in scene.proxies.values():
            proxy.close_all()  # as the server's keepalives would: nobody else ends what such a command has left
        _run(scene, case)


def _was_reshaped(scene: Scene) -> bool:
    """A table has gone or is another one: the run says which, and cannot go on."""
    return scene.case_kind in RESHAPED and any(words in scene.program.complaint() for words in RESHAPED_WORDS)


def _begin_anew(scene: Scene, case: Case) -> None:
    """A new run, as it advises: a table that lacks the column has to go."""
    story = STORIES[case.recipe]
    with psycopg.connect(scene.urls["target"], autocommit=True) as session:
        session.execute("DROP TABLE IF EXISTS public.part, public.item, public.log")
    assert scene.foreign is not None
    words = story.words(scene.foreign.url, scene.proxies["target"].url(scene.urls["target"]))
    scene.last_run = OTHER_RUN
    words = tuple(OTHER_RUN if word == RUN_ID else word for word in words)
    scene.program.start(*words, "--on-existing", "truncate")


def _between(scene: Scene, case: Case) -> None:
    """The source changes after the main process died; our dead sessions hold no lock for long."""
    if case.kind in FOREIGN_CHANGES and scene.foreign is not None:
        scene.foreign.change(FOREIGN_CHANGES[case.kind](scene.rng))
        return
    if case.mode == "between":
        assert scene.change is not None
        made = apply(scene.urls["source"], scene.change, patience_ms=15_000)
        scene.notes.append("changed between" if made else "the change was kept out by locks of a dead run")


def _ended_well(scene: Scene, code: int, story: Story | None) -> bool:
    """Done; or done but for the table that vanished or changed on the source, which it names."""
    if story is not None:
        return code in story.ends
    changed = scene.change.changed if scene.change else None
    return code == 0 or (code == 3 and changed is not None and changed in scene.program.said())


def _judge(scene: Scene, result: Result) -> None:
    story = STORIES.get(result.case.recipe)
    if story is not None:
        _judge_story(scene, story, result)
    else:
        _judge_content(scene, result)
        _judge_furniture(scene, result)
    if not wait_until(lambda: not scene.program.processes(), 10):
        result.wrong.append(f"processes left: {[' '.join(p.cmdline())[-80:] for p in scene.program.processes()]}")
    for side, url in scene.urls.items():
        scene.proxies[side].close_all()
        if not wait_until(lambda url=url: _sessions(url) == 0, 5):  # type: ignore[misc]
            result.wrong.append(f"{_sessions(url)} sessions left on the {side}")


def _judge_story(scene: Scene, story: Story, result: Result) -> None:
    """After the last of its sessions: what they had not committed is gone then."""
    for proxy in scene.proxies.values():
        proxy.disarm()
    wait_until(lambda: _sessions(scene.urls["target"]) == 0, 5)
    for wrong in story.judge(scene):
        lost, doubled = _figures(wrong)
        result.lost, result.doubled = result.lost + lost, result.doubled + doubled
        result.wrong.append(wrong)


def _figures(wrong: str) -> tuple[int, int]:
    found = re.search(r"(\d+) lost, (\d+) too many", wrong)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _sessions(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as admin:
        row = admin.execute(OURS).fetchone()
    return int(row[0]) if row else 0


def _judge_content(scene: Scene, result: Result) -> None:
    """The whole target is the source as it was before, or the whole target is the source as it is now."""
    before = scene.lane.before
    columns = {name: content.columns for name, content in before.items()}
    dropped = as_name(scene.change.changed) if scene.change and scene.change.changed else None
    after = contents(scene.urls["source"], before, columns=columns)
    found = contents(scene.urls["target"], before, columns=columns)
    if dropped is not None:
        _judge_changed_table(dropped, before, found, result)
        before, after = _without(before, dropped), _without(after, dropped)
    best = min((compare(expected, found) for expected in (before, after)), key=_size)
    result.lost += best.lost
    result.doubled += best.doubled
    if best:
        result.wrong.append(f"{best.lost} lost, {best.doubled} too many in {best.tables}: {best.examples[:3]}")


def _judge_changed_table(
    table: Name, before: Mapping[Name, Content], found: Mapping[Name, Content], result: Result
) -> None:
    """What became of a table that vanished or changed its shape: all of it, or nothing; never a part."""
    there = found[table].rows if table in found else Counter()
    if there and there != before[table].rows:
        result.wrong.append(f"a part of {table}: {there.total()} of {before[table].rows.total()} rows")


def _without(tables: Mapping[Name, Content], name: Name) -> dict[Name, Content]:
    return {n: c for n, c in tables.items() if n != name}


def _size(difference: Difference) -> int:
    return difference.lost + difference.doubled


def _judge_furniture(scene: Scene, result: Result) -> None:
    """Indexes, constraints and partitions are all there and valid.

    A leaf that vanished from the source may stay on the target without its indexes; then an index of its root is
    there, but not valid, and the exit status has said so.
    """
    changed = scene.change.changed if scene.change and scene.change.changed else ""
    sides = [_furniture(url, changed.rpartition(".")[2]) for url in scene.urls.values()]
    missing = sides[0] - sides[1]
    if changed in LEAVES:
        missing -= {(table, what) for table, what in missing if (table, _invalid(what)) in sides[1]}
    if missing and not result.wrong:
        result.wrong.append(f"not on the target: {sorted(missing)[:4]}")


def _invalid(what: str) -> str:
    return what.removesuffix("true") + "false"


def _furniture(url: str, without: str) -> set[tuple[str, str]]:
    try:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute("SET search_path = ''")
            return {(r[0], r[1]) for r in session.execute(FURNITURE.encode()) if r[0] != without}
    except psycopg.errors.InvalidSchemaName:
        return set()
