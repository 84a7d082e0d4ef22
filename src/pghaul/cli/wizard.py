"""`pghaul plan --interactive`: asks for what a plan needs, one question after the other, and offers to run it.

It fills in words of the command line, so that whatever stood there already is not asked, and what comes out is a plan
like any other. Answers are checked where they are given: a source that cannot be reached is asked for again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text as Plain  # a str would be read as markup

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.prompts import Choice, YesNo
from pghaul.cli.words import tell
from pghaul.model.errors import PghaulError, UsageError
from pghaul.model.figures import amount, count
from pghaul.model.inspection import Inspection
from pghaul.model.plan import Layout, OnExisting, Options, Period, Verify
from pghaul.model.table import Name
from pghaul.model.text import Text, say, saying
from pghaul.model.tree import TreeKind
from pghaul.model.wording import worded
from pghaul.service.migration import MigrationService

SHOWN = 60  # tables that are listed, the largest first; patterns reach the others
T = TypeVar("T")

WELCOME = say("A plan, question by question. Enter takes what stands in brackets; Ctrl-C leaves everything as it is.")
SOURCE = say("Where does the data come from? A URL or a profile")
TABLES = say("Which tables? Numbers (1,3-5), names or patterns (public.pay*), or all")
SINCE = say("Only a span of time? Its first day, as 2025-09-01; empty for everything")
UNTIL = say("And the day on which it ends, not included; empty for no end")
ZONE = say("In which time zone do these days begin?")
TARGET = say("Where does it go? A URL or a profile")
LAYOUT = say("How shall partition trees lie there?")
EXISTING = say("What if a target table holds rows?")
PROOF = say("Prove it by counting rows, or by a checksum of both sides?")
WORKERS = say("How many tables at a time?")
FILE = say("Write the plan to")
RUN_NOW = say("Run it now?")
NOT_AGAIN = saying("Write over {file}?")
REACHED = saying("{database}: PostgreSQL {version}, {size}")
FOREIGN = saying("{database}: {version}, {size}")
NO_TABLES = say("there are no tables in this database")
NO_SUCH = saying("{words}: neither a number of the list, nor a name or pattern that matches")
TERMINAL = say("--interactive asks questions, and there is no terminal to ask on")
TERMINAL_ADVICE = say("write the plan with options: pghaul plan --help")
RIGHT = ("#", say("rows"), say("size"))
TITLES = ("#", say("table"), say("kind"), say("rows"), say("size"), say("since"), say("until"))
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One line of the list of tables."""

    name: Name
    kind: str
    rows: str
    size: int
    since: str = ""
    until: str = ""


def ask(said: Mapping[str, Any], console: Console, service: MigrationService | None = None) -> dict[str, Any]:
    """The words that were given, with answers for the others. UsageError without a terminal."""
    if not sys.stdin.isatty():
        raise UsageError(TERMINAL, where="--interactive", advice=TERMINAL_ADVICE, code=1090)
    service = service or MigrationService()
    words = dict(said)
    render.line(console, WELCOME, "bold")
    found = _source(words, console, service)
    offers = offered(found)
    if not offers:
        raise UsageError(NO_TABLES, where=found.database, code=1091)
    _tables(words, console, offers, foreign=bool(found.product))
    if any(o.since or o.until for o in offers):
        _period(words, console)
    _target(words, console, service)
    _how(words, console, found)
    return words


def _source(words: dict[str, Any], console: Console, service: MigrationService) -> Inspection:
    def look(url: str) -> Inspection:
        period = Period(timezone=words.get("timezone") or Period().timezone)
        return service.inspect(url, period=period)

    words["source"], found = _until_it_works(console, SOURCE, words.get("source"), look)
    size = amount(sum(s.amount.total for s in found.schemas))
    reached = FOREIGN if found.product else REACHED
    render.line(console, reached.format(database=found.database, version=found.version, size=size), "green")
    return found


def _target(words: dict[str, Any], console: Console, service: MigrationService) -> None:
    words["target"], found = _until_it_works(console, TARGET, words.get("target"), service.inspect_target)
    size = amount(sum(s.amount.total for s in found.schemas))
    render.line(console, REACHED.format(database=found.database, version=found.version, size=size), "green")


def _until_it_works(console: Console, question: Text, given: str | None, look: Callable[[str], T]) -> tuple[str, T]:
    """Ask until `look` is content; what was given on the command line is tried first."""
    while True:
        answer = given or _asked(console, question)
        given = None
        if not answer:
            continue
        try:
            return answer, look(answer)
        except PghaulError as exc:
            render.error(console, exc)


