"""Tests of cold-start tasks by scenario, with simple baselines beside the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from recbole.data.dataloader import AbstractDataLoader
from recbole.trainer import Trainer
from torch import Tensor

from recbole_ext.meta.judging.floors import floors
from recbole_ext.meta.judging.graded_ndcg import GAINS, graded_ndcg
from recbole_ext.meta.tasks.dataset import TASK_FIELD
from recbole_ext.meta.tasks.scenarios import SCENARIOS, WARM
from recbole_ext.meta.tasks.task_set import Predictor, Ratings, TaskBatch, TaskSet
from recbole_ext.runs.summary import scenario_table

CUTOFFS = (1, 3, 5)
TASKS_AT_ONCE = 512
Row = dict[str, Any]


def report_scenarios(trainer: Trainer, data: AbstractDataLoader) -> dict[str, float]:
    """Test a trainer's model and, unless ``floors`` is ``False``, the baselines.

    Args:
        trainer: the trainer of a ``MetaRecommender``.
        data: RecBole's loader of a part of a ``ColdStartDataset``.

    Returns:
        The model's metrics over all tasks and, with the scenario before them, over each scenario's.
        The table goes to the log, and to ``trainer.run_state.scenarios``.
    """
    model, dataset = trainer.model, data._dataset
    tasks = dataset.split.evaluation
    tested = dataset.inter_feat[TASK_FIELD].unique()
    own = trainer.config["model"]
    predictors: dict[str, Predictor] = {own: on_device(model, model.predict_tasks)}
    for reading, predict in model.other_readings().items():
        predictors[f"{own}, {reading}"] = on_device(model, predict)
    if trainer.tasks.floors:
        valid = batches(tasks, dataset.split.is_valid.nonzero().squeeze(-1))
        predictors.update(floors(dataset, [batch for batch, _ in valid]))
    trained = trainer.tasks.warm_evaluation == "training"
    rows = []
    for name, predict in predictors.items():
        rows += judge(name, predict, tasks, tested, model.rating_range, trained)
    trainer.run_state.scenarios = rows
    trainer.logger.info("test by scenario\n" + scenario_table(rows))
    mine = [row for row in rows if row["method"] == own]
    return _flat(mine, trainer.config["metric_decimal_place"])


def on_device(model: Any, predict: Predictor) -> Predictor:
    """A predictor that moves its batches to the model's device and its results back to the CPU."""
    return lambda batch: predict(batch.to(model.device)).cpu()


def batches(tasks: TaskSet, chosen: Tensor) -> list[tuple[TaskBatch, Tensor]]:
    """Some tasks in batches of similar size, and the scenarios of each batch."""
    ordered = chosen[torch.argsort(tasks.sizes[chosen], stable=True)]
    return [(tasks.batch(some), tasks.scenarios[some]) for some in ordered.split(TASKS_AT_ONCE)]


@torch.no_grad()
def judge(
    name: str,
    predict: Predictor,
    tasks: TaskSet,
    chosen: Tensor,
    rating_range: tuple[float, float],
    trained: bool = False,
) -> list[Row]:
    """The metrics of a predictor, over all of some tasks and by scenario.

    Args:
        name: the value of ``method`` in the rows.
        predict: predicts queries from support sets.
        tasks: a set of tasks.
        chosen: the tasks to test, shape: [n]
        rating_range: predictions are clamped to it before errors are taken.
        trained: whether the W-W queries were trained on; their row says so, and ``all`` leaves
            them out.

    Returns:
        A row for each scenario that has tasks, and one for ``all``: ``mae`` and ``rmse`` over all
        ratings, nDCG as a mean over tasks.
    """
    measured: list[dict[str, Tensor]] = []
    scenarios = []
    for batch, codes in batches(tasks, chosen):
        measured.append(_measure(predict(batch), batch.query, rating_range))
        scenarios.append(codes)
    code = torch.cat(scenarios)
    columns = {key: torch.cat([part[key] for part in measured]) for key in measured[0]}
    names = list(SCENARIOS)
    names[WARM] += " (training tasks)" * trained
    groups = [(names[c], code == c) for c in code.unique().tolist()]
    groups.append(("all", code != WARM if trained else code >= 0))
    return [
        {"scenario": scenario, "method": name, **_summary(columns, mine)}
        for scenario, mine in groups
    ]


def _measure(
    scores: Tensor, query: Ratings, rating_range: tuple[float, float]
) -> dict[str, Tensor]:
    errors = (scores.clamp(*rating_range) - query.ratings) * query.mask
    measured = {
        "count": query.mask.sum(-1),
        "absolute": errors.abs().sum(-1),
        "squared": errors.square().sum(-1),
    }
    for gain in GAINS:
        for cutoff in CUTOFFS:
            measured[f"ndcg_{gain}@{cutoff}"] = graded_ndcg(
                scores, query.ratings, query.mask, cutoff, gain, worthless=min(0, rating_range[0])
            )
    return measured


def _summary(columns: dict[str, Tensor], mine: Tensor) -> dict[str, float]:
    chosen = {key: values[mine].double() for key, values in columns.items()}
    count = chosen.pop("count").sum()
    summary = {
        "mae": chosen.pop("absolute").sum() / count,
        "rmse": (chosen.pop("squared").sum() / count).sqrt(),
        **{key: values.nanmean() for key, values in chosen.items()},
    }
    return {"tasks": int(mine.sum()), **{key: float(value) for key, value in summary.items()}}


def _flat(rows: Sequence[Row], decimals: int) -> dict[str, float]:
    """Rows of one method as RecBole's dictionary of metrics."""
    flat = {}
    for row in rows:
        prefix = "" if row["scenario"] == "all" else f"{row['scenario']} "
        metrics = {k: v for k, v in row.items() if k not in ("scenario", "method", "tasks")}
        flat.update({prefix + key: round(value, decimals) for key, value in metrics.items()})
    return flat
