"""Compare a model with its alternatives under one protocol, run by run.

    python benchmarks/compare.py ml-100k --jobs 2

Each protocol is a yaml in ``benchmarks/protocols/`` with RecBole's settings and the runs. Each run
has its own process, and its result is a line of ``results/<protocol>.jsonl``. A run with such a
line is not repeated, so that an interrupted call continues where it was. ``--table`` only prints
the table. A grid runs on the first seed; its best run by validation then runs on the other seeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import new_users
import yaml
from tabulate import tabulate

from recbole_ext.runs.json_lines import append_line, read_lines
from recbole_ext.runs.machine import machine

ROOT = Path(__file__).resolve().parent.parent
Run = dict[str, Any]


def read_protocol(name: str) -> dict[str, Any]:
    """A protocol's yaml: the ``settings`` of all runs, ``seeds``, ``metrics`` and ``runs``."""
    path = ROOT / "benchmarks" / "protocols" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise SystemExit(f"no protocol {name!r}; there are {', '.join(known)}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def groups_of(protocol: dict[str, Any]) -> dict[str, list[Run]]:
    """The runs of each group, without a seed; a grid has several."""
    common = protocol["settings"]
    return {
        group["name"]: [
            {
                "group": group["name"],
                "protocol": common,
                **({"new_users": protocol["new_users"]} if "new_users" in protocol else {}),
                "settings": {**group["settings"], **choice},
            }
            for choice in group.get("grid", [{}])
        ]
        for group in protocol["runs"]
    }


def runs_of(protocol: dict[str, Any], done: list[Run]) -> list[Run]:
    """All runs that are known now; the best of a grid is known when the grid is done."""
    first, *others = protocol["seeds"]
    one_seed = {group["name"] for group in protocol["runs"] if group.get("one_seed")}
    runs = []
    for name, choices in groups_of(protocol).items():
        runs += [{**choice, "seed": first} for choice in choices]
        best = best_of(choices, done, first)
        if best is not None and name not in one_seed:
            runs += [{**best, "seed": seed} for seed in others]
    return runs


def missing_runs(protocol: dict[str, Any], done: list[Run]) -> list[Run]:
    """The runs that are known now and are not done."""
    return [run for run in runs_of(protocol, done) if find(run, done) is None]


def best_of(choices: list[Run], done: list[Run], seed: int) -> Run | None:
    """The choice with the best validation score; ``None`` before the whole grid is done."""
    if len(choices) == 1:
        return choices[0]
    found = [find({**choice, "seed": seed}, done) for choice in choices]
    results = [result for result in found if result is not None]
    if len(results) < len(choices):
        return None
    sign = 1 if results[0]["valid_score_bigger"] else -1
    scores = [sign * result["best_valid_score"] for result in results]
    return choices[scores.index(max(scores))]


def find(run: Run, done: list[Run]) -> Run | None:
    """The result of a run under the same protocol."""
    keys = {"group", "protocol", "settings", "seed"} & run.keys()
    return next((r for r in done if all(r[key] == run[key] for key in keys)), None)


def chosen_runs(protocol: dict[str, Any], done: list[Run], group: str) -> list[Run]:
    """The results of a group (of the best of a grid) over the seeds; empty before it is known."""
    best = best_of(groups_of(protocol)[group], done, protocol["seeds"][0])
    found = [find({**(best or {}), "seed": seed}, done) for seed in protocol["seeds"] if best]
    return [result for result in found if result is not None]


def measure(job: tuple[Run, dict[str, Any]]) -> Run:
    """The result of one run, which needs a fresh process and uses one thread."""
    import torch

    import recbole_ext

    run, given = job
    if run["settings"]["model"] == "IALS":
        import ials  # noqa: F401  # registers it; it needs the package implicit
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(1)
    began = time.perf_counter()
    quiet: dict[str, Any] = {"show_progress": False, "state": "WARNING"}
    if "topk" in run["protocol"]:
        quiet["frequency_groups"] = 4
    settings = {**quiet, **run["protocol"], **given, **run["settings"], "seed": run["seed"]}
    with tempfile.TemporaryDirectory() as folder:  # two runs may begin in the same second
        settings["checkpoint_dir"] = folder
        if "new_users" in run:
            parts = new_users.leave_out(settings, run["new_users"], run["seed"], Path(folder))
            settings |= {"data_path": folder, "dataset": new_users.NAME}
        result = recbole_ext.run_recbole(settings["model"], settings["dataset"], None, settings)
        if "new_users" in run:
            result |= new_users.judged(result["checkpoint"], parts, run["new_users"], run["seed"])
    del result["checkpoint"]
    return {
        **run,
        **result,
        "total_seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": machine(),
        "versions": {"recbole_ext": recbole_ext.__version__},
    }


def run_all(name: str, jobs: int, given: dict[str, Any]) -> None:
    """Run what the file lacks, in rounds: grids come first, then their best on other seeds."""
    protocol, file = read_protocol(name), results_of(name)
    for folder in (file.parent, Path("log"), Path("log_tensorboard")):
        folder.mkdir(exist_ok=True)  # RecBole fails if two runs make a folder at the same time
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # for the workers' numpy
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the pool's workers as well
    while missing := missing_runs(protocol, read_lines(file)):
        with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
            for result in pool.imap_unordered(measure, [(run, given) for run in missing]):
                append_line(file, result)
                score = result["best_valid_score"]
                what = f"{result['group']} {result['settings']} seed {result['seed']}"
                print(f"{what}: {score:.4f} ({result['total_seconds']:.0f} s)", flush=True)
            pool.close()
            pool.join()  # leaving the block would terminate workers that are about to end


def results_of(protocol: str) -> Path:
    """The file with the results of a protocol, one on each line."""
    return ROOT / "results" / f"{protocol}.jsonl"


def table(protocol: dict[str, Any], done: list[Run]) -> str:
    """A row for each group (for the best of a grid): mean ± standard deviation over the seeds.

    The table has test scores only: λ may learn from half of the validation ratings, so that the
    validation scores of two groups are not on the same ratings. A seed draws the split as well, so
    the last metric is also compared with the reference's seed by seed.
    """
    metrics, reference = protocol["metrics"], protocol["reference"]
    compared = scores_of(chosen_runs(protocol, done, reference), metrics[-1])
    rows = []
    for group, choices in groups_of(protocol).items():
        runs = chosen_runs(protocol, done, group)
        if not runs:
            continue
        first = [find({**choice, "seed": protocol["seeds"][0]}, done) for choice in choices]
        scores = scores_of(runs, metrics[-1])
        more = [scores[seed] - compared[seed] for seed in scores if seed in compared]
        rows.append(
            [
                label_of(group, choices, runs[0]),
                str(len(runs)),
                *(spread(list(scores_of(runs, metric).values())) for metric in metrics),
                "" if group == reference or not more else spread(more, sign="+"),
                seconds(runs, mean),
                seconds([run for run in first if run is not None], sum),
                f"{max(run['peak_memory_mb'] for run in runs)}",
            ]
        )
    headers = [
        *("", "seeds"),
        *(f"test {metric}" for metric in metrics),
        f"{metrics[-1]} minus that of {reference}",
        *("CPU seconds a run", "with search", "MB"),
    ]
    return tabulate(rows, headers, disable_numparse=True, tablefmt="github")


def scenario_table(protocol: dict[str, Any], done: list[Run], metric: str) -> str:
    """A row for each group and baseline of cold-start runs: mean ± sd of a metric by scenario."""
    rows: list[list[str]] = []
    for group in groups_of(protocol):
        runs = chosen_runs(protocol, done, group)
        for method in dict.fromkeys(row["method"] for run in runs for row in run["scenarios"]):
            own = method.startswith(run_model(runs))  # a baseline has a name of its own
            name = method.replace(run_model(runs), group, 1) if own else method
            mine = [row for run in runs for row in run["scenarios"] if row["method"] == method]
            scores: dict[str, list[float]] = {}
            for row in mine:
                scores.setdefault(row["scenario"], []).append(row[metric])
            cells = [
                spread(values) + scenario.removeprefix(wanted)  # the rest says what was trained on
                for wanted in protocol["scenarios"]
                for scenario, values in scores.items()
                if scenario.startswith(wanted)
            ]
            rows.append([name, str(len(runs)), *cells])
    return tabulate(
        rows,
        [f"test {metric}", "seeds", *protocol["scenarios"]],
        disable_numparse=True,
        tablefmt="github",
    )


def run_model(runs: list[Run]) -> str:
    """The model of a group's runs."""
    return str(runs[0]["settings"]["model"])


def label_of(group: str, choices: list[Run], best: Run) -> str:
    """A group's name and, for a grid, the settings that distinguish its best."""
    if len(choices) == 1:
        return group
    given = [choice["settings"] for choice in choices]
    differs = {
        key: value
        for key, value in best["settings"].items()
        if any(each[key] != value for each in given)
    }
    return f"{group}, best of {len(choices)}: {differs}"


def scores_of(runs: list[Run], metric: str) -> dict[int, float]:
    """The values of a test metric by seed."""
    return {run["seed"]: run["test_result"][metric] for run in runs}


def seconds(runs: list[Run], summary: Callable[[list[float]], float]) -> str:
    """The CPU seconds of runs, all phases; an empty text if some were not measured."""
    spent = [run["cpu_seconds"] for run in runs if "cpu_seconds" in run]
    return f"{summary(spent):.0f}" if len(spent) == len(runs) else ""


def spread(values: list[float], sign: str = "") -> str:
    """The mean, and ± the standard deviation if there are several values."""
    center = f"{mean(values):{sign}.4f}"
    return center + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    """Run the protocol and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("protocol", help="name of a file in benchmarks/protocols, without .yaml")
    parser.add_argument("--data_path", help="folder that holds the dataset's folder")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each with one thread")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    arguments = parser.parse_args()
    given = {"data_path": arguments.data_path} if arguments.data_path else {}
    if not arguments.table:
        run_all(arguments.protocol, arguments.jobs, given)
    protocol, done = read_protocol(arguments.protocol), read_lines(results_of(arguments.protocol))
    if "new_users" in protocol:
        chosen = {group: chosen_runs(protocol, done, group) for group in groups_of(protocol)}
        named = {
            label_of(g, groups_of(protocol)[g], runs[0]): runs for g, runs in chosen.items() if runs
        }
        print(new_users.tables(named, spread))
        return
    print(table(protocol, done))
    for metric in protocol.get("scenario_metrics", []):
        print("\n" + scenario_table(protocol, done, metric))


if __name__ == "__main__":
    main()
