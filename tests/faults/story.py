"""What a story is: its tables, the moments at which it can be struck, and how its end is judged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.proxy import Moment

if TYPE_CHECKING:
    from tests.faults.faults import Scene
    from tests.faults.foreign import Foreign
    from tests.faults.lane import Lane

WORKER, LEADER, REPLAY = "/worker$", "/leader$", "/replay$"
RUN_ID = "0123456789ab"


@dataclass(frozen=True, kw_only=True)
class Strike:
    """A moment: `after` such a statement of the same session."""

    moment: Moment = Moment.QUERY
    pattern: str = ""
    application: str = LEADER
    after: str = ""
    most: int = 0  # matches that may be skipped


@dataclass(frozen=True, kw_only=True)
class Story:
    """`volume` is about the bytes of COPY that it moves; `ends` are exit codes of a good end."""

    source: str
    target: str
    tables: tuple[str, ...]
    strikes: dict[str, Strike]
    words: Callable[[str, str], tuple[str, ...]]  # of the command, by both URLs
    judge: Callable[[Scene], Iterable[str]]  # what is wrong
    before: Callable[[Scene], None] = lambda _scene: None
    volume: int = 400_000
    ends: tuple[int, ...] = (0,)
    resumed: bool = True  # by `pghaul resume`; else by the same command
    environ: dict[str, str] = field(default_factory=dict)
    foreign: Callable[[Lane, Path, random.Random], AbstractContextManager[Foreign]] | None = None  # the source
    kinds: tuple[str, ...] = ()  # of faults that only this story knows


def place(story: Story, name: str, rng: random.Random, *, gentle: bool) -> tuple[Moment, str, str, int, int]:
    """Moment, pattern, application, bytes, matches to skip."""
    strike = story.strikes[name]
    skip = 0 if gentle else rng.randint(0, strike.most)
    volume = 0 if strike.moment is not Moment.COPIED else 1 if gentle else rng.randint(1, story.volume)
    return strike.moment, strike.pattern, strike.application, volume, skip
