"""The fast paths of a training step are the plain ones: losses, gradients, optimisers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, SparseAdam

from recbole_ext.lambda_opt import pairwise_objective as objectives
from recbole_ext.lambda_opt.gradient import derivatives as gradients
from recbole_ext.lambda_opt.gradient import lookahead as hypergradients
from recbole_ext.lambda_opt.gradient.bpr import Triples, bpr_loss, bpr_row_gradients
from recbole_ext.lambda_opt.gradient.penalised_bpr import penalised_bpr_loss
from recbole_ext.lambda_opt.gradient.penalty import l2_penalty
from recbole_ext.lambda_opt.gradient.row_adam import RowAdam
from recbole_ext.lambda_opt.lambda_network import GRANULARITIES, LambdaNetwork
from tests.worlds.helpers import Run

# Repeated users and items, and an item that is positive and negative.
BATCH = Triples(*torch.tensor([(1, 2, 3), (1, 2, 4), (2, 3, 1), (1, 5, 2)]).T.contiguous())


@pytest.fixture
def tables() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, generator=generator).double().requires_grad_() for n in (4, 6)]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_the_penalised_loss_is_autograds(
    tables: list[Tensor], granularity: str, sparse: bool
) -> None:
    network = LambdaNetwork(granularity, 4, 6, 3, scaled=True).double()
    for table in network.tables.values():
        table.data.uniform_(0.1, 0.5, generator=torch.Generator().manual_seed(1))
    network.scale("user", torch.arange(4.0).double())
    strengths = network.fixed("user", BATCH.users), network.fixed("item", BATCH.items)
    users, items = tables
    plain = bpr_loss(users[BATCH.users], items[BATCH.positives], items[BATCH.negatives])
    for rows, strength in zip((users[BATCH.users], items[BATCH.items]), strengths, strict=True):
        if strength is not None:
            plain = plain + l2_penalty(rows, strength, len(BATCH.users))
    expected = torch.autograd.grad(plain, tables)
    loss = penalised_bpr_loss(*tables, bpr_row_gradients(*tables, BATCH), strengths, sparse)
    found = torch.autograd.grad(3 * loss, tables)  # as a gradient scaler would
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    for gradient, wanted in zip(found, expected, strict=True):
        assert gradient.is_sparse == sparse
        torch.testing.assert_close(gradient.to_dense(), 3 * wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("ids", [torch.tensor([1, 3]), slice(None)], ids=["some", "all"])
def test_a_gradient_given_to_lambda_is_autograds(
    granularity: str, sparse: bool, ids: Tensor | slice
) -> None:
    network = LambdaNetwork(granularity, 4, 4, 3, initial=0.1, sparse=sparse, scaled=True).double()
    network.scale("user", torch.arange(1.0, 5.0).double())
    given = {side: torch.randn(4, 3).double()[ids] for side in ("user", "item")}
    for side, gradient in given.items():
        strength = getattr(network, side)(ids)
        if strength.requires_grad:
            strength.backward(gradient.sum_to_size(strength.shape))
    expected = [table.grad.to_dense() for table in network.parameters()]
    network.zero_grad()
    for side, gradient in given.items():
        network.add_gradient(side, ids, gradient)
    assert all(table.grad.is_sparse == sparse for table in network.parameters())
    found = [table.grad.to_dense() for table in network.parameters()]
    torch.testing.assert_close(found, expected)


def test_row_adam_is_sparse_adam() -> None:
    start = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    ends = []
    for kind in (SparseAdam, RowAdam):
        table = nn.Embedding.from_pretrained(start.clone(), freeze=False, sparse=True)
        optimizer = kind(table.parameters(), lr=0.1)
        for ids in ([1, 2, 2], [0, 3], [2, 2, 5]):
            optimizer.zero_grad()
            (table(torch.tensor(ids)) ** 3).sum().backward()
            optimizer.step()
        ends.append((table.weight.detach(), optimizer.state_dict()))
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-12, atol=1e-15)


ONE_STEP = {"preset": "one-step", "lambda_learner": "adam"}  # which steps rows that are not read


def doubled(run: Run) -> Run:
    for module in (run.model, run.trainer.lambda_network, run.trainer.forward_gradient):
        if module is not None:
            module.double()
    return run


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.01, "lambda_source": "holdout"},
        {**ONE_STEP, "lambda_granularity": "user+item", "frequency_exponent": -0.5},
        {**ONE_STEP, "lambda_granularity": "global", "learner": "sgd"},
        {**ONE_STEP, "lambda_granularity": "dimension+user+item"},
    ],
)
def test_the_closed_form_trains_as_autograd_does(
    world: dict[str, Any], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"lambda_learning_rate": 0.01, "lambda_update_interval": 2, "epochs": 3}
    fast = doubled(Run(**{**world, **settings, **rates})).fit()
    assert fast.trainer.objective.is_factorisation
    for module in (objectives, hypergradients):
        monkeypatch.setattr(module, "is_factorisation", lambda model: False)
    monkeypatch.setattr(gradients, "is_factorisation", lambda model: False)
    plain = doubled(Run(**{**world, **settings, **rates})).fit()
    assert not plain.trainer.objective.is_factorisation
    assert max(table.max() for table in fast.strengths().values()) > 0
    torch.testing.assert_close(fast.state(), plain.state(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(fast.strengths(), plain.strengths(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("learner", ["adam", "sparse_adam"])
def test_which_optimisers_train(world: dict[str, Any], learner: str) -> None:
    settings = {"preset": "one-step", "learner": learner, "lambda_learner": learner}
    trainer = Run(**world, **settings).trainer
    for optimizer in (trainer.optimizer, trainer.lambda_optimizer):
        assert type(optimizer) is (Adam if learner == "adam" else RowAdam)
        assert optimizer.param_groups[0].get("fused", True)
