"""Runs a plan to its end over as many attempts as it takes, and leaves nothing of itself behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, Union

from pghaul.engine.attempt import Attempt, Order
from pghaul.engine.care import CareTaker
from pghaul.engine.dispatch import delay
from pghaul.engine.journal import Journal
from pghaul.engine.merge.attempt import MergeAttempt
from pghaul.engine.merge.choice import is_merge
from pghaul.engine.merge.standing import Standing
from pghaul.engine.pool import WorkerPool
from pghaul.engine.preflight import Ask
from pghaul.engine.report import Reporter
from pghaul.engine.scene import application_name
from pghaul.model.errors import PausedError, PghaulError, StoppedError, TransientError
from pghaul.model.event import EventKind, Listener
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.text import say
from pghaul.postgres.session import connect, terminate_sessions
from pghaul.postgres.settings import Role
from pghaul.target import merge_markers, staging

if TYPE_CHECKING:
    from pghaul.engine.arrow.attempt import ArrowAttempt

AnyAttempt: TypeAlias = Union[Attempt, MergeAttempt, "ArrowAttempt"]

FIRST_PATIENCE = 5.0  # seconds, while no attempt has reached both servers
NAP = 0.1  # seconds between looks at the wish to stop, while waiting for a server to come back


class Runner:
    """One run. `manifest` None: a new one; else what `create_run` recorded, and this is a resume."""

    def __init__(
        self,
        *,
        run: Run,
        plan: Plan,
        source: Endpoint | ForeignEndpoint,
        target: Endpoint,
        journal: Callable[[], Journal],
        listener: Listener,
        manifest: Manifest | None = None,
        trust_ledger: bool = False,
        ask: Ask | None = None,
        stop: Callable[[], bool] = lambda: False,
        pool: WorkerPool | None = None,
        standing: Standing | None = None,
        ahead: Callable[[], None] = lambda: None,
    ) -> None:
        self._order = Order(
            run=run.id,
            leader=secrets.token_hex(8),
            plan=plan,
            source=source,
            target=target,
            trust_ledger=trust_ledger,
            ask=ask,
            pool=pool,
            standing=standing,
            ahead=ahead,
        )
        self._merges = is_merge(plan)
        self._manifest = manifest
        self._reached = False
        self._led = False
        self._report = Reporter(
            replace(run, pid=os.getpid()),
            plan,
            journal,
            listener,
            stop,
            lambda warn: CareTaker(
                plan.options, _servers(source, target), application_name(run.id, run.epoch, "care"), warn
            ),
        )
        if manifest is not None:
            journal().set_wish(run.id, Wish.NONE)
            self._report.begin(manifest)

    def execute(self) -> Run:
        """Return the run as it ended (DONE or DIFFERENT); raise PghaulError after saving it as STOPPED or FAILED."""
        try:
            return self._execute()
        finally:
            self._report.steering.close()

    def _execute(self) -> Run:
        try:
            agrees = self._attempts()
        except (StoppedError, KeyboardInterrupt):
            self._sweep()
            self._report.end(RunState.STOPPED)
            raise
        except Exception as exc:  # a mistake of ours, too, must not leave a run that looks alive
            self._sweep()
            said, code = (exc.said, exc.code) if isinstance(exc, PghaulError) else (str(exc), None)
            self._report.end(RunState.FAILED, said, code=code)
            raise
        self._report.end(RunState.DONE if agrees else RunState.DIFFERENT)
        return self._report.run

    def _attempts(self) -> bool:
        failures = 0
        while True:
            self._report.rest()
            attempt = self._attempt()
            before = self._report.moved_at
            try:
                return attempt.perform()
            except PausedError:
                self._after(attempt)
                self._sweep()
                failures = 0
            except TransientError as exc:
                self._after(attempt)
                failures = 1 if self._report.moved_at > before else failures + 1
                self._wait(exc, failures)

    def _attempt(self) -> AnyAttempt:
        """By the source, and by the recipe of the plan."""
        kind: type[AnyAttempt] = MergeAttempt if self._merges else Attempt
        if isinstance(self._order.source, ForeignEndpoint):
            from pghaul.engine.arrow.attempt import ArrowAttempt  # noqa: PLC0415 -- sqlglot: of other databases only

            kind = ArrowAttempt
        return kind(self._order, self._manifest, self._report, led=self._led)

    def _after(self, attempt: AnyAttempt) -> None:
        """What the next attempt starts from."""
        self._manifest = attempt.manifest
        self._reached |= attempt.reached
        self._led = attempt.led

    def _wait(self, exc: TransientError, failures: int) -> None:
        """Back off before the next attempt; raise `exc` when there was no progress for too long."""
        patience = self._order.plan.options.give_up_after
        if not self._reached:  # somebody waits at the screen, perhaps for a mistyped port
            patience = min(patience, FIRST_PATIENCE)
        if time.monotonic() - self._report.moved_at > patience:
            raise exc
        pause = delay(failures)
        self._report.emit(
            EventKind.WARNING,
            message=say("{error}; a new attempt in {seconds:.1f} s", error=exc.said, seconds=pause),
            data={"code": exc.code, "sqlstate": exc.sqlstate, "wait": round(pause, 2)},
        )
        until = time.monotonic() + pause
        while time.monotonic() < until:
            self._report.rest()
            time.sleep(NAP)

    def _sweep(self) -> None:
        """A cancel may never have reached a server: end what of ours is still there, as far as that is possible."""
        options = self._order.plan.options
        name = application_name(self._order.run, self._report.run.epoch, "sweep")
        sides: Mapping[Role, Endpoint] = _servers(self._order.source, self._order.target)
        for role, endpoint in sides.items():
            with (
                contextlib.suppress(PghaulError),
                connect(
                    endpoint,
                    application_name=name,
                    role=role,
                    stall_timeout=min(5.0, options.stall_timeout),
                    lock_timeout=options.lock_timeout,
                ) as session,
            ):
                terminate_sessions(session, f"pghaul/{self._order.run}/")
                if self._merges and role == "target":
                    staging.sweep(session, self._order.run)
                    merge_markers.discard_rejected(session, self._order.run)
                    merge_markers.forget_staged(session, self._order.run)


def _servers(source: Endpoint | ForeignEndpoint, target: Endpoint) -> dict[Role, Endpoint]:
    """Those of both sides that are PostgreSQL's."""
    ours: dict[Role, Endpoint] = {} if isinstance(source, ForeignEndpoint) else {"source": source}
    return ours | {"target": target}
