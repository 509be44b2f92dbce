"""Files of JSON lines that survive a kill, as each line is on the disk before the next begins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any


def append_line(path: Path, line: Any) -> None:
    """Append one value as a line, and wait until the line is on the disk.

    A last line without an end was cut off by a kill; the new line replaces it.
    """
    with path.open("a+b") as file:
        _remove_cut_line(file)
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """The values of all complete lines; none if the file does not exist.

    The file is only read: another process may be writing its last line at this moment.

    Raises:
        ValueError: if a complete line is not JSON.
    """
    if not path.is_file():
        return []
    *whole, _ = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in whole]


def _remove_cut_line(file: IO[bytes]) -> None:
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
