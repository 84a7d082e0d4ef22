"""Servers of all versions, and the table of what came of each pair. Collected by `make matrix` only: it takes minutes.

PGHAUL_MATRIX    the file that gets the table as JSON; without it nothing here is collected
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pghaul.service.embedded import Cluster
from tests.components import missing
from tests.conftest import SETTINGS
from tests.servers import ServerMissingError, running

Servers: TypeAlias = Callable[[int], Cluster]

REPORT = os.environ.get("PGHAUL_MATRIX")
collect_ignore_glob = [] if REPORT else ["test_*"]
HEADER = ("what", "tables", "rows", "seconds", "result")

_lines: dict[str, dict[str, Any]] = {}


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """By major version; each is started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[int, Cluster] = {}

        def server(version: int) -> Cluster:
            if version not in started:
                try:
                    started[version] = stack.enter_context(running(version, **SETTINGS))
                except ServerMissingError as exc:
                    missing(f"PostgreSQL {version}: {exc}")
            return started[version]

        yield server


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """With several processes too, the one that prints hears every report."""
    line = _lines.setdefault(report.nodeid, {"result": "passed"})
    line |= dict(report.user_properties)
    if report.outcome != "passed":
        line["result"] = report.outcome
        line["why"] = str(report.longrepr)[-2000:]
    elif report.when == "call":
        line.setdefault("seconds", round(report.duration, 1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a pair."""
    lines = [{"what": nodeid.rpartition("::")[2], **line} for nodeid, line in sorted(_lines.items())]
    if not REPORT or not lines:
        return
    Path(REPORT).parent.mkdir(parents=True, exist_ok=True)
    Path(REPORT).write_text(json.dumps(lines, indent=1))
    terminalreporter.section(f"versions ({REPORT})")
    for line in [dict(zip(HEADER, HEADER, strict=True)), *lines]:
        terminalreporter.write_line("{:64} {:>7} {:>8} {:>8}  {}".format(*(str(line.get(h, "")) for h in HEADER)))
