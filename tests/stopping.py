"""Runs that stop at a known place: with one worker, after exactly so many chunks."""

from __future__ import annotations

from typing import Any

import pytest

from pghaul.model.errors import StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.service.migration import MigrationService
from tests.databases import DatabasePair
from tests.moving import move


class Brake:
    """A listener that counts chunks, and the question whether it is time to stop."""

    def __init__(self, chunks: int = 1) -> None:
        self.left = chunks

    def hear(self, event: Event) -> None:
        self.left -= event.kind is EventKind.CHUNK_DONE

    def pulled(self) -> bool:
        return self.left <= 0


def move_until_stopped(pair: DatabasePair, *tables: str, chunks: int = 1, **options: Any) -> str:
    """A run that is stopped after so many chunks; its id."""
    brake = Brake(chunks)
    with pytest.raises(StoppedError):
        move(pair, *tables, listener=brake.hear, stop=brake.pulled, **options)
    return MigrationService().latest_unfinished().id
