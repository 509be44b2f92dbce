"""The way of each model on a GPU: it trains, saves, resumes, is loaded and recommends.

A checkpoint of the GPU then loads in a process that sees none, and gives the same lists. Two GPUs,
where they are, train together to what one process gives.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from gpu_checks import NO_CUDA, Check, Job, Place, Skipped
from gpu_parity import difference, tensors, trained
from recbole.utils import get_trainer
from recbole.utils.case_study import full_sort_topk
from recbole_models import BY_KIND, write_cut

from recbole_ext import load_data_and_model, quick_start, run_recbole
from recbole_ext.runs.checkpoint import load_checkpoint
from recbole_ext.tools import recommend

EPOCHS = 2
QUIET = {"state": "ERROR", "show_progress": False, "eval_step": 1, "topk": [10]}
SHORT = {"lambda_epochs": 2, "lambda_steps": 0, "lambda_warmup_steps": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "LambdaOptMF, softmax": ("LambdaOptMF", SHORT),
    "LambdaOptMF, BPR": ("LambdaOptMF", {"loss": "bpr"}),
    "MeLU": ("MeLU", {"floors": False}),
    "MAMO": ("MAMO", {"floors": False}),
    "ResNetMF": ("ResNetMF", {}),
    "LightSANs": (
        "LightSANs",
        {**BY_KIND["sequential"], "dataset": "cut", "data_path": "data", "load_col": None,
         "MAX_ITEM_LIST_LENGTH": 10, "train_batch_size": 512},
    ),
}  # fmt: skip
# On a CPU a resumed run is the same bit by bit, and so are tests and lists. A GPU adds up in an
# order of its own: states in float64 may differ by so much of their norm, metrics and scores by so
# much.
STATE, METRIC, SCORE = 1e-5, 1e-3, 1e-3
TOGETHER = 1e-3  # in float32
ALONE = {"LambdaOptMF": {"loss": "bpr"}, "MeLU": {"floors": False}}
NEW = {
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "new\t24\tM\tstudent\t94043\n",
    "inter": "user_id:token\titem_id:token\trating:float\nnew\t50\t5\nnew\t181\t4\nnew\t1\t2\n",
}
List: TypeAlias = tuple[list[str], list[float]]  # items and their scores
Lists: TypeAlias = Callable[[str], list[List]]
KNOWN_USERS = ["19", "36"]


def jobs() -> list[Job]:
    """Two jobs a model, the second one without a GPU, and one for several processes."""
    made = []
    for name, (model, settings) in MODELS.items():
        given = {"name": name, "model": model, "settings": settings}
        made.append(Job("training", name, partial(on_gpu, **given)))
        made.append(Job("training", f"{name}, on the CPU", partial(on_cpu, name=name), hidden=True))
    together = [Job("processes", model, partial(two_processes, model=model)) for model in ALONE]
    return made + together


def on_gpu(
    place: Place, name: str, model: str, settings: dict[str, Any]
) -> Iterator[tuple[str, Check]]:
    """Train, resume, load, recommend."""
    folder = place.folder / name
    folder.mkdir()
    os.chdir(folder)
    write_cut(Path("data"))
    dataset = settings.get("dataset", "ml-100k")
    given = {"epochs": EPOCHS, **QUIET, **settings, **place.settings}
    result: dict[str, Any] = {}

    def trains() -> str:
        result.update(run_recbole(model, dataset, config_dict={**given, "checkpoint_dir": "best"}))
        return ", ".join(f"{k} {v:.4f}" for k, v in list(result["test_result"].items())[:2])

    def resumes() -> str:
        whole = trained(model, {**given, "checkpoint_dir": "whole"}, dataset, saved=True)
        parts = {**given, "checkpoint_dir": "parts"}
        trained(model, {**parts, "epochs": EPOCHS - 1}, dataset, saved=True)
        (last,) = map(str, Path("parts").glob("*-last.pth"))
        again = trained(model, {**parts, "resume_file": last}, dataset, saved=True)
        worst, where = difference(whole, again, norm=2)
        return f"state differs by {bounded(worst, STATE, place)} ({where})"

    def reloads() -> str:
        config, loaded, _, _, _, test = load_data_and_model(result["checkpoint"])
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, loaded)
        return metrics(result["test_result"], trainer.evaluate(test, load_best_model=False), place)

    def recommends(whose: Lists) -> str:
        found = whose(result["checkpoint"])
        written = json.dumps([result["checkpoint"], found])
        Path(f"{whose.__name__}.json").write_text(written, encoding="utf-8")
        return f"first {', '.join(found[0][0][:3])}"

    yield "trains", trains
    yield "resumes", resumes
    yield "reloads", reloads
    yield "recommends", partial(recommends, lists)
    yield "recommends to somebody new", partial(recommends, lists_of_a_new_user)


def on_cpu(place: Place, name: str) -> Iterator[tuple[str, Check]]:
    """Load the checkpoint of the GPU in a process without one."""
    os.chdir(place.folder / name)

    def same(whose: Lists) -> str:
        if torch.cuda.is_available():
            raise ValueError("the GPU is still there")
        written = Path(f"{whose.__name__}.json")
        if not written.exists():
            raise Skipped("there is none of the GPU")
        checkpoint, expected = json.loads(written.read_text("utf-8"))
        worst, others = 0.0, 0
        for (items, scores), (mine, my_scores) in zip(expected, whose(checkpoint), strict=True):
            others += len({*items} - {*mine})
            one, two = (torch.tensor(x, dtype=torch.double) for x in (scores, my_scores))
            worst = max(worst, float((one - two).norm() / one.norm()))
        said = f"scores differ by {bounded(worst, SCORE, place)}, {others} items are others"
        if others > 1:
            raise ValueError(said)
        return said

    yield "gives the same lists", partial(same, lists)
    yield "gives somebody new the same list", partial(same, lists_of_a_new_user)


def lists(checkpoint: str) -> list[List]:
    """The items of two known users and their scores."""
    config, model, dataset, _, _, test = load_data_and_model(checkpoint)
    model.eval()
    users = dataset.token2id(dataset.uid_field, KNOWN_USERS)
    with torch.no_grad():
        scores, items = full_sort_topk(users, model, test, 10, device=config["device"])
    names = dataset.id2token(dataset.iid_field, items.cpu())
    return [(list(map(str, n)), s) for n, s in zip(names, scores.tolist(), strict=True)]


def lists_of_a_new_user(checkpoint: str) -> list[List]:
    """What the command ``recommend`` writes for somebody new.

    Raises:
        Skipped: if the model serves users of its own data only.
    """
    model = str(load_checkpoint(checkpoint, "cpu")["config"]["model"])
    if model == "LightSANs":
        raise Skipped("a sequential model serves users of its own data only")
    for kind, text in NEW.items():
        Path(f"new.{kind}").write_text(text, encoding="utf-8")
    options = argparse.Namespace(checkpoint=checkpoint, ratings="new.inter", output="new.tsv")
    options.users = "new.user" if model in ("MeLU", "MAMO") else None
    options.topk, options.by = 10, None
    recommend.main(options)
    rows = [line.split("\t") for line in Path("new.tsv").read_text("utf-8").splitlines()]
    item, score = rows[0].index("item_id"), rows[0].index("score")
    return [([row[item] for row in rows[1:]], [float(row[score]) for row in rows[1:]])]


def two_processes(place: Place, model: str) -> Iterator[tuple[str, Check]]:
    """``quick_start.run`` on two GPUs, compared with one process."""

    def compare() -> str:
        if len(place.gpus) < 2:
            raise Skipped("fewer than two GPUs" if place.gpus else NO_CUDA)
        folder = place.folder / f"{model}, two processes"
        folder.mkdir()
        os.chdir(folder)
        given = {**QUIET, **ALONE[model], "epochs": EPOCHS, "gpu_id": "0,1"}
        alone = quick_start.run(model, "ml-100k", config_dict={**given, "checkpoint_dir": "one"})
        given["checkpoint_dir"] = "two"
        both = quick_start.run(model, "ml-100k", config_dict=given, nproc=2, port="5679")
        assert alone is not None
        assert both is not None
        files = [next(Path(name).glob("*-last.pth")) for name in ("one", "two")]
        states = [tensors(load_checkpoint(file, "cpu")["state_dict"]) for file in files]
        worst, where = difference(states[0], states[1], norm=2)
        said = f"state differs by {bounded(worst, TOGETHER, place)} ({where}), "
        return said + metrics(alone["test_result"], both["test_result"], place)

    yield "two processes are as one", compare


def bounded(value: float, most: float, place: Place) -> str:
    """A difference and its bound, in words.

    Raises:
        ValueError: if it is larger, or not 0 where the CPU takes the GPU's place.
    """
    most = most if place.gpus else 0.0
    said = f"{value:.1e} of at most {most:.0e}"
    if not value <= most:
        raise ValueError(f"a difference of {said}")
    return said


def metrics(expected: dict[str, float], found: dict[str, float], place: Place) -> str:
    """Compare two results of tests."""
    if expected.keys() != found.keys():
        raise ValueError(f"metrics: {list(expected)} and {list(found)}")
    worst = max(abs(expected[name] - found[name]) for name in expected)
    return f"metrics differ by {bounded(worst, METRIC, place)}"
