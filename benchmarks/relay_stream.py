"""One table over one relay, as a worker does it; a process of its own, timed from inside.

    python -m benchmarks.relay_stream FROM TO TABLE

Prints {"rows", "wall_s", "cpu_s"}, from before the connections are opened until after they are closed. The
interpreter's start is not in them: a worker of a run starts once, and then relays thousands of chunks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial

from pghaul.engine.control import Control
from pghaul.engine.pace import Pace
from pghaul.engine.relay import Relayed, relay
from pghaul.engine.watch import Pulse
from pghaul.model.profile import Endpoint
from pghaul.postgres.dsn import resolve
from pghaul.postgres.relay_connection import open_connection


async def stream(source_endpoint: Endpoint, target_endpoint: Endpoint, table: str) -> Relayed:
    """Binary, as the engine chooses for such columns; the servers' default settings on both sides."""
    opened = partial(open_connection, application_name="pghaul/bench", settings=())
    source, target = await opened(source_endpoint), await opened(target_endpoint)
    try:
        read = partial(source.copy_from_table, table, schema_name="public", format="binary")
        write = partial(target.copy_to_table, table, schema_name="public", format="binary")
        control, pulse = Control(1), Pulse()
        with Pace(control, pulse) as pace:
            return await relay(
                lambda sink: read(output=sink),
                lambda rows: write(source=rows),
                on_bytes=control.set_bytes,
                where=table,
                between=pace.between,
            )
    finally:
        await source.close()
        await target.close()


def main() -> None:
    """Time one stream."""
    source, target, table = sys.argv[1:]
    endpoints = resolve(source), resolve(target)  # imports psycopg, which no worker ever does
    wall, cpu = time.monotonic(), time.process_time()
    relayed = asyncio.run(stream(*endpoints, table))
    used = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
    print(json.dumps({"rows": relayed.rows, **used}))


if __name__ == "__main__":
    main()