def offered(found: Inspection) -> list[Offer]:
    """Trees as one line each, and the tables beside them; the largest first."""
    trees = [
        Offer(
            name=seen.tree.root,
            kind=worded(seen.tree.kind),
            rows=count(seen.amount.rows),
            size=seen.amount.total,
            since=seen.since or "",
            until=seen.until or "",
        )
        for seen in found.trees
    ]
    flat = [Offer(name=t.name, kind="", rows=count(t.amount.rows), size=t.amount.total) for t in found.tables]
    return sorted([*trees, *flat], key=lambda o: (-o.size, o.name))


def _tables(words: dict[str, Any], console: Console, offers: Sequence[Offer], *, foreign: bool) -> None:
    if words.get("table") or words.get("schema") or words.get("everything"):
        return
    table = grid(*TITLES, right=RIGHT)
    for number, offer in enumerate(offers[:SHOWN], 1):
        render.row(
            table, str(number), str(offer.name), offer.kind, offer.rows, amount(offer.size), offer.since, offer.until
        )
    console.print(table)
    if len(offers) > SHOWN:
        render.line(console, render.AND_MORE.format(n=len(offers) - SHOWN))
    while True:
        answer = _asked(console, TABLES, ALL)
        if answer == ALL:
            if foreign:
                words["everything"] = True
            else:
                words["table"] = sorted({f"{_escaped(o.name.schema)}.*" for o in offers})
            return
        try:
            words["table"] = chosen(answer, offers)
        except UsageError as exc:
            render.error(console, exc)
        else:
            return


def chosen(answer: str, offers: Sequence[Offer]) -> list[str]:
    """Patterns for "1,3-5", "public.payment", "pay*"; UsageError names what is none of them."""
    patterns: list[str] = []
    for word in (w for w in re.split(r"[,\s]+", answer) if w):
        if span := re.fullmatch(r"(\d+)(?:-(\d+))?", word):
            first, last = int(span[1]), int(span[2] or span[1])
            if not 1 <= first <= last <= len(offers):
                raise UsageError(NO_SUCH.format(words=word), code=1092)
            patterns += [_pattern(o.name) for o in offers[first - 1 : last]]
        else:
            patterns.append(word)
    if not patterns:
        raise UsageError(NO_SUCH.format(words=answer), code=1092)
    return patterns


def _pattern(name: Name) -> str:
    return ".".join(_escaped(part) for part in (name.schema, name.name) if part)


def _escaped(name: str) -> str:
    """A name that would read as a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _period(words: dict[str, Any], console: Console) -> None:
    if words.get("since") or words.get("until"):
        return
    since = _asked(console, SINCE, "")
    until = _asked(console, UNTIL, "") if since else ""
    if since:
        words["since"], words["until"] = since, until or None
        words["timezone"] = words.get("timezone") or _asked(console, ZONE, Period().timezone)


def _how(words: dict[str, Any], console: Console, found: Inspection) -> None:
    inherited = any(seen.tree.kind is TreeKind.INHERITANCE for seen in found.trees)
    if inherited and not words.get("layout"):
        words["layout"] = Layout(_chosen(console, LAYOUT, [Layout.SAME, Layout.DECLARATIVE], Layout.SAME))
    if not words.get("on_existing"):
        words["on_existing"] = OnExisting(_chosen(console, EXISTING, list(OnExisting), OnExisting.FAIL))
    if not words.get("verify"):
        words["verify"] = Verify(_chosen(console, PROOF, list(Verify), Verify.CHECKSUM))
    while not words.get("workers"):
        try:
            words["workers"] = Options(workers=int(_asked(console, WORKERS, str(Options().workers)))).workers
        except (ValueError, ValidationError):
            continue


def _chosen(console: Console, question: Text, choices: Sequence[str], default: str) -> str:
    names = [str(c) for c in choices]
    return Choice.ask(Plain(tell(question)), choices=names, default=str(default), console=console)


def _asked(console: Console, question: Text, default: str | None = None) -> str:
    if default is None:
        return Choice.ask(Plain(tell(question)), console=console).strip()
    return Choice.ask(Plain(tell(question)), default=default, show_default=bool(default), console=console).strip()


def file_to_write(console: Console, suggested: str = "plan.toml") -> Path:
    """A file that is not there yet, or one that may be written over."""
    while True:
        path = Path(_asked(console, FILE, suggested))
        if not path.exists() or YesNo.ask(
            Plain(tell(NOT_AGAIN.format(file=str(path)))), default=False, console=console
        ):
            return path


def wants_run(console: Console) -> bool:
    """The last question."""
    return YesNo.ask(Plain(tell(RUN_NOW)), default=False, console=console)
