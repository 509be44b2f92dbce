"""Random BPR triples out of a part of the ratings, with RecBole's own negative sampler."""

from __future__ import annotations

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.sampler import Sampler
from torch import Tensor

from recbole_ext.data.fast_loader import used_pairs
from recbole_ext.functional.bpr import Triples


class TripleSampler:
    """Draws ratings uniformly, with replacement, and a negative item for each.

    All chance comes from the global generators of torch and numpy, so that a run that restores them
    draws the same again.

    Args:
        dataset: the interactions to draw from.
        sampler: gives items that a user did not interact with.
        device: where the triples go.
    """

    def __init__(self, dataset: Dataset, sampler: Sampler, device: torch.device) -> None:
        self.users = dataset.inter_feat[dataset.uid_field]  # [n_interactions]
        self.items = dataset.inter_feat[dataset.iid_field]  # [n_interactions]
        self.sampler = sampler
        self.device = device

    def negative_weight(self) -> Tensor:
        """How likely each item is drawn as a negative, up to a factor, shape: [n_items]."""
        weight = torch.ones(self.sampler.item_num).double()
        if self.sampler.distribution == "popularity":
            items = torch.as_tensor(np.asarray(self.sampler._get_candidates_list()))
            counts = torch.bincount(items, minlength=self.sampler.item_num)
            weight = counts.double() ** self.sampler.alpha
        weight[0] = 0.0  # the padding item
        return weight

    def owned(self) -> Tensor:
        """Users and items that are never negatives of theirs, each pair once, shape: [2, pairs]."""
        return torch.from_numpy(np.stack(used_pairs(self.sampler)))

    def draw(self, batch_size: int) -> Triples:
        """Draw ``batch_size`` triples."""
        chosen = torch.randint(len(self.users), (batch_size,))
        users, items = self.users[chosen], self.items[chosen]
        negatives = self.sampler.sample_by_user_ids(users.numpy(), items.numpy(), 1)
        return Triples(users.to(self.device), items.to(self.device), negatives.to(self.device))
