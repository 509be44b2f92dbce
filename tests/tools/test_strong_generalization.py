"""Judging by new users, against loops; the scores of somebody new, against the models' own."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn.functional import cross_entropy

from recbole_ext import run_recbole
from recbole_ext.__main__ import main
from recbole_ext.tools import new_users
from recbole_ext.tools.new_users.folding_recommender import FoldingRecommender
from recbole_ext.tools.new_users.strong_generalization import list_quality
from recbole_ext.tools.new_users.taste_space import place_by_softmax, taste_space
from tests.worlds.helpers import QUICK, Run


def folding(model: str, **settings: Any) -> tuple[Run, FoldingRecommender]:
    run = Run(model, **settings).fit()
    return run, FoldingRecommender(run.config, run.model, run.data[0]._dataset)


def test_lists_are_judged_as_by_a_loop() -> None:
    random.seed(0)
    lists = {user: random.sample(range(20), 5) for user in "abcd"}
    wanted = {"a": [1, 2, 3], "b": list(range(20)), "c": [99], "d": [lists["d"][2]]}
    best = pd.DataFrame(
        [
            {"u": user, "rank": rank, "i": str(item)}
            for user, items in lists.items()
            for rank, item in enumerate(items, start=1)
        ]
    )
    truth = pd.DataFrame([{"u": u, "i": str(i)} for u, items in wanted.items() for i in items])
    recall = ndcg = 0.0
    for user, items in lists.items():
        gains = [1 / math.log2(at + 2) for at, item in enumerate(items) if item in wanted[user]]
        most = sum(1 / math.log2(at + 2) for at in range(min(5, len(wanted[user]))))
        recall += len(gains) / len(wanted[user]) / 4
        ndcg += sum(gains) / most / 4
    found = list_quality(best, truth, "u", "i", 5)
    assert found == pytest.approx({"recall@5": recall, "ndcg@5": ndcg})


@pytest.mark.parametrize("model", ["EASE", "ItemKNN", "SLIMElastic", "ADMMSLIM"])
def test_a_model_of_items_scores_somebody_new_as_one_of_its_own(
    model: str, world: dict[str, Any]
) -> None:
    run, recommender = folding(model, **world)
    dataset = run.data[0]._dataset
    rows = dataset.inter_feat
    user = int(rows["user_id"][0])
    mine = rows["item_id"][rows["user_id"] == user]
    items = dataset.id2token("item_id", mine.numpy())
    ratings = pd.DataFrame({"user_id": "new", "item_id": items})
    every = dataset.field2id_token["item_id"][1:]
    pairs = pd.DataFrame({"user_id": "new", "item_id": every})
    found = recommender.predict(pairs, None, ratings).table["score"].to_numpy()
    asked = Interaction({"user_id": torch.tensor([user])})
    own = torch.as_tensor(run.model.full_sort_predict(asked)).flatten()[1:]
    torch.testing.assert_close(torch.tensor(found).float(), own.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["EASE", "Pop", "LambdaOptMF"])
def test_without_a_rating_the_list_is_of_what_is_popular(model: str, world: dict[str, Any]) -> None:
    _, recommender = folding(model, **world)
    people = pd.DataFrame({"user_id": ["x"]})
    if model == "LambdaOptMF":  # its own middle user
        assert len(recommender.recommend(people, topk=3).table) == 3
        return
    best = recommender.recommend(people, topk=3).table["item_id"]
    counts = recommender.map.popularity
    shares = [counts[recommender.dataset.token2id("item_id", str(item))] for item in best]
    assert shares == pytest.approx(counts.sort(descending=True).values[:3].tolist())


def test_choices_are_placed_at_the_optimum_of_the_softmax() -> None:
    torch.manual_seed(0)
    scores = 3 * torch.randn(60, 4).double() @ torch.randn(4, 40).double()
    space = taste_space(scores, rank=4)
    chosen, mask = torch.tensor([[3, 8, 20], [5, 0, 0]]), torch.tensor([[1.0, 1, 1], [1, 0, 0]])
    places = place_by_softmax(space, chosen, mask.double()).requires_grad_()
    found = space.scores(places)[:, 1:]
    for user, items in ((0, [3, 8, 20]), (1, [5])):
        wanted = torch.tensor(items) - 1
        loss = cross_entropy(found[user].expand(len(items), -1), wanted, reduction="sum")
        loss = loss + (places[user].square() / space.variance).sum() / 2
        (slope,) = torch.autograd.grad(loss, places, retain_graph=True)
        torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)
    nothing = place_by_softmax(space, chosen, 0 * mask.double())
    torch.testing.assert_close(nothing, torch.zeros_like(nothing))


def test_a_model_of_ratings_ranks_by_what_is_likely(cold_world: dict[str, Any]) -> None:
    run = Run("MeLU", **cold_world).fit()
    recommender = new_users.load(run.trainer.saved_model_file)
    people = pd.DataFrame({"user_id": ["a"]})
    likely = recommender.recommend(people, topk=100).table
    rated = recommender.recommend(people, topk=100, by="rating").table
    assert set(likely["item_id"]) == set(rated["item_id"])
    assert rated["score"].is_monotonic_decreasing
    liked = recommender.dataset.inter_feat["rating"].mean()
    ids = [recommender.dataset.token2id("item_id", item) for item in likely["item_id"]]
    normal = torch.distributions.Normal(0.0, 1.0)
    above = normal.cdf((torch.tensor(likely["score"].to_numpy()) - liked) / recommender.spread)
    chances = recommender.map.popularity[ids] * above
    known = chances > 1e-6  # without a rating an item is last
    assert (chances[known].diff() <= 1e-5).all()
    assert (likely["spread"] == recommender.spread).all()
    with pytest.raises(ValueError, match="by must be one of likely, rating; got 'chance'"):
        recommender.recommend(people, by="chance")


def test_a_list_shows_the_ratings_that_are_predicted(cold_world: dict[str, Any]) -> None:
    run = Run("MeLU", **cold_world).fit()
    recommender = new_users.load(run.trainer.saved_model_file)
    given = pd.DataFrame({"user_id": "a", "item_id": ["i1", "i2"], "rating": [5, 1]})
    best = recommender.recommend(None, given, topk=20, by="rating").table
    predicted = recommender.predict(best[["user_id", "item_id"]], None, given).table["score"]
    assert best["score"].tolist() == pytest.approx(predicted.tolist(), rel=1e-5)


def test_what_is_given_is_not_wanted_back(world: dict[str, Any]) -> None:
    _, recommender = folding("EASE", **world)
    ratings = pd.DataFrame({"user_id": "n", "item_id": [0, 0, 2, 2, 4, 6]})
    row = new_users.judge(recommender, None, ratings, given=[2], topk=16).iloc[0]
    assert row["recall@16"] == 1.0
    with pytest.raises(ValueError, match="ratings: no column user_id among item_id"):
        new_users.judge(recommender, None, ratings[["item_id"]])


def test_a_model_of_lists_predicts_no_ratings(world: dict[str, Any]) -> None:
    _, recommender = folding("LambdaOptMF", **world)
    with pytest.raises(ValueError, match="by: LambdaOptMF was trained for lists and predicts no"):
        recommender.recommend(pd.DataFrame({"user_id": ["a"]}), by="rating")


def test_the_command_judges_a_checkpoint(
    cold_world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run_recbole("MeLU", None, None, {**QUICK, **cold_world})["checkpoint"]
    rows = [f"n{user}\ti{item}\t{1 + (user + item) % 5}" for user in range(9) for item in range(12)]
    head = "user_id:token\titem_id:token\trating:float"
    Path("new.inter").write_text("\n".join([head, *rows]) + "\n")
    given = [checkpoint, "--ratings=new.inter"]
    capsys.readouterr()
    assert main(["judge", *given, "--given", "0", "5", "--output=j.tsv"]) == 0
    table = pd.read_csv("j.tsv", sep="\t")
    assert list(table) == ["given", "users", "recall@10", "ndcg@10", "mae"]
    assert table["given"].tolist() == [0, 5]
    assert table["users"].tolist() == [9, 9]
    assert table["mae"].between(0, 4).all()
    for wrong, message in (
        ([checkpoint], "give --ratings: all ratings of the new users"),
        ([*given, "--given", "12"], "given: no user has more than 12 ratings of known items; the"),
        ([*given, "--given", "-1"], "given must be a whole number of at least 0, got -1"),
    ):
        assert main(["judge", *wrong]) == 1
        assert message in capsys.readouterr().err
