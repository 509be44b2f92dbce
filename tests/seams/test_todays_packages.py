"""Each repair for today's packages: what goes wrong without it, and what is right with it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole.data.dataset.dataset as recbole_dataset
import recbole.trainer.hyper_tuning as recbole_tuning
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
from recbole.trainer import HyperTuning
from recbole.utils.case_study import full_sort_topk
from scipy.sparse import dok_matrix

from recbole_ext.seams import todays_packages
from tests.worlds.helpers import Run

INTER = "user_id:token\titem_id:token\trating:float\n" + "".join(
    f"u{u}\ti{i}\t{1 + u * i % 5}\n" for u in range(9) for i in range(12) if (u + i) % 3
)
USERS = (
    "user_id:token\tage:float\tjob:token\ttags:token_seq\ttaste:float_seq\n"
    "u0\t20\tcook\ta b\t1 2\nu1\t40\t\t\t3\nu2\t\tsmith\tb\t\nu3\t30\tcook\tc a b\t4 5\n"
)

younger_pandas = pytest.mark.skipif(int(pd.__version__[0]) < 3, reason="pandas before 3")
younger_numpy = pytest.mark.skipif(int(np.__version__[0]) < 2, reason="numpy before 2")


def world(folder: Path, **settings: Any) -> Config:
    (folder / "d").mkdir()
    (folder / "d" / "d.inter").write_text(INTER)
    (folder / "d" / "d.user").write_text(USERS)
    given = {"data_path": str(folder), "load_col": None, "state": "ERROR", **settings}
    return Config("BPR", "d", config_dict=given)


def users_of(config: Config) -> Any:
    dataset = create_dataset(config)
    dataset._change_feat_format()
    return dataset.user_feat


def without(owner: Any, name: str, patch: pytest.MonkeyPatch) -> None:
    """Take a repair out."""
    patch.setattr(owner, name, owner.__dict__[name].__wrapped__)


@younger_numpy
def test_a_config_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config("BPR", "ml-100k")["model"] == "BPR"
    assert not hasattr(np, "float_")  # numpy is as it was
    without(Config, "compatibility_settings", monkeypatch)
    with pytest.raises(AttributeError, match="float_"):
        Config("BPR", "ml-100k")


@younger_pandas
def test_what_is_missing_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world(tmp_path)
    users = users_of(config)
    assert users["age"].tolist()[1:5] == [20, 40, 30, 30]  # that of u2 is the mean
    assert users["job"].tolist()[1:5] == [1, 0, 2, 1]
    without(Dataset, "_fill_nan", monkeypatch)
    assert users_of(config)["age"].isnan().any()


@younger_pandas
def test_empty_sequences_are_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world(tmp_path)
    users = users_of(config)
    assert users["tags"].tolist()[1:5] == [[1, 2, 0], [0, 0, 0], [2, 0, 0], [3, 1, 2]]
    assert users["taste"].tolist()[1:5] == [[1, 2], [3, 0], [0, 0], [4, 5]]
    monkeypatch.setattr(recbole_dataset, "pd", pd)
    with pytest.raises(ValueError, match="has no attribute 'split'"):
        create_dataset(config)


@younger_pandas
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("_remap", {}),
        ("_normalize", {"normalize_field": ["taste"]}),
        ("_discretization", {"numerical_features": ["taste"]}),
    ],
)
def test_columns_of_sequences_are_split(
    method: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world(tmp_path, **settings)
    users = users_of(config)
    if method == "_normalize":
        assert users["taste"].tolist()[1:5] == [[0, 0.25], [0.5, 0], [0, 0], [0.75, 1]]
    if method == "_discretization":
        assert users["taste"][1, :, 0].tolist() == [1, 2]
    without(Dataset, method, monkeypatch)
    with pytest.raises(ValueError, match=r"array split|0-d|Length of values"):
        create_dataset(config)


@younger_pandas
def test_lists_of_items_follow_the_entities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "inter": "user_id:token\titem_id:token\tseen_before:token_seq\n"
        "u0\ta\tb c\nu1\tb\t\nu1\tc\ta\nu2\ta\tc\n",
        "kg": "head_id:token\trelation_id:token\ttail_id:token\nx\tr\ty\ny\tr\tz\n",
        "link": "item_id:token\tentity_id:token\na\tx\nb\ty\nc\tz\n",
    }
    (tmp_path / "d").mkdir()
    for suffix, text in files.items():
        (tmp_path / "d" / f"d.{suffix}").write_text(text)
    given = {"data_path": str(tmp_path), "alias_of_item_id": ["seen_before"], "state": "ERROR"}
    config = Config("CFKG", "d", config_dict={**given, "load_col": None})
    dataset = create_dataset(config)
    dataset._change_feat_format()
    lists = dataset.inter_feat["seen_before"]
    named = [[*map(str, dataset.id2token("item_id", row[row > 0]))] for row in lists]
    assert named == [["b", "c"], [], ["a"], ["c"]]
    without(KnowledgeBasedDataset, "_reset_ent_remapID", monkeypatch)
    with pytest.raises(ValueError, match=r"array split|0-d|Length of values"):
        create_dataset(config)


@younger_pandas
def test_lists_of_a_benchmark_have_their_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    (tmp_path / "d").mkdir()
    for part, row in (("train", "u\ta b c\td"), ("valid", "u\tb\ta"), ("test", "v\ta d\tb")):
        (tmp_path / "d" / f"d.{part}.inter").write_text(f"{head}{row}\n")
    given = {
        "data_path": str(tmp_path),
        "benchmark_filename": ["train", "valid", "test"],
        "alias_of_item_id": ["item_id_list"],
        "train_neg_sample_args": None,
        "load_col": None,
        "state": "ERROR",
    }
    config = Config("GRU4Rec", "d", config_dict=given)

    def lengths() -> list[list[int]]:
        parts = create_dataset(config).build()
        return [part.inter_feat["item_length"].tolist() for part in parts]

    assert lengths() == [[3], [1], [2]]
    without(SequentialDataset, "_benchmark_presets", monkeypatch)
    assert lengths() == [[3], [3], [3]]  # the number of rows


def test_a_graph_is_made() -> None:
    matrix = dok_matrix((2, 3), dtype=np.float32)
    matrix._update({(0, 1): 1.0, (1, 2): 2.0})
    assert matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 2]]
    if dok_matrix._update is todays_packages._update_matrix:
        assert Run("LightGCN", embedding_size=4, epochs=1).fit().test()["recall@10"] >= 0


def test_a_grid_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    params = tmp_path / "p.test"
    params.write_text("learning_rate choice [0.1, 0.2]\n")

    def score(config: dict[str, Any], *_: Any) -> dict[str, Any]:
        rate = config["learning_rate"]
        found = {"recall@10": rate}
        return {"model": "BPR", "best_valid_score": rate, "valid_score_bigger": True,
                "best_valid_result": found, "test_result": found}  # fmt: skip

    def search() -> HyperTuning:
        tuning = HyperTuning(score, algo="exhaustive", params_file=str(params), max_evals=2)
        tuning.run()
        return tuning

    assert search().best_params == {"learning_rate": 0.2}
    if todays_packages.takes_generator():
        monkeypatch.setattr(recbole_tuning, "np", np)
        with pytest.raises(AttributeError, match="integers"):
            search()


def test_metrics_are_reported_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[dict[str, Any]] = []

    def report(metrics: dict[str, Any], *, checkpoint: Any = None) -> None:
        reported.append(metrics)

    quick_start: Any = ModuleType("recbole.quick_start.quick_start")
    quick_start.tune = SimpleNamespace(report=report, __name__="tune")
    monkeypatch.setitem(sys.modules, quick_start.__name__, quick_start)
    for _ in range(2):  # twice is as once
        todays_packages.repair_quick_start()
        quick_start.tune.report(**{"recall@10": 0.5})
    assert reported == [{"recall@10": 0.5}] * 2


def test_warnings_of_filling_in_place_are_silent_whatever_the_filters(tmp_path: Path) -> None:
    config = world(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", getattr(pd.errors, "ChainedAssignmentError", UserWarning))
        assert users_of(config)["age"].tolist()[3] == 30


def test_a_ranking_after_loading_has_numpys_old_names() -> None:
    run = Run("FM", epochs=1, eval_args={"split": {"RS": [8, 1, 1]}, "mode": "full"},
              metrics=["Recall"], valid_metric="Recall@10")  # fmt: skip
    scores, items = full_sort_topk(np.array([1, 2]), run.fit().model, run.data[2], 5)
    assert scores.shape == items.shape == (2, 5)
    assert torch.isfinite(scores).all()
