"""ResNetMF: matrix factorisation of ratings, with towers over users' and items' embeddings.

Reference:
    "Matrix Factorization (MF) part 2: Getting Fancy." MXNet's examples, 2016, after He et al. "Deep
    Residual Learning for Image Recognition." CVPR 2016.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from recbole_ext.resnetmf.settings import ResNetMFSettings
from recbole_ext.resnetmf.towers import tower
from recbole_ext.settings.declared import Settings
from recbole_ext.settings.ratings import check_rating_settings, derived_rating_settings

EMBEDDING_STD = 0.1


class ResNetMF(GeneralRecommender):
    """Ratings ``f_user(p_u) · f_item(q_i) + mean + b_u + b_i``, trained with the squared error.

    Both towers ``f`` are of the same kind: the identity (``net: linear``), ``mlp`` or ``resnet``.
    """

    input_type = InputType.POINTWISE
    settings_classes = (ResNetMFSettings,)
    mean: Tensor
    rating_range: Tensor

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.settings = settings = ResNetMFSettings.read(config)
        self.rating_field = config["RATING_FIELD"]
        ratings = dataset.inter_feat[self.rating_field]
        mean = ratings.mean() if settings.biases else torch.tensor(0.0)
        self.register_buffer("mean", mean)
        self.register_buffer("rating_range", torch.stack([ratings.min(), ratings.max()]))
        sizes = settings.embedding_size, settings.hidden_size
        self.user_embedding = nn.Embedding(self.n_users, settings.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, settings.embedding_size)
        self.user_tower = tower(settings.net, *sizes, settings.dropout_prob)
        self.item_tower = tower(settings.net, *sizes, settings.dropout_prob)
        for embedding in (self.user_embedding, self.item_embedding):
            nn.init.normal_(embedding.weight, std=EMBEDDING_STD)
        if settings.biases:
            self.user_bias = nn.Parameter(torch.zeros(self.n_users))
            self.item_bias = nn.Parameter(torch.zeros(self.n_items))

    @classmethod
    def check_hyperparameters(cls, config: Settings) -> None:
        """Check that the label is the rating, before any data is loaded.

        Raises:
            ValueError: if it is another field; the error names the key and its value.
        """
        check_rating_settings(config)

    @classmethod
    def derived_settings(cls, config: Settings) -> dict[str, Any]:
        """Defaults that depend on other settings: the label, the evaluation and the columns."""
        fields = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["RATING_FIELD"]]
        evaluation = config["eval_args"] or {}
        if evaluation.get("order") == "TO" or "TS" in (evaluation.get("split") or {}):
            fields.append(config["TIME_FIELD"])
        return {**derived_rating_settings(config), "load_col": {"inter": fields}}

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predicted ratings, not clipped, shape: [batch_size].

        Args:
            users: internal user ids, shape: [batch_size]
            items: internal item ids, shape: [batch_size]
        """
        user = self.user_tower(self.user_embedding(users))
        item = self.item_tower(self.item_embedding(items))
        ratings = (user * item).sum(-1) + self.mean
        if self.settings.biases:
            ratings = ratings + self.user_bias[users] + self.item_bias[items]
        return ratings

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean squared error, shape: []."""
        predicted = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        return mse_loss(predicted, interaction[self.rating_field])

    def predict(self, interaction: Interaction) -> Tensor:
        """Predicted ratings, shape: [batch_size].

        With ``clip_predictions`` they are clipped to the range of the training ratings.
        """
        ratings = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        if self.settings.clip_predictions:
            ratings = ratings.clamp(*self.rating_range)
        return ratings

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Unclipped ratings of all items by each user, shape: [batch_size * n_items]."""
        users = interaction[self.USER_ID]
        user = self.user_tower(self.user_embedding(users))
        ratings = user @ self.item_tower(self.item_embedding.weight).T + self.mean
        if self.settings.biases:
            ratings = ratings + self.user_bias[users].unsqueeze(-1) + self.item_bias
        return ratings.view(-1)
