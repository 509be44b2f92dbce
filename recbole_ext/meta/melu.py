"""MeLU: a meta-learned user preference estimator for new users and items.

Reference:
    Hoyeop Lee et al. "MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation."
    KDD 2019.
"""

from __future__ import annotations

from recbole.config import Config
from torch import Tensor

from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decision_recommender import DecisionRecommender
from recbole_ext.meta.decisions.decision import PlainDecision
from recbole_ext.meta.decisions.gradient_decision import GradientDecision
from recbole_ext.meta.decisions.list_decision import ListDecision
from recbole_ext.meta.decisions.ridge_decision import RidgeDecision
from recbole_ext.meta.tasks.dataset import ColdStartDataset


class MeLU(DecisionRecommender):
    """A decision network that adapts to each user's support set, on embeddings of content.

    ``inner_solver: gradient`` is the paper's network; with ``ridge`` the last layer is solved for.
    With ``residual`` either predicts the ratings minus a prediction from biases.
    """

    decision: PlainDecision

    def __init__(self, config: Config, dataset: ColdStartDataset) -> None:
        super().__init__(config, dataset)
        if self.ranking is not None:
            self.decision = ListDecision(self.list_parts(dataset))
        elif self.settings.inner_solver == "ridge":
            self.decision = RidgeDecision(**self.ridge_parts(dataset))
        else:
            self.decision = GradientDecision(
                self.content(dataset, "user"),
                self.item_profile(dataset),
                self.settings.mlp_hidden_size,
                self.inner_settings,
            )

    def start(self, users: Tensor) -> Tensors:
        """The decision network's weights before they adapt, for users of shape [tasks]."""
        return self.decision.start(users)
