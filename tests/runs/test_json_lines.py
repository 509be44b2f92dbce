"""A file of JSON lines survives a kill in the middle of a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_ext.runs.json_lines import append_line, read_lines
from tests.worlds.places import ROOT

FILE = Path("lines.jsonl")


def test_lines_come_back_in_their_order() -> None:
    assert read_lines(FILE) == []
    for line in ({"λ": 1.5}, [1, None], "text"):
        append_line(FILE, line)
    assert read_lines(FILE) == [{"λ": 1.5}, [1, None], "text"]


def test_a_line_that_was_cut_off_is_not_read_and_the_next_replaces_it() -> None:
    append_line(FILE, {"run": 1})
    whole = FILE.read_bytes()
    append_line(FILE, {"run": 2, "name": "λ"})
    both = FILE.read_bytes()
    for cut in range(len(whole) + 1, len(both)):
        FILE.write_bytes(both[:cut])
        assert read_lines(FILE) == [{"run": 1}]
        append_line(FILE, {"run": 2, "name": "λ"})
        assert FILE.read_bytes() == both
    assert read_lines(FILE) == [{"run": 1}, {"run": 2, "name": "λ"}]


def test_a_first_line_that_was_cut_off_is_replaced() -> None:
    FILE.write_text('{"run": ')
    assert read_lines(FILE) == []
    append_line(FILE, {"run": 1})
    assert FILE.read_text() == '{"run": 1}\n'


def test_reading_leaves_a_file_alone_as_another_process_may_be_writing_it() -> None:
    FILE.write_text('{"run": 1}\n{"run"')
    read_lines(FILE)
    assert FILE.read_text() == '{"run": 1}\n{"run"'


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.jsonl")), ids=lambda p: p.stem)
def test_the_results_are_read_line_by_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert read_lines(path) == [json.loads(line) for line in lines]


def test_a_whole_line_that_is_no_json_is_refused() -> None:
    FILE.write_text('{"run": 1}\nnot json\n')
    with pytest.raises(ValueError, match="Expecting value"):
        read_lines(FILE)
    assert FILE.read_text() == '{"run": 1}\nnot json\n'
