"""Pictures for docs/images: the tour of a new user, played on two servers of its own, and photographed.

    python -m tools.screens [FOLDER]

This machine is made neutral in the pictures: hosts, user, name and folders. Hosts are replaced by words of the same
length, so that columns keep their places.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from pghaul.service.embedded import Cluster, free_port
from pghaul.service.report.data import SEAL, seal
from tools.reference import commands
from tools.terminal import Screen, picture, play

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
RUN = "5eb0d1c9a274"
PASSWORD = "for the tour only"  # noqa: S105 -- its servers live for a minute and trust everybody
HOSTS = {"old": ("127.0.0.11", "old.example:5432"), "new": ("127.0.0.12", "new.example:5432")}
USER, MACHINE, HOME = "reader", "desk.example", "/home/reader"
KERNEL, SYSTEM, PROGRAMS = "6.12.0", "Linux-6.12.0-x86_64-with-glibc2.36", "/usr/lib/postgresql/18/bin"
NEUTRAL = f"""import platform, socket
def _said(words):
    return lambda *_, **__: words
platform.node = socket.gethostname = _said({MACHINE!r})
platform.release, platform.platform = _said({KERNEL!r}), _said({SYSTEM!r})
"""
KILL_AT = 9  # leaves that are committed
TABLES = "public.*"
SOURCE_SQL = """
CREATE ROLE reader LOGIN PASSWORD 'x'; CREATE ROLE auditor;
CREATE TABLE public.point (path_id int8 PRIMARY KEY, path text NOT NULL UNIQUE, unit text, note text);
INSERT INTO public.point
SELECT i, format('plant/line-%s/sensor-%s', i % 12, i), (ARRAY['°C', 'bar', 'm³/h', 'kW'])[1 + i % 4], NULL
FROM generate_series(1, 20000) AS i;
CREATE TABLE public.point_history (
    path_id int8 NOT NULL, issued_date int8 NOT NULL, changed_value varchar(100), connection_status bool,
    PRIMARY KEY (path_id, issued_date)
) PARTITION BY RANGE (issued_date);
CREATE TABLE public.alarm (
    id bigserial PRIMARY KEY, path_id int8 NOT NULL REFERENCES public.point, raised timestamptz NOT NULL, text text
);
INSERT INTO public.alarm (path_id, raised, text)
SELECT 1 + i % 20000, timestamptz '2026-03-01 00:00+09' + i * interval '13 seconds', 'value out of range'
FROM generate_series(1, 150000) AS i;
CREATE VIEW public.open_alarm AS SELECT * FROM public.alarm WHERE raised > now() - interval '1 day';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader, auditor;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader;
"""
LEAF_SQL = """
CREATE TABLE public.{leaf} PARTITION OF public.point_history FOR VALUES FROM ({first}) TO ({end});
INSERT INTO public.point_history
SELECT 1 + i %% 500, {first} + i / 500 * 1080000, round((random() * 1000)::numeric, 3)::text, i %% 97 <> 0
FROM generate_series(0, 39999) AS i;
"""
TARGET_SQL = "CREATE ROLE loader LOGIN; ALTER DATABASE plant OWNER TO loader"
DAMAGE_SQL = """
SET session_replication_role = replica;
UPDATE public.point SET unit = 'K' WHERE path_id = 4711;
DELETE FROM public.alarm WHERE id = 99;
INSERT INTO public.alarm VALUES (900001, 1, '2026-03-09 12:00+09', 'test, please ignore')
"""
FIRST_DAY, DAY = 1_772_290_800_000, 86_400_000  # 2026-03-01 in Seoul, in milliseconds
DAYS = 30
COMMITTED = "SELECT count(*) FROM pghaul.chunk_marker WHERE finished_at IS NOT NULL"


@dataclass(kw_only=True)
class Tour:
    """Two servers, a home of its own, and what has been photographed."""

    folder: Path
    images: Path
    servers: dict[str, Cluster]
    environment: dict[str, str]
    known: set[str] = field(default_factory=lambda: {name for name, _ in commands()})

    def url(self, name: str, user: str = "postgres") -> str:
        """Over the address that stands for this host."""
        return f"postgresql://{user}@{HOSTS[name][0]}:{self.servers[name].port}/plant"

    def run(self, words: str, *, language: str = "", **options: Any) -> tuple[str, str]:
        """A pghaul command, as it is typed, and what it wrote; both made neutral."""
        env = self.environment | ({"PGHAUL_LANG": language} if language else {})
        command = [sys.executable, "-m", "pghaul", *_split(self._real(words))]
        shown = play(command, env=env, folder=self.folder / "home", **options)
        return f"{f'PGHAUL_LANG={language} ' if language else ''}pghaul {words}", self.neutral(shown.text)

    def take(self, name: str, *parts: tuple[str, str]) -> None:
        """One picture."""
        (self.images / f"{name}.svg").write_text(picture(parts, f"pghaul {name}"), encoding="utf-8")
        sys.stdout.write(f"{name}.svg\n")

    def can(self, command: str) -> bool:
        """Commands that are not there yet are left out."""
        return command in self.known

    def neutral(self, text: str) -> str:
        """Without this machine in it."""
        for name, (address, words) in HOSTS.items():
            text = text.replace(f"{address}:{self.servers[name].port}", words)
        text = text.replace(str(self.servers["new"].programs), PROGRAMS)
        return text.replace(str(self.folder / "home"), HOME).replace(str(self.folder), "/tmp/tour")  # noqa: S108

    def _real(self, words: str) -> str:
        for name, (address, shown) in HOSTS.items():
            words = words.replace(shown, f"{address}:{self.servers[name].port}")
        return words


def main(images: Path) -> None:
    """All pictures, in the order of the tour."""
    images.mkdir(parents=True, exist_ok=True)
    with _stage(images) as tour:
        _build(tour)
        _look(tour)
        _move(tour)
        _prove(tour)
        _page(tour)


# --- the tour ---------------------------------------------------------------------------------------------------------


def _look(tour: Tour) -> None:
    tour.take("welcome", tour.run(""))
    ends = {n: f"postgresql://{u}@{HOSTS[n][1]}/plant" for n, u in (("old", "reader"), ("new", "loader"))}
    if tour.can("profile add"):
        added = [tour.run(f"profile add {n} {url} --password", answer=PASSWORD) for n, url in ends.items()]
        tour.take("profile", *added, tour.run("profile test old"), tour.run("profile list"))
        ends = {"old": "old", "new": "new"}
    if tour.can("doctor"):
        tour.take("doctor", tour.run("doctor"))
    tour.take("inspect", tour.run(f"inspect {ends['old']} --timezone Asia/Seoul"))
    words = f"plan --from {ends['old']} --to {ends['new']} --table '{TABLES}' --verify checksum -o plan.toml"
    tour.take("plan", tour.run(words))
    if tour.can("check"):
        tour.take("check", tour.run("check plan.toml --phase before"))


def _move(tour: Tour) -> None:
    """`kill -9` from outside, when some leaves are there."""

    def kill(_screen: Screen, process: subprocess.Popen[bytes]) -> None:
        if _committed(tour) >= KILL_AT and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)

    command, written = tour.run(f"run plan.toml --run-id {RUN} --max-rate 6MB/s", look=kill)
    tour.take("run", (command, f"{written}\nKilled"), tour.run(f"status {RUN}"))
    tour.take("resume", tour.run(f"resume {RUN}"))


def _prove(tour: Tour) -> None:
    if tour.can("verify"):
        tour.take("verify", tour.run(f"verify {RUN}"))
        with psycopg.connect(tour.url("new"), autocommit=True) as session:
            session.execute(DAMAGE_SQL.encode())
        tour.take("difference", tour.run(f"verify {RUN}"))
    if tour.can("logs"):
        tour.take("logs", tour.run(f"logs {RUN}"))
    tour.take("report", tour.run(f"report {RUN}"))
    tour.take("korean", tour.run(f"report {RUN}", language="ko"))


def _page(tour: Tour) -> None:
    """The page and its data, neutral both, with the hash of what it says then."""
    home = tour.folder / "home"
    for name in ("report.html", "report.json"):
        tour.run(f"report {RUN} -o {name}")
    data = json.loads((home / "report.json").read_text(encoding="utf-8"))
    neutral = json.loads(tour.neutral(json.dumps(data, ensure_ascii=False)))
    neutral[SEAL] = seal(neutral)
    page = tour.neutral((home / "report.html").read_text(encoding="utf-8")).replace(data[SEAL], neutral[SEAL])
    (tour.images / "report.html").write_text(page, encoding="utf-8")
    (tour.images / "report.json").write_text(json.dumps(neutral, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write("report.html\nreport.json\n")


# --- its stage --------------------------------------------------------------------------------------------------------


@contextmanager
def _stage(images: Path) -> Iterator[Tour]:
    folder = Path(tempfile.mkdtemp(prefix="pghaul-tour-"))
    home = folder / "home"
    home.mkdir()
    # Both machine and user are asked of Python: answered here for every process of the tour.
    (folder / "sitecustomize.py").write_text(NEUTRAL)
    servers = {
        name: Cluster(
            programs=Cluster.bundled(version, folder / name).programs,
            data=folder / name,
            port=free_port(),
            settings={"listen_addresses": f"127.0.0.1,{HOSTS[name][0]}"},
        )
        for name, version in (("old", 16), ("new", 18))
    }
    try:
        for cluster in servers.values():
            cluster.create().start()
        yield Tour(folder=folder, images=images, servers=servers, environment=_environment(folder, servers["new"]))
    finally:
        for cluster in servers.values():
            cluster.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, newest: Cluster) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}}
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    return kept | {
        "HOME": str(folder / "home"),
        "LOGNAME": USER,
        "USER": USER,
        "TZ": "Asia/Seoul",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "PGHAUL_LANG": os.environ.get("PGHAUL_LANG", "en"),
        "PGHAUL_PG_BIN": str(newest.programs),
        "PYTHONPATH": path,
        "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    }


def _build(tour: Tour) -> None:
    for name, script in (("old", SOURCE_SQL), ("new", TARGET_SQL)):
        with psycopg.connect(tour.servers[name].url(), autocommit=True) as session:
            session.execute("CREATE DATABASE plant")
        with psycopg.connect(tour.url(name), autocommit=True) as session:
            session.execute(script.encode())
    with psycopg.connect(tour.url("old"), autocommit=True) as session:
        for day in range(DAYS):
            first = FIRST_DAY + day * DAY
            leaf = f"point_history_202603{day + 1:02}"
            session.execute(LEAF_SQL.format(leaf=leaf, first=first, end=first + DAY).replace("%%", "%").encode())
        session.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        session.execute("VACUUM ANALYZE")


def _committed(tour: Tour) -> int:
    with psycopg.connect(tour.url("new"), autocommit=True) as session:
        there = session.execute("SELECT to_regclass('pghaul.chunk_marker') IS NOT NULL").fetchone()
        found = session.execute(COMMITTED).fetchone() if there and there[0] else None
    return int(found[0]) if found else 0


def _split(words: str) -> Sequence[str]:
    """As a shell would, for the little that is typed here."""
    return [part.strip("'") for part in re.findall(r"'[^']*'|\S+", words)]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
