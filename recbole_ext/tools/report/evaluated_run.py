"""A run that is loaded from its checkpoint and tested again, for a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.data.dataloader import AbstractDataLoader, FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.trainer import Trainer
from torch import Tensor

from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.quick_start import denormals_as_zero, load_data_and_model
from recbole_ext.runs.checkpoint import load_checkpoint
from recbole_ext.runs.frequency_groups import rating_counts
from recbole_ext.runs.learning_curve import Point, curve_file, read_curve
from recbole_ext.runs.run_state import RunState
from recbole_ext.seams.registry import known_models, trainer_of

GROUPS = 4  # frequency groups of a run that asked for none


__all__ = ["EvaluatedRun", "Point", "evaluate_run"]


@dataclass
class EvaluatedRun:
    """A run, loaded and tested.

    Attributes:
        path: path of the checkpoint.
        checkpoint: content of the checkpoint.
        config: settings of the run.
        model: the model with the checkpoint's weights.
        trainer: the trainer, which only evaluates here.
        dataset: all data after filtering.
        parts: the training, validation and test interactions; a part may be missing.
        counts: training ratings of users, shape: [n_users], and of items, shape: [n_items].
        test: RecBole's test result.
        record: the test's seconds, frequency groups and scenarios.
        curve: the learning curve; empty if it cannot be read.
        curve_problem: the reason why the curve cannot be read.
    """

    path: Path
    checkpoint: dict[str, Any]
    config: Config
    model: AbstractRecommender
    trainer: Trainer
    dataset: Dataset
    parts: dict[str, Dataset | None]
    counts: tuple[Tensor, Tensor]
    test: dict[str, float]
    record: RunState
    curve: list[Point] = field(default_factory=list)
    curve_problem: str = ""

    @property
    def adapts(self) -> bool:
        """Whether the model is a meta-learner, which adapts to a support set."""
        return isinstance(self.model, MetaRecommender)

    @property
    def groups(self) -> int:
        """The number of frequency groups that are shown."""
        return self.config["frequency_groups"] or GROUPS

    @property
    def valid(self) -> dict[str, float]:
        """The validation's metrics at the epoch of the checkpoint."""
        return dict(self.checkpoint.get("best_valid_result") or {})

    @property
    def metric(self) -> str:
        """The validation metric that chose the epoch."""
        return str(self.config["valid_metric"]).lower()

    @property
    def seconds(self) -> float | None:
        """Seconds of training and validation, up to the last validation."""
        return self.curve[-1]["seconds"] if self.curve else None


def evaluate_run(path: str | Path) -> EvaluatedRun:
    """Load a checkpoint and its data, and test it; no file of the run is changed.

    Raises:
        FileNotFoundError: if the checkpoint or its data set does not exist.
        ValueError: if the checkpoint is damaged, its model is unknown, or the data set has changed.
    """
    checkpoint = load_checkpoint(path, "cpu")
    if "best_file" in checkpoint:
        raise ValueError(
            f"{path} is the last state of a run; a report is of its best epoch, "
            f"{checkpoint['best_file']}"
        )
    _check_known(checkpoint["config"]["model"], path)
    config, model, dataset, loaders = _load(path)
    training, _, test = loaders
    parts = ("training", "validation", "test")
    sizes = {name: _dataset_of(part) for name, part in zip(parts, loaders, strict=True)}
    counts = rating_counts(training._dataset)
    trainer = _trainer(config, model, Path(path))
    if isinstance(test, FullSortEvalDataLoader):
        config["frequency_groups"] = config["frequency_groups"] or GROUPS
        trainer.run_state.training_counts = counts
    with denormals_as_zero():
        result = trainer.evaluate(test, model_file=str(path))
    curve, problem = _curve(path)
    return EvaluatedRun(
        path=Path(path),
        checkpoint=checkpoint,
        config=config,
        model=model,
        trainer=trainer,
        dataset=dataset,
        parts=sizes,
        counts=counts,
        test=dict(result or {}),
        record=trainer.run_state,
        curve=curve,
        curve_problem=problem,
    )


def _check_known(model: str, path: str | Path) -> None:
    if model not in known_models():
        raise ValueError(
            f"{path} is of {model}, which is not known here: call register_model and "
            "recbole_ext.tools.report.write_report in one script"
        )


def _load(path: str | Path) -> tuple[Config, AbstractRecommender, Dataset, list]:
    try:
        config, model, dataset, *loaders = load_data_and_model(path)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit what it is loaded with: is its data set the one that it was "
            f"trained on? ({error})"
        ) from error
    return config, model, dataset, loaders


def _trainer(config: Config, model: AbstractRecommender, path: Path) -> Trainer:
    config["checkpoint_dir"] = str(path.parent)  # RecBole makes this folder if it is missing
    config["log_wandb"] = False
    return trainer_of(config)(config, model)


def _dataset_of(loader: AbstractDataLoader | None) -> Dataset | None:
    return None if loader is None else loader._dataset


def _curve(path: str | Path) -> tuple[list[Point], str]:
    try:
        return read_curve(curve_file(path)), ""
    except (ValueError, OSError) as error:
        return [], str(error)
