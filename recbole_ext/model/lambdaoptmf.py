"""LambdaOptMF: matrix factorisation that learns how strongly to regularise each of its parameters.

Reference:
    Yihong Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_normal_initialization
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_ext.bilevel_settings import BilevelSettings
from recbole_ext.functional.bpr import Triples, bpr_loss
from recbole_ext.functional.penalty import triple_penalty
from recbole_ext.hyperparameters import Settings, integer
from recbole_ext.lambda_network import LambdaNetwork


class LambdaOptMF(GeneralRecommender):
    """BPR matrix factorisation with an L2 strength λ for each user, item and dimension.

    The embeddings are trained here, with λ held fixed; λ is trained by ``BilevelTrainer``. With
    ``regularizer: fixed`` λ is one given number and nothing else changes, so that both compare.
    """

    input_type = InputType.PAIRWISE

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        settings = BilevelSettings.read(config)
        _check_negatives(config)
        self.embedding_size = integer(config, "embedding_size", minimum=1)
        sparse = settings.sparse_embeddings
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size, sparse=sparse)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size, sparse=sparse)
        self.apply(xavier_normal_initialization)
        learns = settings.learns_lambda
        self.lambda_network = LambdaNetwork(
            settings.lambda_granularity if learns else "global",
            self.n_users,
            self.n_items,
            self.embedding_size,
            initial=0.0 if learns else settings.reg_weight,
            sparse=settings.sparse_lambda,
        ).requires_grad_(learns)

    @classmethod
    def check_hyperparameters(cls, config: Settings) -> None:
        """Refuse settings out of range before any data is loaded.

        Raises:
            ValueError: naming the key and its value.
        """
        integer(config, "embedding_size", minimum=1)
        BilevelSettings.read(config)

    def embedding_parameters(self) -> list[Tensor]:
        """What the model's own optimiser trains: everything but λ."""
        return [self.user_embedding.weight, self.item_embedding.weight]

    def triples(self, interaction: Interaction) -> Triples:
        """The users, positive and negative items of a training batch."""
        return Triples(
            interaction[self.USER_ID], interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]
        )

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``ŷ_ui = θ_u·θ_i`` of user–item pairs, shape: [batch_size]."""
        return (self.user_embedding(user) * self.item_embedding(item)).sum(-1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR loss of a batch plus ``Ω(Θ|λ)``, with λ held fixed, shape: []."""
        triples = self.triples(interaction)
        items = self.item_embedding(triples.positives), self.item_embedding(triples.negatives)
        rows = self.user_embedding(triples.users), *items
        strength = self.lambda_network
        penalty = triple_penalty(rows, triples, strength.fixed_user, strength.fixed_item)
        return bpr_loss(*rows) + penalty

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of the batch's user–item pairs, shape: [batch_size]."""
        return self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items for each user of the batch, shape: [batch_size * n_items]."""
        user = self.user_embedding(interaction[self.USER_ID])
        return (user @ self.item_embedding.weight.T).view(-1)


def _check_negatives(config: Config) -> None:
    arguments = config["train_neg_sample_args"]
    if "none" in (arguments["distribution"], arguments["sample_num"]):
        raise ValueError(
            "train_neg_sample_args must name a distribution (uniform or popularity) and a "
            f"sample_num of at least 1 for a pairwise model, got {arguments!r}"
        )
