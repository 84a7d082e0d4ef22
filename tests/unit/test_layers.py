"""What an import brings along. import-linter sees the statements; only a fresh interpreter sees what is loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"structlog", "sqlalchemy", "alembic", "psycopg", "typer", "rich", "pyarrow", "tomlkit", "tenacity", "sqlglot"}
LIST_MODULES = "import json, sys, {module}; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"


def loaded_by(module: str) -> set[str]:
    """Top-level packages in a fresh interpreter after one import."""
    command = [sys.executable, "-c", LIST_MODULES.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_a_worker_loads_nothing_heavy() -> None:
    loaded = loaded_by("pghaul.engine.worker")
    assert "asyncpg" in loaded
    assert loaded & HEAVY == set()


def test_a_spawned_worker_s_main_module_loads_no_face() -> None:
    assert loaded_by("pghaul.__main__") & (HEAVY | {"asyncpg", "pydantic"}) == set()


def test_the_model_loads_no_driver() -> None:
    loaded = loaded_by("pghaul.model.plan, pghaul.model.event, pghaul.model.receipt")
    assert loaded & (HEAVY | {"asyncpg"}) == set()


@pytest.mark.parametrize("absent", ["sqlalchemy", "alembic", "asyncpg", "pyarrow", "tomlkit"])
def test_the_command_line_s_options_need_neither_store_nor_engine(absent: str) -> None:
    assert absent not in loaded_by("pghaul.cli.options, pghaul.cli.render")


@pytest.mark.parametrize("absent", ["cryptography", "keyring", "tomlkit", "sqlalchemy"])
def test_what_guards_passwords_is_loaded_by_those_who_keep_one_only(absent: str) -> None:
    assert absent not in loaded_by("pghaul.cli.app, pghaul.service.profiles")
