"""Sources: every type at its extremes arrives with the exact value, or is refused by name."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal

from tests.contract.case import Place, Probe

from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.foreign import ReadColumn, Reading
from pghaul.sources.protocol import Source


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


def _read(place: Place, source: Source, probe: Probe) -> tuple[str, list[str | None]]:
    table = place.table(probe.table)
    column = next(c for c in table.columns if c.name == probe.column)
    pg_type = probe.pg_type or column.pg_type
    wanted = ReadColumn(name=column.name, native=column.native, pg_type=pg_type, encoding=probe.encoding)
    batches = source.read(Reading(table=table.name, columns=(wanted,), ordered=("id",)))
    return pg_type, [shown(v, probe.encoding) for batch in batches for v in batch.column(0).to_pylist()]


def _problem(place: Place, source: Source, probe: Probe) -> object:
    """None where it is as it has to be."""
    try:
        pg_type, found = _read(place, source, probe)
    except PghaulError as exc:
        refused = probe.expected is None and probe.column in str(exc) and not isinstance(exc, TransientError)
        return None if refused else exc
    if probe.expected is None:
        return f"not refused: {found}"
    if probe.proposed and pg_type != probe.proposed:
        return f"proposed as {pg_type}, not {probe.proposed}"
    if len(found) != len(probe.expected):
        return f"{len(found)} rows"
    return [(f, e) for f, e in zip(found, probe.expected, strict=True) if not same(f, e, pg_type)] or None


def test_the_type_matrix(place: Place, source: Source) -> None:
    """Each probe of the place arrives exactly, or is refused by an error that names the column."""
    assert place.probes
    problems = {str(probe): _problem(place, source, probe) for probe in place.probes}
    assert {probe: problem for probe, problem in problems.items() if problem is not None} == {}


def test_what_can_never_be_read_is_said_by_the_description(place: Place, source: Source) -> None:
    """So that a plan refuses it; a column that one value alone speaks against is begun."""
    said, found = set(), set()
    for probe in (p for p in place.probes if p.proposed):
        column = next(c for c in place.table(probe.table).columns if c.name == probe.column)
        wanted = ReadColumn(name=column.name, native=column.native, pg_type=column.pg_type)
        said |= {column.name} if column.unread else set()
        try:
            source.read(Reading(table=place.name(probe.table), columns=(wanted,))).close()
        except PghaulError:
            found.add(column.name)
    assert said == found
