"""What of a plan is recorded with a run or a series: no password, and nothing that may be a token.

So of a resume some whom the run told cannot be told again, which is said.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from pghaul.model.errors import UsageError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint, profile_name
from pghaul.model.text import say, saying
from pghaul.service.endpoint_url import storable_url
from pghaul.service.notify_targets import is_withheld, storable_options

RUN_ID = re.compile(r"[0-9a-f]{12}")
NOT_TOLD = saying(
    "{target} is not told: the rest of its address was not stored, as it may hold a token. Say it again with --notify, "
    "or write env:NAME into the plan"
)


def new_run_id() -> str:
    """Twelve hexadecimal characters: short enough to type, and part of every session's application_name."""
    return secrets.token_hex(6)


def kept(plan: Plan, source: Endpoint | ForeignEndpoint, target: Endpoint) -> Plan:
    """The plan as it is stored: without passwords, and without what may be a token.

    A profile stays a name, so that a resume finds its password again.
    """
    ends = {
        "source": profile_name(plan.source) or storable_url(source),
        "target": profile_name(plan.target) or storable_url(target),
    }
    return plan.model_copy(update=ends | {"options": storable_options(plan.options)})


def telling_also(plan: Plan, outlets: Mapping[str, Any]) -> Plan:
    """The same plan, with these keys of its options over its own."""
    return plan.model_copy(update={"options": plan.options.model_copy(update=dict(outlets))})


def still_told(plan: Plan) -> tuple[Plan, list[str]]:
    """For a resume: without the webhooks whose address was not stored, and their names."""
    lost = [t for t in plan.options.notify or () if is_withheld(t)]
    left = [t for t in plan.options.notify or () if t not in lost]
    return telling_also(plan, {"notify": left} if lost else {}), lost


def checked(run_id: str) -> str:
    """UsageError where it is no id of ours."""
    if not RUN_ID.fullmatch(run_id):
        raise UsageError(
            say("a run id is 12 characters out of 0-9 and a-f"),
            where=run_id,
            advice=say("leave --run-id out to get one"),
            code=1031,
        )
    return run_id


def tell_lost(told: Listener, run_id: str, lost: Sequence[str]) -> None:
    """Those who were told, and cannot be any more."""
    for place in lost:
        told(Event(kind=EventKind.WARNING, run=run_id, message=NOT_TOLD.format(target=place)))
