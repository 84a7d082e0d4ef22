"""Questions on a terminal: Rich asks them, and what it says of an answer that is none is said in our words."""

from __future__ import annotations

from rich.prompt import Confirm, InvalidResponse, Prompt

from pghaul.cli import render
from pghaul.model.text import say

NO_ANSWER = say("That is none of the answers.")
YES_OR_NO = say("Please answer y or n.")


class Choice(Prompt):
    """Asked again until the answer is one of the choices, which are typed alike in every language."""

    def on_validate_error(self, value: str, error: InvalidResponse) -> None:  # noqa: ARG002 -- Rich calls it so
        """What Rich would say in English."""
        render.line(self.console, NO_ANSWER, "red")


class YesNo(Confirm):
    """y or n, in every language."""

    def on_validate_error(self, value: str, error: InvalidResponse) -> None:  # noqa: ARG002 -- Rich calls it so
        """What Rich would say in English."""
        render.line(self.console, YES_OR_NO, "red")
