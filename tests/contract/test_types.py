"""Sources: every type at its extremes arrives with the exact value, or is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from tests.contract.case import Place, Probe

from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.foreign import ReadColumn, Reading
from pghaul.sources.protocol import Source, engine_of


def shown(value: object, encoding: str | None) -> str | None:
    """A value of a batch as PostgreSQL would show it; a string is in its input syntax already."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return value.decode(encoding) if encoding else f"\\x{value.hex()}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").replace("+00:00", "+00")
    if isinstance(value, date | time):
        return value.isoformat()
    assert isinstance(value, int | float | Decimal), f"no natural type: {type(value)}"
    return str(value)


def same(found: str | None, expected: str | None, pg_type: str) -> bool:
    """Equal as values of that type: 1e3 is 1000."""
    if found is None or expected is None:
        return found is expected
    if pg_type.startswith("numeric"):
        return Decimal(found) == Decimal(expected) or (Decimal(found).is_nan() and Decimal(expected).is_nan())
    if pg_type in {"double precision", "real"}:
        return float(found).hex() == float(expected).hex()
    return found == expected


def _wanted(place: Place, probe: Probe) -> ReadColumn:
    column = next(c for c in place.table(probe.table).columns if c.name == probe.column)
    pg_type = probe.pg_type or column.pg_type
    return ReadColumn(name=column.name, native=column.native, pg_type=pg_type, encoding=probe.encoding)


def _read(place: Place, source: Source, probes: Sequence[Probe]) -> Iterator[list[str | None]]:
    """Columns of one table, in one reading."""
    columns = tuple(_wanted(place, p) for p in probes)
    read = list(source.read(Reading(table=place.name(probes[0].table), columns=columns, ordered=("id",))))
    for i, probe in enumerate(probes):
        yield [shown(v, probe.encoding) for batch in read for v in batch.column(i).to_pylist()]


def _together(probes: Iterable[Probe]) -> list[list[Probe]]:
    """As few readings as can be: a column is read once in each."""
    groups: list[list[Probe]] = []
    for probe in probes:
        fitting = (g for g in groups if g[0].table == probe.table and all(p.column != probe.column for p in g))
        group = next(fitting, None)
        if group is None:
            groups.append([probe])
        else:
            group.append(probe)
    return groups


def _refused(place: Place, source: Source, probe: Probe) -> object:
    """None where it is refused by its name."""
    try:
        found = list(_read(place, source, [probe]))
    except PghaulError as exc:
        return None if probe.column in str(exc) and not isinstance(exc, TransientError) else exc
    return f"not refused: {found}"


def _wrong(place: Place, probe: Probe, found: list[str | None]) -> object:
    """None where it has arrived."""
    pg_type, expected = _wanted(place, probe).pg_type, probe.expected or ()
    if probe.proposed and pg_type != probe.proposed:
        return f"proposed as {pg_type}, not {probe.proposed}"
    if len(found) != len(expected):
        return f"{len(found)} rows"
    return [(f, e) for f, e in zip(found, expected, strict=True) if not same(f, e, pg_type)] or None


def test_the_type_matrix(place: Place, source: Source) -> None:
    """Each probe of the place arrives exactly, or is refused by an error that names the column."""
    assert place.probes
    problems = {str(p): _refused(place, source, p) for p in place.probes if p.expected is None}
    for group in _together(p for p in place.probes if p.expected is not None):
        for probe, found in zip(group, _read(place, source, group), strict=True):
            problems[str(probe)] = _wrong(place, probe, found)
    assert {probe: problem for probe, problem in problems.items() if problem is not None} == {}


def test_what_can_never_be_read_is_said_by_the_description(place: Place, source: Source) -> None:
    """So that a plan refuses it. A column that one value alone speaks against is begun."""
    proposed = [p for p in place.probes if p.proposed]
    unread = {c.name for p in proposed for c in place.table(p.table).columns if c.unread}
    for group in _together(p for p in proposed if p.column not in unread):
        columns = tuple(_wanted(place, p) for p in group)
        source.read(Reading(table=place.name(group[0].table), columns=columns)).close()
    for probe in (p for p in proposed if p.column in unread):
        with pytest.raises(PghaulError, match=probe.column):
            source.read(Reading(table=place.name(probe.table), columns=(_wanted(place, probe),)))


def _base(native: str) -> str:
    """Without length: "TIMESTAMP(6) WITH TIME ZONE", "decimal(10,2) unsigned"."""
    return " ".join(re.sub(r"\(.*?\)|…", " ", native).lower().split())


def test_every_type_that_is_listed_is_in_the_matrix(place: Place) -> None:
    """By `pghaul types`; what cannot be asked of this place says why."""
    if not place.listed:
        pytest.skip("this source lists types by other names than it describes them by")
    listed = {
        _base(name) for native, _, _ in engine_of(place.engine).types() for name in re.split(r", (?![^(]*\))", native)
    }
    asked = {_base(c.native) for p in place.probes for c in place.table(p.table).columns if c.name == p.column}
    assert set(place.unasked) == listed - asked
