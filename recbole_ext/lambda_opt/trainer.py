"""BilevelTrainer: RecBole's training loop with a λ step before each model step.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.trainer import Trainer
from recbole.utils import get_gpu_usage, set_color
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from recbole_ext.lambda_opt.building import build_forward_gradient, build_network, make_graphs_fast
from recbole_ext.lambda_opt.gradient.bpr import RowGradients, Triples, bpr_row_gradients
from recbole_ext.lambda_opt.gradient.clipping import clip_gradient_norm
from recbole_ext.lambda_opt.gradient.contract import Gradient
from recbole_ext.lambda_opt.gradient.lookahead import LookaheadGradient
from recbole_ext.lambda_opt.gradient.penalised_bpr import penalised_bpr_loss
from recbole_ext.lambda_opt.gradient.penalty import l2_penalty
from recbole_ext.lambda_opt.gradient.row_adam import fast_optimizer
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.holdout import in_common
from recbole_ext.lambda_opt.lambda_log import lambda_summary, with_summary, write_histograms
from recbole_ext.lambda_opt.lambda_network.dump import dump_folder, write_dump
from recbole_ext.lambda_opt.lambda_network.frequency import frequency_scale
from recbole_ext.lambda_opt.lambda_source import EvalLoader, lambda_source
from recbole_ext.lambda_opt.pairwise import (
    check_pairwise,
    is_factorisation,
    total_loss,
)
from recbole_ext.lambda_opt.settings import BilevelSettings
from recbole_ext.lambda_opt.triples import TripleSampler
from recbole_ext.runs.frequency_groups import rating_counts
from recbole_ext.seams.fast_loader import fast_loader, fast_sampler


class BilevelTrainer(Trainer):
    """Trains the model on the training ratings and its λ on ratings the model does not train on.

    Each batch takes RecBole's own model step, with λ held fixed. Every ``lambda_update_interval``
    batches a λ step comes before it. With ``lambda_source: split`` or ``holdout`` λ learns from a
    share of the validation or training ratings, and nothing is trained on the ratings that select
    the epoch.
    """

    one_process = True

    def __init__(self, config: Config, model: GeneralRecommender) -> None:
        self.settings = BilevelSettings.read(config)
        check_pairwise(config, model)
        if not config["single_spec"]:
            raise ValueError(f"nproc must be 1: {config['model']} learns λ in one process")
        super().__init__(config, model)
        self.tables = {"user": model.user_embedding, "item": model.item_embedding}
        self.is_factorisation = is_factorisation(model)
        self.lambda_network = build_network(self.settings, self.tables).to(self.device)
        self.forward_gradient: ForwardGradient | None = None
        if self.settings.learns_lambda:
            make_graphs_fast(model)
            self.lambda_optimizer = self._build_lambda_optimizer()
            if self.settings.meta_gradient == "forward":
                stride = self.settings.lambda_update_interval
                self.forward_gradient = build_forward_gradient(
                    model, self.optimizer, self.lambda_network, self.tables, stride
                ).to(self.device)
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
        train_data = fast_loader(train_data)
        counts_by_side = rating_counts(train_data._dataset)  # before any are held out
        self.run_state.training_counts = counts_by_side
        if self.settings.scales_lambda:
            for side, counts in zip(self.tables, counts_by_side, strict=True):
                factors = frequency_scale(counts, self.settings.frequency_exponent)
                self.lambda_network.scale(side, factors)
        if self.settings.learns_lambda:
            train_data, valid_data = self._set_up_lambda(train_data, valid_data)
        return super().fit(train_data, valid_data, *args, **kwargs)

    def _set_up_lambda(
        self, train_data: TrainDataLoader, valid_data: EvalLoader | None
    ) -> tuple[TrainDataLoader, EvalLoader | None]:
        """Set the ratings for λ aside; returns the training and validation loaders without them."""
        source = lambda_source(self.settings, train_data, valid_data)
        train, dataset = source.train_data, source.dataset
        if repeated := in_common(train._dataset, dataset):
            self.logger.warning(
                f"{repeated} of {len(dataset)} ratings that λ learns from are of a user and an "
                "item that are trained on, too; to avoid it set rm_dup_inter: first or last"
            )
        self._lambda_data = TripleSampler(dataset, fast_sampler(source.sampler), self.device)
        if self.forward_gradient is None:
            train_sampler = TripleSampler(train._dataset, train._sampler, self.device)
            self._lookahead = LookaheadGradient(
                self.settings, self.model, self.lambda_network, self.optimizer, train_sampler
            )
        return train, source.valid_data

    @property
    def gradient(self) -> Gradient:
        """The method that computes the gradient of λ; it is set once ``fit`` has begun."""
        return self.forward_gradient or self._lookahead

    def _train_epoch(
        self,
        train_data: TrainDataLoader,
        epoch_idx: int,
        loss_func: object = None,
        show_progress: bool = False,
    ) -> float:
        self._batch, self._lambda_losses = epoch_idx * len(train_data), []
        title = set_color(f"Train {epoch_idx:>5}", "pink")
        with tqdm(train_data, ncols=120, desc=title, disable=not show_progress) as self._progress:
            loss = super()._train_epoch(self._progress, epoch_idx, loss_func=self._bilevel_loss)
        write_histograms(self.tensorboard, self.lambda_network, epoch_idx)
        if self.settings.lambda_dump:
            folder, counts = dump_folder(self.saved_model_file), self.run_state.training_counts
            write_dump(folder, epoch_idx, self.lambda_network, counts)
        return loss

    def _bilevel_loss(self, interaction: Interaction) -> Tensor:
        """Take a λ step if one is due; returns the loss of the model step for RecBole's loop."""
        keys = self.model.USER_ID, self.model.ITEM_ID, self.model.NEG_ITEM_ID
        batch = Triples(*(interaction[key] for key in keys))
        read = self._read(batch)
        if self._lambda_is_due():
            with torch.autocast(device_type=self.device.type, enabled=False):
                self.gradient.begin(batch, read)
                if self._batch >= self.settings.lambda_warmup_steps:
                    self._lambda_step(len(batch.users))
                self.gradient.end()
        self._batch += 1
        loss = self._loss(interaction, batch, read)
        self._show_progress(loss)
        return loss

    def _read(self, batch: Triples) -> RowGradients | None:
        """What both steps of a matrix factorisation read; ``None`` for other models."""
        if not self.is_factorisation:
            return None
        users, items = self.tables.values()
        return bpr_row_gradients(users.weight, items.weight, batch)

    def _loss(self, interaction: Interaction, batch: Triples, read: RowGradients | None) -> Tensor:
        """The model's loss plus ``Ω(Θ|λ)`` with λ held fixed, shape: [].

        For RecBole's BPR it has the exact logarithm, without the 1e-10 that RecBole adds to σ.
        """
        if read is None:
            return total_loss(self.model, interaction) + self._penalty(batch)
        users, items = self.tables.values()
        strengths = self._strengths(batch)
        return penalised_bpr_loss(users.weight, items.weight, read, strengths, users.sparse)

    def _penalty(self, batch: Triples) -> Tensor:
        penalty = torch.zeros((), device=self.device)
        sides = zip(self.tables.values(), batch.sides, self._strengths(batch), strict=True)
        for table, rows, strength in sides:
            if strength is not None:
                penalty = penalty + l2_penalty(table(rows), strength, len(batch.users))
        return penalty

    def _strengths(self, batch: Triples) -> tuple[Tensor | None, Tensor | None]:
        """λ of a batch's users and of its items; ``None`` for an unregularised side."""
        network = self.lambda_network
        return network.fixed("user", batch.users), network.fixed("item", batch.items)

    def _lambda_is_due(self) -> bool:
        """Whether the batch is the last of an interval; it then represents the whole interval.

        The first batch must not do so, because Adam's first step depends only on the gradient's
        sign.
        """
        interval = self.settings.lambda_update_interval
        return self.settings.learns_lambda and (self._batch + 1) % interval == 0

    def _lambda_step(self, batch_size: int) -> None:
        self.lambda_optimizer.zero_grad()
        loss = self.gradient.add(self._lambda_data.draw(batch_size))
        self._check_nan(loss)
        norm = clip_gradient_norm(self.lambda_network.parameters(), self.settings.lambda_clip_norm)
        if not torch.isfinite(norm):
            raise ValueError(
                f"the gradient of λ is {norm.item()} in batch {self._batch}: lower learning_rate "
                f"({self.learning_rate}) or lambda_update_interval "
                f"({self.settings.lambda_update_interval})"
            )
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
        if self.gpu_available:
            values["GPU RAM"] = get_gpu_usage(self.device)
        self._progress.set_postfix(values, refresh=False)

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: float
    ) -> str:
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        return with_summary(line, lambda_summary(self.lambda_network, self._lambda_losses))
