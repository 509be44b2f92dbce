"""BilevelTrainer: RecBole's training loop with a λ step before each model step.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataloader import TrainDataLoader
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.trainer import Trainer
from recbole.utils import get_gpu_usage, set_color
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from recbole_ext.lambda_opt.building import (
    build_forward_gradient,
    build_network,
    build_objective,
    make_graphs_fast,
    tell_counts,
)
from recbole_ext.lambda_opt.gradient.clipping import clip_gradient_norm
from recbole_ext.lambda_opt.gradient.contract import Gradient
from recbole_ext.lambda_opt.gradient.lookahead import LookaheadGradient
from recbole_ext.lambda_opt.gradient.owners import owners_of
from recbole_ext.lambda_opt.gradient.row_adam import fast_optimizer
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.holdout import in_common
from recbole_ext.lambda_opt.lambda_log import lambda_summary, with_summary, write_histograms
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork
from recbole_ext.lambda_opt.lambda_network.dump import dump_folder, write_dump
from recbole_ext.lambda_opt.lambda_source import EvalLoader, lambda_source
from recbole_ext.lambda_opt.pairwise import check_pairwise
from recbole_ext.lambda_opt.settings import BilevelSettings
from recbole_ext.lambda_opt.stages import Stages
from recbole_ext.lambda_opt.triples import TripleSampler
from recbole_ext.processes.group import is_first
from recbole_ext.runs.frequency_groups import rating_counts
from recbole_ext.runs.safe_file import load_checkpoint


class BilevelTrainer(Trainer):
    """Trains the model on the training ratings and its λ on ratings the model does not train on.

    Each batch takes RecBole's own model step, with λ held fixed. Every ``lambda_update_interval``
    batches a λ step comes before it. With ``lambda_source: split`` or ``holdout`` λ learns from a
    share of the validation or training ratings, and nothing is trained on the ratings that select
    the epoch. With ``lambda_epochs`` above 0 the model is trained anew after so many epochs, on all
    training ratings, with λ as it was learnt.
    """

    divides_batches = True  # among several processes, instead of RecBole's loop

    def __init__(self, config: Config, model: GeneralRecommender) -> None:
        self.settings = BilevelSettings.read(config)
        check_pairwise(config, model)
        super().__init__(config, model)
        self.objective = build_objective(config, self.settings, model, self.device)
        self.lambda_network = build_network(self.settings, model).to(self.device)
        self.forward_gradient: ForwardGradient | None = None
        if self.settings.learns_lambda:
            make_graphs_fast(model)
            self.lambda_optimizer = self._build_lambda_optimizer()
            if self.settings.meta_gradient == "forward":
                self.forward_gradient = build_forward_gradient(
                    self.objective, self.optimizer, self.lambda_network, self.settings
                ).to(self.device)
        self._stages: Stages | None = None
        self._progress: tqdm | None = None
        self._batch = 0
        self._lambda_losses: list[float] = []

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        return fast_optimizer(super()._build_optimizer(**kwargs))

    def _build_lambda_optimizer(self) -> Optimizer:
        return self._build_optimizer(
            params=list(self.lambda_network.parameters()),
            learner=self.settings.lambda_learner,
            learning_rate=self.settings.lambda_learning_rate,
            weight_decay=0.0,
        )

    def fit(  # with RecBole's arguments
        self,
        train_data: TrainDataLoader,
        valid_data: EvalLoader | None = None,
        *args: object,
        **kwargs: object,
    ) -> tuple[float, dict | None]:
        """Train the model and λ; arguments and result are those of RecBole's ``Trainer.fit``."""
        counts = rating_counts(train_data._dataset)  # before any are held out
        self.run_state.training_counts = counts
        tell_counts(self.lambda_network, self.settings, counts, owners_of(self.model))
        loader = self.objective.loader(train_data)
        if self.settings.learns_lambda:
            whole = loader
            loader, valid_data = self._set_up_lambda(train_data, valid_data)
            if self.settings.refits:
                self._stages = Stages(self.settings, loader, whole)
                self.epochs = int(self.config["epochs"]) + self._stages.lambda_epochs
        return super().fit(loader, valid_data, *args, **kwargs)

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Restore a checkpoint; one that is of the last fit has no gradient of λ any more."""
        if self.settings.refits:
            mapped = owners_of(self.model).are_spread
            saved = load_checkpoint(resume_file, "cpu", mapped).get("modules", {})
            if "forward_gradient" not in saved:
                self.forward_gradient = None
        super().resume_checkpoint(resume_file)

    def _set_up_lambda(
        self, train_data: TrainDataLoader, valid_data: EvalLoader | None
    ) -> tuple[Any, EvalLoader | None]:
        """Set the ratings for λ aside; returns the training and validation loaders without them."""
        source = lambda_source(self.settings, train_data, valid_data)
        train, dataset = source.train_data, source.dataset
        if repeated := in_common(train._dataset, dataset):
            self.logger.warning(
                f"{repeated} of {len(dataset)} ratings that λ learns from are of a user and an "
                "item that are trained on, too; to avoid it set rm_dup_inter: first or last"
            )
        self._lambda_data = self.objective.sampler(source)
        loader = self.objective.loader(train)
        if self.forward_gradient is not None:
            self.forward_gradient.remember(self.settings.lambda_horizon * len(loader))
        elif isinstance(self.lambda_network, LambdaNetwork):
            sampler = TripleSampler(train._dataset, train._sampler, self.device)
            self._lookahead = LookaheadGradient(
                self.settings, self.model, self.lambda_network, self.optimizer, sampler
            )
        return loader, source.valid_data

    @property
    def gradient(self) -> Gradient:
        """The method that computes the gradient of λ; it is set once ``fit`` has begun."""
        return self.forward_gradient or self._lookahead

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: object = None,
        show_progress: bool = False,
    ) -> float:
        if self._stages is not None:
            train_data = self._stages.enter(self, epoch_idx)
        self._batch, self._lambda_losses = epoch_idx * len(train_data), []
        title = set_color(f"Train {epoch_idx:>5}", "pink")
        with tqdm(train_data, ncols=120, desc=title, disable=not show_progress) as self._progress:
            loss = super()._train_epoch(self._progress, epoch_idx, loss_func=self._bilevel_loss)
        write_histograms(self.tensorboard, self.lambda_network, epoch_idx)
        if self.settings.lambda_dump and is_first():
            folder, counts = dump_folder(self.saved_model_file), self.run_state.training_counts
            write_dump(folder, epoch_idx, self.lambda_network, counts)
        return loss

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        if self.forward_gradient is not None:
            self.forward_gradient.exchange()  # a checkpoint may follow
        return super()._valid_epoch(*args, **kwargs)

    def _bilevel_loss(self, interaction: Any) -> Tensor:
        """Take a λ step if one is due; returns the loss of the model step for RecBole's loop."""
        batch = self.objective.batch(interaction)
        with torch.autocast(device_type=self.device.type, enabled=False):
            due = self._lambda_is_due()
            with self.gradient.reading() if due else nullcontext():
                read = self.objective.read(batch)
            if due:
                self.gradient.begin(batch, read)
                if self._batch >= self.settings.lambda_warmup_steps:
                    self._lambda_step(self.objective.size(batch))
                self.gradient.end()
        self._batch += 1
        loss = self.objective.loss(interaction, batch, read, self.lambda_network)
        self._show_progress(loss)
        return loss

    def _lambda_is_due(self) -> bool:
        """Whether the batch is the last of an interval; it then represents the whole interval.

        The first batch must not do so, because Adam's first step depends only on the gradient's
        sign.
        """
        if not self.settings.learns_lambda or (self._stages and self._stages.last_fit):
            return False
        return (self._batch + 1) % self.settings.lambda_update_interval == 0

    def _lambda_step(self, batch_size: int) -> None:
        self.lambda_optimizer.zero_grad()
        loss = self.gradient.add(self._lambda_data.draw(batch_size))
        self._check_nan(loss)
        weights: dict[str, Tensor] = dict(self.lambda_network.named_parameters())
        owners = {weights[n]: o for n, o in self.lambda_network.row_owners.items() if n in weights}
        norm = clip_gradient_norm(weights.values(), self.settings.lambda_clip_norm, owners)
        if not torch.isfinite(norm):
            raise ValueError(
                f"the gradient of λ is {norm.item()} in batch {self._batch}: lower learning_rate "
                f"({self.learning_rate}) or lambda_update_interval "
                f"({self.settings.lambda_update_interval})"
            )
        if self._stages is not None:
            self._stages.slow_down(self.lambda_optimizer, self._batch)
        self.lambda_optimizer.step()
        self.lambda_network.clamp()
        self._lambda_losses.append(loss.item())

    def _check_nan(self, loss: Tensor) -> None:
        if torch.isnan(loss):
            rates = f"learning_rate ({self.learning_rate})"
            if self.settings.learns_lambda:
                rates += f" or lambda_learning_rate ({self.settings.lambda_learning_rate})"
            raise ValueError(f"the loss is NaN in batch {self._batch}: lower {rates}")

    def _show_progress(self, loss: Tensor) -> None:
        if self._progress is None or self._progress.disable or self._batch % 10 != 1:
            return
        summary = lambda_summary(self.lambda_network, self._lambda_losses[-1:])
        values = {"loss": f"{loss.item():.4f}", **summary}
        if self.device.type == "cuda":
            values["GPU RAM"] = get_gpu_usage(self.device)
        self._progress.set_postfix(values, refresh=False)

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: float
    ) -> str:
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        return with_summary(line, lambda_summary(self.lambda_network, self._lambda_losses))
