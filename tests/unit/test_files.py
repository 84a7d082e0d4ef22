"""Files as a source: which are tables, what a CSV may look like, and what is wrong with those that are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.contract.case import rows_of, whole

from pghaul.model.errors import NotFoundError, SnapshotLostError, SourceError, UsageError
from pghaul.model.foreign import ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources import files, misfits
from pghaul.sources.files import Files


def opened(url: str) -> Files:
    """A source."""
    return files.open(files.endpoint(url, {}, None))


def trouble(folder: Path) -> str:
    """What stands in the way of its one table."""
    (table,) = opened(f"files://{folder}").database().tables
    assert table.trouble is not None
    return str(table.trouble.what)


def read(source: Files, table: str) -> list[tuple[object, ...]]:
    """All of a table, as it is proposed."""
    return rows_of(source, whole(next(t for t in source.database().tables if t.name.name == table)))


def test_a_file_is_a_table_and_a_folder_in_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a\n1\n")
    (tmp_path / "notes.md").write_text("nothing of ours")
    (tmp_path / ".hidden.csv").write_text("a\n1\n")
    (tmp_path / "many" / "2024").mkdir(parents=True)
    for name, value in (("many/2024/b.csv", 2), ("many/a.csv", 1)):
        (tmp_path / name).write_text(f"n\n{value}\n")
    source = opened(f"files://{tmp_path}")
    assert [t.name.name for t in source.database().tables] == ["many", "one"]
    assert sorted(read(source, "many")) == [(1,), (2,)]
    assert source.count(Name("", "many")) == 2


def test_one_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "x.data").write_text("a;b\n1;2\n")
    source = opened(f"csv://{tmp_path}/x.data?delimiter=;")
    assert read(source, "x") == [(1, 2)]
    with pytest.raises(SourceError, match="kind of file"):
        opened(f"files://{tmp_path}/x.data")


def test_a_csv_may_be_packed_have_no_header_and_another_null(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.csv.gz", "wt") as file:
        file.write("1|\\N\n2|''\n")
    source = opened(f"files://{tmp_path}?delimiter=|&header=no&null=\\N&quote='")
    assert read(source, "x") == [(1, None), (2, "")]


@pytest.mark.parametrize("text", ['a,b\n1,"open\n2,b\n', 'a\n1\n"open\n2\n', 'a,b\n1,"say ""hi""', 'a,b\n1,"'])
def test_a_quote_that_nobody_closes_takes_no_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SourceError, match="never closed"):
        read(opened(f"files://{tmp_path}"), "x")


@pytest.mark.parametrize("ends", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize(("text", "rows"), [('a,b\n1,"x\n"', [(1, "x\n")]), ('a\n""""', [('"',)]), ("a,b", [])])
def test_a_csv_may_end_in_several_ways(tmp_path: Path, text: str, ends: str, rows: list[tuple[object, ...]]) -> None:
    (tmp_path / "x.csv").write_bytes((text + ends).encode())
    assert read(opened(f"files://{tmp_path}"), "x") == rows


def test_a_csv_in_another_encoding_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("이름\n똠방각하\n".encode("cp949"))
    assert read(opened(f"files://{tmp_path}?encoding=cp949"), "x") == [("똠방각하",)]


def test_bytes_that_are_no_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a\n\xff\n")
    assert "UTF" in trouble(tmp_path)


def test_a_row_may_be_longer_than_a_block(tmp_path: Path) -> None:
    """The first block is of 4 MB."""
    (tmp_path / "x.csv").write_text("a,b\n1," + "x" * (5 << 20) + "\n2,y\n")
    assert [(a, len(str(b))) for a, b in read(opened(f"files://{tmp_path}"), "x")] == [(1, 5 << 20), (2, 1)]


def test_a_field_too_many_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n1,2,3\n")
    assert "Expected 2 columns" in trouble(tmp_path)


def test_files_of_a_folder_that_differ_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "t" / "1.parquet")
    parquet.write_table(pa.table({"a": ["x"]}), tmp_path / "t" / "2.parquet")
    assert "same columns" in trouble(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    assert "t.csv" in trouble(tmp_path)
    assert read(opened(f"parquet://{tmp_path}"), "t") == [(1,)]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,a\n1,2\n")
    assert "same name: a" in trouble(tmp_path)


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.csv"])
def test_a_file_that_is_damaged_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"" if name == "x.csv" else b"PAR1 and nothing of it")
    assert "cannot be read" in trouble(tmp_path)


def test_a_file_that_is_cut_off_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.schema([("a", pa.int64())])) as writer:
        for _ in range(3):
            writer.write_batch(pa.record_batch({"a": list(range(1000))}))
    path.write_bytes(path.read_bytes()[:-5_000])
    source = opened(f"files://{tmp_path}")
    with pytest.raises(SourceError, match="cannot be read"):
        read(source, "x")


def test_who_writes_meanwhile_is_seen(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    source = opened(f"files://{tmp_path}")
    token = source.hold()
    opened(f"files://{tmp_path}").join(token)
    (tmp_path / "x.csv").write_text("a\n1\n2\n")
    with pytest.raises(SnapshotLostError):
        source.check()
    with pytest.raises(SnapshotLostError):
        opened(f"files://{tmp_path}").join(token)


def test_a_number_that_comes_late_and_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("n,code\n1,2\nx,3\n")
    columns = (
        ReadColumn(name="code", native="csv", pg_type="text"),
        ReadColumn(name="n", native="csv", pg_type="integer"),
    )
    with pytest.raises(SourceError, match="column n holds"):
        rows_of(opened(f"files://{tmp_path}"), Reading(table=Name("", "x"), columns=columns))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        opened(f"files://{tmp_path}/nowhere")


@pytest.mark.parametrize(
    "url", ["files:", "files://host/x", "csv:x?delimiters=;", "files:x?header=perhaps", "files:x?format=xls"]
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        files.endpoint(url, {}, None)


def test_a_number_that_comes_late_is_spelled_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read loosely, what is none is set apart, and what would come back as another text too."""
    (tmp_path / "t.csv").write_text("n\n1\n2\n007\nx\n0x10\n")
    monkeypatch.setattr(files, "LOOK", 1)
    monkeypatch.setattr(files, "ROWS", 2)
    source = opened(f"files://{tmp_path}")
    monkeypatch.setattr(source, "_guess", lambda _table: ({"n": "bigint"}, 2, False))
    column = ReadColumn(name="n", native="csv", pg_type="bigint")
    with pytest.raises(SourceError, match=r"written in another way|Failed to parse"):
        list(source.read(Reading(table=Name("", "t"), columns=(column,))))
    (batch,) = source.read(Reading(table=Name("", "t"), columns=(column,), loose=True))
    assert batch.to_pylist() == [{"n": 1}, {"n": 2}, {"n": None}, {"n": None}, {"n": None}]
    assert [(m.row, m.text) for m in misfits.told(batch)] == [(2, "007"), (3, "x"), (4, "0x10")]
