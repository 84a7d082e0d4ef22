"""Arguments and options that commands share, and how their words become a Plan."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_type_hints

import typer
from pydantic import ValidationError
from rich.console import Console

from pghaul.cli import mapped, merging, selecting
from pghaul.cli.words import tell
from pghaul.model.errors import NotFoundError, PghaulError, PlanError, UsageError
from pghaul.model.plan import (
    Duplicates,
    Format,
    Locks,
    Merge,
    NotifyOn,
    OnConflict,
    OnExisting,
    Options,
    Plan,
    Recipe,
    Verify,
)
from pghaul.model.text import joined, say, saying
from pghaul.model.wording import worded
from pghaul.service.complaints import problem
from pghaul.service.settings import from_file

SIZE_WRONG = say("a size is written 64MB or 1GB (at least 8kB)")
RATE_WRONG = say("a rate is written 50MB/s (at least 8kB/s)")
MISSING = saying("nothing says {what}")
EXAMPLE = say("e.g. pghaul run --from postgresql://me@old/db --to postgresql://me@new/db --table 'public.payment*'")
WHAT = {
    "source": say("where from (--from)"),
    "target": say("where to (--to)"),
    "tables": say("which tables (--table)"),
}
WRONG_PLAN = saying("the words do not make a plan: {problems}")
KEYED = saying("{key}: {problem}")
NOTHING: Mapping[str, Any] = {}
# Words of the command line that a plan calls otherwise.
PLAN_KEYS = {
    "copy_format": "format",
    "split_size": "split_bytes",
    "schema": "schemas",
    "everything": "whole",
}
OUTLETS = ("metrics_port", "metrics_host", "metrics_file", "notify", "notify_on")


def parse_size(text: str) -> int:
    """Bytes: 8192, 64MB, 1.5GB; units are powers of two, as PostgreSQL's are."""
    size = selecting.parse_bytes(text)
    if size < 8192:
        raise typer.BadParameter(SIZE_WRONG)
    return size


def parse_rate(text: str) -> int:
    """Bytes per second: 50MB/s, or 50MB."""
    try:
        return parse_size(text.strip().removesuffix("/s"))
    except typer.BadParameter:
        raise typer.BadParameter(RATE_WRONG) from None


MOVE, RULES, TROUBLE = "What and where", "How", "When things go wrong"
CARE = "Care for the servers"
TELL = "Whom to tell"
EVERY = 5.0  # seconds between two lines of progress where nothing can be redrawn

