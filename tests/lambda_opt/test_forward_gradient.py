"""The gradient through the whole training: the same as ``higher`` unrolls backwards, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient.bpr import Triples
from recbole_ext.lambda_opt.gradient.derivatives import FactorisationGradients
from recbole_ext.lambda_opt.gradient.penalty import l2_penalty
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.gradient.unrolled import unrolled_hypergradient
from recbole_ext.lambda_opt.lambda_network import FEW, LambdaNetwork
from recbole_ext.lambda_opt.pairwise import PairwiseModel
from tests.worlds.hypergradient_world import bpr

N_USERS, N_ITEMS, DIMENSIONS, STEPS = 6, 7, 3, 12


class BPRTables(nn.Module):
    def __init__(self, tables: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, table in tables.items():
            self.add_module(name, table)


class World:
    """Small tables, λ above 0, and the batches of a short training."""

    def __init__(
        self, granularity: str, optimizer: str, weight_decay: float = 0.0, scaled: bool = False
    ) -> None:
        generator = torch.Generator().manual_seed(3)
        sizes = {"user": N_USERS, "item": N_ITEMS}
        self.tables = nn.ModuleDict(
            {side: nn.Embedding(n, DIMENSIONS).double() for side, n in sizes.items()}
        )
        for table in self.tables.values():
            table.weight.data.normal_(generator=generator)
        network = LambdaNetwork(granularity, N_USERS, N_ITEMS, DIMENSIONS, scaled=scaled)
        self.network = network.double()
        for side, n in sizes.items() if scaled else ():
            self.network.scale(side, torch.rand(n, generator=generator) + 0.5)
        for table in self.network.tables.values():
            table.data.uniform_(0.05, 0.5, generator=generator)
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
        rate = 0.1 if optimizer == "sgd" else 0.03
        parameters = list(self.tables.parameters())
        self.optimizer = kind(parameters, lr=rate, weight_decay=weight_decay)

        def draw(n: int) -> Triples:
            users = torch.randint(1, N_USERS - 1, (n,), generator=generator)  # one never trains
            items = torch.randint(1, N_ITEMS - 1, (2, n), generator=generator)
            return Triples(users, items[0], items[1])

        self.train = [draw(5) for _ in range(STEPS)]
        self.valid = Triples(*torch.tensor([[1, 2, 3], [5, 6, 2], [3, 1, 6]]).T.contiguous())

    def fit_loss(self, tables: dict[str, Tensor], batch: Triples) -> Tensor:
        users, items = tables.values()
        network, size = self.network, len(batch.users)
        penalty = l2_penalty(users[batch.users], network.user(batch.users), size)
        penalty = penalty + l2_penalty(items[batch.items], network.item(batch.items), size)
        return bpr(tables, batch) + penalty

    def backward(self) -> tuple[float, dict[str, Tensor]]:
        """By ``higher``: all steps unrolled, then differentiated in reverse."""
        self.network.zero_grad()
        loss = unrolled_hypergradient(
            self.tables,
            self.optimizer,
            self.train,
            self.valid,
            self.fit_loss,
            bpr,
            list(self.network.parameters()),
        )
        return loss.item(), self._gradients()

    def forward(self, stride: int = 1) -> tuple[float, dict[str, Tensor]]:
        """By tangents that go along with the real training."""
        carried = self.carried(stride)
        for batch in self.train:
            carried.begin(batch)
            carried.end()
            self.optimizer.zero_grad()
            self.fit_loss(dict(self.tables.named_parameters()), batch).backward()
            self.optimizer.step()
        return carried.add(self.valid).item(), self._gradients()

    def carried(self, stride: int = 1) -> ForwardGradient:
        tables = {f"{side}_embedding": table for side, table in self.tables.items()}
        model = PairwiseModel(BPRTables(tables))
        sides = {side: model.name_of(table.weight) for side, table in self.tables.items()}
        return ForwardGradient(
            FactorisationGradients(model), self.optimizer, sides, self.network, stride
        )

    def _gradients(self) -> dict[str, Tensor]:
        return {name: table.grad.clone() for name, table in self.network.tables.items()}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("granularity", FEW)
def test_forward_is_the_unrolled_training(
    granularity: str, optimizer: str, weight_decay: float, scaled: bool
) -> None:
    world = World(granularity, optimizer, weight_decay, scaled)
    backward = world.backward()
    forward = world.forward()
    assert forward[0] == pytest.approx(backward[0], rel=1e-12)
    assert all(gradient.abs() > 1e-6 for gradient in backward[1].values())
    torch.testing.assert_close(forward[1], backward[1], rtol=1e-8, atol=0)


def test_few_granularities_are_those_of_one_number_a_table() -> None:
    assert FEW == ("global", "double-global", "global-user")


def test_the_answer_is_the_hessian_times_the_direction() -> None:
    world = World("global", "sgd")
    tables = {side: table.weight for side, table in world.tables.items()}
    directions = [torch.randn_like(table) for table in tables.values()]
    batch = world.train[0]
    leaves = list(tables.values())
    gradients = torch.autograd.grad(bpr(tables, batch), leaves, create_graph=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    expected = torch.autograd.grad(slope, leaves)
    gradients = world.carried()._parts[0]
    _, answer = gradients.fit(batch)
    found = answer(dict(zip(gradients.parameters, directions, strict=True)))
    torch.testing.assert_close(tuple(found.values()), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_stride_stands_for_several_steps(optimizer: str) -> None:
    """Each batch four times over: with stride 4, a quarter of the tangent steps says the same.

    Nearly so for Adam, whose first steps turn each gradient into its sign.
    """
    exact, strided = World("double-global", optimizer), World("double-global", optimizer)
    for world in (exact, strided):
        world.optimizer.param_groups[0]["lr"] = 1e-3
    exact.train = [batch for batch in exact.train for _ in range(4)]
    _, expected = exact.forward()
    carried = strided.carried(stride=4)
    for step, batch in enumerate(exact.train):
        if (step + 1) % 4 == 0:
            carried.begin(batch)
            carried.end()
        strided.optimizer.zero_grad()
        strided.fit_loss(dict(strided.tables.named_parameters()), batch).backward()
        strided.optimizer.step()
    carried.add(strided.valid)
    rtol = {"sgd": 0.01, "adam": 0.1}[optimizer]
    torch.testing.assert_close(strided._gradients(), expected, rtol=rtol, atol=0)


def test_the_optimizer_and_the_tables_are_left_alone() -> None:
    world = World("double-global", "adam")
    world.forward()
    before = copy.deepcopy((world.optimizer.state_dict(), world.tables.state_dict()))
    carried = world.carried()
    carried.begin(world.train[0])
    carried.end()
    carried.add(world.valid)
    after = world.optimizer.state_dict(), world.tables.state_dict()
    torch.testing.assert_close(after, before, rtol=0, atol=0)
