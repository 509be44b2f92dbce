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

from recbole_ext.bilevel_settings import BilevelSettings
from recbole_ext.functional.bpr import bpr_loss
from recbole_ext.hyperparameters import Settings, integer

SCORES_AT_ONCE = 4_096_000


class LambdaOptMF(BPR):
    """RecBole's BPR matrix factorisation, made to be trained by ``BilevelTrainer``.

    The model holds the embeddings alone. The regularisation strengths λ and the penalty
    ``Ω(Θ|λ)`` belong to the trainer, which brings them to any pairwise model of RecBole's.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        sparse = BilevelSettings.read(config).sparse_embeddings
        self.user_embedding.sparse = self.item_embedding.sparse = sparse

    @classmethod
    def check_hyperparameters(cls, config: Settings) -> None:
        """Refuse settings out of range before any data is loaded.

        Raises:
            ValueError: naming the key and its value.
        """
        integer(config, "embedding_size", minimum=1)
        BilevelSettings.read(config)

    @classmethod
    def derived_settings(cls, config: Settings) -> dict[str, Any]:
        """Defaults that follow from others: where all items are ranked, many users at once."""
        mode = (config["eval_args"] or {}).get("mode", "full")
        return {"eval_batch_size": SCORES_AT_ONCE} if mode == "full" else {}

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR loss of a batch without any penalty, shape: []."""
        user, positive = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        return bpr_loss(user, positive, self.get_item_embedding(interaction[self.NEG_ITEM_ID]))
