"""BPR on triples as the training loss, for matrix factorisation and RecBole's pairwise models."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor

from recbole_ext.lambda_opt.gradient.bpr import RowGradients, Triples, shared_row_gradients
from recbole_ext.lambda_opt.gradient.derivatives import Gradients, gradients_of
from recbole_ext.lambda_opt.gradient.owners import owners_of
from recbole_ext.lambda_opt.gradient.penalised_bpr import penalised_bpr_loss
from recbole_ext.lambda_opt.gradient.penalty import l2_penalty
from recbole_ext.lambda_opt.lambda_network import Strengths
from recbole_ext.lambda_opt.lambda_source import LambdaSource
from recbole_ext.lambda_opt.pairwise import PairwiseModel, is_factorisation, total_loss
from recbole_ext.lambda_opt.triples import TripleSampler
from recbole_ext.processes.shares import shared_loss
from recbole_ext.seams.fast_loader import fast_loader, fast_sampler


class PairwiseObjective:
    """See :class:`~recbole_ext.lambda_opt.objective.Objective`.

    Args:
        model: a RecBole model that trains on triples.
        device: the device of the model.
    """

    def __init__(self, model: GeneralRecommender, device: torch.device) -> None:
        self.model, self.device = model, device
        self.tables = model.user_embedding, model.item_embedding
        self.owners = owners_of(model)
        self.is_factorisation = is_factorisation(model)

    def loader(self, train_data: TrainDataLoader) -> TrainDataLoader:
        """RecBole's batches of triples, made faster."""
        return fast_loader(train_data)

    def sampler(self, source: LambdaSource) -> TripleSampler:
        """Triples of the ratings that λ learns from."""
        return TripleSampler(source.dataset, fast_sampler(source.sampler), self.device)

    def batch(self, interaction: Interaction) -> Triples:
        """The triples of RecBole's interaction."""
        keys = self.model.USER_ID, self.model.ITEM_ID, self.model.NEG_ITEM_ID
        return Triples(*(interaction[key] for key in keys))

    def size(self, batch: Triples) -> int:
        """The number of triples."""
        return len(batch.users)

    def read(self, batch: Triples) -> RowGradients | None:
        """What both steps of a matrix factorisation read; ``None`` for other models."""
        if not self.is_factorisation:
            return None
        users, items = self.tables
        return shared_row_gradients(users.weight, items.weight, batch, self.owners)

    def loss(
        self, interaction: Interaction, batch: Triples, read: Any, network: Strengths
    ) -> Tensor:
        """The model's loss and the penalty.

        For RecBole's BPR it has the exact logarithm, without the 1e-10 that RecBole adds to σ.
        """
        users, items = self.owners.user.held(batch.users), self.owners.item.held(batch.items)
        strengths = network.fixed("user", users.rows), network.fixed("item", items.rows)
        if read is None:
            leaves = [leaf for leaf in self.model.parameters() if leaf.requires_grad]
            loss = shared_loss(leaves, lambda part: total_loss(self.model, part), interaction)
            assert isinstance(loss, Tensor)
            return loss + self._penalty(batch, strengths)
        of_users, of_items = (table.weight for table in self.tables)
        sparse = self.tables[0].sparse
        return penalised_bpr_loss(of_users, of_items, read, strengths, sparse, self.owners)

    def gradients(self) -> Gradients:
        """See the interface."""
        return gradients_of(PairwiseModel(self.model))

    def sides(self) -> dict[str, str]:
        """See the interface."""
        pairwise = PairwiseModel(self.model)
        names = [pairwise.name_of(table.weight) for table in self.tables]
        return dict(zip(("user", "item"), names, strict=True))

    def _penalty(self, batch: Triples, strengths: tuple[Tensor | None, Tensor | None]) -> Tensor:
        penalty = torch.zeros((), device=self.device)
        for table, rows, strength in zip(self.tables, batch.sides, strengths, strict=True):
            if strength is not None:
                penalty = penalty + l2_penalty(table(rows), strength, len(batch.users))
        return penalty
