"""Help in another language than English: every word of the command tree that Typer shows is replaced in place.

Help texts stay plain literals where commands and options are defined; here they are found, for the reader and (by
tools/messages.py) for the catalogues. Typer's own words are constants of typer.rich_utils, which it calls fixed
strings; "Usage:" is the formatter's, which a context names. A test pins all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.text import Text

from pghaul.cli.words import language, tell
from pghaul.model.text import say, saying
from pghaul.service.language import ENGLISH

USAGE = say("Usage: ")
# Typer's fixed strings that our help shows; its braces are filled by position, so they are no templates of ours.
FIXED = {
    "ARGUMENTS_PANEL_TITLE": say("Arguments"),
    "OPTIONS_PANEL_TITLE": say("Options"),
    "COMMANDS_PANEL_TITLE": say("Commands"),
    "DEFAULT_STRING": saying("[default: {value}]"),
    "ENVVAR_STRING": saying("[env var: {value}]"),
    "REQUIRED_LONG_STRING": say("[required]"),
    "DEPRECATED_STRING": say("(deprecated) "),
}
OF_COMMAND = ("help", "short_help", "epilog", "rich_help_panel", "options_metavar", "subcommand_metavar")
OF_PARAMETER = ("help", "rich_help_panel")


_FORMATTER: Any = typer.Context.formatter_class  # of click, or of Typer's own copy of it


def folded(make: Callable[..., Any]) -> Callable[..., Any]:
    """Rich takes the blank off a line's end by letters, not by columns, and then cuts a word of Hangul for a …

    What is folded loses the blank only.
    """

    def made(*args: Any, **given: Any) -> Any:
        text = make(*args, **given)
        if isinstance(text, Text):
            text.overflow = "fold"
        return text

    return made


class Formatter(_FORMATTER):  # type: ignore[misc]
    """Begins a usage line in the reader's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """As it was, with our prefix."""
        import typer.rich_utils as shown  # noqa: PLC0415 -- takes its time, and only help needs it

        if shown._make_rich_text.__module__ != __name__:
            shown._make_rich_text = folded(shown._make_rich_text)
        for name, words in FIXED.items():
            setattr(shown, name, tell(words).replace("{value}", "{}"))
        super().write_usage(prog, args, prefix or tell(USAGE))


def translate(command: Any) -> None:
    """The words of a command, of all below it and of their options, in the reader's language; English stays."""
    if language().code == ENGLISH:
        return
    for holder, attribute in list(places(command)):
        setattr(holder, attribute, tell(saying(getattr(holder, attribute))))
    for each in commands(command):
        each.context_class = type("Spoken", (each.context_class,), {"formatter_class": Formatter})


def commands(command: Any) -> Iterator[Any]:
    """The command and all below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from commands(below)


def places(command: Any, parent: Any = None) -> Iterator[tuple[Any, str]]:
    """Where words of help stand: an object and the name of its attribute."""
    context = command.context_class(command, info_name=command.name, parent=parent, **command.context_settings)
    yield from _said(command, OF_COMMAND)
    for parameter in command.get_params(context):  # with --help, which is made when it is asked for
        yield from _said(parameter, OF_PARAMETER)
    for below in getattr(command, "commands", {}).values():
        yield from places(below, context)


def _said(holder: Any, attributes: tuple[str, ...]) -> Iterator[tuple[Any, str]]:
    return (
        (holder, name) for name in attributes if isinstance(getattr(holder, name, None), str) and getattr(holder, name)
    )
