"""Metrics of a run for Prometheus: over HTTP while it goes on, and as a file for node_exporter.

Both show the same figures, from one tally of the run's events. Labels are bounded: states, causes and SQLSTATEs, never
tables. Scrapes and the file's writer have threads of their own, which end with the run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from pghaul import __version__
from pghaul.model.errors import OutletError
from pghaul.model.event import EMPTY, Event, EventKind
from pghaul.model.run import Run, RunState
from pghaul.model.text import Text, say
from pghaul.service.totals import Figures, Totals

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

LOOPBACK = "127.0.0.1"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus' text exposition
WRITE_EVERY = 10.0  # seconds between two versions of the file: node_exporter is mostly scraped every 15
SUFFIX = ".prom"  # node_exporter reads no other
WAIT = 5.0  # seconds that a thread gets to end
SILENT = 10.0  # seconds after which a client that asks nothing is let go
# What the engine measures on the servers, by the plan's key: (metric, what it is).
LOADS = {
    "max_source_lag": ("pghaul_replication_lag_seconds", "By how much a replica of the source is behind at most."),
    "max_source_sessions": ("pghaul_source_sessions", "Sessions of others at work on the source."),
    "max_checkpoint_pressure": ("pghaul_target_checkpoints", "Checkpoints requested on the target in the last minute."),
}


class Exposition:
    """A registry of its own with the figures of one run, as Prometheus' text."""

    def __init__(self, run: Run) -> None:
        from prometheus_client.registry import CollectorRegistry  # noqa: PLC0415 -- 0.1 s, only where asked for

        self.totals = Totals(run)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Prometheus' protocol of a collector."""
        with self.totals.lock:
            yield from _families(self.totals.figures)

    def text(self) -> bytes:
        """All of it as it is now."""
        from prometheus_client.exposition import generate_latest  # noqa: PLC0415

        return generate_latest(self._registry)


def _families(figures: Figures) -> list[Metric]:
    return [*_identity(figures), *_counted(figures), *_of_the_run(figures), *_of_the_series(figures)]


def _identity(figures: Figures) -> Iterable[Metric]:
    run = figures.run
    labels = {"run": run.id, "source": run.source, "target": run.target, "version": __version__}
    yield _gauge("pghaul_run_info", "Which run, from where to where.", 1, labels)
    states = {s.value: int(s is figures.state) for s in RunState}
    yield _by("pghaul_run_state", "1 for the state that the run is in.", "state", states)
    yield _gauge("pghaul_run_start_time_seconds", "When the run began.", run.started.timestamp())
    yield _gauge(
        "pghaul_run_attempt", "Which attempt it is: each resume and each new snapshot begins one.", figures.attempt
    )
    if figures.progressed is not None:
        when = figures.progressed.timestamp()
        yield _gauge("pghaul_last_progress_timestamp_seconds", "When something last moved.", when)


def _counted(figures: Figures) -> Iterable[Metric]:
    yield _counter("pghaul_rows", "Rows that this process has committed on the target.", figures.rows)
    yield _counter("pghaul_bytes", "Bytes of COPY that this process has moved.", figures.bytes)
    yield _counted_by("pghaul_retries", "Passing faults after which it was tried again.", "sqlstate", figures.retries)
    yield _counted_by("pghaul_pauses", "Pauses: as asked, for the hours, for a server's load.", "cause", figures.pauses)
    yield _counter("pghaul_paused_seconds", "Seconds of pauses that have ended.", figures.paused_seconds)
    yield _counter("pghaul_warnings", "Warnings.", figures.warnings)


def _of_the_run(figures: Figures) -> Iterable[Metric]:
    progress = figures.progress
    chunks = {s.value: n for s, n in figures.chunks.items()}
    yield _by("pghaul_chunks", "Chunks of the run by state.", "state", chunks)
    single = (
        ("rows", "pghaul_run_rows", "Rows of the run on the target, of all its attempts."),
        ("bytes", "pghaul_run_bytes", "Bytes of the run, of all its attempts, with what is in flight."),
        ("bytes_estimated", "pghaul_run_expected_bytes", "Bytes that the run will have moved, as estimated now."),
        ("rate", "pghaul_rate_bytes_per_second", "Over the last seconds."),
        ("eta", "pghaul_remaining_seconds", "Until its end, as estimated now."),
        ("cpu", "pghaul_cpu_cores", "Processor time taken by pghaul's processes, in cores."),
        ("memory", "pghaul_memory_bytes", "Memory held by pghaul's processes."),
    )
    for key, name, help_text in single:
        if progress.get(key) is not None:
            yield _gauge(name, help_text, progress[key])
    yield _gauge("pghaul_workers_busy", "Jobs in hand.", len(progress.get("workers", ())))
    for key, value in progress.get("load", {}).items():
        yield _gauge(*LOADS[key], value)


