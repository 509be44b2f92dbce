"""Files that are whole at any moment: written beside their place, then put into it."""

from __future__ import annotations

import glob
import os
import tempfile
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
            os.chmod(file.name, 0o666 & ~_umask())  # a temporary file is private
            os.replace(file.name, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror or error}); what stood there before is "
            "unchanged. Make room or choose another folder",
        ) from error


def remove_unfinished(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left beside it."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink(missing_ok=True)


@contextmanager
def _temporary(path: Path) -> Iterator[IO[bytes]]:
    options = {"dir": path.parent, "prefix": f".{path.name}.", "delete": False}
    with tempfile.NamedTemporaryFile(**options) as file:  # type: ignore[call-overload]
        try:
            yield file
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
