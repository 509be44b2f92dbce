"""The simple baselines in every table of cold-start results.

Each is fitted to the training ratings; the shrinkage of users and the strengths of the regressions
are chosen on the validation tasks. It predicts queries from support sets exactly as a model does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from recbole_ext.meta.adapting.biases import shrunk_means
from recbole_ext.meta.adapting.factorization import item_factors
from recbole_ext.meta.adapting.inner_loop import mean_error
from recbole_ext.meta.decisions.bias_floor import BiasFloor, fit_bias_floor
from recbole_ext.meta.judging.boosted_floor import boosted_trees, dense_content
from recbole_ext.meta.judging.fm_floor import factorization_machine
from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.tasks.task_set import Predictor, TaskBatch

USER_SHRINKAGES = (3.0, 5.0, 10.0, 20.0)
STRENGTHS = (3.0, 10.0, 30.0)
FACTOR_STRENGTHS = (5.0, 10.0, 20.0)
FACTORS = 16
CONTENT_COLUMNS = 64


def floors(dataset: ColdStartDataset, valid: list[TaskBatch]) -> dict[str, Predictor]:
    """Fit the baselines.

    Args:
        dataset: a part of the built dataset.
        valid: the validation tasks.

    Returns:
        A predictor by name, simplest first.
    """
    users, items, ratings = dataset.split.training_ratings
    mean = ratings.mean()
    of_item = mean + shrunk_means(items, ratings - mean, dataset.item_num, 0.0)
    content = dense_content(dataset, "item", CONTENT_COLUMNS)
    bias = _fit_biases(dataset, valid)
    residuals = bias.residuals(users, items, ratings)
    return {
        "random": partial(_random, ratings=ratings, seed=dataset.config["seed"]),
        f"constant {ratings.median():g}": lambda batch: torch.full_like(
            batch.query.ratings, float(ratings.median())
        ),
        "item mean": lambda batch: of_item[batch.query.items],
        "support mean": partial(_support_mean, mean=mean),
        "biases": partial(_biases, bias=bias),
        "biases + content ridge": _best(
            [partial(_fold_in, bias=bias, factors=content, strength=s) for s in STRENGTHS], valid
        ),
        "biases + factors folded in": _best(
            [
                partial(
                    _fold_in,
                    bias=bias,
                    factors=item_factors(users, items, residuals, dataset.item_num, FACTORS, s),
                    strength=s,
                )
                for s in FACTOR_STRENGTHS
            ],
            valid,
        ),
        "boosted trees": _best([partial(predict) for predict in boosted_trees(dataset)], valid),
        "RecBole's FM": factorization_machine(dataset, partial(_absolute_error, batches=valid)),
    }


def _fit_biases(dataset: ColdStartDataset, valid: list[TaskBatch]) -> BiasFloor:
    fitted = fit_bias_floor(dataset)
    shrunk = [BiasFloor(fitted.mean, fitted.of_item, shrinkage) for shrinkage in USER_SHRINKAGES]
    return _best([partial(_biases, bias=bias) for bias in shrunk], valid).keywords["bias"]


def _best(candidates: list[partial], valid: list[TaskBatch]) -> partial:
    """The candidate with the least mean absolute error on the validation tasks."""
    return min(candidates, key=lambda candidate: _absolute_error(candidate, valid))


def _absolute_error(predict: Predictor, batches: Iterable[TaskBatch]) -> float:
    errors = [
        mean_error(predict(batch), batch.query.ratings, batch.query.mask, "absolute")
        for batch in batches
    ]
    return float(torch.cat(errors).mean())


def _random(batch: TaskBatch, ratings: Tensor, seed: int) -> Tensor:
    """Ratings drawn from the training ratings."""
    generator = torch.Generator().manual_seed(seed + int(batch.users[0]))
    drawn = torch.randint(len(ratings), batch.query.items.shape, generator=generator)
    return ratings[drawn]


def _support_mean(batch: TaskBatch, mean: Tensor) -> Tensor:
    support = batch.support
    counts = support.mask.sum(-1)
    means = (support.ratings * support.mask).sum(-1) / counts.clamp(min=1)
    return torch.where(counts > 0, means, mean).unsqueeze(-1).expand_as(batch.query.ratings)


def _biases(batch: TaskBatch, bias: BiasFloor) -> Tensor:
    return bias(batch.query.items, batch.support)


def _fold_in(batch: TaskBatch, bias: BiasFloor, factors: Tensor, strength: float) -> Tensor:
    """The biases plus a ridge regression of each support set's residuals on the items' factors."""
    return bias.fold_in(batch.query.items, batch.support, factors, strength)
