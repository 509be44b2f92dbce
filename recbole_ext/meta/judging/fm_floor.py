"""A baseline of RecBole's factorisation machine, as a regression of ratings on ids and content.

It knows nothing of support sets: a cold user or item is its content. To learn what content alone
tells, a part of the ids is hidden in training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.model.context_aware_recommender.fm import FM
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.tasks.task_set import Predictor, TaskBatch

EPOCHS, PATIENCE = 12, 2
SIZE, LEARNING_RATE, WEIGHT_DECAY = 16, 3e-3, 1e-5
RATINGS_AT_ONCE = 4096
HIDDEN_IDS = 0.1
HIDDEN = 0  # RecBole's padding, an id that no user and no item has


class _Fields:
    """What RecBole's context-aware models ask of a data set, for some of its fields."""

    def __init__(self, dataset: ColdStartDataset, names: list[str]) -> None:
        self.field2type, self.num = dataset.field2type, dataset.num
        self._names = names

    def fields(self, source: Any = None) -> list[str]:
        return self._names


class FactorizationMachine:
    """Predicts queries by RecBole's FM.

    Args:
        dataset: a part of the built dataset; its users may be undescribed.
    """

    def __init__(self, dataset: ColdStartDataset) -> None:
        ids = dataset.uid_field, dataset.iid_field
        self.columns: list[dict[str, Tensor]] = []
        features = {"user": dataset.user_feat, "item": dataset.item_feat}
        for field, (side, feature) in zip(ids, features.items(), strict=True):
            content = _content(dataset, side, feature)
            self.columns.append({field: torch.arange(dataset.num(field)), **content})
        names = [name for side in self.columns for name in side]
        settings = {
            "LABEL_FIELD": dataset.config["RATING_FIELD"],
            "embedding_size": SIZE,
            "device": "cpu",
            "numerical_features": [],
            "double_tower": False,
        }
        users, items, ratings = dataset.split.training_ratings
        self.ids = ids
        sizes = dataset.user_num, dataset.item_num
        self.warm = [
            rows.bincount(minlength=size) > 0
            for rows, size in zip((users, items), sizes, strict=True)
        ]
        self.mean = ratings.mean()
        self.model = FM(settings, _Fields(dataset, names))

    def __call__(self, batch: TaskBatch) -> Tensor:
        """Predicted ratings of the queries, shape: [tasks, ratings]."""
        items = batch.query.items
        users = batch.users.unsqueeze(-1).expand_as(items)
        shown = [warm[x] for warm, x in zip(self.warm, (users, items), strict=True)]
        with torch.no_grad():
            found = self.score(users.flatten(), items.flatten(), [x.flatten() for x in shown])
        return found.view(items.shape)

    def score(self, users: Tensor, items: Tensor, shown: list[Tensor]) -> Tensor:
        """Predicted ratings; the arguments have shape: [n], ``shown`` says whose ids are."""
        values: dict[str, Tensor] = {}
        sides = zip((users, items), self.columns, self.ids, shown, strict=True)
        for rows, columns, field, seen in sides:
            values |= {name: column[rows] for name, column in columns.items()}
            values[field] = torch.where(seen, rows, HIDDEN)
        return self.mean + self.model(values)


def factorization_machine(
    dataset: ColdStartDataset, error: Callable[[Predictor], float]
) -> Predictor:
    """Train an FM on the training ratings by squared errors; the best epoch by ``error``.

    Args:
        dataset: a part of the built dataset.
        error: the error on the validation tasks.

    Reference:
        Rendle. "Factorization machines." ICDM 2010, as RecBole has it.
    """
    random = torch.Generator().manual_seed(dataset.config["seed"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dataset.config["seed"])
        machine = FactorizationMachine(dataset)
    optimizer = torch.optim.Adam(
        machine.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    best, least, waited = {}, float("inf"), 0
    for _ in range(EPOCHS):
        _epoch(machine, dataset.split.training_ratings, optimizer, random)
        now = error(machine)
        waited += 1
        if now < least:
            best = {name: value.clone() for name, value in machine.model.state_dict().items()}
            least, waited = now, 0
        if waited == PATIENCE:
            break
    machine.model.load_state_dict(best)
    return machine


def _epoch(
    machine: FactorizationMachine,
    ratings: tuple[Tensor, Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    random: torch.Generator,
) -> None:
    for some in torch.randperm(len(ratings[0]), generator=random).split(RATINGS_AT_ONCE):
        users, items, targets = (column[some] for column in ratings)
        shown = list(torch.rand(2, len(some), generator=random) >= HIDDEN_IDS)
        optimizer.zero_grad()
        (machine.score(users, items, shown) - targets).square().mean().backward()
        optimizer.step()


def _content(dataset: ColdStartDataset, side: str, feature: Any) -> dict[str, Tensor]:
    """The columns of tokens that describe one side; numbers are left out, as by RecBole's FM."""
    kinds = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
    fields = dataset.described_by(side)
    return {name: feature[name] for name in fields if dataset.field2type[name] in kinds}
