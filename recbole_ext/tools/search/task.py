"""The task that a search trains in each trial, and the checks before the first one."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_ext.quick_start import checked_config, train
from recbole_ext.runs.safe_file import plain
from recbole_ext.settings.reading import integer, nearest
from recbole_ext.settings.unknown_names import KEYS_WITHOUT_YAML
from recbole_ext.tools.search.journal import Trial
from recbole_ext.tools.search.space import Parameter, Space

QUIET = {"show_progress": False, "state": "WARNING", "save_last_step": 0}
OTHERS_TRIED = 50

# These settings cannot be searched: they change the data, the metrics or the place of a run.
# fmt: off
FIXED = frozenset([
    "model", "dataset", "data_path", "checkpoint_dir", "resume_file", "metrics", "topk",
    "valid_metric", "valid_metric_bigger", "eval_args", "eval_step", "repeatable", "seed",
    "split_seed", "load_col", "unload_col", "val_interval", "user_inter_num_interval",
    "item_inter_num_interval", "threshold", "benchmark_filename", "scenario_field",
    "cold_user_ratio", "cold_item_rule", "cold_item_ratio", "cold_item_field",
    "cold_item_threshold", "task_ratings", "query_size", "support_size", "valid_user_ratio",
    "warm_evaluation",
])
# fmt: on


@dataclass(frozen=True)
class Task:
    """A model on a dataset, with the settings that all trials share.

    Attributes:
        model: the name of the model.
        dataset: the name of the dataset.
        settings: the settings of the yaml files and the command line, as RecBole reads them.
        metric: the metric that ranks the trials.
        bigger: whether a bigger score is better.
    """

    model: str
    dataset: str
    settings: dict[str, Any]
    metric: str
    bigger: bool

    @classmethod
    def read(
        cls, model: str, dataset: str, config_files: list[str], settings: dict[str, Any]
    ) -> Task:
        """Read yaml files and settings once, so that they mean the same on any machine.

        Raises:
            ValueError: names a setting that does not fit.
        """
        config = checked_config(model, dataset, config_files, dict(settings))
        given = {**config.file_config_dict, **config.variable_config_dict}
        if given.get("resume_file"):
            raise ValueError("resume_file: each trial begins anew; --resume goes on with a search")
        for key in ("epochs", "eval_step"):
            integer(config, key, minimum=1)
        data = Path(given.get("data_path") or config.internal_config_dict["data_path"])
        kept = {key: plain(value) for key, value in given.items() if key not in _NAMES}
        kept["data_path"] = str(data.resolve())
        metric, bigger = config["valid_metric"].lower(), bool(config["valid_metric_bigger"])
        return cls(model, dataset, kept, metric, bigger)

    def check(self, space: Space) -> None:
        """Check that a space fits the model, before anything is trained.

        Each value of a choice and both ends of an interval must fit, alone or together with some
        values of the other parameters.

        Raises:
            ValueError: names the parameter, its value and the remedy.
        """
        config = self._config({})
        known = {*config.internal_config_dict, *KEYS_WITHOUT_YAML}
        known.update(key for keys in config.parameters.values() for key in keys)
        for parameter in space:
            if parameter.name not in known:
                raise ValueError(
                    f"{self.model} knows no hyper-parameter {parameter.name!r}."
                    f"{nearest(parameter.name, known)}"
                )
            if parameter.name in FIXED:
                raise ValueError(
                    f"{parameter.name} cannot be searched: trials would not be comparable"
                )
            for value in parameter.ends():
                self._check_value(space, parameter, value)

    def train(self, chosen: dict[str, Any], report: Callable[[int, float], None]) -> Trial:
        """Train and test once; an error gives a failed trial.

        Args:
            chosen: the trial's hyper-parameters.
            report: called with each epoch and its validation score.
        """
        began = time.perf_counter()
        epochs: list[int] = []

        def note(epoch: int, score: float) -> None:
            epochs.append(epoch)
            report(epoch, score)

        with tempfile.TemporaryDirectory() as folder:
            settings = {**QUIET, **self.settings, **chosen, "checkpoint_dir": folder}
            try:
                result = train(self.model, self.dataset, None, settings, listener=note)
                score = float(result["best_valid_score"])
                if not math.isfinite(score):
                    raise ValueError(f"the best validation score is {score}")
            except (Exception, SystemExit) as error:  # whatever a model raises
                reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                spent = time.perf_counter() - began
                return Trial(chosen, "failed", None, len(epochs), seconds=spent, error=reason)
        valid, test = (plain(dict(result[key] or {})) for key in _RESULTS)
        spent = time.perf_counter() - began
        return Trial(chosen, "done", score, len(epochs), valid, test, spent)

    def _config(self, chosen: dict[str, Any]) -> Config:
        return checked_config(self.model, self.dataset, None, {**self.settings, **chosen})

    def _check_value(self, space: Space, parameter: Parameter, value: Any) -> None:
        generator = random.Random(0)
        first: Exception | None = None
        for attempt in range(OTHERS_TRIED):
            others = {p.name: p.draw(generator) for p in space} if attempt else {}
            try:
                self._config({**others, parameter.name: value})
                return
            except Exception as error:  # whatever a model raises
                first = first or error
        raise ValueError(f"{parameter.name}: {value!r} does not fit: {first}") from first


_NAMES = ("model", "dataset", "config_files", "config_file_list", "checkpoint_dir")
_RESULTS = ("best_valid_result", "test_result")
