"""The notebooks run from their first cell to their last, and are stored with what they show."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.worlds.places import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
nbformat = pytest.importorskip("nbformat", reason="needs pip install -e '.[docs]'")
nbclient = pytest.importorskip("nbclient", reason="needs pip install -e '.[docs]'")


def shown(notebook: Path) -> list[str]:
    """The texts that the stored cells have put out; a picture counts as its name."""
    cells = nbformat.read(notebook, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [output.get("text") or str(list(output["data"])) for output in outputs]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["a_new_user", "lambda_learnt", "two_runs"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_with_outputs_and_is_small(notebook: Path) -> None:
    assert shown(notebook)
    assert notebook.stat().st_size < 300_000
    assert not re.search(r"/(?:home|root|tmp|work)/", notebook.read_text())


def test_what_the_texts_say_is_what_the_outputs_show() -> None:
    pictures = [text for path in NOTEBOOKS for text in shown(path) if "image/png" in text]
    assert len(pictures) == 2
    learnt, fixed = re.findall(r"ndcg@10 ([\d.]+)", shown(ROOT / "examples/lambda_learnt.ipynb")[0])
    assert float(learnt) > float(fixed)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    """In its own folder, with two epochs; a cell that fails ends the test with its error."""
    cells = nbformat.read(notebook, as_version=4)
    environment = {**os.environ, "EPOCHS": "2", "PYTHONWARNINGS": "ignore"}
    client = nbclient.NotebookClient(
        cells,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(env=environment)
    assert all(cell.execution_count for cell in cells.cells if cell.cell_type == "code")
