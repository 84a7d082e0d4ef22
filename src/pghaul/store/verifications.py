"""Verifications, one JSON document each: nothing here asks for more than which run they are about, and when."""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from pghaul.model.errors import NotFoundError
from pghaul.model.text import say
from pghaul.model.verification import Verification
from pghaul.store.models import VerificationRow

VERIFICATION: TypeAdapter[Verification] = TypeAdapter(Verification)


def save(session: Session, found: Verification) -> None:
    """Keep it; one of the same id is replaced."""
    session.merge(
        VerificationRow(
            id=found.id,
            run_id=found.run,
            started=found.started,
            agrees=found.agrees,
            definition=VERIFICATION.dump_json(found).decode(),
        )
    )


def of_run(session: Session, run_id: str | None, limit: int) -> list[Verification]:
    """The latest first; of None, all of them, also of databases that pghaul did not copy."""
    query = select(VerificationRow.definition).order_by(VerificationRow.started.desc(), VerificationRow.id).limit(limit)
    if run_id is not None:
        query = query.where(VerificationRow.run_id == run_id)
    return [VERIFICATION.validate_json(d) for d in session.scalars(query)]


def one(session: Session, verification_id: str) -> Verification:
    """NotFoundError when there is none."""
    row = session.get(VerificationRow, verification_id)
    if row is None:
        raise NotFoundError(say("there is no verification {id}", id=verification_id), code=5275)
    return VERIFICATION.validate_json(row.definition)
