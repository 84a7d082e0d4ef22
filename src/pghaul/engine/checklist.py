"""The runbook's questions, asked of both servers: the week before, on the day, and afterwards. Nothing is changed.

Each question is a function from what was seen to its Items; what no program can know is an Item to be ticked by hand.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from pghaul.engine import quiet
from pghaul.engine.arrow.probe import probe
from pghaul.engine.scene import glimpsed, glimpsed_target
from pghaul.model.checklist import Item, Outcome, Phase
from pghaul.model.errors import PghaulError
from pghaul.model.finding import Severity
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.plan import Plan
from pghaul.model.preview import Preview
from pghaul.model.probe import ForeignProbe
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run, RunState
from pghaul.model.table import Name
from pghaul.model.text import Text, joined, say
from pghaul.model.verification import Verification
from pghaul.postgres import health, pressure
from pghaul.postgres.health import Client
from pghaul.postgres.session import Session

NAMED = 3  # of the tables, sessions … that an answer is about, as many are named
CLOCKS_APART = 5.0  # seconds: more, and what two servers stamped in one moment looks like two
LAG = 60.0  # seconds
STALE = 24 * 3600.0  # a verification older than a day proves yesterday
UNSEEN = say("nobody writes to the source any more; that cannot be asked of it from here")
SPARE = 2  # sessions that a run keeps beside those of its workers, on each side


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What this machine's store knows of a pair of databases, the latest first."""

    runs: Sequence[Run] = ()
    proofs: Sequence[Verification] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Sessions are read-only. `runs`: of this pair of databases, the latest first; `proofs` as well.

    A source that is not PostgreSQL has no session here, but what a test of its profile tells.
    """

    source: Session | None
    foreign: ForeignProbe | None
    target: Session
    preview: Preview
    read: Sequence[Name]  # the source's tables
    written: Sequence[Name]  # the target's, as far as they are there
    runs: Sequence[Run]
    proofs: Sequence[Verification]
    now: datetime

    def sides(self) -> Mapping[str, tuple[Session, Sequence[Name]]]:
        """By name."""
        here = {"source": (self.source, self.read)} if self.source else {}
        return {**here, "target": (self.target, self.written)}


@contextlib.contextmanager
def looking(
    plan: Plan, source: Endpoint | ForeignEndpoint, target: Endpoint, preview: Preview, past: Past
) -> Iterator[Scene]:
    """Opens both sides, to read only."""
    run = secrets.token_hex(6)
    with contextlib.ExitStack() as stack:
        here: Session | None = None
        foreign: ForeignProbe | None = None
        if isinstance(source, ForeignEndpoint):
            foreign = probe(source)
            there = stack.enter_context(glimpsed_target(run, plan, target))
        else:
            here, there = stack.enter_context(glimpsed(run, plan, source, target))
        yield Scene(
            source=here,
            foreign=foreign,
            target=there,
            preview=preview,
            read=sorted({t.source for t in preview.tables}),
            written=health.present(there, [t.table for t in preview.tables]),
            runs=past.runs,
            proofs=past.proofs,
            now=datetime.now(UTC),
        )


Question: TypeAlias = Callable[[Scene], Iterable[Item]]


def ask(questions: Sequence[Question], scene: Scene) -> list[Item]:
    """All of them; one that cannot be answered says so and spares the others."""
    items: list[Item] = []
    for question in questions:
        try:
            items += question(scene)
        except PghaulError as exc:
            about = say("a look at: {what}", what=question.__name__.strip("_").replace("_", " "))
            items.append(_item(question.__name__.strip("_"), "here", Outcome.LOOK, about, exc.said, exc.advice))
    return items


def _item(id_: str, side: str, outcome: Outcome, about: Text, found: str = "", advice: str = "") -> Item:
    return Item(id=id_.replace("_", "-"), side=side, outcome=outcome, about=about, found=found, advice=advice)


def _listed(names: Sequence[object]) -> Text:
    """The first of them, and how many there are."""
    shown = joined(", ", [str(n) for n in names[:NAMED]])
    return say("{n}: {names} …", n=len(names), names=shown) if len(names) > NAMED else shown


def _who(client: Client) -> Text:
    name = client.application or say("a session without a name")
    return say("{name} (user {user}, pid {pid})", name=name, user=client.user, pid=client.pid)


def _names_item(
    id_: str, side: str, about: Text, bad: Sequence[object], advice: Text, outcome: Outcome = Outcome.LOOK
) -> Item:
    """Fine where there are none."""
    if not bad:
        return _item(id_, side, Outcome.FINE, about)
    return _item(id_, side, outcome, about, _listed(bad), advice)


# --- questions of several phases ---


def plan(scene: Scene) -> Iterator[Item]:
    """What `pghaul plan` finds."""
    about = say("a run of this plan would begin")
    wrong = [f.what for f in scene.preview.findings if f.severity is Severity.ERROR]
    advice = say("`pghaul plan` shows all of it, with what to do")
    yield _item("plan", "here", Outcome.BAD if wrong else Outcome.FINE, about, joined("; ", wrong[:NAMED]), advice)
    warned = [f.what for f in scene.preview.findings if f.severity is Severity.WARNING]
    about = say("nothing that somebody should look at first")
    yield _item(
        "warnings", "here", Outcome.LOOK if warned else Outcome.FINE, about, joined("; ", warned[:NAMED]), advice
    )


def other_kind(scene: Scene) -> Iterator[Item]:
    """Of a source that is not PostgreSQL: what `pghaul profile test` finds."""
    if scene.foreign is None:
        return
    found = scene.foreign.findings
    bad = [f.what for f in found if f.severity is Severity.ERROR]
    odd = [f.what for f in found if f.severity is Severity.WARNING]
    outcome = Outcome.BAD if bad else Outcome.LOOK if odd else Outcome.FINE
    advice = say("`pghaul profile test` shows all of it, with what to do")
    about = say("the source answers and can be read")
    yield _item("source", "source", outcome, about, joined("; ", (bad + odd)[:NAMED]), advice)


def space(scene: Scene) -> Iterator[Item]:
    """Errors of space stand in the plan's findings; here, whether it is known at all."""
    if scene.preview.space.free is None:
        about = say("the free disk of the target is known")
        advice = say("say it with --target-free, after a look at the server: df")
        yield _item("space", "target", Outcome.LOOK, about, say("nobody can ask it from here"), advice)


