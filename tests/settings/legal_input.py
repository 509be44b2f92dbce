"""Settings and files that RecBole takes, and what it makes of them; with the plugin or without.

    python tests/settings/legal_input.py [--plugin]

``test_legal_input.py`` runs it both ways: what is legal must not be refused, or read otherwise.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

SPLIT = {"RS": [8, 1, 1]}
PARTS = ["train", "valid", "test"]
# Model, settings, and, if any, the command line; the value of each setting is compared.
SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("BPR", {"gpu_id": "0,1"}, ""),
    ("BPR", {"gpu_id": ""}, ""),
    ("BPR", {}, "--gpu_id=0,1"),
    ("BPR", {}, "--user_inter_num_interval=[5,100]"),
    ("BPR", {}, "--learning_rate=1e-2"),
    ("BPR", {}, "--metrics=['Recall','NDCG'] --valid_metric=NDCG@10"),
    ("BPR", {"embedding_size": np.int64(8), "learning_rate": np.float32(0.5)}, ""),
    ("BPR", {"loss_decimal_place": None}, ""),
    ("BPR", {"TIME_FIELD": None, "RATING_FIELD": None, "LABEL_FIELD": None}, ""),
    ("BPR", {"topk": 5, "valid_metric": "MRR@5"}, ""),
    ("BPR", {"metrics": "recall", "valid_metric": "Recall@10"}, ""),
    ("BPR", {"eval_args": {"split": SPLIT, "group_by": None, "order": "TO", "mode": "uni9"}}, ""),
    ("BPR", {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}}, ""),
    ("BPR", {"eval_args": {"mode": {"valid": "uni100"}}}, ""),
    ("BPR", {"eval_args": {"split": {"RS": [8, 2]}}}, ""),
    ("BPR", {"eval_args": {"split": {"TS": [8, 1, 1]}}}, ""),
    ("BPR", {"eval_args": {"split": None, "order": None}, "benchmark_filename": PARTS}, ""),
    ("BPR", {"train_neg_sample_args": {"distribution": "popularity", "alpha": 0.5}}, ""),
    ("BPR", {"train_neg_sample_args": {"dynamic": True, "candidate_num": 5}}, ""),
    ("FM", {"train_neg_sample_args": {"distribution": None}}, ""),
    ("FM", {"train_neg_sample_args": {"distribution": "None"}}, ""),
    ("FM", {"threshold": {"rating": 4}, "normalize_all": True}, ""),
    ("BPR", {"clip_grad_norm": {"max_norm": 5, "norm_type": float("inf")}}, ""),
    ("BPR", {"learning_rate": 0, "learner": "foo"}, ""),
    ("BPR", {"load_col": None}, ""),
    ("BPR", {"load_col": {"inter": ("user_id", "item_id"), "item": []}}, ""),
    ("BPR", {"val_interval": {"rating": "(-inf,3);[4,5]"}}, ""),
    ("BPR", {"state": "Debug", "worker": 2, "eval_step": 0, "epochs": 0}, ""),
    ("SASRec", {"train_neg_sample_args": None}, ""),
    ("SASRec", {"loss_type": "BPR"}, ""),
    ("SINE", {"train_neg_sample_args": None}, ""),
    ("BERT4Rec", {"transform": "mask_itemseq", "train_neg_sample_args": None}, ""),
    ("SASRecCPR", {"reranker_CAN_NUM": "500,100,20", "train_neg_sample_args": None}, ""),
    ("WideDeep", {"mlp_hidden_size": [8]}, ""),
    ("DCN", {"reg_weight": 0.5}, ""),
    ("SimpleX", {"negative_weight": 0.5}, ""),
    ("LDiffRec", {"w_max": 0.9, "anneal_steps": 1e3}, ""),
    ("BPR", {"topk": [50, 100]}, ""),
    ("BPR", {"valid_metric": "Recall@20"}, ""),
    ("BPR", {"train_neg_sample_args": None}, ""),
    ("BPR", {"hidden_size": 8, "log_root": "log", "k": 3}, ""),
    ("BPR", {"save_dataset": True, "save_dataloaders": True, "dataset_save_path": "d.pth"}, ""),
    ("BPR", {"epochs": "None", "learner": "None"}, ""),
    ("LightGCN", {"n_layers": None}, ""),
    ("FEARec", {"topk_factor": 1.5, "train_neg_sample_args": None}, ""),
]
HEADER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
ROWS = [
    [f"u{u}", f"i{i}", str(1 + u * i % 5), str(u + i)]
    for u in range(12)
    for i in range(14)
    if (u + i) % 2
]


def table(rows: list[list[str]], sep: str = "\t", end: str = "\n") -> str:
    return end.join(sep.join(row) for row in [HEADER, *rows]) + end


PLAIN = table(ROWS)
ITEMS = "item_id:token,title:token\n" + "".join(f'i{i},"a, b{i}"\n' for i in range(14))
QUOTED = [[f'"{row[0]}"', *row[1:]] for row in ROWS]
LINKS = "item_id:token\tentity_id:token\n" + "".join(f"i{i}\te{i}\n" for i in range(14))
FACTS = "head_id:token\trelation_id:token\ttail_id:token\n" + "".join(
    f"e{i}\tr{i % 2}\te{i + 1}\n" for i in range(20)
)
# Model, files, settings; the numbers of users, items and interactions are compared.
DATA: list[tuple[str, dict[str, str | bytes], dict[str, Any]]] = [
    ("BPR", {"inter": PLAIN}, {}),
    ("BPR", {"inter": table(ROWS, end="\r\n")}, {}),
    ("BPR", {"inter": b"\xef\xbb\xbf" + PLAIN.encode()}, {"encoding": "utf-8-sig"}),
    ("BPR", {"inter": table([[""], *ROWS])}, {}),
    ("BPR", {"inter": table(QUOTED)}, {}),
    ("BPR", {"inter": table(ROWS, sep=","), "item": ITEMS}, {"field_separator": ","}),
    ("BPR", {"inter": table(ROWS, sep="::")}, {"field_separator": "::"}),
    ("BPR", {"inter": table(ROWS, sep=" ")}, {"field_separator": " "}),
    ("BPR", {"inter": table([row[:2] if row[0] == "u3" else row for row in ROWS])}, {}),
    ("BPR", {"inter": table([[*row[:2], "", row[3]] for row in ROWS])}, {}),
    ("BPR", {"inter": PLAIN}, {"TIME_FIELD": None, "unload_col": {"inter": ["timestamp"]}}),
    ("BPR", {"inter": PLAIN.encode("latin-1")}, {"encoding": "latin-1"}),
    (
        "BPR",
        {f"{part}.inter": table(ROWS[at::3]) for at, part in enumerate(PARTS)},
        {"benchmark_filename": PARTS},
    ),
    ("BPR", {"inter": table([row for row in ROWS if row[1] < "i14"])}, {"topk": 10}),
    ("BPR", {"inter": PLAIN}, {"save_dataset": True, "topk": [50, 100], "epochs": "None"}),
    ("CFKG", {"inter": PLAIN, "link": LINKS, "kg": FACTS}, {}),
    ("SASRec", {"inter": PLAIN}, {"train_neg_sample_args": None}),
]


def made_of_settings(model: str, settings: dict[str, Any], line: str) -> dict[str, str]:
    from recbole.config import Config

    sys.argv = ["x", *line.split()]
    config = Config(model, "ml-100k", config_dict=dict(settings))
    words = [word[2:].split("=")[0] for word in line.split()]
    return {key: repr(config[key]) for key in (*settings, *words)}


def made_of_data(
    model: str, files: dict[str, str | bytes], settings: dict[str, Any], folder: Path
) -> list[int]:
    from recbole.config import Config
    from recbole.data import create_dataset

    sys.argv = ["x"]
    (folder / "d").mkdir(parents=True)
    for suffix, content in files.items():
        content = content if isinstance(content, bytes) else content.encode()
        (folder / "d" / f"d.{suffix}").write_bytes(content)
    where = {"data_path": str(folder), "load_col": None, "checkpoint_dir": str(folder)}
    dataset = create_dataset(Config(model, "d", config_dict={**where, **settings}))
    return [dataset.user_num, dataset.item_num, dataset.inter_num]


def outcome(make: Callable[..., Any], *given: Any) -> Any:
    try:
        return make(*given)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def repair() -> None:
    """Let RecBole alone run on today's packages, by the plugin's repairs and nothing else of it."""
    path = Path(__file__).parents[2] / "recbole_ext" / "seams" / "todays_packages.py"
    found = spec_from_file_location("todays_packages", path)
    assert found is not None
    assert found.loader is not None
    repairs = module_from_spec(found)
    found.loader.exec_module(repairs)
    repairs.repair(lambda owner, name, wrap: setattr(owner, name, wrap(getattr(owner, name))))


def main() -> None:
    if "--plugin" in sys.argv:
        import recbole_ext  # noqa: F401
    else:
        repair()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    found = {f"settings {n}": outcome(made_of_settings, *case) for n, case in enumerate(SETTINGS)}
    with tempfile.TemporaryDirectory() as folder:
        for n, case in enumerate(DATA):
            found[f"data {n}"] = outcome(made_of_data, *case, Path(folder) / str(n))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
