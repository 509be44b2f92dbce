"""Learning curves: written beside the checkpoint, read back, drawn."""

from __future__ import annotations

import csv
import io
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_ext import run_recbole
from recbole_ext.__main__ import main
from recbole_ext.runs.learning_curve import curve_file, read_curve, write_curve
from recbole_ext.tools import plot
from tests.worlds.helpers import QUICK

HEADER = "epoch,seconds,train_loss,rmse,mae\n"


def train(world: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return run_recbole("BPR", None, None, {**QUICK, **world, "metrics": ["Recall"], **settings})


RANKING = {"valid_metric": "Recall@5", "topk": [5]}


def test_every_run_leaves_its_curve_beside_its_checkpoint(world: dict[str, Any]) -> None:
    result = train(world, epochs=3, **RANKING)
    points = read_curve(curve_file(result["checkpoint"]))
    assert points == [{k: pytest.approx(v) for k, v in p.items()} for p in result["curve"]]
    assert [point["epoch"] for point in points] == [0, 1, 2]
    assert list(points[0]) == ["epoch", "seconds", "train_loss", "recall@5"]
    seconds = [point["seconds"] for point in points]
    assert seconds == sorted(seconds)


def test_a_curve_is_written_to_the_byte_as_csv_writes_it() -> None:
    points = [
        {"epoch": 0, "seconds": 0.1 + 0.2, "train_loss": None, "auc": float("nan"), "hit": 1},
        {"epoch": 1, "seconds": 1e9 / 3, "train_loss": 1e-7, "auc": float("inf"), "hit": 0.5},
        {"epoch": 2, "seconds": 2e22, "train_loss": np.float32(0.1), "auc": 0.1, "hit": 0.0},
    ]
    expected = io.StringIO()
    writer = csv.DictWriter(expected, list(points[0]))
    writer.writeheader()
    writer.writerows(points)
    file = Path("a-curve.csv")
    write_curve(points, file)
    assert file.read_bytes() == expected.getvalue().encode()
    first, *others = read_curve(file)
    assert first == {
        "epoch": 0,
        "seconds": 0.1 + 0.2,
        "auc": pytest.approx(nan, nan_ok=True),
        "hit": 1,
    }
    assert others == [{**points[1]}, {**points[2], "train_loss": 0.1}]


def test_a_run_that_saves_nothing_leaves_no_curve(world: dict[str, Any]) -> None:
    settings = {**QUICK, **world, "metrics": ["Recall"], **RANKING}
    result = run_recbole("BPR", None, None, settings, saved=False)
    assert len(result["curve"]) == 2
    assert not list(Path().glob("saved/*-curve.csv"))


def test_a_resumed_run_goes_on_with_its_curve(world: dict[str, Any]) -> None:
    first = train(world, epochs=2, **RANKING)
    file = curve_file(first["checkpoint"])
    saved = len(read_curve(file))
    resumed = train(world, epochs=4, resume_file=first["checkpoint"], **RANKING)
    points = read_curve(file)
    epochs = [point["epoch"] for point in points]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == 3
    assert saved <= len(points) <= 4
    seconds = [point["seconds"] for point in points]
    assert seconds == sorted(seconds)
    assert resumed["curve"][0]["epoch"] == 0


def test_the_last_state_has_the_curve_of_its_run() -> None:
    assert curve_file("saved/a-last.pth") == curve_file("saved/a.pth") == Path("saved/a-curve.csv")


def test_a_damaged_curve_does_not_stop_a_resumed_run(world: dict[str, Any]) -> None:
    first = train(world, epochs=2, **RANKING)
    file = curve_file(first["checkpoint"])
    file.write_text("epoch,seco")
    train(world, epochs=4, resume_file=first["checkpoint"], **RANKING)
    assert read_curve(file)[-1]["epoch"] == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a-curve.csv is empty: run the model again"),
        (HEADER, "has no line after its header"),
        ("user,item\n1,2\n", "is no learning curve: it begins with 'user,item'"),
        (HEADER + "0,1.5,0.9,1.0,0.8\n1,3.0,0.", "line 3: 3 values for 5 columns; remove the line"),
        (HEADER + '0,1.5,0.9,"1,0.8"\n', "line 2: rmse is no number: '\"1'"),
        (HEADER + "0,1.5,0.9,x,0.8\n", "line 2: rmse is no number: 'x'"),
        (HEADER + "0,1.5,0.9,1.0,\n", "line 2: mae is no number: ''"),
        (HEADER + "0.0,1.5,0.9,1,0.8\n", "line 2: epoch is no number: '0.0'"),
        (HEADER + "0,1.5,0.9,1,0.8,7\n", "line 2: 6 values for 5 columns; remove the line"),
        (
            HEADER + "0,1.5,0.9,1,0.8\n\n1,1.5,0.9,1,0.8,7\n",
            "line 3: 0 values for 5 columns; remove the line",
        ),
        (
            HEADER + "0,1.5,0.9,1,0.8\n1,1.5,0.9,1,0.8,7,8\n",
            "line 3: 7 values for 5 columns; remove the line",
        ),
    ],
)
def test_a_damaged_curve_is_named_with_its_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a-curve.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_curve(file)
    assert main(["plot", str(file)]) == 1
    assert message in capsys.readouterr().err


def two_runs(tmp_path: Path) -> list[str]:
    runs = []
    for name, error in (("linear", 1.0), ("resnet", 0.9)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "old-curve.csv").write_text(HEADER + "0,9.0,9.0,9.0,9.0\n")
        lines = f"0,1.5,0.9,{error},0.8\n1,3.0,0.8,{error - 0.1},0.7\n"
        (folder / "X-curve.csv").write_text(HEADER + lines)
        runs.append(str(folder))
    return runs


def test_folders_give_their_latest_curve_and_the_runs_name(tmp_path: Path) -> None:
    curves = plot.load_curves(two_runs(tmp_path))
    assert list(curves) == ["linear", "resnet"]
    assert [point["rmse"] for point in curves["resnet"]] == [0.9, 0.8]
    curves = plot.load_curves([tmp_path / "linear" / "X.pth"])
    assert list(curves) == ["X"]


@pytest.mark.parametrize("against", ["seconds", "epoch"])
def test_curves_are_drawn_as_a_picture_and_as_a_page(against: str, tmp_path: Path) -> None:
    runs = two_runs(tmp_path)
    for name in ("a.png", "a.html", "a.svg"):
        output = tmp_path / name
        assert main(["plot", *runs, "--against", against, "--output", str(output)]) == 0
        assert output.stat().st_size > 1000
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "a.html").read_text()
    assert "validation rmse" in page
    assert 'src="http' not in page  # it needs no network
    assert plot.LABELS[against] in page
    output = tmp_path / "b.html"
    assert main(["plot", *runs, "--limits", "0.7", "0.95", "--output", str(output)]) == 0
    assert '"range":[0.7,0.95]' in output.read_text()
    assert '"range":[0.7' not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "rmsee"], "Did you mean rmse"),
        (["--limits", "2", "1"], "--limits must be low before high, got 2 1"),
        (["--output", "a.gif"], "--output must end in .png, .svg, .pdf or .html, got a.gif"),
        (["nowhere"], "there is no learning curve nowhere-curve.csv"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", *two_runs(tmp_path), *arguments]) == 1
    assert message in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["plot", str(tmp_path / "empty")]) == 1
    assert "there is no learning curve (*-curve.csv) in" in capsys.readouterr().err


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    run = two_runs(tmp_path)[0]
    with pytest.raises(ValueError, match="two runs are named 'linear'"):
        plot.load_curves([run, run])
