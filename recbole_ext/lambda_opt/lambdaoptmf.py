"""LambdaOptMF: matrix factorisation that learns how strongly to regularise its parameters.

Reference:
    Yihong Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import BPR
from recbole.model.init import xavier_normal_initialization
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient.bpr import bpr_loss
from recbole_ext.lambda_opt.gradient.scores import Scores
from recbole_ext.lambda_opt.gradient.softmax import log_totals
from recbole_ext.lambda_opt.gradient.user_batch import Factors, UserBatch, rows_of_batch
from recbole_ext.lambda_opt.settings import BilevelSettings, FactorSettings
from recbole_ext.settings.declared import Settings

SCORES_AT_ONCE = 4_096_000
INITIAL_STD = 0.1  # of the embeddings, for the softmax loss
SCORES_IN_MEMORY = 8  # arrays of scores that a step with a learnt λ has at the same time
MOST_GIGABYTES = 4.0
SUGGESTED_ITEMS = 2000


class LambdaOptMF(BPR):
    """RecBole's BPR matrix factorisation, with ``BilevelTrainer`` as its trainer.

    With ``loss: softmax`` each item has a bias, and the model trains on whole users. The
    regularisation strengths λ and the penalty ``Ω(Θ|λ)`` are part of the trainer, which can add
    them to any pairwise model of RecBole.
    """

    settings_classes = (FactorSettings, BilevelSettings)
    variant_key = "loss"  # LambdaOptMF-bpr.yaml holds the defaults of loss: bpr

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        sparse = BilevelSettings.read(config).sparse_embeddings
        self.user_embedding.sparse = self.item_embedding.sparse = sparse
        self.item_bias: nn.Parameter | None = None
        factors = FactorSettings.read(config)
        self.softmax_items = factors.softmax_items
        if factors.loss == "softmax":
            if self.softmax_items is None:
                _check_memory(config["train_batch_size"], self.n_items)
            counts = torch.bincount(dataset.inter_feat[self.ITEM_ID], minlength=self.n_items)
            log_counts = (counts + 1.0).log()
            self._initial_bias = log_counts - log_counts[1:].mean()
            self.item_bias = nn.Parameter(self._initial_bias.clone())
            self.reset_parameters()

    @classmethod
    def derived_settings(cls, config: Settings) -> dict[str, Any]:
        """Defaults that depend on other settings.

        They are a large evaluation batch for full ranking, and an optimiser of a batch's rows where
        items are drawn.
        """
        mode = (config["eval_args"] or {}).get("mode", "full")
        derived: dict[str, Any] = {"eval_batch_size": SCORES_AT_ONCE} if mode == "full" else {}
        if config["softmax_items"] is not None:
            derived["learner"] = "sparse_adam"
        return derived

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all parameters anew; item biases begin at the log of the item's popularity."""
        if self.item_bias is None:
            self.apply(xavier_normal_initialization)
            return
        for table in (self.user_embedding, self.item_embedding):
            nn.init.normal_(table.weight, std=INITIAL_STD)
        self.item_bias.copy_(self._initial_bias)

    def calculate_loss(self, interaction: Interaction | UserBatch) -> Tensor:
        """The training loss of a batch without any penalty, shape: []."""
        if isinstance(interaction, UserBatch):
            return self._softmax_loss(interaction)
        user, positive = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        return bpr_loss(user, positive, self.get_item_embedding(interaction[self.NEG_ITEM_ID]))

    def _softmax_loss(self, batch: UserBatch) -> Tensor:
        assert self.item_bias is not None
        whole = Factors(self.user_embedding.weight, self.item_embedding.weight, self.item_bias)
        factors, local = rows_of_batch(whole, batch)
        scores = Scores.of(local, factors.users[local.users], factors.items, factors.bias)
        scores.bar()
        positive = (scores.of_pairs() * local.times).sum()
        return ((log_totals(scores) * local.counts).sum() - positive) / local.divisor

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of a user and an item, shape: [batch_size]."""
        scores = super().predict(interaction)
        return (
            scores if self.item_bias is None else scores + self.item_bias[interaction[self.ITEM_ID]]
        )

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, user after user, shape: [batch_size * n_items]."""
        scores = super().full_sort_predict(interaction)
        if self.item_bias is None:
            return scores
        return (scores.view(-1, self.n_items) + self.item_bias).view(-1)


def _check_memory(users: int, n_items: int) -> None:
    gigabytes = users * n_items * 4 * SCORES_IN_MEMORY / 1e9
    if gigabytes > MOST_GIGABYTES:
        fitting = int(users * MOST_GIGABYTES / gigabytes)
        raise ValueError(
            f"loss: softmax needs about {gigabytes:.1f} GB for the scores of train_batch_size: "
            f"{users} users and {n_items} items; set softmax_items: {SUGGESTED_ITEMS} to "
            f"draw so many items for each batch, or train_batch_size: {max(fitting, 1)} or less"
        )