PlanFile: TypeAlias = Annotated[str | None, typer.Argument(metavar="PLAN.toml", help="A plan file, or where from.")]
Onto: TypeAlias = Annotated[str | None, typer.Argument(metavar="TARGET", help="Where to.")]
From: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="URL",
        help="The source: postgresql://…, mysql://…, sqlite://…, any other, or a profile.",
        rich_help_panel=MOVE,
    ),
]
To: TypeAlias = Annotated[
    str | None, typer.Option("--to", metavar="URL", help="The target, likewise.", rich_help_panel=MOVE)
]
Tables: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--table", "-t", metavar="PATTERN", help="schema.table, * and ? allowed; repeat it.", rich_help_panel=MOVE
    ),
]
Workers: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes that copy at once.", rich_help_panel=RULES)
]
Existing: TypeAlias = Annotated[
    OnExisting | None, typer.Option(help="What to do with rows that are there.", rich_help_panel=RULES)
]
Proofs: TypeAlias = Annotated[
    Verify | None, typer.Option("--verify", help="Count rows, or hash both sides.", rich_help_panel=RULES)
]
CopyFormat: TypeAlias = Annotated[
    Format | None, typer.Option("--format", help="The form of COPY.", rich_help_panel=RULES)
]
Recipes: TypeAlias = Annotated[
    Recipe | None, typer.Option("--recipe", help="By COPY, by INSERT in batches, or merged.", rich_help_panel=RULES)
]
Conflicts: TypeAlias = Annotated[
    OnConflict | None,
    typer.Option("--on-conflict", help="Rows whose key is there; implies --recipe insert.", rich_help_panel=RULES),
]
LockSpan: TypeAlias = Annotated[
    Locks | None, typer.Option("--locks", help="Lock for the run, or per chunk.", rich_help_panel=RULES)
]
SplitSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        parser=parse_size, metavar="SIZE", help="Split tables bigger than this, e.g. 1GB.", rich_help_panel=RULES
    ),
]
Create: TypeAlias = Annotated[
    bool | None, typer.Option("--create/--no-create", help="Create missing tables.", rich_help_panel=RULES)
]
Indexes: TypeAlias = Annotated[
    bool | None,
    typer.Option("--indexes/--no-indexes", help="Indexes and constraints afterwards.", rich_help_panel=RULES),
]
Owners: TypeAlias = Annotated[
    bool | None, typer.Option("--owners/--no-owners", help="Owners as on the source.", rich_help_panel=RULES)
]
Privileges: TypeAlias = Annotated[
    bool | None, typer.Option("--privileges/--no-privileges", help="What is granted, too.", rich_help_panel=RULES)
]
Analyze: TypeAlias = Annotated[
    bool | None, typer.Option("--analyze/--no-analyze", help="ANALYZE afterwards.", rich_help_panel=RULES)
]
SourceEncoding: TypeAlias = Annotated[
    str | None, typer.Option(help="What a SQL_ASCII source really holds, e.g. UHC.", rich_help_panel=RULES)
]
TargetFree: TypeAlias = Annotated[
    int | None,
    typer.Option(
        parser=parse_size,
        metavar="SIZE",
        help="Bytes free for the target, where nobody can ask it.",
        rich_help_panel=RULES,
    ),
]
StallTimeout: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="S", help="Silence before the server is asked.", rich_help_panel=TROUBLE),
]
LockTimeout: TypeAlias = Annotated[
    float | None, typer.Option(min=0.1, metavar="S", help="Wait for a lock.", rich_help_panel=TROUBLE)
]
GiveUpAfter: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="S", help="Faults without progress, then give up.", rich_help_panel=TROUBLE),
]
Retries: TypeAlias = Annotated[int | None, typer.Option(min=0, help="Per chunk.", rich_help_panel=TROUBLE)]
MaxRejects: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="N|X%", help="Rows of a table that may be set aside.", rich_help_panel=TROUBLE),
]
Duplicate: TypeAlias = Annotated[
    Duplicates | None,
    typer.Option("--duplicates", help="What a unique index will not have.", rich_help_panel=TROUBLE),
]
DuplicatesBy: TypeAlias = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Their order.", rich_help_panel=TROUBLE)
]
MemoryLimit: TypeAlias = Annotated[
    int | None,
    typer.Option(parser=parse_size, metavar="SIZE", help="Of a worker, for rows in hand.", rich_help_panel=TROUBLE),
]
MaxRate: TypeAlias = Annotated[
    int | None,
    typer.Option(parser=parse_rate, metavar="RATE", help="Of all workers together, e.g. 50MB/s.", rich_help_panel=CARE),
]
OnlyBetween: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="HOURS", help="Move only then: 22:00-06:00 [ZONE].", rich_help_panel=CARE),
]
PauseHold: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0, metavar="S", help="How long a pause keeps the snapshot.", rich_help_panel=CARE),
]
MaxSourceLag: TypeAlias = Annotated[
    float | None, typer.Option(min=0.1, metavar="S", help="Hold while a replica is behind.", rich_help_panel=CARE)
]
MaxSourceSessions: TypeAlias = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Hold while more are at work.", rich_help_panel=CARE)
]
MaxCheckpointPressure: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Hold while more are forced in a minute.", rich_help_panel=CARE),
]
MetricsPort: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="N", help="Let Prometheus ask here.", rich_help_panel=TELL),
]
MetricsHost: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Listen there; else on 127.0.0.1.", rich_help_panel=TELL)
]
MetricsFile: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="FILE.prom", help="Keep the figures there for node_exporter.", rich_help_panel=TELL),
]
Notify: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="TARGET", help="https://…, mailto:…, desktop, env:NAME; repeat it.", rich_help_panel=TELL),
]
TellOf: TypeAlias = Annotated[
    list[NotifyOn] | None,
    typer.Option("--notify-on", help="Of what; finished, failed and paused if not said.", rich_help_panel=TELL),
]
Every: TypeAlias = Annotated[
    float, typer.Option("--progress-every", min=0.1, metavar="S", help="Off a terminal: seconds between lines.")
]
Now: TypeAlias = Annotated[bool, typer.Option("--now", help="Let snapshot, locks and connections go at once.")]
RunId: TypeAlias = Annotated[str | None, typer.Option("--run-id", metavar="ID", help="12 hex characters.")]
SavePlan: TypeAlias = Annotated[
    Path | None, typer.Option("--save-plan", metavar="FILE", help="Keep this as a plan file, then run.")
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Show what it would do, as pghaul plan does; change nothing.")
]
PlanOut: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan, and its schema for editors.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Tell every step.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Tell only what is wrong.")]
TrustLedger: TypeAlias = Annotated[
    bool, typer.Option("--trust-ledger", help="Do not hash finished chunks again; receipts will say so.")
]


def complete_run(begun: str) -> list[tuple[str, str]]:
    """For the shell: the latest runs that begin so, with their state. A store that cannot be read has none."""
    from pghaul.service.migration import MigrationService  # noqa: PLC0415 -- asked for by TAB only

    try:
        found = MigrationService().runs(limit=20)
    except PghaulError:
        return []
    ours = [run for run in found if run.id.startswith(begun)]
    return [(r.id, f"{tell(worded(r.state))} {r.started.astimezone():%Y-%m-%d %H:%M}") for r in ours]


