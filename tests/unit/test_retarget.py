"""Definitions of one table turned to another: by their known beginning, whatever stands behind it."""

from __future__ import annotations

import pytest

from pghaul.model.table import Index, Name
from pghaul.target import retarget

OLD, NEW = Name("public", "t"), Name('S "x', "u")


def index(name: str, definition: str, **more: str) -> Index:
    return Index(name=name, definition=definition, unique="UNIQUE" in definition, **more)  # type: ignore[arg-type]


def test_the_rest_of_an_index_stays_the_server_s_own_text() -> None:
    """The old name stands in its predicate, too: a text there is no table."""
    text = "CREATE UNIQUE INDEX t_a ON ONLY public.t USING btree (lower(a), b DESC) WHERE (a <> ' ON public.t '::text)"
    turned = retarget.index(index("t_a", text, constraint="t_a"), OLD, NEW)
    assert turned.definition == (
        'CREATE UNIQUE INDEX "u_a" ON "S ""x"."u" USING btree (lower(a), b DESC) WHERE (a <> \' ON public.t \'::text)'
    )
    assert (turned.name, turned.constraint) == ("u_a", "u_a")


def test_names_in_quotes_are_read_as_the_server_writes_them() -> None:
    old = Name('a "b', "c.d USING x")
    text = 'CREATE INDEX "i ON j" ON "a ""b"."c.d USING x" USING gin (v)'
    assert retarget.rest(index("i ON j", text), old) == "USING gin (v)"


def test_a_definition_of_another_table_is_not_turned() -> None:
    with pytest.raises(ValueError, match="not a definition of an index"):
        retarget.index(index("i", "CREATE INDEX i ON public.other USING btree (a)"), OLD, NEW)


@pytest.mark.parametrize(
    ("definition", "turned"),
    [
        ("FOREIGN KEY (a) REFERENCES public.t(id) DEFERRABLE", 'FOREIGN KEY (a) REFERENCES "S ""x"."u"(id) DEFERRABLE'),
        ('FOREIGN KEY ("a, b", c) REFERENCES public.t(x, y)', 'FOREIGN KEY ("a, b", c) REFERENCES "S ""x"."u"(x, y)'),
        ("FOREIGN KEY (a) REFERENCES public.other(id)", 'FOREIGN KEY (a) REFERENCES "public"."other"(id)'),
    ],
)  # fmt: skip
def test_a_foreign_key_points_at_the_successor(definition: str, turned: str) -> None:
    assert retarget.foreign_key(definition, {OLD: NEW}) == turned


@pytest.mark.parametrize(
    ("name", "old", "new", "derived"),
    [
        ("t_id_seq", "t", "u", "u_id_seq"),
        ("odd", "t", "u", "u_odd"),
        ("t_id_seq", "t", "t", "t_id_seq"),
    ],
)
def test_names_follow_their_table(name: str, old: str, new: str, derived: str) -> None:
    assert retarget.derived(name, old, new) == derived


def test_long_names_are_cut_and_stay_apart() -> None:
    """A name holds 63 bytes; letters of several bytes are not cut through."""
    one, other = (retarget.fitting("값" * 30 + end) for end in ("a", "b"))
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= 63
    assert retarget.fitting("short") == "short"
