"""Right first: the closed form, ``higher`` and 50-digit finite differences agree, in float64."""

from __future__ import annotations

import copy

import pytest
import torch

from recbole_ext.lambda_opt.lambda_network import GRANULARITIES
from tests.worlds.hypergradient_world import MORE, OPTIMIZERS, TRAIN, VALID, World, assert_same


@pytest.mark.parametrize("kind", ["batch", "table", "expected"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_closed_form_is_the_finite_difference(granularity: str, optimizer: str, kind: str) -> None:
    world = World(granularity, optimizer)
    found = world.analytic(kind)
    assert any(gradient.abs().sum() > 0 for gradient in found[1].values())
    assert_same(found, world.finite_differences(kind, [TRAIN]))


@pytest.mark.parametrize("kind", ["batch", "table", "expected"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam-fresh", "adam-warm"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_closed_form_is_higher(granularity: str, optimizer: str, kind: str) -> None:
    world = World(granularity, optimizer, weight_decay=0.02)
    higher_s = world.unrolled(kind, [TRAIN])
    assert_same(world.analytic(kind), higher_s)
    assert_same(world.dense(kind), higher_s)


@pytest.mark.parametrize("optimizer", ["sgd", "adam-fresh", "adam-warm"])
@pytest.mark.parametrize("kind", ["batch", "expected"])
def test_three_steps_are_the_hand_written_unroll(optimizer: str, kind: str) -> None:
    world = World("dimension+user+item", optimizer, weight_decay=0.02)
    train = [TRAIN, MORE, TRAIN[::-1]]
    assert_same(world.unrolled(kind, train), world.finite_differences(kind, train))


@pytest.mark.parametrize("optimizer", ["adam-fresh", "adam-warm"])
def test_a_zero_gradient_at_v_zero_is_covered(optimizer: str) -> None:
    """λ = 0 and a row outside the training batch: g = 0, and v = 0 where Adam never met the row."""
    world = World("dimension+user+item", optimizer)
    for table in world.network.tables.values():
        table.data.zero_()
    found = world.analytic("table")
    assert torch.isfinite(found[1]["user"]).all()
    # user 4 is in the validation batch only and was never stepped: f responds with −lr/eps
    assert found[1]["user"][4].abs().min() > 1e2
    assert_same(found, world.finite_differences("table", [TRAIN]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_lookahead_is_the_real_step_and_leaves_the_optimizer_alone(
    optimizer: str, weight_decay: float
) -> None:
    world = World("dimension+user+item", optimizer, weight_decay)
    before = copy.deepcopy(world.optimizer.state_dict())
    weights = copy.deepcopy(world.tables.state_dict())
    loss, _ = world.analytic("batch")
    if not optimizer.startswith("sparse"):
        world.unrolled("batch", [TRAIN])
    torch.testing.assert_close(world.optimizer.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(world.tables.state_dict(), weights, rtol=0, atol=0)
    assert all(table.weight.grad is None for table in world.tables.values())

    world.loss(TRAIN).backward()
    world.optimizer.step()
    assert loss == pytest.approx(world.loss(VALID, penalty=False).item(), rel=1e-12)
