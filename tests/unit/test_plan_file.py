"""Plan files: what is read, what is refused by name, what is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pghaul.model.errors import PlanError
from pghaul.model.plan import OnExisting, Options, Plan, Selection, Verify
from pghaul.postgres.dsn import resolve
from pghaul.service.endpoint_url import storable_url
from pghaul.service.plan_file import plan_schema, read_plan, write_plan

GOOD = """\
source = "postgresql://me@old/plant"
target = "postgresql://me@new/plant"

[options]
workers = 4
verify = "checksum"

[[tables]]
name = "public.payment"
on_existing = "truncate"

[[tables]]
name = "public.point_history*"
"""


@pytest.fixture
def plan_path(tmp_path: Path) -> Path:
    return tmp_path / "plan.toml"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, text: str) -> PlanError:
    with pytest.raises(PlanError) as caught:
        read_plan(written(path, text))
    assert caught.value.where == str(path)
    return caught.value


def test_a_plan_file_says_what_the_command_line_would(plan_path: Path) -> None:
    assert read_plan(written(plan_path, GOOD)) == Plan(
        source="postgresql://me@old/plant",
        target="postgresql://me@new/plant",
        tables=[
            Selection(name="public.payment", on_existing=OnExisting.TRUNCATE),
            Selection(name="public.point_history*"),
        ],
        options=Options(workers=4, verify=Verify.CHECKSUM),
    )


def test_urls_given_apart_take_the_place_of_the_file_s(plan_path: Path) -> None:
    plan = read_plan(written(plan_path, GOOD), source="postgresql://other/plant")
    assert (plan.source, plan.target) == ("postgresql://other/plant", "postgresql://me@new/plant")


def test_a_file_without_urls_is_complete_with_those_given_apart(plan_path: Path) -> None:
    text = GOOD.partition("\n\n")[2]
    plan = read_plan(written(plan_path, text), source="postgresql://a/b", target="postgresql://c/d")
    assert len(plan.tables) == 2


@pytest.mark.parametrize(
    ("wrong", "right", "line"),
    [
        ("workers = 4", "worker = 4", 5),
        ("workers = 4", '"worker" = 4', 5),
        ('on_existing = "truncate"', 'on_exsting = "truncate"', 10),
        ('target = "postgresql', 'traget = "postgresql', 2),
        ("[options]", "[option]", 4),
    ],
)
def test_a_typo_is_named_with_its_line_and_the_nearest_key(plan_path: Path, wrong: str, right: str, line: int) -> None:
    message = refused(plan_path, GOOD.replace(wrong, right)).message
    typo = right.split("=", maxsplit=1)[0].strip(' []"')
    meant = wrong.split("=", maxsplit=1)[0].strip(" []")
    assert f"line {line}: unknown key '{typo}', did you mean '{meant}'?" in message


def test_a_key_in_the_wrong_place_is_sent_to_its_own(plan_path: Path) -> None:
    message = refused(plan_path, "workers = 4\n" + GOOD.replace("workers = 4", "")).message
    assert "line 1: unknown key 'workers', did you mean 'workers' in [options]?" in message


def test_a_key_like_no_other_is_answered_with_the_known_ones(plan_path: Path) -> None:
    assert "known here are name, on_existing" in refused(plan_path, GOOD + "zzz = 1\n").message


def test_what_is_missing_is_named_and_an_example_given(plan_path: Path) -> None:
    error = refused(plan_path, 'source = "postgresql://a/b"\n')
    assert "'target' is missing" in error.message
    assert error.advice is not None
    assert "[[tables]]" in error.advice


def test_a_plan_that_selects_nothing_is_refused(plan_path: Path) -> None:
    error = refused(plan_path, 'source = "postgresql://a/b"\ntarget = "postgresql://a/c"\n')
    assert error.message == "its words do not fit: nothing is selected: it takes [[tables]], or whole = true"


def test_a_wrong_value_is_named_with_its_line(plan_path: Path) -> None:
    message = refused(plan_path, GOOD.replace('"checksum"', '"cheksum"')).message
    assert message.startswith("its words do not fit: line 6: 'verify': one of 'count' or 'checksum' is needed")


def test_broken_toml_says_where_it_breaks(plan_path: Path) -> None:
    assert "line 1" in refused(plan_path, "source = \n").message


def test_no_such_file_is_a_plan_error(plan_path: Path) -> None:
    with pytest.raises(PlanError, match="no such plan file"):
        read_plan(plan_path)


def test_a_refusal_never_quotes_a_url(plan_path: Path) -> None:
    text = GOOD.replace('"postgresql://me@new/plant"', '["postgresql://me:s3cret@new/plant"]')
    assert "s3cret" not in str(refused(plan_path, text))


def test_a_written_plan_reads_the_same_but_for_its_passwords(plan_path: Path) -> None:
    plan = read_plan(written(plan_path, GOOD)).model_copy(
        update={
            "source": "postgresql://me:s3cret@old/plant?sslmode=require",
            "target": "host=new user=me dbname=plant password=s3cret",
        }
    )
    write_plan(plan, plan_path)
    text, again = plan_path.read_text(encoding="utf-8"), read_plan(plan_path)
    assert "s3cret" not in text
    assert (again.tables, again.options) == (plan.tables, plan.options)
    assert resolve(again.source, environ={}).get("sslmode") == "require"
    assert [resolve(u, environ={}).get("host") for u in (again.source, again.target)] == ["old", "new"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_written_plan_is_its_owner_s_alone(plan_path: Path) -> None:
    write_plan(Plan(source="host=a", target="host=b", tables=[Selection(name="t")]), plan_path)
    assert plan_path.stat().st_mode & 0o777 == 0o600
    assert list(plan_path.parent.iterdir()) == [plan_path]


def test_a_folder_that_does_not_exist_is_a_plan_error(plan_path: Path) -> None:
    plan = Plan(source="host=a", target="host=b", tables=[Selection(name="t")])
    with pytest.raises(PlanError, match="cannot be written"):
        write_plan(plan, plan_path / "missing" / "plan.toml")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@old:5433/plant?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://me@a:1,b:2/plant?target_session_attrs=read-write",
        "postgresql://%EB%82%98%40x@old/%EA%B3%B5%EC%9E%A5%20%2F1",
        "host=/run/postgresql port=5433 user=me dbname=plant",
        "postgresql://me@[::1]:5433/plant",
    ],
)
def test_a_stored_url_leads_to_the_same_endpoint(url: str) -> None:
    endpoint = resolve(url, environ={})
    assert resolve(storable_url(endpoint), environ={}).params == endpoint.params


def test_the_schema_describes_every_key() -> None:
    schema = plan_schema()
    models = {"Plan": schema} | {n: d for n, d in schema["$defs"].items() if "properties" in d}
    assert set(models) == {"Plan", "Selection", "Merge", "Period", "Mapping", "Options", "Transform"}
    assert {
        f"{m}.{k}" for m, d in models.items() for k, p in d["properties"].items() if not p.get("description")
    } == set()


def test_the_schema_knows_every_option() -> None:
    assert set(plan_schema()["$defs"]["Options"]["properties"]) == set(Options.model_fields)


@pytest.mark.parametrize("wrong", ["-1", '"many"', "true", '"5 %"'])
def test_what_may_be_set_aside_is_a_number_or_a_share(plan_path: Path, wrong: str) -> None:
    text = GOOD.replace("workers = 4", f"max_rejects = {wrong}")
    assert "neither a number of rows nor a share" in refused(plan_path, text).message


def test_an_empty_table_about_merging_means_the_recipe(plan_path: Path) -> None:
    assert read_plan(written(plan_path, f"{GOOD}\n[tables.merge]\n")).merges
