from __future__ import annotations

import math

import pytest
import torch

from recbole_ext.arithmetic.adam_moments import AdamState
from recbole_ext.lambda_opt.gradient.bpr import Triples, bpr_loss
from recbole_ext.lambda_opt.gradient.optimizer_step import (
    adam_step,
    lookahead_rows,
    sgd_step,
)
from recbole_ext.lambda_opt.gradient.penalty import batch_shares, expected_shares, l2_penalty


def test_bpr_loss_by_hand() -> None:
    user, positive, negative = (torch.tensor([[x, 1.0]]).double() for x in (1.0, 2.0, -1.0))
    assert bpr_loss(user, positive, negative).item() == pytest.approx(math.log(1 + math.exp(-3)))


def test_penalty_by_hand() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert l2_penalty(rows, torch.tensor([[0.5], [1.0]]), 2).item() == (0.5 * 5 + 25) / 2


def test_the_penalty_is_the_batch_share_of_each_row() -> None:
    """(1/B) Σ over occurrences = Σ over rows of share · λ · θ²."""
    table, ids = torch.randn(5, 3).double(), torch.tensor([1, 4, 1, 2])
    strength = torch.rand(5, 1).double()
    shares = batch_shares(ids, 5, batch_size=4)[:, None]
    expected = (shares * strength * table**2).sum()
    torch.testing.assert_close(l2_penalty(table[ids], strength[ids], 4), expected)


@pytest.mark.parametrize("weights", [[0, 1, 1, 1, 1, 1], [0, 4, 1, 9, 2, 0.5]])
def test_expected_shares_by_enumeration(weights: list[float]) -> None:
    users, items = torch.tensor([1, 1, 2, 3, 3, 3]), torch.tensor([1, 2, 2, 1, 3, 4])
    n_users, n_items = 4, 6
    of_users, of_items = [0.0] * n_users, [0.0] * n_items
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        seen = {i for u, i in zip(users.tolist(), items.tolist(), strict=True) if u == user}
        candidates = [i for i in range(1, n_items) if i not in seen]
        of_users[user] += 1 / len(users)
        of_items[item] += 1 / len(users)
        total = sum(weights[i] for i in candidates)
        for negative in candidates:
            of_items[negative] += weights[negative] / total / len(users)
    owned = torch.unique(torch.stack([users, items]), dim=1)
    found = expected_shares(users, items, n_users, torch.tensor(weights), owned)
    expected = torch.tensor(of_users).double(), torch.tensor(of_items).double()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


def test_items_of_triples_are_positives_first() -> None:
    triples = Triples(*torch.tensor([[1, 2], [3, 4], [5, 6]]))
    assert triples.users.tolist() == [1, 2]
    assert triples.items.tolist() == [3, 4, 5, 6]


def test_sgd_step() -> None:
    step = sgd_step(torch.tensor([1.0]), torch.tensor([2.0]), 0.1)
    assert step.updated.item() == pytest.approx(0.8)
    assert step.slope.item() == pytest.approx(-0.1)


@pytest.mark.parametrize("past", [0, 1, 50])
def test_adam_step_is_torchs_and_its_slope_is_its_derivative(past: int) -> None:
    torch.manual_seed(0)
    rows = torch.randn(4, 3).double()
    gradient = torch.randn(4, 3).double().mul_(10.0 ** torch.arange(-9, 3).view(4, 3))
    parameter = rows.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=0.01)
    zeros = torch.zeros_like(rows)
    state = AdamState(zeros, zeros, 0)
    for _ in range(past):
        parameter.grad = torch.randn_like(rows)
        optimizer.step()
        state = state.advance(parameter.grad, (0.9, 0.999))
    start = parameter.detach().clone()
    step = adam_step(start, gradient, state, 0.01, (0.9, 0.999), 1e-8)
    parameter.grad = gradient.clone()
    optimizer.step()
    torch.testing.assert_close(step.updated, parameter.detach(), rtol=1e-13, atol=1e-15)

    leaf = gradient.clone().requires_grad_()
    first, root = state.advance(leaf, (0.9, 0.999)).corrected((0.9, 0.999))
    after = start - 0.01 * first / (root + 1e-8)
    slope = torch.autograd.grad(after.sum(), leaf)[0]
    # At the first step ∂f/∂g is a difference of nearly equal numbers: ε·|terms| is its rounding.
    torch.testing.assert_close(step.slope, slope, rtol=1e-9, atol=1e-9 * slope.abs().max().item())


def test_no_lookahead_for_other_optimizers() -> None:
    table = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.AdamW([table])
    ids = torch.tensor([0])
    with pytest.raises(TypeError, match="no look-ahead for AdamW"):
        lookahead_rows(optimizer, table, ids, torch.zeros(1, 2), torch.tensor([True]))