def connections(scene: Scene) -> Iterator[Item]:
    """Those of our workers and beside."""
    wanted = scene.preview.workers + SPARE
    for side, (session, _) in scene.sides().items():
        free = health.free_connections(session)
        found = say("free: {free}, needed: {wanted}", free=free, wanted=wanted)
        advice = say("lower --workers, or let sessions go")
        outcome = Outcome.FINE if free >= wanted else Outcome.BAD
        yield _item("connections", side, outcome, say("connections for the workers"), found, advice)


def long_transactions(scene: Scene) -> Iterator[Item]:
    """They keep VACUUM and locks waiting, and writers among them may commit late."""
    for side, (session, _) in scene.sides().items():
        found = [_who(c) for c in health.long_transactions(session)]
        about = say("no transaction older than an hour")
        yield _names_item("long-transactions", side, about, found, say("end them, or find out what they wait for"))
        prepared = health.prepared_transactions(session)
        about = say("no prepared transactions")
        advice = say("COMMIT PREPARED or ROLLBACK PREPARED: they hold their locks for ever")
        yield _names_item("prepared-transactions", side, about, prepared, advice)


def clocks(scene: Scene) -> Iterator[Item]:
    """now() is a default of many columns."""
    for side, (session, _) in scene.sides().items():
        before = time.time()
        theirs = health.clock(session)
        yield _clock(side, theirs - (before + time.time()) / 2)
    if scene.foreign and scene.foreign.facts and (distance := scene.foreign.facts.distance):
        yield _clock("source", distance.clock_ahead)


def _clock(side: str, apart: float) -> Item:
    found = say("{seconds:+.1f} s from the clock here", seconds=apart)
    outcome = Outcome.FINE if abs(apart) <= CLOCKS_APART else Outcome.LOOK
    return _item("clock", side, outcome, say("the clock is right"), found, say("let NTP set it"))


def lag(scene: Scene) -> Iterator[Item]:
    """Of the source's replicas, and of the target's."""
    for side, (session, _) in scene.sides().items():
        if not session.server.capabilities.replay_lag or not pressure.sees_all(session):
            continue
        seconds = pressure.replication_lag(session)
        outcome = Outcome.FINE if seconds <= LAG else Outcome.LOOK
        found = say("{seconds:.0f} s", seconds=seconds)
        yield _item("lag", side, outcome, say("replicas are close"), found, say("--max-source-lag holds for them"))


def idle_slots(scene: Scene) -> Iterator[Item]:
    """A load writes WAL, and a slot that nobody reads keeps all of it."""
    about = say("no replication slot without a reader")
    advice = say("drop it, or start its reader: the load's WAL would pile up behind it")
    yield _names_item("idle-slots", "target", about, health.idle_slots(scene.target), advice)


# --- before ---


def rehearsal(scene: Scene) -> Iterator[Item]:
    """A migration that was never tried is tried on the day."""
    done = [r for r in scene.runs if r.state in {RunState.DONE, RunState.DIFFERENT}]
    about = say("a rehearsal has been run")
    if not done:
        advice = say("run the plan once, against a copy or the new server itself: then its time is known")
        yield _item("rehearsal", "here", Outcome.LOOK, about, say("no finished run of these databases"), advice)
        return
    yield _item("rehearsal", "here", Outcome.FINE, about, _took(done[0]))


