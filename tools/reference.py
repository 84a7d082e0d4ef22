"""The parts of docs/reference that repeat the code are made from it: options, plan keys, variables.

A page is prose with marked blocks; `make reference` fills the blocks in again, and a test compares.

    <!-- options: run -->
    …a table…
    <!-- end -->
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pghaul.cli import merging, options
from pghaul.cli.app import app
from pghaul.cli.options import plan_words
from pghaul.model.plan import Mapping, Merge, Options, Period, Plan, Selection
from pghaul.model.transforming import Transform
from pghaul.service.settings import VARIABLES
from pghaul.sources.protocol import engine_of

FOLDER = Path(__file__).resolve().parents[1] / "docs/reference"
BLOCK = re.compile(r"(<!-- (\w+)(?:: ([\w -]+))? -->\n).*?(<!-- end -->)", re.DOTALL)
PLAN_KEYS = options.PLAN_KEYS | merging.KEYS | {"table": "tables"}
# Where a key is in several, the command line's word is that of the first.
SECTIONS: dict[str, type[BaseModel]] = {
    "top": Plan,
    "options": Options,
    "period": Period,
    "tables": Selection,
    "merge": Merge,
    "mapping": Mapping,
    "transform": Transform,
}
OWN = frozenset(inspect.signature(plan_words).parameters)
LEAD = "run"  # the command whose table holds the words that say what and how


def commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each command that is shown, by its words: ("run", …), ("profile add", …)."""
    top: Any = group or typer.main.get_command(app)
    for name, command in top.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def options_table(name: str) -> str:
    """The options and arguments of a command, as Markdown."""
    command = dict(commands())[name]
    parameters = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    shared = [p for p in parameters if name != LEAD and p.name in OWN and p.param_type_name == "option"]
    many = len(shared) > 8  # a command that takes a plan
    lines = [_row(p) for p in parameters if not (many and p in shared)]
    if many:
        flags = ", ".join(f"`{flag}`" for p in shared for flag in _flags(p))
        lines.append(f"| {flags} | as for [`pghaul {LEAD}`](#pghaul-{LEAD}) | |")
    if not lines:
        return "It takes no options.\n"
    return "| option | meaning | default |\n|---|---|---|\n" + "\n".join(lines) + "\n"


def _row(parameter: Any) -> str:
    said = (parameter.help or "").strip()
    if not said:
        raise SystemExit(f"{parameter.name} has no help")
    key = PLAN_KEYS.get(parameter.name, parameter.name)
    found = (s for s, model in SECTIONS.items() if key in model.model_fields)
    section = "merge" if parameter.name in merging.KEYS else next(found, None)
    if parameter.name in OWN and section and parameter.param_type_name == "option":
        said += f" Plan key: [`{key}`](plan.md#{_anchor(section)})."
    return f"| {_named(parameter)} | {_cell(said)} | {_default(parameter, key, section)} |"


def _named(parameter: Any) -> str:
    metavar = parameter.metavar or _kind(parameter)
    if parameter.param_type_name == "argument":
        return f"`{_cell(metavar or parameter.name.upper())}`"
    first, *others = _flags(parameter)
    kind = parameter.type_descriptor.annotation
    choices = [c.value for c in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
    shown = f"`{first}{' ' + metavar if metavar and not choices else ''}`"
    words = " ".join([shown, ", ".join(f"`{c}`" for c in choices)]).strip()
    return ", ".join([words, *(f"`{o}`" for o in others)])


def _flags(parameter: Any) -> list[str]:
    """The long form first."""
    return sorted([*parameter.opts, *parameter.secondary_opts], key=lambda o: (not o.startswith("--"),))


def _kind(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False) or getattr(parameter, "count", False):
        return ""
    return {int: "N", float: "X"}.get(parameter.type_descriptor.annotation, "WORDS")


def _default(parameter: Any, key: str, section: str | None) -> str:
    value = parameter.default
    if value in (None, "", ()) and section and parameter.name in OWN:
        value = SECTIONS[section].model_fields[key].default
        value = None if value in ([], False) else value
        if isinstance(value, BaseModel) or str(value) == "PydanticUndefined":
            value = None
    value = value.value if isinstance(value, Enum) else value
    if value in (None, "", ()) or isinstance(value, bool) or callable(value):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def keys_table(section: str) -> str:
    """The keys of a part of the plan."""
    lines = [f"| `{name}` | {_type(f)} | {_cell(f.description or '')} | {_toml(f)} |" for name, f in _fields(section)]
    return "| key | value | meaning | default |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"


def _fields(section: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in SECTIONS[section].model_fields.items():
        if not field.description:
            raise SystemExit(f"the plan key {name} has no words")
        yield name, field


def _type(field: FieldInfo) -> str:
    """As TOML has it: the choices of an enum, else the kind."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(a for a in get_args(kind) if a is not type(None))
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f'`"{c.value}"`' for c in kind)
    names = {str: "text", int: "integer", float: "number", bool: "true or false"}
    if get_origin(kind) is list:
        return "list"
    found = names.get(kind) if isinstance(kind, type) else None
    return found or "table"


def _toml(field: FieldInfo) -> str:
    value = field.default.value if isinstance(field.default, Enum) else field.default
    if value is None or isinstance(value, list | BaseModel) or str(value) == "PydanticUndefined":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"{value:g}" if isinstance(value, float) else str(value)


def variables_table(_section: str) -> str:
    """What the environment may say."""
    lines = [f"| `{v.name}` | {_cell(v.meaning)} |" for v in sorted(VARIABLES, key=lambda v: v.name)]
    return "| variable | meaning |\n|---|---|\n" + "\n".join(lines) + "\n"


def types_table(engine: str) -> str:
    """What the types of another kind of database become."""
    lines = [f"| {_cell(n)} | {_cell(t)} | {_cell(note)} |" for n, t, note in engine_of(engine).types()]
    return f"| {engine} | PostgreSQL | |\n|---|---|---|\n" + "\n".join(lines) + "\n"


MAKERS = {"types": types_table, "options": options_table, "keys": keys_table, "variables": variables_table}


def _anchor(section: str) -> str:
    return {"top": "top-level", "merge": "tablesmerge", "transform": "tablestransform"}.get(section, section)


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


def made(page: str) -> str:
    """A page with its blocks filled in again."""
    return BLOCK.sub(lambda m: f"{m[1]}{MAKERS[m[2]](m[3] or '')}{m[4]}" if m[2] in MAKERS else m[0], page)


def main() -> int:
    """Write the pages anew; with --check, say which are not as they should be."""
    stale = []
    for path in [*sorted(FOLDER.glob("*.md")), FOLDER.parent / "types.md"]:
        said = path.read_text(encoding="utf-8")
        if (now := made(said)) != said:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(now, encoding="utf-8", newline="\n")
    sys.stdout.write("".join(f"{name}\n" for name in stale))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
