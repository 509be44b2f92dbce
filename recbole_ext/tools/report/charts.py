"""The pictures of the report and of the documentation; drawing them needs no screen."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from recbole_ext.runs.frequency_groups import frequency_groups
from recbole_ext.tools.report.evaluated_run import Point
from recbole_ext.tools.report.page import Chart

WIDTH = 10.0  # inches: the page's 1,000 points at the size of its text
_STYLE: Any = {
    "text.parse_math": False,  # a $ in a name is a $
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "font.size": 10,
}


@mpl.rc_context(_STYLE)
def picture(figure: Figure, alt: str) -> Chart:
    """A figure as an image for a page, with a description in words."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts may have it
        figure.savefig(file, format="svg", dpi=150, metadata={"Date": None})
    content = base64.b64encode(file.getvalue()).decode("ascii")
    return Chart(f"data:image/svg+xml;base64,{content}", alt)


def _panels(
    columns: int, rows: int = 1, height: float = 3.0, **options: Any
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def _line(axis: Axes, points: Sequence[Point], against: str, metric: str, **style: Any) -> None:
    marker = "." if len(points) < 40 else ""  # one point is no line
    xs, ys = ([point[name] for point in points] for name in (against, metric))
    axis.plot(xs, ys, marker=marker, **style)


@mpl.rc_context(_STYLE)
def learning_curves(points: Sequence[Point], metrics: Sequence[str], best: int) -> Figure:
    """A panel for each metric against the epoch; a line marks the epoch of the checkpoint."""
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, axes = _panels(columns, rows, height=2.5)
    for axis, metric in zip(axes, metrics, strict=False):
        _line(axis, points, "epoch", metric)
        axis.axvline(best, color="grey", linestyle=":", linewidth=1)
        axis.set_title("training loss" if metric == "train_loss" else f"validation {metric}")
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axis in axes[len(metrics) :]:
        axis.set_visible(False)
    return figure


@mpl.rc_context(_STYLE)
def compared_curves(
    curves: Mapping[str, Sequence[Point]], metric: str, dashed: Collection[str] = ()
) -> Figure:
    """One metric of several runs, against epochs and against seconds; ``dashed`` names lines."""
    figure, axes = _panels(2, height=3.6, sharey=True)
    for axis, against in zip(axes, ("epoch", "seconds"), strict=True):
        for name, points in curves.items():
            style = "--" if name in dashed else "-"
            _line(axis, points, against, metric, label=name, linestyle=style)
        axis.set_xlabel("epoch" if against == "epoch" else "seconds of training and validation")
    axes[0].set_ylabel(f"validation {metric}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    return figure


@mpl.rc_context(_STYLE)
def histograms(values: Mapping[str, NDArray[Any]], counted: Sequence[str], log: bool) -> Figure:
    """A panel for each array: bars for a few distinct numbers, else a histogram.

    Args:
        values: the arrays by the label of their axis, each of shape: [n]
        counted: the label of the counts in each panel.
        log: whether the counts' axis is logarithmic.
    """
    figure, axes = _panels(len(values), height=2.6)
    for axis, (name, numbers), label in zip(axes, values.items(), counted, strict=True):
        distinct, counts = np.unique(numbers, return_counts=True)
        if len(distinct) <= 10:
            axis.bar(range(len(distinct)), counts, width=0.7, log=log)
            axis.set_xticks(range(len(distinct)), [f"{value:.4g}" for value in distinct])
        else:
            axis.hist(numbers, bins=40, log=log)
        axis.set_xlabel(name)
        axis.set_ylabel(label)
        axis.yaxis.set_major_formatter("{x:,.0f}")  # a logarithm's own labels are formulas
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylim(bottom=0.5 if log else 0)
    return figure


@mpl.rc_context(_STYLE)
def group_bars(groups: Mapping[str, Sequence[Mapping[str, Any]]], metrics: Sequence[str]) -> Figure:
    """One metric of each side's frequency groups, as bars; ``metrics`` has one for each side."""
    figure, axes = _panels(len(groups), height=2.8)
    for axis, (side, rows), metric in zip(axes, groups.items(), metrics, strict=True):
        axis.bar(range(len(rows)), [row[metric] for row in rows], width=0.7)
        axis.set_xticks(range(len(rows)), [row["training ratings"] for row in rows])
        axis.set_xlabel(f"training ratings of the {side}")
        axis.set_ylabel(f"test {metric}")
    return figure


@mpl.rc_context(_STYLE)
def lambda_by_epoch(
    tables: Mapping[str, NDArray[Any]],
    counts: Mapping[str, NDArray[Any]],
    groups: int = 20,
    best: int | None = None,
) -> Figure:
    """λ by frequency and epoch: a heat map for each side, or a line where a side has one λ.

    Args:
        tables: λ by side, from :func:`recbole_ext.lambda_opt.lambda_network.dump.read_dump`.
        counts: the training ratings of each row by side, each of shape: [n_rows]
        groups: the number of groups of rows, rarest first; fewer if there are fewer rows.
        best: the epoch of the checkpoint, marked by a line.
    """
    figure, axes = _panels(len(tables), height=3.6)
    for axis, (side, strength) in zip(axes, tables.items(), strict=True):
        values = strength.mean(-1)  # over dimensions: [epochs, rows]
        if best is not None:
            colour = "grey" if values.shape[1] == 1 else "white"
            axis.axvline(best, color=colour, linestyle=":", linewidth=1)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if values.shape[1] == 1:
            axis.plot(values[:, 0])
            axis.set_ylabel(f"λ of every {side}")
            continue
        bands = min(groups, len(counts[side]) - 1)
        group = frequency_groups(torch.as_tensor(counts[side]), bands).numpy()
        image = np.stack([values[:, group == g].mean(-1) for g in range(bands)])
        shown = axis.imshow(image, aspect="auto", origin="lower", cmap="viridis")
        figure.colorbar(shown, ax=axis, label="mean λ")
        spans = [counts[side][group == g] for g in range(bands)]
        ticks = range(0, bands, max(1, bands // 5))
        axis.set_yticks(ticks, [f"{spans[g].min()}–{spans[g].max()}" for g in ticks])
        axis.set_ylabel(f"training ratings of the {side}")
    return figure


@mpl.rc_context(_STYLE)
def attention(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    use: Sequence[Mapping[str, float]] | None = None,
    width: float = WIDTH,
) -> Figure:
    """MAMO's attention by group of users, a heat map for each field, and the use of its slots.

    Args:
        groups: the results of :func:`recbole_ext.meta.judging.attention.attention_by_group`, by
            field.
        use: the result of ``slot_use``; ``None`` leaves the bars out.
        width: width of the figure in inches.
    """
    bars = [] if use is None else [max(6, sum(map(len, groups.values())) // 4)]
    widths = [*(max(2, len(rows)) for rows in groups.values()), *bars]
    figure = Figure(figsize=(width, 3.0), layout="constrained")
    axes = list(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths).flat)
    for axis, (field, rows) in zip(axes, groups.items(), strict=False):
        shown = _attention_map(axis, field, rows)
    if groups:
        figure.colorbar(shown, ax=axes[: len(groups)], label="mean attention")
    if use is not None:
        _slot_bars(axes[-1], use)
    return figure


def _attention_map(axis: Axes, field: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    image = np.array([row["attention"] for row in rows]).T  # [slots, groups]
    shown = axis.imshow(image, aspect="auto", cmap="viridis", vmin=0, vmax=1)
    names = [row["group"] for row in rows]
    turned = 90 if max(map(len, names)) > 3 or len(names) > 40 else 0
    axis.set_xticks(range(len(rows)), names, fontsize=7, rotation=turned)
    axis.set_yticks(range(len(image)), [f"slot {at + 1}" for at in range(len(image))])
    axis.set_xlabel(field)
    return shown


def _slot_bars(axis: Axes, use: Sequence[Mapping[str, float]]) -> None:
    places = np.arange(len(use))
    axis.set_ylim(0, 1.5)  # room for the legend
    axis.bar(places - 0.2, [slot["attention"] for slot in use], 0.4, label="mean attention")
    axis.bar(places + 0.2, [slot["most"] for slot in use], 0.4, label="users whose most it is")
    axis.set_xticks(places, [f"slot {at + 1}" for at in range(len(use))])
    axis.legend(fontsize=7)