def _took(run: Run) -> Text:
    seconds = (run.finished - run.started).total_seconds() if run.finished else 0.0
    day = f"{run.started.astimezone():%Y-%m-%d %H:%M}"
    return say("run {run}, {day}: {minutes:.1f} minutes", run=run.id, day=day, minutes=seconds / 60)


def belongings(scene: Scene) -> Iterator[Item]:
    """What is odd on the source arrives as it is. Of another kind of database, the plan says it."""
    if scene.source is None:
        return
    about = say("every table has a key")
    advice = say("without one, a difference can be told but not named by its key")
    yield _names_item("keys", "source", about, health.keyless(scene.source, scene.read), advice)
    about = say("every table was analysed")
    advice = say("ANALYZE them: sizes and times are estimated by it")
    yield _names_item("analysed", "source", about, health.never_analysed(scene.source, scene.read), advice)
    advice = say("REINDEX or DROP them: they would fail, or be built, on the target")
    about = say("no invalid indexes")
    yield _names_item("invalid-indexes", "source", about, health.invalid_indexes(scene.source, scene.read), advice)
    about = say("no constraints that were never validated")
    advice = say("VALIDATE them now: rows that break them would break them there")
    yield _names_item("not-valid", "source", about, health.not_valid(scene.source, scene.read), advice)


def not_carried(scene: Scene) -> Iterator[Item]:
    """Named in the plan; somebody has to make it by hand."""
    left = [f"{u.kind} {u.name}" for u in scene.preview.not_carried]
    about = say("everything is carried")
    yield _names_item("not-carried", "target", about, left, say("make by hand what is needed: `pghaul plan` lists it"))


def by_hand_before(_: Scene) -> Iterator[Item]:
    """What a person knows."""
    yield _hand("backup", say("the source's backup was restored once, and the restore was looked at"))
    yield _hand("way-back", say("who decides to go back, by what, and until when is written down"))
    yield _hand("connection-strings", say("every place that holds the old server's address is known"))
    yield _hand("monitoring", say("the new server is monitored and backed up"))
    yield _hand("told", say("those who use the data know the day"))


def _hand(id_: str, about: Text) -> Item:
    return _item(id_, "here", Outcome.BY_HAND, about)


# --- the day ---


def last_run(scene: Scene) -> Iterator[Item]:
    """What the cutover will refresh."""
    about = say("the last run of these databases is finished")
    if not scene.runs:
        yield _item("last-run", "here", Outcome.LOOK, about, say("there is none"), say("`pghaul run` begins it"))
        return
    run = scene.runs[0]
    fine = run.state is RunState.DONE
    found = say("run {run} is {state}", run=run.id, state=run.state.value)
    advice = say("`pghaul resume {run}` goes on, `pghaul show {run}` says why", run=run.id)
    yield _item("last-run", "here", Outcome.FINE if fine else Outcome.LOOK, about, found, advice)


def writers(scene: Scene) -> Iterator[Item]:
    """The cutover waits until there are none."""
    if scene.source is None:
        yield _item("writers", "source", Outcome.BY_HAND, UNSEEN)
        return
    seen = quiet.look(scene.source, scene.read)
    about = say("nobody writes to the source's tables at this moment")
    busy = sorted({str(w) for w in seen.writers})
    advice = say("stop them before the cutover; `pghaul cutover --read-only --end-sessions` does it for you")
    yield _names_item("writers", "source", about, busy, advice)
    about = say("nobody else is connected to the source")
    others = sorted({str(o) for o in seen.others})
    yield _names_item("connected", "source", about, others, say("whose sessions are these? They go with the cutover"))


def waits(scene: Scene) -> Iterator[Item]:
    """Whoever waits for a lock now will wait longer."""
    for side, (session, _) in scene.sides().items():
        found = [_who(c) for c in health.lock_waits(session)]
        yield _names_item("lock-waits", side, say("nobody waits for a lock"), found, say("find who holds it: pg_locks"))


def by_hand_day(_: Scene) -> Iterator[Item]:
    """What a person knows."""
    yield _hand("backup-today", say("today's backup of the source is done"))
    yield _hand("announced", say("the interruption is announced, and the applications' owners are at hand"))
    yield _hand("jobs", say("cron jobs and batches that write to the source are off"))


# --- after ---


