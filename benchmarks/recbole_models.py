"""Every model of RecBole's, trained for an epoch, reloaded and asked for a list.

    python benchmarks/recbole_models.py --stack today [--models BPR,FM]

Each model has a process of its own, on a cut of ml-100k that comes with RecBole. It trains for an
epoch and saves, is loaded and tested again, and ranks one user's items by RecBole's case-study
functions. A line of ``results/recbole_models.jsonl`` says what came of it under a name for the
installed packages; a model with such a line is not run again. Models that can begin from another
model's file do so in a second line. ``docs/recbole_models.md`` has the table, which ``--table``
prints.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "recbole_models.jsonl"
STACKS = {
    "recbole": "RecBole alone",
    "pins": "ours, RecBole's packages",
    "today": "ours, today's packages",
}
USERS, SECONDS = 80, 300

INTER = ["user_id", "item_id", "rating", "timestamp"]
ITEM = {"item": ["item_id", "release_year", "class"]}
KG = {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
SMALL = {"epochs": 1, "train_batch_size": 256, "eval_batch_size": 4096, "state": "ERROR",
         "show_progress": False, "topk": [10], "pretrain_epochs": 1, "save_step": 1,
         "use_gpu": False, "MAX_ITEM_LIST_LENGTH": 10}  # fmt: skip
LABELS = {"threshold": {"rating": 4}, "eval_args": {"split": {"RS": [8, 1, 1]}, "mode": "labeled"}}
BY_KIND: dict[str, dict[str, Any]] = {
    "general": {"load_col": {"inter": INTER}},
    "context_aware": {"load_col": {"inter": INTER, "user": ["user_id", "age"], **ITEM}, **LABELS},
    "exlib": {"load_col": {"inter": INTER, "user": ["user_id", "age"], **ITEM}, **LABELS},
    "knowledge_aware": {"load_col": {"inter": INTER, **KG}},
    "sequential": {"load_col": {"inter": INTER, **ITEM}, "train_neg_sample_args": None},
}
WITH_NEGATIVES: dict[str, Any] = {"train_neg_sample_args": {"distribution": "uniform"}}
CLICKS = {**LABELS, **WITH_NEGATIVES, "eval_args": {"split": {"LS": "valid_and_test"},
          "order": "TO", "mode": "uni10"}, "metrics": ["AUC"], "valid_metric": "AUC"}  # fmt: skip
OF_FACTS = {"load_col": {"inter": INTER, **KG, "ent": ["ent_id", "ent_emb"],
                         "rel": ["rel_id", "rel_emb"]},
            "additional_feat_suffix": ["ent", "rel"], "alias_of_entity_id": ["ent_id"],
            "alias_of_relation_id": ["rel_id"],
            "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}}  # fmt: skip
SPECIAL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("FPMC", "TransRec"), WITH_NEGATIVES),
    "DIN": CLICKS,
    "DIEN": CLICKS,
    "BERT4Rec": {"transform": "mask_itemseq"},
    "GRU4RecF": {"selected_features": ["class"]},
    "SASRecF": {"selected_features": ["class"]},
    "FDSA": {"selected_features": ["class"]},
    "GRU4RecKG": OF_FACTS,
    "KSR": {**OF_FACTS, "kg_embedding_size": 64},
    "ConvNCF": {"train_method": "no_pretrain"},
    "NCL": {"num_clusters": 5},
}
# Another model's file: the key of its path, that model, its settings, and those of the second run
BEGINNINGS: dict[str, tuple[list[tuple[str, str, dict[str, Any]]], dict[str, Any]]] = {
    "NeuMF": (
        [
            ("mf_pretrain_path", "NeuMF", {"mf_train": True, "mlp_train": False}),
            ("mlp_pretrain_path", "NeuMF", {"mf_train": False, "mlp_train": True}),
        ],
        {"use_pretrain": True},
    ),
    "ConvNCF": ([("pre_model_path", "BPR", {})], {"train_method": "after_pretrain"}),
    "NAIS": ([("pretrain_path", "FISM", {})], {}),
    "RaCT": ([("pre_model_path", "RaCT", {})], {"train_stage": "critic_pretrain"}),
    "S3Rec": ([("pre_model_path", "S3Rec", {})], {"train_stage": "finetune"}),
    "KD_DAGFM": ([("warm_up", "KD_DAGFM", {})], {"phase": "distillation"}),
}


def models() -> dict[str, str]:
    """RecBole's models and the kind of each."""
    import re
    from importlib.util import find_spec

    found = find_spec("recbole")
    assert found is not None
    assert found.origin is not None
    return {
        name: path.parent.name.removesuffix("_recommender")
        for path in sorted((Path(found.origin).parent / "model").glob("*_recommender/*.py"))
        for name in re.findall(r"^class (\w+)", path.read_text("utf-8"), re.MULTILINE)
        if name.lower() == path.stem
    }


def write_cut(folder: Path) -> None:
    """The first users of ml-100k, with all the files that come with it, and vectors of items."""
    import recbole

    source = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    target = folder / "cut"
    target.mkdir(parents=True)
    for path in source.iterdir():
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if path.suffix == ".inter":
            lines = [line for line in lines if int(line.split("\t")[0]) <= USERS]
        if path.suffix == ".kg":
            lines = lines[:20_000]
        (target / f"cut{path.suffix}").write_text("\n".join([first, *lines]) + "\n", "utf-8")
    for suffix, file in (("ent", "link"), ("rel", "kg")):
        known = (target / f"cut.{file}").read_text("utf-8").splitlines()[1:]
        names = dict.fromkeys(line.split("\t")[1] for line in known)
        rows = [
            f"{name}\t" + " ".join(str(math.sin(at * d + 1)) for d in range(64))
            for at, name in enumerate(names)
        ]
        header = f"{suffix}_id:token\t{suffix}_emb:float_seq"
        (target / f"cut.{suffix}").write_text("\n".join([header, *rows]) + "\n", "utf-8")


