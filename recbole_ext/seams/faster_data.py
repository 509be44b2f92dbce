"""The list of what makes RecBole's data faster and smaller, with equal results.

RecBole reads atomic files with Python's csv module, keeps each token of each row as a text, and
loops over all ratings to split them, to note what each user has used and to make its loaders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import recbole.data.dataloader.abstract_dataloader
import recbole.data.dataset.dataset
import recbole.data.dataset.kg_dataset
import recbole.sampler.sampler
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.sampler.sampler import AbstractSampler

from recbole_ext.seams import atomic_reading, grouped_rows, sequence_rows, used_items
from recbole_ext.seams.todays_packages import substitute

# The methods that are replaced: class, name, what wraps it.
METHODS: tuple[tuple[Any, str, Callable], ...] = (
    (Dataset, "_concat_remaped_tokens", grouped_rows.joining_tokens),
    (Dataset, "_grouped_index", grouped_rows.grouping),
    (Dataset, "split_by_ratio", grouped_rows.splitting_by_ratio),
    (Dataset, "_split_index_by_leave_one_out", grouped_rows.leaving_out),
    (SequentialDataset, "data_augmentation", sequence_rows.augmenting),
    (Interaction, "__getitem__", grouped_rows.selecting_rows),
    (Interaction, "_reindex", grouped_rows.ordering_rows),
    (Sampler, "get_used_ids", used_items.using_arrays),
    (Sampler, "_get_candidates_list", used_items.candidates_by_arrays),
    (AbstractSampler, "sample_by_key_ids", used_items.sampling_by_arrays),
    (FullSortEvalDataLoader, "__init__", used_items.ranking_by_arrays),
)
COUNTING = (recbole.data.dataset.dataset, recbole.data.dataset.kg_dataset, recbole.sampler.sampler)


def install(replace: Callable[[Any, str, Callable], None]) -> None:
    """Replace what is slow.

    Args:
        replace: replaces a class's method by a wrapped one, once.
    """
    datasets: Any = recbole.data.dataset.dataset
    if not hasattr(datasets.pd.read_csv, "_by_arrow"):
        read_csv = atomic_reading.reading_by_arrow(datasets.pd.read_csv)
        read_csv._by_arrow = True  # type: ignore[attr-defined]
        concat = atomic_reading.joining_categories(datasets.pd.concat)
        datasets.pd = substitute(datasets.pd, read_csv=read_csv, concat=concat)
    for module in COUNTING:
        module.Counter = grouped_rows.count
    loaders: Any = recbole.data.dataloader.abstract_dataloader
    loaders.list = used_items.without_a_list
    for owner, name, wrap in METHODS:
        replace(owner, name, wrap)
