"""BilevelTrainer: RecBole's training loop with a λ step before each model step.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

import contextlib
from typing import Any, TypeAlias

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader, TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.trainer import Trainer
from recbole.utils import get_gpu_usage, set_color
from torch import Tensor
from torch.optim import Adam, Optimizer, SparseAdam
from tqdm import tqdm

from recbole_ext.bilevel_settings import BilevelSettings
from recbole_ext.data.fast_loader import fast_loader, fast_sampler
from recbole_ext.data.holdout import in_common, split_training, split_validation
from recbole_ext.data.triples import TripleSampler
from recbole_ext.evaluation.frequency_groups import rating_counts
from recbole_ext.functional.bpr import RowGradients, Triples, bpr_row_gradients
from recbole_ext.functional.gradients import clip_gradient_norm
from recbole_ext.functional.penalised_bpr import penalised_bpr_loss
from recbole_ext.functional.penalty import l2_penalty
from recbole_ext.functional.propagation import fast_symmetric
from recbole_ext.lambda_network import LambdaNetwork
from recbole_ext.lambda_network.frequency import frequency_scale
from recbole_ext.trainer.forward import ForwardGradient
from recbole_ext.trainer.gradients import gradients_of
from recbole_ext.trainer.hypergradients import HyperGradient
from recbole_ext.trainer.lambda_dump import dump_folder, write_dump
from recbole_ext.trainer.pairwise import PairwiseModel, check_pairwise, is_factorisation, total_loss
from recbole_ext.trainer.row_adam import RowAdam

EvalLoader: TypeAlias = FullSortEvalDataLoader | NegSampleEvalDataLoader


class BilevelTrainer(Trainer):
    """Trains the model on the training ratings and its λ on ratings the model does not train on.

    Each batch: a λ step (every ``lambda_update_interval`` batches), then RecBole's own model step
    with λ held fixed. With ``lambda_source: split`` or ``holdout`` λ learns from a share of the
    validation or training ratings, so that those that select the epoch train nothing.
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
        self.lambda_network = self._build_lambda_network()
        self.forward_gradient: ForwardGradient | None = None
        if self.settings.learns_lambda:
            for name, value in list(vars(model).items()):
                if (fast := fast_symmetric(value)) is not value:
                    setattr(model, name, fast)
            self.lambda_optimizer = self._build_lambda_optimizer()
            if self.settings.meta_gradient == "forward":
                self.forward_gradient = self._build_forward_gradient()
        self._progress: tqdm | None = None
        self._batch = 0
        self._lambda_losses: list[float] = []

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        """RecBole's optimisers; Adam in one pass over its tables, SparseAdam over its rows."""
        optimizer = super()._build_optimizer(**kwargs)
        if type(optimizer) is SparseAdam:
            return RowAdam(optimizer.param_groups)
        if type(optimizer) is Adam:
            with contextlib.suppress(RuntimeError):  # on a CPU it comes with torch 2.4
                groups = [{**group, "fused": True} for group in optimizer.param_groups]
                return Adam(groups, fused=True)
        return optimizer

    def _build_lambda_network(self) -> LambdaNetwork:
        settings = self.settings
        (n_users, size), (n_items, _) = (table.weight.shape for table in self.tables.values())
        network = LambdaNetwork(
            settings.lambda_granularity,
            n_users,
            n_items,
            size,
            initial=settings.lambda_initial if settings.learns_lambda else settings.reg_weight,
            sparse=settings.sparse_lambda,
            scaled=settings.scales_lambda,
        )
        return network.requires_grad_(settings.learns_lambda).to(self.device)

    def _build_forward_gradient(self) -> ForwardGradient:
        model = PairwiseModel(self.model)
        sides = {side: model.name_of(table.weight) for side, table in self.tables.items()}
        stride = self.settings.lambda_update_interval
        forward = ForwardGradient(gradients_of(model), sides, self.lambda_network, stride)
        return forward.to(self.device)

    def _build_lambda_optimizer(self) -> Optimizer:
        return self._build_optimizer(
            params=list(self.lambda_network.parameters()),
            learner=self.settings.lambda_learner,
            learning_rate=self.settings.lambda_learning_rate,
            weight_decay=0.0,
        )

    def fit(  # the arguments of RecBole's
        self,
        train_data: TrainDataLoader,
        valid_data: EvalLoader | None = None,
        *args: object,
        **kwargs: object,
    ) -> tuple[float, dict | None]:
        """Train as RecBole's ``Trainer.fit`` does; same arguments, same result."""
        train_data = fast_loader(train_data)
        self.training_counts = rating_counts(train_data._dataset)  # before any are held out
        if self.settings.scales_lambda:
            for side, counts in zip(self.tables, self.training_counts, strict=True):
                factors = frequency_scale(counts, self.settings.frequency_exponent)
                self.lambda_network.scale(side, factors)
        if self.settings.learns_lambda:
            train_data, valid_data = self._set_up_lambda(train_data, valid_data)
        return super().fit(train_data, valid_data, *args, **kwargs)

    def _set_up_lambda(
        self, train_data: TrainDataLoader, valid_data: EvalLoader | None
    ) -> tuple[TrainDataLoader, EvalLoader | None]:
        """Fix which ratings λ learns from; returns the loaders of what is left to the rest."""
        settings = self.settings
        if settings.lambda_source == "holdout":
            train_data, dataset = split_training(train_data, settings.lambda_holdout_ratio)
            sampler = train_data._sampler
        else:
            if not valid_data or valid_data._sampler is None:
                raise ValueError(
                    f"lambda_source: {settings.lambda_source} needs a validation set that is "
                    "ranked (eval_args.mode: full, uniN or popN); use lambda_source: holdout"
                )
            dataset, sampler = valid_data._dataset, valid_data._sampler
            if settings.lambda_source == "split":
                valid_data, dataset = split_validation(valid_data, settings.lambda_split_ratio)
        if repeated := in_common(train_data._dataset, dataset):
            self.logger.warning(
                f"{repeated} of {len(dataset)} ratings that λ learns from are of a user and an "
                "item that are trained on, too; to avoid it set rm_dup_inter: first or last"
            )
        self._lambda_data = TripleSampler(dataset, fast_sampler(sampler), self.device)
        if self.forward_gradient is None:
            train_sampler = TripleSampler(train_data._dataset, train_data._sampler, self.device)
            self._lookahead = HyperGradient(
                self.settings, self.model, self.lambda_network, self.optimizer, train_sampler
            )
        return train_data, valid_data

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
        self._write_histograms(epoch_idx)
        if self.settings.lambda_dump:
            folder = dump_folder(self.saved_model_file)
            write_dump(folder, epoch_idx, self.lambda_network, self.training_counts)
        return loss

    def _bilevel_loss(self, interaction: Interaction) -> Tensor:
        """Take the λ step where one is due, and give RecBole's loop the loss of the model step."""
        keys = self.model.USER_ID, self.model.ITEM_ID, self.model.NEG_ITEM_ID
        batch = Triples(*(interaction[key] for key in keys))
        read = self._read(batch)
        if self._lambda_is_due():
            with torch.autocast(device_type=self.device.type, enabled=False):
                if self._batch >= self.settings.lambda_warmup_steps:
                    self._lambda_step(batch, read)
                if self.forward_gradient is not None:
                    self.forward_gradient.advance(batch, self.optimizer)
        self._batch += 1
        loss = self._loss(interaction, batch, read)
        self._show_progress(loss)
        return loss

    def _read(self, batch: Triples) -> RowGradients | None:
        """What a matrix factorisation's two steps have in common; ``None`` for other models."""
        if not self.is_factorisation:
            return None
        users, items = self.tables.values()
        return bpr_row_gradients(users.weight, items.weight, batch)

    def _loss(self, interaction: Interaction, batch: Triples, read: RowGradients | None) -> Tensor:
        """The model's loss plus ``Ω(Θ|λ)`` with λ held fixed, shape: [].

        Of RecBole's BPR it is the exact logarithm, without the 1e-10 that RecBole adds to σ.
        """
        if read is None:
            return total_loss(self.model, interaction) + self._penalty(batch)
        users, items = self.tables.values()
        strengths = self._strengths(batch)
        return penalised_bpr_loss(users.weight, items.weight, read, strengths, users.sparse)

    def _penalty(self, batch: Triples) -> Tensor:
        penalty = torch.zeros((), device=self.device)
        ids = batch.users, batch.items
        for table, rows, strength in zip(
            self.tables.values(), ids, self._strengths(batch), strict=True
        ):
            if strength is not None:
                penalty = penalty + l2_penalty(table(rows), strength, len(batch.users))
        return penalty

    def _strengths(self, batch: Triples) -> tuple[Tensor | None, Tensor | None]:
        """λ of a batch's users and items; ``None``: not regularised."""
        network = self.lambda_network
        return network.fixed("user", batch.users), network.fixed("item", batch.items)

    def _lambda_is_due(self) -> bool:
        """At the last batch of each interval, for which the tangents then stand.

        Adam's first step answers to nothing but the gradient's sign: it must not stand for several.
        """
        interval = self.settings.lambda_update_interval
        return self.settings.learns_lambda and (self._batch + 1) % interval == 0

    def _lambda_step(self, train: Triples, read: RowGradients | None) -> None:
        self.lambda_optimizer.zero_grad()
        gradient = self.forward_gradient or self._lookahead
        loss = gradient(train, self._lambda_data.draw(len(train.users)), read)
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
        values = {"loss": f"{loss.item():.4f}", **self._lambda_summary(self._lambda_losses[-1:])}
        if self.gpu_available:
            values["GPU RAM"] = get_gpu_usage(self.device)
        self._progress.set_postfix(values, refresh=False)

    def _lambda_summary(self, losses: list[float]) -> dict[str, str]:
        means = [table.mean().item() for table in self.lambda_network.tables.values()]
        summary = {"mean λ": f"{np.mean(means):.2e}"}
        if losses:
            summary = {"λ loss": f"{np.mean(losses):.4f}", **summary}
        return summary

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: float
    ) -> str:
        output = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        extra = [
            set_color(name, "blue") + f": {value}"
            for name, value in self._lambda_summary(self._lambda_losses).items()
        ]
        return ", ".join([output.removesuffix("]"), *extra]) + "]"

    def _write_histograms(self, epoch_idx: int) -> None:
        for name, table in self.lambda_network.tables.items():
            with contextlib.suppress(ValueError):  # it has bins for numbers up to 1e20 only
                self.tensorboard.add_histogram(f"lambda/{name}", table.detach().cpu(), epoch_idx)
