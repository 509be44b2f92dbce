"""The pictures of the docs, drawn from results/, from a run's λ dump and from a checkpoint.

    python benchmarks/figures.py                     # from results/ml-1m-recbole-gnn.jsonl
    python benchmarks/figures.py --dump saved/LambdaOptMF-…-lambda --name ml-100k
    python benchmarks/figures.py --attention saved/MAMO-….pth --name mamo-ml-1m

They go to docs/figures/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from compare import ROOT, chosen_runs, read, read_protocol, results_of
from matplotlib.axes import Axes
from tabulate import tabulate

from recbole_ext import load_data_and_model
from recbole_ext.evaluation.attention import attention_by_group, slot_use
from recbole_ext.evaluation.frequency_groups import frequency_groups
from recbole_ext.trainer.lambda_dump import read_dump

FIGURES = ROOT / "docs" / "figures"


def draw_groups(name: str, groups: list[str]) -> None:
    """NDCG of user quarters and recall of item quarters, mean and standard deviation of seeds."""
    protocol, done = read_protocol(name), read(results_of(name))
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
    """Validation curves of a learnt λ and of a grid's runs, on the first seed."""
    done = [run for run in read(results_of(name)) if run["curve"]]
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
    axis.set_ylim(0.8 * best, 1.02 * best)  # leaves out the λ that ruin the model
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation ndcg@10")
    axis.legend(fontsize=7, ncols=2)
    figure.savefig(FIGURES / f"{name}-curves.png", dpi=150)


def _line(axis: Axes, run: dict[str, Any], label: str, **style: Any) -> None:
    points = [(point["epoch"], point["ndcg@10"]) for point in run["curve"]]
    axis.plot(*zip(*points, strict=True), label=label, **style)


def draw_dump(folder: str, name: str, groups: int = 20) -> None:
    """λ by frequency and epoch: a heat map for each side, or a line where a side has one λ."""
    tables = read_dump(folder)
    counts = dict(np.load(Path(folder) / "ratings.npz"))
    figure, axes = plt.subplots(1, len(tables), figsize=(5 * len(tables), 3.6), squeeze=False)
    figure.set_layout_engine("constrained")
    for axis, (side, strength) in zip(axes[0], tables.items(), strict=True):
        values = strength.mean(-1)  # over dimensions: [epochs, rows]
        axis.set_xlabel("epoch")
        if values.shape[1] == 1:
            axis.plot(values[:, 0])
            axis.set_ylabel(f"λ of every {side}")
            continue
        group = frequency_groups(torch.as_tensor(counts[side]), groups).numpy()
        image = np.stack([values[:, group == g].mean(-1) for g in range(groups)])
        shown = axis.imshow(image, aspect="auto", origin="lower", cmap="viridis")
        figure.colorbar(shown, ax=axis, label="mean λ")
        spans = [counts[side][group == g] for g in range(groups)]
        ticks = range(0, groups, 4)
        axis.set_yticks(ticks, [f"{spans[g].min()}–{spans[g].max()}" for g in ticks])
        axis.set_ylabel(f"training ratings of the {side}")
    figure.savefig(FIGURES / f"{name}-lambda.png", dpi=150)


def draw_attention(checkpoint: str, name: str, fields: list[str]) -> None:
    """MAMO's attention by group of users, and the use of its slots."""
    _, model, dataset, *_ = load_data_and_model(checkpoint)
    groups = {field: attention_by_group(model, dataset, field) for field in fields}
    widths = [*map(len, groups.values()), 6]
    figure, axes = plt.subplots(
        1, len(widths), figsize=(14, 3.6), width_ratios=widths, layout="constrained"
    )
    use = slot_use(model)
    slots = [f"slot {at + 1}" for at in range(len(use))]
    for axis, (field, rows) in zip(axes, groups.items(), strict=False):
        image = np.array([row["attention"] for row in rows]).T
        shown = axis.imshow(image, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        axis.set_xticks(range(len(rows)), [row["group"] for row in rows], fontsize=7)
        axis.set_yticks(range(len(slots)), slots)
        axis.set_xlabel(field)
    figure.colorbar(shown, ax=list(axes[:-1]), label="mean attention")
    places = np.arange(len(use))
    axes[-1].set_ylim(0, 1.3)  # room for the legend
    axes[-1].bar(places - 0.2, [slot["attention"] for slot in use], 0.4, label="mean attention")
    axes[-1].bar(places + 0.2, [slot["most"] for slot in use], 0.4, label="users whose most it is")
    axes[-1].set_xticks(places, slots)
    axes[-1].legend(fontsize=7)
    figure.savefig(FIGURES / f"{name}-attention.png", dpi=150)
    print(tabulate(use, headers="keys", tablefmt="github", floatfmt=".4f"))


def rarest(name: str, groups: list[str]) -> str:
    """Figures of the rarest quarter of users and of items, mean ± standard deviation."""
    protocol, done = read_protocol(name), read(results_of(name))
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
    """Draw what is asked for."""
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
    groups = ["BPR (RecBole's)", *rivals, "LambdaOptMF (default)"]
    draw_groups(arguments.name, groups)
    learnt = "LambdaOptMF, λ from a tenth of the training ratings"
    draw_curves(arguments.name, learnt, ["fixed λ", "fixed λ, users only"])
    print(rarest(arguments.name, groups))


if __name__ == "__main__":
    main()
