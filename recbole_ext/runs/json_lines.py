"""Files of JSON lines that survive a kill, as each line is on the disk before the next begins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def append_line(path: Path, line: Any) -> None:
    """Append one value as a line, and wait until the line is on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """The values of all complete lines; none if the file does not exist.

    A last line without an end was cut off by a kill. It is removed, so that another can follow.

    Raises:
        ValueError: if a complete line is not JSON.
    """
    if not path.is_file():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    values = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    return values
