"""The prediction from biases alone, to which a model may add its own."""

from __future__ import annotations

import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from recbole_ext.meta.adapting.biases import item_biases, shrunk_means
from recbole_ext.meta.adapting.ridge import ridge_weights
from recbole_ext.meta.tasks.content_matrix import content_matrix
from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.tasks.task_set import Ratings


class BiasFloor(nn.Module):
    """``mean + b_item + b_user``, with ``b_user`` from the support set and ``b_item`` fixed.

    Args:
        mean: the mean training rating, shape: []
        of_item: shape: [n_items]
        user_shrinkage: number of ratings without a bias that are added to each user's own.
    """

    mean: Tensor
    of_item: Tensor

    def __init__(self, mean: Tensor, of_item: Tensor, user_shrinkage: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("of_item", of_item)
        self.user_shrinkage = user_shrinkage

    def forward(self, items: Tensor, support: Ratings) -> Tensor:
        """The predictions for some items, shape: [tasks, items].

        Args:
            items: shape: [tasks, items]
            support: the support sets of the same tasks.
        """
        without_user = self.mean + self.of_item[items]
        residuals = support.ratings - self.mean - self.of_item[support.items]
        count = (support.mask.sum(-1) + self.user_shrinkage).clamp(min=1e-12)
        of_user = (residuals * support.mask).sum(-1) / count
        return without_user + of_user.unsqueeze(-1)

    def fold_in(self, items: Tensor, support: Ratings, factors: Tensor, strength: float) -> Tensor:
        """The biases, and a ridge regression of each support set's residuals on items' factors.

        Args:
            items: shape: [tasks, items]
            support: the support sets of the same tasks.
            factors: shape: [n_items, size]
            strength: strength of the ridge regression.

        Returns:
            shape: [tasks, items]
        """
        rest = support.ratings - self(support.items, support)
        weights = ridge_weights(factors[support.items], rest, support.mask, strength)
        return self(items, support) + torch.einsum("tis,ts->ti", factors[items], weights)

    def residuals(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """The ratings minus the mean and the biases of their items and users, shape: [n].

        Args:
            users: shape: [n]
            items: shape: [n]
            ratings: shape: [n]
        """
        residuals = ratings - self.mean - self.of_item[items]
        of_user = shrunk_means(users, residuals, int(users.max()) + 1, self.user_shrinkage)
        return residuals - of_user[users]


def fit_bias_floor(
    dataset: ColdStartDataset,
    user_shrinkage: float = 5.0,
    item_shrinkage: float = 5.0,
    content_shrinkage: float = 10.0,
    ratings: tuple[Tensor, Tensor, Tensor] | None = None,
) -> BiasFloor:
    """Fit the biases to the training ratings.

    On ml-1m the two shrinkages of items hardly matter.

    Args:
        dataset: the training part.
        user_shrinkage: number of ratings without a bias that are added to each user's own.
        item_shrinkage: number of ratings, as predicted from the item's content, that are added to
            each item's own.
        content_shrinkage: strength of the ridge regression of the items' biases on their content.
        ratings: users, items and ratings to fit to, instead of all training ratings; shape: [n]
            each.
    """
    users, items, values = ratings or dataset.split.training_ratings
    shrinkage = (user_shrinkage, item_shrinkage)
    nothing = torch.zeros(dataset.item_num, dtype=values.dtype)
    _, biases = item_biases(users, items, values, nothing, shrinkage)
    content = content_matrix(dataset, dataset.content_fields("item"))
    counts = items.bincount(minlength=dataset.item_num).numpy()
    ridge = Ridge(content_shrinkage).fit(content, biases.numpy(), sample_weight=counts)
    prior = torch.as_tensor(ridge.predict(content), dtype=values.dtype)
    mean, biases = item_biases(users, items, values, prior, shrinkage)
    return BiasFloor(mean, biases, user_shrinkage)
