"""Metrics by frequency group: groups of equal size, and the same metrics as RecBole's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import recbole_ext
from recbole_ext.runs.frequency_groups import (
    evaluate_by_frequency,
    frequency_groups,
    rating_counts,
)
from recbole_ext.runs.summary import summarize
from tests.worlds.helpers import QUICK, Run


def test_groups_are_of_equal_size_rarest_first() -> None:
    counts = torch.tensor([0, 9, 1, 5, 5, 2, 7, 3, 8])  # row 0 is padding
    assert frequency_groups(counts, 4).tolist() == [-1, 3, 0, 1, 2, 0, 2, 1, 3]
    assert frequency_groups(counts, 1).tolist() == [-1] + [0] * 8


@pytest.fixture(scope="module")
def run() -> Run:
    return Run("BPR", epochs=3, frequency_groups=4, topk=[5, 10]).fit()


def test_the_groups_means_are_recboles_means(run: Run) -> None:
    whole = run.test()
    groups = evaluate_by_frequency(
        run.trainer, run.data[2], run.trainer.run_state.training_counts, 4
    )
    sizes = [row["users"] for row in groups["user"]]
    for metric in ("recall@5", "recall@10", "ndcg@5", "ndcg@10"):
        mean = np.average([row[metric] for row in groups["user"]], weights=sizes)
        assert mean == pytest.approx(whole[metric], abs=1e-4)  # RecBole rounds
    ratings = [row["test ratings"] for row in groups["item"]]
    assert sum(ratings) == len(run.data[2]._dataset)
    hits = np.average([row["recall@10"] for row in groups["item"]], weights=ratings)
    in_lists = whole["precision@10"] * 10 * sum(sizes) / sum(ratings)
    assert hits == pytest.approx(in_lists, rel=1e-3)


def test_groups_by_a_loop_over_users(run: Run) -> None:
    """Each user's list sorted in plain Python."""
    run.test()
    counts = rating_counts(run.data[0]._dataset)
    groups = evaluate_by_frequency(run.trainer, run.data[2], counts, 3)
    of_user, of_item = (frequency_groups(c, 3).tolist() for c in counts)
    seen: dict[int, set[int]] = {}
    for part in run.data[:2]:
        feat = part._dataset.inter_feat
        for user, item in zip(feat["user_id"].tolist(), feat["item_id"].tolist(), strict=True):
            seen.setdefault(user, set()).add(item)
    feat = run.data[2]._dataset.inter_feat
    hits, totals, recalls = [0, 0, 0], [0, 0, 0], [[], [], []]
    scores = (run.model.user_embedding.weight @ run.model.item_embedding.weight.T).tolist()
    wanted: dict[int, list[int]] = {}
    for user, item in zip(feat["user_id"].tolist(), feat["item_id"].tolist(), strict=True):
        wanted.setdefault(user, []).append(item)
    for user, items in wanted.items():
        free = [i for i in range(1, len(scores[user])) if i not in seen[user]]
        top = sorted(free, key=lambda i, u=user: -scores[u][i])[:5]
        for item in items:
            totals[of_item[item]] += 1
            hits[of_item[item]] += item in top
        recalls[of_user[user]].append(sum(i in top for i in items) / len(items))
    for group in range(3):
        assert groups["user"][group]["users"] == len(recalls[group])
        assert groups["user"][group]["recall@5"] == pytest.approx(np.mean(recalls[group]))
        assert groups["item"][group]["recall@5"] == pytest.approx(hits[group] / totals[group])


def test_groups_are_in_the_result_and_in_the_summary(world: dict[str, Any]) -> None:
    result = recbole_ext.run_recbole(config_dict={**world, **QUICK, "model": "LambdaOptMF"})
    assert [row["users"] for row in result["frequency_groups"]["user"]] == [5, 5, 5, 5]
    text = summarize("LambdaOptMF", "world", result)
    assert "by training ratings of the user (rarest first)" in text
    none = recbole_ext.run_recbole("BPR", config_dict={**world, **QUICK})
    assert "frequency_groups" not in none


def test_a_bad_number_of_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="frequency_groups must be a whole number of at least 0"):
        Run("BPR", frequency_groups=-1)


def test_of_cold_start_tasks_only_what_is_trained_on_counts(cold_world: dict[str, Any]) -> None:
    dataset = Run("MeLU", **cold_world).data[0]._dataset
    users, items = rating_counts(dataset)
    training_users, training_items, _ = dataset.split.training_ratings
    assert users.sum() == items.sum() == len(training_users) < len(dataset)
    assert (items[1:] == 0).sum() == 15  # the cold ones
    assert torch.equal(items, training_items.bincount(minlength=dataset.item_num))
