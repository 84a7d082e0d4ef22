"""Merges in the words of whoever runs them: their tables, their types, and nothing of ours."""

from __future__ import annotations

import pytest
from tests.databases import DatabasePair
from tests.merge_runs import became, merge
from tests.moving import rows, run_sql

from pghaul.model.errors import MergeError, RowError, WatermarkError

# A type as extensions bring them (ltree, isbn …): its operators are where no session of ours looks by itself.
TYPE = """
CREATE TYPE public.part;
CREATE FUNCTION public.part_in(cstring) RETURNS public.part LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION public.part_out(public.part) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE public.part (INPUT = public.part_in, OUTPUT = public.part_out, LIKE = pg_catalog.int4);
CREATE FUNCTION public.part_cmp(public.part, public.part) RETURNS int4 LANGUAGE internal IMMUTABLE STRICT
    AS 'btint4cmp';
"""
OPERATOR = """
CREATE FUNCTION public.part_{name}(public.part, public.part) RETURNS bool LANGUAGE internal IMMUTABLE STRICT
    AS 'int4{name}';
CREATE OPERATOR public.{sign} (FUNCTION = public.part_{name}, LEFTARG = public.part, RIGHTARG = public.part{more});
"""
OPERATORS = "".join(
    OPERATOR.format(name=name, sign=sign, more=", MERGES, COMMUTATOR = OPERATOR(public.=)" if sign == "=" else "")
    for name, sign in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"))
)
PARTS = f"""{TYPE}{OPERATORS}
CREATE OPERATOR CLASS public.part_ops DEFAULT FOR TYPE public.part USING btree AS OPERATOR 1 public.<,
    OPERATOR 2 public.<=, OPERATOR 3 public.=, OPERATOR 4 public.>=, OPERATOR 5 public.>,
    FUNCTION 1 public.part_cmp(public.part, public.part);
CREATE TABLE public.t (id public.part PRIMARY KEY, v text, changed timestamptz NOT NULL DEFAULT clock_timestamp());
"""
ROWS = "INSERT INTO public.t (id, v) VALUES ('1', 'a'), ('2', 'b'), ('3', 'c');"
T = "CREATE TABLE public.t (id int4 PRIMARY KEY, v int4, at timestamptz);"
BY_TIME = {"name": "t", "merge": {"watermark": "changed", "lookback": "1m"}}


@pytest.mark.template(source=PARTS + ROWS, target=PARTS)
def test_a_key_may_be_of_a_type_whose_operators_lie_anywhere(db_pair: DatabasePair) -> None:
    assert became(merge(db_pair, BY_TIME), "public.t") == {"rows": 3, "inserted": 3}
    run_sql(db_pair.source, "UPDATE public.t SET v = 'new', changed = clock_timestamp() WHERE v = 'b'")
    assert became(merge(db_pair, BY_TIME), "public.t") == {"rows": 3, "updated": 1, "unchanged": 2}
    run_sql(db_pair.target, "DELETE FROM public.t")
    with pytest.raises(WatermarkError, match="that were merged last"):
        merge(db_pair, BY_TIME)


AT_THE_END = """
CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '{state}'; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.t DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.no();
ALTER TABLE public.t ENABLE ALWAYS TRIGGER late;
"""


@pytest.mark.template(source=T + "INSERT INTO public.t VALUES (1, 10)", target=T)
@pytest.mark.parametrize(("state", "kind"), [("PG777", MergeError), ("23503", RowError)])
def test_what_a_trigger_says_at_the_commit_is_told_with_the_table(
    db_pair: DatabasePair, state: str, kind: type[MergeError] | type[RowError]
) -> None:
    run_sql(db_pair.target, AT_THE_END.format(state=state))
    with pytest.raises(kind, match="public") as raised:
        merge(db_pair, {"name": "t"})
    assert raised.value.sqlstate == state
    assert rows(db_pair.target, "SELECT * FROM public.t") == []


@pytest.mark.template(source=T + "INSERT INTO public.t VALUES (1, 1, NULL), (2, 1, NULL), (3, 1, NULL)")
def test_values_without_an_order_are_named_once(db_pair: DatabasePair) -> None:
    with pytest.raises(WatermarkError, match="have no usable watermark in at: NULL ") as raised:
        merge(db_pair, {"name": "t", "merge": {"watermark": "at", "lookback": "1m"}})
    assert "NULL, NULL" not in str(raised.value)


@pytest.mark.template(
    source=T + "INSERT INTO public.t VALUES (1, 10), (2, 20)", target=T + "ALTER TABLE public.t ADD CHECK (v < 15)"
)
@pytest.mark.parametrize("max_rejects", [0, 5])
def test_a_refused_row_is_told_of_the_target_and_not_of_where_it_was_staged(
    db_pair: DatabasePair, max_rejects: int
) -> None:
    if max_rejects:
        merge(db_pair, {"name": "t"}, max_rejects=max_rejects)
        ((words,),) = rows(db_pair.target, "SELECT message FROM pghaul.quarantine")
    else:
        with pytest.raises(RowError) as raised:
            merge(db_pair, {"name": "t"})
        words = str(raised.value)
    assert "public.t" in words
    assert "stage_" not in words
