"""The result of a search as a table, as a yaml for ``recbole-ext run``, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from recbole_ext.runs.atomic_file import replace_text
from recbole_ext.tools.search.journal import Trial, best_of


def progress(trials: Sequence[Trial], total: int | None, bigger: bool) -> str:
    """A line with the progress of the search, its latest trial and its best score."""
    latest, best = trials[-1], best_of(trials, bigger)
    score = "no score" if latest.score is None else f"{latest.score:.4f}"
    found = "none" if best is None or best.score is None else f"{best.score:.4f}"
    of = f"/{total}" if total else ""
    why = f" ({latest.error})" if latest.error else ""
    return (
        f"trial {len(trials)}{of} {latest.status}: {score}{why} {_short(latest.settings)} · "
        f"best so far {found}"
    )


def trial_table(trials: Sequence[Trial], bigger: bool, metric: str) -> str:
    """A table of all trials: the best validation score first, stopped and failed trials last."""
    sign = -1 if bigger else 1
    worst = float("inf")
    ordered = sorted(
        trials,
        key=lambda t: (t.status != "done", worst if t.score is None else sign * t.score),
    )
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    rows = [
        [
            *(trial.settings.get(name) for name in names),
            trial.status,
            trial.score,
            trial.epochs,
            round(trial.seconds),
            trial.error or "",
        ]
        for trial in ordered
    ]
    headers = [*names, "status", f"valid {metric}", "validations", "seconds", "error"]
    return tabulate(rows, headers, tablefmt="github", floatfmt=".6g")


def write_table(table: str, path: Path) -> None:
    """Write a table to a file, completely or not at all."""
    replace_text(path, table + "\n")


def write_best(best: Trial, task: dict[str, Any], path: Path) -> None:
    """Write the settings of the best trial to a yaml for ``--config_files``."""
    settings = {**task, **best.settings}
    replace_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def draw(trials: Sequence[Trial], bigger: bool, metric: str, path: Path) -> None:
    """Draw the best score so far by trial, and parallel coordinates, on one page."""
    from plotly.graph_objects import Figure, Parcoords, Scatter

    scored = [t for t in trials if t.score is not None]
    best: list[float] = []
    for trial in scored:
        score = trial.score or 0.0
        best.append((max if bigger else min)(score, best[-1]) if best else score)
    numbers = list(range(1, len(scored) + 1))
    scores = [trial.score for trial in scored]
    text = [_short(trial.settings) for trial in scored]
    progress_figure = Figure(
        [
            Scatter(x=numbers, y=scores, text=text, mode="markers", name="trial"),
            Scatter(x=numbers, y=best, name="best so far", line_shape="hv"),
        ]
    )
    progress_figure.update_layout(
        xaxis_title="trial", yaxis_title=f"validation {metric}", template="plotly_white"
    )
    names = list(dict.fromkeys(name for trial in scored for name in trial.settings))
    axes = [_axis(name, [trial.settings.get(name) for trial in scored]) for name in names]
    axes.append({"label": metric, "values": scores})
    line = {"color": scores, "colorscale": "Viridis", "reversescale": not bigger}
    parallel = Figure([Parcoords(line=line, dimensions=axes)])
    pages = [
        progress_figure.to_html(full_html=False, include_plotlyjs=True),
        parallel.to_html(full_html=False, include_plotlyjs=False),
    ]
    head = '<!doctype html><html><head><meta charset="utf-8"><title>search</title></head><body>'
    replace_text(path, head + "".join(pages) + "</body></html>")


def _axis(name: str, values: list[Any]) -> dict[str, Any]:
    """A dimension of parallel coordinates; values that are not numbers are sorted as text."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return {"label": name, "values": values}
    words = sorted({str(value) for value in values})
    places = [words.index(str(value)) for value in values]
    return {"label": name, "values": places, "tickvals": [*range(len(words))], "ticktext": words}


def _short(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )
