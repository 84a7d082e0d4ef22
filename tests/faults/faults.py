"""The faults: what is done to servers, processes and links at the moment that a trigger has found.

An action is called while the connection that set it off is held; what shall go on meanwhile (holding a lock,
waking a stopped worker) runs in the scene's background.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import psutil
import psycopg
from psycopg import sql

from pghaul.model.run import RunState
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from tests.faults.changes import Change, apply
from tests.faults.foreign import CHANGES, Foreign, Maria, relays
from tests.faults.lane import Lane, bring_up
from tests.faults.plant import TABLES
from tests.faults.program import Program, wait_until
from tests.faults.proxy import Connection, Fate, Proxy
from tests.faults.story import RUN_ID

LONGER_THAN_LOCK_TIMEOUT = 1.6  # seconds; the runs are started with --lock-timeout 1
LEDGER = ("pghaul.chunk_marker", "pghaul.watermark", "pghaul.quarantine")


@dataclass(kw_only=True)
class Scene:
    """All that a fault may want to break. `side` is where its connection leads to."""

    lane: Lane
    program: Program
    side: str
    urls: dict[str, str]  # direct, not through a proxy
    proxies: dict[str, Proxy]
    rng: random.Random
    change: Change | None = None
    foreign: Foreign | None = None  # the source, where it is not PostgreSQL
    case_kind: str = ""
    last_run: str = RUN_ID
    tables: tuple[str, ...] = TABLES
    background: list[threading.Thread] = field(default_factory=list)
    upon_resume: list[Callable[[], None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def server(self) -> Cluster:
        """The server that the fault's connection leads to."""
        return self.lane.server(self.side)

    def meanwhile(self, job: Callable[[], None]) -> None:
        """Run it in a thread that the case waits for."""
        thread = threading.Thread(target=job, daemon=True)
        self.background.append(thread)
        thread.start()

    def admin(self) -> psycopg.Connection:
        """A session of ours on that server, past the proxy."""
        return psycopg.connect(self.urls[self.side], autocommit=True, application_name="saboteur")


FaultAction: TypeAlias = Callable[[Scene, Connection], None]


def pause(seconds: float) -> None:
    """Let time pass."""
    threading.Event().wait(seconds)


def nothing(_scene: Scene, _connection: Connection) -> None:
    """The link alone is what fails."""


def terminate_backend(scene: Scene, connection: Connection) -> None:
    with scene.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 3000)", [connection.backend_pid])


def cancel_statement(scene: Scene, connection: Connection) -> None:
    """Cancel as soon as the backend is busy: a cancel that arrives between two statements is lost."""
    busy = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"

    def cancel() -> None:
        with scene.admin() as admin:
            wait_until(lambda: admin.execute(busy, [connection.backend_pid]).fetchone() == (True,), 0.5)
            admin.execute("SELECT pg_cancel_backend(%s)", [connection.backend_pid])

    scene.meanwhile(cancel)


def pause_run(scene: Scene, _connection: Connection) -> None:
    """Paused from another process, and woken before it has let anything go."""
    _pause_and_wake(scene, let_go=False)


def pause_run_until_freed(scene: Scene, _connection: Connection) -> None:
    """Paused, everything let go, and woken: it goes on by itself, as a new epoch."""
    _pause_and_wake(scene, let_go=True)


def _pause_and_wake(scene: Scene, *, let_go: bool) -> None:
    service = MigrationService(scene.program.state)
    run = service.status()
    service.request_pause(run.id, let_go=let_go)
    seconds = scene.rng.choice([0.0, 0.4, 2.0])  # the last is longer than the runs' stall_timeout

    def wake() -> None:
        wait_until(lambda: service.status(run.id).state is not RunState.RUNNING, 5.0)
        pause(seconds)
        scene.notes.append("woken" if service.wake(run.id) else "there was nobody to wake")

    scene.meanwhile(wake)


def crash_server(scene: Scene, _connection: Connection) -> None:
    scene.server.crash()
    pause(scene.rng.choice([0.0, 0.5]))
    scene.notes += bring_up(scene.server)


def restart_server(scene: Scene, _connection: Connection) -> None:
    scene.server.stop()
    scene.notes += bring_up(scene.server)


def kill_worker(scene: Scene, connection: Connection) -> None:
    worker = scene.program.worker_of(connection.client_port)
    assert worker is not None, "no worker to kill"
    worker.kill()


def stop_worker(scene: Scene, connection: Connection) -> None:
    worker = scene.program.worker_of(connection.client_port)
    assert worker is not None, "no worker to stop"
    worker.suspend()
    seconds = scene.rng.choice([0.5, 1.0, 2.5])

    def wake() -> None:
        pause(seconds)
        _wake(worker)

    scene.meanwhile(wake)


def _wake(worker: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        worker.resume()


def kill_main(scene: Scene, _connection: Connection) -> None:
    scene.program.kill_main()


def leave_a_stale_worker(scene: Scene, connection: Connection) -> None:
    """A worker sleeps through the death of its parent and wakes while the next attempt is at work."""
    worker = scene.program.worker_of(connection.client_port)
    assert worker is not None, "no worker to stop"
    worker.suspend()
    scene.program.kill_main()
    seconds = scene.rng.choice([0.1, 0.8, 1.6, 3.0])

    def wake() -> None:
        pause(seconds)
        _wake(worker)

    scene.upon_resume.append(wake)


def exhaust_connections(scene: Scene, _connection: Connection) -> None:
    """Every slot is taken, the superuser's too, and each that becomes free."""
    taken: list[psycopg.Connection] = []
    end = threading.Event()

    def take() -> None:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(scene.server.url(), application_name="hog"))

    def keep() -> None:
        for _ in range(20):
            take()
            end.wait(0.05)
        for session in taken:
            session.close()

    take()
    scene.meanwhile(keep)


def hold_a_lock(scene: Scene, _connection: Connection) -> None:
    """ACCESS EXCLUSIVE on one of the target's tables, or on the ledger, for longer than lock_timeout."""
    admin = scene.admin()
    tables = scene.rng.sample(scene.tables, len(scene.tables))
    tables.insert(scene.rng.choice([0, len(tables)]), scene.rng.choice(LEDGER))
    tables += LEDGER
    admin.execute("SET lock_timeout = 200")
    admin.autocommit = False
    locked = next((t for t in tables if _lock(admin, t)), None)
    scene.notes.append(f"locked {locked}")

    def hold() -> None:
        with admin:
            pause(LONGER_THAN_LOCK_TIMEOUT)

    scene.meanwhile(hold)
    assert locked is not None, "nothing to lock"


def _lock(session: psycopg.Connection, table: str) -> bool:
    try:
        name = sql.Identifier(*table.split("."))
        session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        session.rollback()
        return False
    return True


def fill_disk(scene: Scene, _connection: Connection) -> None:
    disk = scene.lane.small_disk
    assert disk is not None
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)) == 1 << 16:
            pass
    seconds = scene.rng.choice([0.7, 1.5])

    def free() -> None:
        pause(seconds)
        ballast.unlink()

    scene.meanwhile(free)


def change_source(scene: Scene, _connection: Connection) -> None:
    """In the middle of a run. DDL waits for our locks and gives up before it stands in the run's way."""
    assert scene.change is not None
    made = apply(scene.urls["source"], scene.change, patience_ms=400)
    scene.notes.append("changed" if made else "the change was kept out by locks")


def lose_snapshot_and_change_source(scene: Scene, _connection: Connection) -> None:
    """The source restarts, and is another one when the run finds it again."""
    assert scene.change is not None
    proxy = scene.proxies["source"]
    proxy.refuse(60)
    scene.lane.source.stop()
    scene.notes += bring_up(scene.lane.source)
    made = apply(scene.urls["source"], scene.change, patience_ms=5000)
    scene.notes.append("changed" if made else "the change was kept out by locks")
    proxy.refuse(0)


# --- on the side of a source that is not PostgreSQL ----------------------------------------------------------------


def _mariadb(scene: Scene) -> Maria:
    assert isinstance(scene.foreign, Maria)
    return scene.foreign


def kill_sessions(scene: Scene, _connection: Connection) -> None:
    """KILL, of every session of ours: the leader's too."""
    scene.notes.append(f"{_mariadb(scene).kill_clients()} sessions killed")


def kill_source(scene: Scene, _connection: Connection) -> None:
    """kill -9 of mariadbd; it is back at once, or after a while."""
    daemon = _mariadb(scene).daemon
    daemon.kill()
    seconds = scene.rng.choice([0.0, 0.7, 2.0])

    def back() -> None:
        pause(seconds)
        daemon.start()

    scene.meanwhile(back)


def stall_source(scene: Scene, _connection: Connection) -> None:
    """It neither answers nor ends."""
    source = _mariadb(scene)
    source.stop()
    seconds = scene.rng.choice([0.5, 2.5])

    def wake() -> None:
        pause(seconds)
        source.go_on()

    scene.meanwhile(wake)


def kill_relay(scene: Scene, _connection: Connection) -> None:
    found = relays(scene.program.processes())
    scene.notes.append(f"{len(found)} relays killed")
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()


WORKER = "/worker$"
WORKER_PHASES = ("copy", "copy", "copy", "index", "marker", "commit_before", "commit_after")
LINK_PHASES = (*WORKER_PHASES, "copy", "schema", "leader", "resume")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`phases` are where it may strike (more often what is there more often); `anyone`: not only at workers."""

    action: FaultAction = nothing
    fate: Fate = Fate.PASS
    phases: tuple[str, ...] = LINK_PHASES
    everyone: bool = False
    refuse_seconds: float = 0.0


FAULTS: dict[str, Fault] = {
    "backend_terminated": Fault(action=terminate_backend),
    "connection_reset": Fault(fate=Fate.RESET),
    "stall": Fault(fate=Fate.STALL),
    "half_open": Fault(fate=Fate.HALF_OPEN),
    "outage": Fault(fate=Fate.RESET, everyone=True, refuse_seconds=1.0),
    "server_crash": Fault(action=crash_server),
    "server_restart": Fault(action=restart_server),
    "worker_killed": Fault(action=kill_worker, phases=(*WORKER_PHASES, "resume")),
    "worker_stopped": Fault(action=stop_worker, phases=(*WORKER_PHASES, "resume")),
    "out_of_connections": Fault(action=exhaust_connections, fate=Fate.RESET),
    "lock_timeout": Fault(action=hold_a_lock, phases=("copy", "copy", "marker", "commit_after", "resume")),
    "disk_full": Fault(action=fill_disk, phases=("copy", "copy", "marker", "index", "resume")),
    "pause": Fault(action=pause_run, phases=(*WORKER_PHASES, "resume")),
    "pause_freed": Fault(action=pause_run_until_freed, phases=(*WORKER_PHASES, "resume")),
    "copy_cancelled": Fault(action=cancel_statement, phases=("copy", "copy", "copy", "index", "resume")),
    "main_killed": Fault(action=kill_main),
    "stale_worker": Fault(action=leave_a_stale_worker, phases=(*WORKER_PHASES, "resume")),
}

# Those that only a story of the Arrow lane knows. Its changes come between two attempts: the main process is killed.
FOREIGN_FAULTS: dict[str, Fault] = {
    "sessions_killed": Fault(action=kill_sessions),
    "source_killed": Fault(action=kill_source),
    "source_stalled": Fault(action=stall_source),
    "relay_killed": Fault(action=kill_relay),
    **{kind: Fault(action=kill_main) for kind in CHANGES},
}


def fault(kind: str) -> Fault:
    """Of this kind."""
    return FAULTS.get(kind) or FOREIGN_FAULTS[kind]
