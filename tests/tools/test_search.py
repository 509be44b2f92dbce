"""``recbole-ext search`` from its arguments to its files."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import yaml

from recbole_ext.__main__ import main
from recbole_ext.tools.search.journal import Journal, Trial, best_of
from recbole_ext.tools.search.space import read_space
from recbole_ext.tools.search.task import Task
from recbole_ext.tools.search.trials_table import draw, progress, trial_table
from tests.worlds.searches import arguments, lines

__all__ = ["arguments"]


def test_all_combinations_are_tried_and_the_least_error_wins(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", *arguments, "--display_file=out.html"]) == 0
    trials = lines()
    chosen = {(t["settings"]["learning_rate"], t["settings"]["net"]) for t in trials}
    assert chosen == {(rate, net) for rate in (0.01, 0.001) for net in ("linear", "mlp")}
    best = min(trials, key=lambda trial: trial["score"])
    given = yaml.safe_load(Path("out.result.yaml").read_text())
    assert given["learning_rate"] == best["settings"]["learning_rate"]
    assert given["net"] == best["settings"]["net"]
    printed = capsys.readouterr().out
    assert "trial 4/4 done" in printed
    assert "4 done, 0 stopped, 0 failed" in printed
    assert f"rmse {best['test']['rmse']}" in printed
    others = {str(t["test"]["rmse"]) for t in trials} - {str(best["test"]["rmse"])}
    table = Path("out.result").read_text()
    assert not any(value in table for value in others)  # only the best is tested in the open
    page = Path("out.html").read_text()
    assert '"name":"best so far"' in page
    assert '"label":"learning_rate"' in page
    assert not list(Path().glob("saved/*.pth"))


def test_the_best_yaml_repeats_the_best_trial(arguments: list[str]) -> None:
    assert main(["search", *arguments]) == 0
    best = min(lines(), key=lambda trial: trial["score"])
    from recbole_ext import run_recbole

    result = run_recbole("ResNetMF", "rated", ["out.result.yaml"], {"state": "ERROR"})
    assert result["best_valid_score"] == pytest.approx(best["score"])


def test_a_search_is_resumed_without_repeating_a_trial(arguments: list[str]) -> None:
    assert main(["search", *arguments]) == 0
    whole = Path("out.result.jsonl").read_text()
    kept = whole.splitlines(keepends=True)[:3]
    Path("out.result.jsonl").write_text(
        "".join(kept) + '{"settings": {"learn'
    )  # killed while writing
    assert main(["search", *arguments, "--resume"]) == 0
    text = Path("out.result.jsonl").read_text()
    assert text.startswith("".join(kept))
    found, wanted = lines(), [json.loads(line) for line in whole.splitlines()[1:]]
    assert [t["settings"] for t in found] == [t["settings"] for t in wanted]
    assert [t["score"] for t in found] == [t["score"] for t in wanted]


@pytest.mark.parametrize("algorithm", ["random", "bayes"])
def test_so_many_trials_are_drawn_and_a_resumed_search_draws_the_same(
    algorithm: str, arguments: list[str]
) -> None:
    Path("space.test").write_text("learning_rate loguniform -7,-4\nhidden_size quniform 2,8,2\n")
    arguments = [*arguments, f"--algo={algorithm}", "--num_samples=3"]
    assert main(["search", *arguments]) == 0
    trials = lines()
    assert len(trials) == 3
    whole = Path("out.result.jsonl").read_text().splitlines(keepends=True)
    Path("out.result.jsonl").write_text("".join(whole[:2]))
    assert main(["search", *arguments, "--resume"]) == 0
    assert [t["settings"] for t in lines()] == [t["settings"] for t in trials]
    for trial in trials:
        assert math.exp(-7) <= trial["settings"]["learning_rate"] <= math.exp(-4)
        assert trial["settings"]["hidden_size"] in (2, 4, 6, 8)


def test_a_failing_trial_is_recorded_and_the_search_goes_on(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("space.test").write_text("learning_rate choice [1e30,0.01]\n")
    assert main(["search", *arguments, "--epochs=2", "--net=linear"]) == 0
    assert {trial["status"] for trial in lines()} == {"failed", "done"}
    failed = next(trial for trial in lines() if trial["status"] == "failed")
    assert "nan" in failed["error"].lower()
    assert "1 done, 0 stopped, 1 failed" in capsys.readouterr().out


def test_if_all_trials_fail_the_reason_is_said(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("space.test").write_text("learning_rate choice [1e30,1e29]\n")
    assert main(["search", *arguments, "--net=linear"]) == 1
    message = capsys.readouterr().err
    assert "none of the 2 trials ran to its end; the first because of" in message
    assert not Path("out.result.yaml").exists()


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        ("learning_rat choice [0.1]", [], "'learning_rat'. Did you mean learning_rate"),
        ("net choice ['mlp','cnn']", [], "net must be one of linear, mlp, resnet; got 'cnn'"),
        (
            "dropout_prob uniform 0,2",
            [],
            "dropout_prob must be a number of at least 0 and below 1, got 1.998",
        ),
        ("valid_metric choice ['MAE']", [], "valid_metric cannot be searched"),
        ("net choice ['os.nothing']", [], "net: 'os.nothing' does not fit"),
        ("net choice ['mlp']", ["--resume_file=a.pth"], "each trial begins anew"),
        ("net choice ['mlp']", ["--eval_step=0"], "eval_step must be a whole number of at least 1"),
        ("net choice ['mlp']", ["--display_file=nowhere/a.html"], "there is no folder"),
        ("weight_decay uniform 0,1", ["--algo=exhaustive"], "weight_decay is uniform"),
        ("net choice ['mlp']", ["--tool=Ray", "--algo=bayes"], "--algo=bayes goes trial by trial"),
        ("net choice ['mlp']", ["--num_samples=0"], "num_samples must be a whole number"),
        ("net choice ['mlp']", ["--display_file=a.png"], "--display_file must end in .html"),
        ("net choice ['mlp']", ["--model=ResNetM"], "there is no model 'ResNetM'"),
        ("net choice ['mlp']", ["--resume"], "there is no search to resume"),
        ("net choice ['mlp']", ["--tool=Ray", "--ray_address=nowhere"], "must be host:port"),
        ("net choice ['mlp']", ["--tool=Ray", "--ray_address=ray://a:1"], "must be host:port"),
        (
            "net choice ['mlp']",
            ["--tool=Ray", "--ray_address=127.0.0.1:9"],
            "no Ray cluster answers at 127.0.0.1:9",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_trained(
    space: str,
    more: list[str],
    message: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("space.test").write_text(space + "\n")
    began = time.monotonic()
    assert main(["search", *arguments, *more]) == 1
    assert time.monotonic() - began < 20
    assert message in capsys.readouterr().err
    assert not Path("out.result.yaml").exists()


@pytest.mark.parametrize("content", ["precious\n", "precious", '{"search": 1}\nprecious'])
def test_a_search_is_not_written_over(
    content: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out.result.jsonl").write_text(content)
    assert main(["search", *arguments]) == 1
    assert "out.result.jsonl holds a search already: give --resume" in capsys.readouterr().err
    assert main(["search", *arguments, "--resume"]) == 1
    assert "out.result.jsonl is no journal of a search" in capsys.readouterr().err
    assert Path("out.result.jsonl").read_text() == content


def test_files_that_are_read_are_not_written_over(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("best.yaml").write_text("embedding_size: 4\n")
    more = ["--config_files=best.yaml", "--output_file=best"]
    assert main(["search", *(a for a in arguments if "output" not in a), *more]) == 1
    assert "--output_file: best.yaml is read by this search" in capsys.readouterr().err
    assert Path("best.yaml").read_text() == "embedding_size: 4\n"


def test_yaml_files_are_part_of_the_best_and_of_what_makes_a_search(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("given.yaml").write_text("clip_predictions: False\n")
    Path("space.test").write_text("learning_rate choice [0.01]\n")
    assert main(["search", *arguments, "--config_files=given.yaml"]) == 0
    assert yaml.safe_load(Path("out.result.yaml").read_text())["clip_predictions"] is False
    assert main(["search", *arguments, "--resume"]) == 1
    assert "is of a search with settings" in capsys.readouterr().err


def test_choices_may_be_lists(arguments: list[str]) -> None:
    Path("space.test").write_text("mlp_hidden_size choice [[4],[4,2]]\nuse_gpu choice [False]\n")
    arguments = ["--model=NeuMF", *arguments[1:], "--mf_embedding_size=4", "--topk=[5]"]
    arguments = [a for a in arguments if not a.startswith(("--embedding", "--hidden"))]
    arguments += ["--metrics=['Recall']", "--valid_metric=Recall@5"]
    assert main(["search", *arguments]) == 0
    assert [t["settings"]["mlp_hidden_size"] for t in lines()] in ([[4], [4, 2]], [[4, 2], [4]])


def test_values_that_fit_only_together_are_accepted() -> None:
    lines_of = "head choice ['classes']\ninner_solver choice ['gradient']\n"
    Path("space.test").write_text(lines_of + "residual choice [False,True]\n")
    space = read_space("space.test")
    Task.read("MAMO", "ml-100k", [], {}).check(space)
    with pytest.raises(ValueError, match="head: 'classes' does not fit: head: classes needs"):
        Task.read("MAMO", "ml-100k", [], {}).check(space[:2])


def test_another_search_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Journal(path, {"model": "BPR", "seed": 1}, resume=False).add(Trial({"a": 1}, "done", 0.5))
    again = Journal(path, {"model": "BPR", "seed": 1}, resume=True)
    assert again.find({"a": 1}) == Trial({"a": 1}, "done", 0.5)
    assert again.find({"a": 2}) is None
    with pytest.raises(ValueError, match="is of a search with seed: 1, not 2"):
        Journal(path, {"model": "BPR", "seed": 2}, resume=True)


def test_only_trials_that_ran_to_their_end_can_be_the_best(tmp_path: Path) -> None:
    trials = [
        Trial({"a": 1}, "done", 0.5, 3),
        Trial({"a": 2}, "stopped", 0.9, 1),
        Trial({"a": "b"}, "failed", None, error="ValueError: no"),
        Trial({"a": 3}, "done", 0.7, 3),
    ]
    best = [best_of(trials, bigger) for bigger in (True, False)]
    assert [trial.settings["a"] for trial in best if trial] == [3, 1]
    rows = trial_table(trials, True, "ndcg@10").splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["3", "1", "2", "b"]
    assert "(ValueError: no) a b · best so far 0.5000" in progress(trials[:3], None, True)
    draw(trials, True, "ndcg@10", tmp_path / "a.html")
    assert "best so far" in (tmp_path / "a.html").read_text()
