"""The losses of a RecBole pairwise model as functions of its parameters, for the look-ahead."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import BPR
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from recbole_ext.lambda_opt.gradient.bpr import Triples
from recbole_ext.lambda_opt.lambdaoptmf import LambdaOptMF


class PairwiseModel(nn.Module):
    """The training loss and the ranking loss of any RecBole model that trains on triples.

    Args:
        model: a RecBole model with ``user_embedding`` and ``item_embedding``.
    """

    def __init__(self, model: GeneralRecommender) -> None:
        super().__init__()
        self.model = model

    def name_of(self, parameter: Tensor) -> str:
        """The name of a parameter in the dictionaries that the losses take."""
        return next(name for name, value in self.named_parameters() if value is parameter)

    def fit_loss(self, parameters: dict[str, Tensor], batch: Triples) -> Tensor:
        """The model's own training loss with all its terms, shape: []."""
        return functional_call(self, parameters, (self._calculate_loss, batch))

    def ranking_loss(self, parameters: dict[str, Tensor], batch: Triples) -> Tensor:
        """The BPR loss of the model's scores without any other term, shape: []."""
        return -F.logsigmoid(self.margins(parameters, batch)).mean()

    def margins(self, parameters: dict[str, Tensor], batch: Triples) -> Tensor:
        """The score of each positive item minus that of its negative one, shape: [batch_size]."""
        return functional_call(self, parameters, (self._margins, batch))

    def forward(self, loss: object, batch: Triples) -> Tensor:
        """Compute a loss; ``functional_call`` calls this with the parameters replaced."""
        return loss(batch)  # type: ignore[operator]

    def _calculate_loss(self, batch: Triples) -> Tensor:
        model = self.model
        keys = model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID
        return total_loss(model, Interaction(dict(zip(keys, batch, strict=True))))

    def _margins(self, batch: Triples) -> Tensor:
        users = torch.cat([batch.users, batch.users])
        pairs = Interaction({self.model.USER_ID: users, self.model.ITEM_ID: batch.items})
        self._forget_scores()
        positive, negative = self.model.predict(pairs).chunk(2)
        self._forget_scores()
        return positive - negative

    def _forget_scores(self) -> None:
        """Drop the embeddings that RecBole's graph models (SGL, LightGCN) keep for evaluation."""
        for name in getattr(self.model, "other_parameter_name", []):
            if name.startswith("restore_"):
                setattr(self.model, name, None)


def is_factorisation(model: GeneralRecommender) -> bool:
    """Whether a model is plain BPR matrix factorisation, whose derivatives have closed forms.

    A subclass with its own loss, score or parameters does not count.
    """
    if not isinstance(model, BPR) or len(list(model.parameters())) != 2:
        return False
    methods = "forward", "calculate_loss", "predict", "get_user_embedding", "get_item_embedding"
    mine = type(model)
    return all(
        getattr(mine, name) in (getattr(BPR, name), getattr(LambdaOptMF, name)) for name in methods
    )


def total_loss(model: GeneralRecommender, interaction: Interaction) -> Tensor:
    """The value of ``calculate_loss``; if it has several parts, their sum, shape: []."""
    loss = model.calculate_loss(interaction)
    return torch.stack(loss).sum() if isinstance(loss, tuple) else loss


def check_pairwise(config: Config, model: GeneralRecommender) -> None:
    """Check that λ can be learnt for a model.

    Raises:
        ValueError: if the model has no embedding table for users or for items.
    """
    for name in ("user_embedding", "item_embedding"):
        if not isinstance(getattr(model, name, None), nn.Embedding):
            raise ValueError(
                f"regularizer: {config['regularizer']} needs a model with the embedding tables "
                f"user_embedding and item_embedding; {config['model']} has no {name}"
            )
