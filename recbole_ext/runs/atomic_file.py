"""Atomic writing: a file is written under a temporary name and then renamed."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` when the block ends without an error.

    Raises:
        OSError: if ``path`` cannot be written; the error names it, and the old file is unchanged.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror or error}); what stood there before is "
            "unchanged. Make room or choose another folder",
        ) from error


def replace_text(path: str | Path, text: str) -> None:
    """Replace the content of ``path`` by a text, completely or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_unfinished(path: str | Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote ``path``."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink(missing_ok=True)


@contextmanager
def _temporary(path: Path) -> Iterator[IO[bytes]]:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with beside.open("xb") as file:
        try:
            yield file
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
