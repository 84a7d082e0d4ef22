"""How a report judges: by what the run itself found, and by everything that was verified since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pghaul.model.figures import count
from pghaul.model.run import Run, RunState
from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.model.verification import Method, TableVerdict, Verification
from pghaul.service.report.contents import Outcome, TableProof, Verdict

NAMED = 10  # tables of one reason; the rest is counted
OUTCOMES = {
    RunState.DONE: Outcome.DONE,
    RunState.DIFFERENT: Outcome.DIFFERENT,
    RunState.FAILED: Outcome.FAILED,
    RunState.STOPPED: Outcome.STOPPED,
    RunState.RUNNING: Outcome.RUNNING,
    RunState.PAUSED: Outcome.PAUSED,
}
STRENGTH = {Method.COUNT: 0, Method.CHECKSUM: 1}

DIFFERS = saying("{table}: the run found that source and target differ.")
VERIFIED_DIFFERENT = saying("{table}: verification {id} found that source and target differ.")
NOT_COMPARED = saying("{table}: it could not be compared: {why}")
MORE = saying("{n} more tables differ.")
SET_ASIDE = saying("{table}: {n} rows were set aside: pghaul quarantine show --run {run}")
SEE_WARNINGS = say("The warnings and notes of this report say what differs.")
ENDED_WITH = saying("It ended with: {error}")
WAITS = saying("It waits: {why}")
UNFINISHED = saying("{done} of {all} chunks are done; `pghaul resume {run}` does the rest.")


def of_run(run: Run, tables: Iterable[TableProof], verifications: Sequence[Verification]) -> Verdict:
    """A verification that differs outweighs a run that found nothing; a later one, as strong, outweighs that."""
    outcome = OUTCOMES[run.state]
    tables = list(tables)
    found = [DIFFERS.format(table=t.name) for t in tables if t.agrees is False]
    aside = [SET_ASIDE.format(table=t.name, n=count(t.sum.rejected), run=run.id) for t in tables if t.sum.rejected]
    later = [VERIFIED_DIFFERENT.format(table=str(t), id=v.id) for t, v in standing(verifications).items()]
    if outcome is Outcome.DONE and later:
        outcome = Outcome.DIFFERENT
    reasons: list[str] = [*_some(found), *_some(later), *_some(aside)]
    if outcome is Outcome.DIFFERENT and not reasons:
        reasons.append(SEE_WARNINGS)
    if run.error:
        reasons.insert(0, ENDED_WITH.format(error=run.error))
    if run.note:
        reasons.insert(0, WAITS.format(why=run.note))
    if outcome in {Outcome.FAILED, Outcome.STOPPED}:
        reasons.append(UNFINISHED.format(done=run.chunks_done, all=run.chunks, run=run.id))
    return Verdict(outcome=outcome, reasons=tuple(reasons))


def of_verification(found: Verification) -> Verdict:
    """Equal, different, or not all of it compared."""
    differing = [VERIFIED_DIFFERENT.format(table=str(t.target), id=found.id) for t in found.tables if t.agrees is False]
    unknown = [NOT_COMPARED.format(table=str(t.target), why=t.why) for t in found.tables if t.agrees is None]
    outcome = Outcome.DIFFERENT if differing else Outcome.INCOMPLETE if unknown else Outcome.DONE
    return Verdict(outcome=outcome, reasons=(*_some(differing), *unknown[:NAMED]))


def standing(verifications: Iterable[Verification]) -> dict[Name, Verification]:
    """Tables that differ by what is known now, and by which verification; the earliest comes first.

    A count that agrees says nothing against a checksum that differed.
    """
    out: dict[Name, Verification] = {}
    for verification in verifications:
        for table in verification.tables:
            _weigh(out, table, verification)
    return out


def _weigh(out: dict[Name, Verification], table: TableVerdict, by: Verification) -> None:
    if table.agrees is False:
        out[table.target] = by
    elif table.agrees and (before := out.get(table.target)) and STRENGTH[by.method] >= STRENGTH[before.method]:
        del out[table.target]


def _some(reasons: Sequence[str]) -> list[str]:
    rest = len(reasons) - NAMED
    return [*reasons[:NAMED], *([MORE.format(n=rest)] if rest > 0 else [])]
