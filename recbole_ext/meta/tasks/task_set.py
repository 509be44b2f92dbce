"""Tasks as tensors: one user's ratings in one scenario, a support set to adapt on and a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from recbole_ext.processes.shares import Share


@dataclass(frozen=True)
class Ratings:
    """Ratings of a batch of tasks, padded at the end.

    Attributes:
        items: RecBole's item ids, 0 where padded, shape: [tasks, ratings]
        ratings: in the data's scale, 0 where padded, shape: [tasks, ratings]
        mask: 1 for a rating and 0 for padding, shape: [tasks, ratings]
    """

    items: Tensor
    ratings: Tensor
    mask: Tensor

    @property
    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """Items, ratings and mask."""
        return self.items, self.ratings, self.mask

    def to(self, device: torch.device | str) -> Ratings:
        """The same ratings on a device."""
        return Ratings(*(x.to(device) for x in self.columns))

    def part(self, rows: slice) -> Ratings:
        """The ratings of some tasks."""
        return Ratings(*(x[rows] for x in self.columns))


@dataclass(frozen=True)
class TaskBatch:
    """A batch of tasks.

    Attributes:
        users: shape: [tasks]
        support: the ratings that a model may adapt to.
        query: the ratings that it is then judged by.
        share: which tasks of a larger batch these are; ``None``: all of them.
    """

    users: Tensor
    support: Ratings
    query: Ratings
    share: Share | None = None

    def to(self, device: torch.device | str) -> TaskBatch:
        """The same batch on a device."""
        users, support = self.users.to(device), self.support.to(device)
        return TaskBatch(users, support, self.query.to(device), self.share)

    def part(self, share: Share) -> TaskBatch:
        """Some of the tasks."""
        rows = share.rows
        return TaskBatch(self.users[rows], self.support.part(rows), self.query.part(rows), share)

    def without_support(self, which: Tensor, users: Tensor) -> TaskBatch:
        """The same batch with some support sets empty.

        Args:
            which: whether a task loses its support set, shape: [tasks]
            users: the users of all tasks, shape: [tasks]
        """
        kept = (~which).unsqueeze(-1)
        support = Ratings(*(x * kept for x in self.support.columns))
        return TaskBatch(users, support, self.query)

    def __len__(self) -> int:
        return len(self.users)


# Predicts the ratings of the queries from the support sets, shape: [tasks, ratings].
Predictor: TypeAlias = Callable[[TaskBatch], Tensor]


@dataclass(frozen=True)
class TaskSet:
    """Tasks in compressed form.

    Task ``t`` has the items ``items[starts[t] : starts[t + 1]]``; its support set comes first.

    Attributes:
        users: the user of each task, shape: [tasks]
        scenarios: codes into ``SCENARIOS``, shape: [tasks]
        starts: shape: [tasks + 1]
        support_sizes: shape: [tasks]
        items: shape: [ratings]
        ratings: shape: [ratings]
    """

    users: Tensor
    scenarios: Tensor
    starts: Tensor
    support_sizes: Tensor
    items: Tensor
    ratings: Tensor

    def __len__(self) -> int:
        return len(self.users)

    @property
    def sizes(self) -> Tensor:
        """Ratings of each task, shape: [tasks]."""
        return self.starts.diff()

    def batch(self, tasks: Tensor) -> TaskBatch:
        """A batch of some tasks, padded to the largest support set and query among them."""
        begin, middle = self.starts[tasks], self.starts[tasks] + self.support_sizes[tasks]
        end = self.starts[tasks + 1]
        return TaskBatch(self.users[tasks], self._padded(begin, middle), self._padded(middle, end))

    def _padded(self, begin: Tensor, end: Tensor) -> Ratings:
        sizes = end - begin
        width = int(sizes.max()) if len(sizes) else 0
        places = torch.arange(width)  # [width]
        mask = places < sizes.unsqueeze(-1)  # [tasks, width]
        rows = (begin.unsqueeze(-1) + places) * mask
        items, ratings = self.items[rows], self.ratings[rows]
        return Ratings(items * mask, ratings * mask, mask.to(ratings.dtype))

    def resplit(
        self, query_size: int, support_size: int | None, most: int, generator: torch.Generator
    ) -> TaskSet:
        """The same tasks with queries drawn anew: ``query_size`` ratings, at most half of a task.

        Each task must have at least two ratings.

        Args:
            query_size: the largest query.
            support_size: the largest support set, or ``None`` for all that is left.
            most: the largest task; from a larger one ratings are drawn.
            generator: the generator of the random numbers.
        """
        order = self._shuffled(generator)
        sizes = self.sizes.clamp(max=most)
        queries = (sizes // 2).clamp(max=query_size)
        supports = sizes - queries
        if support_size is not None:
            supports = supports.clamp(max=support_size)
        return _cut(self, order, supports, queries)

    def draw_supports(
        self, support_sizes: Sequence[int], most: int, generator: torch.Generator
    ) -> TaskSet:
        """The same tasks with support sets drawn anew; all other ratings are the query.

        Each task must have at least two ratings; at least one of them is in the query.

        Args:
            support_sizes: the sizes of support sets, of which each task draws one.
            most: the largest task; from a larger one ratings are drawn.
            generator: the generator of the random numbers.
        """
        order = self._shuffled(generator)
        drawn = torch.randint(len(support_sizes), (len(self),), generator=generator)
        sizes = self.sizes.clamp(max=most)
        supports = torch.as_tensor(support_sizes)[drawn].minimum(sizes - 1)
        return _cut(self, order, supports, sizes - supports)

    def _shuffled(self, generator: torch.Generator) -> Tensor:
        """The places of all ratings, task after task and within a task in random order."""
        owner = torch.repeat_interleave(torch.arange(len(self)), self.sizes)
        shuffled = torch.randperm(len(owner), generator=generator)
        return shuffled[torch.argsort(owner[shuffled], stable=True)]


def place_in_group(owners: Tensor) -> Tensor:
    """The place of each row within its group, from 0 on, shape: [n].

    Args:
        owners: the group of each row, in ascending order, shape: [n]
    """
    counts = owners.bincount()
    return torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[owners]


def side_by_side(where: Tensor, items: Tensor, n_tasks: int) -> tuple[Tensor, Tensor]:
    """Put the items of each task into a row: the slot of each item, shape: [n], and the rows.

    Args:
        where: the task of each item, shape: [n]
        items: shape: [n]
        n_tasks: number of tasks.
    """
    order = torch.argsort(where, stable=True)
    slots = torch.empty_like(where)
    slots[order] = place_in_group(where[order])
    padded = items.new_zeros(n_tasks, int(slots.max()) + 1)
    padded[where, slots] = items
    return slots, padded


def _cut(tasks: TaskSet, order: Tensor, supports: Tensor, queries: Tensor) -> TaskSet:
    """Keep the first ``supports + queries`` ratings of each task, in a given order."""
    owners = torch.repeat_interleave(torch.arange(len(tasks)), tasks.sizes)
    kept = order[place_in_group(owners) < (supports + queries)[owners]]
    starts = torch.cat([torch.zeros(1, dtype=torch.long), (supports + queries).cumsum(0)])
    return TaskSet(
        tasks.users, tasks.scenarios, starts, supports, tasks.items[kept], tasks.ratings[kept]
    )
