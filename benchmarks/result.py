"""One line of build/bench.json: what was measured, against whom, and whether the bar is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import Usage, caveat, median


@dataclass(frozen=True, kw_only=True)
class Result:
    name: str
    peer: str
    rows: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    peer_wall_s: float
    ratio: float  # ours / peer; of wall unless `extra` says otherwise
    bar: float | None = None  # the ratio must not be above it
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Flat, rounded."""
        out = {k: getattr(self, k) for k in ("name", "peer", "rows", "wall_s", "cpu_s", "peak_rss_mb", "peer_wall_s")}
        out |= {"ratio": self.ratio}
        if self.bar is not None:
            out |= {"bar": self.bar, "met": self.ratio <= self.bar}
        if note := "; ".join(n for n in (self.note, caveat()) if n):
            out["note"] = note
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in (out | self.extra).items()}


def compared(
    name: str,
    peer: str,
    rows: int,
    ours: Sequence[Usage],
    theirs: Sequence[Usage],
    *,
    bar: float | None,
    note: str,
) -> Result:
    """Medians of both; the ratio is that of wall time."""
    extra: dict[str, Any] = {}
    if any(u.servers_cpu_s for u in theirs):
        extra = {key: median(used, _all_cpu) for key, used in (("all_cpu_s", ours), ("peer_all_cpu_s", theirs))}
    wall, peer_wall = median(ours, lambda u: u.wall_s), median(theirs, lambda u: u.wall_s)
    return Result(
        name=name,
        peer=peer,
        rows=rows,
        wall_s=wall,
        cpu_s=median(ours, lambda u: u.cpu_s),
        peak_rss_mb=median(ours, lambda u: u.peak_rss_mb),
        peer_wall_s=peer_wall,
        ratio=wall / peer_wall,
        bar=bar,
        note=note,
        extra={
            "runs": len(ours),
            "peer_cpu_s": median(theirs, lambda u: u.cpu_s),
            "peer_peak_rss_mb": median(theirs, lambda u: u.peak_rss_mb),
            "walls_s": [round(u.wall_s, 2) for u in ours],
            "peer_walls_s": [round(u.wall_s, 2) for u in theirs],
        }
        | extra,
    )


def _all_cpu(usage: Usage) -> float:
    """Of the program and both servers: on a busy machine it tells more than the clock."""
    return usage.cpu_s + usage.servers_cpu_s