def proven(scene: Scene) -> Iterator[Item]:
    """By the newest comparison of these databases."""
    about = say("source and target were compared, and agree")
    advice = say("`pghaul verify` compares them and names the rows that differ")
    if not scene.proofs:
        yield _item("proof", "here", Outcome.LOOK, about, say("no comparison is known"), advice)
        return
    proof = scene.proofs[0]
    hours = (scene.now - proof.finished).total_seconds() / 3600
    if not proof.agrees:
        wrong = [t.target for t in proof.tables if not t.agrees]
        yield _item("proof", "here", Outcome.BAD, about, say("different: {tables}", tables=_listed(wrong)), advice)
        return
    found = say("{hours:.1f} hours ago, by {method}", hours=hours, method=proof.method.value)
    outcome = Outcome.FINE if hours * 3600 <= STALE else Outcome.LOOK
    yield _item("proof", "here", outcome, about, found, advice)


def all_there(scene: Scene) -> Iterator[Item]:
    """Tables of the plan that the target lacks."""
    there = set(scene.written)
    gone = [t.table for t in scene.preview.tables if t.table not in there]
    about = say("every table of the plan is on the target")
    yield _names_item("tables", "target", about, gone, say("`pghaul run` or `resume` brings them"), Outcome.BAD)


def target_belongings(scene: Scene) -> Iterator[Item]:
    """What a load leaves behind when it was cut short, or somebody wanted to make it faster."""
    target, tables = scene.target, scene.written
    about = say("sequences are past the highest value")
    advice = say("setval() them, or `pghaul cutover`: the next INSERT would fail")
    yield _names_item("sequences", "target", about, health.sequences_behind(target, tables), advice, Outcome.BAD)
    about = say("no invalid indexes")
    yield _names_item(
        "invalid-indexes", "target", about, health.invalid_indexes(target, tables), say("REINDEX them"), Outcome.BAD
    )
    about = say("no constraints that were never validated")
    yield _names_item(
        "not-valid", "target", about, health.not_valid(target, tables), say("ALTER TABLE … VALIDATE CONSTRAINT")
    )
    meant = health.silent_triggers(scene.source, scene.read) if scene.source else ()
    silent = set(health.silent_triggers(target, tables)) - set(meant)
    about = say("no trigger is off that is on at the source")
    yield _names_item("triggers", "target", about, sorted(silent), say("ALTER TABLE … ENABLE TRIGGER"), Outcome.BAD)
    about = say("every table was analysed")
    yield _names_item("analysed", "target", about, health.never_analysed(target, tables), say("ANALYZE"))


WANTED_SETTINGS = {"autovacuum": "on", "fsync": "on", "full_page_writes": "on", "track_counts": "on"}


def target_settings(scene: Scene) -> Iterator[Item]:
    """Switched off for a load, and forgotten."""
    said = health.server_settings(scene.target, [*WANTED_SETTINGS, "archive_mode"])
    wrong = [f"{name} = {said[name]}" for name, wanted in WANTED_SETTINGS.items() if said.get(name, wanted) != wanted]
    about = say("nothing stays switched off that was off for the load")
    advice = say("switch them on again, then reload the configuration")
    yield _names_item("settings", "target", about, wrong, advice, Outcome.BAD)
    off = ["archive_mode = off"] if said.get("archive_mode") == "off" else []
    about = say("WAL is archived")
    yield _names_item(
        "archiving", "target", about, off, say("without it there is no way back to a moment: see backups")
    )


def still_on_the_source(scene: Scene) -> Iterator[Item]:
    """Whoever was forgotten is still there."""
    if scene.source is None:
        yield _item("writers", "source", Outcome.BY_HAND, UNSEEN)
        return
    seen = quiet.look(scene.source, scene.read)
    about = say("nobody writes to the old tables")
    busy = sorted({str(w) for w in seen.writers})
    yield _names_item("writers", "source", about, busy, say("their rows are lost to the new server"), Outcome.BAD)
    about = say("nobody is connected to the old server")
    others = sorted({str(o) for o in seen.others})
    yield _names_item("connected", "source", about, others, say("an application with the old address?"))


def by_hand_after(_: Scene) -> Iterator[Item]:
    """What a person knows."""
    yield _hand("first-backup", say("the target's first backup is done, and was restored once"))
    yield _hand("plans", say("the slowest queries of the applications were looked at with EXPLAIN"))
    yield _hand("old-server", say("the day is set on which the old server goes, not before"))


BEFORE: tuple[Question, ...] = (
    plan,
    other_kind,
    space,
    connections,
    rehearsal,
    not_carried,
    belongings,
    long_transactions,
    idle_slots,
    clocks,
    by_hand_before,
)
DAY: tuple[Question, ...] = (
    last_run,
    other_kind,
    writers,
    waits,
    long_transactions,
    connections,
    space,
    lag,
    idle_slots,
    clocks,
    by_hand_day,
)
AFTER: tuple[Question, ...] = (
    proven,
    all_there,
    target_belongings,
    target_settings,
    still_on_the_source,
    clocks,
    by_hand_after,
)

QUESTIONS = {Phase.BEFORE: BEFORE, Phase.DAY: DAY, Phase.AFTER: AFTER}
