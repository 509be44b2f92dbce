"""What a search trains in each of its trials, and checks before the first."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext.hyperparameters import nearest
from recbole_ext.names import KEYS_WITHOUT_YAML
from recbole_ext.quick_start import checked_config, run_recbole
from recbole_ext.recording import listening
from recbole_ext.safe_file import plain
from recbole_ext.search.journal import Trial
from recbole_ext.search.space import Space

QUIET = {"show_progress": False, "state": "WARNING"}


@dataclass(frozen=True)
class Task:
    """A model on a dataset, with the settings that all trials have in common.

    Attributes:
        model: its name.
        dataset: its name.
        config_files: yaml files.
        settings: they win over the files; a trial's win over both.
    """

    model: str
    dataset: str
    config_files: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def check(self, space: Space) -> bool:
        """Make sure that a space fits the model, before anything is trained.

        Each value of a choice and both ends of an interval are tried on their own.

        Returns:
            Whether a bigger validation score is better.

        Raises:
            ValueError: naming the parameter, its value and the remedy.
        """
        config = checked_config(self.model, self.dataset, self.config_files, dict(self.settings))
        known = {*config.internal_config_dict, *KEYS_WITHOUT_YAML}
        known.update(key for keys in config.parameters.values() for key in keys)
        for parameter in space:
            if parameter.name not in known:
                raise ValueError(
                    f"{self.model} knows no hyper-parameter {parameter.name!r}."
                    f"{nearest(parameter.name, known)}"
                )
            for value in parameter.ends():
                given = {**self.settings, parameter.name: value}
                checked_config(self.model, self.dataset, self.config_files, given)
        return bool(config["valid_metric_bigger"])

    def train(self, chosen: dict[str, Any], report: Callable[[int, float], None]) -> Trial:
        """Train and test once; a failure is a trial, too.

        Args:
            chosen: the trial's hyper-parameters.
            report: is told each epoch and its validation score.
        """
        began = time.perf_counter()
        epochs: list[int] = []

        def note(epoch: int, score: float) -> None:
            epochs.append(epoch)
            report(epoch, score)

        with tempfile.TemporaryDirectory() as folder, listening(note):
            settings = {**QUIET, **self.settings, **chosen, "checkpoint_dir": folder}
            try:
                result = run_recbole(self.model, self.dataset, self.config_files, settings)
            except (Exception, SystemExit) as error:  # whatever a model raises
                reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                spent = time.perf_counter() - began
                return Trial(chosen, "failed", None, len(epochs), seconds=spent, error=reason)
        return Trial(
            chosen,
            "done",
            float(result["best_valid_score"]),
            len(epochs),
            plain(dict(result["best_valid_result"] or {})),
            plain(dict(result["test_result"] or {})),
            time.perf_counter() - began,
        )


def absolute(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings whose folders are found from any working folder."""
    given = settings.get("data_path")
    return {**settings, "data_path": str(Path(given).resolve())} if given else settings
