"""Vectors of numbers (``float_seq``) as content of items and users."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.tasks.content_matrix import content_matrix
from recbole_ext.tools.new_users.adapting_recommender import AdaptingRecommender
from recbole_ext.tools.new_users.raw_tables import _content
from tests.worlds.cold_world import write_cold_world
from tests.worlds.helpers import Run


def write_vectors(folder: Path) -> dict[str, Any]:
    """A world whose items' ratings follow a direction of their vectors; users have vectors, too."""
    random = np.random.default_rng(1)
    vectors, people = random.normal(size=(45, 3)), random.normal(size=(80, 2))
    liked = vectors @ [1.5, -1.0, 0.0]

    def rating(user: int, item: int, random: np.random.Generator) -> float:
        return float(np.clip(np.round(3 + liked[item]), 1, 5))

    world = write_cold_world(folder, rating)
    for side, rows, key in (("item", vectors, "i"), ("user", people, "u")):
        lines = [
            f"{side}_id:token\tvector:float_seq"
            if side == "item"
            else "user_id:token\tface:float_seq"
        ]
        lines += [f"{key}{at}\t{' '.join(f'{x:.4f}' for x in row)}" for at, row in enumerate(rows)]
        (folder / "cold" / f"cold.{side}").write_text("\n".join(lines) + "\n")
    return world


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    return write_vectors(tmp_path / "data")


def test_each_number_is_standardised_and_the_vector_embedded_linearly(
    world: dict[str, Any],
) -> None:
    dataset = Run("MeLU", **world).data[0]._dataset
    rows = torch.arange(1, 20)
    content = ContentEmbedding(dataset, "item", ["vector"], 4, rows)
    values = dataset.item_feat["vector"]
    known = values[rows]
    wanted = (values - known.mean(0)) / known.std(0, correction=0)
    layer = content.embeddings[0]
    found = content(torch.tensor([3, 44]))
    torch.testing.assert_close(found, wanted[[3, 44]] @ layer.weight.T + layer.bias)
    columns = content_matrix(dataset, ["vector"]).toarray()[1:]
    assert columns.shape[1] == 3
    np.testing.assert_allclose(columns.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(columns.std(0), 1, atol=1e-6)


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_a_cold_item_is_known_by_its_vector(world: dict[str, Any], model: str) -> None:
    run = Run(model, **world, epochs=10).fit()
    assert run.test()["W-C mae"] < 0.4  # the median of all ratings has 1.2


@pytest.mark.parametrize("solver", ["ridge", "gradient"])
def test_a_new_user_may_have_a_vector(world: dict[str, Any], solver: str) -> None:
    run = Run("MAMO", **world, inner_solver=solver).fit()
    recommender = AdaptingRecommender(run.config, run.model, run.data[0]._dataset)
    pairs = pd.DataFrame({"user_id": ["a", "b", "c"], "item_id": ["i1"] * 3})
    users = pd.DataFrame({"user_id": ["a", "b"], "face": ["0.5 -1.0", "0.5"]})
    answer = recommender.predict(pairs, users)
    assert answer.counts["unknown values"] == 2
    assert answer.table["score"].notna().all()


def test_numbers_of_a_new_user_are_read_and_counted(world: dict[str, Any]) -> None:
    dataset = Run("MeLU", **world).data[0]._dataset
    counts: Counter[str] = Counter()
    table = pd.DataFrame({"face": ["0.5 -1.0", "1 2 3", "x 2", None]})
    found = _content(dataset, "face", table, counts)
    nothing = float("nan")
    wanted = torch.tensor([[0.5, -1.0], [1.0, 2.0], [nothing, 2.0], [nothing, nothing]])
    torch.testing.assert_close(found, wanted, equal_nan=True)
    assert counts["unknown values"] == 2
