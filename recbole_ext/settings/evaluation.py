"""Checks of the settings of the evaluation and of the negatives in training."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

from recbole.evaluator.register import metric_types
from recbole.utils import EvaluatorType

from recbole_ext.settings.kinds import (
    entries,
    is_number,
    one_of,
    optional,
    some_names,
    switch,
    table,
    whole,
)
from recbole_ext.settings.reading import Settings, choice, integer, nearest, real

_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
DISTRIBUTIONS = ("uniform", "popularity", "none", "None")
# RecBole's leave-one-out splits; 1 for each non-empty part of training, validation and test
LEFT_ONE_OUT = {"valid_and_test": (1, 1, 1), "valid_only": (1, 1, 0), "test_only": (1, 0, 1)}


def check_evaluation_fits(settings: Settings) -> None:
    """Refuse to mix metrics of rankings and of ratings, and to rank all items for the latter."""
    metrics = settings["metrics"]
    kinds = {metric_types[name.lower()] for name in _listed(metrics)}
    if len(kinds) > 1:
        raise ValueError(f"metrics must be all of rankings or all of ratings, got {metrics}")
    mode = settings["eval_args"].get("mode", "full")
    modes = mode.values() if isinstance(mode, dict) else [mode]
    if kinds == {EvaluatorType.VALUE} and "full" in modes:
        raise ValueError(
            f"eval_args.mode must be labeled with metrics {metrics}, which are of ratings, got "
            f"{mode!r} (an eval_args of yours takes the place of the model's: name all of its keys)"
        )


def check_negatives_there(settings: Settings) -> None:
    """Refuse to train a pairwise model without negatives."""
    arguments = settings["train_neg_sample_args"]
    given = {"distribution": "uniform", **arguments} if arguments else {"distribution": None}
    if any(str(given.get(key, 1)).lower() == "none" for key in ("distribution", "sample_num")):
        raise ValueError(
            "train_neg_sample_args must name a distribution (uniform or popularity) and a "
            f"sample_num for a model of pairs, got {arguments!r}"
        )


def check_valid_metric(settings: Settings) -> None:
    """Refuse a ``valid_metric`` that is not computed; RecBole only fails after the first epoch.

    Raises:
        ValueError: names the ``valid_metric`` and the metrics that are computed.
    """
    metrics, cutoffs = settings["metrics"], settings["topk"]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    name, at, cutoff = str(settings["valid_metric"]).partition("@")
    values = cutoffs if isinstance(cutoffs, list | tuple) else [cutoffs]
    computed = not at or cutoff in {str(value) for value in values}
    if name.lower() not in {known.lower() for known in names} or not computed:
        raise ValueError(
            f"valid_metric: {settings['valid_metric']} is not computed: metrics are {names} at "
            f"topk: {values}"
        )


def metrics(settings: Settings, key: str) -> None:
    """Check for one of RecBole's metrics, or a list of them."""
    some_names(settings, key)
    for name in _listed(settings[key]):
        if name.lower() not in metric_types:
            raise ValueError(f"{key}: there is no metric {name!r}.{nearest(name, metric_types)}")


def cutoffs(settings: Settings, key: str) -> None:
    """Check for the length of the recommended lists, or several lengths."""
    for cutoff in _listed(settings[key]) or [settings[key]]:
        integer({key: cutoff}, key, minimum=1)


def negatives(settings: Settings, key: str) -> None:
    """Check RecBole's ``train_neg_sample_args``, which say how negatives are drawn."""
    table(settings, key)
    entries(
        settings[key],
        key,
        {
            "distribution": optional(partial(choice, allowed=DISTRIBUTIONS)),
            "sample_num": _number_of_negatives,
            "alpha": partial(real, minimum=0),
            "dynamic": switch,
            "candidate_num": whole(0),
        },
    )
    if settings[key].get("dynamic") and not settings[key].get("candidate_num"):
        raise ValueError(
            f"{key}.candidate_num must be at least 1 with dynamic, got {settings[key]}"
        )


def evaluation(settings: Settings, key: str) -> None:
    """Check RecBole's ``eval_args``, which say how the data are split and ranked."""
    table(settings, key)
    entries(
        settings[key],
        key,
        {
            "split": optional(_split),  # None if benchmark_filename gives the parts
            "order": optional(partial(choice, allowed=("RO", "TO"))),
            "group_by": optional(one_of("user", "none")),
            "mode": _modes,
        },
    )


def _number_of_negatives(settings: Settings, key: str) -> None:
    if settings[key] != "none":  # RecBole's documentation writes none for no negatives
        integer(settings, key, minimum=1)


def _split(settings: Settings, key: str) -> None:
    value = settings[key]
    if isinstance(value, dict) and len(value) == 1:
        (kind, how), *_ = value.items()
        if kind == "LS" and how in list(LEFT_ONE_OUT):  # how may not be hashable
            return
        ratios = how if isinstance(how, list | tuple) else ()
        some = all(is_number(n) and 0 <= n < math.inf for n in ratios) and sum(ratios) > 0
        before_test = len(ratios) == 3 and some and sum(ratios[:2]) > 0
        if (kind == "RS" and some) or (kind == "TS" and before_test):
            return
    raise ValueError(
        f"{key} must be RS: or TS: with ratios, such as [0.8, 0.1, 0.1], or LS: with "
        f"{', '.join(LEFT_ONE_OUT)}; got {value!r}"
    )


def _modes(settings: Settings, key: str) -> None:
    value = settings[key]
    if isinstance(value, dict) and value and set(value) <= {"valid", "test"}:
        modes = list(value.values())
    else:
        modes = [value]
    for mode in modes:
        if not isinstance(mode, str) or not _MODE.fullmatch(mode):
            raise ValueError(f"{key} must be full, labeled, uniN or popN, got {mode!r}")


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
