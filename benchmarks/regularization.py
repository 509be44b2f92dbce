"""Learnt regularisation beside what one would use instead, under one protocol, run by run.

    python benchmarks/regularization.py ml-100k --jobs 2

Each protocol is a yaml in ``benchmarks/protocols/``: RecBole's settings, and the runs. Each run is
a process of its own and ends as a line of ``results/<protocol>.jsonl``; a run that stands there is
not repeated, so that an interrupted call goes on where it was. ``--table`` only prints the table.
Of a grid, which runs on the first seed, the best by validation is then run on the other seeds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from tabulate import tabulate

ROOT = Path(__file__).resolve().parent.parent
Run = dict[str, Any]


def read_protocol(name: str) -> dict[str, Any]:
    """The protocol's yaml: ``settings`` for all, ``seeds``, ``metrics`` to print, ``runs``."""
    path = ROOT / "benchmarks" / "protocols" / f"{name}.yaml"
    loader = yaml.SafeLoader
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise SystemExit(f"no protocol {name!r}; there are {', '.join(known)}")
    return yaml.load(path.read_text(encoding="utf-8"), loader)


def runs_of(protocol: dict[str, Any], done: list[Run]) -> list[Run]:
    """Every run that can be named now; the best of a grid is known once the grid is done."""
    first, *others = protocol["seeds"]
    runs = []
    for group in protocol["runs"]:
        choices = [{**group["settings"], **choice} for choice in group.get("grid", [{}])]
        named = [{"group": group["name"], "settings": choice} for choice in choices]
        runs += [{**run, "seed": first} for run in named]
        chosen = best_of(named, done, first) if len(named) > 1 else named[0]
        if chosen is not None and not group.get("one_seed"):
            runs += [{**chosen, "seed": seed} for seed in others]
    return runs


def best_of(named: list[Run], done: list[Run], seed: int) -> Run | None:
    """The run of a grid with the best validation score; ``None`` before all are done."""
    found = [find({**run, "seed": seed}, done) for run in named]
    if any(result is None for result in found):
        return None
    best = max(range(len(named)), key=lambda i: found[i]["best_valid_score"])  # type: ignore[index]
    return named[best]


def find(run: Run, done: list[Run]) -> Run | None:
    """The result of a run."""
    keys = ("group", "settings", "seed")
    return next((r for r in done if all(r[key] == run[key] for key in keys)), None)


def measure(job: tuple[dict[str, Any], Run]) -> Run:
    """One run in a fresh process of one thread."""
    import torch

    import recbole_ext

    common, run = job
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(1)
    began = time.perf_counter()
    settings = {**common, **run["settings"], "seed": run["seed"]}
    with tempfile.TemporaryDirectory() as folder:  # two runs may begin in the same second
        settings["checkpoint_dir"] = folder
        result = recbole_ext.run_recbole(settings["model"], settings["dataset"], None, settings)
    del result["checkpoint"]
    return {
        **run,
        **result,
        "total_seconds": round(time.perf_counter() - began, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": f"{platform.processor() or platform.machine()}, 1 thread",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "recbole": version("recbole"),
            "recbole_ext": recbole_ext.__version__,
        },
    }


def run_all(name: str, jobs: int, given: dict[str, Any]) -> None:
    """Run what the file lacks, round by round: grids first, then their best on other seeds."""
    protocol, file = read_protocol(name), ROOT / "results" / f"{name}.jsonl"
    quiet = {"show_progress": False, "state": "WARNING", "frequency_groups": 4}
    common = {**quiet, **protocol["settings"], **given}
    file.parent.mkdir(exist_ok=True)
    while missing := [r for r in runs_of(protocol, read(file)) if find(r, read(file)) is None]:
        with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
            for result in pool.imap_unordered(measure, [(common, run) for run in missing]):
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(result) + "\n")
                score = result["best_valid_score"]
                what = f"{result['group']} {result['settings']} seed {result['seed']}"
                print(f"{what}: {score:.4f} ({result['total_seconds']:.0f} s)", flush=True)


def read(file: Path) -> list[Run]:
    """The runs that are done."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def table(name: str) -> str:
    """A row for each group: mean ± standard deviation of the best of its grid over the seeds."""
    protocol, done = read_protocol(name), read(ROOT / "results" / f"{name}.jsonl")
    rows = []
    for group in protocol["runs"]:
        choices = [{**group["settings"], **choice} for choice in group.get("grid", [{}])]
        named = [{"group": group["name"], "settings": choice} for choice in choices]
        first = protocol["seeds"][0]
        chosen = best_of(named, done, first)
        if chosen is None:
            continue
        found = [find({**chosen, "seed": seed}, done) for seed in protocol["seeds"]]
        runs = [run for run in found if run is not None]
        grid = [find({**run, "seed": first}, done) for run in named]
        best = {k: v for k, v in chosen["settings"].items() if k not in group["settings"]}
        label = group["name"] + (f" (best of {len(named)}: {best})" if len(named) > 1 else "")
        cells = [label, str(len(runs))]
        for part in ("best_valid_result", "test_result"):
            cells += [spread([run[part][metric] for run in runs]) for metric in protocol["metrics"]]
        search = sum(run["total_seconds"] for run in grid if run is not None)
        cells += [f"{mean(run['total_seconds'] for run in runs):.0f}", f"{search:.0f}"]
        cells.append(f"{max(run['peak_memory_mb'] for run in runs)}")
        rows.append(cells)
    metrics = [f"{part} {metric}" for part in ("valid", "test") for metric in protocol["metrics"]]
    headers = ["", "seeds", *metrics, "seconds a run", "seconds with search", "MB"]
    return tabulate(rows, headers, disable_numparse=True, tablefmt="github")


def spread(values: list[float]) -> str:
    """Mean, and ± the standard deviation where there are several."""
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    """Run, then print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("protocol", help="a file of benchmarks/protocols, without .yaml")
    parser.add_argument("--data_path", help="the folder that holds the dataset's folder")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    arguments = parser.parse_args()
    given = {"data_path": arguments.data_path} if arguments.data_path else {}
    if not arguments.table:
        run_all(arguments.protocol, arguments.jobs, given)
    print(table(arguments.protocol))


if __name__ == "__main__":
    main()