def _of_the_series(figures: Figures) -> Iterable[Metric]:
    """What a run by itself does not have."""
    if figures.rounds is None:
        return
    yield _gauge("pghaul_round_interval_seconds", "From one round to the next.", figures.every)
    yield _counted_by("pghaul_rounds", "Rounds of this process, by how they ended.", "state", figures.rounds)
    yield _counter("pghaul_empty_rounds", "Rounds that found nothing to do.", figures.rounds[EMPTY])
    outcomes = "Rows of rounds that have ended, by what became of them."
    yield _counted_by("pghaul_merged_rows", outcomes, "outcome", figures.outcomes)
    if figures.succeeded is not None and figures.read_at is not None:
        when, read = figures.succeeded.timestamp(), figures.read_at.timestamp()
        yield _gauge("pghaul_last_success_timestamp_seconds", "When a round last went well.", when)
        now = time.time()
        yield _gauge("pghaul_since_last_success_seconds", "Seconds since then.", max(0.0, now - when))
        yield _gauge("pghaul_watermark_age_seconds", "By how much the target is behind at most.", max(0.0, now - read))


def _gauge(name: str, help_text: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(name, help_text, labels=list(labels or ()))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _counter(name: str, help_text: str, value: float) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    return CounterMetricFamily(name, help_text, value=value)


def _by(name: str, help_text: str, label: str, values: dict[str, int]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counted_by(name: str, help_text: str, label: str, values: dict[str, int]) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


# --- over HTTP ----------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Clients that say nothing hold their threads for SILENT seconds; others shall get in beside them.
    request_queue_size = 128
    # On Windows it would let two programs answer on one port; elsewhere a port is free again at once.
    allow_reuse_address = os.name == "posix"

    def __init__(self, address: tuple[str, int], exposition: Exposition) -> None:
        self.exposition = exposition
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Scrape)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of the run's business; nor is stderr the place to say so."""


class _Scrape(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENT
    server_version, sys_version = "pghaul", ""

    def do_GET(self) -> None:
        """The figures, under Prometheus' usual path and at the root."""
        found = self.path.partition("?")[0] in {"/", "/metrics"}
        body = self.server.exposition.text() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Nobody wants a line for each scrape."""


class MetricsPort:
    """Answers scrapes as long as the run goes on. OutletError where the port cannot be had."""

    name = "metrics"

    def __init__(self, run: Run, host: str, port: int) -> None:
        self._exposition = Exposition(run)
        place = f"{host}:{port}"
        try:
            self._server = _Server((host, port), self._exposition)
        except (OSError, OverflowError) as exc:
            raise OutletError(
                say("nobody can be answered on the metrics port: {why}", why=_why(exc)),
                where=place,
                advice=say("choose another --metrics-port or --metrics-host, or leave them out"),
                code=6520,
            ) from exc
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Count it."""
        self._exposition.totals.add(event)

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT)


# --- as a file ----------------------------------------------------------------------------------------------------


class MetricsFile:
    """Replaced whole every ten seconds and at the end, so that a reader never sees half of it.

    Readable by all, as node_exporter runs as somebody else; no secret is in it. OutletError where it cannot be written.
    """

    name = "metrics file"

    def __init__(self, run: Run, path: Path) -> None:
        if path.suffix != SUFFIX:
            raise OutletError(
                say("a metrics file has to end in .prom: node_exporter reads no other"), where=str(path), code=6521
            )
        self._path = path
        self._exposition = Exposition(run)
        self._ending = threading.Event()
        self._failed: OSError | None = None
        self._said = False
        try:
            self._write()
        except OSError as exc:
            raise OutletError(
                say("the metrics file cannot be written: {why}", why=_why(exc)),
                where=str(path),
                advice=say("name a folder that exists and that this user may write to"),
                code=6522,
            ) from exc
        self._thread = threading.Thread(target=self._keep_writing, name="metrics file", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Count it."""
        self._exposition.totals.add(event)

    def news(self) -> list[tuple[EventKind, Text]]:
        """A full disk is said once; it is tried again all the same."""
        if self._failed is None or self._said:
            return []
        self._said = True
        words = say("the metrics file cannot be written: {why} ({path})", why=_why(self._failed), path=str(self._path))
        return [(EventKind.WARNING, words)]

    def close(self) -> None:
        """The last figures stay: a failed run is to be seen in the morning."""
        self._ending.set()
        self._thread.join(WAIT)
        self._try()

    def _keep_writing(self) -> None:
        while not self._ending.wait(WRITE_EVERY):
            self._try()

    def _try(self) -> None:
        try:
            self._write()
        except OSError as exc:
            self._failed = exc
        else:
            self._failed, self._said = None, False

    def _write(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # no .prom at its end: not read
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                if hasattr(os, "fchmod"):
                    os.fchmod(descriptor, 0o644)  # whatever the umask
                file.write(self._exposition.text())
            draft.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


def _why(exc: BaseException) -> str:
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
