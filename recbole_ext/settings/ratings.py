"""Defaults of models that learn ratings: their label and their evaluation."""

from __future__ import annotations

from typing import Any

from recbole.evaluator.register import metric_types
from recbole.utils import EvaluatorType

from recbole_ext.settings.reading import Settings


def derived_rating_settings(config: Settings) -> dict[str, Any]:
    """Defaults that depend on other settings: ratings are labels, and rankings cover all items."""
    derived: dict[str, Any] = {"LABEL_FIELD": config["RATING_FIELD"]}
    if ranks(config):
        cutoffs = config["topk"]
        first = cutoffs if isinstance(cutoffs, int) else cutoffs[0]
        metric = f"{_names(config['metrics'])[0]}@{first}"
        derived |= {"eval_args": {"mode": "full"}, "valid_metric": metric}
    return derived


def check_rating_settings(config: Settings) -> None:
    """Refuse a label that is not the rating.

    Raises:
        ValueError: names the key and its value.
    """
    label, rating = config["LABEL_FIELD"], config["RATING_FIELD"]
    if label != rating:
        raise ValueError(f"LABEL_FIELD must be RATING_FIELD, which is {rating!r}, got {label!r}")


def ranks(config: Settings) -> bool:
    """Whether all metrics are of rankings; RecBole refuses a mixture."""
    kinds = {metric_types.get(name.lower()) for name in _names(config["metrics"])}
    return kinds == {EvaluatorType.RANKING}


def _names(metrics: str | list[str]) -> list[str]:
    return [metrics] if isinstance(metrics, str) else list(metrics)
