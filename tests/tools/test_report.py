"""Reports say what the runs said, change nothing, and let nothing of the data run in a page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from recbole.config import Config

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.__main__ import main
from recbole_ext.lambda_opt.lambda_network.dump import dump_folder
from recbole_ext.meta.judging.attention import slot_use
from recbole_ext.meta.judging.evidence import evidence_candidates
from recbole_ext.runs.checkpoint import last_file, load_checkpoint, write_atomically
from recbole_ext.runs.learning_curve import curve_file
from recbole_ext.tools.report.page import cell
from tests.worlds.helpers import LAMBDA, LOOKAHEAD, QUICK, SHORT, small_world
from tests.worlds.places import ROOT
from tests.worlds.report_page import Page, Rows

SCRIPT = '<script>alert("x")</script>'


def train(model: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {**QUICK, **({"loss": "bpr"} if model == "LambdaOptMF" else {}), **settings, **more}
    return run_recbole(model, config_dict=given)


def report(*checkpoints: str, output: str = "report.html") -> Page:
    before = {path: Path(path).read_bytes() for path in checkpoints}
    assert main(["report", *checkpoints, f"--output={output}"]) == 0
    assert {path: Path(path).read_bytes() for path in checkpoints} == before
    return Page(output)


def shown(rows: list[dict[str, Any]]) -> Rows:
    """Rows as they stand in a table."""
    return [{name: cell(value).text for name, value in row.items()} for row in rows]


def test_metrics_and_groups_are_those_of_the_run(world: dict[str, Any]) -> None:
    result = train("LambdaOptMF", world)
    files = sorted(Path("saved").iterdir())
    page = report(result["checkpoint"])
    assert sorted(Path("saved").iterdir()) == files
    [metrics] = page.tables["1-results"]
    wanted = [
        {"metric": k, "validation": f"{result['best_valid_result'][k]:.4f}", "test": f"{v:.4f}"}
        for k, v in result["test_result"].items()
    ]
    assert metrics == wanted
    assert page.facts["1"]["test mrr@10"] == f"{result['test_result']['mrr@10']:.4f}"
    users, items = page.tables["1-frequency"]
    assert users == shown(result["frequency_groups"]["user"])
    assert items == shown(result["frequency_groups"]["item"])
    assert "validation is on the rest" in page.text["1-results"]
    facts = page.facts["1-data"]
    assert (facts["users"], facts["items"], facts["interactions"]) == ("20", "16", "160")
    assert page.facts["1-machine"]["torch"] == version("torch")


def test_curves_and_time_are_those_of_the_run(world: dict[str, Any]) -> None:
    result = train("BPR", world, epochs=3)
    page = report(result["checkpoint"])
    [curve] = page.tables["1-curves"]
    assert [row["mrr@10"] for row in curve] == [f"{p['mrr@10']:.4f}" for p in result["curve"]]
    assert [row["epoch"] for row in curve] == ["0", "1", "2"]
    seconds = page.facts["1-machine"]["training, validation (s)"]
    assert seconds == f"{result['curve'][-1]['seconds']:.1f}"


def test_lambda_is_the_checkpoints_table(world: dict[str, Any]) -> None:
    settings = {**LAMBDA, "lambda_granularity": "user+item", "lambda_initial": 0.05}
    result = train("LambdaOptMF", world, **settings, lambda_dump=True)
    network = load_checkpoint(result["checkpoint"])["modules"]["lambda_network"]
    page = report(result["checkpoint"])
    sizes, groups = page.tables["1-lambda"]
    for row, side in zip(sizes, ("user", "item"), strict=True):
        values = network[f"tables.{side}"][1:].double()  # without padding
        assert row["λ of"] == f"{side}s"
        assert row["how many"] == str(len(values))
        assert row["mean"] == f"{values.mean():.4g}"
        assert row["least"] == f"{values.min():.4g}"
        assert row["most"] == f"{values.max():.4g}"
    mine = [row for row in groups if row["side"] == "user"]
    assert [row["rows"] for row in mine] == ["5", "5", "5", "5"]
    mean = sum(float(row["mean λ"]) for row in mine) / 4
    assert mean == pytest.approx(float(network["tables.user"][1:].mean()), rel=1e-3)
    assert "lambda_dump" not in page.text["1-lambda"]
    assert "mathdefault" not in "".join(page.pictures())
    heat_map = page.pictures()[-2]  # the last is of frequency groups
    assert "mean λ" in heat_map
    assert "training ratings of the item" in heat_map


def test_one_lambda_is_said_in_full_and_how_to_see_its_course(world: dict[str, Any]) -> None:
    fixed = {"regularizer": "fixed", "lambda_granularity": "double-global", "reg_weight": 0.125}
    result = train("LambdaOptMF", world, **fixed)
    [[users, items]] = (page := report(result["checkpoint"])).tables["1-lambda"]
    assert users["mean"] == items["mean"] == "0.125"
    assert users["varies by"] == "nothing: one for all"
    assert "given, not learnt" in page.text["1-lambda"]
    assert "train with lambda_dump: True" in page.text["1-lambda"]
    text = report(train("LambdaOptMF", world)["checkpoint"]).text["1-lambda"]  # users only
    assert "The items are not regularised." in text
    assert "learnt in training" in text


def test_a_power_law_is_said_in_its_four_numbers(world: dict[str, Any]) -> None:
    result = train("LambdaOptMF", world, loss="softmax", **SHORT)
    law = r"user λ: [\d.]+·f\^[\d.-]+, item λ: [\d.]+·f\^[\d.-]+, where f is"
    assert re.search(law, report(result["checkpoint"]).text["1-lambda"])


def test_scenarios_memory_and_evidence_are_those_of_the_run(cold_world: dict[str, Any]) -> None:
    result = train("MAMO", cold_world)
    page = report(result["checkpoint"])
    errors, _, everything = page.tables["1-scenarios"]
    assert everything == shown(result["scenarios"])
    own = [row for row in result["scenarios"] if row["method"] == "MAMO"]
    assert list(errors[0].values()) == ["MAMO", *(f"{row['mae']:.4f}" for row in own)]
    for row in own:  # the best method's error of each scenario is bold
        rivals = [r["mae"] for r in result["scenarios"] if r["scenario"] == row["scenario"]]
        assert f"{min(rivals):.4f}" in page.bold
    _, model, dataset, *_ = load_data_and_model(result["checkpoint"])
    slots = [{"slot": i + 1, **row} for i, row in enumerate(slot_use(model))]
    assert page.tables["1-memory"] == [shown(slots)]
    [asked] = page.tables["1-evidence"]
    assert asked == shown(evidence_candidates(model, dataset))
    results = [row["metric"] for row in page.tables["1-results"][0]]
    assert results[:2] == ["mae", "rmse"]
    assert not [name for name in results if name.startswith(("W-", "C-"))]
    assert "1-frequency" not in page.tables  # ratings are no ranking


def test_several_runs_are_compared(world: dict[str, Any], write_dataset: Any) -> None:
    data = {"dataset": "other", "data_path": write_dataset(small_world(24), name="other")}
    chosen = ({"learning_rate": 0.001}, {"learning_rate": 0.05}, data, {"model": "LambdaOptMF"})
    runs = []
    for at, settings in enumerate(chosen):  # names have seconds: these would be the same
        settings = {"model": "BPR", **world, **settings, "checkpoint_dir": f"saved/{at}"}
        runs.append(train(settings.pop("model"), settings))
    page = report(*(run["checkpoint"] for run in runs))
    [table] = page.tables["1-results"]
    for row, run in zip(table, runs, strict=True):
        metrics = {name: f"{value:.4f}" for name, value in run["test_result"].items()}
        assert metrics.items() <= row.items()
    splits = [row["data, split"] for row in table]
    assert splits == ["world, A", "world, A", "other, B", "world, A"]
    best = max(run["test_result"]["mrr@10"] for run in (*runs[:2], runs[3]))
    assert f"{best:.4f}" in page.bold
    differ = {row.pop("setting"): list(row.values()) for row in page.tables["1-settings"][0]}
    assert differ["learning_rate"] == ["0.001", "0.05", "0.01", "0.01"]
    assert "4 LambdaOptMF validated on ratings that λ did not learn from" in page.text["1-results"]
    together = page.pictures()[0]
    for name in ("1 BPR", "2 BPR", "4 LambdaOptMF"):
        assert f">{name}<" in together
    assert "3 BPR" not in together
    assert "3. BPR on other" in page.text["4"]


def test_settings_tell_what_was_chosen_by_whom_and_repeat_the_run(world: dict[str, Any]) -> None:
    result = train("LambdaOptMF", world, preset="one-step", lambda_granularity="item")
    page = report(result["checkpoint"])
    chosen, everything = page.tables["1-settings"]
    by_name = {row["setting"]: row for row in chosen}
    assert by_name["lambda_granularity"]["value"] == "item"
    assert by_name["lambda_granularity"]["default"] == "power-law"
    assert by_name["lambda_granularity"]["set by"] == "the run"
    assert by_name["meta_gradient"]["set by"] == "preset one-step"
    assert by_name["lambda_learning_rate"]["value"] == str(LOOKAHEAD["lambda_learning_rate"])
    assert by_name["meta_gradient"]["default"] == "forward"
    assert by_name["embedding_size"]["meaning"].startswith("The embedding size")
    assert "dropout_prob" not in by_name
    assert len(everything) > len(chosen)
    Path("run.yaml").write_text(page.code, encoding="utf-8")
    again = Config("LambdaOptMF", "world", config_file_list=["run.yaml"]).final_config_dict
    run = load_checkpoint(result["checkpoint"])["config"].final_config_dict
    assert yaml.safe_load(page.code)["dataset"] == "world"
    assert {k: v for k, v in again.items() if k != "device"} == {
        k: v for k, v in run.items() if k != "device"
    }


def test_nothing_of_the_data_runs_or_is_loaded(cold_world: dict[str, Any]) -> None:
    folder = Path(cold_world["data_path"]) / "cold"
    lines = (folder / "cold.item").read_text().splitlines()
    bad = [f"{line}\t{SCRIPT}" for line in lines[1:]]
    (folder / "cold.item").write_text("\n".join([lines[0] + "\tmovie_title:token", *bad]) + "\n")
    users = (folder / "cold.user").read_text().replace("\t1\t", "\t$x_{<img src=x>\t")
    (folder / "cold.user").write_text(users)
    ignored = ["movie_title", "</style><script>alert(1)</script>"]
    result = train("MAMO", cold_world, ignored_fields=ignored)
    file = shutil.copy(result["checkpoint"], "<b>&'run'\".pth")
    page = report(file)
    assert page.tables["1-evidence"][0][0]["movie_title"] == SCRIPT
    assert SCRIPT.replace('"x"', "1") in page.text["1-settings"]
    assert file in page.text["1"]
    assert "script" not in page.tags
    assert page.tags.count("style") == page.tags.count("body") == 1
    assert page.tags.count("b") < 100
    for address in page.addresses:
        assert address.startswith(("#", "data:image/svg+xml;base64,"))
    pictures = "".join(page.pictures())
    assert "$x_{&lt;img src=x&gt;" in pictures  # neither an element nor a formula
    assert "<script" not in pictures
    html = Path("report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "default-src 'none'" in html
    assert "url(" not in html
    assert "@import" not in html
    assert page.tags.count("img") == html.count('alt="')


def test_rating_prediction_and_recboles_models_have_what_they_have(
    cold_world: dict[str, Any], world: dict[str, Any]
) -> None:
    size = {"dataset": "cold", "data_path": cold_world["data_path"], "embedding_size": 4}
    result = train("ResNetMF", size, train_batch_size=64)
    page = report(result["checkpoint"])
    assert {row["metric"] for row in page.tables["1-results"][0]} == set(result["test_result"])
    assert "1-frequency" not in page.text
    bpr = train("BPR", world, eval_args={"mode": "uni5"})
    page = report(bpr["checkpoint"])
    assert "sampled items, which were drawn anew" in page.text["1-results"]
    assert "Only a ranking of all items" in page.text["1-frequency"]
    assert not {"1-lambda", "1-memory", "1-evidence", "1-scenarios"} & set(page.text)


def test_what_is_missing_or_damaged_beside_a_checkpoint_is_said(world: dict[str, Any]) -> None:
    result = train("LambdaOptMF", world, lambda_dump=True)
    checkpoint = load_checkpoint(result["checkpoint"])
    del checkpoint["machine"]
    write_atomically(checkpoint, result["checkpoint"])
    curve_file(result["checkpoint"]).write_text("epoch,seco")
    next(dump_folder(result["checkpoint"]).glob("0*.npz")).write_bytes(b"PK\x03\x04broken")
    page = report(result["checkpoint"])
    assert "Not shown: " in page.text["1-curves"]
    assert "is no learning curve" in page.text["1-curves"]
    assert "cannot be read" in page.text["1-lambda"]
    assert "it is older" in page.text["1-machine"]
    unwatched = train("LambdaOptMF", world, eval_step=0)
    page = report(unwatched["checkpoint"])
    assert "there is no learning curve" in page.text["1-curves"]
    assert "Without a validation, the epoch is the last" in page.text["1-results"]
    assert {row["validation"] for row in page.tables["1-results"][0]} == {"–"}


def test_errors_are_one_line(world: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(train("LambdaOptMF", world)["checkpoint"])
    broken = Path("broken.pth")
    broken.write_bytes(file.read_bytes()[:1000])

    def error(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["report", *arguments]) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("error: ")
        assert printed.count("\n") == 1
        return printed

    assert "checkpoint gone.pth does not exist" in error("gone.pth")
    assert "broken.pth cannot be read: it is truncated" in error(str(broken))
    assert f"last state of a run; a report is of its best epoch, {file.name}" in error(
        str(last_file(file))
    )
    checkpoint = load_checkpoint(file)
    checkpoint["config"].final_config_dict["model"] = "MyModel"
    write_atomically(checkpoint, "own.pth")
    assert "own.pth is of MyModel, which is not known here" in error("own.pth")
    before = file.read_bytes()
    assert "--output must end in .html" in error(str(file), f"--output={file}")
    assert "there is no folder nowhere" in error(str(file), "--output=nowhere/report.html")
    data = Path(world["data_path"]) / "world" / "world.inter"
    data.write_text("\n".join(data.read_text().splitlines()[:80]) + "\n")
    assert "does not fit what it is loaded with: is its data set" in error(str(file))
    shutil.rmtree(data.parent)
    assert "dataset 'world': there is no folder" in error(str(file))
    assert file.read_bytes() == before
    assert not Path("report.html").exists()


def test_the_command_line_works_in_a_process_of_its_own(world: dict[str, Any]) -> None:
    """RecBole's metrics want what only a new ``Config`` gives numpy."""
    file = train("BPR", world)["checkpoint"]
    ours = ["-m", "recbole_ext", "report", file, "--output=a.html"]
    command = [sys.executable, "-W", "ignore", *ours]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "HOME": "."}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a.html\n", "")
    assert Page("a.html").tables["1-results"]
