"""Bad input to cold-start models is named before training starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.helpers import Run


def broken(folder: Path, change: str) -> dict[str, Any]:
    settings = write_cold_world(folder, noisy)
    at = folder / "cold"
    text = (at / "cold.inter").read_text()
    if change == "nan":
        text = re.sub(r"(u3\ti\d+\t)[\d.]+", r"\1", text, count=1)
    elif change == "label":
        text = text.replace("\tC-C", "\tcold")
    elif change == "rating":
        text = text.replace("rating:float", "stars:float")
    elif change == "warm only":
        text = "\n".join(line for line in text.splitlines() if "C-" not in line) + "\n"
    elif change == "twice":
        text += "u3\ti1\t2.0\tW-W\n" * 2
    elif change == "words":
        text = text.replace("rating:float", "rating:token")
    elif change == "no items":
        (at / "cold.item").unlink()
    (at / "cold.inter").write_text(text)
    return settings


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ("nan", {}, r"cold.inter: rating is NaN in 1 rows, the first in line \d+"),
        ("label", {}, "'state' of cold.inter holds cold; only W-W, W-C, C-W, C-C are known"),
        ("rating", {}, "cold.inter: no column rating among the loaded ones"),
        ("warm only", {}, r"no rating is of a cold user \(scenario_field: state\)"),
        ("twice", {}, r"[12] ratings are of a user and an item that have one already"),
        ("words", {}, "cold.inter: rating must be a column of numbers, as in rating:float"),
        ("", {"ignored_fields": "genre"}, "ignored_fields must be a list of names, got 'genre'"),
        ("", {"enable_amp": True}, "enable_amp must be False: MeLU trains in full precision"),
        (
            "",
            {
                "warm_evaluation": "training",
                "resample_queries": False,
                "train_on_all": False,
                "metrics": ["NDCG"],
            },
            "warm_evaluation: training is for value metrics",
        ),
        ("no items", {}, "no field describes the items"),
        ("", {"ignored_fields": ["genre"]}, "no field describes the items"),
        ("", {"scenario_field": "phase"}, "scenario_field: no column 'phase'"),
        ("", {"task_ratings": [200, 300]}, "no user has between 200 and 300 ratings"),
        ("", {"task_ratings": [5, 60]}, "task_ratings: a task of 5 ratings"),
        ("", {"task_ratings": [9, 6]}, "task_ratings must be two whole numbers"),
        ("", {"query_size": 0}, "query_size must be a whole number of at least 1, got 0"),
        (
            "",
            {"support_size": 0},
            "support_size must be all or a whole number",
        ),
        ("", {"cold_user_ratio": 1.0}, "cold_user_ratio must be a number above 0 and below 1"),
        ("", {"cold_item_rule": "new"}, "cold_item_rule must be one of share, first_appearance"),
        ("", {"warm_evaluation": "training"}, "set resample_queries: False"),
        (
            "",
            {"scenario_field": None, "cold_item_rule": "field"},
            "cold_item_rule: field needs cold_item_field",
        ),
        (
            "",
            {"scenario_field": None, "cold_item_rule": "first_appearance"},
            "first_appearance needs the column timestamp",
        ),
        ("", {"valid_user_ratio": 0.001}, "valid_user_ratio: 0.001 of"),
    ],
)
def test_bad_input_is_named(
    change: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    world = broken(tmp_path / "data", change)
    with pytest.raises(ValueError, match=message):
        Run("MeLU", **{**world, **settings})


def test_a_split_that_cold_start_passes_over_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = write_cold_world(tmp_path / "data", noisy)
    Run("MeLU", **world)
    assert "passed over" not in caplog.text
    Run("MeLU", **world, eval_args={"split": {"RS": [6, 2, 2]}, "order": "TO", "mode": "labeled"})
    assert "split into users and items, cold and warm" in caplog.text
    assert "split, order are passed over" in caplog.text


def test_a_threshold_that_nothing_passes_is_named() -> None:
    rule = {"cold_item_rule": "field", "cold_item_field": "release_year"}
    with pytest.raises(ValueError, match=r"makes 0 of \d+ items cold.*the threshold is 3000"):
        Run("MeLU", **rule, cold_item_threshold=3000)
