"""A RecBole pairwise model as functions of its parameters, for the look-ahead."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import BPR
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from recbole_ext.functional.bpr import Triples
from recbole_ext.model.lambdaoptmf import LambdaOptMF


class PairwiseModel(nn.Module):
    """The training loss and the ranking loss of any RecBole model that trains on triples.

    Args:
        model: a RecBole model with ``user_embedding`` and ``item_embedding``.
    """

    def __init__(self, model: GeneralRecommender) -> None:
        super().__init__()
        self.model = model

    def name_of(self, parameter: Tensor) -> str:
        """The name under which the functions below take a parameter."""
        return next(name for name, value in self.named_parameters() if value is parameter)

    def fit_loss(self, parameters: dict[str, Tensor], batch: Triples) -> Tensor:
        """What the model trains on, its own extras included, shape: []."""
        return functional_call(self, parameters, (self._calculate_loss, batch))

    def ranking_loss(self, parameters: dict[str, Tensor], batch: Triples) -> Tensor:
        """BPR loss of the model's scores, nothing else, shape: []."""
        return functional_call(self, parameters, (self._bpr_loss, batch))

    def forward(self, loss: object, batch: Triples) -> Tensor:
        """For ``functional_call``, which puts the parameters in place for one call."""
        return loss(batch)  # type: ignore[operator]

    def _calculate_loss(self, batch: Triples) -> Tensor:
        model = self.model
        keys = model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID
        return total_loss(model, Interaction(dict(zip(keys, batch, strict=True))))

    def _bpr_loss(self, batch: Triples) -> Tensor:
        users = torch.cat([batch.users, batch.users])
        pairs = Interaction({self.model.USER_ID: users, self.model.ITEM_ID: batch.items})
        self._forget_scores()
        positive, negative = self.model.predict(pairs).chunk(2)
        self._forget_scores()
        return -F.logsigmoid(positive - negative).mean()

    def _forget_scores(self) -> None:
        """RecBole's graph models keep what they computed last for evaluation (SGL, LightGCN)."""
        for name in getattr(self.model, "other_parameter_name", []):
            if name.startswith("restore_"):
                setattr(self.model, name, None)


def is_factorisation(model: GeneralRecommender) -> bool:
    """Whether a model is BPR matrix factorisation and nothing else, which has closed forms.

    A subclass with a loss, a score or parameters of its own is not.
    """
    if not isinstance(model, BPR) or len(list(model.parameters())) != 2:
        return False
    methods = "forward", "calculate_loss", "predict", "get_user_embedding", "get_item_embedding"
    mine = type(model)
    return all(
        getattr(mine, name) in (getattr(BPR, name), getattr(LambdaOptMF, name)) for name in methods
    )


def total_loss(model: GeneralRecommender, interaction: Interaction) -> Tensor:
    """``calculate_loss``, with its parts added up where a model returns several, shape: []."""
    loss = model.calculate_loss(interaction)
    return torch.stack(loss).sum() if isinstance(loss, tuple) else loss


def check_pairwise(config: Config, model: GeneralRecommender) -> None:
    """Refuse what λ cannot be learnt for.

    Raises:
        ValueError: if the model has no embedding table for users and for items.
    """
    for name in ("user_embedding", "item_embedding"):
        if not isinstance(getattr(model, name, None), nn.Embedding):
            raise ValueError(
                f"regularizer: {config['regularizer']} needs a model with the embedding tables "
                f"user_embedding and item_embedding; {config['model']} has no {name}"
            )
