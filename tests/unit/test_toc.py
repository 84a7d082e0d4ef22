"""Choosing entries of an archive, programs by version, and the output of programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pghaul.model.errors import NotFoundError, ProgramError, StalledError
from pghaul.model.table import Name
from pghaul.target import toc
from pghaul.target.ddl import exact_pattern
from pghaul.target.programs import Programs, find_programs, parse_version, run_program

LISTING = """;
; Archive created at 2026-01-01 00:00:00 UTC
;     Dumped from database version: 16.14
;
5; 2615 2200 SCHEMA - public postgres
216; 1259 16415 TABLE public a b postgres
217; 1259 16427 TABLE public actor postgres
2884; 0 0 ACL - SCHEMA public postgres
2885; 0 0 COMMENT public TABLE actor postgres
2543; 0 0 TABLE ATTACH public a b some body
2544; 0 0 TABLE ATTACH public a bc postgres
2545; 0 0 INDEX ATTACH public a b postgres
2546; 0 0 TABLE ATTACH public two  lines postgres
2600; 2606 16427 CONSTRAINT public actor actor_pkey postgres
"""


def words(wanted: toc.Wanted) -> list[str]:
    return [e.words for e in toc.choose(toc.parse(LISTING), wanted)]


def test_the_same_oid_of_another_catalogue_is_another_entry() -> None:
    assert words(toc.Wanted(ids={(1259, 16427)})) == ["TABLE public actor postgres"]


def test_entries_without_oid_are_found_by_exact_name_whatever_the_owner() -> None:
    named = [(toc.TABLE_ATTACH, Name("public", "a b"))]
    assert words(toc.Wanted(ids=set(), named=named)) == ["TABLE ATTACH public a b some body"]


def test_a_line_break_in_a_name_is_a_blank_in_the_list() -> None:
    named = [(toc.TABLE_ATTACH, Name("public", "two\r\nlines"))]
    assert words(toc.Wanted(ids=set(), named=named)) == ["TABLE ATTACH public two  lines postgres"]


def test_the_list_file_repeats_the_lines_in_the_archives_order() -> None:
    chosen = toc.choose(toc.parse(LISTING), toc.Wanted(ids={(2606, 16427), (2615, 2200)}))
    assert toc.list_file(chosen) == (
        "5; 2615 2200 SCHEMA - public postgres\n2600; 2606 16427 CONSTRAINT public actor actor_pkey postgres\n"
    )


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("pg_dump (PostgreSQL) 16.14 (Debian 16.14-1)\n", 160014),
        ("pg_dump (PostgreSQL) 9.3.10\n", 90310),
        ("pg_dump (PostgreSQL) 19beta1\n", 190000),
        ("something else\n", None),
    ],
)
def test_a_programs_version_is_read_as_the_servers_number(said: str, version: int | None) -> None:
    assert parse_version(said) == version


@pytest.mark.parametrize(
    ("program", "target", "accepted"),
    [
        (180004, 180000, True),
        (180004, 170000, False),  # NOT NULL as a constraint
        (160014, 160001, True),
        (160001, 180000, True),
        (90310, 90300, True),
        (90400, 90310, False),  # major versions had two numbers
    ],
)
def test_a_target_accepts_a_pg_restore_that_is_not_newer(program: int, target: int, accepted: bool) -> None:
    programs = Programs(pg_dump=Path("d"), pg_restore=Path("r"), version=program)
    assert programs.accepted_by(target) is accepted


def test_no_program_new_enough_is_said_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="version 18 or newer") as caught:
        find_programs(180004, environ={"PGHAUL_PG_BIN": str(tmp_path)})
    assert "PGHAUL_PG_BIN" in str(caught.value.advice)


def test_a_pattern_for_pg_dump_matches_the_name_alone() -> None:
    assert exact_pattern('Sche"ma.*') == '"Sche""ma.*"'


def test_a_failed_program_tells_its_last_lines_without_the_password() -> None:
    script = "import sys; print('cause: s3cret', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ProgramError, match=r"ended with 3: cause: \*\*\*"):
        run_program([sys.executable, "-c", script], environ={}, secret="s3cret")


def test_a_program_for_which_the_server_does_nothing_is_killed() -> None:
    asked: list[int] = []

    def alive() -> bool:
        asked.append(1)
        return len(asked) < 2

    with pytest.raises(StalledError):
        run_program(
            [sys.executable, "-c", "input() if 0 else __import__('threading').Event().wait()"],
            environ={},
            alive=alive,
            stall_timeout=0.05,
        )
    assert len(asked) == 2


def test_output_beyond_a_pipes_size_does_not_block() -> None:
    said = run_program([sys.executable, "-c", "print('x' * 3_000_000)"], environ={})
    assert len(said.strip()) == 3_000_000
