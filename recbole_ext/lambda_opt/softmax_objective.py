"""The softmax over all items as the training loss, on batches of users with all their items."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader
from torch import Tensor

from recbole_ext.arithmetic.known_gradient import loss_with_gradients
from recbole_ext.lambda_opt.gradient.optimizer_step import rows_of
from recbole_ext.lambda_opt.gradient.owners import owners_of
from recbole_ext.lambda_opt.gradient.softmax import SoftmaxRead, softmax_gradients
from recbole_ext.lambda_opt.gradient.softmax_derivatives import SoftmaxGradients, joined
from recbole_ext.lambda_opt.gradient.user_batch import (
    Factors,
    UserBatch,
    held_of_batch,
    own_part,
    rows_of_batch,
)
from recbole_ext.lambda_opt.lambda_network import PowerLaw
from recbole_ext.lambda_opt.lambda_source import LambdaSource
from recbole_ext.lambda_opt.lambdaoptmf import LambdaOptMF
from recbole_ext.lambda_opt.user_batches import UserLoader, UserSampler
from recbole_ext.processes.shares import share_of, sum_shares


class SoftmaxObjective:
    """See :class:`~recbole_ext.lambda_opt.objective.Objective`.

    The penalty of a batch is ``Σ_{u∈batch} λ_u |θ_u|² / |batch| + Σ_i λ_i |θ_i|² / n_users``. With
    drawn items the second sum is over those of the batch's users, and has the same mean.

    Args:
        model: a LambdaOptMF with ``loss: softmax``.
        batch_size: users in a batch.
        hit: whether λ minimises the loss of a hit instead of the likelihood.
        device: the device of the model.
    """

    def __init__(
        self, model: LambdaOptMF, batch_size: int, hit: bool, device: torch.device
    ) -> None:
        assert model.item_bias is not None
        self.parameters = Factors(
            model.user_embedding.weight, model.item_embedding.weight, model.item_bias
        )
        self.owners = owners_of(model)
        self.batch_size, self.hit, self.device = batch_size, hit, device
        self._n_drawn = model.softmax_items
        self._n_users = model.n_users - 1  # without RecBole's padding user

    def loader(self, train_data: TrainDataLoader) -> UserLoader:
        """Batches of users."""
        given = self.batch_size, train_data.generator, self._n_drawn
        return UserLoader(train_data._dataset, *given)

    def sampler(self, source: LambdaSource) -> UserSampler:
        """Users with the items that λ learns from."""
        trained = source.train_data._dataset
        return UserSampler(source.dataset, trained, self.device, self._n_drawn)

    def batch(self, interaction: UserBatch) -> UserBatch:
        """The loader's batches as they are."""
        return interaction

    def size(self, batch: UserBatch) -> int:
        """The number of users."""
        return len(batch.users)

    def read(self, batch: UserBatch) -> SoftmaxRead:
        """The loss of the batch and its gradients; all else is of this process's share of it."""
        factors, local = rows_of_batch(
            Factors(*(parameter.detach() for parameter in self.parameters)), batch, self.owners
        )
        share = share_of(len(batch.users))
        read = softmax_gradients(factors, local.part(share))
        (loss,) = sum_shares([read.loss], share)
        return read._replace(loss=loss, gradients=joined(read.gradients, share))

    @torch.no_grad()
    def loss(
        self, interaction: Any, batch: UserBatch, read: SoftmaxRead, network: PowerLaw
    ) -> Tensor:
        """The loss and the penalty, with gradients in closed form."""
        held = self.owners.user.held(batch.users).rows
        users, items = rows_of(self.parameters.users, held), self.parameters.items
        of_users = network.fixed("user", held) / len(batch.users)
        if batch.candidates is None:
            of_items = network.whole("item") / self._n_users
        else:
            places, held = self.owners.item.held(batch.candidates.items)
            items = items.index_select(0, held)
            of_items = network.fixed("item", held) * batch.candidates.penalty[places]
        pulls = of_users * users, of_items * items
        penalty = (pulls[0] * users).sum() + (pulls[1] * items).sum()
        own = own_part(read.gradients, batch, self.owners)
        found = Factors(
            torch.add(own.users, pulls[0], alpha=2),
            torch.add(own.items, pulls[1], alpha=2),
            own.bias,
        )
        loss = read.loss + self.owners.user.sum(penalty)
        return loss_with_gradients(loss, self.parameters, self._in_tables(batch, found))

    def _in_tables(self, batch: UserBatch, found: Factors) -> Factors:
        """The gradients as their parameters take them: with candidates, sparse and by rows."""
        if batch.candidates is None:
            users = torch.zeros_like(self.parameters.users)
            return found._replace(users=users.index_add_(0, batch.users, found.users))
        user_ids, item_ids = (held.rows for held in held_of_batch(batch, self.owners))
        ids = user_ids, item_ids, item_ids
        return Factors(
            *(
                torch.sparse_coo_tensor(of.unsqueeze(0), rows, table.shape, check_invariants=False)
                for table, of, rows in zip(self.parameters, ids, found, strict=True)
            )
        )

    def gradients(self) -> SoftmaxGradients:
        """See the interface."""
        return SoftmaxGradients(self.parameters, self._n_users, self.hit, self.owners)

    def sides(self) -> dict[str, str]:
        """See the interface."""
        return {"user": "users", "item": "items"}
