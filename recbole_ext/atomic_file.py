"""Files that are whole at any moment: written beside their place, then put into it."""

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
    """A file to write to, which takes the place of ``path`` at the end or not at all.

    Raises:
        OSError: naming ``path``, if it cannot be written; what stands there is then unchanged.
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
    """Write a text in the place of what is there, at once or not at all; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_unfinished(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left beside it."""
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
