"""The items to ask a new user about: the evidence candidates of a trained meta-learner.

Reference:
    Lee et al. "MeLU." KDD 2019, section 3.4.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.meta.tasks.task_set import Ratings
from recbole_ext.settings.reading import integer

RATINGS_AT_ONCE = 1024
LEAST_LOSS = 1e-4  # a smaller loss counts as this: its unit loss has a gradient without bound


def gradient_norms(model: MetaRecommender, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
    """The norm of the gradient of each rating's unit loss, with each rating as its own task.

    The unit loss is the squared error divided by its own value. The gradient is with respect to the
    weights that adapt, before they do.

    Args:
        model: a trained model.
        users: shape: [n]
        items: shape: [n]
        ratings: shape: [n]

    Returns:
        shape: [n]
    """
    model.eval()
    norms = []
    for some in torch.arange(len(users)).split(RATINGS_AT_ONCE):
        user, item = users[some].to(model.device), items[some, None].to(model.device)
        rating = ratings[some, None].to(model.device)
        nothing = Ratings(item, rating, torch.zeros_like(rating))
        with torch.enable_grad():
            weights = [w.detach().requires_grad_() for w in model.start(user)]
            loss = (model.score(user, item, nothing, weights) - rating).square()
            unit = (loss / loss.detach().clamp(min=LEAST_LOSS)).sum()
            gradients = torch.autograd.grad(unit, weights)
        squares = sum(g.flatten(1).square().sum(-1) for g in gradients)
        norms.append(torch.as_tensor(squares).sqrt().cpu())
    return torch.cat(norms)


def evidence_scores(model: MetaRecommender) -> tuple[Tensor, Tensor, Tensor]:
    """The worth of asking about each item, and the two factors whose product it is.

    The factors are the mean norm of the gradients of the item's training ratings, and the number of
    these ratings. Both are divided by the largest; each has shape: [n_items]
    """
    users, items, ratings = model.split.training_ratings
    norms = gradient_norms(model, users, items, ratings)
    counts = items.bincount(minlength=model.n_items)
    sums = torch.zeros(model.n_items).index_add_(0, items, norms)
    gradient = sums / counts.clamp(min=1)
    gradient, popularity = gradient / gradient.max(), counts / counts.max()
    return gradient * popularity, gradient, popularity


def evidence_candidates(model: AbstractRecommender, dataset: Dataset, topk: int = 20) -> list[dict]:
    """The items whose ratings move the model most, and that many users know.

    Args:
        model: a trained model.
        dataset: a part of its ``ColdStartDataset``.
        topk: how many items.

    Returns:
        Best first, for each item its token, ``score``, the two factors ``gradient`` (the mean norm
        of its training ratings) and ``popularity`` (their number), both divided by the largest,
        and the item's fields.

    Raises:
        ValueError: if ``topk`` is below 1, or the model is no meta-learner.
    """
    topk = integer({"topk": topk}, "topk", minimum=1)
    if not isinstance(model, MetaRecommender):
        raise ValueError(
            f"{type(model).__name__} is no meta-learner: it has no evidence candidates"
        )
    score, gradient, popularity = evidence_scores(model)
    best = score.topk(min(topk, int((popularity > 0).sum()))).indices
    return [
        {
            dataset.iid_field: dataset.id2token(dataset.iid_field, item),
            "score": score[item].item(),
            "gradient": gradient[item].item(),
            "popularity": popularity[item].item(),
            **_fields(dataset, item),
        }
        for item in best.tolist()
    ]


def _fields(dataset: Dataset, item: int) -> dict[str, Any]:
    """An item's fields as in its file."""
    named = {}
    for field in dataset.item_feat.columns:
        value = dataset.item_feat[field][item]
        if field == dataset.iid_field:
            continue
        if dataset.field2type[field] == FeatureType.TOKEN_SEQ:
            named[field] = " ".join(dataset.id2token(field, value[value > 0].numpy()))
        elif dataset.field2type[field] == FeatureType.TOKEN:
            named[field] = dataset.id2token(field, value.item())
    return named
