"""What every meta-learner keeps, beside what every model does."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext import run_recbole
from recbole_ext.meta.tasks.task_set import Ratings, TaskBatch
from tests.contracts.models import ModelContract
from tests.worlds.helpers import QUICK, Run


def padded_predictions(run: Run) -> tuple[TaskBatch, torch.Tensor]:
    """All tasks of the evaluation in one batch, and their predictions."""
    tasks = run.model.split.evaluation
    batch = tasks.batch(torch.arange(len(tasks)))
    run.model.eval()
    return batch, run.model.predict_tasks(batch)


class MetaContract(ModelContract):
    """The contract of a meta-learner, in the world of cold users and items."""

    @pytest.fixture
    def given(self, cold_world: dict[str, Any]) -> dict[str, Any]:
        return {**cold_world, **self.settings}

    @pytest.fixture
    def run(self, given: dict[str, Any]) -> Run:
        return Run(self.model, **given).fit()

    def as_predicted(self, model: Any, scores: torch.Tensor) -> torch.Tensor:
        return model.in_range(scores)

    def test_a_task_is_predicted_alike_alone_and_in_any_batch(self, run: Run) -> None:
        batch, together = padded_predictions(run)
        for task in range(0, len(batch), 2):
            alone = run.model.predict_tasks(run.model.split.evaluation.batch(torch.tensor([task])))
            size = alone.shape[1]
            torch.testing.assert_close(together[task, :size], alone[0], rtol=1e-4, atol=1e-4)

    def test_recboles_rows_are_predicted_from_their_tasks(self, run: Run) -> None:
        batch, together = padded_predictions(run)
        rows = run.data[2]._dataset.inter_feat
        with torch.no_grad():
            found = run.model.predict(rows)
        for row in range(0, len(found), 7):
            task = rows["task_id"][row]
            slot = (batch.query.items[task] == rows["item_id"][row]) & (batch.query.mask[task] > 0)
            wanted = together[task, slot.nonzero()[0, 0]].clamp(*run.model.rating_range)
            torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-4)

    def test_recboles_metrics_and_ours_are_of_the_same_predictions(self, run: Run) -> None:
        result = run.trainer.evaluate(run.data[2], load_best_model=False)
        stock = super(type(run.trainer), run.trainer).evaluate(run.data[2], load_best_model=False)
        assert stock["mae"] == pytest.approx(result["mae"], abs=2e-4)
        assert stock["rmse"] == pytest.approx(result["rmse"], abs=2e-4)
        scenarios = {"W-W", "W-C", "C-W", "C-C"}
        assert {f"{scenario} ndcg_linear@3" for scenario in scenarios} <= set(result)

    def test_all_items_are_ranked_from_all_that_is_known_of_a_user(self, run: Run) -> None:
        split = run.model.split
        users = split.known.users[:6]
        with torch.no_grad():
            scores = run.model.full_sort_predict(Interaction({"user_id": users}))
            support = split.known.batch(torch.arange(6)).support
            adapted = run.model.adapt(users, support)
            some = torch.tensor([[1, 5, 9]]).expand(6, -1)
            wanted = run.model.answer(run.model.score(users, some, support, adapted), users, some)
        found = scores.view(6, run.model.n_items)[:, [1, 5, 9]]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)

    def test_users_of_whom_nothing_is_known_get_the_meta_initialisation_which_is_said_once(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        stranger = 0  # RecBole's padding user has no ratings
        rows = Interaction({"user_id": torch.tensor([stranger] * 3), "item_id": torch.arange(1, 4)})
        nothing = Ratings(*torch.zeros(3, 1, 1))
        nothing = Ratings(nothing.items.long(), nothing.ratings, nothing.mask)
        with caplog.at_level(logging.WARNING), torch.no_grad():
            found = run.model.predict(rows)
            run.model.predict(rows)
            users = torch.tensor([stranger])
            start = run.model.adapt(users, nothing)
            items = rows["item_id"].unsqueeze(0)
            wanted = run.model.answer(run.model.score(users, items, nothing, start), users, items)
        torch.testing.assert_close(found, wanted[0].clamp(*run.model.rating_range))
        assert sum("no support set" in record.message for record in caplog.records) == 1

    def test_gradients_are_clamped(self, given: dict[str, Any]) -> None:
        for clamp, largest in ((1e-4, 1e-4), (0.0, float("inf"))):
            run = Run(self.model, **{**given, "gradient_clamp": clamp})
            tasks = run.model.split.training.resplit(5, None, 60, torch.Generator())
            run.trainer._loss(tasks.batch(torch.arange(4))).backward()
            sizes = [p.grad.abs().max() for p in run.model.parameters() if p.grad is not None]
            found = max(size.item() for size in sizes)
            assert 0 < found <= largest * 1.001
        assert found > 1e-4

    def test_the_test_is_reported_beside_the_floors(self, given: dict[str, Any]) -> None:
        result = run_recbole(self.model, None, None, {**QUICK, **given})
        methods = {row["method"] for row in result["scenarios"]}
        assert methods >= {self.model, "biases", "random"}
