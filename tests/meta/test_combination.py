"""The combination of a model with the biases: levels' probabilities against loops, and its fit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from recbole_ext.meta.adapting.ordinal import first_steps, fit_levels, thresholds
from recbole_ext.meta.decisions.bias_floor import BiasFloor
from recbole_ext.meta.decisions.combination import MOST_LEVELS, Combination
from recbole_ext.meta.tasks.task_set import Ratings, TaskBatch
from tests.worlds.cold_world import write_cold_world
from tests.worlds.helpers import Run, same

Array = NDArray[np.float64]


def loop_probabilities(inputs: Array, weights: Array, steps: Array) -> Array:
    """The probability of each level for one rating, from the definition."""
    limits = [steps[0]]
    for step in steps[1:]:
        limits.append(limits[-1] + np.exp(step))
    position = sum(weight * value for weight, value in zip(weights, inputs, strict=True))
    below = [0.0, *(1 / (1 + np.exp(position - limit)) for limit in limits), 1.0]
    return np.array([after - before for before, after in pairwise(below)])


def exact(run: Run) -> tuple[Any, TaskBatch]:
    """The trained model in float64, and all tasks of the evaluation."""
    model = run.model.double().eval()
    tasks = model.split.evaluation
    whole = tasks.batch(torch.arange(len(tasks)))
    support, query = (
        Ratings(r.items, r.ratings.double(), r.mask.double()) for r in (whole.support, whole.query)
    )
    return model, TaskBatch(whole.users, support, query)


@pytest.mark.parametrize("reading", ["median", "mean"])
def test_predictions_are_those_of_a_loop(cold_world: dict[str, Any], reading: str) -> None:
    model, batch = exact(Run("MeLU", **cold_world, combination=reading).fit())
    with torch.no_grad():
        found = model.predict_tasks(batch)
        own = model.score(
            batch.users, batch.query.items, batch.support, model.adapt(batch.users, batch.support)
        )
    users, items, ratings = (part.numpy() for part in model.split.training_ratings)
    levels = np.unique(ratings)
    mean, spread = ratings.astype(float).mean(), ratings.astype(float).std()
    bias, parameters = model.floor, model.combination.parameters_of.numpy()
    of_item = bias.mean.item() + bias.of_item.numpy()
    scenarios = set()
    for task, user in enumerate(batch.users.tolist()):
        mine = users == user
        known = (ratings[mine] - of_item[items[mine]]).sum() / (mine.sum() + 5)
        for place in np.flatnonzero(batch.query.mask[task]):
            item, model_says = int(batch.query.items[task, place]), own[task, place].item()
            scenario = 2 * (not mine.any()) + (item not in items)
            scenarios.add(scenario)
            inputs = np.array([model_says - mean, of_item[item] + known - model_says]) / spread
            there = parameters[scenario]
            probabilities = loop_probabilities(inputs, there[:2], there[2:])
            wanted = expected = float((probabilities * levels).sum())
            if reading == "median":
                median = levels[np.flatnonzero(probabilities.cumsum() >= 0.5)[0]]
                wanted = median + 0.01 * (expected - median)
            assert found[task, place].item() == pytest.approx(wanted, abs=1e-5)
    assert scenarios == {0, 1, 2, 3}


def test_the_fit_is_the_most_likely_one() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 2))
    levels = np.clip((inputs @ [1.0, 0.5] + random.logistic(size=60)).round() + 2, 0, 4).astype(int)
    near = torch.cat([torch.tensor([1.0, 0.0]), first_steps(torch.full((5,), 0.2))]).double()

    def loss(parameters: Array) -> float:
        seen = [
            loop_probabilities(x, parameters[:2], parameters[2:])[level]
            for x, level in zip(inputs, levels, strict=True)
        ]
        return float(3.0 * ((parameters - near.numpy()) ** 2).sum() - np.log(seen).sum())

    found = fit_levels(torch.tensor(inputs), torch.tensor(levels), near, 3.0)
    wanted = minimize(loss, near.numpy(), tol=1e-12)
    np.testing.assert_allclose(found.numpy(), wanted.x, atol=1e-4)
    assert loss(found.numpy()) < loss(near.numpy())


def test_steps_are_the_thresholds_of_the_levels_shares() -> None:
    shares = torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.double)
    found = thresholds(first_steps(shares)).sigmoid()
    torch.testing.assert_close(found, shares.cumsum(0)[:-1])


def test_nothing_is_fitted_to_test_tasks(cold_world: dict[str, Any]) -> None:
    model = Run("MeLU", **cold_world).fit().model
    before = model.combination.parameters_of.clone()
    tasks = model.split.evaluation
    tested = (~model.split.is_valid).repeat_interleave(tasks.sizes)
    tasks.ratings[tested] = 1.0
    model.prepare_validation()
    assert torch.equal(model.combination.parameters_of, before)
    tasks.ratings[~tested] = 1.0
    model.prepare_validation()
    assert not torch.allclose(model.combination.parameters_of, before)


def test_the_network_is_trained_as_without_it(cold_world: dict[str, Any]) -> None:
    with_it, without = (
        Run("MAMO", **cold_world, combination=reading).fit().state()
        for reading in ("median", "none")
    )
    assert "combination.parameters_of" in with_it
    assert same({name: with_it[name] for name in without}, without)


def test_an_interrupted_run_that_validates_ends_with_the_same_combination(
    cold_world: dict[str, Any], tmp_path: Path
) -> None:
    whole = Run("MeLU", **cold_world, epochs=4, checkpoint_dir=str(tmp_path / "a")).fit()
    Run("MeLU", **cold_world, epochs=2, checkpoint_dir=str(tmp_path / "b")).fit()
    (last,) = (tmp_path / "b").glob("*last*")
    again = Run("MeLU", **cold_world, epochs=4, resume_file=str(last)).fit()
    assert whole.model.combination.fitted
    assert same(again.state(), whole.state())


def test_without_validation_the_model_speaks_for_itself(cold_world: dict[str, Any]) -> None:
    model = Run("MeLU", **cold_world).fit(valid=False).model.eval()
    tasks = model.split.evaluation
    batch = tasks.batch(torch.arange(4))
    adapted = model.adapt(batch.users, batch.support)
    own = model.score(batch.users, batch.query.items, batch.support, adapted)
    assert torch.equal(model.predict_tasks(batch), own)


def test_lists_are_of_the_network_alone(cold_world: dict[str, Any]) -> None:
    listing = Run("MeLU", **cold_world, metrics=["Recall"], valid_metric="Recall@10").fit().model
    assert listing.combination is None
    assert listing.other_readings() == {}


def test_a_new_user_counts_as_cold(cold_world: dict[str, Any]) -> None:
    combination = Run("MeLU", **cold_world).fit().model.combination
    items = torch.tensor([[1, 2, 40]])
    own = torch.tensor([[2.0, 3.0, 4.0]])
    new, padding = torch.tensor([len(combination.of_user) + 3]), torch.tensor([0])
    assert (combination.scenarios(new, items) >= 2).all()
    assert torch.equal(combination.median(own, new, items), combination.median(own, padding, items))


def test_where_nobody_differs_the_constant_is_reached(tmp_path: Path) -> None:
    def alike(user: int, item: int, random: np.random.Generator) -> float:
        return float(random.choice([1, 2, 3, 4, 5], p=[0.13, 0.17, 0.25, 0.23, 0.22]))

    world = write_cold_world(tmp_path / "data", alike, users=160)
    run = Run("MeLU", **world, valid_user_ratio=0.3, epochs=10).fit()
    run.test()
    rows = run.trainer.run_state.scenarios
    error = {row["method"]: row["mae"] for row in rows if row["scenario"] == "all"}
    assert error["MeLU"] < error["biases"] - 0.01
    assert error["MeLU"] < error["constant 3"] + 0.01


def test_numbers_of_many_values_have_few_levels() -> None:
    random = torch.Generator().manual_seed(0)
    users, items = torch.randint(1, 9, (2, 500), generator=random)
    ratings = torch.randn(500, generator=random) * 30
    bias = BiasFloor(ratings.mean(), torch.zeros(9), 5.0)
    combination = Combination(bias, (users, items, ratings), 9)
    assert len(combination.levels) == MOST_LEVELS
    own = ratings[:200].unsqueeze(0)
    inputs = combination.inputs(own, users[:1], items[:200].unsqueeze(0))[0]
    combination.fit(inputs, torch.zeros(200, dtype=torch.long), ratings[:200])
    found = combination.median(own, users[:1], items[:200].unsqueeze(0))[0]
    assert (found - ratings[:200]).abs().mean() < 8
