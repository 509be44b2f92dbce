"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.tools.report import charts
from recbole_ext.tools.report.evaluated_run import EvaluatedRun, Point
from recbole_ext.tools.report.page import (
    NOTHING,
    Block,
    Cell,
    Chapter,
    Facts,
    Note,
    Section,
    Table,
    cell,
)
from recbole_ext.tools.report.sections import smaller_is_better, splits_validation
from recbole_ext.tools.report.settings_section import changed, whole


@dataclass(frozen=True)
class Outline:
    """The part of a run that a comparison keeps, without its data and weights.

    Attributes:
        name: the run's place in the report and its model.
        title: the model and the data set.
        data: the data set's name.
        split: a description of the data and its split; runs compare if theirs are equal.
        shares: whether λ took a part of the validation ratings.
        changed: the names of the settings that are not the defaults.
        settings: all settings.
    """

    name: str
    title: str
    data: str
    split: str
    shares: bool
    changed: list[str]
    settings: dict[str, Any]
    epoch: int
    metric: str
    valid: dict[str, float]
    test: dict[str, float]
    seconds: float | None
    curve: list[Point]


def outline(run: EvaluatedRun, number: int) -> Outline:
    """The outline of a run, named by its place in the report and its model."""
    sizes = [None if part is None else len(part) for part in run.parts.values()]
    split = (run.dataset.user_num, run.dataset.item_num, sizes, run.config["eval_args"])
    return Outline(
        name=f"{number} {run.config['model']}",
        title=f"{run.config['model']} on {run.config['dataset']}",
        data=str(run.config["dataset"]),
        split=f"{run.config['dataset']} {split}",
        shares=splits_validation(run),
        changed=[row["setting"] for row in changed(run.config)],
        settings=whole(run.config),
        epoch=run.checkpoint["epoch"],
        metric=run.metric,
        valid=run.valid,
        test=run.test,
        seconds=run.seconds,
        curve=run.curve,
    )


def compare(runs: Sequence[Outline]) -> Chapter:
    """The chapter that compares the runs; it comes before their own chapters."""
    sections = [_table(runs), _settings(runs), _curves(runs)]
    facts = Facts.of({"runs": len(runs), "data sets": len({run.data for run in runs})})
    shown = [section for section in sections if section is not None]
    return Chapter("Comparison", "All runs of this report", facts, shown)


def _table(runs: Sequence[Outline]) -> Section:
    splits = list(dict.fromkeys(run.split for run in runs))
    metrics = list(dict.fromkeys(name for run in runs for name in run.valid or run.test))
    rows = [_row(run, runs, metrics, splits) for run in runs]
    blocks: list[Block] = [Table.of(rows)]
    if len(splits) > 1:
        text = "Only runs with the same data and split, which carry the same letter, compare."
        blocks.insert(0, Note(text))
    shares = [run.name for run in runs if run.shares]
    if 0 < len(shares) < len(runs):
        text = "validated on ratings that λ did not learn from: “valid” is not that of the others."
        blocks.append(Note(f"{', '.join(shares)} {text}"))
    return Section(
        "results",
        "Test results",
        "“valid” is the value of the metric that chose the epoch; the other metrics are of the "
        "test, the best of runs with the same data and split in bold. Runs with different seeds "
        "differ by chance as well.",
        blocks,
    )


def _row(
    run: Outline, runs: Sequence[Outline], metrics: Sequence[str], splits: list[str]
) -> dict[str, Any]:
    rivals = [other for other in runs if other.split == run.split]
    test = {
        name: cell(run.test.get(name), best=run.test.get(name) == _best(rivals, name))
        for name in metrics
    }
    split = {"data, split": f"{run.data}, {_letter(splits.index(run.split))}"}
    return {
        "run": run.name,
        **(split if len(splits) > 1 else {}),
        "epoch": run.epoch,
        "chosen by": run.metric,
        "valid": run.valid.get(run.metric),
        **test,
        "seconds": cell(run.seconds, ".1f"),
    }


def _letter(place: int) -> str:
    """The letter of a split: A to Z, then A2 to Z2."""
    return chr(ord("A") + place % 26) + (str(place // 26 + 1) if place >= 26 else "")


def _best(runs: Sequence[Outline], metric: str) -> float | None:
    values = [run.test[metric] for run in runs if metric in run.test]
    if len(values) < 2:
        return None
    return min(values) if smaller_is_better(metric) else max(values)


def _settings(runs: Sequence[Outline]) -> Section | None:
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.changed):
        values = [str(run.settings[name]) if name in run.settings else NOTHING for run in runs]
        if len(set(values)) > 1:
            rows.append([Cell(name), *map(Cell, values)])
    if not rows:
        return None
    return Section(
        "settings",
        "Settings that differ",
        "Those of the settings that runs chose or their presets did; a dash: the model has none.",
        [Table(["setting", *(run.name for run in runs)], rows)],
    )


def _curves(runs: Sequence[Outline]) -> Section | None:
    """One picture for each group of runs with the same data, split and metric."""
    blocks: list[Block] = []
    for split, metric in dict.fromkeys((run.split, run.metric) for run in runs):
        alike = [run for run in runs if (run.split, run.metric) == (split, metric)]
        curves = {r.name: r.curve for r in alike if r.curve and all(metric in p for p in r.curve)}
        if len(curves) > 1:
            alt = f"Validation {metric} of {', '.join(curves)} by epoch and by seconds"
            dashed = {run.name for run in alike if run.shares}
            figure = charts.compared_curves(curves, metric, dashed)
            blocks.append(charts.picture(figure, alt))
    if not blocks:
        return None
    return Section(
        "curves",
        "Learning curves",
        "Validations against epochs and seconds, of runs with the same data, split and metric. "
        "Dashed: λ took a part of the validation ratings, the rest gives a curve of its own level.",
        blocks,
    )
