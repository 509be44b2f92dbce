"""Random BPR triples out of a part of the ratings, with RecBole's own negative sampler."""

from __future__ import annotations

import torch
from recbole.data.dataset import Dataset
from recbole.sampler import Sampler

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

    def draw(self, batch_size: int) -> Triples:
        """Draw ``batch_size`` triples."""
        chosen = torch.randint(len(self.users), (batch_size,))
        users, items = self.users[chosen], self.items[chosen]
        negatives = self.sampler.sample_by_user_ids(users.numpy(), items.numpy(), 1)
        return Triples(users.to(self.device), items.to(self.device), negatives.to(self.device))
