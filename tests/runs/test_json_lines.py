"""A file of JSON lines survives a kill in the middle of a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_ext.runs.json_lines import append_line, read_lines

FILE = Path("lines.jsonl")


def test_lines_come_back_in_their_order() -> None:
    assert read_lines(FILE) == []
    for line in ({"λ": 1.5}, [1, None], "text"):
        append_line(FILE, line)
    assert read_lines(FILE) == [{"λ": 1.5}, [1, None], "text"]


def test_a_line_that_was_cut_off_is_removed_and_the_next_follows() -> None:
    append_line(FILE, {"run": 1})
    whole = FILE.read_bytes()
    append_line(FILE, {"run": 2, "name": "λ"})
    for cut in range(len(whole) + 1, FILE.stat().st_size - 1):
        FILE.write_bytes(FILE.read_bytes()[:cut])
        assert read_lines(FILE) == [{"run": 1}]
        assert FILE.read_bytes() == whole
        append_line(FILE, {"run": 2, "name": "λ"})
    assert read_lines(FILE) == [{"run": 1}, {"run": 2, "name": "λ"}]


def test_a_whole_line_that_is_no_json_is_refused() -> None:
    FILE.write_text('{"run": 1}\nnot json\n')
    with pytest.raises(ValueError, match="Expecting value"):
        read_lines(FILE)
    assert FILE.read_text() == '{"run": 1}\nnot json\n'
