"""MetaTrainer: RecBole's training loop on batches of tasks, and results by scenario."""

from __future__ import annotations

from typing import Any

from recbole.config import Config
from recbole.data.dataloader import AbstractDataLoader, TrainDataLoader
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType

from recbole_ext.meta.judging.by_scenario import report_scenarios
from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.loader import TaskLoader


class MetaTrainer(Trainer):
    """Trains on tasks: ``train_batch_size`` of them in a batch, each with a query drawn anew.

    The test of ratings is reported by scenario, beside simple baselines on the same tasks.
    """

    one_process = True

    def __init__(self, config: Config, model: MetaRecommender) -> None:
        if not config["single_spec"]:
            raise ValueError(f"nproc must be 1: {config['model']} trains in one process")
        super().__init__(config, model)
        self.tasks = TaskSettings.read(config)
        clamp = self.tasks.gradient_clamp
        if clamp > 0:
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.register_hook(lambda gradient: gradient.clamp(-clamp, clamp))

    def fit(  # the arguments of RecBole's
        self, train_data: TrainDataLoader, *args: Any, **kwargs: Any
    ) -> tuple[float, dict | None]:
        """Train as RecBole's ``Trainer.fit`` does; same arguments, same result."""
        dataset = train_data._dataset
        loader = TaskLoader(
            dataset,
            dataset.split.training,
            self.config["train_batch_size"],
            train_data.generator,
            self.tasks,
        )
        return super().fit(loader, *args, **kwargs)

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        """Let the model fit to the validation tasks what it answers, then validate."""
        self.model.prepare_validation()
        return super()._valid_epoch(*args, **kwargs)

    def evaluate(self, eval_data: AbstractDataLoader, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as RecBole's ``Trainer.evaluate`` does; a test of ratings by scenario too."""
        result = super().evaluate(eval_data, *args, **kwargs)
        tested = result is not None and not self.run_state.validating
        if tested and self.config["eval_type"] == EvaluatorType.VALUE:
            result.update(report_scenarios(self, eval_data))
        return result
