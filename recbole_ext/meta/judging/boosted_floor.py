"""A baseline of gradient-boosted trees, on what is known of the user, the item and the support set.

The trees learn from the training ratings alone. For that the split into warm and cold is repeated
inside of them: a part of the users counts as cold, and a part of the items, and the statistics that
describe both are taken from the rest. A query so never sees its own rating, and an item without
ratings looks in training as a cold item does in the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from recbole_ext.meta.adapting.factorization import item_factors
from recbole_ext.meta.decisions.bias_floor import BiasFloor, fit_bias_floor
from recbole_ext.meta.tasks.content_matrix import content_matrix
from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.tasks.task_set import Predictor, TaskBatch, TaskSet

LOSSES = ("absolute_error", "squared_error")
PARTS = 4  # a quarter of the users is cold in turn
HIDDEN_ITEMS = 0.2
FACTORS, STRENGTH = 16, 10.0
CONTENT_COLUMNS = 16
TASKS_AT_ONCE = 512


@dataclass(frozen=True)
class Statistics:
    """What some training ratings tell of the items, and what describes users and items.

    Attributes:
        bias: the biases.
        factors: shape: [n_items, size]
        counts: the number of ratings of each item, shape: [n_items]
        items: the items' content, shape: [n_items, columns]
        users: the users' content, shape: [n_users, columns]
    """

    bias: BiasFloor
    factors: Tensor
    counts: Tensor
    items: Tensor
    users: Tensor

    def describe(self, batch: TaskBatch) -> Tensor:
        """The trees' inputs, shape: [tasks, ratings, columns]."""
        support, asked = batch.support, batch.query.items
        count = support.mask.sum(-1)
        mean = (support.ratings * support.mask).sum(-1) / count.clamp(min=1)
        rest = (support.ratings - mean.unsqueeze(-1)).square() * support.mask
        spread = (rest.sum(-1) / count.clamp(min=1)).sqrt()
        floor = self.bias(asked, support)
        of_task = torch.stack([count, mean, spread], -1).unsqueeze(1)  # [tasks, 1, 3]
        of_task = torch.cat([of_task, self.users[batch.users].unsqueeze(1)], -1)
        of_item = torch.stack([self.bias.of_item[asked], self.counts[asked].log1p(), floor], -1)
        return torch.cat(
            [
                of_task.expand(-1, asked.shape[1], -1),
                of_item,
                self.bias.fold_in(asked, support, self.items, STRENGTH).unsqueeze(-1),
                self.bias.fold_in(asked, support, self.factors, STRENGTH).unsqueeze(-1),
                self.items[asked],
            ],
            -1,
        )


def boosted_trees(dataset: ColdStartDataset) -> list[Predictor]:
    """Fit the trees, once for each loss in ``LOSSES``.

    Args:
        dataset: a part of the built dataset.

    Reference:
        Ke et al. "LightGBM." NeurIPS 2017, as scikit-learn has it.
    """
    content = [dense_content(dataset, side) for side in ("item", "user")]
    inputs, targets = _rows(dataset, content)
    every = torch.ones(len(dataset.split.training_ratings[0]), dtype=torch.bool)
    told = _statistics(dataset, every, content)
    seed = dataset.config["seed"]
    fitted = [
        HistGradientBoostingRegressor(
            loss=loss, max_leaf_nodes=15, min_samples_leaf=50, random_state=seed
        ).fit(inputs, targets)
        for loss in LOSSES
    ]
    return [partial(_predict, told=told, trees=trees.predict) for trees in fitted]


def dense_content(dataset: ColdStartDataset, side: str, columns: int = CONTENT_COLUMNS) -> Tensor:
    """The content of users or items in at most some columns; none if nothing describes them.

    Args:
        dataset: a part of the built dataset.
        side: ``user`` or ``item``.
        columns: the most columns; of more the leading directions are taken.

    Returns:
        shape: [n_users or n_items, columns]
    """
    fields = dataset.described_by(side)
    if not fields:
        return torch.zeros(dataset.user_num if side == "user" else dataset.item_num, 0)
    matrix = content_matrix(dataset, fields, side)
    if matrix.shape[1] > columns:
        matrix = TruncatedSVD(columns, random_state=0).fit_transform(matrix)
    else:
        matrix = matrix.toarray()
    return torch.as_tensor(matrix, dtype=torch.float)


def _rows(
    dataset: ColdStartDataset, content: list[Tensor]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The inputs and ratings of queries of training tasks, cold and warm ones."""
    users, items, _ = dataset.split.training_ratings
    random = torch.Generator().manual_seed(dataset.config["seed"])
    part = torch.randint(PARTS, (dataset.user_num,), generator=random)
    described, targets = [], []
    for cold in range(PARTS):
        hidden = torch.rand(dataset.item_num, generator=random) < HIDDEN_ITEMS
        told = _statistics(dataset, (part[users] != cold) & ~hidden[items], content)
        tasks = dataset.split.training
        mine = part[tasks.users].repeat_interleave(tasks.sizes) == cold
        for chosen in (hidden[tasks.items], ~hidden[tasks.items]):
            some = _only(tasks, mine & chosen)
            size, most = dataset.config["query_size"], dataset.config["task_ratings"][1]
            some = some.resplit(size, None, most, random)
            for at in torch.arange(len(some)).split(TASKS_AT_ONCE):
                batch = some.batch(at)
                there = batch.query.mask > 0
                described.append(told.describe(batch)[there])
                targets.append(batch.query.ratings[there])
    return torch.cat(described).numpy(), torch.cat(targets).numpy()


def _statistics(dataset: ColdStartDataset, kept: Tensor, content: list[Tensor]) -> Statistics:
    """What the kept training ratings tell; ``kept`` has shape: [n_training]."""
    users, items, ratings = (x[kept] for x in dataset.split.training_ratings)
    bias = fit_bias_floor(dataset, ratings=(users, items, ratings))
    left = bias.residuals(users, items, ratings)
    return Statistics(
        bias,
        item_factors(users, items, left, dataset.item_num, FACTORS, STRENGTH),
        items.bincount(minlength=dataset.item_num),
        *content,
    )


def _only(tasks: TaskSet, kept: Tensor) -> TaskSet:
    """The tasks with the kept ratings only; a task of fewer than two is left out."""
    owners = torch.arange(len(tasks)).repeat_interleave(tasks.sizes)
    sizes = owners[kept].bincount(minlength=len(tasks))
    kept = kept & (sizes >= 2)[owners]
    enough = sizes >= 2
    starts = torch.cat([torch.zeros(1, dtype=torch.long), sizes[enough].cumsum(0)])
    return TaskSet(
        tasks.users[enough],
        tasks.scenarios[enough],
        starts,
        sizes[enough],
        tasks.items[kept],
        tasks.ratings[kept],
    )


def _predict(
    batch: TaskBatch, told: Statistics, trees: Callable[[NDArray], NDArray[np.float64]]
) -> Tensor:
    described = told.describe(batch)
    found = torch.as_tensor(trees(described.flatten(0, 1).numpy()), dtype=torch.float)
    return found.view(described.shape[:2])
