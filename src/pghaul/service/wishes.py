"""What somebody may ask of a run that goes on in any process: it is written into the store, where the run looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pghaul.model.errors import TerminalError
from pghaul.model.run import LIVING, Run, RunState, Wish
from pghaul.model.text import say, saying
from pghaul.model.wording import worded

if TYPE_CHECKING:
    from pghaul.store.repository import Store

LISTED = say("`pghaul runs` lists what there is")
GO_ON = saying("go on with it: pghaul resume {run}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """A paused run whose process lives. `asked`: its pause was a wish, which is withdrawn now."""

    run: Run
    asked: bool


def stop(store: Store, run_id: str) -> Run:
    """Ask a running run, in whatever process, to stop between two buffers."""
    run = store.run(run_id)
    if run.state not in LIVING:
        raise TerminalError(
            say("run {run} does not run: it is {state}", run=run_id, state=worded(run.state)),
            advice=LISTED,
            code=5030,
        )
    store.set_wish(run_id, Wish.STOP)
    return run


def pause(store: Store, run_id: str, *, let_go: bool = False) -> Run:
    """Ask a running run to pause; with `let_go`, to give back its snapshot, locks and connections at once."""
    run = store.run(run_id)
    if run.state not in LIVING:
        raise TerminalError(
            say("run {run} cannot be paused: it is {state}", run=run_id, state=worded(run.state)),
            advice=LISTED,
            code=5031,
        )
    if store.wish(run_id) is Wish.STOP:
        raise TerminalError(
            say("run {run} cannot be paused: it is stopping", run=run_id),
            advice=GO_ON.format(run=run_id),
            code=5033,
        )
    store.set_wish(run_id, Wish.FREE if let_go else Wish.PAUSE)
    return run


def wake(store: Store, run_id: str) -> Woken | None:
    """Withdraw the pause of a run whose process lives; None where there is none to withdraw.

    A run that is paused by itself (for its hours, or a server under load) is returned too, and goes on by itself.
    """
    run = store.run(run_id)
    if run.state not in LIVING or not store.lives_here(run_id):
        return None
    asked = store.wish(run_id) in {Wish.PAUSE, Wish.FREE}
    if asked:
        store.set_wish(run_id, Wish.NONE)
    return Woken(run=run, asked=asked) if asked or run.state is RunState.PAUSED else None
