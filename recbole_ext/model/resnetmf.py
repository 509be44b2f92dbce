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

from recbole_ext.hyperparameters import Settings
from recbole_ext.layers.towers import tower
from recbole_ext.rating_settings import check_rating_settings, derived_rating_settings
from recbole_ext.resnetmf_settings import ResNetMFSettings

EMBEDDING_STD = 0.1


class ResNetMF(GeneralRecommender):
    """``f_user(p_u) · f_item(q_i) + mean + b_u + b_i``, by squared error.

    Both towers are of the same kind: none (``net: linear``), ``mlp`` or ``resnet``.
    """

    input_type = InputType.POINTWISE
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
        """Refuse settings out of range before any data is loaded.

        Raises:
            ValueError: naming the key and its value.
        """
        ResNetMFSettings.read(config)
        check_rating_settings(config)

    @classmethod
    def derived_settings(cls, config: Settings) -> dict[str, Any]:
        """Defaults that follow from others: label and evaluation, and the columns they need."""
        fields = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["RATING_FIELD"]]
        evaluation = config["eval_args"] or {}
        if evaluation.get("order") == "TO" or "TS" in (evaluation.get("split") or {}):
            fields.append(config["TIME_FIELD"])
        return {**derived_rating_settings(config), "load_col": {"inter": fields}}

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Ratings as learnt, not clipped, shape: [batch_size].

        Args:
            users: shape: [batch_size]
            items: shape: [batch_size]
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
        """Ratings in the data's scale, shape: [batch_size].

        With ``clip_predictions`` within the range of the training ratings.
        """
        ratings = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        if self.settings.clip_predictions:
            ratings = ratings.clamp(*self.rating_range)
        return ratings

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Ratings of all items for each user, not clipped, shape: [batch_size * n_items]."""
        users = interaction[self.USER_ID]
        user = self.user_tower(self.user_embedding(users))
        ratings = user @ self.item_tower(self.item_embedding.weight).T + self.mean
        if self.settings.biases:
            ratings = ratings + self.user_bias[users].unsqueeze(-1) + self.item_bias
        return ratings.view(-1)
