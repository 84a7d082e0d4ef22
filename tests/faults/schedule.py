"""Which fault strikes when: a function of seed and index alone, so that one case can be played again.

Cases come in blocks of 50. Two of a block need a resume by their nature (the main process dies), so they are 4 %;
the rest are drawn from a deck in which each kind has its number of cards.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.faults.changes import CHANGES
from tests.faults.faults import FAULTS, FOREIGN_FAULTS, WORKER
from tests.faults.foreign import CHANGES as FOREIGN_CHANGES
from tests.faults.proxy import Moment, Trigger
from tests.faults.stories import STORIES
from tests.faults.story import place

BLOCK = 50
DECK = {
    "backend_terminated": 4,
    "connection_reset": 4,
    "stall": 4,
    "half_open": 3,
    "outage": 2,
    "server_crash": 4,
    "server_restart": 3,
    "worker_killed": 4,
    "worker_stopped": 2,
    "out_of_connections": 2,
    "lock_timeout": 3,
    "disk_full": 2,
    "copy_cancelled": 3,
    "pause": 2,
    "pause_freed": 1,
}
CHANGES_PER_BLOCK = 5
CARDS = [kind for kind, number in DECK.items() for _ in range(number)]
NEED_RESUME = (
    *("main_killed", "source_update", "stale_worker", "source_insert", "main_killed", "source_delete"),
    *("main_killed", "source_truncate", "stale_worker", "source_vacuum_full", "main_killed", "source_cluster"),
    *("main_killed", "source_drop", "stale_worker", "source_add_column", "main_killed", "main_killed"),
)
assert len(CARDS) + CHANGES_PER_BLOCK + 2 == BLOCK

SHARES = {"copy": 6, "insert": 3, "update": 1}  # of the recipes
BY_WORKER = ("worker_killed", "worker_stopped", "stale_worker")
COPIED_IN_A_RUN = 3_300_000  # bytes of COPY text of all tables of the plant
WORDS = {
    "index": r"CREATE (UNIQUE )?INDEX|ADD CONSTRAINT|ATTACH PARTITION",
    "marker": r"(INSERT INTO|UPDATE)\s+\"?pghaul\"?\.\"?chunk_marker",
    "schema": r"CREATE (UNLOGGED )?TABLE|CREATE SCHEMA",
    "commit_before": r"^\s*COMMIT",
    "commit_after": r"^COMMIT$",
    "leader": r".",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """`phase` may be "resume": then an interrupted run is resumed and the fault strikes at `inner`.

    `mode` of a change of the source: "during" an undisturbed run, "snapshot" (with its loss), "between" (main
    process killed, source changed, resumed).
    """

    seed: int
    index: int
    kind: str
    phase: str
    inner: str
    side: str
    mode: str = ""
    recipe: str = "copy"  # or "insert", or "update": into tables that hold an older state; or a story's name
    gentle: bool = False  # a second try with the earliest possible moment, when the first found none

    @property
    def rng(self) -> random.Random:
        """For what is left to chance within the case."""
        return random.Random(f"{self.seed}:{self.index}:inside")

    @property
    def needs_resume(self) -> bool:
        """Whether nothing but a resume can help."""
        by_nature = self.kind in ("main_killed", "stale_worker") or self.kind in FOREIGN_CHANGES
        return by_nature or self.mode == "between" or self.recipe == "replay"

    def trigger_words(self) -> tuple[Moment, str, str, int, int]:
        """Moment, pattern, application, bytes, matches to skip."""
        rng = self.rng
        if self.recipe in STORIES:
            return place(STORIES[self.recipe], self.inner, rng, gentle=self.gentle)
        skip = 0 if self.gentle else rng.randint(0, 7)
        volume = 1 if self.gentle else rng.randint(1, COPIED_IN_A_RUN // (2 if self.phase == "resume" else 1))
        by_worker = self.kind in BY_WORKER
        match self.inner:
            case "copy":
                return Moment.COPIED, "", WORKER, volume, 0
            case "schema" if self.side == "source":
                return Moment.QUERY, ".", "/dump$", 0, skip * 5
            case "schema":
                return Moment.QUERY, WORDS["schema"], "/restore$", 0, skip
            case "leader":
                return Moment.QUERY, WORDS["leader"], "/leader$", 0, skip * 4
            case "commit_after":
                return Moment.ANSWER, WORDS["commit_after"], WORKER, 0, skip
            case "index":
                return Moment.QUERY, WORDS["index"], WORKER if by_worker else "", 0, skip
            case other:
                return Moment.QUERY, WORDS[other], WORKER, 0, skip


def trigger(case: Case) -> Trigger:
    """The trigger of this case; its action is set by whoever plays it."""
    moment, pattern, application, volume, skip = case.trigger_words()
    fault = FAULTS.get(case.kind) or FOREIGN_FAULTS.get(case.kind)
    made = Trigger(moment=moment, pattern=pattern, application=application, after_bytes=volume, skip=skip)
    if case.recipe in STORIES:
        made.after = STORIES[case.recipe].strikes[case.inner].after
    if fault and not case.mode:
        made.fate, made.everyone, made.refuse_seconds = fault.fate, fault.everyone, fault.refuse_seconds
    return made


def case_at(seed: int, index: int) -> Case:
    """The case of this number."""
    block, place = divmod(index, BLOCK)
    order = list(range(BLOCK))
    random.Random(f"{seed}:block:{block}").shuffle(order)
    card = order[place]
    rng = random.Random(f"{seed}:{index}")
    if card < 2:
        kind = NEED_RESUME[(2 * block + card) % len(NEED_RESUME)]
        return make(seed, index, kind, rng, mode="between" if kind in CHANGES else "")
    if card < 2 + CHANGES_PER_BLOCK:
        number = block * CHANGES_PER_BLOCK + card - 2
        kind = list(CHANGES)[number % len(CHANGES)]
        return make(seed, index, kind, rng, mode=("during", "snapshot")[number // len(CHANGES) % 2])
    return make(seed, index, CARDS[card - 2 - CHANGES_PER_BLOCK], rng)


def make(seed: int, index: int, kind: str, rng: random.Random, *, mode: str = "") -> Case:
    """Choose phase and side."""
    phase = "copy" if mode else rng.choice(FAULTS[kind].phases)
    inner = (
        rng.choice([p for p in FAULTS[kind].phases if p not in ("resume", "schema")]) if phase == "resume" else phase
    )
    side = rng.choice(["source", "target"]) if inner in ("copy", "schema", "leader") else "target"
    if kind in ("lock_timeout", "disk_full"):
        side = "target"
    case = Case(seed=seed, index=index, kind=kind, phase=phase, inner=inner, side=side, mode=mode)
    return by(case, random.Random(f"{seed}:{index}:recipe").choices(list(SHARES), list(SHARES.values()))[0])


def by(case: Case, recipe: str) -> Case:
    """The same fault for another recipe, where it can strike.

    An update creates nothing and builds no index. It never deletes, so that a source that loses rows is not for it.
    """
    if recipe in STORIES and not case.mode:
        return _of_story(case, recipe)
    if recipe != "update" and recipe not in STORIES:
        return replace(case, recipe=recipe)
    if case.mode:
        return replace(case, recipe="insert")
    absent = ("schema", "index")
    return replace(
        case,
        recipe=recipe,
        phase="copy" if case.phase in absent else case.phase,
        inner="copy" if case.inner in absent else case.inner,
    )


def story_at(seed: int, index: int) -> Case | None:
    """Every second fault strikes a story as well, one story after the other; None where it does not."""
    case = case_at(seed, index)
    if index % 2 or case.mode:
        return None
    names = list(STORIES)
    return by(case, names[index // 2 % len(names)])


def _of_story(case: Case, recipe: str) -> Case:
    """The same fault, at a moment of the story. Where it has no processes but one, it is that one which dies.

    Every second one of the Arrow lane is a fault of its own kinds instead.
    """
    rng = random.Random(f"{case.seed}:{case.index}:story")
    story, kind = STORIES[recipe], case.kind
    if story.kinds and rng.random() < 0.5:
        return of_foreign(case, recipe, rng.choice(story.kinds))
    processes = story.environ or story.foreign or recipe == "careful"
    if (kind in BY_WORKER and not processes) or (recipe == "replay" and kind in ("pause", "pause_freed")):
        kind = "main_killed"
    fit = [name for name, s in story.strikes.items() if kind not in BY_WORKER or s.application == WORKER]
    inner = rng.choice(fit)
    copying = story.strikes[inner].moment is Moment.COPIED and recipe != "replay" and not story.foreign
    side = case.side if copying and kind not in ("lock_timeout", "disk_full") else "target"
    phase = "resume" if case.phase == "resume" and recipe != "replay" else inner
    return replace(case, kind=kind, recipe=recipe, phase=phase, inner=inner, side=side)


def of_foreign(case: Case, recipe: str, kind: str) -> Case:
    """A fault on the side of a source that is not PostgreSQL: more often while it is read."""
    rng = random.Random(f"{case.seed}:{case.index}:foreign")
    inner = rng.choice(["copy", "copy", "copy", *STORIES[recipe].strikes])
    phase = "resume" if kind not in FOREIGN_CHANGES and rng.random() < 0.2 else inner
    return replace(case, kind=kind, recipe=recipe, phase=phase, inner=inner, side="target")
