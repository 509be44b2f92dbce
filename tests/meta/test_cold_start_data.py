"""Tasks: what is in them, who may see what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.meta.tasks.dataset import TASK_FIELD
from recbole_ext.meta.tasks.loader import TaskLoader
from recbole_ext.meta.tasks.scenarios import SCENARIOS
from recbole_ext.meta.tasks.splitting import ColdStartSplit
from tests.worlds.cold_world import COLD_ITEM, COLD_USER, noisy, write_cold_world
from tests.worlds.helpers import Run
from tests.worlds.places import ML_1M


def pairs(users: torch.Tensor, items: torch.Tensor) -> set[tuple[int, int]]:
    return set(zip(users.tolist(), items.tolist(), strict=True))


def queries_and_supports(split: ColdStartSplit) -> tuple[set, set]:
    tasks = split.evaluation
    owner = torch.repeat_interleave(torch.arange(len(tasks)), tasks.sizes)
    place = torch.arange(len(owner)) - tasks.starts[owner]
    is_query = place >= tasks.support_sizes[owner]
    users = tasks.users[owner]
    return (
        pairs(users[is_query], tasks.items[is_query]),
        pairs(users[~is_query], tasks.items[~is_query]),
    )


@pytest.mark.parametrize("source", ["ml-100k", "world"])
@pytest.mark.parametrize("rules", [{}, {"resample_queries": False}, {"support_size": 4}])
def test_no_query_is_in_training_or_in_a_support_set(
    source: str, rules: dict[str, Any], cold_world: dict[str, Any]
) -> None:
    settings = {} if source == "ml-100k" else cold_world
    run = Run("MeLU", **{"dataset": "ml-100k", **settings, **rules})
    train, valid, test = (loader._dataset for loader in run.data)
    split = train.split
    queries, supports = queries_and_supports(split)
    assert queries.isdisjoint(supports)
    assert queries.isdisjoint(pairs(*split.training_ratings[:2]))
    known = pairs(train.inter_feat[train.uid_field], train.inter_feat[train.iid_field])
    assert queries.isdisjoint(known)
    assert supports <= known
    for tasks in (split.training, split.known):
        owner = torch.repeat_interleave(tasks.users, tasks.sizes)
        assert queries.isdisjoint(pairs(owner, tasks.items))
    loader = TaskLoader(train, split.training, 32, torch.Generator(), run.trainer.tasks)
    for batch in loader:  # what training really sees
        for part in (batch.support, batch.query):
            users = batch.users.unsqueeze(-1).expand_as(part.items)[part.mask > 0]
            assert queries.isdisjoint(pairs(users, part.items[part.mask > 0]))
    parts = [pairs(p.inter_feat[p.uid_field], p.inter_feat[p.iid_field]) for p in (valid, test)]
    assert parts[0] | parts[1] == queries
    assert parts[0].isdisjoint(parts[1])
    users = [set(p.inter_feat[p.uid_field].tolist()) for p in (valid, test)]
    assert users[0].isdisjoint(users[1])


def test_tasks_are_of_one_user_and_scenario_and_of_the_size_asked_for(
    cold_world: dict[str, Any],
) -> None:
    run = Run("MeLU", **cold_world, support_size=4)
    train = run.data[0]._dataset
    tasks, names = train.split.evaluation, train.field2id_token
    batch = tasks.batch(torch.arange(len(tasks)))
    assert (batch.query.mask.sum(-1) == 5).all()
    assert (batch.support.mask.sum(-1) <= 4).all()
    assert set(tasks.scenarios.tolist()) == {0, 1, 2, 3}
    for task, user in enumerate(batch.users.tolist()):
        cold_user = int(names["user_id"][user][1:]) >= COLD_USER
        for part in (batch.support, batch.query):
            for item in part.items[task][part.mask[task] > 0].tolist():
                cold_item = int(names["item_id"][item][1:]) >= COLD_ITEM
                wanted = f"{'C' if cold_user else 'W'}-{'C' if cold_item else 'W'}"
                assert SCENARIOS[tasks.scenarios[task]] == wanted


def test_only_warm_users_and_items_are_trained_on(cold_world: dict[str, Any]) -> None:
    train = Run("MeLU", **cold_world).data[0]._dataset
    users, items, _ = train.split.training_ratings
    for field, ids, cold in (("user_id", users, COLD_USER), ("item_id", items, COLD_ITEM)):
        tokens = train.field2id_token[field][ids.unique()]
        assert all(int(token[1:]) < cold for token in tokens)


def test_each_epoch_draws_queries_anew_and_ratings_keep_their_items(
    cold_world: dict[str, Any],
) -> None:
    run = Run("MeLU", **cold_world)
    train = run.data[0]._dataset
    tasks = train.split.training
    settings = run.trainer.tasks
    loader = TaskLoader(train, tasks, 16, torch.Generator().manual_seed(1), settings)
    given = {
        (user, item): rating
        for user, item, rating in zip(
            *(x.tolist() for x in train.split.training_ratings), strict=False
        )
    }
    seen: list[set] = []
    for _ in range(2):
        queries = set()
        batches = list(loader)
        assert sorted(torch.cat([b.users for b in batches]).tolist()) == sorted(
            tasks.users.tolist()
        )
        for batch in batches:
            for part in (batch.support, batch.query):
                rows = batch.users.unsqueeze(-1).expand_as(part.items)
                there = part.mask > 0
                for user, item, rating in zip(
                    rows[there].tolist(),
                    part.items[there].tolist(),
                    part.ratings[there].tolist(),
                    strict=False,
                ):
                    assert given[user, item] == rating
                assert (part.ratings[~there] == 0).all()
                assert (part.items[~there] == 0).all()
            there = batch.query.mask > 0
            rows = batch.users.unsqueeze(-1).expand_as(there)
            queries |= pairs(rows[there], batch.query.items[there])
        seen.append(queries)
    assert seen[0] != seen[1]


def test_a_split_depends_on_its_seed_alone(cold_world: dict[str, Any]) -> None:
    def test_pairs(**settings: Any) -> set:
        part = Run("MeLU", **cold_world, **settings).data[2]._dataset
        return pairs(part.inter_feat["user_id"], part.inter_feat["item_id"])

    assert test_pairs(seed=1, split_seed=7) == test_pairs(seed=2, split_seed=7)
    assert test_pairs(seed=1) != test_pairs(seed=2)


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        ({"cold_item_rule": "field", "cold_item_field": "release_year"}, 1996),
        ({"cold_item_rule": "first_appearance", "cold_item_ratio": 0.3}, None),
    ],
)
def test_rules_say_which_items_are_cold(rule: dict[str, Any], threshold: int | None) -> None:
    train = Run("MeLU", **rule, cold_item_threshold=threshold).data[0]._dataset
    tasks = train.split.evaluation
    owner = torch.repeat_interleave(torch.arange(len(tasks)), tasks.sizes)
    cold = tasks.items[(tasks.scenarios[owner] % 2) == 1].unique()
    warm = train.split.training_ratings[1].unique()
    assert set(cold.tolist()).isdisjoint(warm.tolist())
    if threshold is not None:
        years = train.field2id_token["release_year"][train.item_feat["release_year"]]
        newer = [year.isdigit() and int(year) > threshold for year in years]
        assert all(newer[i] for i in cold.tolist())
        assert not any(newer[i] for i in warm.tolist())


@pytest.mark.parametrize("support_size", ["all", 4])
def test_the_papers_protocol_tests_training_queries_and_says_so(
    support_size: Any, cold_world: dict[str, Any]
) -> None:
    paper = {"warm_evaluation": "training", "resample_queries": False, "train_on_all": False}
    paper["support_size"] = support_size
    run = Run("MeLU", **cold_world, **paper).fit()
    split = run.data[0]._dataset.split
    tasks = split.evaluation
    warm = (tasks.scenarios == 0).nonzero().squeeze(-1)
    assert not split.is_valid[warm].any()  # what selects the epoch trains nothing
    for one, other in zip(split.training.users.tolist(), tasks.users[warm].tolist(), strict=True):
        assert one == other
    mine, theirs = split.training.batch(torch.arange(len(split.training))), tasks.batch(warm)
    assert torch.equal(mine.query.items, theirs.query.items)
    assert torch.equal(mine.support.items, theirs.support.items)
    result = run.test()
    cold = tasks.batch((~split.is_valid & (tasks.scenarios != 0)).nonzero().squeeze(-1))
    errors = (run.model.predict_tasks(cold).clamp(1, 5) - cold.query.ratings).abs()
    wanted = (errors * cold.query.mask).sum() / cold.query.mask.sum()
    assert result["mae"] == pytest.approx(wanted.item(), abs=1e-4)
    assert "W-W (training tasks) mae" in result
    assert "W-W mae" not in result


def test_items_without_the_field_that_makes_items_cold_are_warm(tmp_path: Path) -> None:
    world = write_cold_world(tmp_path / "data", noisy)
    file = tmp_path / "data" / "cold" / "cold.item"
    header, *rows = file.read_text().splitlines()
    years = ["" if at % 3 == 0 else str(1990 + at) for at in range(len(rows))]
    lines = [f"{row}\t{year}" for row, year in zip(rows, years, strict=True)]
    file.write_text("\n".join([header + "\tyear:float", *lines]) + "\n")
    rule = {"scenario_field": None, "cold_item_rule": "field", "cold_item_field": "year"}
    train = Run("MeLU", **{**world, **rule, "cold_item_threshold": 2010}).data[0]._dataset
    tokens = train.field2id_token["item_id"]
    warm = {str(tokens[i]) for i in train.split.training_ratings[1].unique().tolist()}
    assert warm == {f"i{at}" for at in range(len(rows)) if at % 3 == 0 or 1990 + at <= 2010}


def test_fields_may_be_called_as_a_module_may_not(tmp_path: Path) -> None:
    world = write_cold_world(tmp_path / "data", noisy)
    file = tmp_path / "data" / "cold" / "cold.item"
    file.write_text(file.read_text().replace("genre:", "type:"))
    file = file.with_suffix(".user")
    file.write_text(file.read_text().replace("job:", "a.job:").replace("age:", "float:"))
    assert Run("MeLU", **world, preset="paper").fit().test()["mae"] > 0


@pytest.mark.skipif(not ML_1M.is_dir(), reason="ml-1m is not here")
@pytest.mark.slow
def test_ml_1m_has_the_published_number_of_tasks() -> None:
    run = Run("MeLU", "ml-1m", data_path=str(ML_1M.parent), scenario_field="state", floors=False)
    scenarios = run.data[0]._dataset.split.evaluation.scenarios
    assert scenarios.bincount().tolist() == [2653, 2863, 668, 723]
    assert TASK_FIELD in run.data[2]._dataset.inter_feat