def train(model: str, settings: dict[str, Any]) -> tuple[str, dict[str, float], Any]:
    """Train a model and test it; returns its file, the result and the test's loader."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    config = Config(model, "cut", config_dict=settings)
    init_seed(config["seed"], True)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], True)
    made = get_model(model)(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, made)
    trainer.fit(train_data, valid_data, saved=True, show_progress=False)
    pretrained = sorted(Path(config["checkpoint_dir"]).glob(f"{model}*-1.pth"))
    file = str(pretrained[-1]) if pretrained else trainer.saved_model_file
    return file, dict(trainer.evaluate(test_data, load_best_model=not pretrained)), trainer


def one(model: str, beginning: bool) -> None:
    """Take a model through its paces."""
    if not os.environ.get("WITHOUT_PLUGIN"):
        import recbole_ext  # noqa: F401
    import numpy as np
    import torch
    from recbole.quick_start import load_data_and_model
    from recbole.utils import get_trainer
    from recbole.utils.case_study import full_sort_topk

    torch.set_num_threads(1)
    write_cut(Path("data"))
    kinds = models()

    def of(name: str, **more: Any) -> dict[str, Any]:
        given = {**SMALL, **BY_KIND[kinds[name]], **SPECIAL.get(name, {}), **more}
        # RecBole names a file by the second, so that each training needs a folder
        where = {"data_path": str(Path("data").resolve()), "checkpoint_dir": tempfile.mkdtemp()}
        return {**given, **where}

    settings = of(model)
    if beginning:
        files, more = BEGINNINGS[model]
        paths = {key: train(other, of(other, **own))[0] for key, other, own in files}
        settings = of(model, **more, **paths)
    file, tested, _ = train(model, settings)
    loaded = load_data_and_model(file)
    config, again, test_data = loaded[0], loaded[1], loaded[5]
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, again)
    repeated = dict(trainer.evaluate(test_data, load_best_model=False))
    worst = max(abs(tested[name] - repeated[name]) for name in tested)
    if worst > 2e-2 and model != "Random":
        raise ValueError(f"tested again after loading its metrics differ by {worst:.3f}")
    users = test_data.dataset.inter_feat[test_data.dataset.uid_field][:1]
    _, items = full_sort_topk(np.array(users), again, test_data, 5)
    assert items.shape[1] == 5


def outcome(model: str, beginning: bool, folder: str) -> str:
    """What came of a model: ``works``, or the last line of its error and where it was raised."""
    call = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--model", model]
    try:
        done = subprocess.run(
            call + ["--beginning"] * beginning,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"takes more than {SECONDS} s"
    told = done.stdout.strip().splitlines()
    return told[-1] if told else f"ends with status {done.returncode}: {done.stderr[-200:]}"


def lines() -> list[dict[str, Any]]:
    """What is known so far."""
    text = RESULTS.read_text("utf-8") if RESULTS.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def table() -> str:
    """The table of ``docs/recbole_models.md``."""
    found = {(line["model"], line["stack"]): line["outcome"] for line in lines()}
    rows = ["| model | " + " | ".join(STACKS.values()) + " |", "| --- " * (1 + len(STACKS)) + "|"]
    for name in sorted({model for model, _ in found}, key=str.lower):
        cells = (shortened(found.get((name, stack), "not run")) for stack in STACKS)
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def shortened(outcome: str) -> str:
    """An outcome in a cell of the table."""
    if "Weights only load failed" in outcome:
        return "trains; cannot load its file"
    return outcome.replace("|", "/")


def main() -> None:
    """Run one model in this process, or those that have no line yet in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stack", choices=STACKS)
    parser.add_argument("--models", help="names with commas; all by default")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--beginning", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    if given.table:
        print(table())
    elif given.model:
        warnings.simplefilter("ignore")
        try:
            one(given.model, given.beginning)
            print("works")
        except BaseException as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(str(error).split())[:120]
            print(f"{type(error).__name__}: {said} ({Path(at.filename).name}:{at.lineno})")
    else:
        if given.stack is None:
            parser.error("--stack is missing: which packages are installed?")
        run_all(given.stack, given.models)


def run_all(stack: str, names: str | None) -> None:
    """Run all models without a line."""
    if stack == "recbole":
        os.environ["WITHOUT_PLUGIN"] = "1"
    packages = {name: version(name) for name in ("recbole", "numpy", "pandas", "torch", "ray")}
    known = {(line["model"], line["stack"]) for line in lines()}
    cases = [(name, False) for name in (names.split(",") if names else models())]
    cases += [(name, True) for name, _ in cases if name in BEGINNINGS]
    for name, beginning in cases:
        label = f"{name} from another's file" if beginning else name
        if (label, stack) in known:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(name, beginning, folder)
        line = {"model": label, "stack": stack, "outcome": found, "versions": packages}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(f"{label}: {found}", flush=True)


if __name__ == "__main__":
    main()
