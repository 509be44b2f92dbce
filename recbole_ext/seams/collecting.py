"""A correction of RecBole's collector, which gathers the data for the metrics."""

from __future__ import annotations

from collections.abc import Callable

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
