"""Plan files: TOML in, TOML out. A typo is named with the line it stands on and the key that was meant."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, ValidationError

from pghaul.model.errors import PlanError
from pghaul.model.plan import Mapping as SourceMapping
from pghaul.model.plan import Merge, Options, Period, Plan, Selection
from pghaul.model.profile import profile_name
from pghaul.model.text import Text, joined, say
from pghaul.model.transforming import Transform
from pghaul.postgres.dsn import resolve
from pghaul.service.complaints import problem
from pghaul.service.endpoint_url import storable_url
from pghaul.service.notify_targets import storable_options
from pghaul.service.reaching import foreign_scheme

SCHEMA_FILE = "pghaul-plan.schema.json"
SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}\n"  # how Taplo, Tombi and other editors' servers find it
HEADER = "A plan of pghaul. Run it with: pghaul run {name}"
PLACES: dict[str, type[BaseModel]] = {
    "": Plan,
    "mapping": SourceMapping,
    "options": Options,
    "tables": Selection,
    "period": Period,
    "merge": Merge,
    "transform": Transform,
}
WRITTEN_AS = {
    "options": "[options]",
    "tables": "[[tables]]",
    "period": "[period]",
    "mapping": "[mapping]",
    "merge": "[tables.merge]",
    "transform": "[[tables.transform]]",
}
EXAMPLE = 'source = "postgresql://user@host/database", target = "…", and [[tables]] name = "public.payment"'

TOP = say("the top of the file")


def read_plan(path: Path, *, source: str | None = None, target: str | None = None) -> Plan:
    """The plan in a file; `source` and `target` take the place of what it says. PlanError names file and line."""
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise PlanError(say("this is not TOML: {error}", error=str(exc)), where=str(path), code=1148) from exc
    document |= {k: v for k, v in (("source", source), ("target", target)) if v}
    try:
        return _at_home(Plan.model_validate(document), path.absolute().parent)
    except ValidationError as exc:
        problems = [_problem(dict(error), text) for error in exc.errors(include_url=False)]
        raise PlanError(
            say("its words do not fit: {problems}", problems=joined("; ", problems)),
            where=str(path),
            advice=_advice(exc),
            code=1149,
        ) from None


def _at_home(plan: Plan, folder: Path) -> Plan:
    """Files that the plan names lie beside it; whoever resumes the run may stand elsewhere."""
    tables = [
        s.model_copy(update={"transform": [t.within(folder) for t in s.transform]}) if s.transform else s
        for s in plan.tables
    ]
    return plan.model_copy(update={"tables": tables})


def write_plan(plan: Plan, path: Path) -> None:
    """Only its owner may read it, and no password stands in it, whatever the plan's URLs hold."""
    kept = plan.model_copy(update={"source": without_password(plan.source), "target": without_password(plan.target)})
    _write_private(path, SCHEMA_LINE + plan_text(kept, HEADER.format(name=path.name)))


def plan_text(plan: Plan, comment: str = "") -> str:
    """The plan as TOML, as it is: what a caller shows of it must hold no password."""
    document = tomlkit.document()
    if comment:
        document.add(tomlkit.comment(comment))
    document.add("source", tomlkit.item(plan.source))
    document.add("target", tomlkit.item(plan.target))
    for key, value in (("exclude", plan.exclude), ("whole", plan.whole)):
        if value:
            document.add(key, tomlkit.item(value))
    for key, part in (("period", plan.period), ("mapping", plan.mapping), ("options", storable_options(plan.options))):
        said = part.model_dump(mode="json", exclude_defaults=True) if part else {}
        if said:
            document.add(key, tomlkit.item(said))
    tables = tomlkit.aot()
    for selection in plan.tables:
        tables.append(tomlkit.item(selection.model_dump(mode="json", exclude_defaults=True)))
    if plan.tables:
        document.add("tables", tables)
    return tomlkit.dumps(document)


def plan_schema() -> dict[str, Any]:
    """The JSON schema, for editors."""
    return Plan.model_json_schema()


def write_schema(folder: Path) -> Path | None:
    """The schema beside the plans that name it; None where there is one of this version already."""
    path, text = folder / SCHEMA_FILE, json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return None
    _write_private(path, text)
    return path


def without_password(url: str) -> str:
    """The same place, without its secrets; a profile's name is one already."""
    if name := profile_name(url):
        return name
    if scheme := foreign_scheme(url):
        from pghaul.sources.protocol import engine_of  # noqa: PLC0415 -- few plans read other databases

        return engine_of(scheme).endpoint(url, os.environ, None).display
    return storable_url(resolve(url))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PlanError(
            say("there is no such plan file"),
            where=str(path),
            advice=say("`pghaul plan --output {name}` writes one", name=path.name),
            code=1150,
        ) from None
    except UnicodeDecodeError as exc:
        raise PlanError(say("a plan file is written in UTF-8"), where=str(path), code=1151) from exc
    except OSError as exc:
        raise PlanError(
            say("the plan file cannot be read: {error}", error=str(exc.strerror)),
            where=str(path),
            advice=say("look at the permissions of the file and its folders"),
            code=1152,
        ) from exc


def _write_private(path: Path, text: str) -> None:
    """Replaced whole: a plan cut off in the middle would be a smaller plan."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise PlanError(
            say("the plan file cannot be written: {error}", error=str(exc.strerror)),
            where=str(path),
            advice=say("look at the permissions of its folder, or choose another"),
            code=1153,
        ) from exc


def _problem(error: dict[str, Any], text: str) -> str:
    """One sentence for one of pydantic's findings; values are never quoted, a URL may hold a password."""
    loc: Sequence[str | int] = error["loc"]
    key = next((str(part) for part in reversed(loc) if isinstance(part, str)), "")
    if error["type"] == "missing":
        return say("{key!r} is missing", key=key)
    if error["type"] == "extra_forbidden":
        words = _unknown(loc, key)
    elif key:
        words = say("{key!r}: {what}", key=key, what=problem(error))
    else:  # about the whole of it
        return problem(error)
    line = _line(text, key)
    return say("line {line}: {what}", line=line, what=words) if line else words


def _unknown(loc: Sequence[str | int], key: str) -> Text:
    place = next((part for part in reversed(loc[:-1]) if isinstance(part, str) and part in PLACES), "")
    near = difflib.get_close_matches(key, PLACES[place].model_fields, n=1)
    if near:
        return say("unknown key {key!r}, did you mean {meant!r}?", key=key, meant=near[0])
    for other, model in PLACES.items():
        if other != place and (near := difflib.get_close_matches(key, model.model_fields, n=1)):
            at = WRITTEN_AS.get(other, TOP)
            return say("unknown key {key!r}, did you mean {meant!r} in {place}?", key=key, meant=near[0], place=at)
    return say("unknown key {key!r}; known here are {keys}", key=key, keys=", ".join(PLACES[place].model_fields))


def _line(text: str, key: str) -> int:
    """Where the key stands, when it stands in one place only; else 0."""
    pattern = re.compile(rf"""^[ \t]*(\[+\s*)?["']?{re.escape(key)}["']?\s*[=\]]""", re.MULTILINE)
    found = list(pattern.finditer(text))
    return text.count("\n", 0, found[0].start(0)) + 1 if len(found) == 1 else 0


def _advice(exc: ValidationError) -> Text | None:
    missing = any(error["type"] == "missing" for error in exc.errors(include_url=False))
    return say("a plan says {example}", example=EXAMPLE) if missing else None
