"""Which items each user has used: arrays that are searched, in place of a Python set each.

RecBole keeps three sets for each user and two tensors for each user and loader, which take most of
the memory of a large data set. Here a set or a tensor is made when it is asked for, by the same
steps, so that even the order of its elements is RecBole's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import ModelType
from torch import Tensor

from recbole_ext.seams.grouped_rows import Groups


class OnDemand:
    """An array of objects that are made when they are asked for.

    Args:
        make: makes the object of an index.
        length: the length of the array.
    """

    def __init__(self, make: Callable[[int], Any], length: int) -> None:
        self._make = make
        self._all = np.arange(length)

    @property
    def shape(self) -> tuple[int]:
        """The array's shape: [length]."""
        return self._all.shape

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """The object of an index, or an array of those of several."""
        which = self._all[np.asarray(index) if isinstance(index, list) else index]
        if which.ndim == 0:
            return self._make(int(which))
        found = np.empty(which.shape, dtype=object)
        for at, one in np.ndenumerate(which):
            found[at] = self._make(int(one))
        return found


class ItemsOfUsers:
    """The items of each user, with repetitions and in the order of the rows.

    Args:
        users: the user of each row, shape: [rows].
        items: the item of each row, shape: [rows].
        n_users: the number of users.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_users: int) -> None:
        groups = Groups(users, n_users)
        self.starts = groups.starts
        self.items = items.astype(np.int32)[groups.rows]

    def of(self, user: int) -> list[int]:
        """The items of one user."""
        return self.items[self.starts[user] : self.starts[user + 1]].tolist()

    def pairs(self, n_items: int) -> np.ndarray:
        """Users and items in one number each, user * n_items + item, shape: [rows]."""
        users = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        return users * n_items + self.items


class UsedItems(OnDemand):
    """The items of each user up to a phase: what RecBole's ``Sampler.used_ids`` gives by index.

    Args:
        parts: the ratings of the phases up to this one.
        n_users: the number of users.
        n_items: the number of items.
    """

    def __init__(self, parts: list[ItemsOfUsers], n_users: int, n_items: int) -> None:
        super().__init__(self._used, n_users)
        self.parts = parts
        self.n_items = n_items

    def _used(self, user: int) -> set[int]:
        used: set[int] = set()
        for part in self.parts:
            used = set(used)
            used.update(part.of(user))
        return used

    @cached_property
    def pairs(self) -> np.ndarray:
        """The distinct pairs as user * n_items + item, sorted, shape: [pairs]."""
        return distinct(np.concatenate([part.pairs(self.n_items) for part in self.parts]))

    def contains(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Which pairs are used, shape: [pairs]; sorted ones are found faster, in the cache."""
        asked = users * self.n_items + items
        order = np.argsort(asked)
        found = np.searchsorted(self.pairs, asked[order])
        known = found < len(self.pairs)
        used = np.zeros(len(asked), dtype=bool)
        used[order[known]] = self.pairs[found[known]] == asked[order[known]]
        return used


def distinct(pairs: np.ndarray) -> np.ndarray:
    """The distinct values, sorted; numpy's ``unique`` hashes them, which takes longer."""
    pairs = np.sort(pairs)
    return pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]


def using_arrays(_: Callable) -> Callable:
    """Replace ``Sampler.get_used_ids``: the items of each user by phase, in arrays."""

    def get_used_ids(sampler: Sampler) -> dict[str, UsedItems]:
        parts: list[ItemsOfUsers] = []
        found = {}
        for phase, dataset in zip(sampler.phases, sampler.datasets, strict=True):
            users, items = (
                dataset.inter_feat[field].numpy()
                for field in (sampler.uid_field, sampler.iid_field)
            )
            parts = [*parts, ItemsOfUsers(users, items, sampler.user_num)]
            found[phase] = UsedItems(parts, sampler.user_num, sampler.item_num)
        ratings = sum(np.diff(part.starts) for part in parts)
        last = found[sampler.phases[-1]]
        for user in np.flatnonzero(ratings >= sampler.item_num - 1):
            if len(last[user]) == sampler.item_num - 1:  # all but the padding item
                raise ValueError(
                    "Some users have interacted with all items, so that there are no negatives "
                    "for them; set user_inter_num_interval to filter those users"
                )
        return found

    return get_used_ids


