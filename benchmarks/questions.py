"""What asking is worth: lists after five answers to ``ask_next`` and to other questions.

    python benchmarks/questions.py ml-100k

A seventh of the users is new. Half of each one's items can be asked about; the other half judges
the lists, which leave the first half out, so that no kind of question gains by taking items off
the lists. A user who does not know an item is asked about the next one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from compare import spread
from new_users import NAME, TOPK, leave_out, load
from tabulate import tabulate

import recbole_ext
from recbole_ext.tools.new_users import Recommender
from recbole_ext.tools.new_users.strong_generalization import list_quality

ANSWERS = 5
ASKED_AT_ONCE = 400  # the questions among which the next one that a user can answer is looked for
MODELS: dict[str, dict[str, Any]] = {
    "MeLU, task: ranking": {"model": "MeLU", "task": "ranking"},
    "LambdaOptMF": {
        "model": "LambdaOptMF",
        "valid_metric": "NDCG@10",
        "eval_args": {"split": {"RS": [0.9, 0.09, 0.01]}},
    },
}
# Takes the recommender and the ratings that can be asked about; returns those that were answered
# and how many questions were asked in all.
Strategy = Callable[[Recommender, pd.DataFrame], tuple[pd.DataFrame, int]]


def ask_next(recommender: Recommender, open_ratings: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Each question follows the answers before it."""
    user, item = recommender.user, recommender.item
    everybody = pd.DataFrame({user: open_ratings[user].unique()})
    answered, asked = open_ratings.head(0), 0
    skipped: set[tuple[str, str]] = set()
    for _ in range(ANSWERS):
        table = recommender.ask_next(everybody, answered, topk=ASKED_AT_ONCE).table
        can = set(zip(open_ratings[user], open_ratings[item], strict=True))
        found = []
        for name, questions in table.groupby(user, sort=False):
            for token in questions[item]:
                if (name, token) in skipped:
                    continue
                asked += 1
                if (name, token) in can:
                    found.append({user: name, item: token})
                    break
                skipped.add((name, token))
        answered = pd.concat(
            [
                answered,
                open_ratings.merge(pd.DataFrame(found, columns=[user, item]), on=[user, item]),
            ]
        )
    return answered, asked


def popular(recommender: Recommender, open_ratings: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The most popular items first, the same for everybody."""
    tokens = recommender.dataset.field2id_token[recommender.item]
    order = recommender.map.popularity.argsort(descending=True).tolist()
    place = {tokens[at]: rank for rank, at in enumerate(order, start=1)}
    ranked = open_ratings.assign(place=open_ratings[recommender.item].map(place))
    first = ranked.sort_values("place").groupby(recommender.user).head(ANSWERS)
    asked = first.groupby(recommender.user)["place"].max().sum()
    return first.drop(columns="place"), int(asked)


def at_random(recommender: Recommender, open_ratings: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Items at random out of those that the user can answer, which nobody can do in earnest."""
    shuffled = open_ratings.sample(frac=1, random_state=0)
    return shuffled.groupby(recommender.user).head(ANSWERS), 0


def lists(recommender: Recommender, answered: pd.DataFrame, left_out: pd.DataFrame) -> pd.DataFrame:
    """The first items for each user without those that could be asked about."""
    user, item = recommender.user, recommender.item
    everybody = pd.DataFrame({user: left_out[user].unique()})
    longest = int(left_out.groupby(user).size().max())
    best = recommender.recommend(everybody, answered, TOPK + longest).table
    pairs = best[[user, item]].merge(left_out[[user, item]], how="left", indicator=True)
    best = best[(pairs["_merge"] == "left_only").to_numpy()]
    best = best.assign(rank=best.groupby(user).cumcount() + 1)
    return best[best["rank"] <= TOPK]


STRATEGIES: dict[str, Strategy] = {
    "ask_next": ask_next,
    "most popular": popular,
    "random (of what is known)": at_random,
}


def measure(dataset: str, seed: int, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The lists of each model after each kind of questions, for the new users of one seed."""
    rows = []
    for name, settings in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            wanted = {"test": 0.143, "valid": 0.0}
            parts = leave_out({"dataset": dataset, **given}, wanted, seed, Path(folder))
            quiet = {"show_progress": False, "state": "ERROR", "checkpoint_dir": folder}
            run = {**quiet, **settings, "data_path": folder, "seed": seed}
            result = recbole_ext.run_recbole(settings["model"], NAME, None, run)
            recommender = load(result["checkpoint"])
        user, item = recommender.user, recommender.item
        known = recommender.dataset.field2token_id[item]
        ratings = parts.ratings["test"]
        ratings = ratings[ratings[item].isin(set(known))].sample(frac=1, random_state=seed)
        half = ratings.groupby(user).cumcount() % 2 == 0
        open_ratings, truth = ratings[half], ratings[~half]
        for kind, strategy in STRATEGIES.items():
            answered, asked = strategy(recommender, open_ratings)
            best = lists(recommender, answered, open_ratings)
            quality = list_quality(best, truth, user, item, TOPK)
            each = asked / open_ratings[user].nunique()
            rows.append({"model": name, "seed": seed, "questions": kind, "asked": each, **quality})
    return rows


def main() -> None:
    """Print a row for each model and kind of questions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("dataset")
    parser.add_argument("--data_path", help="the folder that holds the dataset's folder")
    parser.add_argument("--output", help="a .jsonl for the figures of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022])
    options = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(1)
    given = {"data_path": options.data_path} if options.data_path else {}
    found = [measure(options.dataset, seed, given) for seed in options.seeds]
    rows = pd.DataFrame([row for of_seed in found for row in of_seed])
    if options.output:
        rows.to_json(options.output, orient="records", lines=True)
    names = [name for name in rows.columns if name not in ("model", "seed", "questions")]
    table = [
        [*key, *(spread(group[name].tolist()) for name in names)]
        for key, group in rows.groupby(["model", "questions"], sort=False)
    ]
    print(tabulate(table, ["model", "questions", *names], disable_numparse=True, tablefmt="github"))


if __name__ == "__main__":
    main()
