"""MAMO's memories against the paper's equations, one task at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_ext.meta.memory import FeatureMemory, TaskMemory
from recbole_ext.meta.memory.blending import blend

SLOTS, PROFILE, WEIGHTS, TASKS = 3, 5, 7, 4


@pytest.fixture
def memory() -> FeatureMemory:
    torch.manual_seed(0)
    found = FeatureMemory(SLOTS, PROFILE, WEIGHTS).double()
    found.gradients = torch.randn(SLOTS, WEIGHTS, dtype=torch.double)
    with torch.no_grad():
        found.attention.weight.normal_()
    return found


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double)


def test_attention_and_bias_are_the_papers_equations(memory: FeatureMemory) -> None:
    profiles = random(TASKS, PROFILE)
    attention = memory.attend(profiles)
    bias = memory.read(attention)
    for task in range(TASKS):
        cosines = torch.stack(
            [p @ profiles[task] / (p.norm() * profiles[task].norm()) for p in memory.profiles]
        )
        logits = memory.attention.weight @ cosines
        wanted = logits.exp() / logits.exp().sum()
        torch.testing.assert_close(attention[task], wanted, rtol=1e-12, atol=1e-12)
        total = sum(wanted[k] * memory.gradients[k] for k in range(SLOTS))
        torch.testing.assert_close(bias[task], total, rtol=1e-12, atol=1e-12)


def test_one_task_is_written_as_in_the_paper_by_either_rule(memory: FeatureMemory) -> None:
    profile, gradient = random(1, PROFILE), random(1, WEIGHTS)
    attention = memory.attend(profile).detach()
    before = memory.profiles.clone(), memory.gradients.clone()
    wanted = [
        rate * torch.outer(attention[0], value[0]) + (1 - rate) * old
        for rate, value, old in zip((0.5, 0.05), (profile, gradient), before, strict=True)
    ]
    for rule in ("mean", "sequential"):
        memory.profiles, memory.gradients = before
        memory.write(attention, profile, gradient, (0.5, 0.05), rule)
        torch.testing.assert_close(memory.profiles, wanted[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(memory.gradients, wanted[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (3, 2)])
def test_a_batch_is_the_mean_write_or_one_write_after_another(shape: tuple[int, ...]) -> None:
    memory, values = random(SLOTS, *shape), random(TASKS, *shape)
    attention = random(TASKS, SLOTS).softmax(-1)
    one_by_one, mean = memory, torch.zeros_like(memory)
    for a, value in zip(attention, values, strict=True):
        outer = torch.einsum("s,...->s...", a, value)
        one_by_one = 0.3 * outer + 0.7 * one_by_one
        mean = mean + outer / TASKS
    found = blend(memory, attention, values, 0.3, "sequential")
    torch.testing.assert_close(found, one_by_one, rtol=1e-12, atol=1e-12)
    found = blend(memory, attention, values, 0.3, "mean")
    torch.testing.assert_close(found, 0.3 * mean + 0.7 * memory, rtol=1e-12, atol=1e-12)


def test_preferences_are_read_and_written_by_slot() -> None:
    torch.manual_seed(0)
    memory = TaskMemory(SLOTS, (4, 4)).double()
    attention = random(TASKS, SLOTS).softmax(-1)
    read = memory.read(attention)
    for task in range(TASKS):
        wanted = sum(attention[task, k] * memory.preferences[k] for k in range(SLOTS))
        torch.testing.assert_close(read[task], wanted, rtol=1e-12, atol=1e-12)
    ended = random(TASKS, 4, 4)
    wanted = blend(memory.preferences, attention, ended, 0.1, "mean")
    memory.write(attention, ended, 0.1, "mean")
    assert torch.equal(memory.preferences, wanted)


def test_reading_before_a_write_can_still_be_differentiated(memory: FeatureMemory) -> None:
    profiles = random(TASKS, PROFILE).requires_grad_()
    attention = memory.attend(profiles)
    loss = memory.read(attention).square().sum()
    memory.write(attention.detach(), profiles.detach(), random(TASKS, WEIGHTS), (0.5, 0.5), "mean")
    loss.backward()
    assert memory.attention.weight.grad is not None
    assert profiles.grad is not None


def test_memories_are_state_and_not_parameters(memory: FeatureMemory) -> None:
    assert {name for name, _ in memory.named_parameters()} == {"attention.weight"}
    assert {"profiles", "gradients"} <= set(memory.state_dict())
    other = FeatureMemory(SLOTS, PROFILE, WEIGHTS).double()
    other.load_state_dict(memory.state_dict())
    profiles = random(TASKS, PROFILE)
    assert torch.equal(other.attend(profiles), memory.attend(profiles))
