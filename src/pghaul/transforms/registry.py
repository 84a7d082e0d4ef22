"""Which function binds a kind of transform: ours by their names here, others by the entry points of their packages.

Ours are imported by name when they are used: what expressions need (a parser of SQL) is nothing for every worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from pghaul.model.errors import TransformError
from pghaul.model.text import listed, say
from pghaul.transforms.steps import Bind

GROUP = "pghaul.transforms"  # the entry points; pyproject.toml declares ours there, too
OURS: Mapping[str, str] = {
    "rename": "pghaul.transforms.values:rename",
    "cast": "pghaul.transforms.values:cast",
    "default": "pghaul.transforms.values:default",
    "trim": "pghaul.transforms.values:trim",
    "null-if": "pghaul.transforms.values:null_if",
    "map": "pghaul.transforms.values:map_values",
    "sql": "pghaul.transforms.values:rename",  # the source has computed it
    "expression": "pghaul.transforms.expression:expression",
    "python": "pghaul.transforms.python_function:python",
    "hash": "pghaul.transforms.masking:hash_",
    "partial": "pghaul.transforms.masking:partial",
    "redact": "pghaul.transforms.masking:redact",
    "shuffle": "pghaul.transforms.masking:shuffle",
    "fake": "pghaul.transforms.fake:fake",
}


def bind_of(kind: str) -> Bind:
    """The function `bind(transform, schema) -> Step` of a kind. TransformError where there is none."""
    if kind in OURS:
        module, _, name = OURS[kind].partition(":")
        return cast("Bind", getattr(import_module(module), name))
    for entry in entry_points(group=GROUP):
        if entry.name == kind:
            try:
                return cast("Bind", entry.load())
            except (ImportError, AttributeError) as exc:
                raise TransformError(
                    say("the transform {kind} cannot be loaded: {error}", kind=kind, error=str(exc)),
                    where=entry.value,
                    advice=say("install the package that it is of anew"),
                    code=7105,
                ) from exc
    raise TransformError(
        say("there is no transform {kind}", kind=kind),
        advice=say("there are {kinds}", kinds=listed(known(), 40)),
        code=7104,
    )


def known() -> list[str]:
    """Every kind that can be used here."""
    return sorted({*OURS, *(e.name for e in entry_points(group=GROUP))})
