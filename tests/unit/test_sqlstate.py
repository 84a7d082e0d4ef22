"""The SQLSTATE decides, whichever driver brings it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import asyncpg
import psycopg
import pytest

from pghaul.model import errors as e
from pghaul.postgres.sqlstate import classify, is_snapshot_lost, translate, translating


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (None, e.ConnectionLostError),
        ("08006", e.ConnectionLostError),
        ("57P01", e.ConnectionLostError),
        ("57P02", e.ConnectionLostError),
        ("57P03", e.ServerBusyError),
        ("53300", e.ServerBusyError),
        ("55P03", e.ServerBusyError),
        ("40001", e.TransientError),
        ("40P01", e.TransientError),
        ("57014", e.TransientError),
        ("53100", e.TransientError),
        ("53200", e.TransientError),
        ("25P02", e.TransientError),
        ("58030", e.TransientError),
        ("42501", e.AccessError),
        ("28P01", e.AccessError),
        ("28000", e.AccessError),
        ("3D000", e.AccessError),
        ("42P01", e.NotFoundError),
        ("3F000", e.NotFoundError),
        ("42703", e.ShapeChangedError),
        ("22003", e.RowError),
        ("23505", e.RowError),
        ("0A000", e.NotSupportedError),
        ("42601", e.TerminalError),
        ("XX000", e.TerminalError),
        ("25006", e.TerminalError),
    ],
)
def test_classify(state: str | None, kind: type[e.PghaulError]) -> None:
    assert classify(state) is kind


@pytest.mark.parametrize("state", ["57P01", "53300", "23505", "42501", "40001", "3D000"])
def test_both_drivers_errors_become_the_same_error(state: str) -> None:
    from_psycopg = translate(psycopg.errors.lookup(state)("oh no"), where="db")
    from_asyncpg = translate(asyncpg.exceptions.PostgresError.new({"C": state, "M": "oh no"}), where="db")
    assert type(from_psycopg) is type(from_asyncpg) is classify(state)
    assert from_psycopg.message == from_asyncpg.message == "oh no"
    assert from_psycopg.sqlstate == from_asyncpg.sqlstate == state


@pytest.mark.parametrize(
    "exc",
    [
        ConnectionResetError("reset"),
        TimeoutError(),
        asyncio.IncompleteReadError(b"", 5),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        psycopg.OperationalError("server closed the connection unexpectedly"),
    ],
)
def test_a_fault_of_the_wire_is_a_lost_connection(exc: Exception) -> None:
    assert type(translate(exc, where="db")) is e.ConnectionLostError


@pytest.mark.parametrize(
    "exc", [asyncpg.exceptions.ClientConfigurationError("x"), KeyError("x"), psycopg.ProgrammingError("x")]
)
def test_a_mistake_of_ours_is_never_retried(exc: Exception) -> None:
    assert type(translate(exc, where="db")) is e.TerminalError


def test_an_error_of_ours_passes_through() -> None:
    ours = e.StoppedError("asked for")
    with pytest.raises(e.StoppedError) as caught, translating("db"):
        raise ours
    assert caught.value is ours


def test_the_drivers_error_stays_the_cause() -> None:
    theirs = ConnectionResetError("reset")
    with pytest.raises(e.ConnectionLostError) as caught, translating("db"):
        raise theirs
    assert caught.value.__cause__ is theirs
    assert caught.value.where == "db"


def test_cancellation_is_no_error() -> None:
    with pytest.raises(asyncio.CancelledError), translating("db"):
        raise asyncio.CancelledError


def test_detail_and_place_of_a_bad_row_are_told() -> None:
    fields = {"C": "22003", "M": "out of range", "D": "the detail", "W": "COPY t, line 3\nmore"}
    message = translate(asyncpg.exceptions.PostgresError.new(fields), where="db").message
    assert message == "out of range; the detail; COPY t, line 3"


@pytest.mark.parametrize(("state", "lost"), [("22023", True), ("42704", True), ("55000", True), ("57P01", False)])
def test_a_lost_snapshot_is_known_by_its_sqlstate(state: str, lost: bool) -> None:
    assert is_snapshot_lost(psycopg.errors.lookup(state)("x")) is lost


def test_the_table_imports_no_driver() -> None:
    code = "import sys, pghaul.postgres.sqlstate; sys.exit(bool({'psycopg', 'asyncpg'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
