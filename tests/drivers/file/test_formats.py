"""What an event is made of: rows, lines, whole files, and what is wrong with some."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.file import records, table
from drivers.file.config import FileConfig
from drivers.file.records import JsonLines, Lines, read_piece, time_of
from drivers.file.table import Dialect, open_table
from storage.model import MAX_EVENT_BYTES
from tests.drivers.file.watching import Watched


def taken(tmp_path: Path, name: str, content: bytes | str, config: FileConfig | None = None) -> Watched:
    """A directory in which that file came."""
    watched = Watched(tmp_path / "in", config)
    watched.put(name, content)
    watched.pass_time()
    return watched


def test_a_csv_row_is_an_object_by_the_names_of_the_header(tmp_path: Path) -> None:
    watched = taken(
        tmp_path,
        "a.csv",
        'time,flow,note,odd\r\n2026-01-01T00:00:00Z,12.50,"a ""b"", c",007\r\n'
        '2026-01-01T00:00:01Z,-1e-3,"two\nlines",\r\n\r\n2026-01-01T00:00:02Z,NaN,100%,1\r\n',
    )
    assert watched.payloads == [
        b'{"time":"2026-01-01T00:00:00Z","flow":12.50,"note":"a \\"b\\", c","odd":"007"}',
        b'{"time":"2026-01-01T00:00:01Z","flow":-1e-3,"note":"two\\nlines","odd":null}',
        b'{"time":"2026-01-01T00:00:02Z","flow":"NaN","note":"100%","odd":1}',
    ]
    assert watched.sink.events[0].content_type == "application/json"
    assert watched.counter("bad") == 0


def test_two_numbers_on_two_lines_of_a_cell_are_no_number(tmp_path: Path) -> None:
    assert taken(tmp_path, "a.csv", 'a,b\n"1\n2",3\n').rows == [{"a": "1\n2", "b": 3}]


def test_tables_without_a_header_of_other_delimiters_and_encodings(tmp_path: Path) -> None:
    config = FileConfig(format="csv", columns=("a", 'b"%s'), delimiter=";", encoding="cp1252")
    watched = taken(tmp_path, "a.dat", "1;für\n2;\n".encode("cp1252"), config)
    assert watched.rows == [{"a": 1, 'b"%s': "für"}, {"a": 2, 'b"%s': None}]


def test_the_tab_of_tsv_the_mark_of_excel_and_names_that_are_missing_or_twice(tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.tsv", b"\xef\xbb\xbfx\t\tx\n1\t2\t3")
    assert watched.rows == [{"x": 1, "column_2": 2, "x_3": 3}]


def test_bad_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.csv", b"a,b\n1,2\n1\n3,4\n\xff,5\n6,7,8\n" + b'9,"' + b"x" * 140_000 + b'"\n10,11\n')
    assert watched.rows == [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 10, "b": 11}]
    assert (watched.counter("bad"), watched.counter("good")) == (4, 3)
    assert "cells where the header has 2" in (watched.folder / "failed" / "a.csv.reason").read_text()


def test_a_row_that_no_event_can_hold_is_left_out() -> None:
    table_, offset = open_table(b"a\n", Dialect(), (), 20, whole=True)
    rows = table_.parse(b"1\n" + b"x" * 30 + b"\n2\n", final=True, most=10)
    assert (offset, rows.payloads, rows.bad) == (2, [b'{"a":1}', b'{"a":2}'], 1)


def test_uneven_rows_may_end_in_carriage_returns_too(tmp_path: Path) -> None:
    assert taken(tmp_path, "a.csv", "a,b\r\n1,2\r\n1\r\n3,4").rows == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_a_quote_that_never_ends_costs_its_line(tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.csv", 'a,b\n1,2\n"3,4\n5,6\n7,8\n')
    assert watched.rows == [{"a": 1, "b": 2}, {"a": 5, "b": 6}, {"a": 7, "b": 8}]
    assert watched.counter("bad") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'"a,b\n1,2\n', "no header"),
        (b"\xff\xfe\n1\n", "set `encoding`"),
        (b"a,b\n1,2\n", "no column 'when': there are a, b"),
        (",".join(f"c{n}" for n in range(1001)).encode(), "at most 1000"),
    ],
)
def test_a_table_that_cannot_be_read_goes_to_failed_as_it_is(content: bytes, says: str, tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.csv", content, FileConfig(time_column="when"))
    assert not watched.payloads
    assert (watched.folder / "failed" / "a.csv").read_bytes() == content
    assert says in (watched.folder / "failed" / "a.csv.reason").read_text()
    # Once it was put right, it is read.
    watched.put("a.csv", "when\n1\n")
    watched.pass_time()
    assert watched.rows == [{"when": 1}]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.log"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_empty_files_have_no_events_and_are_completed(name: str, content: bytes, tmp_path: Path) -> None:
    watched = taken(tmp_path, name, content)
    assert not watched.payloads
    assert watched.names("completed") == [name]


def test_whole_files_are_one_event_also_when_empty(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(order="name"))
    watched.put("1.png", b"\x89PNG\x00")
    watched.put("2.unheard-of", b"")
    watched.pass_time()
    assert [(event.payload, event.content_type) for event in watched.sink.events] == [
        (b"\x89PNG\x00", "image/png"),
        (b"", "application/octet-stream"),
    ]
    assert watched.names("completed") == ["1.png", "2.unheard-of"]


def test_a_whole_file_that_no_event_can_hold_goes_to_failed(tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.bin", bytes(MAX_EVENT_BYTES + 1))
    watched.put("b.bin", bytes(MAX_EVENT_BYTES))
    watched.pass_time()
    assert [len(payload) for payload in watched.payloads] == [MAX_EVENT_BYTES]
    assert (watched.names("failed"), watched.names("completed")) == (["a.bin", "a.bin.reason"], ["b.bin"])
    assert watched.counter("refused") == 1


def test_lines_are_kept_as_they_are_without_their_ends(tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.log", b" 1 \r\n\r\n\xff\n\nlast")
    assert watched.payloads == [b" 1 ", b"\xff", b"last"]


def test_json_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    watched = taken(tmp_path, "a.ndjson", b'{"a": 1.50}\n\n [1] \r\n{"a"\nNaN\n\xff\n"end"')
    assert watched.payloads == [b'{"a": 1.50}', b"[1]", b'"end"']
    assert watched.counter("bad") == 3


def test_a_line_that_is_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 3 << 20)
    content = b"1\n" + b"x" * (7 << 20) + b"\n2\n" + b"y" * (2 << 20) + b"\n3\n" + b"z" * (3 << 20)
    watched = taken(tmp_path, "a.log", content)
    assert [len(payload) for payload in watched.payloads] == [1, 1, 2 << 20, 1]
    assert watched.counter("bad") == 2


def test_routing_keys_and_times_may_be_columns(tmp_path: Path) -> None:
    config = FileConfig(key_column="pump", time_column="at")
    watched = taken(
        tmp_path,
        "a.csv",
        "at,pump\n2026-11-23T12:00:00+01:00,p1\n1763895600,p2\n2026-11-23 11:00:02,p1\nyesterday,\n",
        config,
    )
    offset_ns = watched.clock.wall_ns() - watched.clock.boot_ns()
    times = [(event.time_ns + offset_ns) / 1e9 for event in watched.sink.events]
    assert [event.routing_key for event in watched.sink.events] == ["p1", "p1", "p2", "logger"]
    assert times[:3] == [1795431600.0, 1795431602.0, 1763895600.0]
    assert watched.counter("untimed") == 1
    assert abs(times[3] - watched.clock.wall_ns() / 1e9) < 10


def test_nobodys_time_is_made_of_a_clock_that_is_not_trusted(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(time_column="at"))
    watched.clock.reference = False
    watched.put("a.jsonl", '{"at": 1763895600}\n')
    watched.pass_time()
    assert 0 <= watched.sink.events[0].time_ns <= watched.clock.boot_ns()
    assert watched.counter("untimed") == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1.5", 1.5), (1_700_000_000_123, 1_700_000_000.123), ("1700000000123456", 1_700_000_000.123456),
     (1_700_000_000_123_456_789, 1_700_000_000.123456789), ("1970-01-01T00:00:01Z", 1), ("1970-01-01", 0)],
)  # fmt: skip
def test_times_are_iso_8601_or_unix_time(value: object, seconds: float) -> None:
    assert time_of(value) == pytest.approx(seconds * 1e9, abs=300)


@pytest.mark.parametrize("value", ["", "x", "2026-13-01", None, True, [], "1e400", float("inf"), "nan"])
def test_what_is_no_time_is_none(value: object) -> None:
    assert time_of(value) is None


CELLS = st.text(st.sampled_from('a1.-"\\,;\n\r\té€'), max_size=6)


@pytest.mark.long
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=30), crlf=st.booleans(), seed=st.integers(1, 40))
def test_rows_come_out_as_csv_says_wherever_the_file_is_cut(rows: list[list[str]], crlf: bool, seed: int) -> None:
    rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n" if crlf else "\n").writerows([["x", "y", "z"], *rows])
    raw = out.getvalue().encode()
    form, offset = open_table(raw, Dialect(), (), 1 << 20, whole=True)
    payloads: list[bytes] = []
    chunk_bytes = seed
    while offset < len(raw):
        chunk = raw[offset : offset + chunk_bytes]
        done = form.parse(chunk, final=offset + chunk_bytes >= len(raw), most=50)
        assert not done.bad, done.reason
        payloads += done.payloads
        offset += done.used
        chunk_bytes = seed if done.used else chunk_bytes * 2
    assert [json.loads(payload) for payload in payloads] == [as_object(row) for row in rows]


def as_object(row: Sequence[str]) -> dict[str, object]:
    return dict(zip("xyz", (json.loads(table._cell(cell)) for cell in row), strict=True))


@pytest.mark.parametrize("form", [Lines(), JsonLines()])
def test_the_last_line_waits_for_its_end_while_somebody_writes(form: Lines | JsonLines, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1\n2")
    with path.open("rb") as file:
        piece = read_piece(file.fileno(), 0, form, skipping=False, final=False)
        assert (piece.records.payloads, piece.consumed) == ([b"1"], 2)
        assert read_piece(file.fileno(), 2, form, skipping=False, final=False).consumed == 0
        assert read_piece(file.fileno(), 2, form, skipping=False, final=True).records.payloads == [b"2"]


def test_a_row_that_is_larger_than_others_comes_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    names = [f"a_rather_long_name_of_a_column_{n}" for n in range(40)]
    path.write_text(",".join(names) + "\n" + ",".join(["x" * 80_000] * 40) + "\n" + ("," * 39 + "\n") * 50_000)
    with path.open("rb") as file:
        form, offset = open_table(file.read(4096), Dialect(), (), MAX_EVENT_BYTES, whole=False)
        first = read_piece(file.fileno(), offset, form, skipping=False, final=True)
        second = read_piece(file.fileno(), offset + first.consumed, form, skipping=False, final=True)
    assert len(first.records.payloads) == 1
    assert sum(map(len, second.records.payloads)) < 12 << 20


@pytest.mark.long
def test_deliveries_stay_within_their_limits(tmp_path: Path) -> None:
    names = [f"a_rather_long_name_of_a_column_{n}" for n in range(40)]
    content = ",".join(names) + "\n" + ("," * 39 + "\n") * 20_000
    watched = taken(tmp_path, "a.csv", content, replace(FileConfig(), order="name"))
    watched.put("b.log", "x\n" * 300_000)
    watched.pass_time(10)
    assert watched.counter("good") == 320_000
    assert watched.running.source.status().counters["restarts"] == 0
