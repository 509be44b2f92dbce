"""Corrections of what RecBole gathers for the metrics, and makes of it."""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from typing import Any

import numpy as np
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import Collector, DataStruct
from torch import Tensor


def keeping_counts(get_data_struct: Callable) -> Callable:
    """Wrap ``Collector.get_data_struct``, so that it also accepts values that are not tensors.

    RecBole 1.2.1 moves all values to the CPU as if they were tensors. The number of items and the
    number of ratings of each item are not tensors, so that all metrics that need them fail
    (ItemCoverage, GiniIndex, AveragePopularity, TailPercentage).
    """

    def get_with_counts(collector: Collector) -> DataStruct:
        data = collector.data_struct
        counts = {k: v for k, v in data._data_dict.items() if not isinstance(v, Tensor)}
        for key in counts:
            del data[key]
        found = get_data_struct(collector)
        for key, value in counts.items():
            data[key] = found[key] = value
        return found

    return get_with_counts


def evaluating_aloud(evaluate: Callable) -> Callable:
    """Wrap ``Evaluator.evaluate``: it warns of an RMSE or MAE whose scores are no ratings.

    A model such as ItemKNN gives scores for a ranking, whose RMSE says nothing. The metrics are
    plain numbers; numpy 2 would show them as ``np.float64(0.2)`` in the log.
    """

    def evaluate_aloud(evaluator: Evaluator, data: DataStruct) -> Any:
        errors = [name for name in ("rmse", "mae") if name in evaluator.metrics]
        if errors and not getattr(evaluator, "has_warned", False):
            evaluator.has_warned = _warn_of_no_ratings(errors, data)
        found = evaluate(evaluator, data)
        return type(found)((name, _plain(value)) for name, value in found.items())

    return evaluate_aloud


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _warn_of_no_ratings(errors: list[str], data: DataStruct) -> bool:
    """Warn if most scores lie far outside of the ratings; returns whether they do."""
    scores, ratings = (data.get(key).flatten().float() for key in ("rec.score", "data.label"))
    least, most = ratings.min(), ratings.max()
    width = most - least
    far = ((scores < least - width) | (scores > most + width)).float().mean() > 0.5
    if far:
        getLogger().warning(
            f"{' and '.join(errors)} are of scores that are no ratings: the ratings lie from "
            f"{least:g} to {most:g}, and the median of the scores is {scores.median():g}. Take a "
            "model of ratings, or metrics of rankings"
        )
    return bool(far)
