"""Data are read, split and loaded faster, with results equal to RecBole's own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.seams import atomic_reading
from tests.worlds.helpers import same
from tests.worlds.recboles_data import content_of, recboles_own

HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
RANDOM = random.Random(5)
ROWS = [
    f"u{RANDOM.randrange(30)}\ti{int(40 * RANDOM.random() ** 2)}\t{RANDOM.randrange(2, 11) / 2}"
    f"\t{978300000 + RANDOM.randrange(10**6)}"
    for _ in range(600)
]
USERS = "user_id:token\tage:float\tjob:token\ttags:token_seq\ttaste:float_seq\n" + "".join(
    f"u{u}\t{u % 5 * 10 or ''}\t{('cook', 'NA', 'smith', '007')[u % 4]}\t{' '.join('abc'[: u % 4])}"
    f"\t{' '.join(str(u / 7) for _ in range(u % 3))}\n"
    for u in range(3, 33)
)
ITEMS = "item_id:token\tyear:float\tlike:token\n" + "".join(
    f"i{i}\t{1990 + i / 10}\ti{(i * 7) % 40}\n" for i in range(38)
)
FILES = {"inter": "\n".join([HEAD, *ROWS]) + "\n", "user": USERS, "item": ITEMS}


def write(folder: Path, files: dict[str, str | bytes]) -> dict[str, Any]:
    (folder / "d").mkdir(exist_ok=True)
    for suffix, text in files.items():
        content = text if isinstance(text, bytes) else text.encode()
        (folder / "d" / f"d.{suffix}").write_bytes(content)
    return {"dataset": "d", "data_path": str(folder)}


def compare(settings: dict[str, Any], model: str = "BPR") -> dict[str, Any]:
    """What ours gives; RecBole's own gives the same."""
    ours = content_of(settings, model)
    with recboles_own():
        theirs = content_of(settings, model)
    assert ours.keys() == theirs.keys(), (ours.get("error"), theirs.get("error"))
    for name in ours:
        assert same(ours[name], theirs[name]), name
    return ours


ONE = {"split": {"RS": [8, 1, 1]}, "order": "RO", "group_by": "user", "mode": "full"}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"eval_args": {**ONE, "order": "TO"}},
    {"eval_args": {**ONE, "group_by": None}},
    {"eval_args": {**ONE, "split": {"LS": "valid_and_test"}, "order": "TO"}},
    {"eval_args": {**ONE, "split": {"LS": "valid_only"}}},
    {"eval_args": {**ONE, "split": {"LS": "test_only"}}},
    {"eval_args": {**ONE, "split": {"TS": [0.8, 0.1, 0.1]}, "order": "TO"}},
    {"eval_args": {**ONE, "split": {"RS": [1, 0, 2]}}},
    {"eval_args": {**ONE, "mode": "uni3"}},
    {"eval_args": {**ONE, "mode": "pop3"}},
    {"eval_args": {**ONE, "mode": "labeled"}, "threshold": {"rating": 3}},
    {"load_col": {"inter": ["user_id", "item_id"]}},
    {"unload_col": {"inter": ["timestamp"], "user": ["tags"]}},
    {"val_interval": {"rating": "[2,4.5)", "user_id": [f"u{u}" for u in range(4, 25)]}},
    {"user_inter_num_interval": "[15,22]", "item_inter_num_interval": "[4,inf)"},
    {"rm_dup_inter": "first"},
    {"rm_dup_inter": "last", "filter_inter_by_user_or_item": False},
    {"normalize_all": True},
    {"normalize_field": ["rating", "taste"]},
    {"numerical_features": ["rating", "age"], "discretization": {"age": {"method": "LD"}}},
    {"alias_of_item_id": ["like"]},
    {"seq_len": {"tags": 2, "taste": 1}},
    {"preload_weight": {"user_id": "age"}},
    {"unused_col": {"inter": ["timestamp"]}},
    {"repeatable": True},
    {"seq_separator": "b"},
    {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2, "alpha": 0.7}},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    found = compare({**write(tmp_path, FILES), "eval_args": ONE, **settings})
    assert "error" not in found
