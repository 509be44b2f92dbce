"""What RecBole makes of some data is silently wrong or missing; it is mended for all models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pandas import DataFrame
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.utils import FeatureSource
from torch import Tensor

NO_ITEMS = torch.empty(0, dtype=torch.int64)


def in_exact_order(change_format: Callable) -> Callable:
    """Wrap ``Dataset._change_feat_format``: what is ordered by time keeps its order.

    RecBole rounds times to float32, whose steps are 64 to 128 seconds for times of this decade, and
    orders afterwards. Its sort is stable, so that rows that are in order before stay so.
    """

    def change_in_order(dataset: Dataset) -> None:
        split_already = dataset.benchmark_filename_list is not None
        if dataset.config["eval_args"]["order"] == "TO" and not split_already:
            dataset.inter_feat = _by_time(dataset.inter_feat, dataset.time_field)
        change_format(dataset)

    return change_in_order


def _by_time(ratings: Any, field: str | None) -> Any:
    """Ratings by their exact times, if these are numbers; others are left as they are.

    RecBole has made pairs of a column that it takes for a numerical feature.
    """
    known = isinstance(ratings, DataFrame) and field in ratings
    if not known or ratings[field].dtype.kind != "f":
        return ratings
    return ratings.sort_values(field, kind="stable", ignore_index=True)


def loading_times(columns: Callable) -> Callable:
    """Wrap ``Dataset._get_load_and_unload_col``: sequential models load what they order by."""

    def columns_with_times(dataset: Dataset, source: Any) -> tuple:
        load, unload = columns(dataset, source)
        wanted = isinstance(dataset, SequentialDataset) and source == FeatureSource.INTERACTION
        if wanted and load and dataset.time_field and not dataset.config["benchmark_filename"]:
            load = {*load, dataset.time_field}
        return load, unload

    return columns_with_times


def in_three_parts(build: Callable) -> Callable:
    """Wrap ``Dataset.build``: training and test alone have an empty validation part between them.

    Each part knows those before it, for the history of its users.
    """

    def build_three(dataset: Dataset) -> list[Dataset]:
        parts = build(dataset)
        if dataset.benchmark_filename_list is not None and len(parts) == 2:
            parts.insert(1, dataset.copy(parts[0].inter_feat[:0]))
        for at, part in enumerate(parts):
            part.earlier_parts = parts[:at]
        return parts

    return build_three


def history_of(loader: Any) -> np.ndarray:
    """The items of each user in the parts before a loader's: an array of tensors by user id.

    RecBole's loader of a ranking of all items has such an array, and that of another evaluation has
    none, although its ``full_sort_topk`` reads it.
    """
    dataset = loader._dataset
    found = np.empty(dataset.user_num, dtype=object)
    found[:] = [NO_ITEMS] * dataset.user_num
    for part in getattr(dataset, "earlier_parts", ()):
        users, items = (part.inter_feat[f] for f in (dataset.uid_field, dataset.iid_field))
        order = torch.argsort(users, stable=True)
        counts = torch.bincount(users, minlength=dataset.user_num).tolist()
        for user, some in enumerate(items[order].split(counts)):
            found[user] = _union(found[user], some)
    return found


def _union(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat([one, other]).unique() if len(other) else one
