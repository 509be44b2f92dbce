"""Batches of users with all their items, for the softmax loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from recbole.data.dataset import Dataset
from torch import Tensor

from recbole_ext.lambda_opt.gradient.candidates import CandidateSampler
from recbole_ext.lambda_opt.gradient.user_batch import UserBatch


class UserItems:
    """The items of each user in a part of the ratings, user after user.

    Args:
        dataset: the part.

    Attributes:
        counts: interactions of each user, shape: [n_users]
        items: the distinct items of each user, shape: [pairs]
        times: how many interactions each of them has with the user, shape: [pairs]
    """

    def __init__(self, dataset: Dataset) -> None:
        users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
        pairs, times = (users * dataset.item_num + items).unique(return_counts=True)
        self.items, self.times = pairs % dataset.item_num, times.float()
        self.counts = torch.bincount(users, minlength=dataset.user_num)
        self._sizes = torch.bincount(pairs // dataset.item_num, minlength=dataset.user_num)
        self._begin = self._sizes.cumsum(0) - self._sizes

    @property
    def users(self) -> Tensor:
        """The users with at least one item, ascending, shape: [users]."""
        return self.counts.nonzero().squeeze(1)

    def of(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The distinct items of some users.

        Returns:
            Positions in ``users``, items, and how many interactions each has, three of shape:
            [pairs]
        """
        sizes = self._sizes[users]
        rows = torch.repeat_interleave(torch.arange(len(users)), sizes)
        places = torch.arange(len(rows)) + (self._begin[users] - sizes.cumsum(0) + sizes)[rows]
        return rows, self.items[places], self.times[places]

    def batch(
        self, users: Tensor, barred: UserItems | None = None, mean: bool = False
    ) -> UserBatch:
        """Some users with all their items.

        Args:
            users: internal user ids, shape: [batch]
            barred: items that are no candidates for their users.
            mean: whether the loss is a mean over the interactions instead of over the users.
        """
        pairs, counts = self.of(users), self.counts[users].unsqueeze(1).float()
        bars = None if barred is None else barred.of(users)[:2]
        divisor = float(counts.sum()) if mean else len(users)
        return UserBatch(users, *pairs, counts, bars, divisor)


def with_candidates(
    batch: UserBatch, sampler: CandidateSampler | None, generator: torch.Generator | None = None
) -> UserBatch:
    """A batch with candidates in place of all items; without a sampler the batch as it is."""
    if sampler is None:
        return batch
    drawn = sampler.draw(generator)
    candidates, items = sampler.candidates(batch.items, batch.times, drawn, len(batch.users))
    rows, columns = batch.rows, candidates.columns(items)
    if batch.barred is not None:
        places = torch.searchsorted(candidates.items, batch.barred[1])
        places.clamp_(max=len(candidates.items) - 1)
        found = candidates.items[places] == batch.barred[1]
        rows = torch.cat([rows, batch.barred[0][found]])
        columns = torch.cat([columns, candidates.columns(places[found])])
    met = columns >= 0
    return batch._replace(items=items, barred=(rows[met], columns[met]), candidates=candidates)


def candidate_sampler(dataset: Dataset, n_drawn: int | None) -> CandidateSampler | None:
    """The sampler of a training part's items; ``None`` for all items."""
    if n_drawn is None:
        return None
    items = dataset.inter_feat[dataset.iid_field]
    return CandidateSampler(torch.bincount(items, minlength=dataset.item_num), n_drawn)


class UserLoader:
    """Batches of all users with ratings, in an order drawn anew each epoch.

    Args:
        dataset: the training part.
        batch_size: users in a batch.
        generator: see the attribute.
        n_drawn: items drawn for a batch; ``None``: all items.

    Attributes:
        dataset: the training part, which RecBole's loop asks a loader for.
        generator: the generator of the order and of the items; checkpoints hold its state.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        generator: torch.Generator,
        n_drawn: int | None = None,
    ) -> None:
        self.dataset = self._dataset = dataset
        self.generator = generator
        self.interactions = UserItems(dataset)
        self._batch_size = batch_size
        self._candidates = candidate_sampler(dataset, n_drawn)

    def __len__(self) -> int:
        return -(-len(self.interactions.users) // self._batch_size)

    def __iter__(self) -> Iterator[UserBatch]:
        users = self.interactions.users
        order = torch.randperm(len(users), generator=self.generator)
        for some in users[order].split(self._batch_size):
            batch = self.interactions.batch(some)
            yield with_candidates(batch, self._candidates, self.generator)


class UserSampler:
    """Draws users, and their items that λ learns from, with torch's global generator.

    Args:
        dataset: the ratings that λ learns from.
        trained: the ratings that the model trains on, whose items are no candidates.
        device: the device of the batches.
        n_drawn: items drawn for a batch; ``None``: all items.
    """

    def __init__(
        self, dataset: Dataset, trained: Dataset, device: torch.device, n_drawn: int | None = None
    ) -> None:
        self.held_out, self.trained, self.device = UserItems(dataset), UserItems(trained), device
        self._candidates = candidate_sampler(trained, n_drawn)

    def draw(self, batch_size: int) -> UserBatch:
        """Draw at most ``batch_size`` distinct users."""
        users = self.held_out.users
        chosen = torch.randint(len(users), (batch_size,)).unique()
        batch = self.held_out.batch(users[chosen], self.trained, mean=True)
        return with_candidates(batch, self._candidates).to(self.device)
