"""LambdaOptMF on ml-100k beside the grid search that it replaces, and plain BPR: one table.

``make demo`` runs this; it takes some minutes on two cores and needs no download (RecBole brings
ml-100k with it). Each figure is a mean over the seeds below. Whatever chooses (the epoch, the best
λ of the grid) looks at the validation ratings. λ is learnt from a tenth of the *training* ratings,
which LambdaOptMF's embeddings therefore do without; BPR and the fixed λ train on all of them.
"""

from __future__ import annotations

import sys
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import torch
from tabulate import tabulate

from recbole_ext import run_recbole

DATASET = "ml-100k"
SEEDS = (2020, 2021, 2022)
GRID = (0.1, 0.01, 0.001, 0.0001)
METRICS = ("recall@10", "ndcg@10")
COMMON = {"valid_metric": "NDCG@10", "epochs": 300, "stopping_step": 10, "state": "WARNING"}


def run(model: str, seed: int, **settings: Any) -> dict[str, Any]:
    """One run; its result with the seconds in all."""
    began = perf_counter()
    config = {**COMMON, "seed": seed, "show_progress": sys.stderr.isatty(), **settings}
    result = run_recbole(model, DATASET, config_dict=config)
    result["total"] = perf_counter() - began
    test = result["test_result"]
    figures = ", ".join(f"{metric} {test[metric]:.4f}" for metric in METRICS)
    print(
        f"  {model} {settings or ''} seed {seed}: {figures} ({result['total']:.0f} s)", flush=True
    )
    return result


def row(name: str, runs: list[dict[str, Any]], seconds: float) -> list[str]:
    """One line of the table: mean ± standard deviation over the seeds."""
    cells = [name]
    for part in ("best_valid_result", "test_result"):
        for metric in METRICS:
            values = [result[part][metric] for result in runs]
            cells.append(f"{mean(values):.4f} ± {stdev(values):.4f}")
    return [*cells, f"{seconds:.0f}"]


def main() -> None:
    """Run everything and print the table."""
    torch.set_num_threads(1)  # at this size more threads only wait for each other
    began = perf_counter()
    print(f"{DATASET}, random 8:1:1 by user, full ranking, seeds {SEEDS}")
    bpr = [run("BPR", seed) for seed in SEEDS]
    fixed = {"regularizer": "fixed"}
    grid = {weight: run("LambdaOptMF", SEEDS[0], **fixed, reg_weight=weight) for weight in GRID}
    best = max(GRID, key=lambda weight: grid[weight]["best_valid_score"])
    searched = [grid[best]]
    searched += [run("LambdaOptMF", seed, **fixed, reg_weight=best) for seed in SEEDS[1:]]
    learnt = [run("LambdaOptMF", seed) for seed in SEEDS]

    def seconds(runs: list[dict[str, Any]]) -> float:
        return mean(result["total"] for result in runs)

    search = sum(result["total"] for result in grid.values())
    names = [f"{part} {metric}" for part in ("valid", "test") for metric in METRICS]
    table = [
        row("BPR", bpr, seconds(bpr)),
        row(f"fixed λ, best of {len(GRID)}: {best:g}", searched, search),
        row("LambdaOptMF, λ learnt", learnt, seconds(learnt)),
    ]
    print()
    headers = ["", *names, "seconds"]
    print(tabulate(table, headers, disable_numparse=True, tablefmt="github"))
    total = perf_counter() - began
    print(f"seconds: to get one model, a search included; all of this took {total:.0f}")


if __name__ == "__main__":
    main()
