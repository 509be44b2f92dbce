"""Ranking tasks: who is given what, the loss against a loop over users, and lists that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_ext.meta.adapting.list_loss import drawn_list_loss, list_loss
from recbole_ext.meta.decisions.list_decision import ListDecision
from recbole_ext.meta.tasks.task_set import TaskBatch
from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.helpers import Run, same

RANKING = {"task": "ranking", "epochs": 4, "eval_step": 2, "cold_user_ratio": 0.3}


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    settings = write_cold_world(tmp_path / "data", noisy)
    del settings["scenario_field"], settings["task_ratings"]
    return {**settings, **RANKING, "support_sizes": [0, 1, 4]}


def expected_loss(model: Any, batch: TaskBatch, steps: int) -> Tensor:
    """The mean of the tasks' losses, task after task, by the formulas of the page."""
    decision = model.decision
    every = torch.arange(model.n_items)
    vectors = decision.own.rows.weight * decision.own.warm
    if decision.content is not None:
        vectors = vectors + decision.content(every) @ decision.of_content.weight.T
    losses = []
    for row, user in enumerate(batch.users):
        given = batch.support.items[row][batch.support.mask[row] > 0]
        wanted = batch.query.items[row][batch.query.mask[row] > 0]
        k = len(given)
        vector = torch.zeros(decision.size, dtype=torch.float64)
        if decision.user_content is not None:
            start = decision.of_user(decision.user_content(user.view(1)))[0]
            vector = start / (1 + k) ** torch.nn.functional.softplus(decision.fading)
        if decision.traces is not None and k:
            total = decision.traces(given).sum(0)
            vector = vector + total / k ** torch.sigmoid(decision.crowding)
        for _ in range(steps if k else 0):
            scores = decision.popularity + vectors @ vector
            chances = scores[1:].softmax(0)
            slope = chances @ vectors[1:] - vectors[given].mean(0)
            rate = decision.inner.settings.inner_learning_rate * decision.inner.log_rates.exp()[0]
            vector = vector - rate * slope
        scores = decision.popularity + vectors @ vector
        left = [item for item in range(1, model.n_items) if item not in set(given.tolist())]
        losses.append(-(scores[wanted] - scores[left].logsumexp(0)).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 0),
        ({"item_content": True, "content_start": True}, 0),
        ({"inner_solver": "gradient", "inner_steps": 3, "content_start": True}, 3),
        ({"inner_solver": "gradient", "rated_items": False, "inner_learning_rate": 0.5}, 1),
    ],
)
def test_loss_and_gradients_are_those_of_a_loop_over_users(
    settings: dict[str, Any], steps: int, world: dict[str, Any]
) -> None:
    run = Run("MeLU", **{**world, "item_dropout": 0.0, **settings}).fit()
    model = run.model.double().train()
    split = model.split.training.draw_supports([0, 1, 5], 100, torch.Generator().manual_seed(1))
    batch = split.batch(torch.arange(17))
    loss, expected = model.calculate_loss(batch), expected_loss(model, batch, steps)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    wanted = torch.autograd.grad(expected, parameters, allow_unused=True)
    for weight, one, other in zip(parameters, found, wanted, strict=True):
        one, other = (torch.zeros_like(weight) if x is None else x for x in (one, other))
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_a_task_has_the_same_list_alone_and_beside_others(
    model: str, world: dict[str, Any]
) -> None:
    trained = Run(model, **world).fit().model.double().eval()
    tasks = trained.split.evaluation
    batch = tasks.batch(torch.arange(len(tasks)))
    adapted = trained.adapt(batch.users, batch.support)
    together = trained.score_all(batch.users, batch.support, adapted)
    for task in (0, len(tasks) // 2, len(tasks) - 1):
        one = tasks.batch(torch.tensor([task]))
        alone = trained.score_all(one.users, one.support, trained.adapt(one.users, one.support))
        torch.testing.assert_close(alone[0], together[task], rtol=1e-9, atol=1e-12)
    some = trained.score(batch.users, batch.query.items, batch.support, adapted)
    torch.testing.assert_close(some, together.gather(1, batch.query.items), rtol=1e-9, atol=1e-12)


def test_a_drawn_softmax_of_all_items_is_the_full_one() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 12).double()
    given, wanted = torch.tensor([[1, 2], [5, 0], [0, 0]]), torch.tensor([[3, 4], [6, 0], [7, 8]])
    mask = (wanted > 0).double()
    full = list_loss(scores, given, wanted, mask)

    def drawn_loss(drawn: Tensor) -> Tensor:
        both = torch.cat([scores[:, drawn], scores.gather(1, wanted)], dim=1)
        return drawn_list_loss(both, drawn, wanted, given, mask, 12)

    torch.testing.assert_close(drawn_loss(torch.arange(1, 12)), full)
    averages = torch.stack([drawn_loss(1 + torch.randperm(11)[:6]) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(averages, full, rtol=0.05, atol=0.05)


def test_neighbours_are_those_of_ease(world: dict[str, Any]) -> None:
    model = Run("MeLU", **world, neighbour_strength=30.0, neighbour_weight=2.0).model
    users, items, _ = model.split.training_ratings
    rated = torch.zeros(model.n_users, model.n_items).double()
    rated[users, items] = 1
    expected = np.zeros((model.n_items, model.n_items))
    for item in range(1, model.n_items):  # a ridge regression of each item on all others
        others = [other for other in range(1, model.n_items) if other != item]
        features = rated[:, others].numpy()
        gram = features.T @ features + 30.0 * np.eye(len(others))
        expected[others, item] = np.linalg.solve(gram, features.T @ rated[:, item].numpy())
    np.testing.assert_allclose(model.neighbours.weights.numpy(), expected, atol=1e-6)
    batch = model.split.evaluation.batch(torch.arange(5))
    found = model.neighbours(batch.support)
    for row in range(5):
        given = batch.support.items[row][batch.support.mask[row] > 0].tolist()
        sums = 2.0 * len(given) ** 0.5 * expected[given].sum(0)
        np.testing.assert_allclose(found[row].numpy(), sums, atol=1e-5)
    left_out = Run("MeLU", **world, neighbour_items=3).model
    assert left_out.neighbours is None


def test_warm_users_are_trained_on_and_cold_ones_are_given_some(world: dict[str, Any]) -> None:
    split = Run("MeLU", **world).model.split
    tasks = split.evaluation
    cold, warm = set(tasks.users.tolist()), set(split.training.users.tolist())
    assert not cold & warm
    assert len(cold) == len(tasks)
    assert set(tasks.support_sizes.tolist()) == {0, 1, 4}
    assert len(split.query_rows) == int((tasks.sizes - tasks.support_sizes).sum())
    known = set(split.known_rows.tolist())
    assert not known & set(split.query_rows.tolist())
    assert len(known) == len(split.training_ratings[0]) + int(tasks.support_sizes.sum())
    drawn = split.training.draw_supports([2, 50], 20, torch.Generator().manual_seed(0))
    assert int(drawn.sizes.max()) <= 20
    assert ((drawn.support_sizes == 2) | (drawn.support_sizes == drawn.sizes - 1)).all()


def test_the_newest_users_are_cold(world: dict[str, Any]) -> None:
    file = Path(world["data_path"]) / "cold" / "cold.inter"
    head, *lines = file.read_text().splitlines()
    timed = [f"{line}\t{1000 - int(line.split()[0][1:])}" for line in lines]
    file.write_text("\n".join([f"{head}\ttimestamp:float", *timed]) + "\n")
    run = Run("MeLU", **world, cold_user_rule="first_appearance")
    tokens = run.data[0]._dataset.field2id_token["user_id"]
    cold = {int(tokens[user][1:]) for user in run.model.split.evaluation.users.tolist()}
    assert cold == set(range(24))  # the lowest numbers appear last


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
@pytest.mark.parametrize("settings", [{}, {"inner_solver": "gradient"}, {"softmax_items": 8}])
def test_lists_follow_what_is_given(model: str, settings: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "tastes" / "tastes"
    folder.mkdir(parents=True)
    rows = [f"u{u}\ti{i}\t3" for u in range(60) for i in range(30) if (u + i) % 2 == 0]
    (folder / "tastes.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\trating:float", *rows]) + "\n"
    )
    for side, number in (("user", 60), ("item", 30)):
        rows = [f"{side[0]}{n}\t{n % 3}" for n in range(number)]
        (folder / f"tastes.{side}").write_text(
            "\n".join([f"{side}_id:token\t{side}_kind:token", *rows]) + "\n"
        )
    given = {"dataset": "tastes", "data_path": str(tmp_path / "tastes"), "support_sizes": [2]}
    run = Run(model, **{**given, **RANKING, "epochs": 40, "eval_step": 10, **settings}).fit()
    assert isinstance(run.model.decision, ListDecision)
    assert run.test()["ndcg@10"] > 0.95


def test_cold_users_with_one_rating_are_no_tasks(world: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="task: ranking: no cold user has 500 ratings; raise cold_"
    ):
        Run("MeLU", **world, task_ratings=[500, 1000])


def test_a_run_resumes_exactly(world: dict[str, Any]) -> None:
    whole = Run("MAMO", **world).fit()
    first = Run("MAMO", **{**world, "epochs": 2}).fit()
    last = Path(first.trainer.saved_model_file).with_suffix("")
    rest = Run("MAMO", **world, resume_file=f"{last}-last.pth")
    rest.trainer.resume_checkpoint(f"{last}-last.pth")
    rest.fit()
    assert same(whole.state(), rest.state())