OptionalRun: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="RUN", help="By default the latest.", autocompletion=complete_run)
]
RequiredRun: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A run's id.", autocompletion=complete_run)]


def plan_words(  # noqa: PLR0917 -- Typer maps parameters to options
    plan_file: PlanFile = None,
    onto: Onto = None,
    source: From = None,
    target: To = None,
    table: Tables = None,
    schema: selecting.Schemas = None,
    exclude: selecting.Excluded = None,
    everything: selecting.Everything = False,
    larger_than: selecting.Larger = None,
    smaller_than: selecting.Smaller = None,
    where: selecting.Condition = None,
    since: selecting.Since = None,
    until: selecting.Until = None,
    timezone: selecting.Timezone = None,
    unit: selecting.EpochUnit = None,
    registry: selecting.Registry = None,
    key: selecting.Key = None,
    layout: selecting.TargetLayout = None,
    into: selecting.Into = None,
    workers: Workers = None,
    on_existing: Existing = None,
    verify: Proofs = None,
    recipe: Recipes = None,
    on_conflict: Conflicts = None,
    copy_format: CopyFormat = None,
    locks: LockSpan = None,
    split_size: SplitSize = None,
    create: Create = None,
    indexes: Indexes = None,
    owners: Owners = None,
    privileges: Privileges = None,
    analyze: Analyze = None,
    source_encoding: SourceEncoding = None,
    target_free: TargetFree = None,
    stall_timeout: StallTimeout = None,
    lock_timeout: LockTimeout = None,
    give_up_after: GiveUpAfter = None,
    retries: Retries = None,
    max_rate: MaxRate = None,
    only_between: OnlyBetween = None,
    pause_hold: PauseHold = None,
    max_source_lag: MaxSourceLag = None,
    max_source_sessions: MaxSourceSessions = None,
    max_checkpoint_pressure: MaxCheckpointPressure = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    metrics_file: MetricsFile = None,
    notify: Notify = None,
    notify_on: TellOf = None,
    query: merging.Query = None,
    mode: merging.Mode = None,
    merge_key: merging.MergeKey = None,
    null_keys: merging.NullKey = None,
    latest_by: merging.LatestBy = None,
    watermark: merging.Watermark = None,
    watermark_format: merging.WatermarkFormat = None,
    watermark_zone: merging.WatermarkZone = None,
    lookback: merging.Lookback = None,
    null_watermarks: merging.NullWatermark = None,
    deleted: merging.Deleted = None,
    allow_empty: merging.AllowEmpty = None,
    valid_from: merging.ValidFrom = None,
    valid_to: merging.ValidTo = None,
    reload: merging.Reload = None,
    on_drift: merging.Drift = None,
    max_rejects: MaxRejects = None,
    duplicates: Duplicate = None,
    duplicates_by: DuplicatesBy = None,
    memory_limit: MemoryLimit = None,
    names: mapped.NameRule = None,
    target_schema: mapped.TargetSchema = None,
    pg_type: mapped.Types = None,
    encoding: mapped.Encoding = None,
    undecodable: mapped.Undecoded = None,
    nul: mapped.Nul = None,
    orphans: mapped.Orphans = None,
    views: mapped.Views = None,
    vacuum: mapped.Vacuum = None,
    ddl: mapped.Ddl = None,
    batch_rows: mapped.BatchRows = None,
    consistency: mapped.Consistent = None,
) -> Plan:
    """The Plan that these words say: those of the command line over those of the file."""
    said = locals()
    chosen, selected = parted(said)
    chosen |= outlets(**{key: chosen[key] for key in OUTLETS})
    merge = {key: value for key, value in said.items() if merging.KEYS.get(key, key) in Merge.model_fields}
    selected["merge"] = {key: value for key, value in merge.items() if key != "key"}
    selected["mapping"] = said
    file, source, target = ends(plan_file, onto, source, target)
    plan = composed(file, source, target, table, chosen, selected)
    if recipe not in {None, Recipe.MERGE} and plan.merges:
        raise PlanError(
            say("--recipe {recipe} does not go with what is said of merging", recipe=str(recipe)),
            where="--recipe",
            advice=say(
                "leave one of them out: --mode, --watermark and their kin, --query, [tables.merge], or --recipe"
            ),
            code=1182,
        )
    return plan


def ends(
    first: str | None, second: str | None, source: str | None, target: str | None
) -> tuple[Path | None, str | None, str | None]:
    """What stands without an option: a plan's file, or both databases."""
    if first is None or (second is None and not mapped.URL.match(first)):
        return Path(first) if first else None, source, target
    if source or (second and target):
        raise UsageError(
            say("source and target are said twice"),
            advice=say("say them once, with --from and --to or without"),
            code=1046,
        )
    return None, first, second or target


