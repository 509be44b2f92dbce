"""Which items to ask a new user about: the evidence candidates of a trained meta-learner.

    python -m recbole_ext.evidence saved/MeLU-….pth --topk=20

Reference:
    Lee et al. "MeLU." KDD 2019, section 3.4.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from tabulate import tabulate
from torch import Tensor

from recbole_ext.data.tasks import Ratings
from recbole_ext.hyperparameters import integer
from recbole_ext.model.meta_recommender import MetaRecommender

RATINGS_AT_ONCE = 1024
LEAST_LOSS = 1e-4  # a smaller loss counts as this: its unit loss has a gradient without bound


def gradient_norms(model: MetaRecommender, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
    """For each rating, taken as a task of its own, the norm of the gradient of its unit loss.

    The unit loss is the squared error divided by its own value; the gradient is that of the weights
    that adapt, before they do.

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
    """How much each item's rating tells: the product of two factors, and the two.

    They are the mean norm of its training ratings' gradients and their number, both divided by the
    largest; each of shape: [n_items]
    """
    users, items, ratings = model.split.training_ratings
    norms = gradient_norms(model, users, items, ratings)
    counts = items.bincount(minlength=model.n_items)
    sums = torch.zeros(model.n_items).index_add_(0, items, norms)
    gradient = sums / counts.clamp(min=1)
    gradient, popularity = gradient / gradient.max(), counts / counts.max()
    return gradient * popularity, gradient, popularity


def evidence_candidates(model: MetaRecommender, dataset: Dataset, topk: int = 20) -> list[dict]:
    """The items whose ratings tell most: those that move the model most, and that many know.

    Args:
        model: a trained model.
        dataset: a part of its ``ColdStartDataset``.
        topk: how many items.

    Returns:
        Best first, for each item its token, ``score``, the two factors ``gradient`` (the mean norm
        of its training ratings) and ``popularity`` (their number), both divided by the largest,
        and the item's fields.

    Raises:
        ValueError: if ``topk`` is below 1.
    """
    topk = integer({"topk": topk}, "topk", minimum=1)
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


def main(arguments: list[str]) -> int:
    """Print the candidates of a checkpoint; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m recbole_ext.evidence", description=__doc__)
    parser.add_argument("checkpoint", help="of a MeLU or MAMO, as its run printed it")
    parser.add_argument("--topk", type=int, default=20, help="how many items")
    options = parser.parse_args(arguments)
    sys.argv = sys.argv[:1]  # RecBole reads the command line

    from recbole_ext import load_data_and_model

    try:
        _, model, dataset, *_ = load_data_and_model(options.checkpoint)
        if not isinstance(model, MetaRecommender):
            raise ValueError(f"{options.checkpoint} is of {type(model).__name__}, no meta-learner")
        rows = evidence_candidates(model, dataset, options.topk)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tabulate(rows, headers="keys", floatfmt=".4f"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
