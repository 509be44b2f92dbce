from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import recbole.quick_start
import torch
from recbole.trainer import HyperTuning, Trainer
from recbole.utils.case_study import full_sort_topk
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import recbole_ext
from recbole_ext.quick_start import PluginSettings
from recbole_ext.runs import run_state
from recbole_ext.runs.summary import summarize
from tests.worlds.helpers import QUICK, SHORT

MODELS = ["LambdaOptMF", "BPR", "LightGCN", "LightSANs", "EASE"]


def settings(model: str) -> dict[str, Any]:
    if model != "LightSANs":
        return {**QUICK, "epochs": 1, **(SHORT if model == "LambdaOptMF" else {})}
    few = {"user_inter_num_interval": "[20,25]", "MAX_ITEM_LIST_LENGTH": 10}
    small = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}
    return {**QUICK, "epochs": 1, "train_neg_sample_args": None, **few, **small}


@pytest.mark.parametrize("model", MODELS)
def test_train_save_reload_evaluate(model: str) -> None:
    """Through RecBole's own functions, as a user with RecBole's scripts would."""
    result = recbole_ext.run_recbole(model, "ml-100k", config_dict=settings(model))
    stock = recbole.quick_start.load_data_and_model(result["checkpoint"])
    ours = recbole_ext.load_data_and_model(result["checkpoint"])
    for config, net, _dataset, _train, _valid, test in (stock, ours):
        trainer = recbole.utils.get_trainer(config["MODEL_TYPE"], model)(config, net)
        assert trainer.evaluate(test, load_best_model=False) == result["test_result"]
        assert trainer.evaluate(test, model_file=result["checkpoint"]) == result["test_result"]
    _, net, dataset, _, _, test = stock
    users = dataset.token2id(dataset.uid_field, ["19", "36"])
    scores, items = full_sort_topk(users, net, test, k=5)
    assert scores.shape == items.shape == (2, 5)
    assert (scores[:, :-1] >= scores[:, 1:]).all()


def test_plain_recbole_gives_the_same_result() -> None:
    bpr = {**QUICK, "loss": "bpr"}
    ours = recbole_ext.run_recbole("LambdaOptMF", "ml-100k", config_dict=dict(bpr))
    plain = recbole.quick_start.run_recbole("LambdaOptMF", "ml-100k", config_dict=dict(bpr))
    assert {key: ours[key] for key in plain} == plain
    assert set(ours) - set(plain) == {"checkpoint", "seconds", "curve", "frequency_groups"}
    assert [point["epoch"] for point in ours["curve"]] == [0, 1]
    assert max(point["ndcg@10"] for point in ours["curve"]) >= ours["best_valid_result"]["ndcg@10"]
    assert all(point["train_loss"] > 0 and point["seconds"] > 0 for point in ours["curve"])
    assert set(ours["seconds"]) >= {"loading", "training", "validation", "test"}
    assert all(value > 0 for value in ours["seconds"].values())
    assert Path(ours["checkpoint"]).is_file()


