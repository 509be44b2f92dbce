"""The summary of a run as text: its metrics, seconds and checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from recbole_ext.runs.learning_curve import curve_file


def scenario_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A text table of the metrics by scenario and method, grouped by scenario."""
    order = list(dict.fromkeys(row["scenario"] for row in rows))
    ordered = sorted(rows, key=lambda row: order.index(row["scenario"]))
    return tabulate(ordered, headers="keys", floatfmt=".4f")


def summarize(model: str, dataset: str, result: Mapping[str, Any] | None) -> str:
    """Format the result of :func:`recbole_ext.run_recbole` for people.

    Args:
        model: the model's name.
        dataset: the dataset's name.
        result: the result of the run, or ``None`` in a program that has not the first process.

    Returns:
        Several lines of text, none without a result.
    """
    if result is None:
        return ""
    valid, test = result["best_valid_result"] or {}, result["test_result"] or {}
    by_scenario = result.get("scenarios") or []
    # The table by scenario already shows the metrics of the test.
    metrics = valid if by_scenario else {**valid, **test}
    rows = [(metric, valid.get(metric), test.get(metric)) for metric in metrics]
    lines = [
        "",
        f"{model} on {dataset}",
        tabulate(rows, ("metric", "valid", "test"), floatfmt=".4f"),
    ]
    if by_scenario:
        lines += ["", "test by scenario", scenario_table(by_scenario)]
    for side, groups in (result.get("frequency_groups") or {}).items():
        lines += ["", f"test, by training ratings of the {side} (rarest first)"]
        lines.append(tabulate(groups, headers="keys", floatfmt=".4f"))
    if "seconds" in result:  # RecBole's own result has the metrics only
        seconds = [f"{name} {value:.1f}" for name, value in result["seconds"].items()]
        lines.append("seconds: " + ", ".join(seconds))
        if result["checkpoint"] and result.get("curve"):
            lines.append(f"learning curve: {curve_file(result['checkpoint'])}")
        lines.append(f"checkpoint: {result['checkpoint'] or 'not saved'}")
    return "\n".join(lines)
