"""RecBole's evaluation, with its batches divided among the processes and each user counted once.

RecBole gives each process a part of the users that may be filled up with users of another part, and
takes the mean of rounded metrics. Here the processes put together what the metrics are computed
from, in the order of one process. The metrics are then those of one process, to the last digit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.evaluator.collector import Collector, DataStruct
from torch import Tensor

from recbole_ext.processes.group import from_each, from_first, group
from recbole_ext.runs.safe_file import load_checkpoint
from recbole_ext.runs.whole_state import deal_out_module, is_spread, without_spread


def dividing_evaluation(evaluate: Callable) -> Callable:
    """Wrap ``Trainer.evaluate``: each process scores its share."""

    def evaluate_shares(
        trainer: Any,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        if group().size == 1 or not eval_data:
            return evaluate(trainer, eval_data, load_best_model, model_file, show_progress)
        if load_best_model:
            _load_best(trainer, model_file or trainer.saved_model_file)
        if is_spread(trainer.model):  # all processes score all users, each for its own items
            return evaluate(trainer, eval_data, False, None, show_progress)
        numbers: list[int] = []
        share = _share_of_batches(eval_data, numbers)
        with _put_together(trainer.eval_collector, numbers):
            result = evaluate(trainer, share, False, None, show_progress)
        _draw_alike()
        return result

    return evaluate_shares


def _load_best(trainer: Any, path: str) -> None:
    """Load a checkpoint that only the first process needs to have at hand."""
    loaded: dict[str, Any] = {}

    def read() -> tuple[Any, Any]:
        loaded.update(load_checkpoint(path, "cpu", mapped=is_spread(trainer.model)))
        state = without_spread(trainer.model, loaded["state_dict"])
        return state, loaded.get("other_parameter")

    state, other = from_first(read)
    deal_out_module(trainer.model, {**state, **loaded.get("state_dict", {})})
    trainer.model.load_other_parameter(other)
    trainer.logger.info(f"Loading model structure and parameters from {path}")


def _share_of_batches(loader: Any, numbers: list[int]) -> Any:
    """The same loader, which gives a process's share of each batch, or only every so many batches.

    Where a batch draws items at random, all of it is drawn in each process.

    Args:
        loader: an evaluation loader of RecBole's.
        numbers: receives the number of each batch that the share gives.
    """
    size, rank = group().size, group().rank

    def parts() -> Iterator[tuple[int, Any]]:
        if not isinstance(loader, FullSortEvalDataLoader):
            yield from islice(enumerate(loader), rank, None, size)
            return
        for number, places in enumerate(loader.batch_sampler):
            begin, end = (len(places) * at // size for at in (rank, rank + 1))
            if begin < end:
                yield number, loader.collate_fn(places[begin:end])

    class Share(type(loader)):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            for number, batch in parts():
                numbers.append(number)
                yield batch

        def __bool__(self) -> bool:
            return True  # for RecBole a loader of no batches is none

    share = object.__new__(Share)
    share.__dict__.update(loader.__dict__)
    return share


@contextmanager
def _put_together(collector: Collector, numbers: list[int]) -> Iterator[None]:
    """Collect batch by batch; what all processes collect is put together at the end.

    Args:
        collector: RecBole's collector of a trainer.
        numbers: the number of each batch that this process collects.
    """
    batches: list[dict[str, Tensor]] = []
    collect, give = collector.eval_batch_collect, collector.get_data_struct

    def collect_batch(*args: Any) -> None:
        known = set(collector.data_struct._data_dict)
        collect(*args)
        found = collector.data_struct._data_dict
        batches.append({key: found.pop(key).cpu() for key in found.keys() - known})

    def give_whole() -> DataStruct:
        shares = from_each(list(zip(numbers, batches, strict=True)))
        in_order = sorted(chain.from_iterable(shares), key=itemgetter(0))  # stable: by process
        for key in in_order[0][1]:
            rows = [batch[key] for _, batch in in_order]
            collector.data_struct.set(key, torch.cat(rows))
        return give()

    collector.eval_batch_collect, collector.get_data_struct = collect_batch, give_whole
    try:
        yield
    finally:
        del collector.eval_batch_collect, collector.get_data_struct


def _draw_alike() -> None:
    """Go on with the first process's random numbers, as a model may draw some when it scores."""
    drawn = from_first(lambda: (torch.get_rng_state(), np.random.get_state(), random.getstate()))
    torch.set_rng_state(drawn[0])
    np.random.set_state(drawn[1])
    random.setstate(drawn[2])
