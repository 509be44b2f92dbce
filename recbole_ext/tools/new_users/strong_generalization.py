"""How good a model's lists and ratings are for users that it never saw.

Reference:
    Marlin. "Collaborative filtering: a machine learning perspective." 2004, section 3.1 (strong
    generalisation). Liang et al. "Variational autoencoders." WWW 2018, section 4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_ext.settings.reading import integer, integers
from recbole_ext.tools.new_users.raw_tables import check_columns, described, token_of
from recbole_ext.tools.new_users.recommender import Recommender

GIVEN = (0, 1, 3, 5, 10, 20)


def judge(
    recommender: Recommender,
    users: pd.DataFrame | None,
    ratings: pd.DataFrame,
    given: tuple[int, ...] | list[int] = GIVEN,
    topk: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge a model by new users: some of their ratings are given, the others are the truth.

    All ratings count as relevant, whatever their values. Items that the model does not know are
    left out of both, and of several ratings of an item the last one counts. A user with no more
    ratings than are given takes no part in that row.

    Args:
        recommender: a trained model, from :func:`recbole_ext.tools.new_users.load`.
        users: the users' fields, a row for each user; ``None`` if the model needs none.
        ratings: all their ratings, a row for each.
        given: how many ratings are given, one number for each row of the result.
        topk: the length of the lists.
        seed: draws the order in which a user's ratings are given.

    Returns:
        A row for each number of given ratings, with the number of users, ``recall@topk``,
        ``ndcg@topk`` (means over users) and, for a model of ratings, ``mae`` (over ratings).

    Raises:
        ValueError: if a column is missing, a number is out of range, or no user has more ratings
            than are to be given.
    """
    topk = integer({"topk": topk}, "topk", minimum=1)
    sizes = integers({"given": list(given)}, "given", minimum=0)
    ratings = _known(recommender, ratings).sample(frac=1, random_state=seed)
    place = ratings.groupby(recommender.user, sort=False).cumcount()
    count = ratings.groupby(recommender.user)[recommender.item].transform("size")
    rows = []
    for size in sizes:
        judged = count > size
        if not judged.any():
            raise ValueError(
                f"given: no user has more than {size} ratings of known items; the most are "
                f"{int(count.max()) if len(count) else 0}"
            )
        told, truth = ratings[judged & (place < size)], ratings[judged & (place >= size)]
        people = described(truth[recommender.user], users)
        best = recommender.recommend(people, told, topk).table
        row: dict[str, Any] = {"given": size, "users": truth[recommender.user].nunique()}
        row |= list_quality(best, truth, recommender.user, recommender.item, topk)
        if recommender.rates:
            pairs = truth[[recommender.user, recommender.item]]
            found = recommender.predict(pairs, people, told).table["score"].to_numpy()
            stars = pd.to_numeric(truth[str(recommender.value)]).to_numpy()
            row["mae"] = float(np.abs(found - stars).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def list_quality(
    best: pd.DataFrame, truth: pd.DataFrame, user: str, item: str, topk: int
) -> dict[str, float]:
    """Recall and NDCG of lists as means over users, as RecBole defines them.

    Args:
        best: a row for each item of a list, with its ``rank``.
        truth: a row for each relevant item; the users in it are judged.
        user: the column of users.
        item: the column of items.
        topk: the length of the lists.
    """
    relevant = truth.groupby(user)[item].nunique()
    hits = best.merge(truth[[user, item]].drop_duplicates(), on=[user, item])
    hits["gain"] = _discounts(hits["rank"].to_numpy())
    found = hits.groupby(user)["gain"].agg(["size", "sum"]).reindex(relevant.index, fill_value=0)
    most = np.cumsum(_discounts(np.arange(1, topk + 1)))[relevant.clip(upper=topk).to_numpy() - 1]
    return {
        f"recall@{topk}": float((found["size"] / relevant).mean()),
        f"ndcg@{topk}": float((found["sum"].to_numpy() / most).mean()),
    }


def _discounts(ranks: NDArray[Any]) -> NDArray[np.float64]:
    return 1 / np.log2(ranks + 1.0)


def _known(recommender: Recommender, ratings: pd.DataFrame) -> pd.DataFrame:
    """The ratings of items that the model knows, with users and items as text."""
    user, item = recommender.user, recommender.item
    check_columns("ratings", ratings, [user, item, *filter(None, [recommender.value])])
    known = recommender.dataset.field2token_id[item]
    named = {user: ratings[user].astype(str), item: ratings[item].map(token_of)}
    ratings = ratings.assign(**named).drop_duplicates([user, item], keep="last")
    return ratings[ratings[item].isin(set(known))]
