"""The default meta-learners and the baselines against loops over users (``ridge_reference``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.meta.adapting.factorization import item_factors
from recbole_ext.meta.judging import evidence
from recbole_ext.meta.judging.by_scenario import batches
from recbole_ext.meta.judging.floors import (
    FACTOR_STRENGTHS,
    FACTORS,
    STRENGTHS,
    USER_SHRINKAGES,
    floors,
)
from recbole_ext.meta.tasks.task_set import Ratings, TaskBatch
from tests.meta.ridge_reference import Array, Reference, RidgeReference
from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.helpers import Run


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """Two cold items have a genre that no training rating carries, one besides a known one."""
    settings = write_cold_world(tmp_path / "data", noisy)
    file = tmp_path / "data" / "cold" / "cold.item"
    text = file.read_text().splitlines()
    text[-1], text[-2] = "i44\t9", "i43\t9 1"
    file.write_text("\n".join(text) + "\n")
    return settings


def tasks(batch: TaskBatch) -> list[tuple[int, Array, Array, tuple[Array, Array]]]:
    """User, queried items, their ratings and the support set of each task."""
    rows = []
    for row, user in enumerate(batch.users.tolist()):
        query, support = (
            (part.items[row][part.mask[row] > 0], part.ratings[row][part.mask[row] > 0])
            for part in (batch.query, batch.support)
        )
        numbers = [part.numpy() for part in (*query, *support)]
        rows.append((user, numbers[0], numbers[1], (numbers[2], numbers[3])))
    return rows


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_the_default_model_is_its_reference(world: dict[str, Any], model: str) -> None:
    given = {"user_shrinkage": 3.0, "learning_rate": 0.01, "combination": "none"}
    run = Run(model, **world, epochs=4, **given).fit()
    trained, dataset = run.model.double().eval(), run.data[0]._dataset
    if model == "MAMO":
        assert trained.feature_memory.gradients.abs().max() > 0
        trained.feature_memory.gradients *= 100  # which the strength of .01 hides
    reference = RidgeReference(trained, dataset, 3.0)
    np.testing.assert_allclose(trained.floor.of_item.numpy(), reference.of_item, atol=1e-6)
    trained.floor.of_item.copy_(torch.tensor(reference.of_item))  # it was fitted in float32
    trained.floor.mean.fill_(reference.mean)
    assert (~reference.warm[1:]).sum() == 15
    whole = dataset.split.evaluation.batch(torch.arange(len(dataset.split.evaluation)))
    exact = (
        Ratings(r.items, r.ratings.double(), r.mask.double()) for r in (whole.support, whole.query)
    )
    batch = TaskBatch(whole.users, *exact)
    with torch.no_grad():
        found = trained.predict_tasks(batch)
    for row, (user, items, _, known) in enumerate(tasks(batch)):
        there = found[row][batch.query.mask[row] > 0].numpy()
        wanted = reference.predict(user, items, known)
        np.testing.assert_allclose(there, wanted, rtol=1e-9)


def test_the_items_vectors_start_as_factors_of_what_biases_leave_over(
    world: dict[str, Any],
) -> None:
    model = Run("MeLU", **world, user_shrinkage=3.0).model
    dataset = Run("MeLU", **world).data[0]._dataset
    left = torch.tensor(Reference(dataset, 3.0).residuals(), dtype=torch.float)
    users, items, _ = dataset.split.training_ratings
    wanted = item_factors(users, items, left, dataset.item_num, 2, 10.0)
    found = model.decision.own.rows.weight[:, :2].detach()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_what_a_memory_adds_to_the_start_brings_users_alike_closer(world: dict[str, Any]) -> None:
    model = Run("MAMO", **world).model.train()
    split = model.split
    batch = split.training.batch(torch.arange(8))
    start = model.start(batch.users)
    adapted = model.adapt_from(start, batch.users, batch.support)
    back, vectors = model.decision.to_remember(start, adapted, batch.support)
    (closer,) = model.decision.start(batch.users, 0.5 * back, None)
    assert (vectors - start[0]).norm(dim=1).min() > 0
    torch.testing.assert_close(vectors - closer, 0.5 * (vectors - start[0]))


def test_regressions_among_the_baselines_are_their_references(world: dict[str, Any]) -> None:
    run = Run("MeLU", **world)
    dataset = run.data[0]._dataset
    split = dataset.split
    valid = [b for b, _ in batches(split.evaluation, split.is_valid.nonzero().squeeze(-1))]
    found = floors(dataset, valid)

    def error(predict: Any) -> float:
        """Mean over the validation tasks of their mean absolute error."""
        return float(np.mean([
            np.abs(predict(items, known) - ratings).mean()
            for batch in valid for _, items, ratings, known in tasks(batch)
        ]))  # fmt: skip

    shrunk = []
    for shrinkage in USER_SHRINKAGES:
        one = Reference(dataset, 5.0)
        one.user_shrinkage = shrinkage
        shrunk.append(one)
    best = min(shrunk, key=lambda one: error(one.floor))
    left = torch.tensor(best.residuals(), dtype=torch.float)
    users, items, _ = split.training_ratings
    folded = {
        "biases + content ridge": [(best.content, s) for s in STRENGTHS],
        "biases + factors folded in": [
            (item_factors(users, items, left, dataset.item_num, FACTORS, s).double().numpy(), s)
            for s in FACTOR_STRENGTHS
        ],
    }
    wanted: dict[str, Any] = {"biases": best.floor}
    for name, choices in folded.items():
        predictors = [
            lambda items, known, f=f, s=s: best.fold_in(items, known, f, s) for f, s in choices
        ]
        errors = [error(predict) for predict in predictors]
        assert max(errors) - min(errors) > 1e-4  # the choice matters
        wanted[name] = predictors[int(np.argmin(errors))]
    batch = split.evaluation.batch(torch.arange(len(split.evaluation)))
    for name, predict in wanted.items():
        predicted = found[name](batch)
        for row, (_, asked, _, known) in enumerate(tasks(batch)):
            there = predicted[row][batch.query.mask[row] > 0].numpy()
            np.testing.assert_allclose(there, predict(asked, known), atol=2e-3, err_msg=name)


def test_learnt_step_sizes_count_in_evaluation(world: dict[str, Any]) -> None:
    model = Run("MeLU", **world, inner_solver="gradient", inner_steps=2).model.eval()
    batch = model.split.evaluation.batch(torch.arange(6))
    before = model.predict_tasks(batch)
    with torch.no_grad():
        model.decision.inner.log_rates += 1.0
    after = model.predict_tasks(batch)
    assert not torch.allclose(before, after, atol=1e-4)
    torch.testing.assert_close(model.train().predict_tasks(batch), after)


def test_evidence_is_a_mean_over_an_items_ratings(world: dict[str, Any]) -> None:
    run = Run("MeLU", **world, epochs=1).fit()
    users, items, ratings = run.model.split.training_ratings
    norms = evidence.gradient_norms(run.model, users, items, ratings)
    means = torch.stack([
        norms[items == item].mean() if (items == item).any() else torch.tensor(0.0)
        for item in range(run.model.n_items)
    ])  # fmt: skip
    score, gradient, popularity = evidence.evidence_scores(run.model)
    torch.testing.assert_close(gradient, means / means.max())
    counts = items.bincount(minlength=run.model.n_items)
    torch.testing.assert_close(popularity, counts / counts.max())
    torch.testing.assert_close(score, gradient * popularity)
