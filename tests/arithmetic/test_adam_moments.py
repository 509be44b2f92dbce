"""Adam's moments are those of ``torch.optim.Adam``, for one step count and for one a row."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from recbole_ext.arithmetic.adam_moments import AdamState, safe_sqrt

BETAS, EPS, RATE = (0.9, 0.999), 1e-8, 0.1


def stepped(rows: torch.Tensor, state: AdamState) -> torch.Tensor:
    mean, root = state.corrected(BETAS)
    return rows - RATE * mean / (root + EPS)


def test_the_steps_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 2, generator=generator, dtype=torch.double)
    leaf = rows.clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=RATE, betas=BETAS, eps=EPS)
    state = AdamState(torch.zeros_like(rows), torch.zeros_like(rows), 0)
    for _ in range(5):
        gradient = torch.randn(3, 2, generator=generator, dtype=torch.double)
        leaf.grad = gradient.clone()
        optimizer.step()
        state = state.advance(gradient, BETAS)
        rows = stepped(rows, state)
        torch.testing.assert_close(rows, leaf.detach(), rtol=1e-12, atol=0)
    assert state.step == 5


def test_a_row_may_have_a_step_count_of_its_own() -> None:
    first, second = torch.rand(2, 3, dtype=torch.double), torch.rand(2, 3, dtype=torch.double)
    steps = torch.tensor([[2.0], [7.0]], dtype=torch.double)
    both = AdamState(first, second, steps).corrected(BETAS)
    for row, step in enumerate((2, 7)):
        alone = AdamState(first[row], second[row], step).corrected(BETAS)
        torch.testing.assert_close([part[row] for part in both], list(alone), rtol=1e-12, atol=0)


def test_it_differentiates_through_the_moments() -> None:
    state = AdamState(torch.rand(4).double(), torch.rand(4).double(), 3)

    def new_rows(gradient: torch.Tensor) -> torch.Tensor:
        return stepped(torch.zeros(4).double(), state.advance(gradient, BETAS))

    assert gradcheck(new_rows, torch.randn(4).double().requires_grad_())


@pytest.mark.parametrize(("value", "slope"), [(0.0, 0.0), (4.0, 0.25)])
def test_the_root_of_nothing_has_no_slope(value: float, slope: float) -> None:
    leaf = torch.tensor(value, requires_grad=True)
    safe_sqrt(leaf).backward()
    assert leaf.grad is not None
    assert leaf.grad.item() == slope
