"""Sources: memory stays the same however much is read, and rows may have as many columns as there can be."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from tests.contract.case import WIDE, Place, rows_of, whole

from pghaul.sources.protocol import Source

MOST = 250 << 20  # bytes: peak of a process that streams, with everything that it imports
STREAM = r"""
import pathlib, pickle, re, resource, sys
from pghaul.sources.protocol import engine_of
endpoint, reading = pickle.load(sys.stdin.buffer)
rows = size = 0
with engine_of(endpoint.engine).open(endpoint) as source:
    for batch in source.read(reading):
        rows, size = rows + batch.num_rows, size + batch.nbytes
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
status = pathlib.Path("/proc/self/status")
if status.exists():  # there the other number begins with that of the process that has started this one
    peak = int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) * 1024
print(rows, size, peak)
"""


def test_memory_is_constant(place: Place) -> None:
    """200 MB pass through a process of their own."""
    if not place.sizes:
        pytest.skip("another place of this engine is measured")
    done = subprocess.run(
        [sys.executable, "-c", STREAM],
        input=pickle.dumps((place.endpoint, place.fat())),
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    rows, size, peak = map(int, done.stdout.split())
    assert rows >= 20_000
    assert size >= 200 << 20
    assert peak < MOST


def test_a_row_may_have_as_many_columns_as_there_can_be(place: Place, source: Source) -> None:
    if not place.sizes:
        pytest.skip("another place of this engine is measured")
    table = place.table(WIDE)
    assert len(table.columns) == place.widest
    assert rows_of(source, whole(table)) == [tuple(i % 100 for i in range(place.widest))]
