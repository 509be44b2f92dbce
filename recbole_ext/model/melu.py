"""MeLU: a meta-learned user preference estimator for new users and items.

Reference:
    Hoyeop Lee et al. "MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation."
    KDD 2019.
"""

from __future__ import annotations

import torch
from recbole.config import Config
from torch import Tensor

from recbole_ext.data.cold_start_dataset import ColdStartDataset
from recbole_ext.data.tasks import Ratings
from recbole_ext.functional.factorization import item_factors
from recbole_ext.functional.inner_loop import Weights, mean_error
from recbole_ext.hyperparameters import Settings
from recbole_ext.layers.bias_floor import fit_bias_floor
from recbole_ext.layers.content import ContentEmbedding
from recbole_ext.layers.gradient_decision import GradientDecision, InnerLoop
from recbole_ext.layers.ridge_decision import RidgeDecision
from recbole_ext.layers.warm_embedding import WarmEmbedding, warm_items
from recbole_ext.melu_settings import MeLUSettings
from recbole_ext.model.meta_recommender import MetaRecommender


class MeLU(MetaRecommender):
    """A decision network that adapts to each user's support set, on embeddings of content.

    ``inner_solver: gradient`` is the paper's network, ``ridge`` one whose last layer is solved for;
    ``residual`` has either predict what the biases leave over.
    """

    def __init__(self, config: Config, dataset: ColdStartDataset) -> None:
        super().__init__(config, dataset)
        self.settings = MeLUSettings.read(config)
        self.floor = None
        if self.settings.residual:
            self.floor = fit_bias_floor(dataset, self.settings.user_shrinkage)
        build = self._ridge if self.settings.inner_solver == "ridge" else self._gradient
        self.decision = build(dataset)

    @classmethod
    def check_hyperparameters(cls, config: Settings) -> None:
        """Refuse settings out of range before any data is loaded.

        Raises:
            ValueError: naming the key and its value.
        """
        super().check_hyperparameters(config)
        MeLUSettings.read(config)

    def start(self, users: Tensor) -> Weights:
        """The decision network's weights before they adapt; see the class for arguments."""
        return self.decision.start(users)

    def adapt(self, users: Tensor, support: Ratings) -> Weights:
        """The weights of each task's decision network; see the class for arguments."""
        targets = support.ratings
        if self.floor is not None:
            targets = targets - self.floor(support.items, support)
        return self.decision.adapt(users, support, targets)

    def score(self, users: Tensor, items: Tensor, support: Ratings, adapted: Weights) -> Tensor:
        """Predicted ratings, shape: [tasks, items]; see the class for arguments."""
        scores = self.decision(users, items, adapted)
        return scores if self.floor is None else scores + self.floor(items, support)

    def loss(self, predicted: Tensor, query: Ratings) -> Tensor:
        """Mean squared or absolute error of each task, shape: [tasks]."""
        return mean_error(predicted, query.ratings, query.mask, self.settings.outer_loss)

    def _content(self, dataset: ColdStartDataset, side: str) -> ContentEmbedding:
        users, items, _ = self.split.training_ratings
        seen = users if side == "user" else items
        return ContentEmbedding(
            dataset,
            side,
            dataset.content_fields(side),
            self.settings.embedding_size,
            seen.unique() if self.settings.zero_unseen_values else None,
        )

    def _vectors(self, size: int, std: float) -> WarmEmbedding:
        warm = warm_items(self.split.training_ratings[1], self.n_items)
        return WarmEmbedding(warm, size, std)

    def _start_from_factors(self, own: WarmEmbedding) -> None:
        """Put a matrix factorisation of the training ratings into the items' vectors."""
        size, strength = self.settings.factorized_start, self.settings.ridge_strength
        users, items, ratings = self.split.training_ratings
        targets = ratings - ratings.mean()
        if self.floor is not None:
            targets = self.floor.residuals(users, items, ratings)
        factors = item_factors(users, items, targets, self.n_items, size, strength)
        with torch.no_grad():
            own.rows.weight[:, :size] = factors

    def _ridge(self, dataset: ColdStartDataset) -> RidgeDecision:
        settings = self.settings
        size = settings.factor_size
        own = self._vectors(size, std=0.1) if settings.item_embedding else None
        if own is not None and settings.factorized_start:
            self._start_from_factors(own)
        return RidgeDecision(
            self._content(dataset, "item"),
            settings.mlp_hidden_size,
            size,
            settings.ridge_strength,
            own=own,
            traces=self._vectors(size, std=0.0) if settings.rated_items else None,
        )

    def _gradient(self, dataset: ColdStartDataset) -> GradientDecision:
        settings = self.settings
        inner = InnerLoop(
            settings.inner_steps,
            settings.inner_learning_rate,
            settings.learn_inner_rates,
            settings.first_order,
        )
        own = self._vectors(settings.embedding_size, std=0.1) if settings.item_embedding else None
        user, item = (self._content(dataset, side) for side in ("user", "item"))
        return GradientDecision(user, item, settings.mlp_hidden_size, inner, own)
