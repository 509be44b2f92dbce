"""What RecBole makes of some data is silently wrong; with the plugin it is right."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recbole.utils.case_study import full_sort_scores, full_sort_topk

from tests.worlds.helpers import Run

N_USERS, N_ITEMS = 30, 20
SEQUENTIAL = {"train_neg_sample_args": None, "n_layers": 1, "epochs": 1}


def rows(seconds: float = 3.0) -> list[tuple[int, int, float]]:
    """Each user rates the items in an order of their own, some seconds apart; in no order here."""
    chance = random.Random(1)
    found = []
    for user in range(N_USERS):
        items = chance.sample(range(N_ITEMS), 12)
        found += [(user, item, 1_764_000_000 + seconds * at) for at, item in enumerate(items)]
    chance.shuffle(found)
    return found


def write(path: Path, ratings: list[tuple[int, int, float]], kind: str = "float") -> None:
    lines = [f"u{u}\ti{i}\t{1 + (u + i) % 5}\t{at:.0f}" for u, i, at in ratings]
    header = f"user_id:token\titem_id:token\trating:float\ttimestamp:{kind}"
    path.write_text("\n".join([header, *lines]) + "\n")


def world(folder: Path, kind: str = "float", **settings: Any) -> dict[str, Any]:
    (folder / "d").mkdir()
    write(folder / "d" / "d.inter", rows(), kind)
    return {"dataset": "d", "data_path": str(folder), "load_col": None, **settings}


def test_times_keep_their_order(tmp_path: Path) -> None:
    run = Run("SASRec", **world(tmp_path, **SEQUENTIAL))
    given: dict[int, list[str]] = {}
    for who, item, _ in sorted(rows(), key=lambda row: row[2]):
        given.setdefault(who, []).append(f"i{item}")
    test, right = run.data[2]._dataset, 0
    for user, items, length, target in zip(
        *(test.inter_feat[f] for f in ("user_id", "item_id_list", "item_length", "item_id")),
        strict=True,
    ):
        before = test.id2token("item_id", items[:length])
        whole = [*before, test.id2token("item_id", target)]
        right += whole == given[int(test.id2token("user_id", user)[1:])]
    assert right == N_USERS


def test_a_split_by_time_is_exact(tmp_path: Path) -> None:
    split = {"split": {"RS": [8, 1, 1]}, "order": "TO", "group_by": "user"}
    run = Run("BPR", **world(tmp_path, eval_args=split))
    test = run.data[2]._dataset
    last: dict[int, list[int]] = {}
    for user, item, _ in sorted(rows(), key=lambda row: row[2]):
        last[user] = [*last.get(user, []), item][-1:]
    for user, item in zip(test.inter_feat["user_id"], test.inter_feat["item_id"], strict=True):
        name = int(test.id2token("user_id", user)[1:])
        assert test.id2token("item_id", item) == f"i{last[name][0]}"


def test_times_that_are_tokens_have_no_order(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="of type token, which has no order; write timestamp:float"
    ):
        Run("SASRec", **world(tmp_path, "token", **SEQUENTIAL))


def test_a_sequential_model_loads_its_times(tmp_path: Path) -> None:
    load = {"inter": ["user_id", "item_id"]}
    given = {**world(tmp_path, **SEQUENTIAL), "load_col": load}
    assert "timestamp" in Run("SASRec", **given).data[0]._dataset.inter_feat
    path = tmp_path / "d" / "d.inter"
    path.write_text("\n".join(line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()))
    with pytest.raises(ValueError, match="needs the column timestamp, which is not loaded") as told:
        Run("SASRec", **given)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("mode", ["uni5", "labeled", "full"])
def test_lists_after_any_evaluation(mode: str, tmp_path: Path) -> None:
    split = {"split": {"RS": [8, 1, 1]}, "order": "RO", "group_by": "user", "mode": mode}
    labels = {"threshold": {"rating": 3}, "metrics": ["AUC"], "valid_metric": "AUC"}
    run = Run("BPR", **world(tmp_path, eval_args=split, **(labels if mode == "labeled" else {})))
    scores = full_sort_scores(np.arange(1, 6), run.model, run.data[2])
    _, items = full_sort_topk(np.arange(1, 6), run.model, run.data[2], 5)
    parts = [part._dataset.inter_feat for part in run.data[:2]]
    for at, user in enumerate(range(1, 6)):
        known = {int(i) for part in parts for i in part["item_id"][part["user_id"] == user]}
        assert {int(i) for i in (scores[at] == -np.inf).nonzero()} == known | {0}
        assert not known & set(items[at].tolist())


@pytest.mark.parametrize("model", ["BPR", "LambdaOptMF", "EASE", "SASRec"])
def test_training_and_test_alone(model: str, tmp_path: Path) -> None:
    given = world(tmp_path, benchmark_filename=["train", "test"], embedding_size=8)
    given |= {"lambda_epochs": 1, "lambda_steps": 0} if model == "LambdaOptMF" else {}
    if model == "SASRec":
        given |= {**SEQUENTIAL, "embedding_size": None}
        for part in ("train", "test"):
            lines = ["user_id:token\titem_id_list:token_seq\titem_id:token"]
            lines += [f"u{u}\ti{u % 7} i{u % 5}\ti{u % 11}" for u in range(N_USERS)]
            (tmp_path / "d" / f"d.{part}.inter").write_text("\n".join(lines) + "\n")
        given["alias_of_item_id"] = ["item_id_list"]
    else:
        ratings = rows()
        write(tmp_path / "d" / "d.train.inter", ratings[: len(ratings) * 8 // 10])
        write(tmp_path / "d" / "d.test.inter", ratings[len(ratings) * 8 // 10 :])
    run = Run(model, **given)
    assert len(run.data[1]) == 0
    assert 0 <= run.fit().test()["recall@10"] <= 1


def test_a_quotation_mark_without_its_pair_is_found(tmp_path: Path) -> None:
    given = world(tmp_path)
    path = tmp_path / "d" / "d.inter"
    lines = path.read_text().splitlines()
    lines[17] = '"' + lines[17]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r'd.inter cannot be read .*row 17 has a " without its'):
        Run("BPR", **given)


def test_a_letter_in_another_encoding_is_found_wherever_it_stands(tmp_path: Path) -> None:
    given = world(tmp_path)
    path = tmp_path / "d" / "d.inter"
    path.write_bytes(path.read_bytes() * 9 + b"\xe9\ti1\t1\t1\n")
    with pytest.raises(ValueError, match=r"d.inter is no text in encoding .*; set encoding, as in"):
        Run("BPR", **given)


def test_scores_that_are_no_ratings_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    ratings = {"mode": "labeled", "split": {"RS": [8, 1, 1]}}
    value = {"metrics": ["RMSE"], "valid_metric": "RMSE", "LABEL_FIELD": "rating"}
    run = Run("ItemKNN", eval_args=ratings, **value).fit()
    with caplog.at_level(logging.WARNING):
        run.test()
        run.test()
    told = [line for line in caplog.messages if "no ratings" in line]
    assert len(told) == 1
    caplog.clear()
    Run("ResNetMF", hidden_size=8).fit().test()
    assert "no ratings" not in caplog.text
