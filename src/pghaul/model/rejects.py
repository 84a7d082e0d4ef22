"""How many rows of a table may be set aside. One place for it: loads, index builds and foreign keys all ask here."""

from __future__ import annotations

from fractions import Fraction


def allowance(max_rejects: int | str, rows: int) -> int:
    """Of a table with so many rows read: a number is itself, a share ("0.1%") of the rows is rounded down.

    Exact, whatever the size: 0.1% of 1000 rows is 1.
    """
    if isinstance(max_rejects, int):
        return max_rejects
    return int(Fraction(max_rejects.removesuffix("%")) * rows / 100)
