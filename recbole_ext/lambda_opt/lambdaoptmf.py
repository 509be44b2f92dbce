"""LambdaOptMF: matrix factorisation that learns how strongly to regularise each of its parameters.

Reference:
    Yihong Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from typing import Any

from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import BPR
from torch import Tensor

from recbole_ext.lambda_opt.gradient.bpr import bpr_loss
from recbole_ext.lambda_opt.settings import BilevelSettings, FactorSettings
from recbole_ext.settings.declared import Settings

SCORES_AT_ONCE = 4_096_000


class LambdaOptMF(BPR):
    """RecBole's BPR matrix factorisation, with ``BilevelTrainer`` as its trainer.

    The model holds only the embeddings. The regularisation strengths λ and the penalty
    ``Ω(Θ|λ)`` are part of the trainer, which can add them to any pairwise model of RecBole.
    """

    settings_classes = (FactorSettings, BilevelSettings)

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        sparse = BilevelSettings.read(config).sparse_embeddings
        self.user_embedding.sparse = self.item_embedding.sparse = sparse

    @classmethod
    def derived_settings(cls, config: Settings) -> dict[str, Any]:
        """Defaults that depend on other settings: a large evaluation batch for full ranking."""
        mode = (config["eval_args"] or {}).get("mode", "full")
        return {"eval_batch_size": SCORES_AT_ONCE} if mode == "full" else {}

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR loss of a batch without any penalty, shape: []."""
        user, positive = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        return bpr_loss(user, positive, self.get_item_embedding(interaction[self.NEG_ITEM_ID]))
