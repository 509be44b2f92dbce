"""Two small tables in float64, λ above 0, and each way to its gradient."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient.bpr import Triples, bpr_loss, bpr_row_gradients
from recbole_ext.lambda_opt.gradient.one_step import (
    Side,
    analytic_hypergradient,
    dense_hypergradient,
)
from recbole_ext.lambda_opt.gradient.penalty import expected_shares, l2_penalty
from recbole_ext.lambda_opt.gradient.unrolled import unrolled_hypergradient
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork
from tests.lambda_opt import reference

N_USERS, N_ITEMS, DIMENSIONS = 5, 6, 3
# Repeated ids (user 1, item 2), an item that is positive and negative (3), ids in one batch only.
TRAIN = [(1, 2, 3), (1, 2, 4), (2, 3, 1), (1, 5, 2)]
VALID = [(1, 3, 2), (3, 2, 1), (4, 5, 4), (1, 3, 5)]
MORE = [(3, 4, 5), (2, 1, 3), (4, 2, 5), (3, 4, 1)]

OPTIMIZERS = ["sgd", "adam-fresh", "adam-warm", "sparse_adam-fresh", "sparse_adam-warm"]


def triples(batch: list[tuple[int, int, int]]) -> Triples:
    return Triples(*torch.tensor(batch).T.contiguous())


def bpr(tables: dict[str, Tensor], batch: Triples) -> Tensor:
    users, items = tables.values()
    return bpr_loss(users[batch.users], items[batch.positives], items[batch.negatives])


class World:
    """Two embedding tables, λ above 0, and an optimiser with or without a past."""

    def __init__(self, granularity: str, optimizer: str, weight_decay: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(7)
        sparse = optimizer.startswith("sparse")
        sizes = {"user": N_USERS, "item": N_ITEMS}
        self.tables = nn.ModuleDict(
            {k: nn.Embedding(n, DIMENSIONS, sparse=sparse).double() for k, n in sizes.items()}
        )
        for table in self.tables.values():
            table.weight.data.normal_(generator=generator)
        self.network = LambdaNetwork(granularity, N_USERS, N_ITEMS, DIMENSIONS).double()
        for table in self.network.tables.values():
            table.data.uniform_(0.01, 0.5, generator=generator)
        self.optimizer = self._optimizer(optimizer, weight_decay)

    def _optimizer(self, name: str, weight_decay: float) -> torch.optim.Optimizer:
        parameters = list(self.tables.parameters())
        if name == "sgd":
            return torch.optim.SGD(parameters, lr=0.1, weight_decay=weight_decay)
        if name.startswith("sparse"):
            optimizer = torch.optim.SparseAdam(parameters, lr=0.01)
        else:
            optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=weight_decay)
        if name.endswith("warm"):  # row 4 of the users and row 4, 5 of the items stay at v = 0
            for batch in ([(1, 2, 3), (2, 1, 3)], [(3, 2, 1)], [(1, 1, 2), (1, 3, 1)]):
                optimizer.zero_grad()
                self.loss(batch, penalty=False).backward()
                optimizer.step()
        optimizer.zero_grad()
        return optimizer

    def loss(self, batch: list[tuple[int, int, int]], penalty: bool = True) -> Tensor:
        users, positives, negatives = triples(batch)
        rows = self.tables["user"](users), self.tables["item"](positives)
        negative = self.tables["item"](negatives)
        loss = bpr_loss(*rows, negative)
        if penalty:
            network, size = self.network, len(batch)
            loss = loss + l2_penalty(rows[0], network.user(users).detach(), size)
            loss = loss + l2_penalty(rows[1], network.item(positives).detach(), size)
            loss = loss + l2_penalty(negative, network.item(negatives).detach(), size)
        return loss

    def shares(self, kind: str) -> tuple[Tensor, Tensor] | None:
        if kind == "batch":
            return None
        if kind == "table":
            return torch.ones(N_USERS).double(), torch.ones(N_ITEMS).double()
        users, positives, _ = triples(TRAIN + MORE)
        owned = torch.unique(torch.stack([users, positives]), dim=1)
        return expected_shares(users, positives, N_USERS, torch.arange(N_ITEMS), owned)

    def _sides(self, kind: str) -> list[Side]:
        shares = self.shares(kind) or (None, None)
        return [
            Side(name, self.tables[name].weight, self.network, share)
            for name, share in zip(("user", "item"), shares, strict=True)
        ]

    def analytic(self, kind: str) -> tuple[float, dict[str, Tensor]]:
        self.network.zero_grad()
        sides = self._sides(kind)
        train = bpr_row_gradients(*(side.table for side in sides), triples(TRAIN))
        loss = analytic_hypergradient(*sides, self.optimizer, train, triples(VALID))
        return loss.item(), self._gradients()

    def dense(self, kind: str) -> tuple[float, dict[str, Tensor]]:
        self.network.zero_grad()
        tables = dict(self.tables.named_parameters())
        loss = dense_hypergradient(
            *self._sides(kind), self.optimizer, tables, (bpr, bpr), triples(TRAIN), triples(VALID)
        )
        return loss.item(), self._gradients()

    def unrolled(self, kind: str, train: list) -> tuple[float, dict[str, Tensor]]:
        self.network.zero_grad()
        shares, network = self.shares(kind), self.network

        def penalty(users: Tensor, items: Tensor, batch: Triples) -> Tensor:
            if shares is None:
                parts = [(users, network.user, batch.users)]
                parts += [(items, network.item, ids) for ids in batch[1:]]
                size = len(batch.users)
                return sum(
                    l2_penalty(rows[ids], strength(ids), size) for rows, strength, ids in parts
                )
            of_users = shares[0][:, None] * network.user(torch.arange(N_USERS))
            of_items = shares[1][:, None] * network.item(torch.arange(N_ITEMS))
            return (of_users * users**2).sum() + (of_items * items**2).sum()

        def fit_loss(tables: dict[str, Tensor], batch: Triples) -> Tensor:
            return bpr(tables, batch) + penalty(*tables.values(), batch)

        loss = unrolled_hypergradient(
            self.tables,
            self.optimizer,
            [triples(batch) for batch in train],
            triples(VALID),
            fit_loss,
            bpr,
            list(network.parameters()),
        )
        return loss.item(), self._gradients()

    def _gradients(self) -> dict[str, Tensor]:
        tables = self.network.tables
        return {
            name: torch.zeros_like(table) if table.grad is None else table.grad.to_dense().clone()
            for name, table in tables.items()
        }

    def finite_differences(self, kind: str, train: list) -> tuple[float, dict[str, Tensor]]:
        """Change each entry of each λ table in turn, and look at the loss."""
        shares = self.shares(kind)
        known = (
            None if shares is None else tuple([mpmath.mpf(x) for x in s.tolist()] for s in shares)
        )

        def loss_at(table: str, row: int, column: int, value: mpmath.mpf) -> mpmath.mpf:
            def strength(side: str):
                own = self.network._table_of[side]

                def at(r: int, k: int) -> mpmath.mpf:
                    if own not in self.network.tables:
                        return mpmath.mpf(0)
                    values = self.network.tables[own]
                    r, k = r % values.shape[0], k % values.shape[1]
                    hit = (own, r, k) == (table, row, column)
                    return value if hit else mpmath.mpf(values[r, k].item())

                return at

            return reference.lookahead_loss(
                reference.to_table(self.tables["user"].weight.tolist()),
                reference.to_table(self.tables["item"].weight.tolist()),
                (strength("user"), strength("item")),
                train,
                VALID,
                self._reference_optimizer(),
                known,
            )

        gradients = {}
        for name, table in self.network.tables.items():
            gradients[name] = torch.zeros_like(table)
            for row in range(table.shape[0]):
                for column in range(table.shape[1]):
                    at = mpmath.mpf(table[row, column].item())
                    slope = reference.derivative(
                        lambda value, n=name, r=row, c=column: loss_at(n, r, c, value), at
                    )
                    gradients[name][row, column] = float(slope)
        return float(loss_at("none", 0, 0, mpmath.mpf(0))), gradients

    def _reference_optimizer(self) -> reference.Optimizer:
        group = self.optimizer.param_groups[0]
        settings = reference.Optimizer(
            learning_rate=mpmath.mpf(group["lr"]),
            weight_decay=mpmath.mpf(group.get("weight_decay", 0)),
            betas=tuple(mpmath.mpf(beta) for beta in group.get("betas", (0, 0))),
            eps=mpmath.mpf(group.get("eps", 0)),
            sparse=isinstance(self.optimizer, torch.optim.SparseAdam),
        )
        if isinstance(self.optimizer, torch.optim.SGD):
            return settings
        settings.states = {}
        for name, table in self.tables.items():
            state = self.optimizer.state.get(table.weight, {})
            zeros = torch.zeros_like(table.weight)
            settings.states[name] = reference.Adam(
                reference.to_table(state.get("exp_avg", zeros).tolist()),
                reference.to_table(state.get("exp_avg_sq", zeros).tolist()),
                int(state.get("step", 0)),
            )
        return settings


def assert_same(one: tuple[float, dict[str, Tensor]], other: tuple[float, dict]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-12)
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-8, atol=1e-14)
