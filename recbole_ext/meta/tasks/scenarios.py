"""The warm/cold scenario of each rating, from a column or from rules."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.meta.task_settings import TaskSettings

# Warm or cold user – warm or cold item; a scenario's code is its place here.
SCENARIOS = ("W-W", "W-C", "C-W", "C-C")
WARM = 0


def scenarios(dataset: Dataset, settings: TaskSettings) -> Tensor:
    """The scenario of each rating of a dataset in tensors.

    Args:
        dataset: its ``inter_feat`` is an ``Interaction``.
        settings: ``scenario_field`` names a column with ``W-W``, ``W-C``, ``C-W`` or ``C-C``;
            without it ``cold_user_rule`` and ``cold_item_rule`` decide. No item is cold for
            ``task: ranking``.

    Returns:
        Codes into :data:`SCENARIOS`, shape: [n_ratings]

    Raises:
        ValueError: for a column that is missing or holds something else, and where no user or no
            item is cold.
    """
    if settings.scenario_field is not None:
        codes = _from_column(dataset, settings.scenario_field)
        source = f"scenario_field: {settings.scenario_field}"
    else:
        random = np.random.default_rng(settings.split_seed)
        ratings = dataset.inter_feat
        codes = 2 * _cold_users(dataset, settings, random)[ratings[dataset.uid_field]]
        source = f"cold_user_rule: {settings.cold_user_rule}"
        if not settings.ranks:
            codes = codes + _cold_items(dataset, settings, random)[ratings[dataset.iid_field]]
            source = f"cold_item_rule: {settings.cold_item_rule}"
    if settings.ranks:
        codes = 2 * (codes >= 2)
    for side, cold in (("user", codes >= 2), ("item", codes % 2 == 1)):
        if not cold.any() and not (side == "item" and settings.ranks):
            raise ValueError(
                f"dataset {dataset.dataset_name}: no rating is of a cold {side} ({source}); there "
                "is nothing to start cold with"
            )
    if not (codes == WARM).any():
        raise ValueError(
            f"dataset {dataset.dataset_name}: no rating is of a warm user and a warm item "
            f"({source}); there is nothing to train on"
        )
    return codes


def _from_column(dataset: Dataset, field: str) -> Tensor:
    if field not in dataset.inter_feat:
        raise ValueError(
            f"scenario_field: no column {field!r} among the loaded ones of "
            f"{dataset.dataset_name}.inter ({', '.join(dataset.inter_feat.columns)}); check "
            "load_col and the file's first line"
        )
    if dataset.field2type[field] != FeatureType.TOKEN:
        raise ValueError(
            f"scenario_field: the column {field!r} must be a token, as in {field}:token"
        )
    labels = dataset.field2id_token[field]
    codes = torch.tensor([SCENARIOS.index(x) if x in SCENARIOS else -1 for x in labels])
    codes = codes[dataset.inter_feat[field]]
    if (codes < 0).any():
        unknown = sorted({str(labels[i]) for i in dataset.inter_feat[field][codes < 0].unique()})
        raise ValueError(
            f"scenario_field: the column {field!r} of {dataset.dataset_name}.inter holds "
            f"{', '.join(unknown)}; only {', '.join(SCENARIOS)} are known"
        )
    return codes


def _cold_users(dataset: Dataset, settings: TaskSettings, random: np.random.Generator) -> Tensor:
    """1 for users that count as cold, shape: [n_users]."""
    if settings.cold_user_rule == "share":
        return _drawn(dataset.user_num, settings.cold_user_ratio, random)
    first, _ = _first_appearances(dataset, dataset.uid_field, "cold_user_rule")
    there = np.unique(dataset.inter_feat[dataset.uid_field].numpy())
    last = there[np.argsort(first[there], kind="stable")]
    cold = np.zeros(dataset.user_num, dtype=np.int64)
    cold[last[-max(1, round(settings.cold_user_ratio * len(there))) :]] = 1
    return torch.from_numpy(cold)


def _cold_items(dataset: Dataset, settings: TaskSettings, random: np.random.Generator) -> Tensor:
    """1 for items that count as cold, shape: [n_items]."""
    if settings.cold_item_rule == "share":
        return _drawn(dataset.item_num, settings.cold_item_ratio, random)
    values, found_in = (
        _first_appearances(dataset, dataset.iid_field, "cold_item_rule")
        if settings.cold_item_rule == "first_appearance"
        else _field_values(dataset, str(settings.cold_item_field))
    )
    rated = np.unique(dataset.inter_feat[dataset.iid_field].numpy())
    if settings.cold_item_rule == "first_appearance":
        threshold = float(np.quantile(values[rated], 1 - settings.cold_item_ratio))
    else:
        threshold = float(settings.cold_item_threshold or 0.0)
    cold = values > threshold
    if not cold[rated].any() or cold[rated].all():
        raise ValueError(
            f"cold_item_rule: {settings.cold_item_rule} makes {int(cold[rated].sum())} of "
            f"{len(rated)} items cold: {found_in} reaches from {np.nanmin(values[rated]):g} to "
            f"{np.nanmax(values[rated]):g}, the threshold is {threshold:g}"
        )
    return torch.from_numpy(cold.astype(np.int64))


def _drawn(rows: int, ratio: float, random: np.random.Generator) -> Tensor:
    """1 for a share of the rows, never for row 0, RecBole's padding, shape: [rows]."""
    drawn = np.zeros(rows, dtype=np.int64)
    drawn[1 + random.permutation(rows - 1)[: max(1, round(ratio * (rows - 1)))]] = 1
    return torch.from_numpy(drawn)


def _first_appearances(dataset: Dataset, of: str, rule: str) -> tuple[NDArray[np.float64], str]:
    """The first time of each user or item, and what it is called, shape: [rows]."""
    field = dataset.time_field
    if field not in dataset.inter_feat:
        raise ValueError(
            f"{rule}: first_appearance needs the column {field} (TIME_FIELD) in "
            f"{dataset.dataset_name}.inter; check load_col"
        )
    first = np.full(dataset.num(of), np.inf)
    rows = dataset.inter_feat[of].numpy()
    np.minimum.at(first, rows, dataset.inter_feat[field].numpy().astype(float))
    return first, f"the first {field}"


def _field_values(dataset: Dataset, field: str) -> tuple[NDArray[np.float64], str]:
    """A field of the items as numbers, NaN where it holds none, shape: [n_items]."""
    feature = dataset.item_feat
    if feature is None or field not in feature:
        raise ValueError(
            f"cold_item_field: no column {field!r} among the loaded ones of "
            f"{dataset.dataset_name}.item; check load_col"
        )
    if dataset.field2type[field] == FeatureType.FLOAT:
        values = feature[field].numpy().astype(float)
        return np.where(dataset.without_cold_field, np.nan, values), field
    if dataset.field2type[field] != FeatureType.TOKEN:
        raise ValueError(f"cold_item_field: {field} must be a token or float field")
    values = np.array([_number(label) for label in dataset.field2id_token[field]])
    if np.isnan(values).all():
        raise ValueError(f"cold_item_field: {field} holds no numbers")
    return values[feature[field].numpy()], field


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return float("nan")
