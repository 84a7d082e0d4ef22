"""What `pghaul run` asks the catalogues before a first row; a process of its own, timed from inside.

    python -m benchmarks.plan_catalogue URL PATTERN

Prints {"seconds": …, "tables": …, "chunks": …}.
"""

from __future__ import annotations

import json
import sys
import time

from pghaul.postgres import catalog, dsn
from pghaul.postgres.session import connect
from pghaul.sources.postgresql import plan_chunks


def main() -> None:
    """Connect, select, describe, plan."""
    url, pattern = sys.argv[1:]
    started = time.monotonic()
    with connect(dsn.resolve(url), application_name="pghaul/bench", role="source") as session:
        tables = catalog.describe(session, catalog.select(session, [pattern]))
        capabilities = session.server.capabilities
        chunks = plan_chunks(tables.values(), split_bytes=1 << 30, capabilities=capabilities)
    seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "tables": len(tables), "chunks": len(chunks)}))


if __name__ == "__main__":
    main()
