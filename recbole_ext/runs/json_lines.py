"""A file of JSON lines that survives a kill: a line is on the disk before the next begins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def append_line(path: Path, line: Any) -> None:
    """Add one value as a line, and wait until it is on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """The values of all whole lines; of a file that is not there none.

    A line without an end was cut off by a kill. It is removed, so that the next one can follow.

    Raises:
        ValueError: if a whole line is no JSON.
    """
    if not path.is_file():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    values = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    return values
