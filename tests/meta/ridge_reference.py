"""MeLU's and MAMO's default models and the regressions among the baselines, user by user in numpy.

Written from the documents, not from the code: only learnt parameters are taken from a model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
ITEM_SHRINKAGE, CONTENT_SHRINKAGE, ROUNDS = 5.0, 10.0, 10


def ridge(inputs: Array, targets: Array, strength: float) -> Array:
    return np.linalg.solve(inputs.T @ inputs + strength * np.eye(inputs.shape[1]),
                           inputs.T @ targets)  # fmt: skip


class Reference:
    """What the training ratings of a built data set lead to.

    Args:
        dataset: a part of it; its items have the one field ``genre``, a sequence of tokens.
        user_shrinkage: ratings without a bias beside each user's own.
    """

    def __init__(self, dataset: Any, user_shrinkage: float) -> None:
        self.n_items, self.user_shrinkage = dataset.item_num, user_shrinkage
        ratings = dataset.split.training_ratings
        self.users, self.items = (part.numpy() for part in ratings[:2])
        self.ratings = ratings[2].numpy().astype(float)
        self.mean = self.ratings.mean()
        self.tokens = dataset.item_feat["genre"].numpy()  # [n_items, tokens]; 0 is none
        self.content = np.zeros((self.n_items, dataset.num("genre")))
        for item, tokens in enumerate(self.tokens):
            for token in tokens[tokens > 0]:
                self.content[item, token] += 1 / (tokens > 0).sum()
        self.warm = np.isin(np.arange(self.n_items), self.items)
        self.of_item = self._item_biases()

    def user_bias(self, items: Array, ratings: Array) -> float:
        rest = ratings - self.mean - self.of_item[items]
        return rest.sum() / (len(items) + self.user_shrinkage)

    def residuals(self) -> Array:
        """What the biases leave over of the training ratings."""
        left = np.empty(len(self.ratings))
        for user in np.unique(self.users):
            mine = self.users == user
            items, ratings = self.items[mine], self.ratings[mine]
            left[mine] = ratings - self.mean - self.of_item[items] - self.user_bias(items, ratings)
        return left

    def floor(self, items: Array, known: tuple[Array, Array]) -> Array:
        return self.mean + self.of_item[items] + self.user_bias(*known)

    def fold_in(self, items: Array, known: tuple[Array, Array], factors: Array, s: float) -> Array:
        rest = known[1] - self.floor(known[0], known)
        return self.floor(items, known) + factors[items] @ ridge(factors[known[0]], rest, s)

    def _item_biases(self) -> Array:
        first = self._alternate(np.zeros(self.n_items))
        counts = np.bincount(self.items, minlength=self.n_items).astype(float)
        middle = (counts @ self.content / counts.sum(), counts @ first / counts.sum())
        x, y = self.content - middle[0], first - middle[1]
        slopes = ridge(x * np.sqrt(counts)[:, None], y * np.sqrt(counts), CONTENT_SHRINKAGE)
        return self._alternate(middle[1] + x @ slopes)

    def _alternate(self, prior: Array) -> Array:
        of_item = prior
        for _ in range(ROUNDS):
            rest = self.ratings - self.mean
            of_user = {}
            for user in np.unique(self.users):
                mine = self.users == user
                left = rest[mine] - of_item[self.items[mine]]
                of_user[user] = left.sum() / (mine.sum() + self.user_shrinkage)
            taken = np.array([of_user[user] for user in self.users])
            of_item = prior.copy()
            for item in np.unique(self.items):
                mine = self.items == item
                left = rest[mine] - taken[mine] - prior[item]
                of_item[item] += left.sum() / (mine.sum() + ITEM_SHRINKAGE)
        return of_item


class RidgeReference(Reference):
    """A trained MeLU or MAMO in float64 with the default solver."""

    def __init__(self, model: Any, dataset: Any, user_shrinkage: float) -> None:
        super().__init__(dataset, user_shrinkage)
        self.model, decision = model, model.decision
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        self.strength = decision.initial_strength * np.exp(weights["decision.log_strength"])
        trained = self.warm[:, None]
        self.traces = weights["decision.traces.rows.weight"] * trained
        own = weights["decision.own.rows.weight"] * trained
        embedding = weights["decision.content.embeddings.0.weight"]
        layers = [m for m in decision.network.modules() if isinstance(m, torch.nn.Linear)]
        rows = []
        for tokens in self.tokens:
            seen = [t for t in tokens if t > 0 and (self.tokens[self.warm] == t).any()]
            hidden = embedding[seen].mean(0) if seen else np.zeros(embedding.shape[1])
            for layer in layers:
                if layer is not layers[0]:
                    hidden = np.maximum(hidden, 0)
                hidden = layer.weight.detach().numpy() @ hidden + layer.bias.detach().numpy()
            rows.append(hidden)
        self.factors = np.array(rows) + own

    def predict(self, user: int, items: Array, known: tuple[Array, Array]) -> Array:
        rated, ratings = known
        targets = ratings - self.floor(rated, known)
        prior = self.memories(user)
        prior = prior + self.traces[rated].sum(0) / np.sqrt(len(rated) + 1)
        vectors = self.factors[rated]
        vector = prior + ridge(vectors, targets - vectors @ prior, self.strength)
        return self.floor(items, known) + self.factors[items] @ vector

    def memories(self, user: int) -> Array:
        if not hasattr(self.model, "feature_memory"):
            return np.zeros(self.factors.shape[1])
        memory, tasks = self.model.feature_memory, self.model.task_memory
        profile = self.model.decision.user_content(torch.tensor([user]))[0].detach().numpy()
        slots = memory.profiles.numpy()
        alike = slots @ profile / np.linalg.norm(slots, axis=1) / np.linalg.norm(profile)
        scores = np.exp(memory.attention.weight.detach().numpy() @ alike)
        attention = scores / scores.sum()
        bias = self.model.memory_settings.bias_strength * attention @ memory.gradients.numpy()
        preference = attention @ tasks.preferences.numpy()
        return self.model.decision.vector.detach().numpy() - bias + preference
