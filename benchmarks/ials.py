"""iALS, by the package ``implicit``, as a model for ``compare.py``.

Reference:
    Hu, Koren and Volinsky. "Collaborative Filtering for Implicit Feedback Datasets." ICDM 2008.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from implicit.als import AlternatingLeastSquares
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from recbole_ext import register_model


class IALS(GeneralRecommender):
    """Matrix factorisation of all pairs by weighted least squares; fitted when it is made."""

    input_type = InputType.POINTWISE
    type = ModelType.TRADITIONAL

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.unused = nn.Parameter(torch.zeros(1))  # RecBole's optimiser needs one
        solver = AlternatingLeastSquares(
            factors=config["embedding_size"],
            regularization=config["reg_weight"],
            alpha=config["alpha"],
            iterations=config["iterations"],
            calculate_training_loss=False,
            num_threads=1,
            random_state=config["seed"],
        )
        ratings = dataset.inter_matrix(form="csr").astype("float32")
        solver.fit(ratings, show_progress=False)
        self.solver = solver
        self.register_buffer("users", torch.from_numpy(solver.user_factors))
        self.register_buffer("items", torch.from_numpy(solver.item_factors))

    def fold_in(self, rows: Tensor) -> Tensor:
        """Scores of all items for somebody new, from 1 for each rated item, shape: [n, n_items]."""
        ratings = csr_matrix(rows.numpy())
        users = self.solver.recalculate_user(np.arange(len(rows)), ratings)
        return torch.from_numpy(users) @ self.items.T.cpu()

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Nothing is left to train."""
        return self.unused.sum() * 0

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of a user and an item, shape: [batch_size]."""
        rows = self.users[interaction[self.USER_ID]], self.items[interaction[self.ITEM_ID]]
        return (rows[0] * rows[1]).sum(-1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, user after user, shape: [batch_size * n_items]."""
        return (self.users[interaction[self.USER_ID]] @ self.items.T).view(-1)


register_model(IALS, properties=Path(__file__).with_name("IALS.yaml"))
