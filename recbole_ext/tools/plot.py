"""Draw the learning curves of several runs in one picture: ``recbole-ext plot``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from recbole_ext.runs.learning_curve import SUFFIX, Point, curve_file, read_curve
from recbole_ext.settings.reading import nearest

DESCRIPTION = """\
Draw the learning curves of several runs in one picture.

    recbole-ext plot saved/linear saved/mlp saved/resnet --metric rmse --output rmse.png

A run is given by its checkpoint, by its curve (…-curve.csv), or by a folder, whose latest curve is
drawn under the folder's name. The ending of --output gives the format: .png, .svg, .pdf or .html.
"""
TAKES_SETTINGS = False
IMAGES = (".png", ".svg", ".pdf")
LABELS = {"epoch": "epoch", "seconds": "seconds of training"}
Curves = dict[str, list[Point]]


def load_curves(runs: Sequence[str | Path]) -> Curves:
    """Read the curves of some runs.

    Args:
        runs: checkpoints, curves, or folders with curves.

    Returns:
        The curves by the name of the run, which is the name of its folder or of its file.

    Raises:
        FileNotFoundError: if a run has no curve.
        ValueError: if a curve is damaged, or two runs have one name.
    """
    curves: Curves = {}
    for run in map(Path, runs):
        file = _curve_of(run)
        name = run.name if run.is_dir() else file.name.removesuffix(SUFFIX)
        if name in curves:
            raise ValueError(f"two runs are named {name!r}: put them into folders of other names")
        curves[name] = read_curve(file)
    return curves


def draw(
    curves: Curves,
    metric: str,
    output: str | Path,
    against: str = "seconds",
    limits: Sequence[float] | None = None,
) -> None:
    """Draw one metric of all curves.

    Args:
        curves: the curves by the name of the run.
        metric: a validation metric, or ``train_loss``.
        output: path of the picture; its ending gives the format.
        against: ``seconds`` or ``epoch``.
        limits: the least and the largest value shown; all by default.

    Raises:
        ValueError: if a curve has no such metric, the ending is unknown, or the limits are in the
            wrong order.
    """
    for name, points in curves.items():
        if any(metric not in point for point in points):
            known = [key for key in points[0] if key not in LABELS]
            raise ValueError(
                f"{name} has no metric {metric!r}.{nearest(metric, known)} It has "
                f"{', '.join(known)}"
            )
    lines = {
        name: ([point[against] for point in points], [point[metric] for point in points])
        for name, points in curves.items()
    }
    if limits is not None and not limits[0] < limits[1]:
        raise ValueError(f"--limits must be low before high, got {limits[0]:g} {limits[1]:g}")
    output = Path(output)
    if output.suffix == ".html":
        _draw_page(lines, metric, output, LABELS[against], limits)
    elif output.suffix in IMAGES:
        _draw_image(lines, metric, output, LABELS[against], limits)
    else:
        raise ValueError(f"--output must end in {', '.join(IMAGES)} or .html, got {output}")


def _curve_of(run: Path) -> Path:
    if run.is_dir():
        found = sorted(run.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)
        if not found:
            raise FileNotFoundError(f"there is no learning curve (*{SUFFIX}) in {run}")
        return found[-1]
    return run if run.name.endswith(SUFFIX) else curve_file(run)


def _draw_image(
    lines: dict, metric: str, output: Path, label: str, limits: Sequence[float] | None
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, (x, y) in lines.items():
        axis.plot(x, y, label=name)
    axis.set_xlabel(label)
    axis.set_ylabel(_label(metric))
    axis.legend()
    if limits is not None:
        axis.set_ylim(*limits)
    figure.savefig(output, dpi=150)
    pyplot.close(figure)


def _draw_page(
    lines: dict, metric: str, output: Path, label: str, limits: Sequence[float] | None
) -> None:
    from plotly.graph_objects import Figure, Scatter

    figure = Figure([Scatter(x=x, y=y, name=name) for name, (x, y) in lines.items()])
    figure.update_layout(xaxis_title=label, yaxis_title=_label(metric), template="plotly_white")
    figure.update_yaxes(range=limits)
    figure.write_html(output, include_plotlyjs=True)


def _label(metric: str) -> str:
    return "training loss" if metric == "train_loss" else f"validation {metric}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the runs, the metric, the axes and the output."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="checkpoint, curve or folder")
    parser.add_argument("--metric", help="metric to draw; by default the curves' first")
    parser.add_argument(
        "--against", choices=list(LABELS), default="seconds", help="the horizontal axis"
    )
    limits = ("LOW", "HIGH")
    parser.add_argument(
        "--limits", nargs=2, type=float, metavar=limits, help="least and largest value shown"
    )
    parser.add_argument("--output", default="curves.png", help="file to write the picture to")


def main(options: argparse.Namespace) -> str:
    """Draw the picture; returns its path."""
    curves = load_curves(options.runs)
    first = next(iter(curves.values()))[0]
    metric = options.metric or next(k for k in first if k not in (*LABELS, "train_loss"))
    draw(curves, metric.lower(), options.output, options.against, options.limits)
    return str(options.output)
