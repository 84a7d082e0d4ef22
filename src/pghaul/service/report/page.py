"""The report as one HTML page that needs nothing beside it: it is mailed, archived, printed, and opened years later.

Whatever comes from a database is hostile here: everything is escaped, and the page forbids itself scripts and any
request, so that a mistake of ours would stay harmless.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pghaul.model.figures import amount, count, duration, visible
from pghaul.model.receipt import Proof
from pghaul.model.table import Unsupported
from pghaul.model.text import Template
from pghaul.model.verification import Verification
from pghaul.model.wording import worded
from pghaul.service.language import Language
from pghaul.service.report import chart, words
from pghaul.service.report.contents import Family, Report, TableProof
from pghaul.service.report.data import MADE, SEAL

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).resolve().parents[1] / "templates"
BIGGEST = 20  # tables that are seen without unfolding anything
RECENT = 3  # verifications that are told with their tables: `verify --watch` makes one a minute
LONGEST = 300  # characters of one value that are shown
HASH_SHOWN = 16  # of 128 hexadecimal digits
ALIKE = 3  # as many of one kind, left behind for one reason, are named; of more, the first and the last


def html(report: Report, data: Mapping[str, Any], language: Language) -> str:
    """The page in this language; `data` is what `as_data` made of the report."""
    story = report.story
    return _template().render(
        report=report,
        story=story,
        earlier=report.verifications[:-RECENT],
        recent=report.verifications[-RECENT:],
        servers=_servers(data),
        chart=chart.draw(story) if story else None,
        families=families(story.tables) if story else (),
        left=grouped(story.not_carried) if story else (),
        proofs=proofs(story.tables) if story else {},
        seal=data[SEAL],
        made=data[MADE],
        w=words,
        lang=language.code,
        t=functools.partial(_told, language),
        biggest=BIGGEST,
        longest=LONGEST,
        alike=ALIKE,
        worded=worded,
    )


@functools.cache
def _template() -> jinja2.Template:
    import jinja2  # noqa: PLC0415 -- 30 ms that only this needs

    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {
        "amount": amount,
        "count": count,
        "duration": duration,
        "moment": moment,
        "shortened": shortened,
        "shown": visible,
        "tally": tally,
    }
    return page.get_template("report.html.j2")


def _told(language: Language, said: str, **values: Any) -> str:
    """A word of words.py, filled; or what the engine said. Data is returned as it is."""
    return language.say(said.format(**values) if isinstance(said, Template) else said)


def moment(at: datetime | str) -> str:
    """In this machine's zone, with its distance from UTC: it will be read elsewhere."""
    parsed = datetime.fromisoformat(at) if isinstance(at, str) else at
    local = parsed.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S} {local:%z}"


def shortened(digest: str) -> str:
    """Enough of a hash to compare two by eye; a table of whole ones could not be read, nor printed."""
    return digest if len(digest) <= HASH_SHOWN else f"{digest[:HASH_SHOWN]}…"


def tally(found: Verification) -> dict[str, int]:
    """How many tables agree, differ, and could not be compared."""
    verdicts = [t.agrees for t in found.tables]
    return {
        "tables": len(verdicts),
        "equal": verdicts.count(True),
        "different": verdicts.count(False),
        "unknown": verdicts.count(None),
    }


def families(tables: Sequence[TableProof]) -> tuple[Family, ...]:
    """Trees with all their tables; the biggest first."""
    found: dict[str, list[TableProof]] = {}
    for table in tables:
        found.setdefault(table.family, []).append(table)
    whole = [Family(name=name, tables=tuple(members)) for name, members in found.items()]
    return tuple(sorted(whole, key=lambda f: (-f.sum.bytes, f.name)))


def grouped(items: Iterable[Unsupported]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Kind, reason and names of what is alike."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in items:
        found.setdefault((item.kind, item.why), []).append(item.name)
    return tuple((kind, why, tuple(names)) for (kind, why), names in found.items())


def proofs(tables: Iterable[TableProof]) -> dict[Proof, int]:
    """How many tables rest on which proof; one that has several rests on the weakest."""
    order = [Proof.STREAM, Proof.ROWS, Proof.COUNT]
    weakest = [max(t.proofs, key=order.index) for t in tables if t.proofs]
    return {proof: weakest.count(proof) for proof in order if proof in weakest}


def _servers(data: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the table of both ends: label, source, target."""
    source, target = data["source"], data["target"]
    rows = [(words.END[k], source.get(k), target.get(k)) for k in words.END]
    here, there = (side.get("settings", {}) for side in (source, target))
    settings = [(name, here.get(name), there.get(name)) for name in dict.fromkeys([*here, *there])]
    return {"rows": [r for r in rows if r[1:] != (None, None)], "settings": settings}