def test_run_passes_its_arguments_on(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("embedding_size: 8\n")
    arguments = ("BPR", "ml-100k", [str(file)])
    result = recbole_ext.run(*arguments, {**QUICK, "embedding_size": 9})
    config, model, *_ = recbole_ext.load_data_and_model(result["checkpoint"])
    assert model.embedding_size == config["embedding_size"] == 9  # the dictionary wins
    result = recbole_ext.run(*arguments[:2], [str(file)], dict(QUICK))
    assert recbole_ext.load_data_and_model(result["checkpoint"])[1].embedding_size == 8
    assert recbole_ext.run(*arguments, dict(QUICK), saved=False)["checkpoint"] is None


@pytest.mark.parametrize(
    ("model", "key"), [("LambdaOptMF", "lambda_learning_rate"), ("BPR", "learning_rate")]
)
def test_recboles_hypertuning(tmp_path: Path, model: str, key: str) -> None:
    space = tmp_path / "hyper.test"
    space.write_text(f"{key} choice [0.001,0.0001]\n")
    file = tmp_path / "fixed.yaml"
    fixed = {**settings(model), "model": model, "dataset": "ml-100k"}
    file.write_text(json.dumps(fixed))
    tuning = HyperTuning(
        recbole_ext.objective_function,
        algo="exhaustive",
        max_evals=2,
        params_file=str(space),
        fixed_config_file_list=[str(file)],
    )
    tuning.run()
    assert len(tuning.params2result) == 2
    assert tuning.best_params[key] in (0.001, 0.0001)


def in_a_fresh_process(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "value", [recbole_ext.run_recbole, recbole_ext.objective_function, PluginSettings(epochs=1)]
)
def test_a_fresh_process_that_unpickles_gets_the_plugin(value: Any, tmp_path: Path) -> None:
    """As Ray's workers and ``spawn`` do."""
    file = tmp_path / "pickled"
    file.write_bytes(pickle.dumps(value))
    code = (
        "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'));"
        "from recbole.utils import get_model; print(get_model('LambdaOptMF').__name__)"
    )
    assert in_a_fresh_process(code, str(file)) == "LambdaOptMF"


def test_importing_the_plugin_does_not_import_ray() -> None:
    assert in_a_fresh_process("import sys, recbole_ext; print('ray' in sys.modules)") == "False"


def test_a_wrong_argument_comes_before_ray() -> None:
    code = (
        "import sys, recbole_ext\n"
        "try: recbole_ext.run_recbole('LambdaOptMF', 'ml-100k', config_dict={'learning_rat': 1})\n"
        "except ValueError: print('ray' in sys.modules)"
    )
    assert in_a_fresh_process(code) == "False"


def test_a_logging_switch_of_the_caller_survives() -> None:
    logging.disable(logging.CRITICAL)
    try:
        with pytest.raises(ValueError, match="no model 'Qqq'"):
            recbole_ext.run_recbole("Qqq", "ml-100k")
        assert logging.root.manager.disable == logging.CRITICAL
    finally:
        logging.disable(logging.NOTSET)


def test_the_callers_settings_are_not_changed() -> None:
    negatives = {"distribution": "uniform", "sample_num": 1}
    given = {**QUICK, "epochs": "1", "train_neg_sample_args": negatives, "loss": "bpr"}
    before = copy.deepcopy(given)
    recbole_ext.run_recbole("LambdaOptMF", "ml-100k", config_dict=given, saved=False)
    assert given == before


def test_summary_shows_metrics_seconds_and_path() -> None:
    result = {
        "best_valid_result": {"ndcg@10": 0.5},
        "test_result": {"ndcg@10": 0.25},
        "seconds": {"training": 1.234},
        "checkpoint": "saved/x.pth",
    }
    text = summarize("LambdaOptMF", "ml-100k", result)
    assert "LambdaOptMF on ml-100k" in text
    assert "ndcg@10    0.5000  0.2500" in text
    assert "seconds: training 1.2" in text
    assert "checkpoint: saved/x.pth" in text
    alone = {key: result[key] for key in ("best_valid_result", "test_result")}
    assert "checkpoint" not in summarize("BPR", "ml-100k", alone)
    assert summarize("BPR", "ml-100k", None) == ""


def test_phases_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(run_state, "perf_counter", lambda: next(clock))
    test = run_state.timed("test", lambda _: None)
    valid = run_state.timed("validation", test)
    training = run_state.timed("training", valid)
    with run_state.running(saves=False) as state:
        trainer = SimpleNamespace(run_state=state)
        training(trainer)
        test(trainer)
    # one tick at each change of phase: loading|training|validation|training|other|test|other
    assert state.clock.seconds == {
        "loading": 1,
        "training": 2,
        "validation": 1,
        "other": 2,
        "test": 1,
    }


def test_a_run_logs_lambda(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        recbole_ext.run_recbole(
            "LambdaOptMF",
            "ml-100k",
            config_dict={**QUICK, "loss": "bpr", "state": "INFO", "epochs": 1},
        )
    line = next(m for m in caplog.messages if "epoch 0 training" in m)
    assert "λ loss" in line
    assert "mean λ" in line
    histograms = []
    for file in Path("log_tensorboard").rglob("events.out.tfevents.*"):
        histograms += EventAccumulator(str(file)).Reload().Tags()["histograms"]
    assert histograms == ["lambda/user"]


def test_numbers_next_to_zero_are_zero_while_a_model_trains(
    monkeypatch: pytest.MonkeyPatch, world: dict[str, Any]
) -> None:
    def tiny() -> bool:
        return bool(torch.tensor(1e-40) * 1.0 == 0)

    seen: list[bool] = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda *a, **k: (seen.append(tiny()), fit(*a, **k))[1])
    for before in (True, False):
        torch.set_flush_denormal(before)
        recbole_ext.run_recbole("BPR", config_dict={**QUICK, **world, "epochs": 1}, saved=False)
        assert tiny() == before
    assert seen == [True, True]


def test_anomaly_detection_stays_off_though_recboles_import_turns_it_on() -> None:
    program = """
import torch, recbole_ext
try:
    recbole_ext.run_recbole("LightSANs", "nowhere", config_dict={"train_neg_sample_args": None})
except FileNotFoundError:
    print(torch.is_anomaly_enabled())
    import recbole.model.sequential_recommender.sine as sine, importlib
    importlib.reload(sine)
    print(torch.is_anomaly_enabled())
"""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True)
    assert ran.stdout.split() == [b"False", b"True"], ran.stderr
