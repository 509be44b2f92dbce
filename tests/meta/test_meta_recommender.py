"""What a meta-learner does with ranking metrics, and with nothing to predict."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_ext import run_recbole
from recbole_ext.meta.adapting.inner_loop import mean_error
from tests.worlds.helpers import QUICK, Run


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_ranking_metrics_rank_all_items(model: str, cold_world: dict[str, Any]) -> None:
    result = run_recbole(
        model, None, None, {**QUICK, **cold_world, "metrics": ["Recall", "NDCG"], "topk": [5]}
    )
    assert set(result["test_result"]) == {"recall@5", "ndcg@5"}
    assert result["valid_score_bigger"]
    assert "scenarios" not in result


def test_ranking_masks_the_support_set(cold_world: dict[str, Any]) -> None:
    run = Run("MeLU", **cold_world, metrics=["Recall"], topk=[5])
    data = run.data[2]
    known = run.model.split.known
    history = {
        user: set(known.items[known.starts[at] : known.starts[at + 1]].tolist())
        for at, user in enumerate(known.users.tolist())
    }
    for users, (row, item), _, _ in data:
        masked: dict[int, set] = {}
        for r, i in zip(row.tolist(), item.tolist(), strict=True):
            masked.setdefault(int(users["user_id"][r]), set()).add(i)
        for user in users["user_id"].tolist():
            assert history[user] <= masked[user]


def test_an_empty_query_costs_nothing() -> None:
    zeros = torch.zeros(1, 3)
    assert mean_error(zeros + 1, zeros, zeros).item() == 0.0
