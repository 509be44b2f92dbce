"""The end of a run, for people: metrics, seconds, checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate


def summarize(model: str, dataset: str, result: Mapping[str, Any] | None) -> str:
    """Lay out the result of :func:`recbole_ext.run_recbole`.

    Args:
        model: the model's name.
        dataset: the dataset's name.
        result: what the run returned; of several processes there may be none.

    Returns:
        Several lines of text.
    """
    if result is None:
        return f"{model} on {dataset}: no result came back; see the log"
    valid, test = result["best_valid_result"] or {}, result["test_result"] or {}
    rows = [(metric, valid.get(metric), test.get(metric)) for metric in {**valid, **test}]
    lines = [
        "",
        f"{model} on {dataset}",
        tabulate(rows, ("metric", "valid", "test"), floatfmt=".4f"),
    ]
    for side, groups in (result.get("frequency_groups") or {}).items():
        lines += ["", f"test, by training ratings of the {side} (rarest first)"]
        lines.append(tabulate(groups, headers="keys", floatfmt=".4f"))
    if "seconds" in result:  # of several processes there are only the metrics
        seconds = [f"{name} {value:.1f}" for name, value in result["seconds"].items()]
        lines.append("seconds: " + ", ".join(seconds))
        lines.append(f"checkpoint: {result['checkpoint'] or 'not saved'}")
    return "\n".join(lines)
