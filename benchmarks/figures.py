"""Draw the documentation's figures, from results/, a run's λ dump or a checkpoint.

    python benchmarks/figures.py                     # from results/ml-1m-recbole-gnn.jsonl
    python benchmarks/figures.py --dump saved/LambdaOptMF-…-lambda --name ml-100k
    python benchmarks/figures.py --attention saved/MAMO-….pth --name mamo-ml-1m

The figures are written to docs/figures/.
"""

from __future__ import annotations

import argparse
import sys
from statistics import mean, stdev
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from compare import ROOT, chosen_runs, read_protocol, results_of
from matplotlib.axes import Axes
from tabulate import tabulate

from recbole_ext import load_data_and_model
from recbole_ext.lambda_opt.lambda_network.dump import read_counts, read_dump
from recbole_ext.meta.judging.attention import attention_by_group, slot_use
from recbole_ext.runs.json_lines import read_lines
from recbole_ext.tools.report import charts

FIGURES = ROOT / "docs" / "figures"


def draw_groups(name: str, groups: list[str]) -> None:
    """Draw NDCG by user quarter and recall by item quarter, with their standard deviations."""
    protocol, done = read_protocol(name), read_lines(results_of(name))
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for axis, side, metric in zip(axes, ("user", "item"), ("ndcg@10", "recall@10"), strict=True):
        width = 0.8 / len(groups)
        for i, group in enumerate(groups):
            runs = chosen_runs(protocol, done, group)
            values = np.array([[r[metric] for r in run["frequency_groups"][side]] for run in runs])
            where = np.arange(values.shape[1]) + i * width
            axis.bar(where, values.mean(0), width, yerr=values.std(0, ddof=1), label=group)
        spans = [row["training ratings"] for row in runs[0]["frequency_groups"][side]]
        axis.set_xticks(np.arange(len(spans)) + 0.4 - width / 2, spans)
        axis.set_xlabel(f"training ratings of the {side} (quarters, rarest first)")
        axis.set_ylabel(f"test {metric}")
    axes[0].legend(fontsize=8)
    figure.savefig(FIGURES / f"{name}-groups.png", dpi=150)


def draw_curves(name: str, learnt: str, grids: list[str]) -> None:
    """Draw the validation curves of a learnt λ and of the grids' runs, for the first seed."""
    done = [run for run in read_lines(results_of(name)) if run["curve"]]
    seed = read_protocol(name)["seeds"][0]
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for group, style in zip(grids, ("-", "--"), strict=False):
        runs = [run for run in done if run["group"] == group and run["seed"] == seed]
        for run in sorted(runs, key=lambda run: run["settings"]["reg_weight"]):
            label = f"{group} {run['settings']['reg_weight']:g}"
            _line(axis, run, label, linestyle=style, linewidth=1)
    for run in done:
        if run["group"] == learnt and run["seed"] == seed:
            _line(axis, run, learnt, color="black", linewidth=2)
    best = max(point["ndcg@10"] for run in done for point in run["curve"])
    axis.set_ylim(0.8 * best, 1.02 * best)  # leaves out the runs whose λ ruins the model
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation ndcg@10")
    axis.legend(fontsize=7, ncols=2)
    figure.savefig(FIGURES / f"{name}-curves.png", dpi=150)


def _line(axis: Axes, run: dict[str, Any], label: str, **style: Any) -> None:
    points = [(point["epoch"], point["ndcg@10"]) for point in run["curve"]]
    axis.plot(*zip(*points, strict=True), label=label, **style)


def draw_dump(folder: str, name: str) -> None:
    """Draw λ by frequency and epoch, as in a report."""
    figure = charts.lambda_by_epoch(read_dump(folder), read_counts(folder))
    figure.savefig(FIGURES / f"{name}-lambda.png", dpi=150)


def draw_attention(checkpoint: str, name: str, fields: list[str]) -> None:
    """Draw MAMO's attention by group of users and the use of its memory slots, as in a report."""
    _, model, dataset, *_ = load_data_and_model(checkpoint)
    groups = {field: attention_by_group(model, dataset, field) for field in fields}
    use = slot_use(model)
    figure = charts.attention(groups, use, width=14)
    figure.savefig(FIGURES / f"{name}-attention.png", dpi=150)
    print(tabulate(use, headers="keys", tablefmt="github", floatfmt=".4f"))


def rarest(name: str, groups: list[str]) -> str:
    """Metrics of the rarest quarter of users and of items, mean ± standard deviation."""
    protocol, done = read_protocol(name), read_lines(results_of(name))
    lines = []
    for group in groups:
        runs = chosen_runs(protocol, done, group)
        cells = []
        for side, metric in (("user", "recall@10"), ("user", "ndcg@10"), ("item", "recall@10")):
            values = [run["frequency_groups"][side][0][metric] for run in runs]
            cells.append(f"{mean(values):.4f} ± {stdev(values):.4f}")
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Draw the figures that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--dump", help="a run's λ dump: draw λ by frequency and epoch")
    parser.add_argument("--attention", help="a checkpoint of MAMO: draw its attention")
    parser.add_argument("--fields", nargs="+", default=["age", "occupation"], help="of users")
    parser.add_argument(
        "--name", default="ml-1m-recbole-gnn", help="the protocol, or the picture's"
    )
    arguments = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    FIGURES.mkdir(exist_ok=True)
    if arguments.attention:
        draw_attention(arguments.attention, arguments.name, arguments.fields)
        return
    if arguments.dump:
        draw_dump(arguments.dump, arguments.name)
        return
    rivals = ["fixed λ", "fixed λ, users only", "frequency λ"]
    groups = ["BPR (RecBole's)", *rivals, "LambdaOptMF, loss: bpr"]
    draw_groups(arguments.name, groups)
    learnt = "LambdaOptMF, λ from a tenth of the training ratings"
    draw_curves(arguments.name, learnt, ["fixed λ", "fixed λ, users only"])
    print(rarest(arguments.name, groups))


if __name__ == "__main__":
    main()
