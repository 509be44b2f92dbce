"""Write one page about one or several runs: ``recbole-ext report``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from recbole_ext.runs.atomic_file import replace_text
from recbole_ext.tools.report import model_sections, sections
from recbole_ext.tools.report.comparison import compare, outline
from recbole_ext.tools.report.evaluated_run import EvaluatedRun, evaluate_run
from recbole_ext.tools.report.page import Chapter, Facts, cell, render
from recbole_ext.tools.report.settings_section import settings

DESCRIPTION = """\
Write one page about one or several runs. The page is one file and needs no network.

    recbole-ext report saved/LambdaOptMF-….pth saved/BPR-….pth --output report.html

A run is given by its checkpoint. Its data set is loaded and the model is tested again; nothing is
trained, and no checkpoint is changed.
"""
TAKES_SETTINGS = False
PARTS = (
    settings,
    sections.data,
    sections.results,
    sections.scenarios,
    sections.curves,
    model_sections.strengths,
    sections.frequency,
    model_sections.memory,
    model_sections.evidence,
    sections.hardware,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the runs and the output."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="path of the run's checkpoint")
    parser.add_argument("--output", default="report.html", help="file to write the page to")


def main(options: argparse.Namespace) -> str:
    """Write the report; returns the page's path."""
    logging.basicConfig(level=logging.ERROR)  # before RecBole prints the runs' whole settings
    write_report(options.runs, options.output)
    return str(options.output)


def write_report(checkpoints: Sequence[str | Path], output: str | Path) -> None:
    """Test some runs and write their report.

    Args:
        checkpoints: checkpoints of the runs; they are only read.
        output: the page's file, which ends in ``.html``.

    Raises:
        FileNotFoundError: if a checkpoint, its data set or the output's folder does not exist.
        ValueError: if a checkpoint is damaged or does not fit its data, or ``output`` has another
            ending.
    """
    from recbole_ext import __version__

    output = Path(output)
    _check(output)
    chapters, outlines = [], []
    for number, path in enumerate(checkpoints, start=1):
        run = evaluate_run(path)
        chapters.append(chapter(run, f"{number}. " * (len(checkpoints) > 1)))
        outlines.append(outline(run, number))
        del run  # frees its data before the next run's are loaded
    if len(chapters) > 1:
        chapters.insert(0, compare(outlines))
    title = outlines[0].title if len(outlines) == 1 else f"{len(outlines)} runs"
    made = f"Written {datetime.now():%d %B %Y, %H:%M}, by recbole_ext {__version__}"
    replace_text(output, render(f"Report: {title}", made, chapters))


def chapter(run: EvaluatedRun, number: str = "") -> Chapter:
    """The chapter on one run; ``number`` comes before its title."""
    metric = run.metric
    facts = {
        f"test {metric}": run.test.get(metric),
        f"valid {metric}": run.valid.get(metric),
        "epoch": run.checkpoint["epoch"],
        "training seconds": cell(run.seconds, ".1f"),
    }
    found = [part(run) for part in PARTS]
    return Chapter(
        title=f"{number}{run.config['model']} on {run.config['dataset']}",
        subtitle=str(run.path),
        facts=Facts.of(facts),
        sections=[section for section in found if section is not None],
    )


def _check(output: Path) -> None:
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--output must end in .html, got {output}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {output.parent}")
