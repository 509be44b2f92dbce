"""People that the data never saw: the same numbers as in evaluation, raw tokens in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn.functional import logsigmoid

from recbole_ext.meta.tasks.dataset import TASK_FIELD
from recbole_ext.tools import new_users as cold_start
from recbole_ext.tools.new_users.adapting_recommender import AdaptingRecommender
from recbole_ext.tools.new_users.folding_recommender import FoldingRecommender
from recbole_ext.tools.new_users.taste_space import place_by_choices, place_by_ratings, taste_space
from tests.worlds.helpers import Run


def adapting(model: str, settings: dict[str, Any]) -> tuple[Run, AdaptingRecommender]:
    run = Run(model, **settings).fit()
    return run, AdaptingRecommender(run.config, run.model, run.data[0]._dataset)


@pytest.mark.parametrize("preset", [None, "paper"])
@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_held_out_ratings_are_predicted_as_in_evaluation(
    model: str, preset: str | None, cold_world: dict[str, Any]
) -> None:
    settings = {**cold_world, **({"preset": preset} if preset else {})}
    run, recommender = adapting(model, settings)
    tasks, dataset = run.model.split.evaluation, recommender.dataset
    people = cold_start.read_atomic(f"{cold_world['data_path']}/cold/cold.user")
    people = people.set_index("user_id")
    users, ratings, pairs, expected = [], [], [], []
    for task in (tasks.scenarios >= 2).nonzero().squeeze(-1).tolist()[::3]:  # new users are cold
        batch = tasks.batch(torch.tensor([task]))
        name, known = f"new-{task}", dataset.id2token("user_id", int(batch.users))
        users.append({"user_id": name, **people.loc[known]})
        for side, rows in ((batch.support, ratings), (batch.query, pairs)):
            for item, rating in zip(side.items[0].tolist(), side.ratings[0].tolist(), strict=True):
                token = dataset.id2token("item_id", item)
                rows.append({"user_id": name, "item_id": token, "rating": rating})
        asked = {
            "item_id": batch.query.items[0],
            "user_id": batch.users.expand(batch.query.items.shape[1]),
        }
        asked[TASK_FIELD] = torch.full_like(asked["item_id"], task)
        with torch.no_grad():
            expected.append(run.model.eval().predict(Interaction(asked)))
    answer = recommender.predict(pd.DataFrame(pairs), pd.DataFrame(users), pd.DataFrame(ratings))
    found = torch.tensor(answer.table["score"].to_numpy())
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-5)
    assert answer.counts["unknown items"] == answer.counts["unknown items asked for"] == 0


@pytest.mark.parametrize("preset", [None, "paper"])
@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_without_a_rating_of_anybody_all_is_as_beside_somebodys(
    model: str, preset: str | None, cold_world: dict[str, Any]
) -> None:
    _, recommender = adapting(model, {**cold_world, **({"preset": preset} if preset else {})})
    users = pd.DataFrame({"user_id": ["a", "b"], "job": ["1", "2"], "age": ["0.5", "0.1"]})
    rated = pd.DataFrame({"user_id": ["c"], "item_id": ["i1"], "rating": [5]})
    alone, beside = (recommender.recommend(users, r, topk=4).table for r in (None, rated))
    pd.testing.assert_frame_equal(alone, beside[beside["user_id"] != "c"], rtol=1e-5)


def test_ratings_beyond_the_range_are_still_ranked(cold_world: dict[str, Any]) -> None:
    run, recommender = adapting("MeLU", cold_world)
    run.model.rating_range = (1.0, 1.5)  # all that is predicted lies above
    users = pd.DataFrame({"user_id": ["a"]})
    best = recommender.recommend(users, topk=50, by="rating").table
    assert best["score"].tolist() == [1.5] * len(best)
    run.model.rating_range = (-1e9, 1e9)
    free = recommender.recommend(users, topk=50, by="rating").table
    assert best["item_id"].tolist() == free["item_id"].tolist()
    assert free["score"].is_monotonic_decreasing
    assert free["score"].min() > 1.5
    pairs = pd.DataFrame({"user_id": ["a"], "item_id": ["i1"]})
    run.model.rating_range = (1.0, 1.5)
    assert recommender.predict(pairs).table["score"].tolist() == [1.5]


def test_what_is_not_known_is_counted(cold_world: dict[str, Any]) -> None:
    _, recommender = adapting("MAMO", cold_world)
    before = {name: value.clone() for name, value in recommender.model.named_buffers()}
    users = pd.DataFrame({"user_id": ["a", "b"], "job": ["1", "juggler"], "age": ["0.5", ""]})
    ratings = pd.DataFrame(
        {
            "user_id": ["a", "a", "a", "c"],
            "item_id": ["i1", "i1", "nothing", "i2"],
            "rating": [5, 1, 2, "3"],
        }
    )
    answer = recommender.recommend(users, ratings, topk=4)
    assert answer.counts == {
        "users": 3,
        "unknown values": 2 + 2,  # of b; of c, whom no row describes
        "items rated twice": 1,
        "unknown items": 1,
        "ratings": 2,
        "users without ratings": 1,
    }
    assert answer.table["user_id"].tolist() == [u for u in "abc" for _ in range(4)]
    assert answer.table["rank"].tolist() == [1, 2, 3, 4] * 3
    assert set(answer.table["genre"].iloc[0].split()) <= set("0123")
    for user, item in (("a", "i1"), ("c", "i2")):
        mine = answer.table[answer.table["user_id"] == user]
        assert item not in mine["item_id"].tolist()
        assert mine["score"].between(*recommender.model.rating_range).all()
    after = dict(recommender.model.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    asked = recommender.ask_next(users, ratings, topk=2).table
    assert asked["user_id"].tolist() == list("aabbcc")
    assert "i1" not in asked[asked["user_id"] == "a"]["item_id"].tolist()


@pytest.mark.parametrize(
    ("users", "ratings", "message"),
    [
        ({"name": ["a"]}, None, "users: no column user_id among name"),
        ({"user_id": ["a", "a"]}, None, "users: user_id 'a' is described twice"),
        (None, {"user_id": ["a"], "item_id": ["i1"]}, "ratings: no column rating"),
        (
            None,
            {"user_id": ["a"], "item_id": ["i1"], "rating": ["good"]},
            "ratings: row 1 has rating 'good', which is no number",
        ),
        (
            None,
            {"user_id": ["a"], "item_id": ["i1"], "rating": ["nan"]},
            "ratings: row 1 has rating 'nan', which is no number",
        ),
    ],
)
def test_tables_that_cannot_be_read_say_why(
    users: dict | None, ratings: dict | None, message: str, cold_world: dict[str, Any]
) -> None:
    run = Run("MeLU", **cold_world)
    recommender = AdaptingRecommender(run.config, run.model, run.data[0]._dataset)
    tables = (None if table is None else pd.DataFrame(table) for table in (users, ratings))
    with pytest.raises(ValueError, match=message):
        recommender.recommend(*tables)
    for table in ("users", "ratings"):
        wrong = {table: pd.DataFrame({"name": ["a"]})}
        with pytest.raises(ValueError, match=f"{table}: no column user_id among name"):
            recommender.predict(pd.DataFrame({"user_id": ["a"], "item_id": ["i1"]}), **wrong)
    with pytest.raises(ValueError, match="topk must be a whole number of at least 1, got 0"):
        recommender.recommend(pd.DataFrame({"user_id": ["a"]}), topk=0)


def test_the_space_of_a_factorisation_loses_nothing() -> None:
    torch.manual_seed(0)
    users, items = torch.randn(60, 4).double(), torch.randn(40, 4).double()
    scores = users @ items.T + torch.randn(40).double()
    space = taste_space(scores, rank=6)
    assert space.axes.shape == (40, 4)
    places = (scores - space.mean) @ space.axes
    torch.testing.assert_close(space.scores(places), scores, rtol=1e-8, atol=1e-8)

    some = torch.stack([torch.randperm(40)[:12] for _ in range(3)])
    given, mask = scores[:3].gather(1, some), torch.ones(3, 12).double()
    mask[2, 6:] = 0
    found = place_by_ratings(space, some, given, mask, noise=1e-9)
    torch.testing.assert_close(space.scores(found), scores[:3], rtol=1e-5, atol=1e-5)
    nothing = place_by_ratings(space, some, given, 0 * mask, noise=1.0)
    torch.testing.assert_close(nothing, torch.zeros_like(nothing))


def test_choices_are_placed_at_the_optimum() -> None:
    torch.manual_seed(0)
    space = taste_space(torch.randn(60, 4).double() @ torch.randn(4, 40).double(), rank=4)
    chosen, mask = torch.tensor([[3, 8, 20], [5, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    places = place_by_choices(space, chosen, mask, torch.arange(1, 40)).requires_grad_()
    for user, items in ((0, [3, 8, 20]), (1, [5])):
        rest = [item for item in range(1, 40) if item not in items]
        scores = space.scores(places)[user]
        margins = scores[items].unsqueeze(-1) - scores[rest]
        loss = -logsigmoid(margins).mean(-1).sum()
        loss = loss + (places[user].square() / space.variance).sum() / 2
        (gradient,) = torch.autograd.grad(loss, places, retain_graph=True)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)
    assert space.scores(places)[0, [3, 8, 20]].mean() > space.mean[[3, 8, 20]].mean()


@pytest.mark.parametrize("model", ["BPR", "LambdaOptMF", "ItemKNN", "ResNetMF"])
def test_new_users_get_what_those_of_their_taste_like(
    model: str, world: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**world, "epochs": 60}
    if model == "ResNetMF":
        rows = [(f"{u}\t{i}", 5 if u % 2 == i % 2 else 1) for u in range(20) for i in range(16)]
        folder = tmp_path / "data" / "rated"
        folder.mkdir(parents=True)
        lines = ["user_id:token\titem_id:token\trating:float", *(f"{p}\t{r}" for p, r in rows)]
        (folder / "rated.inter").write_text("\n".join(lines) + "\n")
        settings |= {"dataset": "rated", "net": "linear"}
    run = Run(model, **settings).fit()
    recommender = FoldingRecommender(run.config, run.model, run.data[0]._dataset)
    ratings = pd.DataFrame({"user_id": ["x", "x", "y"], "item_id": [0, 4, 3], "rating": 5})
    table = recommender.recommend(None, ratings, topk=4).table
    for user, parity in (("x", 0), ("y", 1)):
        items = table[table["user_id"] == user]["item_id"].astype(int)
        assert set(items % 2) == {parity}
    asked = recommender.ask_next(None, ratings, topk=3).table
    assert (asked["worth"] > 0).all()


def test_there_is_nothing_to_ask_where_all_lists_are_one(world: dict[str, Any]) -> None:
    run = Run("Pop", **world, epochs=1).fit()
    recommender = FoldingRecommender(run.config, run.model, run.data[0]._dataset)
    ratings = pd.DataFrame({"user_id": ["x"], "item_id": [0]})
    assert len(recommender.recommend(None, ratings, topk=3).table) == 3
    with pytest.raises(ValueError, match="Pop has the same list for everybody, so that there is"):
        recommender.ask_next(None, ratings)
