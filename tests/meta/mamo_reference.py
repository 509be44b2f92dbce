"""MAMO's equations for one user at a time, read off the paper: slow and obvious."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, leaky_relu

from recbole_ext.meta.mamo import MAMO
from recbole_ext.meta.tasks.task_set import TaskBatch


@dataclass
class Memories:
    profiles: Tensor
    gradients: Tensor
    preferences: Tensor


@dataclass
class Written:
    attention: Tensor
    profile: Tensor
    gradient: Tensor
    preference: Tensor


def memories_of(model: MAMO) -> Memories:
    features, tasks = model.feature_memory, model.task_memory
    return Memories(features.profiles, features.gradients, tasks.preferences)


def forward(p_user: Tensor, p_items: Tensor, weights: list[Tensor], sizes: list[int]) -> Tensor:
    """Outputs of some items for one user; weights without a dimension of tasks."""
    a, b = sizes[0], sizes[0] + sizes[1]
    user, items = p_user, p_items
    for w, c in zip(weights[0:a:2], weights[1:a:2], strict=True):
        user = leaky_relu(user @ w + c.squeeze(0))
    for w, c in zip(weights[a:b:2], weights[a + 1 : b : 2], strict=True):
        items = leaky_relu(items @ w + c)
    pair = torch.stack([torch.cat([user, item]) for item in items])
    hidden = leaky_relu(pair @ weights[-1])
    rest = weights[b:-1]
    for at in range(0, len(rest), 2):
        hidden = hidden @ rest[at] + rest[at + 1]
        if at < len(rest) - 2:
            hidden = leaky_relu(hidden)
    return hidden


def error(outputs: Tensor, ratings: Tensor, levels: Tensor | None, squared: bool = True) -> Tensor:
    if levels is not None:
        classes = torch.tensor([levels.tolist().index(r) for r in ratings.tolist()])
        return cross_entropy(outputs, classes)
    off = outputs.squeeze(-1) - ratings
    return off.square().mean() if squared else off.abs().mean()


def one_user(
    model: MAMO, memories: Memories, user: int, support: tuple, query: tuple
) -> tuple[Tensor, Written]:
    """The query's loss after the paper's Algorithm 1, and what the task leaves to remember."""
    decision, memory, inner = model.decision, model.memory_settings, model.inner_settings
    sizes = [len(x) for x in (decision.of_user, decision.of_item, decision.of_rating)]
    phi = [*decision.of_user, *decision.of_item, *decision.of_rating]
    levels = getattr(decision.head, "levels", None)
    (items, ratings), (asked, answers) = support, query
    p_user = decision.user_content(torch.tensor([user]))[0]
    p_items = torch.stack([decision.items.content(torch.tensor([i]))[0] for i in items])

    cosines = [p @ p_user / (p.norm() * p_user.norm()) for p in memories.profiles]
    attention = (model.feature_memory.attention.weight @ torch.stack(cosines)).softmax(0)
    bias = sum(a * g for a, g in zip(attention, memories.gradients, strict=True))
    parts = bias.split([w.numel() for w in decision.of_user])
    start = [w - memory.bias_strength * b.view_as(w) for w, b in zip(phi, parts, strict=False)]
    start += phi[sizes[0] :]
    start.append(sum(a * m for a, m in zip(attention, memories.preferences, strict=True)))

    weights, steps, gradient_sum = start, 0, torch.zeros_like(bias)
    for _ in range(inner.inner_steps):
        for begin in range(0, len(items), inner.inner_batch_size):
            part = slice(begin, begin + inner.inner_batch_size)
            loss = error(forward(p_user, p_items[part], weights, sizes), ratings[part], levels)
            gradients = torch.autograd.grad(loss, weights, create_graph=not inner.first_order)
            weights = [
                w - inner.inner_learning_rate * g for w, g in zip(weights, gradients, strict=True)
            ]
            flat = torch.cat([g.flatten() for g in gradients[: sizes[0]]]).detach()
            gradient_sum, steps = gradient_sum + flat, steps + 1

    p_asked = torch.stack([decision.items.content(torch.tensor([i]))[0] for i in asked])
    outputs = forward(p_user, p_asked, weights, sizes)
    loss = error(outputs, answers, levels, model.settings.outer_loss == "squared")
    left = [attention, p_user, gradient_sum / steps, weights[-1]]
    return loss, Written(*(x.detach() for x in left))


def write(memories: Memories, written: list[Written], model: MAMO) -> Memories:
    """One user after another, or the mean of what each would write."""
    memory = model.memory_settings
    rates = (memory.profile_write_rate, memory.gradient_write_rate, memory.preference_write_rate)
    names = ("profiles", "gradients", "preferences")
    values = ("profile", "gradient", "preference")
    for name, value, rate in zip(names, values, rates, strict=True):
        before = getattr(memories, name)
        ones = [
            torch.stack([a * getattr(w, value) for a in w.attention]) for w in written
        ]  # a ⊗ value
        if memory.write_rule == "mean":
            after = rate * torch.stack(ones).mean(0) + (1 - rate) * before
        else:
            after = before
            for one in ones:
                after = rate * one + (1 - rate) * after
        memories = replace(memories, **{name: after})
    return memories


def users_of(batch: TaskBatch) -> list[tuple[int, tuple, tuple]]:
    """The tasks of a batch without padding."""
    rows = []
    for at, user in enumerate(batch.users.tolist()):
        sides = []
        for side in (batch.support, batch.query):
            known = side.mask[at] > 0
            sides.append((side.items[at][known].tolist(), side.ratings[at][known]))
        rows.append((user, sides[0], sides[1]))
    return rows
