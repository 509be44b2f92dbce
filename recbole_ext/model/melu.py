"""MeLU: a meta-learned user preference estimator for new users and items.

Reference:
    Hoyeop Lee et al. "MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation."
    KDD 2019.
"""

from __future__ import annotations

from recbole.config import Config
from torch import Tensor

from recbole_ext.data.cold_start_dataset import ColdStartDataset
from recbole_ext.functional.inner_optimizers import Tensors
from recbole_ext.layers.gradient_decision import GradientDecision
from recbole_ext.layers.ridge_decision import RidgeDecision
from recbole_ext.model.decision_recommender import DecisionRecommender


class MeLU(DecisionRecommender):
    """A decision network that adapts to each user's support set, on embeddings of content.

    ``inner_solver: gradient`` is the paper's network, ``ridge`` one whose last layer is solved for;
    ``residual`` has either predict what the biases leave over.
    """

    def __init__(self, config: Config, dataset: ColdStartDataset) -> None:
        super().__init__(config, dataset)
        if self.settings.inner_solver == "ridge":
            self.decision = RidgeDecision(**self.ridge_parts(dataset))
        else:
            self.decision = GradientDecision(
                self.content(dataset, "user"),
                self.item_profile(dataset),
                self.settings.mlp_hidden_size,
                self.settings.inner,
            )

    def start(self, users: Tensor) -> Tensors:
        """The decision network's weights before they adapt; see the class for arguments."""
        return self.decision.start(users)
