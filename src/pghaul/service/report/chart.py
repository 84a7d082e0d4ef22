"""The rate of a run over its time, as shapes for an SVG: no library, no script, nothing that is fetched.

Time in which nothing was recorded (the run was stopped over a weekend, or paused for a day) is drawn as a narrow gap:
what lies on either side of it would else be two needles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from pghaul.model.figures import amount, duration
from pghaul.model.sample import Sample, rates
from pghaul.service.report.contents import Attempt, Pause, Story

WIDTH, HEIGHT = 960, 280
LEFT, RIGHT, TOP, BOTTOM = 76, 14, 26, 34  # room for the words at the axes
BARS = 160  # over the whole width
HOLE = 0.06  # of the run's time without a sample, and at least HOLE_SECONDS: a gap
HOLE_SECONDS = 60.0
GAP = 26.0  # its width
Y_TICKS, X_TICKS = 4, 7
NEAR = 58.0  # two labels closer than this would touch
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something at one place of an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From one place to another of the time axis."""

    begin: float
    width: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything in the units of a WIDTH × HEIGHT viewBox. `most` and `mean` are bytes per second."""

    outline: str  # a path
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    attempts: tuple[Mark, ...]
    pauses: tuple[Span, ...]
    gaps: tuple[Span, ...]
    most: float
    mean: float
    seconds: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Samples without a hole between them, and where they are drawn."""

    samples: tuple[Sample, ...]
    begin: float
    width: float

    def place(self, at: datetime) -> float:
        """Of a moment within the stretch."""
        first, last = self.samples[0].at, self.samples[-1].at
        return self.begin + self.width * ((at - first) / (last - first))

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.samples[-1].at - self.samples[0].at).total_seconds()


def draw(story: Story) -> Chart | None:
    """None where there is nothing to see: fewer than two samples, or nothing was moved."""
    stretches = _stretches(story.samples)
    if not stretches:
        return None
    heights = [rates(s.samples, _bars(s)) for s in stretches]
    most = max((h for some in heights for h in some), default=0.0)
    if most <= 0:
        return None
    top = _scale(most)
    seconds = sum(s.seconds for s in stretches)
    moved = sum(max(0, s.samples[-1].moved - s.samples[0].moved) for s in stretches)
    return Chart(
        outline=" ".join(_outline(s, h, top[-1]) for s, h in zip(stretches, heights, strict=True)),
        x_ticks=_x_ticks(stretches, seconds, story.samples[0].at),
        y_ticks=tuple(Mark(at=_y(value, top[-1]), label=f"{amount(value)}/s") for value in top),
        attempts=_attempts(stretches, story.attempts),
        pauses=_pauses(stretches, story.pauses),
        gaps=_gaps(stretches),
        most=most,
        mean=moved / seconds,
        seconds=seconds,
    )


def _stretches(samples: Sequence[Sample]) -> list[_Stretch]:
    if len(samples) < 2:
        return []
    hole = max(HOLE_SECONDS, HOLE * (samples[-1].at - samples[0].at).total_seconds())
    parts: list[list[Sample]] = [[samples[0]]]
    for before, after in pairwise(samples):
        if (after.at - before.at).total_seconds() > hole:
            parts.append([])
        parts[-1].append(after)
    whole = [p for p in parts if p[-1].at > p[0].at]
    total = sum((p[-1].at - p[0].at).total_seconds() for p in whole)
    room = WIDTH - LEFT - RIGHT - GAP * (len(whole) - 1)
    out, begin = [], float(LEFT)
    for part in whole:
        width = room * (part[-1].at - part[0].at).total_seconds() / total
        out.append(_Stretch(samples=tuple(part), begin=begin, width=width))
        begin += width + GAP
    return out


def _bars(stretch: _Stretch) -> int:
    """No more than there are samples: what lies between two of them is not known better."""
    return max(1, min(len(stretch.samples) - 1, round(BARS * stretch.width / (WIDTH - LEFT - RIGHT))))


def _outline(stretch: _Stretch, heights: Sequence[float], top: float) -> str:
    step = stretch.width / max(1, len(heights))
    path = [f"M{stretch.begin:.1f} {HEIGHT - BOTTOM}"]
    for i, height in enumerate(heights):
        y = _y(height, top)
        path.append(f"L{stretch.begin + i * step:.1f} {y:.1f} L{stretch.begin + (i + 1) * step:.1f} {y:.1f}")
    path.append(f"L{stretch.begin + stretch.width:.1f} {HEIGHT - BOTTOM} Z")
    return " ".join(path)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def _scale(most: float) -> list[float]:
    """Round figures from 0 to the first that is not below `most`."""
    unit = 1.0
    while most / Y_TICKS >= unit * 1024:
        unit *= 1024
    raw = most / Y_TICKS / unit
    factor = next(f for f in (1, 2, 2.5, 5, 10, 20, 25, 50, 100, 200, 250, 512, 1024) if f >= raw)
    step = factor * unit
    count = 1
    while count * step < most:
        count += 1
    return [i * step for i in range(count + 1)]


def _x_ticks(stretches: Sequence[_Stretch], seconds: float, begin: datetime) -> tuple[Mark, ...]:
    """Time since the beginning, at round figures; those that would touch are left out."""
    step = next((s for s in STEPS if seconds / s <= X_TICKS), STEPS[-1] * (1 + int(seconds / STEPS[-1] / X_TICKS)))
    out: list[Mark] = []
    for stretch in stretches:
        first, last = ((s.at - begin).total_seconds() for s in (stretch.samples[0], stretch.samples[-1]))
        for number in range(-int(-first // step), int(last // step) + 1):
            at = stretch.begin + stretch.width * (number * step - first) / (last - first)
            if not out or at - out[-1].at >= NEAR:
                out.append(Mark(at=round(at, 1), label=duration(number * step)))
    return tuple(out)


def _attempts(stretches: Sequence[_Stretch], attempts: Sequence[Attempt]) -> tuple[Mark, ...]:
    """Where each began; numbers that would touch are left out."""
    out: list[Mark] = []
    for attempt in attempts:
        at = _place(stretches, attempt.at)
        clear = not out or at - out[-1].at > 12
        out.append(Mark(at=at, label=str(attempt.epoch) if clear else ""))
    return tuple(out)


def _pauses(stretches: Sequence[_Stretch], pauses: Sequence[Pause]) -> tuple[Span, ...]:
    end = stretches[-1].samples[-1].at
    spans = [(_place(stretches, p.since), _place(stretches, p.until or end), p.seconds) for p in pauses]
    return tuple(
        Span(begin=a, width=round(max(1.0, b - a), 1), label="" if seconds is None else duration(seconds))
        for a, b, seconds in spans
    )


def _gaps(stretches: Sequence[_Stretch]) -> tuple[Span, ...]:
    return tuple(
        Span(
            begin=round(before.begin + before.width, 1),
            width=GAP,
            label=duration((after.samples[0].at - before.samples[-1].at).total_seconds()),
        )
        for before, after in pairwise(stretches)
    )


def _place(stretches: Sequence[_Stretch], at: datetime) -> float:
    """Of any moment: before, in, between or after the stretches."""
    for stretch in stretches:
        if at < stretch.samples[0].at:
            return round(stretch.begin, 1)
        if at <= stretch.samples[-1].at:
            return round(stretch.place(at), 1)
    return round(stretches[-1].begin + stretches[-1].width, 1)