def candidates_by_arrays(_: Callable) -> Callable:
    """Replace ``Sampler._get_candidates_list``: the item of each rating, shape: [ratings]."""

    def get_candidates(sampler: Sampler) -> np.ndarray:
        return np.concatenate([part.inter_feat[sampler.iid_field] for part in sampler.datasets])

    return get_candidates


def sampling_by_arrays(sample: Callable) -> Callable:
    """Wrap ``AbstractSampler.sample_by_key_ids``: used items are searched in arrays."""

    def sample_by_key_ids(sampler: Any, key_ids: Any, num: int) -> Tensor:
        if not isinstance(sampler.used_ids, UsedItems):
            return sample(sampler, key_ids, num)
        users = np.tile(np.asarray(key_ids), num)
        if users.size and not 0 <= users.min() <= users.max() < len(sampler.used_ids):
            raise IndexError  # as RecBole does; sample_by_user_ids names the user
        items = np.zeros(len(users), dtype=np.int64)
        rejected = np.arange(len(users))
        while len(rejected) > 0:
            items[rejected] = sampler.sampling(len(rejected))
            used = sampler.used_ids.contains(users[rejected], items[rejected])
            rejected = rejected[used]
        return torch.from_numpy(items)

    return sample_by_key_ids


def ranking_by_arrays(make: Callable) -> Callable:
    """Wrap ``FullSortEvalDataLoader.__init__``: each user's items are made on demand."""

    def make_loader(
        loader: Any, config: Any, dataset: Any, sampler: Any, shuffle: bool = False
    ) -> None:
        used = getattr(sampler, "used_ids", None)
        if config["MODEL_TYPE"] == ModelType.SEQUENTIAL or not isinstance(used, UsedItems):
            make(loader, config, dataset, sampler, shuffle)
            return
        loader.logger, loader.is_sequential = getLogger(), False
        loader.uid_field, loader.iid_field = dataset.uid_field, dataset.iid_field
        dataset.sort(by=loader.uid_field, ascending=True)
        users, items = (dataset.inter_feat[f].numpy() for f in (loader.uid_field, loader.iid_field))
        lists = _Lists(ItemsOfUsers(users, items, dataset.user_num), used)
        loader.uid2items_num = lists.numbers
        loader.uid2positive_item = OnDemand(lists.positives, dataset.user_num)
        loader.uid2history_item = OnDemand(lists.history, dataset.user_num)
        loader.uid_list = torch.from_numpy(np.flatnonzero(loader.uid2items_num))
        loader.user_df = dataset.join(Interaction({loader.uid_field: loader.uid_list}))
        loader.sample_size = len(loader.user_df)
        if shuffle:
            loader.logger.warning("FullSortEvalDataLoader can't shuffle")
        super(FullSortEvalDataLoader, loader).__init__(config, dataset, sampler, shuffle=False)

    return make_loader


class _Lists:
    """The positives and the history of each user of a loader."""

    def __init__(self, rated: ItemsOfUsers, used: UsedItems) -> None:
        self.rated = rated
        self.used = used
        pairs = distinct(rated.pairs(used.n_items))
        self.numbers = np.bincount(pairs // used.n_items, minlength=len(used))  # [users]
        self._histories: dict[int, np.ndarray] = {}

    def positives(self, user: int) -> Tensor | None:
        """The positives of one user; None if there are none."""
        return torch.tensor(list(self._set(user))) if self.numbers[user] else None

    def history(self, user: int) -> Tensor | None:
        """The items that one user has used before; None if the user has no positives."""
        if not self.numbers[user]:
            return None
        if user not in self._histories:  # kept small, for the next evaluation
            before = self.used[user] - self._set(user)
            self._histories[user] = np.fromiter(before, dtype=np.int32, count=len(before))
        return torch.from_numpy(self._histories[user].astype(np.int64))

    def _set(self, user: int) -> set[int]:
        rated: set[int] = set()
        rated.update(self.rated.of(user))
        return rated


def without_a_list(rows: Any) -> Any:
    """Replace ``list`` where RecBole's loaders list the numbers of all their rows."""
    return rows if isinstance(rows, range) else list(rows)
