"""How many rows may be set aside, said anew for a run that goes on."""

from __future__ import annotations

from pydantic import ValidationError

from pghaul.model.errors import PlanError
from pghaul.model.plan import Options, Plan
from pghaul.model.text import say


def allowing(plan: Plan, max_rejects: int | str | None) -> Plan:
    """The plan with this number or share instead of its own; None leaves it as it is."""
    if max_rejects is None:
        return plan
    try:
        options = Options.model_validate(plan.options.model_dump(exclude_unset=True) | {"max_rejects": max_rejects})
    except ValidationError:
        raise PlanError(
            say("{words} is neither a number of rows nor a share of them", words=str(max_rejects)),
            where="--max-rejects",
            advice=say("write it like 100 or 0.1%"),
            code=1181,
        ) from None
    return plan.model_copy(update={"options": options})
