"""The time of epochs in several processes, over that in one; each process has one thread.

    python benchmarks/processes.py --json processes.json
    python benchmarks/processes.py --data_path WHERE --dataset ml-1m --models LambdaOptMF

The numbers of processes take turns. Every run is a whole ``recbole_ext.run``; only the seconds of
its training and its validations count, not those of starting the processes and loading the data.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from statistics import median
from typing import Any

from tabulate import tabulate
from timing import apart, arguments, ratio, write

import recbole_ext

SOFTMAX = {"lambda_epochs": 3, "lambda_steps": 0, "epochs": 3}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "LambdaOptMF": ("LambdaOptMF", SOFTMAX),
    "LambdaOptMF, bpr": ("LambdaOptMF", {"loss": "bpr", "epochs": 2}),
    "MeLU": ("MeLU", {"epochs": 6, "floors": False}),
    "MeLU, 256 tasks a batch": ("MeLU", {"epochs": 6, "floors": False, "train_batch_size": 256}),
    "MeLU, lists": ("MeLU", {"task": "ranking", "epochs": 6}),
    "MAMO": ("MAMO", {"epochs": 6, "floors": False}),
    "ResNetMF": ("ResNetMF", {"epochs": 3}),
    "BPR": ("BPR", {"epochs": 3}),
}
TURNS = 3


def run(name: str, processes: int, dataset: str, data_path: str | None, port: int) -> Any:
    """Seconds of training and of validation, in a run with so many processes."""
    model, settings = RUNS[name]
    given = {**settings, "stopping_step": 99, "state": "ERROR", "show_progress": False}
    given["eval_step"] = given["epochs"]
    given |= {} if data_path is None else {"data_path": data_path}
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        os.chdir(folder)
        found = recbole_ext.run(
            model, dataset, config_dict=given, saved=False, nproc=processes, port=str(port)
        )
        os.chdir("/")
    assert found is not None
    return {phase: found["seconds"][phase] for phase in ("training", "validation")}


def main() -> None:
    """Measure, print a table and write the ratios."""
    given = arguments(
        __doc__,
        dataset={"default": "ml-100k"},
        data_path={"default": None},
        models={"nargs": "+", "default": list(RUNS)[:5], "choices": list(RUNS)},
        processes={"nargs": "+", "type": int, "default": [1, 2]},
        port={"type": int, "default": 5678},
    )
    raw: dict[str, dict[int, dict[str, list[float]]]] = {}
    for name in given.models:
        raw[name] = {size: {"training": [], "validation": []} for size in given.processes}
        for _ in range(given.repetitions or (1 if given.quick else TURNS)):
            for size, found in raw[name].items():
                where = given.dataset, given.data_path, given.port
                seconds, _ = apart(1, run, name, size, *where)
                for phase, value in seconds.items():
                    found[phase].append(value)
    rows, ratios = [], {}
    first = given.processes[0]
    for name, sizes in raw.items():
        for phase in ("training", "validation"):
            for size, found in sizes.items():
                faster = ratio(sizes[first][phase], found[phase])
                ratios[f"{name}, {phase}: {first} over {size} processes"] = faster
                rows.append([name, phase, size, median(found[phase]), faster])
    names = ["", "", "processes", "seconds", "times as fast"]
    print(f"\n{given.dataset}\n\n{tabulate(rows, names, tablefmt='github', floatfmt='.2f')}")
    write(given.json, ratios, raw)


if __name__ == "__main__":
    main()
