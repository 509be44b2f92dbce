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
from recbole_ext.meta.tasks.task_set import TaskBatch
from recbole_ext.processes.shares import shared_loss


class MetaTrainer(Trainer):
    """Trains on tasks: ``train_batch_size`` of them in a batch, each with a query drawn anew.

    The test of ratings is reported by scenario, beside simple baselines on the same tasks.
    """

    divides_batches = True  # among several processes, instead of RecBole's loop

    def __init__(self, config: Config, model: MetaRecommender) -> None:
        super().__init__(config, model)
        self.tasks = TaskSettings.read(config)

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

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: object = None,
        show_progress: bool = False,
    ) -> Any:
        return super()._train_epoch(train_data, epoch_idx, self._loss, show_progress)

    def _loss(self, batch: TaskBatch) -> Any:
        """The mean loss of a batch's tasks, whose gradients are clamped."""
        clamp = self.tasks.gradient_clamp
        return shared_loss(
            [leaf for leaf in self.model.parameters() if leaf.requires_grad],
            self.model.calculate_loss,
            batch,
            (lambda gradient: gradient.clamp(-clamp, clamp)) if clamp > 0 else None,
            drops_rows=False,
        )

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
