"""Which runs a protocol asks for; a changed protocol does not take old results for its own."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml
from recbole.config import Config

import recbole_ext  # noqa: F401 (registers the models)
from tests.worlds.places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from compare import best_of, chosen_runs, groups_of, runs_of, table

PROTOCOL: dict[str, Any] = {
    "seeds": [1, 2],
    "metrics": ["ndcg@10"],
    "reference": "plain",
    "settings": {"epochs": 5},
    "runs": [
        {"name": "plain", "settings": {"model": "BPR"}},
        {"name": "grid", "settings": {"model": "X"}, "grid": [{"w": 1}, {"w": 2}]},
        {"name": "once", "settings": {"model": "Y"}, "one_seed": True},
    ],
}


def done(*scores: float) -> list[dict[str, Any]]:
    choices = groups_of(PROTOCOL)["grid"]
    return [
        {**choice, "seed": 1, "best_valid_score": score, "valid_score_bigger": True}
        for choice, score in zip(choices, scores, strict=False)
    ]


def test_a_grid_runs_on_one_seed_and_its_best_on_all() -> None:
    def named(runs: list[dict[str, Any]]) -> list[tuple]:
        return [(run["group"], run["settings"].get("w"), run["seed"]) for run in runs]

    start = [("plain", None, 1), ("plain", None, 2), ("grid", 1, 1), ("grid", 2, 1)]
    once = ("once", None, 1)
    assert named(runs_of(PROTOCOL, [])) == [*start, once]
    assert named(runs_of(PROTOCOL, done(0.3))) == [*start, once]
    assert named(runs_of(PROTOCOL, done(0.3, 0.2))) == [*start, ("grid", 1, 2), once]
    assert named(runs_of(PROTOCOL, done(0.2, 0.3))) == [*start, ("grid", 2, 2), once]


def test_results_of_another_protocol_do_not_count() -> None:
    choices = groups_of(PROTOCOL)["grid"]
    assert best_of(choices, done(0.3, 0.2), 1) == choices[0]
    changed = {**PROTOCOL, "settings": {"epochs": 6}}
    assert best_of(groups_of(changed)["grid"], done(0.3, 0.2), 1) is None
    assert chosen_runs(changed, done(0.3, 0.2), "grid") == []
    assert [run["seed"] for run in chosen_runs(PROTOCOL, done(0.3, 0.2), "grid")] == [1]


def test_the_table_compares_seed_by_seed_and_names_the_best_of_a_grid() -> None:
    tested = {"plain": [0.30, 0.50], "grid": [0.31, 0.53]}
    costs = {"cpu_seconds": 10.0, "peak_memory_mb": 500}
    runs = [
        {**run, **costs, "test_result": {"ndcg@10": tested[run["group"]][run["seed"] - 1]}}
        for run in runs_of(PROTOCOL, done(0.2, 0.3))
        if run["group"] != "once" and run["settings"].get("w") != 1
    ]
    other = {**done(0.2)[0], **costs, "test_result": {"ndcg@10": 0.0}}
    scored = [{**run, "best_valid_score": 0.3} for run in runs]
    plain, grid = table(PROTOCOL, [*scored, other]).splitlines()[2:]
    cells = [cell.strip() for cell in plain.split("|")[1:-1]]
    assert cells == ["plain", "2", "0.4000 ± 0.1414", "", "10", "10", "500"]
    cells = [cell.strip() for cell in grid.split("|")[1:-1]]
    name, *rest = cells
    assert name == "grid, best of 2: {'w': 2}"
    assert rest == ["2", "0.4200 ± 0.1556", "+0.0200 ± 0.0141", "10", "20", "500"]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/protocols").glob("*.yaml")))
def test_every_run_of_every_protocol_has_settings_that_the_model_takes(path: Any) -> None:
    protocol = yaml.safe_load(path.read_text(encoding="utf-8"))
    for choices in groups_of(protocol).values():
        for run in choices:
            settings = {**run["protocol"], **run["settings"], "dataset": "ml-100k"}
            if settings["model"] == "IALS":  # a rival that needs a package of the benchmarks
                own = yaml.safe_load((ROOT / "benchmarks/IALS.yaml").read_text(encoding="utf-8"))
                assert set(run["settings"]) <= {*own, "model", "eval_step", "epochs", "eval_args"}
                continue
            Config(settings["model"], "ml-100k", config_dict=settings)
