"""on_existing = refresh: what is equal on both sides stays as it is, before anything else of a load begins.

First all comparisons, then the loads: foreign keys need to fall only for tables that are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pghaul.engine import compose
from pghaul.engine.compose import Epoch, Loading
from pghaul.engine.dispatch import Dispatcher
from pghaul.engine.report import Reporter
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name
from pghaul.model.text import say

NOTICE = "REFRESH"


def keep(
    dispatcher: Dispatcher,
    report: Reporter,
    epoch: Epoch,
    loadings: Sequence[Loading],
    done: Mapping[Name, Mapping[str, Receipt]],
) -> set[Name]:
    """Tables that are equal under this epoch's snapshot: marked as done, with their proof, and not touched.

    What an earlier attempt has begun is not asked again: a resume compares what that finished.
    """
    asked = [ld for ld in loadings if ld.disposition == "refresh" and not done.get(ld.name)]
    if not asked:
        return set()
    tasks = {ld.name: compose.keep_task(ld, epoch) for ld in asked}
    for name in (n for n, t in tasks.items() if t is None):
        report.notice(NOTICE, str(name), say("its content cannot be compared: it is copied again"))
    report.take_kept()
    dispatcher.run([t for t in tasks.values() if t is not None])
    kept = report.take_kept()
    counted = say("{kept} of {asked} tables", kept=len(kept), asked=len(asked))
    report.notice(NOTICE, counted, say("equal by content, and left as they are"))
    return kept
