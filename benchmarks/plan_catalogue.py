"""What `pghaul run` asks the catalogues before a first row; a process of its own, timed from inside.

    python -m benchmarks.plan_catalogue URL PATTERN

Prints {"seconds": …, "tables": …, "chunks": …}.
"""

from __future__ import annotations

import json
import sys
import time

from pghaul.engine import mapping, scene
from pghaul.model.plan import Plan, Selection
from pghaul.postgres import dsn
from pghaul.postgres.session import connect
from pghaul.sources.postgresql import plan_chunks


def main() -> None:
    """Connect, select, describe, plan."""
    url, pattern = sys.argv[1:]
    started = time.monotonic()
    plan = Plan(source=url, target=url, tables=[Selection(name=pattern)])
    with connect(dsn.resolve(url), application_name="pghaul/bench", role="source") as session:
        _, tables, conditions = scene.selection(session, plan)
        placements = mapping.place(plan, tables, conditions)
        chunks = plan_chunks(placements, tables, split_bytes=1 << 30, capabilities=session.server.capabilities)
    seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "tables": len(tables), "chunks": len(chunks)}))


if __name__ == "__main__":
    main()
