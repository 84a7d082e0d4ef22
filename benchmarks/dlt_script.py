"""dlt's side of the merges: `python dlt_script.py` in the peers' own environment, with what served it best.

Once: one process loads what has changed and ends. As a loop (`--loop`): one process that loads whenever it is told by
a line on its standard input, and answers each with a line, so that neither its start nor its imports are in a round.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import dlt  # type: ignore[import-not-found, unused-ignore]
from dlt.common import pendulum  # type: ignore[import-not-found, unused-ignore]
from dlt.sources.sql_database import sql_table  # type: ignore[import-not-found, unused-ignore]

CHUNK = 100_000  # rows of one arrow table, by pyarrow; connectorx reads all into one


def main() -> None:
    """One load, or one for each line."""
    words = _arguments()
    if not words.loop:
        load(words)
        return
    for _ in sys.stdin:
        load(words)
        print("done", flush=True)


def load(words: argparse.Namespace) -> None:
    """Extract, normalize, load: what is new by the cursor since dlt's own state."""
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=words.state,
        destination=dlt.destinations.postgres(words.to_url),
        dataset_name="public",
    )
    pipeline.run(_table(words), loader_file_format=words.format).raise_on_failed_jobs()


def _table(words: argparse.Namespace) -> Any:
    # An open range: no row is read twice, and none has to be told from its like.
    cursor = dlt.sources.incremental(words.cursor, initial_value=pendulum.parse(words.since), range_start="open")
    return sql_table(
        credentials=words.from_url.replace("postgresql://", "postgresql+psycopg2://"),
        table=words.table,
        incremental=cursor,
        chunk_size=CHUNK,
        backend=words.backend,
        backend_kwargs={"conn": words.from_url} if words.backend == "connectorx" else None,
        reflection_level="full_with_precision",
        primary_key=words.key,
        write_disposition={"disposition": "merge", "strategy": words.strategy},
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("from_url", "to_url", "table", "key", "cursor", "since", "state"):
        parser.add_argument(name)
    parser.add_argument("--backend", default="connectorx", choices=("pyarrow", "connectorx", "sqlalchemy"))
    parser.add_argument("--strategy", default="upsert", choices=("upsert", "delete-insert"))
    parser.add_argument("--format", default="parquet", choices=("csv", "parquet", "insert_values"))
    parser.add_argument("--loop", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
