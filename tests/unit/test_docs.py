"""The documentation names every command, option, choice, plan key and variable, and none that is not there."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pghaul.cli.app import app
from pghaul.model.event import EventKind
from pghaul.model.plan import (
    Format,
    Layout,
    Locks,
    OnConflict,
    OnExisting,
    Options,
    Period,
    Plan,
    Recipe,
    Selection,
    Unit,
    Verify,
)

ROOT = Path(__file__).resolve().parents[2]
CLI = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
PLAN = (ROOT / "docs/reference/plan.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MODULES = sorted((ROOT / "src").rglob("*.py"))
VARIABLE = re.compile(r"PGHAUL_[A-Z][A-Z_]*")


def _commands() -> dict[str, Any]:
    """Click's commands, or those of the copy of click that newer Typers carry."""
    group: Any = typer.main.get_command(app)
    return {name: command for name, command in group.commands.items() if not command.hidden}


def _section(name: str) -> str:
    """The text under a command's heading."""
    found = re.search(rf"^## `pghaul {name}`$(.*?)(?=^## |\Z)", CLI, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/reference/cli.md has no section for pghaul {name}"
    return found[1]


def _options(command: Any) -> set[str]:
    """Long and short forms, and both of a pair such as --create/--no-create."""
    words: set[str] = set()
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden and parameter.name != "help":
            words |= {*parameter.opts, *parameter.secondary_opts}
    return words


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_option_of_a_command_is_documented(name: str) -> None:
    section = _section(name)
    missing = {o for o in _options(_commands()[name]) if not re.search(rf"`{o}\b", section)}
    assert missing == set()


@pytest.mark.parametrize("name", sorted(_commands()))
def test_no_option_is_documented_that_a_command_does_not_have(name: str) -> None:
    documented = set(re.findall(r"`(--[a-z-]+)", _section(name)))
    command = _commands()[name]
    known = {word for p in command.params for word in (*p.opts, *p.secondary_opts)}
    assert documented - known == set()


def test_no_command_is_documented_that_is_not_there() -> None:
    assert set(re.findall(r"^## `pghaul (\w+)`$", CLI, re.MULTILINE)) == set(_commands())


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {c for c in _commands() if f"pghaul {c}" not in readme} == set()


@pytest.mark.parametrize("model", [Plan, Selection, Period, Options])
def test_every_plan_key_is_documented(model: type[Plan | Selection | Period | Options]) -> None:
    assert {k for k in model.model_fields if f"| `{k}` |" not in PLAN} == set()


def test_no_plan_key_is_documented_that_is_not_there() -> None:
    known = {k for model in (Plan, Selection, Period, Options) for k in model.model_fields}
    assert set(re.findall(r"^\| `(\w+)` \|", PLAN, re.MULTILINE)) - known == set()


@pytest.mark.parametrize("choices", [OnExisting, Recipe, OnConflict, Verify, Format, Locks, Layout, Unit])
def test_every_choice_of_a_plan_key_is_documented(choices: type[StrEnum]) -> None:
    assert {c.value for c in choices if f'`"{c.value}"`' not in PLAN} == set()


@pytest.mark.parametrize("choices", [OnExisting, Recipe, OnConflict, Verify, Format, Locks])
def test_every_choice_of_an_option_is_documented(choices: type[StrEnum]) -> None:
    assert {c.value for c in choices if f"`{c.value}`" not in _section("run")} == set()


def test_every_default_of_a_plan_option_is_documented() -> None:
    """A page that says 2 where the program takes 4 is worse than none."""
    wrong = {}
    for name, field in Options.model_fields.items():
        line = next(li for li in PLAN.splitlines() if li.startswith(f"| `{name}` |") and li.count(" | ") == 2)
        said = line.rstrip(" |").rpartition(" | ")[2] if not line.endswith("| |") else ""
        if said != _toml(field.default):
            wrong[name] = said
    assert wrong == {}


def _toml(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return f'`"{value}"`'
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_event_is_documented() -> None:
    assert {e.value for e in EventKind if f"| `{e.value}` |" not in CLI} == set()


def test_every_environment_variable_is_documented() -> None:
    used = {word for path in MODULES for word in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert used
    assert {v for v in used if f"`{v}`" not in CLI} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_pages_named_in_the_architecture_are_there() -> None:
    """Modules are renamed; the page that leads to them must follow."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:model|postgres|sources|target|engine|store|service|cli)/\w*(?:\.py)?)`", text))
    assert named
    assert {n for n in named if not (ROOT / "src/pghaul" / n).exists()} == set()
