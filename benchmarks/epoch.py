"""The time of whole epochs of each model on ml-100k, by phase.

    python benchmarks/epoch.py --json epochs.json
    python benchmarks/epoch.py --data_path WHERE --dataset ml-1m --models BPR LambdaOptMF

Each run calls ``run_recbole`` for a few epochs in its own process, and the models take turns.
LambdaOptMF and RecBole's BPR have the same batch size and embedding size.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any

from bilevel_step import ON_CPU
from recbole.data.dataloader import TrainDataLoader
from recbole.trainer import Trainer
from tabulate import tabulate
from timing import apart, arguments, ratio, thread_counts, write

from recbole_ext import run_recbole
from recbole_ext.meta.tasks.loader import TaskLoader
from recbole_ext.seams.fast_loader import FastTrainDataLoader

PAIRWISE = {"embedding_size": 64, "train_batch_size": 2048, "eval_batch_size": 4_096_000}
SHORT = {
    "train_neg_sample_args": None,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_batch_size": 8192,
    "epochs": 1,
}
RUNS: dict[str, dict[str, Any]] = {
    "BPR": PAIRWISE,
    "LambdaOptMF": {**PAIRWISE, "loss": "bpr"},
    "ResNetMF": {},
    "MeLU": {},
    "MAMO": {},
    "LightSANs": SHORT,
}
EPOCHS, TURNS = 3, 2


def run(model: str, dataset: str, data_path: str | None, epochs: int) -> dict[str, float]:
    """Seconds per epoch by phase; ``loading`` is for the whole run."""
    given = {
        "epochs": epochs,
        **ON_CPU,
        **RUNS[model],
        "stopping_step": epochs + 1,
        "state": "ERROR",
    }
    epochs = given["epochs"]
    given |= {"floors": False} if model in ("MeLU", "MAMO") else {}
    given |= {} if data_path is None else {"data_path": data_path}
    spent = {"sampling": 0.0, "saving": 0.0}
    with tempfile.TemporaryDirectory() as folder, _quietly(), _watching(spent):
        os.chdir(folder)
        seconds = run_recbole(model, dataset, config_dict={**given, "show_progress": False})[
            "seconds"
        ]
        os.chdir("/")
    found = {name: value / epochs for name, value in spent.items()}
    found["training"] = seconds["training"] / epochs - found["sampling"]
    found["evaluation"] = seconds["validation"] / epochs
    found["epoch"] = sum(found.values())
    return {**found, "loading": seconds["loading"]}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _watching(spent: dict[str, float]) -> Iterator[None]:
    """Add up the seconds spent on drawing batches and on saving checkpoints."""
    save = Trainer._save_checkpoint
    loaders = {kind: kind.__iter__ for kind in (TrainDataLoader, FastTrainDataLoader, TaskLoader)}

    def timed(*given: Any, **named: Any) -> None:
        begun = perf_counter()
        save(*given, **named)
        spent["saving"] += perf_counter() - begun

    def sampled(original: Callable) -> Callable:
        def batches(loader: Any) -> Iterator[Any]:
            begun = perf_counter()
            for batch in original(loader):
                spent["sampling"] += perf_counter() - begun
                yield batch
                begun = perf_counter()

        return batches

    Trainer._save_checkpoint = timed
    for kind, original in loaders.items():
        kind.__iter__ = sampled(original)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._save_checkpoint = save
        for kind, original in loaders.items():
            kind.__iter__ = original  # type: ignore[method-assign]


def main() -> None:
    """Measure, print a table and write the ratios."""
    given = arguments(
        __doc__,
        dataset={"default": "ml-100k"},
        data_path={"default": None},
        models={"nargs": "+", "default": None, "choices": list(RUNS)},
        epochs={"type": int, "default": None},
    )
    models = given.models or (["BPR", "LambdaOptMF"] if given.quick else list(RUNS))
    turns = given.repetitions or (2 if given.quick else TURNS)
    epochs = given.epochs or (2 if given.quick else EPOCHS)
    raw: dict[str, Any] = {}
    for threads in thread_counts(given.quick):
        runs: dict[str, list[dict[str, float]]] = {model: [] for model in models}
        memory = dict.fromkeys(models, 0.0)
        for _ in range(turns):
            for model in models:
                what = (model, given.dataset, given.data_path, epochs)
                found, memory[model] = apart(threads, run, *what)
                runs[model].append(found)
        raw[f"{threads} threads"] = {"runs": runs, "MB": memory}
        print(f"\n{given.dataset}, {threads} thread(s), seconds of an epoch by phase:\n")
        print(table(runs, memory))
    one = next(iter(raw.values()))["runs"]
    epoch = {model: [found["epoch"] for found in one[model]] for model in models}
    work = {
        model: [found["training"] + found["sampling"] for found in one[model]] for model in models
    }
    ratios = {}
    if {"BPR", "LambdaOptMF"} <= set(models):
        ratios["lambdaopt_over_bpr"] = ratio(epoch["LambdaOptMF"], epoch["BPR"])
        ratios["lambdaopt_over_bpr_without_evaluation"] = ratio(work["LambdaOptMF"], work["BPR"])
    print("\n" + "\n".join(f"{name}: {value:.2f}" for name, value in ratios.items()))
    write(given.json, ratios, raw)


def table(runs: dict[str, list[dict[str, float]]], memory: dict[str, float]) -> str:
    """A row for each model, with the medians over its runs."""
    phases = ("epoch", "training", "sampling", "evaluation", "saving", "loading")
    rows = []
    for model, found in runs.items():
        seconds = [f"{median(run[phase] for run in found):.2f}" for phase in phases]
        rows.append([model, *seconds, f"{memory[model]:.0f}"])
    return tabulate(rows, ["", *phases, "MB"], tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    main()
