"""What the parity tests stand on: the corrected Adam of ``higher``, and the rows' gradients."""

from __future__ import annotations

import higher
import pytest
import torch

from recbole_ext.lambda_opt.gradient import unrolled
from recbole_ext.lambda_opt.gradient.bpr import bpr_loss, bpr_row_gradients
from tests.worlds.hypergradient_world import TRAIN, World, triples


def test_higher_without_the_correction_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why Adam is registered anew: should this fail, ``higher`` was mended and ours can go."""
    world = World("dimension+user+item", "adam-fresh")
    _, right = world.unrolled("batch", [TRAIN])
    monkeypatch.setattr(unrolled, "DifferentiableAdam", higher.optim.DifferentiableAdam)
    _, wrong = world.unrolled("batch", [TRAIN])
    ratio = (wrong["user"][1] / right["user"][1]).abs().max()
    assert ratio > 5


def test_row_gradients_are_autograd() -> None:
    world = World("global", "sgd")
    found = bpr_row_gradients(
        world.tables["user"].weight, world.tables["item"].weight, triples(TRAIN)
    )
    leaves = [
        table.weight.detach()[ids].requires_grad_()
        for table, ids in zip(
            (world.tables["user"], world.tables["item"], world.tables["item"]),
            triples(TRAIN),
            strict=True,
        )
    ]
    expected = torch.autograd.grad(bpr_loss(*leaves), leaves)
    parts = found.users, *found.items.chunk(2)
    torch.testing.assert_close(parts, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.loss, bpr_loss(*leaves), rtol=1e-12, atol=0)
