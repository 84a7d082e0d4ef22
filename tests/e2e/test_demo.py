"""The demonstration, as `make demo` runs it, with fewer rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.components import need


def test_the_demo_survives_its_own_kills_and_leaves_nothing_behind(tmp_path: Path) -> None:
    need("PostgreSQL 16")
    need("PostgreSQL 18")
    mark = f"sqlite:///{(tmp_path / 'state.db').as_posix()}"
    environment = os.environ | {"PGHAUL_STATE": mark, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pghaul", "demo", "--rows", "300000"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed" in (done.stdout + done.stderr).lower()
    ours = [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("TMPDIR") == str(tmp_path)]
    assert ours == []
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("pghaul")] == []
