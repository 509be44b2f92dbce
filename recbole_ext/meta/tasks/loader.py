"""Batches of training tasks, in the place of RecBole's ``TrainDataLoader``."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from recbole.data.dataset import Dataset

from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.task_set import TaskBatch, TaskSet

# Tasks are sorted by size within this number of batches, so that little padding is needed.
BATCHES_SORTED_TOGETHER = 8


class TaskLoader:
    """Batches of tasks of similar size, in an order drawn anew each epoch.

    Attributes:
        dataset: the training part, which RecBole's loop asks a loader for.
        generator: the generator of all random numbers; checkpoints hold its state.
    """

    def __init__(
        self,
        dataset: Dataset,
        tasks: TaskSet,
        batch_size: int,
        generator: torch.Generator,
        settings: TaskSettings,
    ) -> None:
        self.dataset = self._dataset = dataset
        self.generator = generator
        self._tasks, self._batch_size = tasks, batch_size
        self._settings = settings

    def __len__(self) -> int:
        return -(-len(self._tasks) // self._batch_size)

    def __iter__(self) -> Iterator[TaskBatch]:
        tasks, settings = self._tasks, self._settings
        most = settings.task_ratings[1]
        if settings.ranks:
            tasks = tasks.draw_supports(settings.support_sizes, most, self.generator)
        elif settings.resample_queries:
            tasks = tasks.resplit(
                settings.query_size, settings.support_size, most, generator=self.generator
            )
        order = torch.randperm(len(tasks), generator=self.generator)
        sizes = tasks.sizes
        pool = self._batch_size * BATCHES_SORTED_TOGETHER
        batches = [
            batch
            for some in order.split(pool)
            for batch in some[torch.argsort(sizes[some], stable=True)].split(self._batch_size)
        ]
        for at in torch.randperm(len(batches), generator=self.generator).tolist():
            yield tasks.batch(batches[at])