def parted(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a command's parameters: the words of options, and those of selections, both under the plan's keys."""
    keyed = {PLAN_KEYS.get(key, key): value for key, value in said.items()}
    chosen = {key: value for key, value in keyed.items() if key in Options.model_fields}
    return chosen, {key: value for key, value in keyed.items() if key in selecting.WORDS}


def composed(
    file: Path | None,
    source: str | None,
    target: str | None,
    tables: list[str] | None,
    chosen: dict[str, Any],
    selected: Mapping[str, Any],
) -> Plan:
    """As `compose_plan`, where wrong words are errors of ours."""
    try:
        return compose_plan(file, source, target, tables, chosen, selected)
    except ValidationError as exc:
        raise PlanError(WRONG_PLAN.format(problems=joined("; ", map(_problem, exc.errors()))), code=1160) from None


def _problem(found: Mapping[str, Any]) -> str:
    """One of pydantic's findings, under the key that it is about."""
    key = next((part for part in reversed(found["loc"]) if isinstance(part, str)), "")
    return KEYED.format(key=key, problem=problem(found)) if key else problem(found)


def takes_plan(command: Callable[..., int]) -> Callable[..., int]:
    """A command whose first parameter is a Plan: on the command line stand all words of `plan_words` for it."""
    ours, own = inspect.signature(plan_words), inspect.signature(command)
    words, (_, *rest) = list(ours.parameters.values()), own.parameters.values()
    hints = get_type_hints(plan_words, include_extras=True) | get_type_hints(command, include_extras=True)
    parameters = [p.replace(annotation=hints[p.name]) for p in [*words, *rest]]

    @functools.wraps(command)
    def called(**given: Any) -> int:
        said = {w.name: given.pop(w.name) for w in words}
        if given.get("interactive"):
            from pghaul.cli import wizard  # noqa: PLC0415 -- for those who want to be asked

            said = wizard.ask(said, Console(stderr=True, highlight=False))
        return command(plan_words(**said), **given)

    del called.__wrapped__
    called.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return called


def outlets(**said: Any) -> dict[str, Any]:
    """What a command that takes no plan says of whom to tell: over what the run's own plan says."""
    given = {key: value for key, value in said.items() if value is not None and value != []}
    if "notify" in given:  # --notify '' means nobody
        given["notify"] = [target for target in given["notify"] if target]
    return given


def compose_plan(
    file: Path | None,
    source: str | None,
    target: str | None,
    tables: list[str] | None,
    chosen: dict[str, Any],
    selected: Mapping[str, Any] = NOTHING,
) -> Plan:
    """A plan file with the command line's words over it, or the words alone. UsageError names what is missing.

    `chosen` are words of options, `selected` those of selections and the period.
    """
    said = {key: value for key, value in chosen.items() if value is not None}
    found = from_file()
    if file is None:
        target = target or found.target
        anything = tables or selected.get("schemas") or selected.get("whole") or selected.get("query")
        if not anything and source and _is_foreign(source):  # there, nobody has to name what he moves all of
            selected = dict(selected) | {"whole": True}
            anything = True
        _require(source=source, target=target, tables=anything)
        planned: dict[str, Any] = {"source": source or "", "target": target or ""}
    else:
        from pghaul.service.plan_file import read_plan  # noqa: PLC0415

        planned = read_plan(file, source=source, target=target).model_dump(exclude_unset=True)
    of_file = {"workers": found.workers} if found.workers else {}
    planned["options"] = of_file | planned.get("options", {}) | said
    planned["tables"] = selecting.selections(tables, selected.get("schemas"), selected, planned.get("tables", []))
    rows = {"batch_rows": found.batch_rows} if found.batch_rows else {}
    if kept := mapped.mapping(selected.get("mapping", NOTHING), rows | (planned.get("mapping") or {})):
        planned["mapping"] = kept
    planned["period"] = selecting.period(selected, planned.get("period"))
    planned["exclude"] = selected.get("exclude") or planned.get("exclude", [])
    planned["whole"] = bool(selected.get("whole") or planned.get("whole", False))
    return Plan.model_validate(planned)


def _is_foreign(source: str) -> bool:
    """Of a URL, or of a profile; a name that nobody knows is complained of where it is reached."""
    from pghaul.service.migration import MigrationService  # noqa: PLC0415

    with suppress(NotFoundError):
        return MigrationService().is_foreign(source)
    return False


def _require(**given: object) -> None:
    absent = [WHAT[name] for name, value in given.items() if not value]
    if absent:
        raise UsageError(MISSING.format(what=joined(", ", absent)), advice=EXAMPLE, code=1064)
