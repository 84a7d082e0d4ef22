"""The documentation names every command, option, choice, plan key and variable, and none that is not there."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest
from tools import reference

from pghaul.model.event import EventKind
from pghaul.model.plan import Format, Layout, Locks, OnConflict, OnExisting, Recipe, Unit, Verify
from pghaul.service.settings import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
CLI = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
PLAN = (ROOT / "docs/reference/plan.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MODULES = sorted((ROOT / "src").rglob("*.py"))
VARIABLE = re.compile(r"(?:PGHAUL|POSTGRESQL|MIGRATION)_[A-Z][A-Z_]*")


COMMANDS = dict(reference.commands())


def _section(name: str) -> str:
    """The text under a command's heading."""
    found = re.search(rf"^#+ `pghaul {name}`$(.*?)(?=^##+ `|^## |\Z)", CLI, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/reference/cli.md has no section for pghaul {name}"
    return found[1]


@pytest.mark.parametrize("page", ["cli.md", "plan.md", "../types.md"])
def test_tables_of_the_reference_are_as_the_code_makes_them(page: str) -> None:
    """`make reference` mends it."""
    said = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    assert reference.made(said) == said


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_has_a_section_with_its_options_and_words_beside_them(name: str) -> None:
    section = _section(name)
    assert f"<!-- options: {name} -->" in section
    assert re.search(r"\w{4,}", reference.BLOCK.sub("", section))


def test_no_command_is_documented_that_is_not_there() -> None:
    groups = {name.rpartition(" ")[0] for name in COMMANDS}
    assert set(re.findall(r"^#+ `pghaul ([\w -]+)`$", CLI, re.MULTILINE)) - set(COMMANDS) - groups == set()


def test_no_option_is_named_in_prose_that_no_command_has() -> None:
    known = {word for c in COMMANDS.values() for p in c.params for word in (*p.opts, *p.secondary_opts)}
    known |= {"--env-file", "--help", "--version", "--install-completion", "--show-completion"}
    assert set(re.findall(r"`(--[a-z][a-z0-9-]*)", CLI)) - known == set()


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {c for c in COMMANDS if f"pghaul {c.split()[0]}" not in readme} == set()


@pytest.mark.parametrize("section", sorted(reference.SECTIONS))
def test_every_part_of_the_plan_has_its_table(section: str) -> None:
    assert f"<!-- keys: {section} -->" in PLAN


@pytest.mark.parametrize("choices", [OnExisting, Recipe, OnConflict, Verify, Format, Locks, Layout, Unit])
def test_every_choice_of_a_plan_key_is_documented(choices: type[StrEnum]) -> None:
    assert {c.value for c in choices if f'`"{c.value}"`' not in PLAN} == set()


def test_every_event_is_documented() -> None:
    assert {e.value for e in EventKind if f"| `{e.value}` |" not in CLI} == set()


def test_every_environment_variable_is_in_the_register_of_variables() -> None:
    """tools/reference.py makes the table of the page from it."""
    used = {word for path in MODULES for word in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert used - {"MIGRATION_LOCK"} == {v.name for v in VARIABLES}  # a constant of the store
    assert "<!-- variables -->" in CLI


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
