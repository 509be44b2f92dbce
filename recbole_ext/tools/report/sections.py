"""The sections for every run: data, results, curves, frequency groups, time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset
from recbole.evaluator import smaller_metrics
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_ext.lambda_opt.trainer import BilevelTrainer
from recbole_ext.tools.report import charts
from recbole_ext.tools.report.evaluated_run import EvaluatedRun, Point
from recbole_ext.tools.report.page import Block, Cell, Facts, Folded, Note, Section, Table, cell

SCENARIOS = {
    "W-W": "warm user, warm item",
    "W-C": "warm user, cold item",
    "C-W": "cold user, warm item",
    "C-C": "cold user, cold item",
}
TRAINED = "W-W (training tasks)"


def smaller_is_better(metric: str) -> bool:
    """Whether a metric measures an error."""
    return metric.split("@")[0].lower() in smaller_metrics


def splits_validation(run: EvaluatedRun) -> bool:
    """Whether λ learnt from a share of the validation ratings."""
    if not isinstance(run.trainer, BilevelTrainer):
        return False
    return run.trainer.settings.learns_lambda and run.trainer.settings.lambda_source == "split"


def data(run: EvaluatedRun) -> Section:
    """The size of the data, its ratings, and the training ratings of users and items."""
    dataset, counts = run.dataset, dict(zip(("user", "item"), run.counts, strict=True))
    facts = {
        "users": dataset.user_num - 1,  # without RecBole's padding
        "items": dataset.item_num - 1,
        "interactions": dataset.inter_num,
        "sparsity": Cell(f"{100 * dataset.sparsity:.2f} %"),
        **{name: None if part is None else len(part) for name, part in run.parts.items()},
    }
    shown = {f"training ratings of the {side}": c[1:].numpy() for side, c in counts.items()}
    shown = {**_ratings(dataset), **shown}
    counted = ["interactions", "users", "items"][-len(shown) :]
    figure = charts.histograms(shown, counted, log=False)
    picture = charts.picture(figure, f"Histograms: {', '.join(shown)}")
    spread = Table.of([_spread(*item) for item in counts.items()])
    known = (
        " For a model that adapts, training counts all that may be known when a query is "
        "predicted, support sets included."
    )
    return Section(
        "data",
        "Data",
        "The data after RecBole's filters, and how many of its interactions are for training, for "
        "choosing the epoch (validation) and for the test." + known * run.adapts,
        [Facts.of(facts), spread, picture],
    )


def results(run: EvaluatedRun) -> Section:
    """The validation result in the checkpoint, and the result of the new test."""
    valid, scenarios = run.valid, (*SCENARIOS, TRAINED)
    test = {
        k: v for k, v in run.test.items() if not k.startswith(tuple(f"{s} " for s in scenarios))
    }
    rows = [
        {"metric": name, "validation": valid.get(name), "test": test.get(name)}
        for name in {**valid, **test}
    ]
    names = [row["metric"] for row in rows]
    marked = [names.index(run.metric)] if run.metric in names else []
    blocks: list[Block] = [Table.of(rows, marked=marked)]
    if splits_validation(run):
        text = f"λ learnt from {run.config['lambda_split_ratio']:g} of the validation ratings; "
        blocks.append(Note(text + "validation is on the rest, and compares with such runs only."))
    if run.config["test_neg_sample_args"]["sample_num"] != "none":
        blocks.append(Note("The test ranks among sampled items, which were drawn anew as well."))
    return Section(
        "results",
        "Results",
        f"{_chosen(run)}; the test was made anew for this report, on interactions that neither "
        "trained nor chose anything.",
        blocks,
    )


def scenarios(run: EvaluatedRun) -> Section | None:
    """Errors and nDCG by scenario, the model beside the baselines, for cold-start models."""
    rows = run.record.scenarios
    if not rows:
        return None
    known = [f"{name}: {text}" for name, text in SCENARIOS.items()]
    trained = any(row["scenario"] == TRAINED for row in rows)
    whole = "all test tasks" + " but those that were trained on" * trained
    return Section(
        "scenarios",
        "Scenarios and floors",
        "Warm users and items were trained on, cold ones were not. The other rows are floors: "
        "simple methods that predict the same ratings from the same support sets, which a model "
        "must beat to be worth its training. The best of each column is bold.",
        [
            Note(f"{'; '.join(known)}. “all” is over {whole}."),
            _by_scenario(rows, run.config["model"], "mae", "mean absolute error, lower is better"),
            _by_scenario(rows, run.config["model"], "ndcg_linear@5", "nDCG@5, higher is better"),
            Folded("All metrics of all methods", [Table.of(rows)]),
        ],
    )


def curves(run: EvaluatedRun) -> Section:
    """The training loss and every validation metric by epoch."""
    blocks: list[Block] = [Note(f"Not shown: {run.curve_problem}.")]
    if run.curve:
        metrics = curve_metrics(run.curve, first=run.metric)
        alt = f"Learning curves of {', '.join(metrics)} over {len(run.curve)} validations"
        figure = charts.learning_curves(run.curve, metrics, run.checkpoint["epoch"])
        blocks = [charts.picture(figure, alt), Folded("As numbers", [Table.of(run.curve)])]
    return Section(
        "curves",
        "Learning curves",
        f"Each validation of the run; the dotted line is epoch {run.checkpoint['epoch']} (the "
        "first is 0), whose weights the checkpoint holds.",
        blocks,
    )


def curve_metrics(curve: Iterable[Point], first: str) -> list[str]:
    """The names that all points of a curve have: the first metric, the loss, then the rest."""
    points = list(curve)
    names = [k for k in points[0] if k not in ("epoch", "seconds") and all(k in p for p in points)]
    return sorted(names, key=lambda name: (name != first, name != "train_loss"))


def frequency(run: EvaluatedRun) -> Section | None:
    """The test by frequency groups of users and items, for rankings only."""
    if run.config["eval_type"] == EvaluatorType.VALUE:
        return None
    groups = run.record.frequency_groups
    blocks: list[Block] = [Note("Only a ranking of all items (eval_args.mode: full) has groups.")]
    if groups:
        metrics = [_at_last(rows[0]) for rows in groups.values()]
        figure = charts.group_bars(groups, metrics)
        blocks = [charts.picture(figure, f"Test {' and '.join(metrics)} by frequency group")]
        blocks += [Table.of(rows, f"By training ratings of the {s}") for s, rows in groups.items()]
    return Section(
        "frequency",
        "By frequency",
        f"Users and items in {run.groups} groups of equal size by their training ratings, rarest "
        "first: a good mean can hide that rare users or items are served badly. For items, recall "
        "is the share of the group's test ratings that made it into the users' lists.",
        blocks,
    )


def hardware(run: EvaluatedRun) -> Section:
    """The machine that trained the run, and the time that it took."""
    machine = run.checkpoint.get("machine")
    time = {
        "training, validation (s)": cell(run.seconds, ".1f"),
        "to the best epoch (s)": cell(_seconds_to(run), ".1f"),
        "validations": len(run.curve) or None,
        "test, just now (s)": cell(run.record.clock.seconds.get("test"), ".2f"),
        "weights": sum(p.numel() for p in run.model.parameters()),
    }
    blocks: list[Block] = [Facts.of(time)]
    if machine:
        versions = machine["versions"]
        named = {key: value for key, value in machine.items() if key != "versions"}
        named["gpu"] = named.get("gpu") or "none"
        facts = {k: Cell(str(v)) for k, v in {**named, **versions}.items()}
        blocks.append(Facts.of(facts))
    else:
        blocks.append(Note("The checkpoint does not say which machine trained it: it is older."))
    return Section(
        "machine",
        "Hardware and time",
        "What trained this run, and how long it took; times compare only on the same machine.",
        blocks,
    )


def _chosen(run: EvaluatedRun) -> str:
    if not run.valid:
        return "Without a validation, the epoch is the last"
    better = "lower" if smaller_is_better(run.metric) else "higher"
    return f"Validation chose the epoch by the marked {run.metric} ({better} is better)"


def _seconds_to(run: EvaluatedRun) -> float | None:
    best = [p["seconds"] for p in run.curve if p["epoch"] == run.checkpoint["epoch"]]
    return best[-1] if best else None


def _ratings(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """The ratings by their label; empty if they were not loaded."""
    field = dataset.config["RATING_FIELD"]
    if field not in dataset.inter_feat:
        return {}
    scaled = dataset.config["normalize_all"] or field in (dataset.config["normalize_field"] or ())
    label = f"{field}, scaled to 0–1 (normalize_all)" if scaled else field
    return {label: dataset.inter_feat[field].numpy()}


def _spread(side: str, counts: Tensor) -> dict[str, Any]:
    counts = counts[1:].double()
    return {
        "training ratings of a": side,
        "least": int(counts.min()),
        "median": cell(float(torch.quantile(counts, 0.5)), "g"),
        "mean": cell(float(counts.mean()), ".1f"),
        "most": int(counts.max()),
        "without any": int((counts == 0).sum()),
    }


def _by_scenario(rows: list[dict[str, Any]], own: str, metric: str, caption: str) -> Table:
    """A table of one metric with a row for each method and a column for each scenario."""
    across = list(dict.fromkeys(row["scenario"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    value = {(row["method"], row["scenario"]): row[metric] for row in rows}
    pick = min if smaller_is_better(metric) else max
    best = {s: pick(value[m, s] for m in methods) for s in across}
    tasks = {row["scenario"]: row["tasks"] for row in rows}
    body = [
        [cell(m), *(cell(value[m, s], best=value[m, s] == best[s]) for s in across)]
        for m in methods
    ]
    columns = ["method", *(f"{s} ({tasks[s]:,} tasks)" for s in across)]
    marked = {at for at, method in enumerate(methods) if method.split(", ")[0] == own}
    return Table(columns, body, f"{metric}: {caption}", frozenset(marked))


def _at_last(row: dict[str, Any]) -> str:
    """The last metric of a row: nDCG of users, recall of items, at the longest list."""
    return list(row)[-1]
