"""LambdaOptMF: matrix factorisation that learns how strongly to regularise its parameters.

Reference:
    Yihong Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import BPR
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient.bpr import bpr_loss
from recbole_ext.lambda_opt.gradient.owners import Owners, RowOwner
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

    With ``embedding_sharding: row`` each of several processes holds its own rows of the tables. All
    processes then call its methods together, with the same batch.

    Attributes:
        owners: the owners of the users' and of the items' rows.
    """

    settings_classes = (FactorSettings, BilevelSettings)
    variant_key = "loss"  # LambdaOptMF-bpr.yaml holds the defaults of loss: bpr

    def __init__(self, config: Config, dataset: Dataset) -> None:
        factors = FactorSettings.read(config)
        owner = RowOwner.of_one if factors.embedding_sharding == "row" else RowOwner
        n_rows = dataset.num(dataset.uid_field), dataset.num(dataset.iid_field)
        owners = Owners(*(owner(n) for n in n_rows))
        # no process must hold whole tables, not even for a moment
        with torch.device("meta") if owners.are_spread else nullcontext():
            super().__init__(config, dataset)
        self.owners = owners
        if owners.are_spread:
            self._draw_own_rows()
        sparse = BilevelSettings.read(config).sparse_embeddings
        self.user_embedding.sparse = self.item_embedding.sparse = sparse
        self.item_bias: nn.Parameter | None = None
        self.softmax_items = factors.softmax_items
        if factors.loss == "softmax":
            if self.softmax_items is None:
                _check_memory(config["train_batch_size"], self.n_items)
            counts = torch.bincount(dataset.inter_feat[self.ITEM_ID], minlength=self.n_items)
            log_counts = (counts + 1.0).log()
            self._initial_bias = (log_counts - log_counts[1:].mean())[self.owners.item.own].clone()
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
        softmax = self.item_bias is not None
        for table, owner in self._tables():
            xavier = math.sqrt(2 / (owner.n_rows + self.embedding_size))
            owner.draw(table.weight, INITIAL_STD if softmax else xavier)
        if self.item_bias is not None:
            self.item_bias.copy_(self._initial_bias)

    @torch.no_grad()
    def _draw_own_rows(self) -> None:
        """Do for the rows that this process owns what RecBole's BPR does for whole tables."""
        for table, owner in self._tables():
            table.weight = nn.Parameter(torch.empty(len(owner), self.embedding_size))
            owner.draw(table.weight, 1.0)  # torch's own values of an embedding
        for table, owner in self._tables():
            owner.draw(table.weight, math.sqrt(2 / (owner.n_rows + self.embedding_size)))

    def _tables(self) -> list[tuple[nn.Embedding, RowOwner]]:
        return list(zip((self.user_embedding, self.item_embedding), self.owners, strict=True))

    @property
    def row_owners(self) -> dict[str, RowOwner]:
        """The owners of the rows of this model's tables, by their names in its ``state_dict``."""
        user, item = self.owners
        names = {"user_embedding.weight": user, "item_embedding.weight": item}
        return names if self.item_bias is None else {**names, "item_bias": item}

    def get_user_embedding(self, user: Tensor) -> Tensor:
        """The embeddings of some users, shape: [users, embedding_size]."""
        return self._rows(self.user_embedding, self.owners.user, user)

    def get_item_embedding(self, item: Tensor) -> Tensor:
        """The embeddings of some items, shape: [items, embedding_size]."""
        return self._rows(self.item_embedding, self.owners.item, item)

    def _rows(self, table: nn.Embedding, owner: RowOwner, ids: Tensor) -> Tensor:
        return owner.read(table.weight, ids) if owner.is_spread else table(ids)

    def calculate_loss(self, interaction: Interaction | UserBatch) -> Tensor:
        """The training loss of a batch without any penalty, shape: []."""
        if isinstance(interaction, UserBatch):
            return self._softmax_loss(interaction)
        user, positive = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        return bpr_loss(user, positive, self.get_item_embedding(interaction[self.NEG_ITEM_ID]))

    def _softmax_loss(self, batch: UserBatch) -> Tensor:
        assert self.item_bias is not None
        whole = Factors(self.user_embedding.weight, self.item_embedding.weight, self.item_bias)
        factors, local = rows_of_batch(whole, batch, self.owners)
        scores = Scores.of(local, factors.users[local.users], factors.items, factors.bias)
        scores.bar()
        positive = (scores.of_pairs() * local.times).sum()
        return ((log_totals(scores) * local.counts).sum() - positive) / local.divisor

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of a user and an item, shape: [batch_size]."""
        scores = super().predict(interaction)
        if self.item_bias is None:
            return scores
        return scores + self.owners.item.read(self.item_bias, interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, user after user, shape: [batch_size * n_items]."""
        users = self.get_user_embedding(interaction[self.USER_ID])
        scores = users @ self.item_embedding.weight.T
        if self.item_bias is not None:
            scores = scores + self.item_bias
        return self.owners.item.whole(scores.T).T.reshape(-1)


def _check_memory(users: int, n_items: int) -> None:
    gigabytes = users * n_items * 4 * SCORES_IN_MEMORY / 1e9
    if gigabytes > MOST_GIGABYTES:
        fitting = int(users * MOST_GIGABYTES / gigabytes)
        raise ValueError(
            f"loss: softmax needs about {gigabytes:.1f} GB for the scores of train_batch_size: "
            f"{users} users and {n_items} items; set softmax_items: {SUGGESTED_ITEMS} to "
            f"draw so many items for each batch, or train_batch_size: {max(fitting, 1)} or less"
        )
