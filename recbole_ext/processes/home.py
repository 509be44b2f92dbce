"""What the machine that starts a run gives to workers on other machines, and keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

# Opens a temporary file that replaces a path when the block ends without an error.
Replacing = Callable[[Path], AbstractContextManager[IO[bytes]]]


@dataclass
class Home:
    """The data and the files of a run, where the run was started.

    A worker asks for what it lacks, and hands over what it has written after each validation. No
    machine needs to see the files of another.

    Attributes:
        data: the folder of the data set.
        folder: the folder of the checkpoints.
        replacing: writes a file completely or not at all.
        last: the name of the file that the run goes on from; empty if it begins anew.
        names: the files that belong to the run, relative to ``folder``.
        result: what the first worker has returned.
        error: the error of a worker that would come again.
    """

    data: Path
    folder: Path
    replacing: Replacing
    last: str = ""
    names: set[str] = field(default_factory=set)
    result: Any = None
    error: Exception | None = None

    def go_on_from(self, resume_file: Path, best: str) -> None:
        """Begin with the state in a file.

        Args:
            resume_file: the file, in the folder that the run goes on to write into.
            best: the name of the file beside it that holds the best epoch.
        """
        self.folder, self.last = resume_file.parent, resume_file.name
        stem = Path(best).stem
        found = [best, self.last, *(path.name for path in self.folder.glob(f"{stem}-*"))]
        for path in (self.folder / name for name in found):
            files = path.rglob("*") if path.is_dir() else [path]
            self.names |= {str(f.relative_to(self.folder)) for f in files if f.is_file()}

    def data_folder(self) -> str:
        """Where the data set is on this machine."""
        return str(self.data)

    def data_files(self) -> list[str]:
        """The names of the data set's files."""
        return [path.name for path in self.data.glob("*") if path.is_file()]

    def data_file(self, name: str) -> bytes:
        """The content of one of them."""
        return (self.data / name).read_bytes()

    def newest(self) -> tuple[str, dict[str, bytes]]:
        """The file to go on from, or an empty name, and the content of each file of the run."""
        return self.last, {name: (self.folder / name).read_bytes() for name in sorted(self.names)}

    def keep(self, files: dict[str, bytes], last: str) -> str:
        """Write files of the run into the folder, in their order.

        Args:
            files: the content of each, by its name.
            last: the one that the run can go on from.

        Returns:
            The path of this one.

        Raises:
            OSError: if one cannot be written.
        """
        for name, content in files.items():
            with self.replacing(self.folder / name) as file:
                file.write(content)
        self.names |= files.keys()
        self.last = last or self.last
        return str(self.folder / self.last)

    def finish(self, result: Any) -> None:
        """Take what the first worker returns."""
        self.result = result

    def fail(self, error: Exception) -> None:
        """Take the error of a worker; the first one counts."""
        self.error = self.error or error

    def failed(self) -> bool:
        """Whether a worker has had an error that would come again."""
        return self.error is not None

    def ended(self) -> tuple[Any, Exception | None, str]:
        """The result, the error and the name of the last state."""
        return self.result, self.error, self.last
