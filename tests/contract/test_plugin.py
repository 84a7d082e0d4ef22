"""A source that somebody else has written: installed as a package, found by its entry point, read like ours."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from pghaul.model.errors import NotFoundError, SnapshotLostError, StoppedError, UsageError
from pghaul.model.foreign import KeyRange, ReadColumn, Reading
from pghaul.sources.protocol import engine_of

PLUGIN = Path(__file__).parent / "plugin"
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target"]
COLUMNS = tuple(ReadColumn(name=n, native=n, pg_type=t) for n, t in (("number", "bigint"), ("line", "text")))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By pip, into a folder of its own, without a network."""
    wheel, target = _wheel(tmp_path_factory.mktemp("wheel")), tmp_path_factory.mktemp("installed")
    if find_spec("pip") is None:  # what it would do
        zipfile.ZipFile(wheel).extractall(target)
        return target
    done = subprocess.run([*PIP, str(target), str(wheel)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def _wheel(folder: Path) -> Path:
    """As `python -m build` would make it of the plugin, which needs a network."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    entries = [f"[{group}]\n{k} = {v}\n" for group, e in project["entry-points"].items() for k, v in e.items()]
    notes = {
        "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "".join(entries),
        "RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(PLUGIN / "pghaul_lines.py", "pghaul_lines.py")
        for name, text in notes.items():
            wheel.writestr(f"{stem}.dist-info/{name}", text)
    return path


def test_an_engine_of_an_outside_package_is_found_and_read(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="lines://"):
        engine_of("lines")
    monkeypatch.syspath_prepend(installed)
    engine = engine_of("lines")
    file = tmp_path / "poem.txt"
    file.write_text("".join(f"line {n}\n" for n in range(1, 101)), encoding="utf-8")
    endpoint = engine.endpoint(f"lines://{file}", {}, None)
    assert engine.endpoint(endpoint.display, {}, None) == endpoint
    with engine.open(endpoint) as source:
        (table,) = source.database().tables
        assert [c.pg_type for c in table.columns] == ["bigint", "text"]
        assert source.bounds(table.name, "number") == (1, 100)
        reading = Reading(table=table.name, columns=COLUMNS, batch_rows=30)
        assert [b.num_rows for b in source.read(reading)] == [30, 30, 30, 10]
        part = KeyRange(column="number", low=99, high=None)
        (batch,) = source.read(Reading(table=table.name, columns=COLUMNS, range=part))
        assert batch.to_pylist() == [{"number": 99, "line": "line 99"}, {"number": 100, "line": "line 100"}]
        token = source.hold()
        file.write_text("another\n", encoding="utf-8")
        with pytest.raises(SnapshotLostError):
            source.join(token)
        source.cancel()
        with pytest.raises(StoppedError):
            list(source.read(reading))
    with pytest.raises(NotFoundError):
        engine.open(engine.endpoint("lines:///nowhere", {}, None))
    sys.modules.pop("pghaul_lines", None)
