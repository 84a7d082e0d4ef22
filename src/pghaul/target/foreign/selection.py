"""What a plan says of a table of another kind of database: there, a table may have no schema to be named with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Any

from pghaul.model.errors import NotFoundError
from pghaul.model.pattern import compiled, is_matched, is_regex
from pghaul.model.plan import Plan, Selection
from pghaul.model.table import Name
from pghaul.model.text import say


def is_its_name(pattern: str, name: Name) -> bool:
    """Whether it is this very table: then wildcards in it are none."""
    return not is_regex(pattern) and pattern in {name.name, str(name), f"{name.schema}.{name.name}"}


def fits(pattern: str, name: Name) -> bool:
    """Without a dot, a pattern is about the table's name alone, in whatever schema. PlanError for what is none."""
    if is_its_name(pattern, name):
        return True
    if is_regex(pattern):
        (expression,) = compiled(pattern)
        return any(expression.fullmatch(t) for t in (f"{name.schema}.{name.name}".lstrip("."), name.name))
    if re.fullmatch(translate(pattern), name.name) and ("." not in pattern or not name.schema):
        return True
    return "." in pattern and is_matched(pattern, name)


def chosen(plan: Plan, names: Iterable[Name]) -> list[Name]:
    """The tables that the plan selects, in the source's order. NotFoundError for a pattern that fits none."""
    known = list(names)
    found: set[Name] = set(known) if plan.whole else set()
    for selection in plan.tables:
        found |= set(_fitting(selection.name, known))
    for pattern in plan.exclude:
        found -= {n for n in known if fits(pattern, n)}
    return [n for n in known if n in found]


def _fitting(pattern: str, known: list[Name]) -> list[Name]:
    exact = [n for n in known if is_its_name(pattern, n)]
    matched = exact or [n for n in known if fits(pattern, n)]
    if not matched:
        raise NotFoundError(
            say("no table of the source matches '{pattern}'", pattern=pattern),
            advice=say("`pghaul inspect` lists its tables"),
            code=5265,
        )
    return matched


def said(plan: Plan, name: Name, attribute: str) -> Any:
    """What the plan says of this table: by its very name first, then by patterns, in their order; None if nothing."""
    saying = [s for s in plan.tables if s.name and getattr(s, attribute) is not None]
    fitting = [s for s in saying if fits(s.name, name)]
    fitting.sort(key=lambda s: not is_its_name(s.name, name))
    return getattr(fitting[0], attribute) if fitting else None


def selection_of(plan: Plan, name: Name) -> Selection | None:
    """The selection that is about this table: by its very name, else the first whose pattern fits it."""
    fitting = [s for s in plan.tables if s.name and fits(s.name, name)]
    fitting.sort(key=lambda s: not is_its_name(s.name, name))
    return fitting[0] if fitting else None
