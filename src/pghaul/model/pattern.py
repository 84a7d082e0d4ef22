"""How a person names tables: `schema.table`, with the shell's wildcards in either part, or a `/regular expression/`."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from pghaul.model.errors import PlanError
from pghaul.model.table import Name
from pghaul.model.text import say, saying

WRONG_NAME = saying("'{pattern}' is not a table's name")
WRONG_REGEX = saying("'{pattern}' is no regular expression: {why}")


def is_regex(pattern: str) -> bool:
    """Whether it stands between slashes."""
    return len(pattern) > 2 and pattern[0] == pattern[-1] == "/"


def is_named(pattern: str, name: Name) -> bool:
    """Whether it is this very name: then wildcards in it are none."""
    return not is_regex(pattern) and str(name) == _qualified(pattern)


def is_matched(pattern: str, name: Name) -> bool:
    """Whether the pattern fits; a regular expression has to fit all of `schema.table`. PlanError for what is none."""
    expressions = compiled(pattern)
    if len(expressions) == 1:
        return expressions[0].fullmatch(f"{name.schema}.{name.name}") is not None
    return bool(expressions[0].match(name.schema) and expressions[1].match(name.name))


@lru_cache(maxsize=256)
def compiled(pattern: str) -> tuple[re.Pattern[str], ...]:
    """One expression for a regex, two for schema and table."""
    if is_regex(pattern):
        try:
            return (re.compile(pattern[1:-1]),)
        except re.error as exc:
            raise PlanError(
                WRONG_REGEX.format(pattern=pattern, why=str(exc)),
                advice=say("it is Python's dialect, between two slashes"),
                code=1102,
            ) from None
    schema, _, table = _qualified(pattern).partition(".")
    if not (schema and table):
        raise PlanError(WRONG_NAME.format(pattern=pattern), advice=say("write it as schema.table"), code=1101)
    return re.compile(translate(schema)), re.compile(translate(table))


def _qualified(pattern: str) -> str:
    return pattern if "." in pattern else f"public.{pattern}"
