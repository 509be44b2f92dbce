"""The journal of a search: each trial is written when it ends, so that none is lost or repeated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_ext.runs.json_lines import append_line, read_lines

STATUSES = ("done", "stopped", "failed")


@dataclass(frozen=True)
class Trial:
    """One combination of hyper-parameters and its result.

    Attributes:
        settings: the hyper-parameters.
        status: ``done``; ``stopped`` early by the scheduler; or ``failed``.
        score: the best validation score, if there is one.
        epochs: the number of validations.
        valid: the validation metrics of the best epoch.
        test: the test metrics of that epoch, for a trial that is done.
        seconds: the duration of the trial.
        error: the reason of a failure.
    """

    settings: dict[str, Any]
    status: str
    score: float | None = None
    epochs: int = 0
    valid: dict[str, float] | None = None
    test: dict[str, float] | None = None
    seconds: float = 0.0
    error: str | None = None


class Journal:
    """A file with one line for each trial, after a first line that identifies the search.

    Args:
        path: path of the file.
        search: the properties that all trials share.
        resume: whether to continue with the trials in the file; otherwise no file may exist.

    Raises:
        FileExistsError: if the file exists and ``resume`` is false.
        FileNotFoundError: if the file does not exist and ``resume`` is true.
        ValueError: if the file is no journal, or the journal of another search.
    """

    def __init__(self, path: Path, search: dict[str, Any], resume: bool) -> None:
        self.path, self.trials = path, list[Trial]()
        search = json.loads(json.dumps(search))
        if resume:
            self._take_up(search)
        elif path.exists():
            raise FileExistsError(
                f"{path} holds a search already: give --resume to go on with it, or another "
                "--output_file"
            )
        else:
            append_line(path, {"search": search})

    def add(self, trial: Trial) -> None:
        """Add a trial, and wait until it is on the disk."""
        self.trials.append(trial)
        append_line(self.path, asdict(trial))

    def find(self, settings: dict[str, Any]) -> Trial | None:
        """The trial with such settings, if it has ended."""
        wanted = json.loads(json.dumps(settings))
        return next((t for t in self.trials if json.loads(json.dumps(t.settings)) == wanted), None)

    def best(self, bigger: bool) -> Trial | None:
        """The trial with the best validation score among those that ran to their end."""
        return best_of(self.trials, bigger)

    def _take_up(self, search: dict[str, Any]) -> None:
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no search to resume: {self.path}")
        try:
            first, *rest = read_lines(self.path)
            then = dict(first["search"])
            self.trials = [Trial(**line) for line in rest]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.path} is no journal of a search") from None
        for key in search:
            if then.get(key) != search[key]:
                raise ValueError(
                    f"{self.path} is of a search with {key}: {then.get(key)!r}, not "
                    f"{search[key]!r}; give another --output_file"
                )


def best_of(trials: Sequence[Trial], bigger: bool) -> Trial | None:
    """The best trial by validation among those that ran to their end."""
    done = [t for t in trials if t.status == "done" and t.score is not None]
    return (max if bigger else min)(done, key=lambda trial: trial.score or 0.0, default=None)
