"""What becomes of a database on its way through the mapping: statements, what is left, what is to be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from pghaul.model.finding import Finding
from pghaul.model.mapped import Made
from pghaul.model.table import Unsupported
from pghaul.model.text import Text, say
from pghaul.postgres.versions import Capabilities


@dataclass(kw_only=True)
class Outcome:
    """`refused`: what the server has said of statements and columns when they were tried, by their keys (trial.py).

    A key of a trial has the prefix of its schemas; what is known of refusals has not.
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    schemas: Mapping[str, str] = field(default_factory=dict)  # of the types of the target's extensions
    can: Capabilities | None = None  # of the target; None: everything
    left: list[Unsupported] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Are there identity columns? Else a sequence counts."""
        return self.can is None or self.can.identity

    @property
    def computes(self) -> bool:
        """Are there generated columns?"""
        return self.can is None or self.can.generated_columns

    def known(self, type_: str) -> str:
        """What a source proposes, as the target has it: jsonb is younger than json."""
        older = self.can is not None and not self.can.replica_identity  # both came with 9.4
        return "json" if older and type_ == "jsonb" else type_

    def leave(self, kind: str, name: str, why: str, text: str | None = None) -> None:
        """Not carried: with the source's own words, so that somebody can write it anew."""
        self.left.append(Unsupported.with_text(kind, name, why, text))

    def placed(self, type_: str) -> str:
        """With the schema of the extension that it is of: our sessions have no search_path."""
        name = type_.partition("(")[0].partition("[")[0].strip()
        schema = self.schemas.get(name)
        return type_ if schema is None else f"{sql.Identifier(schema).as_string(None)}.{type_}"

    def why(self, key: str) -> str | None:
        """What the server had against it."""
        return self.refused.get(key.replace(self.prefix, "") if self.prefix else key)

    def accept(self, made: Made, kind: str) -> list[Made]:
        """The statement, unless the server has refused it."""
        why = self.why(made.name)
        if why is None:
            return [made]
        self.leave(kind, made.name.partition(":")[2], refusal(why), made.text or made.sql)
        return []


def refusal(words: str) -> Text:
    """The server's own."""
    return say("the target refuses it: {words}", words=words.rstrip("."))
