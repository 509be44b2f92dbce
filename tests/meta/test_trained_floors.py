"""The baselines that are trained: boosted trees and RecBole's factorisation machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_ext.meta.judging import boosted_floor, fm_floor
from recbole_ext.meta.judging.boosted_floor import boosted_trees, dense_content
from recbole_ext.meta.judging.fm_floor import FactorizationMachine, factorization_machine
from tests.worlds.helpers import Run


def rows(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    content = [dense_content(dataset, side) for side in ("item", "user")]
    return boosted_floor._rows(dataset, content)


def test_the_trees_do_not_see_the_rating_that_they_predict(cold_world: dict[str, Any]) -> None:
    dataset = Run("MeLU", **cold_world).data[0]._dataset
    before, targets = rows(dataset)
    split = dataset.split
    users, items, ratings = split.training_ratings
    for place in range(0, len(ratings), 101):
        old = ratings[place].clone()
        task = (split.training.users == users[place]).nonzero().item()
        at = int(split.training.starts[task])
        at += int((split.training.items[at:] == items[place]).nonzero()[0])
        ratings[place] = split.training.ratings[at] = 100.0
        after, changed = rows(dataset)
        asked = changed == 100
        assert np.array_equal(changed[~asked], targets[~asked])
        np.testing.assert_array_equal(after[asked], before[asked])
        ratings[place] = split.training.ratings[at] = old


def test_a_part_of_the_items_looks_cold_to_the_trees(cold_world: dict[str, Any]) -> None:
    dataset = Run("MeLU", **cold_world).data[0]._dataset
    inputs, _ = rows(dataset)
    count = 3 + dense_content(dataset, "user").shape[1] + 1
    cold = inputs[:, count] == 0
    assert 0.1 < cold.mean() < 0.6
    floor, factors = inputs[cold, count + 1], inputs[cold, count + 3]
    np.testing.assert_allclose(factors, floor, atol=1e-6)  # a cold item has no factors


def test_trees_of_absolute_errors_find_what_ratings_follow(cold_world: dict[str, Any]) -> None:
    run = Run("MeLU", **cold_world)
    dataset = run.data[0]._dataset
    tasks = dataset.split.evaluation
    batch = tasks.batch((tasks.scenarios == 2).nonzero().squeeze(-1))
    there, truth = batch.query.mask > 0, batch.query.ratings
    predict = boosted_trees(dataset)[0]
    found = (predict(batch) - truth)[there].abs().mean()
    assert found < 0.8 * (3 - truth)[there].abs().mean()


def test_a_cold_user_is_its_content_to_the_factorisation_machine(
    cold_world: dict[str, Any],
) -> None:
    dataset = Run("MeLU", **cold_world).data[0]._dataset
    machine = FactorizationMachine(dataset)
    assert [list(side) for side in machine.columns] == [["user_id", "job"], ["item_id", "genre"]]
    tasks = dataset.split.evaluation
    batch = tasks.batch((tasks.scenarios == 2).nonzero().squeeze(-1))
    jobs = dataset.user_feat["job"][batch.users]
    alike = (jobs == jobs[0]).nonzero().squeeze(-1)[:2]
    items = batch.query.items[:1].expand(2, -1)
    asked = torch.stack([batch.users[place] for place in alike])
    pair = type(batch)(asked, batch.support, type(batch.query)(items, items.float(), items.float()))
    found = machine(pair)
    assert asked[0] != asked[1]
    torch.testing.assert_close(found[0], found[1])
    warm = type(batch)(torch.tensor([1, 2]), pair.support, pair.query)
    assert not torch.allclose(machine(warm)[0], machine(warm)[1], atol=1e-7)


def test_the_best_epoch_of_the_factorisation_machine_is_taken(
    cold_world: dict[str, Any], monkeypatch: Any
) -> None:
    dataset = Run("MeLU", **cold_world).data[0]._dataset
    batch = dataset.split.evaluation.batch(torch.arange(6))
    predicted = []

    def error(predict: Any) -> float:
        predicted.append(predict(batch))
        return [3.0, 1.0, 2.0, 2.0][len(predicted) - 1]

    best = factorization_machine(dataset, error)
    assert len(predicted) == 2 + fm_floor.PATIENCE
    assert torch.equal(best(batch), predicted[1])
    assert not torch.allclose(predicted[1], predicted[3])


def test_users_may_be_undescribed(cold_world: dict[str, Any]) -> None:
    (Path(cold_world["data_path"]) / "cold" / "cold.user").unlink()
    dataset = Run("MeLU", **cold_world).data[0]._dataset
    batch = dataset.split.evaluation.batch(torch.arange(6))
    for predict in (*boosted_trees(dataset), FactorizationMachine(dataset)):
        assert predict(batch).shape == batch.query.items.shape
