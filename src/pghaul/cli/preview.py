"""What a run would do, for people and for programs: `pghaul plan` and `pghaul run --dry-run` show the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from pghaul.cli import exit_codes, mapping_view, render
from pghaul.cli.grid import grid
from pghaul.cli.words import tell
from pghaul.model import figures
from pghaul.model.finding import Finding, Severity
from pghaul.model.plan import Plan
from pghaul.model.preview import Merging, Outlook, Preview, Sampled, Space
from pghaul.model.text import joined, say, saying
from pghaul.model.wording import kind_named, side_named, worded
from pghaul.service.migration import MigrationService

if TYPE_CHECKING:
    from rich.table import Table

TITLES = {
    Severity.ERROR: say("Stands against it"),
    Severity.WARNING: say("Look first"),
    Severity.NOTE: say("Good to know"),
}
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: ""}
FATES = {
    "created": say("is created"),
    "empty": say("is there, empty"),
    "truncate": say("is emptied"),
    "append": say("is added to"),
    "skip": say("is left alone"),
    "refresh": say("is compared"),
    "ask": say("will be asked"),
    "fail": say("has rows: refused"),
    "merge": say("is merged into"),
}
MERGED = saying("{table}: {mode} by {key}; {reading}")
MERGED_LOCKED = saying("{table}: {mode} by {key}, locked against other writers meanwhile; {reading}")
READ_ALL = say("reads all rows every time")
READ_SINCE = saying("reads by {watermark} from {since} on ({promise})")
READ_FIRST = saying("reads all rows this time, by {watermark} from then on ({promise})")
READ_NEVER = say("cannot be read")
NO_KEY = say("no key")
SERVERS = saying("{source} (PostgreSQL {old}) → {target} (PostgreSQL {new})")
SERVERS_FOREIGN = saying("{source} ({old}) → {target} (PostgreSQL {new})")
NOTHING = say("nothing is selected")
SUM = saying("tables: {n}")
CREATES = saying("Creates: {things}.")
CREATES_NOTHING = say("Creates nothing: all tables are there.")
NEEDED = saying("Disk: about {needed} needed (tables {heap}, indexes {indexes}), {free}.")
FREE = saying("{free} free at {at}")
NEEDED_ESTIMATED = saying(
    "Disk: about {needed} needed (tables {heap}, indexes {indexes}), an estimate by rows and types, {free}."
)
FREE_UNKNOWN = say("what is free there is not known (say it: --target-free)")
NEEDED_AT_MOST = saying(
    "Disk: about {needed} needed (tables {heap}, indexes {indexes}), {free}; less, as only parts of tables are taken."
)
ABOUT = saying("~{rows}")
COUNTED = saying("{n} {what}")
SEVERAL = saying("{n} × {kind}")
TITLED = saying("{title} ({n})")
FOUND = saying("  {kind}: ")
TRY = saying("    try: {advice}")
FIGURES = (say("rows"), say("size"), say("chunks"), say("rows there"), say("size there"))
TIME = saying("Time: about {time} with {workers} workers, by what {known} of {tables} tables took before.")
TIME_SAMPLED = saying(
    "Time: about {time} with {workers} workers, an estimate from {rows} rows that were read and encoded just now."
)
TIME_BOTH = saying(
    "Time: about {time} with {workers} workers, by what {known} of {tables} tables took before, and an estimate of the "
    "others from {rows} rows that were read and encoded just now."
)
TIMES = {"runs": TIME, "sample": TIME_SAMPLED, "runs and sample": TIME_BOTH}
TIME_UNKNOWN = say("Time: not known, as none of these tables was moved before.")
SETTINGS = saying("Settings of our sessions on the {side}")
NOT_CARRIED = say("Not carried over")
FINE = saying("Nothing stands against it. Begin: {command}")
REFUSED = saying("A run would be refused: {n} to mend. Nothing was changed.")
RUN_FILE = "pghaul run {file}"
RUN_WORDS = say("pghaul run, with the same words")
UNKNOWN = "?"


def show(plan: Plan, *, as_json: bool, verbose: bool, file: str | None = None, sample: bool = False) -> int:
    """Look, tell, and say by the exit code whether a run would be refused."""
    found = MigrationService().plan(plan, sample=sample)
    if as_json:
        render.print_json(preview_json(found))
    else:
        preview(render.page(), found, verbose=verbose)
    console = Console(stderr=True, highlight=False)
    if found.ok:
        render.line(console, FINE.format(command=RUN_FILE.format(file=file) if file else RUN_WORDS))
        return exit_codes.DONE
    wrong = sum(f.severity is Severity.ERROR for f in found.findings)
    render.line(console, REFUSED.format(n=wrong), "bold red")
    return exit_codes.FAILED


def preview_json(found: Preview) -> dict[str, Any]:
    """Everything, names as a person reads them."""
    out = asdict(found)
    out["ok"], out["chunks"], out["bytes"] = found.ok, found.chunks, found.bytes
    out["vanished"] = [str(n) for n in found.vanished]
    out["tables"] = [asdict(t) | {"table": str(t.table), "source": str(t.source)} for t in found.tables]
    return out


def preview(console: Console, found: Preview, *, verbose: bool) -> None:
    """In the order in which a person asks: what, how much, what is in the way."""
    old, new = found.versions
    words = SERVERS_FOREIGN if found.product else SERVERS
    render.line(console, words.format(source=found.source, target=found.target, old=old, new=new))
    if found.tables:
        console.print(_tables(found.tables, limit=None if verbose else render.TABLES_SHOWN))
        _merged(console, found.tables, limit=None if verbose else render.TABLES_SHOWN)
        render.line(console, _creates(found))
        if not any(t.merge for t in found.tables):
            render.line(console, _space(found.space))
        render.line(console, _time(found))
    mapping_view.show(console, found.tables, verbose=verbose)
    if verbose:
        _details(console, found)
    lost = render.left_behind(found.not_carried, verbose=verbose)
    render.listing(console, NOT_CARRIED, lost, verbose=verbose)
    for severity, title in TITLES.items():
        said = [f for f in found.findings if f.severity is severity]
        _findings(console, title, said, STYLES[severity], verbose=verbose)


def _tables(outlooks: Sequence[Outlook], *, limit: int | None) -> Table:
    ordered = sorted(outlooks, key=lambda o: (-o.bytes, o.table))
    table = grid(say("table"), say("what becomes of it"), *FIGURES, right=FIGURES)
    for outlook in ordered[:limit]:
        there = outlook.disposition not in {"created", "empty"}
        render.row(
            table,
            str(outlook.table),
            FATES.get(outlook.disposition, outlook.disposition),
            _about(outlook.rows),
            figures.amount(outlook.bytes),
            str(outlook.chunks),
            _about(outlook.there_rows) if there else "",
            figures.amount(outlook.there_bytes) if there else "",
        )
    if limit is not None and len(ordered) > limit:
        render.row(table, render.AND_MORE.format(n=len(ordered) - limit), *[""] * 6)
    fates = Counter(FATES.get(o.disposition, o.disposition) for o in ordered)
    known = [o.rows for o in ordered if o.rows is not None]
    render.row(
        table,
        SUM.format(n=len(ordered)),
        joined(", ", [COUNTED.format(n=n, what=fate) for fate, n in fates.items()]),
        _about(sum(known)) if len(known) == len(ordered) else UNKNOWN,
        figures.amount(sum(o.bytes for o in ordered)),
        str(sum(o.chunks for o in ordered)),
        "",
        "",
    )
    return table


def _merged(console: Console, outlooks: Sequence[Outlook], *, limit: int | None) -> None:
    """One line for each table that is merged: how, by what, and what is promised."""
    told = [(o, o.merge) for o in outlooks if o.merge is not None]
    for outlook, merging in told[:limit]:
        words = MERGED_LOCKED if merging.locked else MERGED
        render.line(
            console,
            words.format(
                table=str(outlook.table),
                mode=merging.mode,
                key=", ".join(merging.key) or NO_KEY,
                reading=_reading(merging),
            ),
        )
    if limit is not None and len(told) > limit:
        render.line(console, render.AND_MORE.format(n=len(told) - limit))


def _reading(merging: Merging) -> str:
    if not merging.guarantee:
        return READ_NEVER
    if not merging.watermark:
        return READ_ALL
    words = READ_FIRST if merging.since is None else READ_SINCE
    return words.format(watermark=merging.watermark, since=merging.since or "", promise=merging.promise)


def _about(rows: int | None) -> str:
    """Estimates of the catalogue; unknown is not nothing."""
    return UNKNOWN if rows is None else ABOUT.format(rows=figures.count(rows))


def _creates(found: Preview) -> str:
    if not found.creates:
        return CREATES_NOTHING
    return CREATES.format(
        things=joined(", ", [SEVERAL.format(n=len(v), kind=kind_named(k)) for k, v in found.creates.items()])
    )


def _space(space: Space) -> str:
    known = space.free is not None
    free: str = FREE.format(free=figures.amount(space.free or 0), at=space.at) if known else FREE_UNKNOWN
    words = (NEEDED_ESTIMATED if space.estimated else NEEDED) if space.exact else NEEDED_AT_MOST
    return words.format(
        needed=figures.amount(space.needed),
        heap=figures.amount(space.heap),
        indexes=figures.amount(space.indexes),
        free=free,
    )


def _time(found: Preview) -> str:
    forecast = found.forecast
    if forecast is None:
        return TIME_UNKNOWN
    sampled = found.sampled or Sampled(tables=0, rows=0, seconds=0.0)
    return TIMES[forecast.basis].format(
        time=figures.duration(forecast.seconds),
        workers=found.workers,
        known=forecast.known,
        tables=forecast.tables,
        rows=figures.count(sampled.rows),
    )


def _details(console: Console, found: Preview) -> None:
    for kind, names in found.creates.items():
        render.listing(console, kind_named(kind), names, verbose=True)
    for side, settings in found.settings.items():
        lines = [f"{name} = {value!r}" for name, value in settings.items()]
        render.listing(console, SETTINGS.format(side=side_named(side)), lines, verbose=True)


def _findings(console: Console, title: str, found: Iterable[Finding], style: str, *, verbose: bool) -> None:
    """The same advice for many objects is said once."""
    said = list(found)
    if not said:
        return
    render.heading(console, TITLED.format(title=title, n=len(said)), style)
    shown = said if verbose else said[: render.LISTED]
    advised: set[str | None] = {None}
    for finding in shown:
        kind = tell(FOUND.format(kind=worded(finding.kind)))
        console.print(Text.assemble((kind, style), tell(finding.what)), soft_wrap=True)
        if finding.advice not in advised:
            render.line(console, TRY.format(advice=finding.advice or ""), "cyan")
            advised.add(finding.advice)
    if len(said) > len(shown):
        render.line(console, render.INDENTED.format(words=render.AND_MORE.format(n=len(said) - len(shown))))
